//! What the tests of waiting clients share.

use super::harness::*;

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

/// Unlocks and says what came of it.
#[track_caller]
pub fn unlock(server: &Server, key: &str, owner: &str) -> i64 {
    server.run(&format!("LTMC.UNLOCK {key} {owner}")).int()
}

/// The lock `k`, held by `a`, and two clients that wait for it as `b` and `c`, in that order.
pub struct Queue {
    pub server: Server,
    pub holder: Client,
    pub fence: i64,
    pub b: Client,
    pub c: Client,
}

impl Queue {
    #[track_caller]
    pub fn start() -> Queue {
        Queue::on(Server::start(), "LTMC.LOCK k a PX 600000")
    }

    /// The same, with the holder's own way of taking the lock.
    #[track_caller]
    pub fn on(server: Server, held: &str) -> Queue {
        let mut holder = server.client();
        let fence = holder.run(held).int();
        let mut waiters = server.clients(2);
        server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k {} PX 600000 BLOCK 0", ["b", "c"][n]));
        let c = waiters.pop().expect("there are two");
        let b = waiters.pop().expect("there are two");
        Queue { server, holder, fence, b, c }
    }

    /// The lock has gone on to `b`, who passes it on to `c`; then nothing is left.
    #[track_caller]
    pub fn b_then_c(mut self) {
        let first = self.b.recv().int();
        assert!(first > self.fence, "{first} is not above {}", self.fence);
        assert_eq!(self.b.run(&format!("LTMC.LOCK.CHECK k {first}")).int(), 1);
        assert_eq!(waiting(&self.server), 1);
        assert_eq!(unlock(&self.server, "k", "b"), 1);
        self.ends_with_c(first);
    }

    /// `b` is out and `a` still holds: the lock goes from `a` to `c`.
    #[track_caller]
    pub fn a_then_c(self) {
        wait_until("only c waits", || waiting(&self.server) == 1);
        assert_eq!(unlock(&self.server, "k", "a"), 1);
        let fence = self.fence;
        self.ends_with_c(fence);
    }

    /// The lock has come to `c`, with a fence above `before`; then nothing is left.
    #[track_caller]
    pub fn ends_with_c(mut self, before: i64) {
        let last = self.c.recv().int();
        assert!(last > before, "{last} is not above {before}");
        assert_eq!(unlock(&self.server, "k", "c"), 1);
        assert_idle(&self.server);
        assert_eq!(self.server.run("EXISTS k").int(), 0);
        self.c.run("PING");
    }
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
