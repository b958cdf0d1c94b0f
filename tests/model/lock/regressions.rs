//! What the random schedules found, in a few commands each.

use crate::server::Server;
use ltmc::command::reply::Reply;
use ltmc::command::scheduler;
use ltmc::domain::lock::Lock;
use ltmc::domain::{Code, Error, KeyId};

fn numbers(answers: Vec<Result<Reply, Error>>) -> Vec<Vec<u64>> {
    let number = |reply: &Reply| match reply {
        Reply::Integer(value) => *value as u64,
        other => panic!("no fence: {other:?}"),
    };
    let one = |reply: Reply| match reply {
        Reply::Array(items) => items.iter().map(number).collect(),
        other => vec![number(&other)],
    };
    answers.into_iter().map(|answer| one(answer.expect("no error"))).collect()
}

#[test]
fn a_second_wait_of_an_owner_is_served_by_what_the_first_one_got() {
    let mut server = Server::new();
    server.run(1, "LTMC.LOCK k o1");
    server.waits(2, "LTMC.LOCK k o0 SHARED LIMIT 1 BLOCK 0");
    server.waits(3, "LTMC.LOCK k o0 SHARED BLOCK 0");
    server.run(1, "LTMC.UNLOCK k o1");
    server.settle();
    let fences = numbers(server.answers());
    assert!(fences.len() == 2 && fences[0] == fences[1], "{fences:?}");
}

#[test]
fn a_wait_is_served_by_what_its_owner_got_over_another_connection() {
    let mut server = Server::new();
    server.run(1, "LTMC.LOCK k o4 SHARED");
    server.waits(2, "LTMC.LOCK k o8 SHARED LIMIT 1 BLOCK 0");
    let fence = server.fence(3, "LTMC.LOCK k o8 SHARED");
    server.settle();
    assert_eq!(numbers(server.answers()), [[fence]]);
}

#[test]
fn a_grant_that_is_over_is_not_taken_once_more() {
    let mut server = Server::new();
    server.run(1, "LTMC.LOCK k0 o1");
    server.run(1, "LTMC.LOCK k1 o9 SHARED");
    let old = server.fence(2, "LTMC.LOCK k1 o3 SHARED PX 100");
    server.waits(2, "LTMC.MLOCK o3 2 k0 k1 SHARED BLOCK 0");
    server.pass_ms(150);
    server.run(1, "LTMC.UNLOCK k0 o1");
    let fences = numbers(server.answers()).remove(0);
    assert!(fences[1] > old, "the fence {old} was refused for 50 ms and is current again");
}

#[test]
fn a_conversion_that_closes_a_cycle_is_noticed() {
    let mut server = Server::new();
    let fence = server.fence(1, "LTMC.LOCK k0 o3 SHARED PATH a");
    server.run(2, "LTMC.LOCK k0 o9 PATH b");
    server.run(3, "LTMC.LOCK k1 o5");
    server.waits(3, "LTMC.LOCK k0 o5 SHARED BLOCK 0");
    server.waits(4, "LTMC.LOCK k1 o3 BLOCK 0");
    server.run(1, &format!("LTMC.LOCK.CONVERT k0 o3 TOKEN {fence} EXCLUSIVE"));
    let answers = server.answers();
    let refused = |answer: &Result<Reply, Error>| answer.as_ref().is_err_and(|error| error.code == Code::Deadlock);
    assert!(answers.len() == 1 && refused(&answers[0]), "{answers:?}");
}

#[test]
fn a_lock_that_is_taken_anew_after_its_end_is_still_tied_to_its_connection() {
    let mut server = Server::new();
    for _ in 0..2 {
        server.fence(1, "LTMC.LOCK k a ONDISCONNECT RELEASE PX 100");
        server.pass_ms(200);
    }
    server.set_ms(server.host.now - 150);
    server.settle();
    scheduler::client_gone(&mut server.node, 1);
    server.settle();
    assert!(server.host.peek::<Lock>(&KeyId::new(0, b"k")).is_none(), "its connection is gone");
}
