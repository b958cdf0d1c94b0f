//! Discovery: filters, orders, limits.

use super::agents::{let_die, register, shown, silent_until, TTL_MS};
use crate::harness::*;
use std::collections::BTreeSet;

#[track_caller]
fn find(server: &Server, filter: &str) -> Vec<String> {
    server.run(&format!("LTMC.AGENT.FIND r {filter}")).texts()
}

/// The ids found, in order, as one line.
#[track_caller]
fn found(server: &Server, filter: &str) -> String {
    let mut ids = find(server, filter);
    ids.sort();
    ids.join(" ")
}

/// Five agents that differ in everything that can be searched for.
fn team() -> Server {
    let server = Server::start();
    for (agent, options) in [
        (
            "a",
            r#"CAPS 2 rust@1.75 db TAGS 2 eu gpu CAPACITY 3 META {"z":"b","n":4,"o":true,"s":"4","l":["x",{"y":null}]}"#,
        ),
        ("b", r#"CAPS 2 rust@1.80.1 go@1 TAGS 1 eu META {"z":"c","n":4.5,"o":false,"a/b":{"~":"t"}} CAPACITY 1"#),
        ("c", r#"CAPS 1 rust TAGS 2 us gpu META {"z":"b","n":-4,"o":"true"} CAPACITY 2"#),
        ("d", r#"CAPS 3 rust@2 go@1.0.0 go@2 TAGS 1 gpu META "alone" CAPACITY 5"#),
        ("e", "CAPACITY 0"),
    ] {
        register(&server, agent, options);
    }
    server.run("LTMC.HEARTBEAT r c STATUS IDLE").int();
    server
}

#[test]
fn every_part_of_a_filter_finds_exactly_who_fits() {
    let server = team();
    for (filter, expected) in [
        ("", "a b c d e"),
        ("CAPS 1 rust", "a b c d"),
        ("CAPS 1 rust@1.75", "a"),
        ("CAPS 1 rust@1.75.0", "a"),
        ("CAPS 1 rust@1.8", ""),
        ("CAPS 1 rust@>=1", "a b d"),
        ("CAPS 1 rust@>=1.75.1", "b d"),
        ("CAPS 1 rust@>=1.9", "a b d"),
        ("CAPS 1 rust@>=2.0.0.0", "d"),
        ("CAPS 1 rust@>=2.0.0.1", ""),
        ("CAPS 1 go@1", "b d"),
        ("CAPS 1 go@>=2", "d"),
        ("CAPS 2 go@1 go@2", "d"),
        ("CAPS 2 rust db", "a"),
        ("CAPS 2 rust none", ""),
        ("CAPS 2 rust rust", "a b c d"),
        ("CAPS 1 RUST", ""),
        ("CAPS 1 rus", ""),
        ("ANYCAP 2 db go", "a b d"),
        ("ANYCAP 2 none db", "a"),
        ("ANYCAP 3 rust@1.75 rust@2 none", "a d"),
        ("ANYCAP 1 none", ""),
        ("CAPS 1 go ANYCAP 2 rust@>=2 db", "d"),
        ("TAGS 1 eu", "a b"),
        ("TAGS 2 gpu eu", "a"),
        ("TAGS 2 eu us", ""),
        ("TAGS 1 none", ""),
        ("META /z b", "a c"),
        ("META /z \"b\"", "a c"),
        ("META /n 4", "a"),
        ("META /n 4.0", "a"),
        ("META /n 4.50", "b"),
        ("META /n -4", "c"),
        ("META /s 4", "a"),
        ("META /s \"4\"", "a"),
        ("META /o true", "a c"),
        ("META /o \"true\"", "c"),
        ("META /o false", "b"),
        ("META /l/0 x", "a"),
        ("META /l/1/y null", "a"),
        ("META /l/2 x", ""),
        ("META /a~1b/~0 t", "b"),
        ("META /z z", ""),
        ("META /none null", ""),
        ("META /l [\"x\"]", ""),
        ("MINFREE 0", "a b c d e"),
        ("MINFREE 1", "a b c d"),
        ("MINFREE 3", "a d"),
        ("MINFREE 6", ""),
        ("EXCLUDE 2 b nobody", "a c d e"),
        ("EXCLUDE 6 a b c d e a", ""),
        ("STATUS 1 idle", "c"),
        ("STATUS 2 IDLE active", "a b c d e"),
        ("STATUS 1 busy", ""),
        ("CAPS 1 rust TAGS 1 gpu META /z b MINFREE 2 EXCLUDE 1 a STATUS 2 idle busy", "c"),
        ("exclude 1 c minfree 2 meta /z b tags 1 gpu caps 1 rust", "a"),
    ] {
        assert_eq!(found(&server, filter), expected, "{filter}");
    }
    let alone = server.cmd(&["LTMC.AGENT.FIND", "r", "META", "", "alone"]);
    assert_eq!(alone.texts(), ["d"], "the empty path is the whole value");
}

#[test]
fn a_filter_of_many_parts_finds_who_fits_each_of_them() {
    let server = Server::start();
    // Enough agents for both forms of the sets behind it.
    let lines: Vec<String> = (0..700)
        .map(|n| {
            let caps = format!("CAPS 2 c{} v@{}.{}", n % 2, n % 5, n % 3);
            let tags = format!("TAGS 2 t{} u{}", n % 3, n % 90);
            format!("LTMC.REGISTER r a{n} PX {TTL_MS} {caps} {tags} META {{\"m\":{}}} CAPACITY {}", n % 4, n % 6)
        })
        .collect();
    let mut client = server.client();
    client.pipeline(&lines);
    let busy: Vec<String> = (0..700).step_by(3).map(|n| format!("LTMC.HEARTBEAT r a{n} STATUS BUSY")).collect();
    client.pipeline(&busy);
    let excluded: Vec<String> = (0..700).step_by(10).map(|n| format!("a{n}")).collect();
    let parts = [
        "CAPS 1 c1".to_string(),
        "ANYCAP 2 v@>=3.1 v@1".to_string(),
        "TAGS 1 t0".to_string(),
        "META /m 2".to_string(),
        "MINFREE 3".to_string(),
        format!("EXCLUDE {} {}", excluded.len(), excluded.join(" ")),
        "STATUS 2 BUSY ACTIVE".to_string(),
    ];
    // Each condition alone, among all agents. Without STATUS the busy ones are not offered.
    let set = |filter: &str| -> BTreeSet<String> { find(&server, filter).into_iter().collect() };
    let alone =
        |part: &String| set(&if part.starts_with("STATUS") { part.clone() } else { format!("{part} {}", parts[6]) });
    let singles: Vec<BTreeSet<String>> = parts.iter().map(alone).collect();
    assert!(singles.iter().all(|ids| !ids.is_empty()), "{:?}", singles.iter().map(BTreeSet::len).collect::<Vec<_>>());
    let active = set("STATUS 1 ACTIVE");
    assert_eq!((active.len(), singles[6].len()), (466, 700));
    let mut sizes = BTreeSet::new();
    for chosen in 0..1u32 << parts.len() {
        let is_in = |at: &usize| chosen & 1 << at != 0;
        let filter: Vec<&str> = (0..parts.len()).filter(is_in).map(|at| parts[at].as_str()).collect();
        let mut expected = if is_in(&6) { singles[6].clone() } else { active.clone() };
        (0..parts.len()).filter(is_in).for_each(|at| expected.retain(|id| singles[at].contains(id)));
        let filter = filter.join(" ");
        assert_eq!(set(&filter), expected, "{filter}");
        sizes.insert(expected.len());
    }
    assert!(sizes.len() > 20, "{sizes:?}");
}

#[test]
fn a_zero_byte_in_metadata_is_a_byte_like_any_other() {
    let server = Server::start();
    register(&server, "a", r#"META {"p":"x\u0000sy"}"#);
    let find = |path: &[u8], value: &[u8]| {
        server.cmd(&[b"LTMC.AGENT.FIND".as_slice(), b"r", b"META", path, value]).texts().len()
    };
    assert_eq!(find(b"/p", b"x\0sy"), 1);
    assert_eq!(find(b"/p\0sx", b"y"), 0, "there is nothing at this path");
}

#[test]
fn only_who_is_active_or_idle_healthy_and_heard_of_is_offered_unasked() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-grace-ms 31536000000").ok();
    register(&server, "dead", "");
    let offset = let_die(&server, "dead");
    register(&server, "suspect", "");
    silent_until(&server, offset + TTL_MS + 1, "suspect", "agent.suspected");
    register(&server, "starting", "STATUS STARTING");
    for (agent, options) in [
        ("active", "STATUS ACTIVE"),
        ("idle", "STATUS IDLE"),
        ("busy", "STATUS BUSY"),
        ("draining", "STATUS DRAINING"),
        ("error", "STATUS ERROR"),
        ("failed", "HEALTH FAILED"),
        ("degraded", "HEALTH DEGRADED"),
        ("failedbusy", "STATUS BUSY HEALTH FAILED"),
    ] {
        register(&server, agent, "CAPS 1 go");
        server.run(&format!("LTMC.HEARTBEAT r {agent} {options}")).int();
    }
    assert_eq!(found(&server, ""), "active degraded idle");
    for (statuses, expected) in [
        ("1 active", "active degraded"),
        ("1 busy", "busy"),
        ("2 suspect dead", "dead suspect"),
        ("1 starting", "starting"),
        ("3 draining error busy", "busy draining error"),
        (
            "8 starting active idle busy draining suspect dead error",
            "active busy dead degraded draining error idle starting suspect",
        ),
    ] {
        assert_eq!(found(&server, &format!("STATUS {statuses}")), expected, "{statuses}");
    }
    for (line, offered) in
        [("HEALTH OK", true), ("HEALTH FAILED", false), ("HEALTH DEGRADED", true), ("STATUS BUSY", false)]
    {
        server.run(&format!("LTMC.HEARTBEAT r failed {line}")).int();
        assert_eq!(find(&server, "CAPS 1 go").contains(&"failed".to_string()), offered, "{line}");
    }
}

#[test]
fn a_damped_agent_is_not_offered_whatever_is_asked() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-damping-half-life-ms 3600000").ok();
    register(&server, "a", "CAPS 1 go");
    for turn in 1..=3 {
        assert_eq!(found(&server, "CAPS 1 go"), "a");
        silent_until(&server, turn * (TTL_MS + 1), "a", "agent.suspected");
        assert_eq!(found(&server, ""), "", "a suspect is not offered");
        server.run("LTMC.HEARTBEAT r a").int();
    }
    let agent = shown(&server, "a");
    assert_eq!((agent.get("damped").int(), agent.get("status").text()), (1, "active"));
    assert!(agent.get("penalty").int() > 2500);
    for filter in ["", "CAPS 1 go", "STATUS 1 active", "SORT LOAD", "SORT RANDOM", "SORT LATENCY", "MINFREE 1"] {
        assert_eq!(found(&server, filter), "", "{filter}");
        assert!(server.run(&format!("LTMC.AGENT.CLAIM r PX 5 {filter}")).is_nil(), "{filter}");
    }
    assert_eq!(server.run("LTMC.AGENT.LIST r STATUS active").texts(), ["a"], "but it is there");
}

#[test]
fn the_least_loaded_and_the_quickest_come_first_and_the_degraded_last() {
    let server = Server::start();
    for (agent, load, latency_ms) in
        [("a", "0.5", 30), ("b", "0.1", 20), ("c", "0.9", 10), ("d", "0.3", 0), ("e", "0", 5)]
    {
        register(&server, agent, "CAPACITY 100");
        server.run(&format!("LTMC.HEARTBEAT r {agent} LOAD {load}")).int();
        if latency_ms > 0 {
            let others = ["a", "b", "c", "d", "e"].into_iter().filter(|other| *other != agent).collect::<Vec<_>>();
            let claim = server.run(&format!("LTMC.AGENT.CLAIM r PX 9999 EXCLUDE 4 {}", others.join(" ")));
            let fence = claim.array()[1].int();
            assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE r {fence} LATENCY {latency_ms}")).int(), 1);
        }
    }
    server.run("LTMC.HEARTBEAT r e HEALTH DEGRADED").int();
    for (filter, expected) in [
        ("SORT LOAD", "b d a c e"),
        ("SORT LATENCY", "d c b a e"),
        ("SORT load LIMIT 2", "b d"),
        ("LIMIT 1 SORT LATENCY", "d"),
        ("SORT LOAD LIMIT 1 EXCLUDE 1 b", "d"),
        ("SORT LATENCY EXCLUDE 2 d c LIMIT 2", "b a"),
        ("SORT LOAD LIMIT 10000000", "b d a c e"),
    ] {
        assert_eq!(find(&server, filter).join(" "), expected, "{filter}");
    }
    server.run("LTMC.HEARTBEAT r e HEALTH OK").int();
    server.run("LTMC.HEARTBEAT r b LOAD 1").int();
    assert_eq!(find(&server, "SORT LOAD").join(" "), "e d a c b", "the order follows what agents say");
    assert_eq!(find(&server, "SORT LATENCY").join(" "), "d e c b a");
    for (sort, limit) in [("", 3), ("SORT RANDOM", 3), ("SORT LOAD", 4), ("SORT LATENCY", 1)] {
        assert_eq!(find(&server, &format!("{sort} LIMIT {limit}")).iter().collect::<BTreeSet<_>>().len(), limit);
    }
}

#[test]
fn of_many_the_same_come_first_as_if_all_were_compared() {
    let server = Server::start();
    let lines = (0..900).flat_map(|n| {
        let tag = if n % 3 == 0 { "rare" } else { "common" };
        let load = (n * 7919) % 1000;
        [
            format!("LTMC.REGISTER r a{n} PX {TTL_MS} TAGS 1 {tag} CAPACITY 2"),
            format!("LTMC.HEARTBEAT r a{n} LOAD 0.{load:03} HEALTH {}", if n % 5 == 0 { "DEGRADED" } else { "OK" }),
        ]
    });
    server.client().pipeline(&lines.collect::<Vec<_>>());
    for filter in ["", "TAGS 1 rare", "TAGS 1 common EXCLUDE 2 a1 a2"] {
        let all = find(&server, &format!("{filter} SORT LOAD"));
        let mut sorted: Vec<(bool, usize, String)> = all
            .iter()
            .map(|id| {
                let n: usize = id[1..].parse().expect("a number");
                (n % 5 == 0, (n * 7919) % 1000, id.clone())
            })
            .collect();
        sorted.sort_by_key(|(is_degraded, load, _)| (*is_degraded, *load));
        let sorted: Vec<String> = sorted.into_iter().map(|(.., id)| id).collect();
        assert_eq!(all, sorted, "{filter}");
        // A few of many are found by walking along the order instead of by comparing.
        for limit in [1, 10, 60] {
            assert_eq!(find(&server, &format!("{filter} SORT LOAD LIMIT {limit}")), sorted[..limit], "{filter}");
        }
    }
}

#[test]
fn a_random_order_offers_everyone_and_prefers_the_less_loaded() {
    let server = Server::start();
    for agent in 0..8 {
        register(&server, &format!("a{agent}"), "");
    }
    let mut orders = BTreeSet::new();
    for _ in 0..20 {
        let order = find(&server, "SORT RANDOM");
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 8, "each once");
        orders.insert(order);
    }
    assert!(orders.len() > 10, "{} different orders of 40320", orders.len());
    server.run("LTMC.HEARTBEAT r a0 LOAD 1").int();
    // The loaded one of two is drawn only if both draws hit it: one time in four.
    let drawn = (0..300).filter(|_| find(&server, "SORT RANDOM LIMIT 1 EXCLUDE 6 a2 a3 a4 a5 a6 a7") == ["a0"]).count();
    assert!((1..150).contains(&drawn), "{drawn} of 300");
}

#[test]
fn with_info_each_agent_is_shown_as_get_shows_it() {
    let server = team();
    let mut client = server.client();
    for protocol in [2, 3] {
        if protocol == 3 {
            client.resp3();
        }
        let maps = client.run("LTMC.AGENT.FIND r CAPS 1 rust SORT LOAD WITHINFO LIMIT 3");
        assert_eq!(maps.array().len(), 3);
        for map in maps.array() {
            assert_eq!(matches!(map, Reply::Map(_)), protocol == 3);
            let alone = client.run(&format!("LTMC.AGENT.GET r {}", map.get("id").text()));
            assert_eq!(map, &alone);
        }
    }
}

#[test]
fn nobody_is_found_where_nobody_is() {
    let server = Server::start();
    for round in ["a key that never was", "a key whose agents have left"] {
        for line in [
            "LTMC.AGENT.FIND r",
            "LTMC.AGENT.FIND r CAPS 1 go SORT LOAD WITHINFO",
            "LTMC.AGENT.FIND r STATUS 1 dead SORT RANDOM LIMIT 3",
            "LTMC.AGENT.LIST r",
            "LTMC.AGENT.LIST r STATUS active LIMIT 0 5",
        ] {
            assert!(server.run(line).array().is_empty(), "{line}: {round}");
        }
        for line in ["LTMC.AGENT.GET r a", "LTMC.AGENT.STATS r", "LTMC.AGENT.CLAIM r PX 5"] {
            assert!(server.run(line).is_nil(), "{line}: {round}");
        }
        assert_eq!(server.run("EXISTS r").int(), 0);
        register(&server, "a", "CAPS 1 go");
        assert!(server.run("LTMC.AGENT.GET r b").is_nil());
        assert_eq!(server.run("LTMC.DEREGISTER r a").int(), 1);
    }
}
