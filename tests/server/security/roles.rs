//! The ready roles: each may do what the command table says, and no more.

use super::*;

/// The shortest form of a command on keys of a team.
fn on_keys_of(team: &str, described: &Value) -> Vec<String> {
    let value = |arg: &Value, _| (arg["type"] == "key").then(|| format!("{{{team}}}:{}", arg["name"]));
    Writer { with: &[], value: &value }.command(described)
}

fn has(described: &Value, role: &str) -> bool {
    described["roles"].as_array().expect("roles").iter().any(|has| has == role)
}

#[test]
fn each_role_runs_exactly_the_commands_that_the_table_gives_it() {
    let server = Server::start();
    add_users(&server);
    for role in ROLES {
        let mut client = log_in(&server, role);
        for described in commands() {
            let words = on_keys_of("team", described);
            let is_its = has(described, role);
            assert_eq!(may(&server, role, &words), is_its, "{role}: {words:?}");
            let reply = client.cmd(&words);
            assert_eq!(!is_refused(&reply), is_its, "{role}: {words:?}: {reply:?}");
        }
    }
}

#[test]
fn a_server_starts_with_the_lines_in_its_configuration() {
    let lines = user_lines(include_str!("../../../redis.conf.example"), "# ");
    let server = lines.fold(Server::builder(), |builder, line| builder.arg("user", line)).start();
    for role in ROLES {
        assert_eq!(log_in(&server, role).run("LTMC.STATUS").get("role").text(), "primary", "{role}");
    }
}

#[test]
fn agents_and_coordinators_have_the_keys_of_their_team_only() {
    let server = Server::start();
    add_users(&server);
    for role in ROLES {
        let has_all_keys = ["observer", "operator"].contains(&role);
        let mut client = log_in(&server, role);
        for described in commands().filter(|described| has(described, role)) {
            let words = on_keys_of("other", described);
            let has_keys = described["keys"].as_array().is_some_and(|keys| !keys.is_empty());
            let reply = client.cmd(&words);
            assert_eq!(!is_refused(&reply), has_all_keys || !has_keys, "{role}: {words:?}: {reply:?}");
        }
    }
}

/// What pools, cluster clients and sentinel clients send of themselves, to anybody's server.
const CONNECTION: &[&str] = &[
    "PING",
    "ECHO x",
    "HELLO 3",
    "HELLO 2",
    "SELECT 1",
    "SELECT 0",
    "COMMAND",
    "COMMAND COUNT",
    "COMMAND DOCS ping",
    "COMMAND INFO ping",
    "COMMAND LIST",
    "COMMAND GETKEYS GET k",
    "CLIENT SETNAME x",
    "CLIENT GETNAME",
    "CLIENT ID",
    "CLIENT INFO",
    "CLIENT NO-EVICT off",
    "CLIENT SETINFO LIB-NAME x",
    "CLIENT NO-TOUCH off",
    "CLUSTER SLOTS",
    "CLUSTER SHARDS",
    "CLUSTER NODES",
    "CLUSTER INFO",
    "CLUSTER MYID",
    "CLUSTER KEYSLOT k",
    "INFO",
    "ROLE",
    "TIME",
    "READONLY",
    "READWRITE",
    "ASKING",
    "WAIT 0 1",
    "MULTI",
    "PING",
    "EXEC",
    "MULTI",
    "DISCARD",
    "UNWATCH",
    "ACL WHOAMI",
    "LTMC.STATUS",
    "RESET",
];

#[test]
fn every_role_has_what_clients_send_of_themselves() {
    let server = Server::start();
    add_users(&server);
    for role in ROLES {
        let mut client = log_in(&server, role);
        for line in CONNECTION {
            let reply = client.run(line);
            assert!(!is_refused(&reply), "{role}: {line}: {reply:?}");
        }
    }
    // Redis 7.0 does not know all of them; it says so, and does not refuse them.
    assert!(server.run("ACL LOG").array().is_empty());
}

/// Commands of the server, with those who have them.
const SERVERS: &[(&str, &[&str])] = &[
    ("WATCH {team}:k", &["agent", "coordinator", "observer", "operator"]),
    ("TTL {team}:k", &["agent", "coordinator", "observer", "operator"]),
    ("EXISTS {team}:k", &["agent", "coordinator", "observer", "operator"]),
    ("TYPE {team}:k", &["agent", "coordinator", "observer", "operator"]),
    ("EXPIRE {team}:k 60", &["coordinator", "operator"]),
    ("PERSIST {team}:k", &["coordinator", "operator"]),
    ("DEL {team}:k", &["coordinator", "operator"]),
    ("UNLINK {team}:k", &["coordinator", "operator"]),
    ("TTL {other}:k", &["observer", "operator"]),
    ("EXPIRE {other}:k 60", &["operator"]),
    ("SCAN 0 TYPE ltmc-lock", &["observer", "operator"]),
    ("DBSIZE", &["observer", "operator"]),
    ("MEMORY USAGE {team}:k", &["observer", "operator"]),
    ("MEMORY STATS", &["operator"]),
    ("SUBSCRIBE __keyevent@0__:granted", &["observer", "operator"]),
    ("SUBSCRIBE __keyspace@3__:k", &["observer", "operator"]),
    ("PSUBSCRIBE __key*__:*", &["observer", "operator"]),
    ("PSUBSCRIBE __keyspace@0__:*", &["observer", "operator"]),
    ("PSUBSCRIBE __keyevent@0__:*", &["observer", "operator"]),
    ("PSUBSCRIBE *", &[]),
    ("SUBSCRIBE news", &[]),
    ("SLOWLOG GET", &["operator"]),
    ("LATENCY LATEST", &["operator"]),
    ("OBJECT FREQ {team}:k", &["operator"]),
    ("CLIENT LIST", &["operator"]),
    ("CLIENT KILL ID 1", &["operator"]),
    ("CLIENT UNBLOCK 1", &["operator"]),
    ("CLIENT PAUSE 1", &["operator"]),
    ("CLIENT TRACKING on BCAST", &["operator"]),
    ("CONFIG GET ltmc.*", &["operator"]),
    ("CONFIG SET ltmc.lock-lease-ms 5", &["operator"]),
    ("CONFIG REWRITE", &["operator"]),
    ("BGSAVE", &["operator"]),
    ("MODULE LIST", &["operator"]),
    ("ACL LOG", &["auditor"]),
    ("ACL LIST", &["auditor"]),
    ("ACL USERS", &["auditor"]),
    ("ACL GETUSER agent", &["auditor"]),
    ("GET {team}:k", &[]),
    ("SET {team}:k v", &[]),
    ("EVAL return 0", &[]),
    ("KEYS *", &[]),
    ("RESTORE {team}:k 0 x", &[]),
    ("MIGRATE h 1 k 0 5", &[]),
    ("PUBLISH c x", &[]),
    ("FLUSHALL", &[]),
    ("SHUTDOWN", &[]),
    ("DEBUG SLEEP 0", &[]),
    ("MODULE LOAD x", &[]),
    ("ACL SETUSER me", &[]),
    ("ACL DELUSER me", &[]),
    ("MONITOR", &[]),
];

#[test]
fn each_role_has_the_commands_of_the_server_that_go_with_it() {
    let server = Server::start();
    add_users(&server);
    for (line, have) in SERVERS {
        for role in ROLES {
            assert_eq!(may(&server, role, &split(line)), have.contains(&role), "{role}: {line}");
        }
    }
}

#[test]
fn an_agent_that_also_writes_needs_the_commands_only() {
    let server = Server::start();
    add_users(&server);
    let mut agent = log_in(&server, "agent");
    let fence = agent.run("LTMC.LOCK {team}:repo me").int();
    let guarded = format!("LTMC.GUARD {{team}}:repo {fence} SET {{team}}:doc text");
    assert!(is_refused(&agent.run(&guarded)));
    server.run("ACL SETUSER agent +get +set +del").ok();
    agent.run(&guarded).ok();
    for inner in ["SET {other}:doc text", "RPUSH {team}:list text"] {
        assert!(is_refused(&agent.run(&format!("LTMC.GUARD {{team}}:repo {fence} {inner}"))), "{inner}");
    }
}

#[test]
fn the_lines_with_a_category_say_the_same() {
    let server = Server::start();
    if !server.run("ACL CAT").texts().contains(&"ltmc".to_string()) {
        return;
    }
    add_users(&server);
    let lines: Vec<&str> = user_lines(include_str!("../../../scripts/README.md"), "").collect();
    assert_eq!(lines.len(), ROLES.len() - 1, "the auditor's would not be shorter");
    for line in lines {
        let (role, rules) = line.split_once(' ').expect("a name");
        server.run(&format!("ACL SETUSER short {rules}")).ok();
        for described in commands() {
            let words = on_keys_of("team", described);
            assert_eq!(may(&server, "short", &words), has(described, role), "{role}: {words:?}");
        }
        for (line, have) in SERVERS {
            assert_eq!(may(&server, "short", &split(line)), have.contains(&role), "{role}: {line}");
        }
        server.run("ACL DELUSER short").int();
    }
}
