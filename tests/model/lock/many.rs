//! What one step does where very many hold a lock, or wait for one.

use crate::server::{field, int, Server};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::command::scheduler;
use ltmc::domain::limits::LOCK_SHOWN_MAX;
use ltmc::domain::lock::round::{GRANT_LOOKS, ROUND_LOOKS};
use ltmc::domain::Code;

fn length(list: &Reply) -> usize {
    match list {
        Reply::Array(items) => items.len(),
        other => panic!("{other:?} is no list"),
    }
}

#[test]
fn thousands_who_share_a_lock_get_it_in_rounds_and_in_turn() {
    let (mut server, count) = (Server::new(), 450);
    server.run(1, "LTMC.LOCK k holder");
    (0..count).for_each(|n| server.waits(2 + n, &format!("LTMC.LOCK k o{n} SHARED BLOCK 0")));
    server.waits(5000, "LTMC.LOCK k writer BLOCK 0");
    server.waits(5001, "LTMC.LOCK k late SHARED BLOCK 0");
    server.answers();
    server.run(1, "LTMC.UNLOCK k holder");
    let mut fences = Vec::new();
    let mut rounds = 0;
    loop {
        let served = server.answers();
        assert!(served.len() <= 1 + ROUND_LOOKS / GRANT_LOOKS, "{}", served.len());
        fences.extend(served.into_iter().map(|answer| int(&answer.expect("a fence"))));
        if scheduler::next_tick(&server.node).is_none_or(|next| next > server.host.now) {
            break;
        }
        rounds += 1;
        scheduler::tick(&mut server.node, &mut server.host);
    }
    assert!(fences.len() == count as usize && fences.is_sorted(), "{} of them, in the order of the line", fences.len());
    assert!(rounds > 1, "the first were told before the last");
    server.run(1, "LTMC.LOCK.BREAK k");
    server.settle();
    assert_eq!(server.answers().len(), 1, "the writer, and nobody beside it");
}

#[test]
fn a_lock_shows_the_first_hundred_who_hold_it_and_wait_for_it() {
    let mut server = Server::new();
    server.run(1, "LTMC.LOCK k brief PATH a PX 5");
    server.run(1, "LTMC.LOCK k stamp OPTIMISTIC");
    (0..150).for_each(|n| drop(server.run(1, &format!("LTMC.LOCK k o{n} SHARED PATH b"))));
    (0..150).for_each(|n| server.waits(2 + n, &format!("LTMC.LOCK k w{n} BLOCK 0")));
    server.pass_ms(5);
    let Outcome::Reply(info) = server.run(1, "LTMC.LOCK.INFO k") else { panic!("no reply") };
    for (list, count, is) in [("holders", "holders_count", 151), ("waiters", "waiters_count", 150)] {
        assert_eq!((length(field(&info, list)), int(field(&info, count))), (LOCK_SHOWN_MAX, is), "{list}");
    }
    assert_eq!(field(&info, "mode"), &Reply::text("shared"));
}

#[test]
fn a_long_cycle_is_told_by_its_first_hundred_links() {
    let (mut server, count) = (Server::new(), 150);
    (0..count).for_each(|n| drop(server.run(1, &format!("LTMC.LOCK k{n} o{n}"))));
    for n in 0..count - 1 {
        server.waits(2 + n, &format!("LTMC.LOCK k{} o{n} BLOCK 0", n + 1));
    }
    let error = server.try_run(1, &format!("LTMC.LOCK k0 o{} BLOCK 0", count - 1)).expect_err("a cycle");
    let begin = "waiting would close a cycle: o149 -> k0 -> o0 -> k1 -> o1 -> k2 -> o2";
    assert!(error.code == Code::Deadlock && error.text.starts_with(begin), "{error}");
    assert!(error.text.ends_with("-> k99 -> o99 -> ... (50 more links)"), "{error}");
}
