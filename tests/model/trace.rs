//! The trace of debug mode: it changes nothing, and it tells apart what was asked for and what
//! followed.

use crate::driver::Schedule;
use crate::lock::world::World;
use crate::server::Server;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::command::settings::policies::Mode;
use ltmc::command::settings::Setting;
use ltmc::observe::trace::{Traced, SCHEDULER};

fn traced_server() -> Server {
    let mut server = Server::new();
    server.node.settings.set_at(Setting::OrchestrationMode as usize, Mode::Debug as i64);
    server
}

/// The newest trace.
fn last(server: &Server) -> Traced {
    server.node.trace.newest().next().expect("something was traced").clone()
}

/// The newest trace of a look at `key`.
fn last_round(server: &Server, key: &str) -> Traced {
    let of_key = |traced: &&Traced| traced.name == SCHEDULER && *traced.args[0] == *key.as_bytes();
    server.node.trace.newest().find(of_key).unwrap_or_else(|| panic!("no look at {key} was traced")).clone()
}

/// The events as `key name`. Those that nobody asked for follow an arrow.
fn events(traced: &Traced) -> Vec<String> {
    let shown = traced.events.kept.iter().map(|event| {
        let name = event.text.split(' ').next().unwrap_or_default();
        format!("{}{} {name}", if event.is_follow_up { "> " } else { "" }, String::from_utf8_lossy(&event.key))
    });
    shown.collect()
}

fn woken(traced: &Traced) -> Vec<(u64, String)> {
    let woken = traced.woken.kept.iter();
    woken.map(|(client, key)| (*client, String::from_utf8_lossy(key).into_owned())).collect()
}

fn client(id: u64, key: &str) -> (u64, String) {
    (id, key.to_string())
}

/// The last operations and answers. `LTMC.STATUS` is left out, since it shows the mode.
fn told(world: &World) -> Vec<&String> {
    world.history.lines().iter().filter(|line| !line.contains("LTMC.STATUS")).collect()
}

#[test]
fn a_traced_server_does_what_one_does_that_is_not() {
    for seed in 1..=30 {
        let (mut plain, mut traced) = (World::new(seed), World::new(seed));
        traced.trace();
        for _ in 0..300 {
            plain.step();
            traced.step();
            assert_eq!(told(&plain), told(&traced), "seed {seed}");
            assert_eq!(plain.last_fence, traced.last_fence, "seed {seed}");
        }
        assert!(plain.node.trace.is_empty() && !traced.node.trace.is_empty(), "seed {seed}");
    }
}

/// The fence in an answer that has only one number of that size.
fn fence_of(outcome: &Outcome) -> u64 {
    let Outcome::Reply(Reply::Array(items)) = outcome else { panic!("{outcome:?}") };
    let fence = items.iter().find_map(|item| if let Reply::Integer(fence) = item { Some(*fence) } else { None });
    fence.unwrap_or_else(|| panic!("no fence in {outcome:?}")) as u64
}

#[test]
fn a_lock_that_is_handed_on_shows_what_was_asked_for_and_what_followed() {
    let mut server = traced_server();
    server.run(1, "LTMC.LOCK k a");
    assert_eq!(events(&last(&server)), ["k lock.granted"]);
    server.waits(2, "LTMC.LOCK k b BLOCK 0");
    assert_eq!((&*last(&server).outcome, last(&server).client), ("waits", 2));
    server.run(1, "LTMC.UNLOCK k a");
    let traced = last(&server);
    assert_eq!(events(&traced), ["k lock.released", "> k lock.granted"]);
    assert_eq!(woken(&traced), [client(2, "k")]);
    assert_eq!((traced.name, &*traced.outcome), ("LTMC.UNLOCK", "integer 1"));
    server.run(1, "LTMC.MLOCK c 2 x y");
    assert_eq!(events(&last(&server)), ["x lock.granted", "y lock.granted"]);
}

#[test]
fn a_lease_that_ends_is_traced_as_a_round_of_the_scheduler() {
    let mut server = traced_server();
    server.run(1, "LTMC.LOCK k c PATH y PX 60000");
    server.run(1, "LTMC.LOCK k a PATH x PX 100");
    server.waits(2, "LTMC.LOCK k b PATH x BLOCK 0");
    server.pass_ms(200);
    server.settle();
    let traced = last_round(&server, "k");
    assert_eq!(traced.client, 0);
    assert_eq!(events(&traced), ["k lock.expired", "> k lock.granted"]);
    assert_eq!(woken(&traced), [client(2, "k")]);
    let known = server.node.trace.len();
    server.waits(3, "LTMC.LOCK k d PATH x BLOCK 0");
    for _ in 0..10 {
        // A client waits, so the key is looked at, and nothing happens.
        server.pass_ms(1_000);
        server.settle();
    }
    assert_eq!(server.node.trace.len(), known + 1);
}

#[test]
fn the_waiters_of_every_service_are_served_as_what_followed() {
    let mut server = traced_server();
    server.run(1, "LTMC.REGISTER agents ada");
    let fence = fence_of(&server.run(1, "LTMC.AGENT.CLAIM agents PX 1000"));
    server.waits(2, "LTMC.AGENT.CLAIM agents PX 1000 BLOCK 0");
    server.run(1, &format!("LTMC.AGENT.RELEASE agents {fence}"));
    assert_eq!(events(&last(&server)), ["agents agent.released", "> agents agent.claimed"]);
    assert_eq!(woken(&last(&server)), [client(2, "agents")]);

    server.waits(2, "LTMC.MSG.RECV mail bob BLOCK 0");
    server.run(1, "LTMC.MSG.SEND mail ada TO 1 bob text");
    assert_eq!(events(&last(&server)), ["mail mail.sent", "> mail mail.received"]);
    assert_eq!(woken(&last(&server)), [client(2, "mail")]);

    server.run(1, "LTMC.FLOW.CREATE flow");
    server.waits(2, "LTMC.TASK.CLAIM flow bob BLOCK 0");
    server.run(1, "LTMC.TASK.ADD flow t payload LOCKS 1 lock");
    assert_eq!(events(&last(&server)), ["flow task.added", "> lock lock.granted", "> flow task.claimed"]);
    assert_eq!(woken(&last(&server)), [client(2, "flow")]);
    server.waits(3, "LTMC.TASK.WAIT flow t BLOCK 0");
    server.run(1, "LTMC.TASK.CANCEL flow t");
    assert_eq!(events(&last(&server)), ["flow task.stopping"]);
    server.pass_ms(11_000);
    server.settle();
    let traced = last_round(&server, "flow");
    assert_eq!(events(&traced), ["flow task.cancelled", "> lock lock.released"]);
    assert_eq!(woken(&traced), [client(3, "flow")]);
}

#[test]
fn what_the_dead_held_goes_back_as_what_followed() {
    let mut server = traced_server();
    server.run(1, "LTMC.REGISTER agents ada");
    server.run(1, "LTMC.REGISTER agents bob");
    server.run(1, "LTMC.LOCK lock ada REGISTRY agents");
    server.waits(2, "LTMC.LOCK lock bob BLOCK 0");
    server.run(1, "LTMC.AGENT.CLAIM agents PX 1000 EXCLUDE 1 ada REF ada REGISTRY agents");
    server.run(1, "LTMC.DEREGISTER agents ada");
    let traced = last(&server);
    let mut shown = events(&traced);
    assert_eq!(shown.remove(0), "agents agent.deregistered");
    shown.sort();
    assert_eq!(shown, ["> agents agent.released", "> lock lock.agentgone", "> lock lock.granted"]);
    assert_eq!(woken(&traced), [client(2, "lock")]);
}

#[test]
fn who_waits_for_an_answer_or_watches_is_shown_as_woken() {
    let mut server = traced_server();
    server.run(1, "LTMC.CACHE.GET cache tool {}");
    server.waits(2, "LTMC.CACHE.GET cache tool {} BLOCK 0");
    server.run(1, "LTMC.CACHE.PUT cache tool {} answer");
    assert_eq!(woken(&last(&server)), [client(2, "cache")]);

    server.run(1, "LTMC.CTX.CREATE ctx");
    server.waits(3, "LTMC.WATCH 1 ctx SINCE $ BLOCK 0");
    server.run(1, "LTMC.CTX.UPDATE ctx ada SET /a 1");
    assert_eq!(events(&last(&server)), ["ctx context.changed"]);
    assert_eq!(woken(&last(&server)), [client(3, "ctx")]);

    server.run(1, "LTMC.SESSION.CREATE s");
    server.run(1, "LTMC.SESSION.OWN s lock");
    server.waits(4, "LTMC.WATCH 1 s SINCE $ BLOCK 0");
    server.run(1, "LTMC.SESSION.END s");
    assert_eq!(events(&last(&server)), ["s session.ended", "s session.returned"]);
    assert_eq!(woken(&last(&server)), [client(4, "s")], "once, though there is news twice");
}

#[test]
fn a_session_that_ends_gives_back_its_locks_as_what_followed() {
    let mut server = traced_server();
    server.run(1, "LTMC.SESSION.CREATE s PARTICIPANTS 1 ada");
    server.run(1, "LTMC.SESSION.OWN s lock");
    server.run(1, "LTMC.LOCK lock ada");
    server.waits(2, "LTMC.LOCK lock bob BLOCK 0");
    server.run(1, "LTMC.SESSION.END s");
    let traced = last(&server);
    let expected = ["s session.ended", "> lock lock.released", "> lock lock.granted", "s session.returned"];
    assert_eq!(events(&traced), expected);
    assert_eq!(woken(&traced), [client(2, "lock")]);
}

#[test]
fn who_looks_at_traces_leaves_none_and_the_mode_can_change_at_any_time() {
    let mut server = traced_server();
    server.run(1, "LTMC.LOCK k a");
    server.run(1, "LTMC.TRACE GET");
    server.try_run(1, "LTMC.TRACE NONE").expect_err("no such word");
    assert_eq!(server.node.trace.len(), 1);
    server.node.settings.set_at(Setting::OrchestrationMode as usize, Mode::Full as i64);
    server.run(1, "LTMC.UNLOCK k a");
    assert_eq!(last(&server).name, "LTMC.LOCK", "what was traced stays, and no more comes");
    server.node.settings.set_at(Setting::OrchestrationMode as usize, Mode::Debug as i64);
    server.try_run(1, "LTMC.LOCK k").expect_err("an owner is missing");
    assert!(last(&server).outcome.starts_with("ERR wrong number of arguments"), "{:?}", last(&server));
    server.run(1, "LTMC.TRACE RESET");
    assert!(server.node.trace.is_empty());
}
