//! What the random schedules found, in a few commands each.

use super::world::id_of;
use crate::host::Fact;
use crate::server::Server;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::command::scheduler;
use ltmc::command::settings::Setting;
use ltmc::domain::queue::rank::WaiterId;
use ltmc::domain::registry::{Registry, RegistryEvent};
use ltmc::domain::{Entity, Event};

/// What has happened until then, by commands and by the scheduler: who was answered, and the names
/// of the events.
fn pass_until(server: &mut Server, now: u64) -> (Vec<WaiterId>, Vec<&'static str>) {
    let (mut answered, mut events) = (Vec::new(), Vec::new());
    while let Some(next) = scheduler::next_tick(&server.node).filter(|next| *next <= now) {
        server.set_ms(next.max(server.host.now));
        scheduler::tick(&mut server.node, &mut server.host);
    }
    server.set_ms(now);
    for fact in server.host.log.drain(..) {
        match fact {
            Fact::Answered(id, _) => answered.push(id),
            Fact::Agent(_, decided) => events.extend(decided.iter().filter_map(RegistryEvent::name)),
            _ => {}
        }
    }
    (answered, events)
}

const START: u64 = 1_700_000_000_000;

fn check(server: &Server) -> Result<(), String> {
    let stored = server.host.peek::<Registry>(&id_of("r")).expect("a registry");
    stored.check().map_err(|broken| broken.0)
}

// The grace of a load moves the alarm beyond the end of the TTL. The invariant called that broken.
#[test]
fn an_alarm_that_waits_for_the_grace_after_a_load_is_not_late() {
    let mut server = Server::new();
    server.run(1, "LTMC.REGISTER r a PX 1000");
    server.set_ms(START + 500);
    server.node.keys_loaded();
    assert_eq!(pass_until(&mut server, START + 1_100).1, ["agent.registered"], "one time to live of grace");
    assert_eq!(check(&server), Ok(()));
    assert_eq!(pass_until(&mut server, START + 1_500).1, ["agent.suspected"]);
}

// A clone has less room for claims than the original, and had the bytes of the original.
#[test]
fn a_copy_of_a_registry_is_whole() {
    let mut server = Server::new();
    server.run(1, "LTMC.REGISTER r a CAPACITY 2");
    server.run(1, "LTMC.AGENT.CLAIM r PX 1000");
    let copy = server.host.peek::<Registry>(&id_of("r")).expect("a registry").clone();
    assert_eq!(copy.check(), Ok(()));
}

// Alarms that the hold had postponed stayed where they were when it ended.
#[test]
fn who_is_still_silent_one_time_to_live_after_a_hold_dies() {
    let mut server = Server::new();
    let settings = [(Setting::AgentHoldAgentsMin, 2), (Setting::AgentHoldSharePercent, 100)];
    settings.into_iter().for_each(|(setting, value)| server.node.settings.set_at(setting as usize, value));
    server.run(1, "LTMC.REGISTER r a PX 1000");
    server.run(1, "LTMC.REGISTER r b PX 1000");
    let (_, events) = pass_until(&mut server, START + 2_100);
    assert_eq!(events[2..], ["agent.suspected", "agent.suspected", "registry.held"]);
    server.run(1, "LTMC.HEARTBEAT r b");
    assert_eq!(pass_until(&mut server, START + 2_100).1, ["agent.recovered", "registry.resumed"]);
    server.set_ms(START + 3_000);
    server.run(1, "LTMC.HEARTBEAT r b");
    assert_eq!(pass_until(&mut server, START + 3_099).1, [""; 0]);
    assert_eq!(pass_until(&mut server, START + 3_100).1, ["agent.died"]);
}

// Of each line of waiters with the same filter, the first was served before the second of any.
#[test]
fn who_waits_longest_is_served_first_when_a_registry_comes_by_rename() {
    let mut server = Server::new();
    server.run(1, "LTMC.REGISTER r a CAPACITY 2");
    let stored = server.host.keys.remove(&id_of("r")).expect("a registry");
    for (client, filter) in [(1, ""), (2, ""), (3, " EXCLUDE 1 z")] {
        let outcome = server.run(client, &format!("LTMC.AGENT.CLAIM r PX 1000 BLOCK 0{filter}"));
        assert_eq!(outcome, Outcome::Waits);
    }
    server.host.keys.insert(id_of("r"), stored);
    server.node.key_changed(id_of("r"));
    assert_eq!(pass_until(&mut server, START).0, [WaiterId(1), WaiterId(2)]);
}

// The answer of a retry did not count as told.
#[test]
fn a_claim_that_a_retry_was_told_of_is_not_taken_back() {
    let mut server = Server::new();
    for client in [1, 2] {
        assert_eq!(server.run(client, "LTMC.AGENT.CLAIM r PX 1000 BLOCK 0 REQID q"), Outcome::Waits);
    }
    server.run(3, "LTMC.REGISTER r a");
    server.node.waits.told(WaiterId(2));
    scheduler::waiter_gone(&mut server.node, WaiterId(1));
    assert_eq!(pass_until(&mut server, START).1, ["agent.registered", "agent.claimed"]);
    assert_eq!(server.host.peek::<Registry>(&id_of("r")).map(|stored| stored.state.claims()), Some(1));
}

#[test]
fn an_agent_that_was_late_is_handed_out_when_it_is_heard_of() {
    let mut server = Server::new();
    for setting in [Setting::FailureDetector, Setting::PhiThreshold] {
        server.node.settings.set_at(setting as usize, 1);
    }
    // A TTL so long that the heartbeat which brings the agent back is no news for replicas.
    server.run(1, "LTMC.REGISTER r a PX 60000");
    let Outcome::Reply(Reply::Array(claim)) = server.run(1, "LTMC.AGENT.CLAIM r PX 60000") else { panic!("no claim") };
    let [_, Reply::Integer(fence)] = claim[..] else { panic!("no fence in {claim:?}") };
    assert_eq!(server.run(2, "LTMC.AGENT.CLAIM r PX 1000 BLOCK 0"), Outcome::Waits);
    for beat in 1..=20 {
        server.set_ms(START + beat * 10);
        server.run(1, "LTMC.HEARTBEAT r a");
    }
    // The scheduler is late, too: the agent is suspect, and that is not decided yet.
    server.set_ms(START + 2_000);
    server.run(1, &format!("LTMC.AGENT.RELEASE r {fence}"));
    assert!(server.answers().is_empty(), "nobody is handed out who is suspect");
    server.run(1, "LTMC.HEARTBEAT r a");
    assert_eq!(server.answers().len(), 1);
}

#[test]
fn a_registry_that_comes_by_rename_has_its_alarms() {
    let mut server = Server::new();
    server.run(1, "LTMC.REGISTER q a PX 1000");
    let stored = server.host.keys.remove(&id_of("q")).expect("a registry");
    let copy = server.host.replica.remove(&id_of("q")).expect("a copy");
    server.host.keys.insert(id_of("r"), stored);
    server.host.replica.insert(id_of("r"), copy);
    server.node.key_changed(id_of("r"));
    assert_eq!(pass_until(&mut server, START + 1_000).1, ["agent.registered", "agent.suspected"]);
    let claim = server.run(1, "LTMC.AGENT.CLAIM r PX 1000");
    assert_eq!(claim, Outcome::Reply(Reply::Nil), "nobody is offered who is suspect");
    assert_eq!(server.host.peek::<Registry>(&id_of("r")).map(|stored| stored.state.is_empty()), Some(false));
}
