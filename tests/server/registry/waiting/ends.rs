//! Every way in which a wait for a claim ends other than by being served in peace.

use super::*;

#[test]
fn a_wait_ends_with_nil_at_its_limit() {
    let server = Server::start();
    let mut client = server.client();
    assert!(client.run("LTMC.AGENT.CLAIM r PX 600000 BLOCK 20").is_nil(), "no registry");
    register(&server, "a", "CAPACITY 0");
    assert!(client.run("LTMC.AGENT.CLAIM r PX 600000 BLOCK 20").is_nil(), "nobody is free");
    assert_eq!(server.info_int("ltmc", "ltmc_registry_timeouts"), 2);
    assert_idle(&server);
    register(&server, "a", "CAPACITY 1");
    assert!(refs(&server, "r", "a").is_empty(), "nothing was claimed for who had given up");
    assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
}

#[test]
fn waits_end_each_at_its_own_limit_and_block_0_never() {
    let server = Server::start();
    let mut waiters = server.clients(4);
    let limits = [300_000, 0, 100_000, 200_000];
    server.block_in_turn(&mut waiters, |n| format!("LTMC.AGENT.CLAIM r PX 600000 REF w{n} BLOCK {}", limits[n]));
    for (step, index) in [2, 3, 0].into_iter().enumerate() {
        assert_eq!(waiting(&server), 4 - step as i64);
        set_clock(&server, limits[index] + 50_000);
        assert!(waiters[index].recv().is_nil());
    }
    set_clock(&server, 365 * 24 * 3_600_000);
    assert_eq!(waiters[1].recv_within(1), None);
    assert_eq!(waiting(&server), 1);
    register(&server, "a", "CAPACITY 4");
    fence_on("a", &waiters[1].recv());
    assert_eq!(refs(&server, "r", "a"), ["w1"]);
}

/// Unblocks the waiter in the middle and checks its answer; where the server cannot, nothing happens to it.
fn client_unblock(how: &str, is_answer: impl Fn(&Reply) -> bool) {
    let mut line = Line::start();
    let unblock = format!("CLIENT UNBLOCK {} {how}", line.b.id());
    if can_unblock(&line.server) {
        assert_eq!(line.server.run(&unblock).int(), 1);
        let answer = line.b.recv();
        assert!(is_answer(&answer), "{answer:?}");
        line.holder_then_c();
    } else {
        assert_eq!(line.server.run(&unblock).int(), 0);
        assert_eq!(release(&line.server, line.fence), 1);
        line.b_then_c();
    }
}

#[test]
fn client_unblock_ends_a_wait_like_its_limit_or_with_an_error() {
    client_unblock("", Reply::is_nil);
    client_unblock("TIMEOUT", Reply::is_nil);
    client_unblock("ERROR", |answer| answer.error_code() == "UNBLOCKED");
}

#[test]
fn a_killed_waiter_is_passed_over() {
    let mut line = Line::start();
    line.server.run(&format!("CLIENT KILL ID {}", line.b.id()));
    line.b.wait_closed();
    let server = line.holder_then_c();
    assert_eq!(server.info_int("ltmc", "ltmc_registry_waits_cancelled"), 1);
}

#[test]
fn a_waiter_that_hangs_up_is_passed_over() {
    let mut line = Line::start();
    line.b = line.server.client();
    line.holder_then_c();
}

#[test]
fn a_waiter_whose_machine_dies_is_passed_over() {
    let server = Server::start();
    let mut waiters = server.clients(2);
    waiters[0].arm_reset();
    server.block_in_turn(&mut waiters, |n| format!("LTMC.AGENT.CLAIM r PX 600000 REF w{n} BLOCK 0"));
    drop(waiters.remove(0));
    wait_until("one waits", || waiting(&server) == 1);
    register(&server, "a", "");
    fence_on("a", &waiters[0].recv());
    assert_eq!(refs(&server, "r", "a"), ["w1"]);
}

/// In one write the claim is released and the waiter that is handed the agent by that is killed.
fn a_claim_that_nobody_was_told_of_is_taken_back(line: Line, template: &[&str]) -> Server {
    let mut line = line;
    let words = [
        ("release", format!("LTMC.AGENT.RELEASE r {}", line.fence)),
        ("kill", format!("CLIENT KILL ID {}", line.b.id())),
    ];
    let filled = |word: &&str| words.iter().find(|(name, _)| name == word).map_or(word.to_string(), |(_, l)| l.clone());
    let lines: Vec<String> = template.iter().map(filled).collect();
    let replies = line.holder.pipeline(&lines);
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    line.b.wait_closed();
    assert_eq!(line.server.info_int("ltmc", "ltmc_registry_taken_back"), 1);
    let fence = line.fence;
    line.ends_with_c(fence)
}

#[test]
fn a_waiter_killed_in_the_tick_of_its_claim_gives_it_back() {
    for lines in [&["release", "kill"][..], &["MULTI", "release", "kill", "EXEC"]] {
        let server = a_claim_that_nobody_was_told_of_is_taken_back(Line::start(), lines);
        let shown = server.run("LTMC.AGENT.GET r a");
        // The holder's and c's: what was taken back is no outcome of the agent's work.
        assert_eq!((shown.get("succeeded").int(), shown.get("failed").int()), (2, 0));
    }
}

#[test]
fn a_take_back_replicates() {
    let line = Line::on(Server::builder().durable().start());
    let replica = line.server.replica();
    let server = a_claim_that_nobody_was_told_of_is_taken_back(line, &["release", "kill"]);
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn an_unblock_in_the_tick_of_a_claim_gives_one_answer() {
    for how in ["TIMEOUT", "ERROR"] {
        for is_transaction in [false, true] {
            let mut line = Line::start();
            let mut lines =
                vec![format!("LTMC.AGENT.RELEASE r {}", line.fence), format!("CLIENT UNBLOCK {} {how}", line.b.id())];
            if is_transaction {
                lines.insert(0, "MULTI".into());
                lines.push("EXEC".into());
            }
            line.holder.pipeline(&lines);
            let answer = line.b.recv();
            assert_eq!(line.b.run("PING"), Reply::Simple("PONG".into()));
            // Whichever it is: it is one, and the claim is there exactly if it was told.
            if matches!(answer, Reply::Array(_)) {
                let fence = fence_on("a", &answer);
                assert_eq!(release(&line.server, fence), 1, "{how}");
                line.ends_with_c(fence);
            } else {
                assert!(answer.is_nil() || answer.error_code() == "UNBLOCKED", "{answer:?}");
                let fence = line.fence;
                line.ends_with_c(fence);
            }
        }
    }
}

#[test]
fn an_unblock_before_the_release_in_one_tick_goes_first() {
    let mut line = Line::start();
    if can_unblock(&line.server) {
        let lines = [format!("CLIENT UNBLOCK {}", line.b.id()), format!("LTMC.AGENT.RELEASE r {}", line.fence)];
        assert_eq!(line.holder.pipeline(&lines)[0].int(), 1);
        assert!(line.b.recv().is_nil());
        let fence = line.fence;
        line.ends_with_c(fence);
    }
}

#[test]
fn an_agent_that_leaves_is_given_to_nobody() {
    for leave in ["LTMC.DEREGISTER r a", "LTMC.HEARTBEAT r a HEALTH FAILED", "LTMC.HEARTBEAT r a STATUS DRAINING"] {
        let mut line = Line::start();
        let release = format!("LTMC.AGENT.RELEASE r {}", line.fence);
        line.holder.pipeline(&[leave, &release]);
        assert_eq!(waiting(&line.server), 2, "{leave}");
        register(&line.server, "a", "");
        line.b_then_c();
    }
}

#[test]
fn an_agent_that_dies_is_given_to_nobody() {
    let line = Line::start();
    set_clock(&line.server, TTL_MS + 1);
    wait_until("it is suspect", || line.server.info_int("ltmc", "ltmc_event_agent_suspected") == 1);
    assert_eq!(line.server.info_int("ltmc", "ltmc_event_agent_claimexpired"), 1, "the claim was over before");
    set_clock(&line.server, 3 * TTL_MS);
    wait_until("it is dead", || line.server.info_int("ltmc", "ltmc_event_agent_died") == 1);
    set_clock(&line.server, 4 * TTL_MS);
    wait_until("it is forgotten", || line.server.run("EXISTS r").int() == 0);
    assert_eq!(waiting(&line.server), 2);
    register(&line.server, "a", "");
    line.b_then_c();
}

#[test]
fn no_more_than_so_many_may_wait() {
    let mut line = Line::start();
    line.server.run("CONFIG SET ltmc.claim-waiters-max 2").ok();
    let refused = line.holder.run("LTMC.AGENT.CLAIM r PX 600000 BLOCK 0");
    assert_eq!(refused.error_code(), "LIMIT");
    assert!(refused.error().contains("claim-waiters-max"), "{refused:?}");
    assert!(line.holder.run("LTMC.AGENT.CLAIM r PX 600000").is_nil(), "who does not wait is not refused");
    assert!(line.holder.run("LTMC.AGENT.CLAIM other PX 600000 BLOCK 1").is_nil(), "each registry has its own line");
    // Whoever leaves makes room.
    line.server.run(&format!("CLIENT KILL ID {}", line.b.id()));
    wait_until("one waits", || waiting(&line.server) == 1);
    let mut late = waiter(&line.server, "REF late");
    assert_eq!(release(&line.server, line.fence), 1);
    let fence = fence_on("a", &line.c.recv());
    assert_eq!(release(&line.server, fence), 1);
    fence_on("a", &late.recv());
}

#[test]
fn a_retry_that_waits_beside_its_request_gets_the_same_claim() {
    let server = Server::start();
    let mut same = [waiter(&server, "REQID job"), waiter(&server, "REQID job CAPS 1 never")];
    let mut other = waiter(&server, "REQID another");
    register(&server, "a", "CAPACITY 2");
    let told = same.each_mut().map(|client| claim_of(&client.recv()));
    assert_eq!(told[0], told[1]);
    assert_ne!(claim_of(&other.recv()), told[0]);
    assert_eq!(claim_of(&server.run("LTMC.AGENT.CLAIM r PX 600000 REQID job BLOCK 0")), told[0]);
    assert_eq!(server.run("LTMC.AGENT.GET r a").get("free").int(), 0, "two claims, not three");
    assert_idle(&server);
}

#[test]
fn a_request_whose_claim_was_taken_back_begins_anew() {
    let server = Server::start();
    let waiter = waiter(&server, "REQID job");
    let kill = format!("CLIENT KILL ID {}", waiter.id());
    let replies = server.client().pipeline(&[&format!("LTMC.REGISTER r a PX {TTL_MS}"), &kill]);
    wait_until("it is taken back", || server.info_int("ltmc", "ltmc_registry_taken_back") == 1);
    let fence = fence_on("a", &server.run("LTMC.AGENT.CLAIM r PX 600000 REQID job"));
    assert!(fence > replies[0].int());
    assert_eq!(server.run("LTMC.AGENT.GET r a").get("claims").array()[0].get("fence").int(), fence);
}

#[test]
fn a_claim_that_a_retry_was_told_of_stays_when_the_first_request_is_killed() {
    let server = Server::start();
    let first = waiter(&server, "REQID job");
    let mut retry = waiter(&server, "REQID job");
    let kill = format!("CLIENT KILL ID {}", first.id());
    server.client().pipeline(&[&format!("LTMC.REGISTER r a PX {TTL_MS}"), &kill]);
    let fence = fence_on("a", &retry.recv());
    wait_until("nobody is waited for", || server.info_int("clients", "blocked_clients") == 0);
    assert_eq!(release(&server, fence), 1, "the retry has it");
}
