//! Agents that come and go.

use super::*;

/// Lets `a` fall silent and come back. The clock is at `offset` afterwards.
#[track_caller]
fn flap(server: &Server, offset: i64, back: &str) {
    let before = happened(server, "agent.suspected");
    set_clock(server, offset);
    wait_for(server, "agent.suspected", before + 1);
    server.run(back).int();
}

fn damped(server: &Server) -> bool {
    let agent = shown(server, "a");
    let is_damped = agent.get("damped").int() == 1;
    assert_eq!(agent.get("damped_until_at_ms").is_nil(), !is_damped, "{agent:?}");
    assert_eq!(server.run("LTMC.AGENT.FIND r").array().is_empty(), is_damped, "{agent:?}");
    is_damped
}

const STEP: i64 = TTL_MS + 1000;

#[test]
fn the_third_return_in_short_time_keeps_an_agent_back_for_a_while() {
    for back in ["LTMC.HEARTBEAT r a", "LTMC.REGISTER r a"] {
        let server = Server::start();
        server.run("CONFIG SET ltmc.agent-damping-half-life-ms 10000000").ok();
        register(&server, "a", "");
        for turn in 1..=3 {
            assert!(!damped(&server), "before return {turn} by {back}");
            flap(&server, turn * STEP, back);
        }
        assert!(damped(&server), "{back}");
        let agent = shown(&server, "a");
        // 1000, and what is left of 1000 after one and after two steps of 0.06 half-lives.
        assert!((2870..2890).contains(&agent.get("penalty").int()), "{agent:?}");
        let until = agent.get("damped_until_at_ms").int();
        let kept_back_ms = until - agent.get("heartbeat_at_ms").int();
        // log2(2880 / 750) half-lives.
        assert!((19_300_000..19_500_000).contains(&kept_back_ms), "{kept_back_ms}");
        // It sends heartbeats until then, so that nothing but the damping ends.
        server.run(&format!("LTMC.REGISTER r a PX {}", 100 * TTL_MS)).int();
        assert!(damped(&server), "a registration does not wash it away");
        assert_eq!(shown(&server, "a").get("damped_until_at_ms").int(), until);
        set_clock(&server, 3 * STEP + kept_back_ms - 60_000);
        assert!(damped(&server), "a minute is left");
        let mut waiter = server.client();
        server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.AGENT.CLAIM r PX 600000 BLOCK 0".into());
        set_clock(&server, 3 * STEP + kept_back_ms + 60_000);
        assert_eq!(waiter.recv().array()[0].text(), "a");
        let story = story(&server, "r");
        assert!(number(named(&story, "agent.undamped")[0], "at_ms") >= until);
        assert!(shown(&server, "a").get("penalty").int() <= 750);
    }
}

#[test]
fn returns_now_and_then_keep_nobody_back() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-damping-half-life-ms 60000").ok();
    register(&server, "a", "");
    for turn in 1..=6 {
        flap(&server, turn * STEP, "LTMC.HEARTBEAT r a");
        assert!(!damped(&server), "return {turn}");
        assert!((999..=1002).contains(&shown(&server, "a").get("penalty").int()), "ten half-lives leave nothing");
    }
}

#[test]
fn without_a_half_life_nobody_is_kept_back() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-damping-half-life-ms 0").ok();
    register(&server, "a", "");
    for turn in 1..=6 {
        flap(&server, turn * STEP, "LTMC.HEARTBEAT r a");
        assert!(!damped(&server));
        assert_eq!(shown(&server, "a").get("penalty").int(), 0);
    }
}

#[test]
fn a_dead_agent_is_remembered_as_long_as_it_is_kept_back() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-damping-half-life-ms 10000000").ok();
    register(&server, "a", "");
    for turn in 1..=3 {
        flap(&server, turn * STEP, "LTMC.HEARTBEAT r a");
    }
    let until = shown(&server, "a").get("damped_until_at_ms").int();
    let now = shown(&server, "a").get("heartbeat_at_ms").int() - 3 * STEP;
    set_clock(&server, 4 * STEP);
    wait_for(&server, "agent.suspected", 4);
    set_clock(&server, 6 * STEP);
    wait_for(&server, "agent.died", 1);
    assert_eq!(shown(&server, "a").get("removed_at_ms").int(), until);
    assert_eq!(server.run("LTMC.HEARTBEAT r a").error_code(), "BADSTATE");
    // A registration under its name is kept back longer still: it is a return, too.
    server.run("LTMC.REGISTER r a NX").int();
    assert!(damped(&server));
    assert!(shown(&server, "a").get("damped_until_at_ms").int() > until);
    set_clock(&server, 7 * STEP);
    wait_for(&server, "agent.suspected", 5);
    set_clock(&server, 9 * STEP);
    wait_for(&server, "agent.died", 2);
    let removed_at = shown(&server, "a").get("removed_at_ms").int();
    set_clock(&server, removed_at - now + 60_000);
    wait_until("it is forgotten", || server.run("EXISTS r").int() == 0);
    assert_eq!(happened(&server, "agent.undamped"), 0, "the dead are not offered");
}
