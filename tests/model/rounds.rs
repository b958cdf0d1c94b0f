//! Very many clients, or very much that is due, is served in rounds: what one step does is bounded.

use crate::server::{set, Server};
use ltmc::command::scheduler;
use ltmc::command::settings::Setting;
use ltmc::domain::Code;

/// A round serves at most this many clients, and those of the last lock.
const ROUND: usize = 128;

/// Runs the scheduler until nothing is due. Returns how many clients were answered in each step,
/// the one before included.
fn rounds(server: &mut Server) -> Vec<usize> {
    let mut answered = vec![server.answers().len()];
    while scheduler::next_tick(&server.node).is_some_and(|next| next <= server.host.now) {
        scheduler::tick(&mut server.node, &mut server.host);
        answered.push(server.answers().len());
    }
    answered
}

/// The line is answered to all of so many clients that wait, in rounds.
#[track_caller]
fn serves_in_rounds(server: &mut Server, count: usize, wait: impl Fn(usize) -> String, line: &str) {
    (0..count).for_each(|n| server.waits(100 + n as u64, &wait(n)));
    server.answers();
    server.run(1, line);
    let answered = rounds(server);
    assert_eq!(answered.iter().sum::<usize>(), count, "{line}");
    assert!(answered[0] > 0 && answered.iter().all(|clients| *clients <= ROUND), "{line}: {answered:?}");
}

#[test]
fn messages_and_answers_reach_all_who_wait_in_rounds() {
    let mut server = Server::new();
    serves_in_rounds(&mut server, 300, |n| format!("LTMC.MSG.RECV m a{n} BLOCK 0"), "LTMC.MSG.SEND m x ALL hello");
    serves_in_rounds(&mut server, 200, |n| format!("LTMC.MSG.RECV m b{n} REPLYTO 7 BLOCK 0"), {
        let to: Vec<String> = (0..200).map(|n| format!("b{n}")).collect();
        &format!("LTMC.MSG.SEND m x TO 200 {} hello REPLYTO 7", to.join(" "))
    });
    server.run(1, "LTMC.CACHE.GET c tool 1 LEASE 3600000");
    serves_in_rounds(&mut server, 300, |_| "LTMC.CACHE.GET c tool 1 BLOCK 0".into(), "LTMC.CACHE.PUT c tool 1 v");
    set(&mut server.node, [(Setting::CacheAnswerBytesMax, 1024)]);
    server.run(1, "LTMC.CACHE.GET c tool 2 LEASE 3600000");
    (0..300).for_each(|n| server.waits(1000 + n, "LTMC.CACHE.GET c tool 2 BLOCK 0"));
    server.answers();
    let refused = server.try_run(1, &format!("LTMC.CACHE.PUT c tool 2 {}", "x".repeat(2000)));
    assert_eq!(refused.map_err(|error| error.code).err(), Some(Code::Limit));
    let given = rounds(&mut server);
    assert!(given.iter().sum::<usize>() == 300 && given.iter().all(|clients| *clients <= ROUND), "{given:?}");
}

#[test]
fn agents_are_handed_to_all_who_wait_in_rounds_and_nobody_overtakes() {
    let mut server = Server::new();
    let wait = |_| "LTMC.AGENT.CLAIM r PX 60000 BLOCK 0".to_string();
    serves_in_rounds(&mut server, 300, wait, "LTMC.REGISTER r a CAPACITY 300");
    (0..300).for_each(|n| server.waits(1000 + n, &wait(0)));
    server.run(1, "LTMC.REGISTER r b CAPACITY 290");
    let late = server.run(5000, "LTMC.AGENT.CLAIM r PX 60000");
    assert_eq!(format!("{late:?}"), "Reply(Nil)", "those who wait come first");
    assert_eq!(rounds(&mut server).iter().sum::<usize>(), 290);
    // One that comes to wait meanwhile is not forgotten.
    server.run(1, "LTMC.REGISTER r c CAPS 1 other CAPACITY 1");
    server.settle();
    assert_eq!(server.answers().len(), 1, "the longest waiting has it");
}

#[test]
fn much_that_is_due_at_once_is_decided_in_rounds() {
    let mut server = Server::new();
    set(&mut server.node, [(Setting::SweepBatchMax, 100)]);
    (0..60).for_each(|n| drop(server.run(1, &format!("LTMC.MSG.JOIN m a{n}"))));
    (0..20).for_each(|_| drop(server.run(1, "LTMC.MSG.SEND m x ALL hello PX 50")));
    server.pass_ms(50);
    scheduler::tick(&mut server.node, &mut server.host);
    let info = format!("{:?}", server.run(1, "LTMC.MSG.INFO m"));
    assert!(info.contains("(\"messages\", Integer(18))"), "two messages to 60 agents in one round: {info}");
    server.settle();
    assert!(format!("{:?}", server.run(1, "LTMC.MSG.INFO m")).contains("(\"messages\", Integer(0))"));
}

#[test]
fn a_client_gets_many_locks_in_a_round_of_its_own() {
    let mut server = Server::new();
    let keys: Vec<String> = (0..128).map(|n| format!("k{n}")).collect();
    let keys = keys.join(" ");
    server.run(1, &format!("LTMC.MLOCK holder 128 {keys}"));
    (0..20).for_each(|n| server.waits(2 + n, &format!("LTMC.MLOCK o{n} 128 {keys} SHARED BLOCK 0")));
    server.answers();
    (0..128).for_each(|n| drop(server.run(1, &format!("LTMC.UNLOCK k{n} holder"))));
    let answered = rounds(&mut server);
    assert_eq!(answered.iter().sum::<usize>(), 20);
    assert!(answered.iter().all(|clients| *clients <= 3), "{answered:?}");
}
