//! A registry under another name, in another database, restored, repaired.

use super::*;

/// A registry `r` with a living agent, a suspect, a dead one and a claim with its own lease.
/// Returns the clock.
fn lively(server: &Server) -> i64 {
    server.run("CONFIG SET ltmc.agent-grace-ms 1000000").ok();
    set_clock(server, 0);
    for agent in ["dead", "suspect", "alive"] {
        register(server, agent, "CAPACITY 2");
    }
    let (suspected, died) = (happened(server, "agent.suspected"), happened(server, "agent.died"));
    set_clock(server, TTL_MS - 20_000);
    run(server, "LTMC.HEARTBEAT r suspect");
    set_clock(server, TTL_MS + 1000);
    wait_for(server, "agent.suspected", suspected + 2);
    run(server, "LTMC.HEARTBEAT r alive");
    set_clock(server, 2 * TTL_MS - 15_000);
    wait_for(server, "agent.suspected", suspected + 3);
    run(server, "LTMC.HEARTBEAT r alive");
    set_clock(server, 2 * TTL_MS + 5000);
    wait_for(server, "agent.died", died + 1);
    run(server, "LTMC.AGENT.CLAIM r PX 30000");
    2 * TTL_MS + 5000
}

/// Everything that is to come comes, wherever the registry is now.
#[track_caller]
fn deadlines_go_on(server: &Server, clock: i64, what: &str) {
    let events = ["agent.claimexpired", "agent.died", "agent.suspected", "agent.removed"];
    let before = events.map(|event| happened(server, event));
    let soon = |offset: i64, index: usize, more: i64| {
        set_clock(server, clock + offset);
        let event = events[index];
        wait_until(&format!("{what}: {event}"), || happened(server, event) == before[index] + more);
    };
    soon(35_000, 0, 1);
    soon(TTL_MS, 1, 1);
    soon(TTL_MS + 10_000, 2, 1);
    soon(1_010_000, 3, 1);
    soon(2 * TTL_MS + 30_000, 1, 2);
    soon(4 * TTL_MS + 1_100_000, 3, 3);
    assert_eq!(server.run("DBSIZE").int(), 0, "{what}");
}

#[test]
fn a_registry_that_moves_keeps_its_deadlines() {
    let server = Server::start();
    for commands in [
        &["RENAME r elsewhere"][..],
        &["RENAMENX r elsewhere"],
        &["MOVE r 3", "SWAPDB 0 3"],
        &["SWAPDB 0 2", "SWAPDB 2 0"],
        &["RENAME r elsewhere", "RENAME elsewhere r"],
        &["MULTI", "RENAME r elsewhere", "MOVE elsewhere 1", "EXEC", "SWAPDB 1 0"],
        &["PEXPIRE r 100000000", "PERSIST r"],
        &["LTMC.REPAIR r"],
    ] {
        let clock = lively(&server);
        let mut client = server.client();
        for command in commands {
            let reply = client.run(command);
            assert!(!reply.is_error(), "{command}: {reply:?}");
        }
        deadlines_go_on(&server, clock, &commands.join(", "));
    }
}

#[test]
fn in_another_database_deadlines_go_on_as_well() {
    for command in ["MOVE r 5", "SWAPDB 0 5"] {
        let server = Server::start();
        register(&server, "a", "");
        assert!(!server.run(command).is_error());
        set_clock(&server, STEP);
        wait_for(&server, "agent.suspected", 1);
        set_clock(&server, 2 * STEP + 1000);
        wait_for(&server, "agent.died", 1);
        set_clock(&server, 3 * STEP);
        wait_until("all databases are empty", || server.info("keyspace").is_empty());
    }
}

#[test]
fn a_registry_that_moved_on_a_replica_keeps_its_deadlines_there() {
    for commands in [&["RENAME r elsewhere"][..], &["MOVE r 3"], &["SWAPDB 0 2"]] {
        let mut primary = Server::start();
        let replica = primary.replica();
        register(&primary, "a", "");
        for command in commands {
            assert!(!primary.run(command).is_error());
        }
        replica.wait_synced(&primary);
        assert_same("replica", &primary.dataset(), &replica.dataset());
        primary.kill();
        replica.promote();
        set_clock(&replica, STEP);
        wait_for(&replica, "agent.suspected", 1);
        set_clock(&replica, 2 * STEP + 1000);
        wait_for(&replica, "agent.died", 1);
        set_clock(&replica, 3 * STEP);
        wait_until("all databases are empty", || replica.info("keyspace").is_empty());
    }
}

#[test]
fn a_restored_copy_is_a_registry_of_its_own() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 3 CAPS 1 go");
    let fence = claim(&server, "r", "REQID x");
    let dump = server.cmd(&["DUMP", "r"]);
    server.cmd(&[b"RESTORE".as_slice(), b"twin", b"0", dump.bytes()]).ok();
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE r {fence}")).int(), 1);
    let twin = server.run("LTMC.AGENT.GET twin a");
    assert_eq!(twin.get("claims").array()[0].get("fence").int(), fence, "it knows nothing of that");
    assert_eq!(claim(&server, "twin", "REQID x"), fence);
    assert!(claim(&server, "twin", "CAPS 1 go") > fence);
    set_clock(&server, STEP);
    wait_for(&server, "agent.suspected", 2);
}

#[test]
fn repair_changes_nothing_of_a_sound_registry_and_sends_it_whole() {
    let server = Server::start();
    let replica = server.replica();
    make_agents(&server);
    make_claims(&server, &mut 0);
    // Only this node hears of it.
    set_clock(&server, TTL_MS);
    run(&server, "LTMC.HEARTBEAT claims a LOAD 0.875");
    let (before, seen) = (server.dataset(), found(&server));
    let shown = |key: &str, agent: &str| format!("{:?}", server.run(&format!("LTMC.AGENT.GET {key} {agent}")));
    let agents = [shown("claims", "a"), shown("said", "a"), shown("crowd", "a9")];
    let stream = replication_stream(&server, || {
        for key in ["claims", "said", "crowd"] {
            let repaired = server.run(&format!("LTMC.REPAIR {key}"));
            assert_eq!((repaired.get("type").text(), repaired.get("was_broken").int()), ("ltmcagent", 0));
        }
    });
    let heads: Vec<String> = stream.iter().map(|words| words[1].escape_ascii().to_string()).collect();
    assert_eq!(heads, ["claims", "said", "crowd"]);
    for command in &stream {
        let json = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &command[2]]).text().to_string();
        let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!((&json["type"], &json["content"]), (&"ltmcagent".into(), &"snapshot".into()));
        assert!(json["value"]["state"]["agents"].as_array().is_some_and(|agents| !agents.is_empty()), "{json}");
    }
    assert_same("after the repair", &before, &server.dataset());
    assert_eq!(found(&server), seen);
    assert_eq!(agents, [shown("claims", "a"), shown("said", "a"), shown("crowd", "a9")], "its pulse, too");
    replica.wait_synced(&server);
    assert_same("the replica", &before, &replica.dataset());
    assert!(server.run("LTMC.REPAIR none").is_nil());
}

#[test]
fn explain_shows_a_dumped_registry_and_refuses_what_is_none() {
    let server = Server::start();
    register(&server, "ada", "CAPS 1 go@1.2 META {\"k\":\"v\"}");
    let stream = replication_stream(&server, || drop(server.run("LTMC.AGENT.CLAIM r PX 600000 REF job REQID q")));
    let payload = stream[0][2].clone();
    let json: serde_json::Value =
        serde_json::from_str(server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &payload]).text()).expect("it is JSON");
    let claimed = &json["value"][0]["Event"]["Claimed"];
    let agent = shown(&server, "ada");
    let shown = &agent.get("claims").array()[0];
    assert_eq!(claimed["fence"], shown.get("fence").int(), "{json}");
    assert_eq!(claimed["ends_at"], shown.get("ends_at_ms").int(), "{json}");
    assert_eq!((&claimed["agent"], &claimed["reference"]), (&"ada".into(), &"job".into()), "{json}");
    for cut in [0, 1, payload.len() / 2, payload.len() - 1] {
        assert_eq!(server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &payload[..cut]]).error_code(), "ERR");
    }
}
