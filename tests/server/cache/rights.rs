//! Who may do what to a cache: rights on keys and commands, agents that are bound to users, and
//! which arguments are keys.

use super::*;

const READS: [&str; 4] =
    ["LTMC.CACHE.PEEK r:c t 1", "LTMC.CACHE.STATS r:c", "LTMC.CACHE.TOP r:c", "LTMC.CACHE.SCAN r:c 0"];
const WRITES: [&str; 5] = [
    // A miss hands out a ticket.
    "LTMC.CACHE.GET r:c t 1",
    "LTMC.CACHE.PUT r:c t 1 v",
    "LTMC.CACHE.FAIL r:c t 1 5",
    "LTMC.CACHE.INVALIDATE r:c ALL",
    "LTMC.CACHE.CONFIG r:c MAXENTRIES 5",
];

#[test]
fn a_right_to_read_is_enough_for_what_only_looks() {
    let server = Server::start();
    put(&server, "r:c t 1 v");
    let mut users = vec!["resetkeys %R~r:* ~w:* +@all"];
    if server.version() >= (7, 2, 0) {
        users.push("~* -@all +@read");
    }
    let before = server.dataset();
    for rules in users {
        let mut client = server.user("u", &format!("reset on >p {rules}"));
        for line in READS {
            assert!(!client.run(line).is_error(), "{line} with {rules}");
        }
        for line in WRITES {
            assert_eq!(client.run(line).error_code(), "NOPERM", "{line} with {rules}");
        }
        server.run("ACL DELUSER u").int();
    }
    assert_same("nothing has changed", &before, &server.dataset());
    let mut client = server.user("u", "resetkeys ~w:* +@all");
    for line in READS.iter().chain(&WRITES) {
        assert_eq!(client.run(line).error_code(), "NOPERM", "{line}");
        let own = client.run(&line.replace("r:c", "w:c"));
        assert!(!own.is_error(), "{line}: {own:?}");
    }
    let script = "return redis.call('LTMC.CACHE.PUT', 'r:c', 't', '1', 'x')";
    assert!(client.cmd(&["EVAL", script, "0"]).is_error());
    assert_eq!(found(&server, "r:c t 1"), answer("HIT", "v"));
}

#[test]
fn a_user_who_is_bound_acts_as_its_own_agents_only() {
    let server = Server::start();
    put(&server, "c t 1 secret AGENT bob PRIVATE");
    put(&server, "c t 1 shared");
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    let mut ada = server.user("ada", "+@all ~*");
    for (line, is_allowed) in [
        ("LTMC.CACHE.GET c t 1", true),
        ("LTMC.CACHE.GET c t 1 AGENT ada", true),
        ("LTMC.CACHE.GET c t 1 AGENT ada:2", true),
        ("LTMC.CACHE.GET c t 1 AGENT bob", false),
        ("LTMC.CACHE.GET c t 1 AGENT adam", false),
        ("LTMC.CACHE.PEEK c t 1 AGENT bob", false),
        ("LTMC.CACHE.PUT c t 2 v", true),
        ("LTMC.CACHE.PUT c t 2 v AGENT ada PRIVATE", true),
        ("LTMC.CACHE.PUT c t 2 v AGENT bob", false),
        ("LTMC.CACHE.PUT c t 2 v AGENT bob PRIVATE", false),
    ] {
        let reply = ada.run(line);
        assert_eq!(!reply.is_error(), is_allowed, "{line}: {reply:?}");
        if is_allowed && line.contains("GET") {
            assert_eq!(status_and_value(&reply), answer("HIT", "shared"), "{line}");
        }
        if !is_allowed {
            assert_eq!(reply.error_code(), "DENIED", "{line}");
            assert!(reply.error().contains("ltmc.bind-agent-to-user"), "{reply:?}");
        }
    }
    assert_eq!(found_by(&mut ada, "c t 1"), answer("HIT", "shared"));
}

#[track_caller]
fn found_by(client: &mut Client, what: &str) -> (String, Option<String>) {
    status_and_value(&client.run(&format!("LTMC.CACHE.GET {what}")))
}

#[test]
fn the_cache_is_the_only_key_of_every_command() {
    let server = Server::start();
    for line in READS.iter().chain(&WRITES) {
        let words: Vec<&str> = ["COMMAND", "GETKEYS"].into_iter().chain(line.split(' ')).collect();
        assert_eq!(server.cmd(&words).texts(), ["r:c"], "{line}");
    }
    let long = "COMMAND GETKEYS LTMC.CACHE.PUT r:c t 1 v TICKET 5 PX 5 DEPS 2 a b TAGS 1 g AGENT x PRIVATE";
    assert_eq!(server.run(long).texts(), ["r:c"]);
    let guarded = "COMMAND GETKEYS LTMC.GUARD lock 4 LTMC.CACHE.PUT c t 1 v";
    assert_eq!(server.run(guarded).texts(), ["lock", "c"]);
}

#[test]
fn a_cache_reads_on_when_memory_is_short_and_takes_no_more() {
    let server = Server::start();
    put(&server, "c t 1 v");
    server.run("CONFIG SET maxmemory 1").ok();
    assert_eq!(server.run("LTMC.CACHE.PUT c t 2 v").error_code(), "OOM");
    // It gives up what it has, and still says what it has not.
    wait_until("it has given way", || found(&server, "c t 1").0 == "MISS");
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE c ALL").int(), 0);
}
