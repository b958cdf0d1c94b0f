//! Waiting for a claim: what serves a waiter, and which of several is served.

use crate::harness::*;
use crate::waiting::*;

mod crowd;
mod ends;
mod keys;
mod line;
mod places;

/// Longer than any lease in these tests: no agent becomes suspect unless a test wants it.
const TTL_MS: i64 = 6_000_000;
/// The lease of a claim.
const LEASE_MS: i64 = 600_000;

/// The agent and the fence of a claim.
#[track_caller]
fn claim_of(reply: &Reply) -> (String, i64) {
    let parts = reply.array();
    assert_eq!(parts.len(), 2, "{reply:?}");
    (parts[0].text().to_string(), parts[1].int())
}

/// The fence of a claim on `agent`.
#[track_caller]
fn fence_on(agent: &str, reply: &Reply) -> i64 {
    let (claimed, fence) = claim_of(reply);
    assert_eq!(claimed, agent);
    fence
}

#[track_caller]
fn release(server: &Server, fence: i64) -> i64 {
    server.run(&format!("LTMC.AGENT.RELEASE r {fence}")).int()
}

#[track_caller]
fn register(server: &Server, agent: &str, more: &str) -> i64 {
    server.run(&format!("LTMC.REGISTER r {agent} PX {TTL_MS} {more}")).int()
}

/// A client that waits for a claim with this filter.
#[track_caller]
fn waiter(server: &Server, filter: &str) -> Client {
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| {
        format!("LTMC.AGENT.CLAIM r PX {LEASE_MS} {filter} BLOCK 0")
    });
    client
}

/// The notes on the claims of an agent, in the order of their fences.
#[track_caller]
fn refs(server: &Server, key: &str, agent: &str) -> Vec<String> {
    let shown = server.run(&format!("LTMC.AGENT.GET {key} {agent}"));
    shown.get("claims").array().iter().map(|claim| claim.get("ref").text().to_string()).collect()
}

/// The only agent `a` is fully claimed, and two clients wait for it as `b` and `c`, in that order.
struct Line {
    server: Server,
    holder: Client,
    fence: i64,
    b: Client,
    c: Client,
}

impl Line {
    #[track_caller]
    fn start() -> Line {
        Line::on(Server::start())
    }

    #[track_caller]
    fn on(server: Server) -> Line {
        register(&server, "a", "");
        let mut holder = server.client();
        let fence = fence_on("a", &holder.run(&format!("LTMC.AGENT.CLAIM r PX {LEASE_MS} REF holder")));
        let line = |agent: &str| format!("LTMC.AGENT.CLAIM r PX {LEASE_MS} REF {agent} BLOCK 0");
        let [b, c] = waiters_in_turn(&server, ["b", "c"], line);
        Line { server, holder, fence, b, c }
    }

    /// The agent has passed to `b`, who passes it on to `c`. Then nothing is left.
    #[track_caller]
    fn b_then_c(mut self) -> Server {
        let first = fence_on("a", &self.b.recv());
        assert!(first > self.fence, "{first} is not above {}", self.fence);
        assert_eq!(refs(&self.server, "r", "a"), ["b"]);
        assert_eq!(waiting(&self.server), 1);
        assert_eq!(release(&self.server, first), 1);
        self.ends_with_c(first)
    }

    /// The agent has passed to `c`, with a fence above `before`. Then nothing is left.
    #[track_caller]
    fn ends_with_c(mut self, before: i64) -> Server {
        let last = fence_on("a", &self.c.recv());
        assert!(last > before, "{last} is not above {before}");
        assert_eq!(refs(&self.server, "r", "a"), ["c"]);
        assert_eq!(release(&self.server, last), 1);
        assert_idle(&self.server);
        assert!(refs(&self.server, "r", "a").is_empty());
        assert_in_step([&mut self.b, &mut self.c]);
        self.server
    }
}

#[test]
fn the_end_of_a_lease_hands_the_agent_on() {
    let line = Line::start();
    set_clock(&line.server, LEASE_MS + 1);
    line.b_then_c();
}

#[test]
fn a_new_registration_frees_what_was_claimed_for_those_who_wait() {
    let line = Line::start();
    register(&line.server, "a", "");
    line.b_then_c();
}

#[test]
fn an_agent_that_comes_later_serves_who_waited_for_nobody() {
    let server = Server::start();
    let mut first = waiter(&server, "REF first");
    let mut second = waiter(&server, "REF second");
    assert_eq!(server.run("EXISTS r").int(), 0, "waiting alone makes no registry");
    register(&server, "sleeper", "STATUS STARTING");
    register(&server, "full", "CAPACITY 0");
    assert_eq!(waiting(&server), 2, "neither of them takes work");
    register(&server, "a", "");
    assert!(fence_on("a", &first.recv()) > 0);
    let started = server.client().pipeline(&["MULTI", "LTMC.HEARTBEAT r sleeper STATUS IDLE", "EXEC"]);
    assert!(!started[2].is_error(), "{started:?}");
    assert!(fence_on("sleeper", &second.recv()) > 0);
    assert_idle(&server);
}

#[test]
fn a_heartbeat_that_makes_an_agent_fit_serves_who_waits() {
    // The agent, the request, and the heartbeat after which the agent fits.
    let table = [
        ("STATUS STARTING", "", "", "STATUS ACTIVE"),
        ("", "STATUS BUSY", "", "STATUS IDLE"),
        ("", "STATUS ERROR", "", "STATUS ACTIVE"),
        ("", "HEALTH FAILED", "", "HEALTH OK"),
        ("", "HEALTH FAILED REASON disk", "", "HEALTH DEGRADED"),
        ("", "STATUS IDLE", "STATUS 1 BUSY", "STATUS BUSY"),
        ("", "STATUS BUSY", "STATUS 2 DRAINING ERROR", "STATUS DRAINING"),
    ];
    let server = Server::start();
    for (registered, before, filter, after) in table {
        register(&server, "a", registered);
        server.run(&format!("LTMC.HEARTBEAT r a {before}")).int();
        let mut waiter = waiter(&server, filter);
        server.run("LTMC.HEARTBEAT r a LOAD 0.5").int();
        assert_eq!(waiting(&server), 1, "a plain heartbeat frees nobody: {after}");
        server.run(&format!("LTMC.HEARTBEAT r a {after}")).int();
        assert!(fence_on("a", &waiter.recv()) > 0, "{after}");
        server.run("DEL r");
    }
    assert_idle(&server);
}

#[test]
fn an_agent_that_is_back_from_silence_serves_who_waits() {
    for back in ["LTMC.HEARTBEAT r a", "LTMC.REGISTER r a"] {
        let server = Server::start();
        register(&server, "a", "");
        set_clock(&server, TTL_MS + 1);
        wait_until("it is suspect", || server.info_int("ltmc", "ltmc_event_agent_suspected") == 1);
        let mut waiter = waiter(&server, "");
        assert!(server.run(back).int() > 0);
        assert!(fence_on("a", &waiter.recv()) > 0, "{back}");
        assert_idle(&server);
    }
}

#[test]
fn an_agent_that_nobody_has_called_suspect_yet_serves_who_waits_when_it_is_heard_of() {
    let server = Server::start();
    server.run("LTMC.REGISTER r a PX 600000").int();
    let fence = fence_on("a", &server.run(&format!("LTMC.AGENT.CLAIM r PX {TTL_MS}")));
    let mut waiter = waiter(&server, "REF w");
    // In a transaction the scheduler has no turn: the agent is overdue when its claim is released,
    // and so is not handed out.
    let release = format!("LTMC.AGENT.RELEASE r {fence}");
    let lines = ["MULTI", "LTMC.DEBUG CLOCK 600001", &release, "LTMC.AGENT.GET r a", "LTMC.HEARTBEAT r a", "EXEC"];
    let replies = server.client().pipeline(&lines);
    let done = replies[5].array();
    assert_eq!(done[1].int(), 1);
    assert_eq!(done[2].get("status").text(), "suspect");
    assert!(done[2].get("claims").array().is_empty(), "{done:?}");
    assert!(fence_on("a", &waiter.recv()) > fence);
    assert_eq!(server.info_int("ltmc", "ltmc_event_agent_claimed"), 2);
}

#[test]
fn an_agent_that_is_offered_again_after_damping_serves_who_waits() {
    const HALF_LIFE_MS: i64 = 86_400_000;
    let server = Server::start();
    server.run(&format!("CONFIG SET ltmc.agent-damping-half-life-ms {HALF_LIFE_MS}")).ok();
    register(&server, "a", "");
    let mut offset = 0;
    for returns in 1..=3 {
        offset += TTL_MS + 1;
        set_clock(&server, offset);
        wait_until("it is suspect", || server.info_int("ltmc", "ltmc_event_agent_suspected") == returns);
        server.run("LTMC.HEARTBEAT r a").int();
    }
    let shown = server.run("LTMC.AGENT.GET r a");
    assert_eq!((shown.get("status").text(), shown.get("damped").int()), ("active", 1));
    let mut waiter = waiter(&server, "");
    let left = shown.get("damped_until_at_ms").int() - shown.get("heartbeat_at_ms").int();
    assert!(left > HALF_LIFE_MS, "{left}");
    // It stays alive until just before. In a transaction the scheduler cannot find it silent
    // between the two.
    let clock = format!("LTMC.DEBUG CLOCK {}", offset + left - TTL_MS / 2);
    let replies = server.client().pipeline(&["MULTI", &clock, "LTMC.HEARTBEAT r a", "EXEC"]);
    assert!(replies[3].array()[1].int() > 0, "{replies:?}");
    assert_eq!(waiting(&server), 1, "a heartbeat is not enough");
    set_clock(&server, offset + left + 1);
    assert!(fence_on("a", &waiter.recv()) > 0);
    assert_eq!(server.info_int("ltmc", "ltmc_event_agent_undamped"), 1);
}

#[test]
fn more_capacity_serves_as_many_more() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 0");
    let mut waiters: Vec<Client> = (0..4).map(|n| waiter(&server, &format!("REF w{n}"))).collect();
    register(&server, "a", "CAPACITY 3");
    let fences: Vec<i64> = waiters[..3].iter_mut().map(|waiter| fence_on("a", &waiter.recv())).collect();
    assert!(fences.is_sorted(), "{fences:?}");
    assert_eq!(refs(&server, "r", "a"), ["w0", "w1", "w2"]);
    assert_eq!(waiting(&server), 1);
    assert_eq!(release(&server, fences[1]), 1);
    assert!(fence_on("a", &waiters[3].recv()) > fences[2]);
    assert_eq!(refs(&server, "r", "a"), ["w0", "w2", "w3"]);
}

#[test]
fn the_longest_waiter_whose_filter_fits_is_served_first() {
    let server = Server::start();
    register(&server, "a", "CAPS 2 go sql@2.1 TAGS 1 eu META {\"gpu\":true}");
    let mut fence = fence_on("a", &server.run(&format!("LTMC.AGENT.CLAIM r PX {LEASE_MS}")));
    // Each requests something else, and every second one what `a` cannot give: those hold up
    // nobody.
    let fitting = ["CAPS 1 sql@>=2", "TAGS 1 eu", "META /gpu true", "ANYCAP 2 rust go", "EXCLUDE 1 x", "", "MINFREE 1"];
    let other = ["CAPS 1 rust", "TAGS 1 us", "META /gpu false", "STATUS 1 BUSY", "EXCLUDE 1 a", "MINFREE 2"];
    let mut waiters: Vec<Client> = Vec::new();
    let mut left_over: Vec<Client> = Vec::new();
    for (n, filter) in fitting.iter().enumerate() {
        left_over.extend(other.get(n).map(|filter| waiter(&server, filter)));
        waiters.push(waiter(&server, &format!("{filter} REF w{n}")));
    }
    for (n, waiter) in waiters.iter_mut().enumerate() {
        assert_eq!(release(&server, fence), 1);
        fence = fence_on("a", &waiter.recv());
        assert_eq!(refs(&server, "r", "a"), [format!("w{n}")]);
    }
    assert_eq!(release(&server, fence), 1);
    assert_eq!(waiting(&server), other.len() as i64, "what is free does not fit them");
    register(&server, "b", "CAPS 1 rust CAPACITY 2");
    // The first wants rust. Then one unit of `b` is left, which suits the client that excludes `a`.
    // MINFREE 2 finds no agent any more.
    assert!(fence_on("b", &left_over[0].recv()) > fence);
    assert!(fence_on("b", &left_over[4].recv()) > fence);
    assert_eq!(waiting(&server), other.len() as i64 - 2);
}

#[test]
fn waiters_with_one_filter_are_served_in_their_order_between_those_with_others() {
    let server = Server::start();
    register(&server, "a", "CAPS 1 go");
    let mut fence = fence_on("a", &server.run(&format!("LTMC.AGENT.CLAIM r PX {LEASE_MS}")));
    let filters = ["CAPS 1 go", "", "CAPS 1 go", "CAPS 1 rust", "", "CAPS 1 go"];
    let mut waiters: Vec<Client> = filters.iter().map(|filter| waiter(&server, filter)).collect();
    for n in [0, 1, 2, 4, 5] {
        assert_eq!(release(&server, fence), 1);
        fence = fence_on("a", &waiters[n].recv());
    }
    assert_eq!(waiting(&server), 1);
}

#[test]
fn a_claim_that_is_waited_for_lasts_from_when_it_was_given() {
    let line = Line::start();
    set_clock(&line.server, LEASE_MS / 2);
    assert_eq!(release(&line.server, line.fence), 1);
    let shown = line.server.run("LTMC.AGENT.GET r a");
    let claim = &shown.get("claims").array()[0];
    assert_eq!(claim.get("ends_at_ms").int() - claim.get("since_at_ms").int(), LEASE_MS);
    assert!(claim.get("since_at_ms").int() >= shown.get("registered_at_ms").int() + LEASE_MS / 2);
    set_clock(&line.server, LEASE_MS + 10_000);
    assert_eq!(waiting(&line.server), 1, "the lease did not begin with the wait");
    line.b_then_c();
}
