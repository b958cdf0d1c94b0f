//! What the tests of waiting clients share, and what holds for all of them. [`line`] says how a
//! service describes a command that waits, [`cases`] and [`nodes`] have the tests that each of them
//! gets.

use crate::harness::*;

pub mod cases;
pub mod line;
pub mod nodes;

/// How many clients wait, as far as the module knows.
#[track_caller]
pub fn waiting(server: &Server) -> i64 {
    server.info_int("ltmc", "ltmc_waiting_clients")
}

/// No client waits any more, as far as the module and the server know, and nothing went wrong on
/// the way.
#[track_caller]
pub fn assert_idle(server: &Server) {
    wait_until("nobody waits", || waiting(server) == 0 && server.info_int("clients", "blocked_clients") == 0);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

/// Clients that begin to wait one after the other, each under one of these names.
#[track_caller]
pub fn waiters_in_turn<const N: usize>(
    server: &Server,
    names: [&str; N],
    line: impl Fn(&str) -> String,
) -> [Client; N] {
    names.map(|name| {
        let mut client = server.client();
        server.block_in_turn(std::slice::from_mut(&mut client), |_| line(name));
        client
    })
}

/// Those of the clients that are still connected get no answer that was meant for another command.
#[track_caller]
pub fn assert_in_step<const N: usize>(clients: [&mut Client; N]) {
    for client in clients.into_iter().filter(|client| client.is_open()) {
        assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
    }
}

/// Moves the module's clock. Only forwards makes sense while clients wait.
#[track_caller]
pub fn set_clock(server: &Server, offset_ms: i64) {
    server.run(&format!("LTMC.DEBUG CLOCK {offset_ms}")).ok();
}

/// Whether `CLIENT UNBLOCK` reaches waiting clients on this server.
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

/// A test of each case for a command that waits: `all_cases!(HOW)`.
macro_rules! all_cases {
    ($how:expr) => {
        $crate::waiting::cases_of!($how, cases:
            those_who_wait_are_served_in_their_order
            a_waiter_can_be_seen
            what_serves_may_come_in_a_transaction_a_script_or_a_guard
            a_transaction_a_script_and_a_guard_ask_once
            a_client_that_speaks_resp3_waits_too
            what_a_client_sends_while_it_waits_is_done_afterwards
            a_wait_ends_with_nothing_at_its_limit
            waits_end_each_at_its_own_limit_and_block_0_never
            client_unblock_ends_a_wait_like_its_limit
            client_unblock_error_ends_a_wait_with_an_error
            a_killed_waiter_is_passed_over
            a_waiter_that_hangs_up_is_passed_over
            a_waiter_whose_machine_dies_is_passed_over
            what_nobody_was_told_of_is_taken_back
            a_service_and_an_unblock_in_one_tick_give_one_answer
            an_unblock_before_the_service_in_one_tick_goes_first
            the_end_of_the_key_serves_or_leaves_or_tells_who_waits
            the_end_of_the_key_in_a_transaction_a_script_or_a_guard_does_the_same
            a_key_that_comes_under_the_name_takes_over_who_waits
            waiters_learn_that_their_key_became_something_else
            clients_wait_in_their_own_database
            no_more_than_so_many_may_wait
        );
        $crate::waiting::cases_of!($how, nodes:
            a_wait_goes_on_through_a_reload_and_a_replay_of_the_aof
            waiters_of_a_primary_that_becomes_a_replica_are_sent_away
            a_promoted_replica_serves_who_waits_for_what_the_old_primary_gave
            a_shutdown_ends_all_waits
            what_was_waited_for_reaches_the_replicas_as_what_it_came_to
            waiters_of_a_slot_that_moves_are_sent_to_the_new_node
            a_panic_of_the_scheduler_loses_no_waiter_and_a_quarantine_is_told
            a_module_that_is_waited_for_cannot_be_unloaded
            a_thousand_waiters_are_served_in_order_and_once_each
            half_of_a_thousand_die_while_the_line_drains
        );
    };
}

macro_rules! cases_of {
    ($how:expr, $module:ident: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::waiting::$module::$case(&$how);
            }
        )*
    };
}

pub(crate) use {all_cases, cases_of};
