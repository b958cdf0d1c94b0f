//! Putting and getting answers: which calls are the same, whose an answer is, and what it may be.

use super::*;

const FIELDS: [&str; 5] = ["status", "value", "age_ms", "ttl_ms", "ticket"];

#[track_caller]
fn fields(reply: &Reply) -> Vec<String> {
    reply.pairs().iter().map(|(name, _)| name.text().to_string()).collect()
}

#[test]
fn a_miss_gives_a_ticket_and_what_is_put_for_it_is_a_hit() {
    let server = Server::start();
    let missed = get(&server, "c t {}");
    assert_eq!(fields(&missed), FIELDS);
    let first = promoted(&missed);
    assert!(first > 0 && missed.get("age_ms").is_nil() && missed.get("ttl_ms").is_nil());
    let second = get(&server, "c t {}");
    assert_eq!((status_and_value(&second), ticket_in(&second)), (miss(), None), "one computes");
    put(&server, &format!("c t {{}} v TICKET {first} PX 600000"));
    let hit = get(&server, "c t {}");
    assert_eq!(fields(&hit), FIELDS);
    assert_eq!((status_and_value(&hit), ticket_in(&hit)), (answer("HIT", "v"), None));
    assert!((0..10_000).contains(&hit.get("age_ms").int()), "{hit:?}");
    assert!((590_000..=600_000).contains(&hit.get("ttl_ms").int()), "{hit:?}");
    put_is_stale(&server, &format!("c t {{}} other TICKET {first}"));
    assert_eq!(found(&server, "c t {}"), answer("HIT", "v"));
    put(&server, "c t {} forever");
    let hit = get(&server, "c t {}");
    assert_eq!((status_and_value(&hit), hit.get("ttl_ms").is_nil()), (answer("HIT", "forever"), true));
    let mut client = server.client();
    client.resp3();
    assert!(matches!(client.run("LTMC.CACHE.GET c t {}"), Reply::Map(pairs) if pairs.len() == FIELDS.len()));
}

#[test]
fn a_cache_is_there_as_long_as_it_holds_something() {
    let server = Server::start();
    assert!(server.run("LTMC.CACHE.STATS c").is_nil());
    let first = ticket(&server, "c t 1");
    assert_eq!(server.run("TYPE c").text(), "ltmccache");
    assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t 1 {first}")).int(), 1);
    assert_eq!(server.run("EXISTS c").int(), 0, "nobody computes, and nothing is known");
    assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t 1 {first}")).int(), 0);
    put(&server, "c t 1 v");
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE c ALL").int(), 1);
    assert_eq!(server.run("EXISTS c").int(), 0);
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE c ALL").int(), 0);
    server.run("LTMC.CACHE.CONFIG c").ok();
    put(&server, "c t 1 v");
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE c TOOL t").int(), 1);
    assert_eq!(server.run("EXISTS c").int(), 1, "what was told its bounds keeps them");
    assert_eq!(server.run("TTL c").int(), -1);
}

#[test]
fn arguments_that_mean_the_same_are_one_call() {
    let server = Server::start();
    let same = [
        r#"{"a":[10,"é",{"x":null,"y":true}],"b":0.1}"#,
        " {\n\t\"b\" : 1e-1 , \"a\":[ 1e1 ,\"\\u00e9\", {\"y\":true,\"x\":null} ] }\r\n",
        r#"{"b":0.10,"a":[10.0,"\u00E9",{"y":true,"x":null}]}"#,
        r#"{"\u0061":[1.0E+1,"é",{"x":null,"\u0079":true}],"b":100e-3}"#,
    ];
    server.cmd(&["LTMC.CACHE.PUT", "c", "t", same[0], "v"]).ok();
    for args in same {
        assert_eq!(status_and_value(&server.cmd(&["LTMC.CACHE.GET", "c", "t", args])), answer("HIT", "v"), "{args}");
    }
    for args in same {
        server.cmd(&["LTMC.CACHE.PUT", "c", "t", args, args]).ok();
    }
    assert_eq!(stat(&server, "entries"), 1);
    let scan = server.run("LTMC.CACHE.SCAN c 0");
    assert_eq!(scan.array()[1].array()[0].get("args").text(), same[0]);
    let others = [
        r#"{"a":["é",10,{"x":null,"y":true}],"b":0.1}"#,
        r#"{"a":[10,"e\u0301",{"x":null,"y":true}],"b":0.1}"#,
        r#"{"a":[10,"é",{"x":null,"y":true}],"b":"0.1"}"#,
        r#"{"A":[10,"é",{"x":null,"y":true}],"b":0.1}"#,
        r#"{"a":[10,"é",{"y":true}],"b":0.1}"#,
    ];
    for args in others {
        assert_eq!(status_and_value(&server.cmd(&["LTMC.CACHE.GET", "c", "t", args])), miss(), "{args}");
    }
    for (one, other) in [("0", "-0"), ("1e2", "100.0"), ("\"/\"", "\"\\/\""), ("null", " null ")] {
        server.cmd(&["LTMC.CACHE.PUT", "c", "t", one, one]).ok();
        assert_eq!(status_and_value(&server.cmd(&["LTMC.CACHE.GET", "c", "t", other])), answer("HIT", one), "{other}");
    }
}

#[test]
fn another_tool_and_another_cache_are_other_calls() {
    let server = Server::start();
    put(&server, "c t 1 v");
    for what in ["c t2 1", "c T 1", "d t 1", "c t 2"] {
        assert_eq!(found(&server, what), miss(), "{what}");
    }
    // It matters where one part ends and the next begins.
    put(&server, "c ab 1 ab");
    put(&server, "c a \"b1\" a");
    assert_eq!(found(&server, "c ab 1"), answer("HIT", "ab"));
    assert_eq!(found(&server, "c a \"b1\""), answer("HIT", "a"));
}

#[test]
fn raw_arguments_are_compared_as_they_are() {
    let server = Server::start();
    let raw: [&[u8]; 6] = [b"", b"{\"a\":1}", b"{\"a\": 1}", b"not json", b"\0\xff\r\n", b"\0\xff\r"];
    for args in raw {
        server.cmd(&[b"LTMC.CACHE.PUT".as_slice(), b"c", b"t", args, args, b"RAW"]).ok();
    }
    for args in raw {
        let reply = server.cmd(&[b"LTMC.CACHE.GET".as_slice(), b"c", b"t", args, b"RAW"]);
        assert_eq!((reply.get("status").text(), reply.get("value").bytes()), ("HIT", args));
    }
    assert_eq!(stat(&server, "entries"), raw.len() as i64);
    let computes = ticket(&server, "c t {\"a\":1}");
    put_is_stale(&server, &format!("c t {{\"a\":1}} v RAW TICKET {computes}"));
    assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t {{\"a\":1}} {computes} RAW")).int(), 0, "another call");
    assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t {{\"a\":1}} {computes}")).int(), 1);
    let computes = ticket(&server, "c t x RAW");
    assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t x {computes} RAW")).int(), 1);
    let shown = server.run("LTMC.CACHE.SCAN c 0 COUNT 100");
    let first = &shown.array()[1].array()[0];
    assert_eq!((first.get("args").bytes(), first.get("raw").int()), (&b""[..], 1));
}

#[test]
fn an_answer_is_any_bytes() {
    let server = Server::start();
    let large = vec![b'\xfe'; 3 << 20];
    let values: [&[u8]; 4] = [b"", b"\0\r\n\xff", &[b'x'; 600], &large];
    for (n, value) in values.iter().enumerate() {
        let n = n.to_string();
        server.cmd(&[b"LTMC.CACHE.PUT".as_slice(), b"c", b"t", n.as_bytes(), *value]).ok();
        let reply = server.cmd(&["LTMC.CACHE.GET", "c", "t", &n]);
        assert_eq!((reply.get("status").text(), reply.get("value").bytes() == *value), ("HIT", true));
    }
}

#[test]
fn a_private_answer_is_for_its_agent_alone_and_goes_before_that_of_all() {
    let server = Server::start();
    put(&server, "c t 1 shared");
    put(&server, "c t 1 own AGENT ada PRIVATE");
    put(&server, "c t 2 own AGENT ada PRIVATE");
    for (what, expected) in [
        ("c t 1", answer("HIT", "shared")),
        ("c t 1 AGENT bob", answer("HIT", "shared")),
        ("c t 1 AGENT ada", answer("HIT", "own")),
        ("c t 2 AGENT ada", answer("HIT", "own")),
        ("c t 2 AGENT bob", miss()),
        ("c t 2", miss()),
    ] {
        assert_eq!(found(&server, what), expected, "{what}");
    }
    // One computes, whoever it is, and the answer is for the named agent.
    let reply = get(&server, "c t 3 AGENT ada");
    put(&server, &format!("c t 3 own AGENT ada PRIVATE TICKET {}", promoted(&reply)));
    assert_eq!(found(&server, "c t 3 AGENT ada"), answer("HIT", "own"));
    assert_eq!(found(&server, "c t 3 AGENT bob"), miss());
    let mut shown: Vec<(i64, String)> = Vec::new();
    for entry in server.run("LTMC.CACHE.SCAN c 0").array()[1].array() {
        let agent = entry.get("agent");
        shown.push((entry.get("private").int(), if agent.is_nil() { "-".into() } else { agent.text().into() }));
    }
    assert_eq!(shown, [(0, "-".into()), (1, "ada".into()), (1, "ada".into()), (1, "ada".into())]);
    // Once the private answer is gone, the shared one is found again.
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE c AGENT ada").int(), 3);
    assert_eq!(found(&server, "c t 1 AGENT ada"), answer("HIT", "shared"));
}

#[test]
fn that_there_is_no_answer_is_an_answer_with_a_life_of_its_own() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.cache-negative-ttl-ms 5000").ok();
    server.run("LTMC.CACHE.CONFIG c PX 100000").ok();
    let computes = ticket(&server, "c t 1");
    put(&server, &format!("c t 1 no-such-file NEGATIVE TICKET {computes}"));
    put(&server, "c t 2 none NEGATIVE PX 50000");
    put(&server, "c t 3 there");
    let first = get(&server, "c t 1");
    assert_eq!(status_and_value(&first), answer("NEGATIVE", "no-such-file"));
    assert!((1..=5000).contains(&first.get("ttl_ms").int()), "{first:?}");
    assert!((40_000..=50_000).contains(&get(&server, "c t 2").get("ttl_ms").int()));
    for (offset, expected) in [
        (5001, [miss(), answer("NEGATIVE", "none"), answer("HIT", "there")]),
        (50_001, [miss(), miss(), answer("HIT", "there")]),
        (100_001, [miss(), miss(), miss()]),
    ] {
        set_clock(&server, offset);
        let states = [1, 2, 3].map(|n| found(&server, &format!("c t {n}")));
        assert_eq!(states, expected, "after {offset} ms");
    }
    assert_eq!(stat(&server, "negative_hits"), 3);
}

#[test]
fn a_new_answer_takes_the_place_of_the_old_one_with_all_that_belonged_to_it() {
    let server = Server::start();
    put(&server, "c t 1 old PX 1000 STALE 100000 DEPS 1 d1 TAGS 1 t1 COST 70 AGENT ada NEGATIVE");
    put(&server, "c t 1 new DEPS 2 d2 d3 AGENT bob");
    let shown = &server.run("LTMC.CACHE.SCAN c 0").array()[1].array()[0].clone();
    assert_eq!((shown.get("status").text(), shown.get("agent").text()), ("FRESH", "bob"));
    assert_eq!((shown.get("deps").texts(), shown.get("tags").texts()), (vec!["d2".into(), "d3".into()], vec![]));
    assert!(shown.get("cost_ms").int() == 0 && shown.get("ttl_ms").is_nil(), "{shown:?}");
    for target in ["DEP 1 d1", "TAG 1 t1", "AGENT ada"] {
        assert_eq!(server.run(&format!("LTMC.CACHE.INVALIDATE c {target}")).int(), 0, "{target}");
    }
    set_clock(&server, FAR_MS);
    assert_eq!(found(&server, "c t 1"), answer("HIT", "new"));
}

#[test]
fn what_it_cost_is_what_was_said_or_how_long_the_ticket_was_out() {
    let server = Server::start();
    let measured = ticket(&server, "c t 1");
    let told = ticket(&server, "c t 2");
    set_clock(&server, 4000);
    put(&server, &format!("c t 1 v TICKET {measured}"));
    put(&server, &format!("c t 2 v TICKET {told} COST 77"));
    put(&server, "c t 3 v");
    let shown = server.run("LTMC.CACHE.SCAN c 0");
    let costs: Vec<i64> = shown.array()[1].array().iter().map(|entry| entry.get("cost_ms").int()).collect();
    assert!((4000..14_000).contains(&costs[0]), "{costs:?}");
    assert_eq!(costs[1..], [77, 0]);
}
