//! Every way in which a wait for a claim ends other than by being served in peace.

use super::*;

/// In one write the claim is released, and the waiter that is handed the agent next is killed.
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
        // The holder's and c's: a grant that was taken back is no outcome of the agent's work.
        assert_eq!((shown.get("succeeded").int(), shown.get("failed").int()), (2, 0));
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
fn a_retry_that_waits_beside_its_request_gets_the_same_claim() {
    let server = Server::start();
    let mut same = [waiter(&server, "REQID job"), waiter(&server, "REQID job")];
    let mut other = waiter(&server, "REQID another");
    register(&server, "a", "CAPACITY 2");
    let told = same.each_mut().map(|client| claim_of(&client.recv()));
    assert_eq!(told[0], told[1]);
    assert_ne!(claim_of(&other.recv()), told[0]);
    assert_eq!(claim_of(&server.run(&format!("LTMC.AGENT.CLAIM r PX {LEASE_MS} REQID job BLOCK 0"))), told[0]);
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
