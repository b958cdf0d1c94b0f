//! What the tests of waiting clients share.

use crate::harness::*;

/// How many clients the module knows to be waiting.
#[track_caller]
pub fn waiting(server: &Server) -> i64 {
    server.info_int("ltmc", "ltmc_waiting_clients")
}

/// Nobody waits any more, as far as the module and the server know, and nothing went wrong on the way.
#[track_caller]
pub fn assert_idle(server: &Server) {
    wait_until("nobody waits", || waiting(server) == 0 && server.info_int("clients", "blocked_clients") == 0);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

/// Moves the module's clock; only forwards makes sense while clients wait.
#[track_caller]
pub fn set_clock(server: &Server, offset_ms: i64) {
    server.run(&format!("LTMC.DEBUG CLOCK {offset_ms}")).ok();
}

/// Whether `CLIENT UNBLOCK` reaches those who wait on this server.
#[track_caller]
pub fn can_unblock(server: &Server) -> bool {
    server.info_int("ltmc", "ltmc_client_unblock") == 1
}

/// Clients that wait on a primary that becomes a replica: each is told so, or its connection ends.
#[track_caller]
pub fn assert_sent_away<'a>(clients: impl IntoIterator<Item = &'a mut Client>) {
    for client in clients {
        match client.recv_or_end() {
            Some(reply) => assert_eq!(reply.error_code(), "UNBLOCKED"),
            None => assert!(!client.is_open()),
        }
    }
}
