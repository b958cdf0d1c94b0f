//! Settings: where they come from, what they accept, and what they do.

use crate::harness::*;

mod bounds;
mod switches;

/// Name, a value other than the default, and one that is refused.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("orchestration-mode", "full", "fast"),
    ("audit", "write", "some"),
    ("audit-file", "trail.jsonl", "no/such/folder/trail.jsonl"),
    ("audit-ring-max", "0", "-1"),
    ("audit-on-full", "drop", "wait"),
    ("agent-registry-enabled", "no", "perhaps"),
    ("context-coordination-enabled", "no", "2"),
    ("memory-locking-enabled", "no", "nowhere"),
    ("orchestration-enabled", "no", ""),
    ("tool-cache-enabled", "no", "never"),
    ("chunk-buffer-enabled", "no", "n"),
    ("session-state-enabled", "no", "noo"),
    ("agent-holdings-max", "3", "0"),
    ("agent-locks-max", "4", "-1"),
    ("agent-tasks-max", "5", "-1"),
    ("agent-waits-max", "6", "-1"),
    ("agent-messages-max", "7", "1000000001"),
    ("agent-chunk-bytes-max", "8", "1125899906842625"),
    ("check-rate", "0", "-1"),
    ("request-memory-max", "1", "0"),
    ("request-memory-ms", "1000", "999"),
    ("check-elements-max", "1", "0"),
    ("trace-max", "1", "0"),
    ("memory-locking-strategy", "optimistic", "both"),
    ("lock-lease-ms", "1234", "-1"),
    ("lock-ageing-ms", "77", "0"),
    ("lock-waiters-max", "5", "0"),
    ("lock-holders-max", "6", "10000001"),
    ("agent-ttl-ms", "2345", "0"),
    ("agent-dead-percent", "101", "100"),
    ("agent-grace-ms", "0", "-1"),
    ("failure-detector", "phi", "swim"),
    ("phi-threshold", "16", "17"),
    ("agent-damping-half-life-ms", "0", "86400001"),
    ("agent-hold-share-percent", "100", "101"),
    ("agent-hold-agents-min", "1", "0"),
    ("agent-hold-percent", "10000", "0"),
    ("registry-agents-max", "8", "0"),
    ("capability-versions-max", "9", "0"),
    ("agent-capacity-max", "10", "100001"),
    ("claim-waiters-max", "9", "1000001"),
    ("watchers-max", "11", "0"),
    ("context-bytes-max", "1024", "1023"),
    ("context-values-max", "100", "99"),
    ("context-edits-max", "10", "9"),
    ("session-bytes-max", "536870912", "536870913"),
    ("session-fields-max", "12", "0"),
    ("session-resources-max", "13", "1000001"),
    ("session-end-grace-ms", "0", "-1"),
    ("participants-max", "14", "0"),
    ("json-depth-max", "100", "101"),
    ("history-versions-max", "15", "0"),
    ("checkpoints-max", "16", "0"),
    ("history-bytes-max", "1024", "1023"),
    ("mail-lease-ms", "16", "0"),
    ("mail-deliveries-max", "17", "0"),
    ("mail-messages-max", "18", "0"),
    ("mail-bytes-max", "1024", "1023"),
    ("mail-payload-bytes-max", "1024", "1023"),
    ("mail-inbox-max", "19", "0"),
    ("mail-agents-max", "20", "1000001"),
    ("mail-dead-max", "0", "-1"),
    ("mail-waiters-max", "21", "0"),
    ("cache-bytes-max", "4096", "4095"),
    ("cache-shrink-percent", "1", "101"),
    ("cache-entries-max", "1", "0"),
    ("cache-answer-bytes-max", "1024", "1023"),
    ("cache-args-bytes-max", "1024", "1048577"),
    ("cache-ttl-ms", "1", "31536000001"),
    ("cache-negative-ttl-ms", "1", "0"),
    ("cache-lease-ms", "1", "0"),
    ("cache-orphan-ms", "0", "31536000001"),
    ("cache-tickets-max", "1", "0"),
    ("cache-waiters-max", "1", "0"),
    ("buffer-bytes-max", "65536", "65535"),
    ("buffer-bytes-min", "0", "1125899906842625"),
    ("buffer-chunks-max", "1", "0"),
    ("buffer-shrink-percent", "1", "0"),
    ("chunk-bytes-max", "1", "0"),
    ("chunk-lease-ms", "1", "0"),
    ("chunk-holders-max", "1", "0"),
    ("worker-threads", "2", "65"),
    ("worker-queue-max", "7", "0"),
    ("sweep-batch-max", "7", "many"),
    ("reply-bytes-max", "65536", "65535"),
    ("reply-elements-max", "1000", "999"),
    ("arguments-max", "1000", "999"),
    ("bind-agent-to-user", "yes", "maybe"),
    ("flow-tasks-max", "12", "0"),
    ("flow-spec-bytes-max", "4096", "0"),
    ("flow-spec-tasks-max", "11", "0"),
    ("flow-spec-edges-max", "13", "many"),
    ("flow-caps-max", "14", "0"),
    ("flow-keep", "0", "-1"),
    ("task-backoff-ms", "0", "3600001"),
    ("flow-keep-ms", "60000", "-1"),
    ("flow-keep-dead", "0", "-1"),
    ("flow-keep-dead-ms", "60000", "-1"),
    ("task-payload-bytes-max", "1", "536870913"),
    ("task-lease-ms", "1", "0"),
    ("task-retries", "0", "1000001"),
    ("task-ageing-ms", "5", "0"),
    ("task-stop-grace-ms", "0", "86400001"),
    ("task-waiters-max", "13", "0"),
];

fn value(server: &Server, name: &str) -> String {
    let name = format!("ltmc.{name}");
    server.cmd(&["CONFIG", "GET", &name]).get(&name).text().to_string()
}

#[test]
fn every_setting_can_be_read_set_and_kept() {
    let mut server = Server::start();
    let all = server.run("CONFIG GET ltmc.*");
    assert_eq!(all.pairs().len(), SETTINGS.len(), "{all:?}");
    for (name, other, refused) in SETTINGS {
        let before = value(&server, name);
        assert_ne!(before, *other);
        let reply = server.cmd(&["CONFIG", "SET", &format!("ltmc.{name}"), refused]);
        assert_eq!(reply.error_code(), "ERR", "{name} {refused}");
        assert_eq!(value(&server, name), before);
        server.run(&format!("CONFIG SET ltmc.{name} {other}")).ok();
        assert_eq!(value(&server, name), *other);
        let shown = server.run("LTMC.STATUS");
        let shown = shown.get("settings").get(name).clone();
        let shown = match shown {
            Reply::Int(number) => number.to_string(),
            text => text.text().to_string(),
        };
        assert_eq!(shown, *other);
    }
    server.run("CONFIG REWRITE").ok();
    server.restart();
    for (name, other, _) in SETTINGS {
        assert_eq!(value(&server, name), *other, "{name} after a restart");
    }
}

#[test]
fn the_configuration_file_sets_them_too() {
    let server =
        Server::builder().arg("ltmc.lock-lease-ms", 1000).arg("ltmc.memory-locking-strategy", "optimistic").start();
    let fence = server.run("LTMC.LOCK k a").int();
    assert_eq!(fence % 2, 1);
    assert!(server.run("PTTL k").int() <= 1000);
}

#[test]
fn a_bad_value_in_the_configuration_file_stops_the_load_and_is_named() {
    for (name, bad, text) in [
        ("lock-lease-ms", "soon", "ltmc.lock-lease-ms is 'soon', allowed are whole numbers from 0 to 31536000000"),
        ("lock-ageing-ms", "0", "ltmc.lock-ageing-ms is '0', allowed are whole numbers from 1 to 86400000"),
        ("orchestration-mode", "fast", "ltmc.orchestration-mode is 'fast', allowed are basic, full, debug"),
        (
            "agent-registry-enabled",
            "2",
            "ltmc.agent-registry-enabled is '2', allowed are yes, no, true, false, on, off, 1, 0",
        ),
    ] {
        let refusal = Server::builder().arg(&format!("ltmc.{name}"), bad).try_start();
        let log = refusal.err().expect("the server must not start");
        assert!(log.contains(text), "{log}");
        let server = Server::start();
        let refused = server.cmd(&["CONFIG", "SET", &format!("ltmc.{name}"), bad]);
        assert!(refused.error().contains(text), "{refused:?}");
        let module = module_path();
        let module = module.to_str().expect("a path");
        let server = Server::builder().without_module().arg("enable-module-command", "yes").start();
        let name = format!("ltmc.{name}");
        assert!(server.cmd(&["MODULE", "LOADEX", module, "CONFIG", &name, bad]).is_error());
        assert!(server.log().contains(text), "{}", server.log());
        assert!(server.run("MODULE LIST").array().is_empty());
    }
}

#[test]
fn a_module_that_is_loaded_later_takes_its_settings_along() {
    let module = module_path();
    let module = module.to_str().expect("a path");
    let spec = Server::builder().without_module().arg("enable-module-command", "yes");
    let server = spec.env("LTMC_LOCK_AGEING_MS", "5").env("ORCHESTRATION_MODE", "debug").start();
    let line = [
        "MODULE",
        "LOADEX",
        module,
        "CONFIG",
        "ltmc.orchestration-mode",
        "FULL",
        "CONFIG",
        "ltmc.tool-cache-enabled",
        "False",
    ];
    server.cmd(&line).ok();
    assert_eq!(value(&server, "orchestration-mode"), "full", "what is said wins over the environment");
    assert_eq!(value(&server, "tool-cache-enabled"), "no");
    assert_eq!(value(&server, "lock-ageing-ms"), "5");
    assert_eq!(server.run("LTMC.CACHE.TOP k").error_code(), "DISABLED");
}

#[test]
fn several_settings_change_together_or_not_at_all() {
    let server = Server::start();
    let refused = server.run("CONFIG SET ltmc.lock-lease-ms 77 ltmc.orchestration-mode full ltmc.lock-ageing-ms 0");
    assert!(refused.is_error());
    assert_eq!(
        (value(&server, "lock-lease-ms").as_str(), value(&server, "orchestration-mode").as_str()),
        ("30000", "basic")
    );
    server.run("CONFIG SET ltmc.lock-lease-ms 77 ltmc.orchestration-mode full").ok();
    assert_eq!(
        (value(&server, "lock-lease-ms").as_str(), value(&server, "orchestration-mode").as_str()),
        ("77", "full")
    );
}

#[test]
fn the_environment_gives_defaults_and_an_explicit_setting_wins() {
    let spec = Server::builder().env("LTMC_LOCK_LEASE_MS", "4321").env("MEMORY_LOCKING_STRATEGY", "optimistic");
    let server = spec.clone().start();
    assert_eq!(value(&server, "lock-lease-ms"), "4321");
    assert_eq!(value(&server, "memory-locking-strategy"), "optimistic");
    let server = spec.arg("ltmc.lock-lease-ms", 99).start();
    assert_eq!(value(&server, "lock-lease-ms"), "99");
}

#[test]
fn a_bad_value_in_the_environment_stops_the_load_and_is_named() {
    for (name, bad) in [
        ("LTMC_LOCK_AGEING_MS", "0"),
        ("LTMC_LOCK_WAITERS_MAX", "-5"),
        ("LTMC_SWEEP_BATCH_MAX", ""),
        ("LTMC_FAILURE_DETECTOR", "swim"),
        ("LTMC_AGENT_DEAD_PERCENT", "100"),
        ("MEMORY_LOCKING_STRATEGY", "both"),
        ("ORCHESTRATION_MODE", "full mode"),
        ("AGENT_REGISTRY_ENABLED", "2"),
        ("CONTEXT_COORDINATION_ENABLED", "enabled"),
    ] {
        let refusal = Server::builder().env(name, bad).try_start();
        let log = refusal.err().unwrap_or_else(|| panic!("{name}={bad} must stop the load"));
        assert!(log.contains(name) && log.contains("allowed are"), "{log}");
    }
}

#[test]
fn module_arguments_are_refused() {
    let refusal = Server::builder().module_arg("lock-lease-ms").module_arg("5").try_start();
    let log = refusal.err().expect("the server must not start");
    assert!(log.contains("it takes no module arguments"), "{log}");
}

#[test]
fn the_log_warns_if_locks_could_be_evicted() {
    let warning = "may evict locks";
    let risky = Server::builder().arg("maxmemory-policy", "allkeys-lru").start();
    risky.wait_log(warning);
    assert!(risky.log().contains("maxmemory-policy is allkeys-lru"));
    assert!(!Server::start().log().contains(warning));
}

#[test]
fn a_limit_of_waiters_names_its_setting() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.lock-waiters-max 2").ok();
    server.run("LTMC.LOCK k a PX 600000").int();
    let mut waiting = server.clients(2);
    server.block_in_turn(&mut waiting, |n| format!("LTMC.LOCK k w{n} BLOCK 0"));
    for line in ["LTMC.LOCK k late BLOCK 0", "LTMC.MLOCK late 2 free k BLOCK 0"] {
        let refused = server.run(line);
        assert_eq!(refused.error_code(), "LIMIT", "{line}");
        assert!(refused.error().contains("ltmc.lock-waiters-max"), "{refused:?}");
    }
    assert!(server.run("LTMC.LOCK k late").is_nil(), "who does not wait is not counted");
}

#[test]
fn limits_of_claimers_and_watchers_name_their_settings() {
    let server = Server::start();
    server.run("LTMC.REGISTER r a").int();
    for (setting, waiting, at_once) in [
        ("claim-waiters-max", "LTMC.AGENT.CLAIM r PX 5 CAPS 1 none", "LTMC.AGENT.CLAIM r PX 5 CAPS 1 none"),
        ("watchers-max", "LTMC.WATCH 1 r SINCE $", "LTMC.WATCH 1 r SINCE $"),
    ] {
        server.run(&format!("CONFIG SET ltmc.{setting} 2")).ok();
        let mut clients = server.clients(2);
        server.block_in_turn(&mut clients, |_| format!("{waiting} BLOCK 0"));
        let refused = server.run(&format!("{waiting} BLOCK 0"));
        assert_eq!(refused.error_code(), "LIMIT", "{setting}");
        assert!(refused.error().contains(&format!("ltmc.{setting}")), "{refused:?}");
        assert!(!server.run(at_once).is_error(), "who does not wait is not counted");
        drop(clients);
        server.wait_blocked(0);
    }
}

#[test]
fn the_time_to_live_of_an_agent_is_set_when_it_first_registers() {
    let server = Server::start();
    for (agent, ttl) in [("a", 30_000), ("b", 4321)] {
        server.run(&format!("CONFIG SET ltmc.agent-ttl-ms {ttl}")).ok();
        server.run(&format!("LTMC.REGISTER r {agent}")).int();
        assert_eq!(server.run(&format!("LTMC.HEARTBEAT r {agent}")).int(), ttl);
    }
    server.run("LTMC.REGISTER r a").int();
    assert_eq!(server.run("LTMC.HEARTBEAT r a").int(), 30_000, "a registered agent keeps what it had");
}

#[test]
fn a_limit_of_holders_names_its_setting() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.lock-holders-max 2").ok();
    for owner in ["a", "b"] {
        server.run(&format!("LTMC.LOCK k {owner} SHARED PX 600000")).int();
    }
    let before = server.debug_digest();
    for line in ["LTMC.LOCK k c SHARED", "LTMC.LOCK k c SHARED BLOCK 0", "LTMC.MLOCK c 2 free k SHARED"] {
        let refused = server.run(line);
        assert_eq!(refused.error_code(), "LIMIT", "{line}");
        assert!(refused.error().contains("ltmc.lock-holders-max"), "{refused:?}");
        assert_eq!(server.debug_digest(), before, "{line}");
    }
    server.run("LTMC.LOCK k a SHARED").int();
    for owner in ["a", "b"] {
        assert!(server.run(&format!("LTMC.LOCK k {owner} OPTIMISTIC")).int() > 0, "stamps are counted on their own");
    }
    assert_eq!(server.run("LTMC.LOCK k c OPTIMISTIC").error_code(), "LIMIT");
    // Their paths have a bound of segments together, but one grant may be as deep as it likes.
    let deep = |n: usize| format!("LTMC.LOCK p a PATH {n}{}", "/x".repeat(40));
    server.run(&deep(1)).int();
    let refused = server.run(&deep(2));
    assert!(refused.error_code() == "LIMIT" && refused.error().contains("64 segments"), "{refused:?}");
    server.run(&deep(1)).int();
    assert!(server.run(&format!("{} OPTIMISTIC", deep(2))).int() > 0);
    server.run("LTMC.LOCK p a PATH short").int();
}

/// Nothing may have changed after a refusal that names the setting.
#[track_caller]
fn refused_by(server: &Server, setting: &str, line: &str) {
    let before = server.debug_digest();
    let refused = server.run(line);
    assert_eq!(refused.error_code(), "LIMIT", "{line}: {refused:?}");
    assert!(refused.error().contains(&format!("ltmc.{setting}")), "{line}: {refused:?}");
    assert_eq!(server.debug_digest(), before, "{line}");
}

#[test]
fn limits_of_sessions_and_contexts_name_their_settings() {
    let server = Server::start();
    let long = "x".repeat(1024);
    let (pair, deep) = (format!("b {long}"), "[[[1]]]");
    server.run("LTMC.SESSION.SET s f v g w").int();
    assert_eq!(server.run("LTMC.SESSION.JOIN s a").int(), 1);
    assert_eq!(server.run("LTMC.SESSION.OWN s r q").int(), 2);
    server.run("LTMC.CTX.CREATE c OWNER a DOC {\"f\":1}").int();
    assert_eq!(server.run("LTMC.CTX.JOIN c a").int(), 0, "an owner takes part");
    for (setting, value) in [
        ("session-fields-max", 2),
        ("session-bytes-max", 1024),
        ("session-resources-max", 2),
        ("participants-max", 1),
        ("json-depth-max", 2),
    ] {
        server.run(&format!("CONFIG SET ltmc.{setting} {value}")).ok();
    }
    for (setting, line) in [
        ("session-fields-max", "LTMC.SESSION.SET s h v".to_string()),
        ("session-fields-max", "LTMC.SESSION.SET t f v g v h v".to_string()),
        ("session-fields-max", "LTMC.SESSION.CREATE t STATE {\"f\":1,\"g\":2,\"h\":3}".to_string()),
        ("session-bytes-max", format!("LTMC.SESSION.SET s f {long}")),
        ("session-bytes-max", format!("LTMC.SESSION.SET t {pair}")),
        ("session-bytes-max", format!("LTMC.SESSION.CREATE t STATE {{\"f\":\"{long}\"}}")),
        ("session-bytes-max", format!("LTMC.SESSION.OWN s {long}")),
        ("session-resources-max", "LTMC.SESSION.OWN s p".to_string()),
        ("session-resources-max", "LTMC.SESSION.OWN s r q p".to_string()),
        ("participants-max", "LTMC.SESSION.JOIN s b".to_string()),
        ("participants-max", "LTMC.SESSION.CREATE t PARTICIPANTS 2 a b".to_string()),
        ("participants-max", "LTMC.CTX.JOIN c b".to_string()),
        ("json-depth-max", format!("LTMC.CTX.CREATE t DOC {deep}")),
        ("json-depth-max", format!("LTMC.CTX.UPDATE c a SET /f {deep}")),
        ("json-depth-max", format!("LTMC.SESSION.CREATE t STATE {{\"f\":{deep}}}")),
    ] {
        refused_by(&server, setting, &line);
    }
    for (line, reply) in [
        ("LTMC.SESSION.SET s f x g y", 2),
        ("LTMC.SESSION.JOIN s a ROLE again", 0),
        ("LTMC.SESSION.OWN s r q", 0),
        ("LTMC.CTX.UPDATE c a SET /f [1]", 2),
    ] {
        assert_eq!(server.run(line).int(), reply, "{line}: what is within its bounds goes on");
    }
}

#[test]
fn the_size_of_a_context_is_a_limit_that_is_named() {
    let server = Server::start();
    let long = "x".repeat(600);
    server.run(&format!("LTMC.CTX.CREATE c DOC {{\"f\":\"{long}\"}}")).int();
    server.run("CONFIG SET ltmc.context-bytes-max 1024").ok();
    refused_by(&server, "context-bytes-max", &format!("LTMC.CTX.UPDATE c a SET /g \"{long}\""));
    // A single argument that is longer than the setting is refused in the same way.
    refused_by(&server, "context-bytes-max", &format!("LTMC.CTX.CREATE t DOC \"{long}{long}\""));
    refused_by(&server, "context-bytes-max", &format!("LTMC.CTX.UPDATE c a SET /g \"{long}{long}\""));
}

#[test]
fn how_much_history_is_kept_is_decided_when_the_key_is_made() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.history-versions-max 2").ok();
    server.run("LTMC.SESSION.SET few n 0").int();
    server.run("CONFIG SET ltmc.history-versions-max 5").ok();
    server.run("LTMC.SESSION.SET many n 0").int();
    for n in 1..=9 {
        server.run(&format!("LTMC.SESSION.SET few n {n}")).int();
        server.run(&format!("LTMC.SESSION.SET many n {n}")).int();
    }
    for (key, kept) in [("few", 2), ("many", 5)] {
        assert_eq!(server.run(&format!("LTMC.SESSION.INFO {key}")).get("history_versions").int(), kept);
    }
}

#[test]
fn a_session_that_ends_can_be_read_for_as_long_as_is_set() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.session-end-grace-ms 300000").ok();
    for (key, end) in [("s", "LTMC.SESSION.END s"), ("t", "LTMC.SESSION.STATUS t terminated")] {
        server.run(&format!("LTMC.SESSION.SET {key} f v")).int();
        assert!(!server.run(end).is_error());
        let left = server.run(&format!("PTTL {key}")).int();
        assert!((60_001..=300_000).contains(&left), "{key}: {left}");
    }
    server.run("CONFIG SET ltmc.session-end-grace-ms 0").ok();
    server.run("LTMC.SESSION.SET u f v").int();
    assert_eq!(server.run("LTMC.SESSION.END u").int(), 1);
    assert_eq!(server.run("EXISTS u").int(), 0);
}

#[test]
fn a_new_default_lease_is_for_new_locks() {
    let server = Server::start();
    server.run("LTMC.LOCK k a").int();
    assert!(server.run("PTTL k").int() > 1000);
    server.run("CONFIG SET ltmc.lock-lease-ms 600000").ok();
    server.run("LTMC.LOCK k2 a").int();
    assert!(server.run("PTTL k").int() <= 30_000);
    assert!(server.run("PTTL k2").int() > 300_000);
}

#[test]
fn an_acl_user_acts_only_under_its_own_name_if_agents_are_bound() {
    let server = Server::start();
    server.run("ACL SETUSER ada on nopass ~* +@all -ltmc.lock.break");
    let mut ada = server.client();
    ada.run("AUTH ada x").ok();
    assert!(ada.run("LTMC.LOCK k bob").int() > 0, "nobody is bound by default");
    server.run("LTMC.UNLOCK k bob");
    server.run("CONFIG SET ltmc.bind-agent-to-user yes");
    for (owner, allowed) in
        [("ada", true), ("ada:1", true), ("ad", false), ("adas", false), ("bob", false), (":", false)]
    {
        let reply = ada.run(&format!("LTMC.LOCK k:{owner} {owner}"));
        assert_eq!(!reply.is_error(), allowed, "{owner}: {reply:?}");
        if !allowed {
            assert_eq!(reply.error_code(), "DENIED");
        }
    }
    for line in [
        "LTMC.UNLOCK k bob",
        "LTMC.MLOCK bob 1 k",
        "LTMC.LOCK.RENEW k bob TOKEN 2 PX 5",
        "LTMC.LOCK.CONVERT k bob TOKEN 2 SHARED",
        "LTMC.SESSION.JOIN s bob",
        "LTMC.SESSION.LEAVE s bob",
        "LTMC.CTX.CREATE c OWNER bob",
        "LTMC.CTX.JOIN c bob",
        "LTMC.CTX.LEAVE c bob",
        "LTMC.CTX.UPDATE c bob SET /x 1",
    ] {
        assert_eq!(ada.run(line).error_code(), "DENIED", "{line}");
    }
    let fence = ada.run("LTMC.LOCK g ada").int();
    let inner = ada.run(&format!("LTMC.GUARD g {fence} LTMC.LOCK h bob"));
    assert_eq!(inner.error_code(), "DENIED", "the caller's identity holds inside of GUARD too");
    let script = ada.cmd(&["EVAL", "return redis.pcall('LTMC.LOCK','h','bob')", "0"]);
    assert_eq!(script.error_code(), "DENIED", "and inside of scripts");
}
