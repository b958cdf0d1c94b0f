//! What an agent is: registration, epochs, the statuses that it declares, what AGENT.GET, LIST and
//! STATS show.

use crate::harness::*;
use std::collections::BTreeSet;

mod keys;
mod statuses;

/// Longer than any test takes: no agent becomes suspect unless the clock is moved.
pub const TTL_MS: i64 = 600_000;

/// Registers `agent` in the registry `r` with more words behind.
#[track_caller]
pub fn register(server: &Server, agent: &str, more: &str) -> i64 {
    server.run(&format!("LTMC.REGISTER r {agent} PX {TTL_MS} {more}")).int()
}

#[track_caller]
pub fn shown(server: &Server, agent: &str) -> Reply {
    server.cmd(&["LTMC.AGENT.GET", "r", agent])
}

/// One field of an agent that is a text.
#[track_caller]
pub fn field(server: &Server, agent: &str, name: &str) -> String {
    shown(server, agent).get(name).text().to_string()
}

/// Moves the clock of the module, and waits until the scheduler has given `agent` this health.
#[track_caller]
pub fn silent_until(server: &Server, offset_ms: i64, agent: &str, event: &str) {
    let field = format!("ltmc_event_{}", event.replace('.', "_"));
    let count = || server.info("ltmc").get(&field).cloned().unwrap_or_default();
    let before = count();
    server.run(&format!("LTMC.DEBUG CLOCK {offset_ms}")).ok();
    wait_until(&format!("{agent}: {event}"), || count() != before);
}

/// Lets a registered agent die of silence. Returns the offset of the clock after that.
#[track_caller]
pub fn let_die(server: &Server, agent: &str) -> i64 {
    silent_until(server, TTL_MS + 1, agent, "agent.suspected");
    assert_eq!(field(server, agent, "status"), "suspect");
    silent_until(server, 2 * TTL_MS + 60_000, agent, "agent.died");
    assert_eq!(field(server, agent, "status"), "dead");
    2 * TTL_MS + 60_000
}

pub fn names(fields: &[(&Reply, &Reply)]) -> Vec<String> {
    fields.iter().map(|(name, _)| name.text().to_string()).collect()
}

const FIELDS: &str =
    "id epoch status declared health reason name caps tags meta session capacity free load latency_ms \
    succeeded failed registered_at_ms heartbeat_at_ms ttl_ms suspect_at_ms dead_at_ms \
    removed_at_ms phi damped \
    damped_until_at_ms penalty beats_without_epoch claims holds";

#[test]
fn an_agent_is_shown_with_what_it_said() {
    let server = Server::start();
    let line = "LTMC.REGISTER r ada NX NAME Ada CAPS 3 rust@1.75 go rust@1.75 TAGS 2 eu b META {\"a\":[1]} CAPACITY 4 \
                SESSION s1 STATUS STARTING EX 60";
    let epoch = server.run(line).int();
    let agent = shown(&server, "ada");
    assert_eq!(agent.get("epoch").int(), epoch);
    for (name, value) in [
        ("id", "ada"),
        ("status", "starting"),
        ("declared", "starting"),
        ("health", "ok"),
        ("name", "Ada"),
        ("meta", "{\"a\":[1]}"),
        ("session", "s1"),
        ("load", "0"),
    ] {
        assert_eq!(agent.get(name).text(), value, "{name}");
    }
    for (name, value) in [
        ("capacity", 4),
        ("free", 4),
        ("ttl_ms", 60_000),
        ("succeeded", 0),
        ("failed", 0),
        ("damped", 0),
        ("penalty", 0),
    ] {
        assert_eq!(agent.get(name).int(), value, "{name}");
    }
    for name in ["reason", "latency_ms", "dead_at_ms", "removed_at_ms", "phi", "damped_until_at_ms"] {
        assert!(agent.get(name).is_nil(), "{name} of {agent:?}");
    }
    assert_eq!(agent.get("caps").texts(), ["go", "rust@1.75"], "in order, each once");
    assert_eq!(agent.get("tags").texts(), ["b", "eu"]);
    assert!(agent.get("claims").array().is_empty());
    let registered = agent.get("registered_at_ms").int();
    assert_eq!(agent.get("heartbeat_at_ms").int(), registered);
    assert_eq!(agent.get("suspect_at_ms").int(), registered + 60_000);
    assert!((epoch / 1000 - registered).abs() <= 1, "an epoch begins with the time, in microseconds");
}

#[test]
fn an_agent_that_says_nothing_is_active_with_room_for_one() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-ttl-ms 12345").ok();
    server.run("LTMC.REGISTER r a").int();
    let agent = shown(&server, "a");
    assert_eq!(agent.get("status").text(), "active");
    assert_eq!((agent.get("capacity").int(), agent.get("ttl_ms").int()), (1, 12_345));
    for name in ["name", "meta", "session"] {
        assert!(agent.get(name).is_nil(), "{name}");
    }
    assert!(agent.get("caps").array().is_empty() && agent.get("tags").array().is_empty());
}

#[test]
fn an_agent_has_the_same_fields_in_both_protocols() {
    let server = Server::start();
    register(&server, "a", "NAME x CAPS 1 go CAPACITY 2");
    server.run("LTMC.AGENT.CLAIM r PX 600000 REF job").array();
    let mut client = server.client();
    let flat = client.run("LTMC.AGENT.GET r a");
    client.resp3();
    let map = client.run("LTMC.AGENT.GET r a");
    assert!(matches!((&flat, &map), (Reply::Array(_), Reply::Map(_))), "{flat:?} {map:?}");
    let fields: Vec<&str> = FIELDS.split_whitespace().collect();
    assert_eq!(names(&map.pairs()), fields);
    assert_eq!(names(&flat.pairs()), fields);
    for name in fields.into_iter().filter(|name| *name != "claims") {
        assert_eq!(flat.get(name), map.get(name), "{name}");
    }
    let (claims, maps) = (flat.get("claims").array(), map.get("claims").array());
    assert_eq!(names(&claims[0].pairs()), ["fence", "since_at_ms", "ends_at_ms", "ref"]);
    assert!(claims.len() == 1 && matches!(maps[0], Reply::Map(_)), "{maps:?}");
    assert_eq!(claims[0].get("fence"), maps[0].get("fence"));
}

#[test]
fn registering_again_keeps_what_is_not_said_and_changes_what_is() {
    let server = Server::start();
    let options = "NAME one CAPS 1 go TAGS 1 eu META [1] CAPACITY 3 SESSION s";
    let first = register(&server, "a", options);
    server.run("LTMC.AGENT.CLAIM r PX 600000").array();
    let fence = server.run("LTMC.AGENT.CLAIM r PX 600000").array()[1].int();
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE r {fence} OUTCOME FAIL LATENCY 40")).int(), 1);
    server.run("LTMC.HEARTBEAT r a STATUS BUSY LOAD 0.9 HEALTH DEGRADED REASON slow").int();
    let second = server.run("LTMC.REGISTER r a").int();
    assert!(second > first);
    let agent = shown(&server, "a");
    assert_eq!(agent.get("epoch").int(), second);
    for (name, value) in [("name", "one"), ("meta", "[1]"), ("session", "s"), ("status", "active"), ("health", "ok")] {
        assert_eq!(agent.get(name).text(), value, "{name}");
    }
    assert_eq!(agent.get("caps").texts(), ["go"]);
    assert_eq!(agent.get("tags").texts(), ["eu"]);
    assert_eq!(agent.get("ttl_ms").int(), TTL_MS, "not the default");
    assert_eq!((agent.get("free").int(), agent.get("load").text()), (3, "0"), "claims and load are over");
    assert_eq!((agent.get("failed").int(), agent.get("latency_ms").int()), (1, 40), "its record is its own for ever");
    assert!(agent.get("reason").is_nil());
    for (word, other, name, value) in
        [("NAME", "two", "name", "two"), ("META", "{}", "meta", "{}"), ("SESSION", "t", "session", "t")]
    {
        server.cmd(&["LTMC.REGISTER", "r", "a", word, other]).int();
        assert_eq!(field(&server, "a", name), value);
        server.cmd(&["LTMC.REGISTER", "r", "a", word, ""]).int();
        assert!(shown(&server, "a").get(name).is_nil(), "an empty {word} takes it away");
    }
    server.run("LTMC.REGISTER r a META null CAPS 1 java TAGS 1 us CAPACITY 0 EX 9").int();
    let agent = shown(&server, "a");
    assert_eq!((agent.get("caps").texts(), agent.get("tags").texts()), (vec!["java".into()], vec!["us".into()]));
    assert_eq!((agent.get("capacity").int(), agent.get("ttl_ms").int()), (0, 9000));
    assert!(agent.get("meta").is_nil());
    for gone in ["CAPS 1 go", "TAGS 1 eu"] {
        assert!(server.run(&format!("LTMC.AGENT.FIND r {gone}")).array().is_empty(), "{gone} is not found any more");
    }
    server.run("LTMC.REGISTER r a CAPS 0 TAGS 0").int();
    let agent = shown(&server, "a");
    assert!(agent.get("caps").array().is_empty() && agent.get("tags").array().is_empty());
}

#[test]
fn an_old_epoch_is_stale_and_the_error_tells_the_current_one() {
    let server = Server::start();
    let old = register(&server, "a", "");
    let new = register(&server, "a", "");
    let other = register(&server, "b", "");
    let before = server.debug_digest();
    for wrong in [old, other, new + 2, 1] {
        for line in
            [format!("LTMC.HEARTBEAT r a EPOCH {wrong} STATUS IDLE"), format!("LTMC.DEREGISTER r a EPOCH {wrong}")]
        {
            let refused = server.run(&line);
            assert_eq!(refused.error_code(), "STALE", "{line}");
            assert!(refused.error().contains(&wrong.to_string()), "{refused:?}");
            assert!(refused.error().contains(&format!("the current one is {new}")), "{refused:?}");
        }
    }
    assert_eq!(server.debug_digest(), before);
    assert_eq!(server.run(&format!("LTMC.HEARTBEAT r a EPOCH {new}")).int(), TTL_MS);
    assert_eq!(server.run(&format!("LTMC.DEREGISTER r a EPOCH {new}")).int(), 1);
    assert_eq!(server.run(&format!("LTMC.DEREGISTER r a EPOCH {new}")).int(), 0, "it is gone");
    assert_eq!(server.run(&format!("LTMC.HEARTBEAT r a EPOCH {new}")).error_code(), "NOAGENT");
    assert!(register(&server, "a", "") > other, "epochs grow though the agent was forgotten");
}

#[test]
fn nx_registers_only_who_is_not_there_or_dead() {
    let server = Server::start();
    let nx = || server.run("LTMC.REGISTER r a NX NAME new");
    let first = register(&server, "a", "NAME old");
    let before = server.debug_digest();
    assert!(nx().is_nil());
    silent_until(&server, TTL_MS + 1, "a", "agent.suspected");
    assert!(nx().is_nil(), "a suspect may come back");
    assert_eq!(field(&server, "a", "name"), "old");
    assert_ne!(server.debug_digest(), before, "the suspicion is a change, the refused registrations are none");
    silent_until(&server, 2 * TTL_MS + 60_000, "a", "agent.died");
    assert!(nx().int() > first, "the dead do not come back");
    assert_eq!((field(&server, "a", "name"), field(&server, "a", "status")), ("new".into(), "active".into()));
    assert!(nx().is_nil());
    assert_eq!(server.run("LTMC.DEREGISTER r a").int(), 1);
    assert!(nx().int() > first);
}

#[test]
fn the_largest_agent_that_is_allowed_is_kept_as_it_is() {
    let server = Server::builder().arg("ltmc.agent-capacity-max", 100_000).start();
    let id = "i".repeat(256);
    let text = "n".repeat(1024);
    let labels =
        |suffix: &str| -> Vec<String> { (0..64).map(|at| format!("{}{at:03}{suffix}", "c".repeat(125))).collect() };
    let (caps, tags) = (labels("@4294967295.0.1.2"), labels(""));
    let values = vec!["1"; 128].join(",");
    let meta = format!("[{values}{}]", " ".repeat(16 * 1024 - values.len() - 2));
    let mut args = vec!["LTMC.REGISTER", "r", &id, "NAME", &text, "META", &meta, "CAPACITY", "100000"];
    args.extend(["SESSION", &id, "PX", "3153600000000", "CAPS", "64"]);
    args.extend(caps.iter().map(String::as_str));
    args.extend(["TAGS", "64"]);
    args.extend(tags.iter().map(String::as_str));
    let epoch = server.cmd(&args).int();
    server.debug_reload();
    let agent = shown(&server, &id);
    assert_eq!(agent.get("epoch").int(), epoch);
    for (name, value) in [("id", &id), ("name", &text), ("meta", &meta), ("session", &id)] {
        assert_eq!(agent.get(name).text(), value, "{name}");
    }
    assert_eq!((agent.get("caps").texts(), agent.get("tags").texts()), (caps.clone(), tags));
    assert_eq!((agent.get("capacity").int(), agent.get("ttl_ms").int()), (100_000, 3_153_600_000_000));
    assert_eq!(server.cmd(&["LTMC.AGENT.FIND", "r", "CAPS", "1", &caps[63]]).texts(), [id.as_str()]);
    assert_eq!(server.cmd(&["LTMC.HEARTBEAT", "r", &id, "HEALTH", "FAILED", "REASON", &text]).int(), 3_153_600_000_000);
    assert_eq!(shown(&server, &id).get("reason").text(), text);
}

#[test]
fn a_full_registry_names_its_setting_and_lets_old_agents_register() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.registry-agents-max 2").ok();
    for agent in ["a", "b"] {
        register(&server, agent, "");
    }
    let before = server.debug_digest();
    for line in ["LTMC.REGISTER r c", "LTMC.REGISTER r c NX"] {
        let refused = server.run(line);
        assert_eq!(refused.error_code(), "LIMIT", "{line}");
        assert!(refused.error().contains("ltmc.registry-agents-max"), "{refused:?}");
    }
    assert_eq!(server.debug_digest(), before);
    register(&server, "a", "");
    assert!(server.run("LTMC.REGISTER other c").int() > 0, "each registry is counted on its own");
    assert_eq!(server.run("LTMC.DEREGISTER r b").int(), 1);
    register(&server, "c", "");
}

#[test]
fn any_bytes_are_a_good_agent_with_good_labels() {
    let server = Server::start();
    let all: Vec<u8> = (0..=255).filter(|byte| *byte != b'@').collect();
    for id in [b"\0".as_slice(), b"\r\n", b"\xff\xfe", b"%s%n", b" ", &all[..128], &all[127..]] {
        let args =
            [b"LTMC.REGISTER".as_slice(), id, id, b"NAME", id, b"SESSION", id, b"CAPS", b"1", id, b"TAGS", b"1", id];
        let epoch = server.cmd(&args).int();
        server.debug_reload();
        let agent = server.cmd(&[b"LTMC.AGENT.GET".as_slice(), id, id]);
        assert_eq!(agent.get("epoch").int(), epoch);
        for name in ["id", "name", "session"] {
            assert_eq!(agent.get(name).bytes(), id);
        }
        for name in ["caps", "tags"] {
            assert_eq!(agent.get(name).array()[0].bytes(), id);
        }
        let found = server.cmd(&[b"LTMC.AGENT.FIND".as_slice(), id, b"CAPS", b"1", id, b"TAGS", b"1", id]);
        assert_eq!(found.array()[0].bytes(), id);
        let claimed = server.cmd(&[b"LTMC.AGENT.CLAIM".as_slice(), id, b"PX", b"9999", b"REF", id, b"REQID", id]);
        assert_eq!(claimed.array()[0].bytes(), id);
        let epoch = epoch.to_string();
        assert_eq!(server.cmd(&[b"LTMC.DEREGISTER".as_slice(), id, id, b"EPOCH", epoch.as_bytes()]).int(), 1);
    }
    assert_eq!(server.run("DBSIZE").int(), 0);
}

#[test]
fn a_list_can_be_read_in_pages() {
    let server = Server::start();
    let lines: Vec<String> = (0..150).map(|n| format!("LTMC.REGISTER r a{n} PX {TTL_MS}")).collect();
    let mut client = server.client();
    client.pipeline(&lines);
    // Holes, so that a page cannot be found by its number alone.
    let gone: Vec<String> = (0..150).step_by(7).map(|n| format!("LTMC.DEREGISTER r a{n}")).collect();
    client.pipeline(&gone);
    let busy: Vec<String> = (1..150).step_by(7).map(|n| format!("LTMC.HEARTBEAT r a{n} STATUS BUSY")).collect();
    client.pipeline(&busy);
    let living = 150 - gone.len();
    for (filter, count) in [("", living), ("STATUS active", living - busy.len()), ("STATUS BUSY", busy.len())] {
        let all = server.run(&format!("LTMC.AGENT.LIST r {filter}")).texts();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), count, "{filter}");
        for size in [1, 20, 64, 1000] {
            let page =
                |at: usize| server.run(&format!("LTMC.AGENT.LIST r {filter} LIMIT {} {size}", at * size)).texts();
            let pages: Vec<String> = (0..=all.len() / size).flat_map(page).collect();
            assert_eq!(pages, all, "{filter} in pages of {size}");
        }
    }
    for empty in ["LIMIT 0 0", "LIMIT 1000 5", "STATUS idle", "STATUS dead", "STATUS idle LIMIT 0 9"] {
        assert!(server.run(&format!("LTMC.AGENT.LIST r {empty}")).array().is_empty(), "{empty}");
    }
}

#[test]
fn stats_count_what_happened() {
    let server = Server::start();
    assert!(server.run("LTMC.AGENT.STATS r").is_nil());
    let revision = |server: &Server| server.run("LTMC.AGENT.STATS r").get("revision").int();
    register(&server, "a", "CAPS 2 go rust@2 TAGS 1 eu META {\"x\":1,\"y\":[2,3]} CAPACITY 2");
    let first = revision(&server);
    register(&server, "b", "CAPS 1 go");
    register(&server, "full", "");
    register(&server, "failed", "");
    register(&server, "starting", "STATUS STARTING");
    server.run("LTMC.HEARTBEAT r failed HEALTH FAILED").int();
    server.run("LTMC.AGENT.CLAIM r PX 600000 EXCLUDE 2 a b").array();
    server.run("LTMC.AGENT.CLAIM r PX 600000 CAPS 1 rust").array();
    assert_eq!(revision(&server), first + 7, "each visible event is one revision");
    server.run("LTMC.HEARTBEAT r a LOAD 0.7").int();
    assert_eq!(revision(&server), first + 7, "a load is not seen by watchers");
    let mut client = server.client();
    let flat = client.run("LTMC.AGENT.STATS r");
    client.resp3();
    let map = client.run("LTMC.AGENT.STATS r");
    assert!(matches!(map, Reply::Map(_)));
    assert_eq!(flat.pairs(), map.pairs());
    let expected = "agents 5 starting 1 active 4 idle 0 busy 0 draining 0 suspect 0 dead 0 error 0 offered 3 \
        claimable 2 claims 2 waiting 0 held 0 held_since_at_ms nil capabilities 2 tags 1 meta_values 3 \
        total_registered 5 total_suspected 0 total_recovered 0 total_died 0 total_claimed 2";
    let expected: Vec<&str> = expected.split_whitespace().collect();
    for pair in expected.chunks(2) {
        assert_eq!(format!("{:?}", map.get(pair[0])), pair[1], "{}", pair[0]);
    }
    let all = names(&map.pairs());
    assert_eq!(all.len(), expected.len() / 2 + 2, "{all:?}");
    assert!(map.get("memory_bytes").int() > 1000);
}
