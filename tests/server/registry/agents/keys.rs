//! A registry as a key of Redis: type, notifications, transactions, memory, users, counters.

use super::*;

/// Collects the events of the key `r`.
struct Listener {
    client: Client,
}

impl Listener {
    fn of(server: &Server) -> Listener {
        server.run("CONFIG SET notify-keyspace-events KEAd").ok();
        let mut client = server.client();
        client.run("SUBSCRIBE __keyspace@0__:r");
        Listener { client }
    }

    /// The names of the events up to one called `last`.
    #[track_caller]
    fn until(&mut self, last: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        while names.last().is_none_or(|name| name != last) {
            names.push(self.client.recv().array()[2].text().to_string());
        }
        // Redis itself has an event for the key that goes with its last agent.
        names.retain(|name| name == last || name != "del");
        names
    }
}

#[test]
fn what_agents_and_claimers_do_is_notified() {
    let server = Server::start();
    let mut listener = Listener::of(&server);
    for (line, events) in [
        ("LTMC.REGISTER r a CAPACITY 2", vec!["agent.registered"]),
        ("LTMC.HEARTBEAT r a", vec![]),
        ("LTMC.HEARTBEAT r a LOAD 0.5", vec![]),
        ("LTMC.HEARTBEAT r a STATUS ACTIVE HEALTH OK", vec![]),
        ("LTMC.HEARTBEAT r a STATUS IDLE HEALTH DEGRADED", vec!["agent.status", "agent.health"]),
        ("LTMC.AGENT.FIND r", vec![]),
        ("LTMC.REGISTER r a NX", vec![]),
        ("LTMC.AGENT.CLAIM r PX 600000 MINFREE 3", vec![]),
        ("LTMC.AGENT.CLAIM r PX 600000 REQID 1", vec!["agent.claimed"]),
        ("LTMC.AGENT.CLAIM r PX 600000 REQID 1", vec![]),
        ("LTMC.REGISTER r a", vec!["agent.registered"]),
        ("LTMC.DEREGISTER r b", vec![]),
        ("LTMC.DEREGISTER r a", vec!["agent.deregistered"]),
    ] {
        assert!(!server.run(line).is_error(), "{line}");
        // An event of our own behind it: there are no others before it.
        let epoch = server.run("LTMC.REGISTER r mark").int();
        assert_eq!(server.run(&format!("LTMC.DEREGISTER r mark EPOCH {epoch}")).int(), 1);
        let mut given = listener.until("agent.deregistered");
        if given.iter().all(|name| name != "agent.registered") || events.contains(&"agent.deregistered") {
            given.extend(listener.until("agent.deregistered"));
        }
        let marks = given.iter().rposition(|name| name == "agent.registered").expect("the mark");
        assert_eq!(given[..marks], events, "{line}");
    }
}

#[test]
fn what_time_does_is_notified() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-damping-half-life-ms 3600000").ok();
    let mut listener = Listener::of(&server);
    register(&server, "a", "");
    for turn in 1..=3 {
        silent_until(&server, turn * (TTL_MS + 1), "a", "agent.suspected");
        server.run("LTMC.HEARTBEAT r a").int();
    }
    let until = shown(&server, "a").get("damped_until_at_ms").int();
    let left = until - shown(&server, "a").get("heartbeat_at_ms").int();
    let mut offset = 3 * (TTL_MS + 1) + left + 1;
    silent_until(&server, offset, "a", "agent.undamped");
    wait_until("it is a suspect", || field(&server, "a", "status") == "suspect");
    offset += TTL_MS + 60_000;
    silent_until(&server, offset, "a", "agent.died");
    silent_until(&server, offset + 60_000, "a", "agent.removed");
    let mut expected = vec!["agent.registered"];
    expected.extend(["agent.suspected", "agent.recovered"].repeat(3));
    expected.extend(["agent.undamped", "agent.suspected", "agent.died", "agent.removed"]);
    assert_eq!(listener.until("agent.removed"), expected);
    assert_eq!(server.run("EXISTS r").int(), 0, "the key goes with its last agent");
}

#[test]
fn a_hold_and_its_end_are_notified() {
    let server = Server::start();
    let mut listener = Listener::of(&server);
    let all: Vec<String> = (0..10).map(|n| format!("a{n}")).collect();
    for agent in &all {
        register(&server, agent, "");
    }
    server.run(&format!("LTMC.DEBUG CLOCK {}", TTL_MS + 60_000)).ok();
    wait_until("all are suspect", || server.run("LTMC.AGENT.STATS r").get("total_suspected").int() == 10);
    wait_until("the silence is held", || server.run("LTMC.AGENT.STATS r").get("held").int() == 1);
    let stats = server.run("LTMC.AGENT.STATS r");
    assert_eq!((stats.get("held").int(), stats.get("dead").int()), (1, 0));
    assert!(stats.get("held_since_at_ms").int() > 0);
    for agent in &all {
        server.run(&format!("LTMC.HEARTBEAT r {agent}")).int();
    }
    assert!(listener.until("registry.resumed").contains(&"registry.held".to_string()));
    assert_eq!(server.run("LTMC.AGENT.STATS r").get("held").int(), 0);
}

#[test]
fn an_expired_and_a_released_claim_have_names_of_their_own() {
    let server = Server::start();
    let mut listener = Listener::of(&server);
    register(&server, "a", "");
    let fence = server.run("LTMC.AGENT.CLAIM r PX 600000").array()[1].int();
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE r {fence}")).int(), 1);
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE r {fence}")).int(), 0);
    server.run("LTMC.AGENT.CLAIM r PX 20").array();
    let names = listener.until("agent.claimexpired");
    assert_eq!(names, ["agent.registered", "agent.claimed", "agent.released", "agent.claimed", "agent.claimexpired"]);
}

#[test]
fn other_types_are_refused_and_refuse_agents() {
    let server = Server::start();
    server.run("SET text v").ok();
    server.run("LTMC.LOCK lock a PX 600000").int();
    register(&server, "a", "");
    assert_eq!(server.run("TYPE r").text(), "ltmcagent");
    let before = server.debug_digest();
    for key in ["text", "lock"] {
        for line in [
            "LTMC.REGISTER KEY a",
            "LTMC.DEREGISTER KEY a",
            "LTMC.HEARTBEAT KEY a",
            "LTMC.AGENT.GET KEY a",
            "LTMC.AGENT.LIST KEY",
            "LTMC.AGENT.FIND KEY",
            "LTMC.AGENT.CLAIM KEY PX 5",
            "LTMC.AGENT.CLAIM KEY PX 5 BLOCK 0",
            "LTMC.AGENT.RELEASE KEY 2",
            "LTMC.AGENT.STATS KEY",
        ] {
            let line = line.replace("KEY", key);
            assert_eq!(server.run(&line).error_code(), "WRONGTYPE", "{line}");
        }
    }
    for line in ["LTMC.LOCK r a", "LTMC.LOCK.INFO r", "LTMC.UNLOCK r a", "LTMC.GUARD r 2 PING", "GET r", "LPUSH r v"] {
        assert_eq!(server.run(line).error_code(), "WRONGTYPE", "{line}");
    }
    assert_eq!(server.debug_digest(), before);
}

#[test]
fn a_registry_has_no_time_to_live_and_goes_with_its_last_agent() {
    let server = Server::start();
    server.run("LTMC.REGISTER r a PX 1000").int();
    server.run("LTMC.REGISTER r b").int();
    assert_eq!(server.run("PTTL r").int(), -1);
    server.run("LTMC.AGENT.CLAIM r PX 600000").array();
    assert_eq!(server.run("LTMC.DEREGISTER r a").int(), 1);
    assert_eq!(server.run("EXISTS r").int(), 1);
    assert_eq!(server.run("LTMC.DEREGISTER r b").int(), 1, "a claim does not keep an agent");
    assert_eq!(server.run("EXISTS r").int(), 0);
    for line in ["LTMC.DEREGISTER r b", "LTMC.AGENT.RELEASE r 4", "LTMC.AGENT.CLAIM r PX 5", "LTMC.AGENT.FIND r"] {
        assert!(!server.run(line).is_error(), "{line}");
    }
    assert_eq!(server.run("EXISTS r").int(), 0, "none of these makes a registry");
}

#[test]
fn a_transaction_is_broken_by_what_others_can_see_and_by_nothing_else() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 2");
    let mut client = server.client();
    let mut runs_after = |lines: &[&str]| {
        client.run("WATCH r").ok();
        lines.iter().for_each(|line| drop(server.run(line)));
        !client.pipeline(&["MULTI", "PING", "EXEC"])[2].is_nil()
    };
    assert!(runs_after(&[
        "LTMC.HEARTBEAT r a",
        "LTMC.HEARTBEAT r a STATUS ACTIVE",
        "LTMC.HEARTBEAT r a STATUS STARTING",
        "LTMC.HEARTBEAT r b",
        "LTMC.REGISTER r a NX",
        "LTMC.DEREGISTER r b",
        "LTMC.AGENT.CLAIM r PX 5 CAPS 1 none",
        "LTMC.AGENT.RELEASE r 4",
        "LTMC.AGENT.GET r a",
        "LTMC.AGENT.LIST r",
        "LTMC.AGENT.FIND r SORT RANDOM",
        "LTMC.AGENT.STATS r",
    ]));
    for line in [
        "LTMC.HEARTBEAT r a STATUS IDLE",
        "LTMC.HEARTBEAT r a HEALTH OK REASON x",
        "LTMC.AGENT.CLAIM r PX 600000",
        "LTMC.REGISTER r a",
        "LTMC.DEREGISTER r a",
    ] {
        assert!(!runs_after(&[line]), "{line}");
    }
}

#[test]
fn an_agent_costs_little_memory_and_gives_all_of_it_back() {
    let server = Server::start();
    let usage = || server.run("MEMORY USAGE r").int();
    register(&server, "a", "");
    let one = usage();
    assert!((500..8000).contains(&one), "{one}");
    let mut client = server.client();
    let lines = |line: &str| -> Vec<String> { (0..200).map(|n| line.replace('#', &n.to_string())).collect() };
    client.pipeline(&lines("LTMC.REGISTER r agent# PX 600000 CAPS 2 go cap#@1.# TAGS 1 t# META {\"n\":#} CAPACITY 9"));
    let many = usage();
    assert!(many > one + 200 * 300 && many < one + 200 * 4000, "{one} {many}");
    client.pipeline(&lines("LTMC.AGENT.CLAIM r PX 600000 REF about#"));
    assert!(usage() > many + 200 * 30, "claims are counted: {many} {}", usage());
    client.pipeline(&lines("LTMC.DEREGISTER r agent#"));
    let stats = server.run("LTMC.AGENT.STATS r");
    assert_eq!(stats.get("capabilities").int() + stats.get("tags").int() + stats.get("meta_values").int(), 0);
    // The log of events for watchers stays, and tables keep their room.
    assert!(usage() < many, "{} after {many}", usage());
}

// One capability in several versions. When the last agent that has it leaves, all of it has to go.
#[test]
fn registering_again_and_again_takes_no_more_memory() {
    let server = Server::start();
    let memory = || server.run("LTMC.AGENT.STATS r").get("memory_bytes").int();
    let mut client = server.client();
    let mut after_2000 = |caps: &str| {
        let lines: Vec<String> = (0..2000).map(|_| format!("LTMC.REGISTER r a PX {TTL_MS} {caps}")).collect();
        client.pipeline(&lines);
        let counted = memory();
        // A reload counts anew.
        server.debug_reload();
        (counted, memory())
    };
    for caps in ["CAPS 1 go@1", "CAPS 2 go@1 go@2", "CAPS 2 go go@1"] {
        let (counted, anew) = after_2000(caps);
        assert!(counted - anew < 100_000, "{caps}: {counted} bytes after 2000 registrations, {anew} after a reload");
    }
}

#[test]
fn registries_of_other_databases_and_names_are_apart() {
    let server = Server::start();
    let epoch = register(&server, "a", "");
    let mut other = server.client();
    other.run("SELECT 3").ok();
    assert!(other.run("LTMC.AGENT.GET r a").is_nil());
    assert!(other.run("LTMC.REGISTER r a").int() > epoch);
    assert_eq!(shown(&server, "a").get("epoch").int(), epoch);
    server.run("RENAME r team").ok();
    assert!(shown(&server, "a").is_nil());
    assert_eq!(server.run(&format!("LTMC.HEARTBEAT team a EPOCH {epoch}")).int(), TTL_MS);
    assert_eq!(server.run("MOVE team 3").int(), 1);
    assert_eq!(other.run(&format!("LTMC.DEREGISTER team a EPOCH {epoch}")).int(), 1);
}

#[test]
fn a_user_registers_beats_and_leaves_only_under_its_own_name_if_agents_are_bound() {
    let server = Server::start();
    server.run("ACL SETUSER ada on nopass ~* +@all -ltmc.lock.break").ok();
    let mut ada = server.client();
    ada.run("AUTH ada x").ok();
    register(&server, "bob", "");
    assert_eq!(ada.run("LTMC.HEARTBEAT r bob").int(), TTL_MS, "nobody is bound by default");
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    let before = server.debug_digest();
    for id in ["bob", "ad", "adas", "ADA", "x:ada", "nobody"] {
        for line in
            ["LTMC.REGISTER r ID NX", "LTMC.HEARTBEAT r ID STATUS IDLE", "LTMC.DEREGISTER r ID", "LTMC.REGISTER r2 ID"]
        {
            let line = line.replace("ID", id);
            let denied = ada.run(&line);
            assert_eq!(denied.error_code(), "DENIED", "{line}");
            assert!(denied.error().contains(&format!("user 'ada' may not act as '{id}'")), "{denied:?}");
        }
    }
    let script = ada.cmd(&["EVAL", "return redis.pcall('LTMC.DEREGISTER','r','bob')", "0"]);
    assert_eq!(script.error_code(), "DENIED", "{script:?}");
    assert_eq!(server.debug_digest(), before);
    for id in ["ada", "ada:1", "ada:"] {
        assert!(ada.run(&format!("LTMC.REGISTER r {id}")).int() > 0);
        assert_eq!(ada.run(&format!("LTMC.HEARTBEAT r {id}")).int(), 30_000);
        assert_eq!(ada.run(&format!("LTMC.DEREGISTER r {id}")).int(), 1);
    }
    assert_eq!(ada.run("LTMC.AGENT.GET r bob").get("id").text(), "bob", "looking and claiming is free");
    let fence = ada.run("LTMC.AGENT.CLAIM r PX 600000").array()[1].int();
    assert_eq!(ada.run(&format!("LTMC.AGENT.RELEASE r {fence}")).int(), 1);
}

#[test]
fn info_counts_commands_errors_and_events_of_the_registry() {
    let server = Server::start();
    let info =
        |name: &str| server.info("ltmc").get(&format!("ltmc_{name}")).map_or(0, |text| text.parse().unwrap_or(-1));
    register(&server, "a", "");
    let fence = server.run("LTMC.AGENT.CLAIM r PX 600000").array()[1].int();
    assert!(server.run("LTMC.AGENT.CLAIM r PX 600000").is_nil());
    assert_eq!(server.run("LTMC.HEARTBEAT r nobody").error_code(), "NOAGENT");
    assert_eq!(server.run("LTMC.HEARTBEAT r a BAD").error_code(), "ERR");
    server.run("LTMC.HEARTBEAT r a STATUS IDLE").int();
    server.run(&format!("LTMC.AGENT.RELEASE r {fence}")).int();
    server.run("LTMC.AGENT.FIND r").array();
    for (name, value) in [
        ("registry_commands", 8),
        ("registry_errors", 2),
        ("registry_waits", 0),
        ("registry_panics", 0),
        ("event_agent_registered", 1),
        ("event_agent_claimed", 1),
        ("event_agent_status", 1),
        ("event_agent_released", 1),
        ("event_agent_health", 0),
    ] {
        assert_eq!(info(name), value, "{name} in {:?}", server.info("ltmc"));
    }
    let services = server.run("LTMC.STATUS");
    let registry = services.get("services").get("registry");
    assert_eq!((registry.get("commands").int(), registry.get("errors").int()), (8, 2));
    assert_eq!(registry.get("changes").int(), info("registry_changes"));
    assert!(info("registry_changes") >= 4);
}
