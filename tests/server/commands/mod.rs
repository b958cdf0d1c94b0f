//! What the server knows of our commands, who may run them, and what the module says about itself.

use crate::harness::*;

mod keys;
mod replies;
mod walk;

/// Name, arity and flags of every command, as `COMMAND INFO` has them.
const COMMANDS: &[(&str, i64, &[&str])] = &[
    ("ltmc.lock", -3, &["write", "denyoom", "fast", "blocking"]),
    ("ltmc.unlock", -3, &["write", "fast"]),
    ("ltmc.lock.renew", 7, &["write", "fast"]),
    ("ltmc.lock.convert", -6, &["write", "blocking"]),
    ("ltmc.lock.check", 3, &["readonly", "fast"]),
    ("ltmc.lock.info", 2, &["readonly"]),
    ("ltmc.mlock", -4, &["write", "denyoom", "blocking"]),
    ("ltmc.lock.break", -2, &["write", "admin"]),
    ("ltmc.lock.graph", 1, &["readonly", "admin"]),
    ("ltmc.register", -3, &["write", "denyoom", "fast"]),
    ("ltmc.deregister", -3, &["write", "fast"]),
    ("ltmc.heartbeat", -3, &["write", "fast"]),
    ("ltmc.agent.get", 3, &["readonly", "fast"]),
    ("ltmc.agent.list", -2, &["readonly"]),
    ("ltmc.agent.find", -2, &["readonly"]),
    ("ltmc.agent.claim", -4, &["write", "blocking"]),
    ("ltmc.agent.release", -3, &["write", "fast"]),
    ("ltmc.agent.stats", 2, &["readonly"]),
    ("ltmc.session.create", -2, &["write", "denyoom", "fast"]),
    ("ltmc.session.set", -4, &["write", "denyoom", "fast"]),
    ("ltmc.session.get", -2, &["readonly", "fast"]),
    ("ltmc.session.del", -3, &["write", "fast"]),
    ("ltmc.session.info", 2, &["readonly"]),
    ("ltmc.session.status", -2, &["write", "fast"]),
    ("ltmc.session.join", -3, &["write", "denyoom", "fast"]),
    ("ltmc.session.leave", 3, &["write", "fast"]),
    ("ltmc.session.touch", -2, &["write", "fast"]),
    ("ltmc.session.own", -3, &["write", "denyoom", "fast"]),
    ("ltmc.session.disown", -3, &["write", "fast"]),
    ("ltmc.session.checkpoint", -2, &["write", "denyoom", "fast"]),
    ("ltmc.session.checkpoints", -2, &["readonly"]),
    ("ltmc.session.restore", -3, &["write", "denyoom"]),
    ("ltmc.session.fork", -3, &["write", "denyoom"]),
    ("ltmc.session.prune", -4, &["write"]),
    ("ltmc.session.end", -2, &["write"]),
    ("ltmc.ctx.create", -2, &["write", "denyoom"]),
    ("ltmc.ctx.join", -3, &["write", "denyoom", "fast"]),
    ("ltmc.ctx.leave", 3, &["write", "fast"]),
    ("ltmc.ctx.touch", -2, &["write", "fast"]),
    ("ltmc.ctx.update", -5, &["write"]),
    ("ltmc.ctx.get", -2, &["readonly"]),
    ("ltmc.ctx.diff", -3, &["readonly"]),
    ("ltmc.ctx.generate", -4, &["write", "denyoom"]),
    ("ltmc.ctx.build", -4, &["readonly"]),
    ("ltmc.ctx.route", -3, &["readonly"]),
    ("ltmc.ctx.checkpoint", -2, &["write", "denyoom", "fast"]),
    ("ltmc.ctx.checkpoints", -2, &["readonly"]),
    ("ltmc.ctx.restore", -3, &["write", "denyoom"]),
    ("ltmc.ctx.rollback", -3, &["write", "denyoom"]),
    ("ltmc.ctx.fork", -3, &["write", "denyoom"]),
    ("ltmc.ctx.prune", -4, &["write"]),
    ("ltmc.flow.create", -2, &["write", "denyoom", "fast"]),
    ("ltmc.flow.info", 2, &["readonly"]),
    ("ltmc.flow.pause", 2, &["write", "fast"]),
    ("ltmc.flow.touch", -2, &["write", "fast"]),
    ("ltmc.flow.resume", 2, &["write", "fast"]),
    ("ltmc.flow.cancel", 2, &["write", "fast"]),
    ("ltmc.flow.graph", -2, &["readonly"]),
    ("ltmc.task.add", -4, &["write", "denyoom", "fast"]),
    ("ltmc.task.claim", -3, &["write", "fast", "blocking"]),
    ("ltmc.task.heartbeat", -4, &["write", "fast"]),
    ("ltmc.task.complete", -5, &["write", "fast", "blocking"]),
    ("ltmc.task.fail", -5, &["write", "fast"]),
    ("ltmc.task.cancel", -3, &["write", "fast"]),
    ("ltmc.task.get", -3, &["readonly", "fast"]),
    ("ltmc.task.list", -2, &["readonly"]),
    ("ltmc.task.wait", -2, &["readonly", "blocking"]),
    ("ltmc.task.signal", -3, &["write", "denyoom", "fast"]),
    ("ltmc.task.requeue", -3, &["write", "fast"]),
    ("ltmc.watch", -5, &["readonly", "blocking"]),
    ("ltmc.msg.send", -5, &["write", "denyoom", "fast"]),
    ("ltmc.msg.recv", -3, &["write", "blocking"]),
    ("ltmc.msg.ack", -4, &["write", "fast"]),
    ("ltmc.msg.nack", -4, &["write", "fast"]),
    ("ltmc.msg.extend", -6, &["write", "fast"]),
    ("ltmc.msg.requeue", 4, &["write", "fast"]),
    ("ltmc.msg.join", -3, &["write", "denyoom", "fast"]),
    ("ltmc.msg.leave", 3, &["write"]),
    ("ltmc.msg.pending", -3, &["readonly"]),
    ("ltmc.msg.dead", -2, &["readonly"]),
    ("ltmc.msg.get", 3, &["readonly"]),
    ("ltmc.msg.agents", -2, &["readonly"]),
    ("ltmc.msg.info", 2, &["readonly"]),
    ("ltmc.cache.get", -4, &["write", "fast", "blocking"]),
    ("ltmc.cache.peek", -4, &["readonly", "fast"]),
    ("ltmc.cache.put", -5, &["write"]),
    ("ltmc.cache.fail", -5, &["write", "fast"]),
    ("ltmc.cache.invalidate", -3, &["write"]),
    ("ltmc.cache.config", -2, &["write"]),
    ("ltmc.cache.stats", -2, &["readonly", "fast"]),
    ("ltmc.cache.top", -2, &["readonly"]),
    ("ltmc.cache.scan", -3, &["readonly"]),
    ("ltmc.chunk.buffer", -2, &["write", "fast"]),
    ("ltmc.chunk.alloc", -4, &["write", "denyoom"]),
    ("ltmc.chunk.put", -4, &["write", "denyoom"]),
    ("ltmc.chunk.write", -5, &["write", "denyoom", "fast"]),
    ("ltmc.chunk.seal", -3, &["write"]),
    ("ltmc.chunk.read", -3, &["readonly", "fast"]),
    ("ltmc.chunk.mget", -3, &["readonly"]),
    ("ltmc.chunk.have", -4, &["readonly"]),
    ("ltmc.chunk.retain", -4, &["write", "denyoom", "fast"]),
    ("ltmc.chunk.release", 4, &["write", "fast"]),
    ("ltmc.chunk.pin", -6, &["write", "denyoom", "fast"]),
    ("ltmc.chunk.unpin", 4, &["write", "fast"]),
    ("ltmc.chunk.free", -3, &["write"]),
    ("ltmc.chunk.meta", -3, &["write", "denyoom", "fast"]),
    ("ltmc.chunk.info", 3, &["readonly"]),
    ("ltmc.chunk.list", -2, &["readonly"]),
    ("ltmc.chunk.popular", -2, &["readonly"]),
    ("ltmc.chunk.resize", 4, &["write", "fast"]),
    ("ltmc.chunk.stats", 2, &["readonly"]),
    ("ltmc.guard", -4, &["write"]),
    ("ltmc.status", 1, &["readonly", "fast", "stale"]),
    ("ltmc.cluster", 1, &["readonly", "fast", "stale"]),
    ("ltmc.health", 1, &["readonly", "fast", "stale"]),
    ("ltmc.apply", -3, &["write", "admin"]),
    ("ltmc.explain", -2, &["readonly"]),
    ("ltmc.repair", 2, &["write", "admin"]),
    ("ltmc.trace", -2, &["readonly", "admin", "stale"]),
    ("ltmc.audit", -2, &["readonly", "admin", "stale"]),
    ("ltmc.debug", -2, &["write", "admin"]),
];

/// The flags that mean something to clients and to the server.
const FLAGS: &[&str] =
    &["write", "readonly", "denyoom", "fast", "blocking", "admin", "loading", "stale", "noscript", "pubsub"];

fn words(reply: &Reply) -> Vec<String> {
    reply.texts()
}

/// Servers differ in the case of the names.
fn lower(names: Vec<String>) -> Vec<String> {
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

fn command_info(server: &Server, name: &str) -> Reply {
    server.cmd(&["COMMAND", "INFO", name]).array()[0].clone()
}

#[test]
fn the_server_knows_exactly_these_commands() {
    let server = Server::start();
    let mut known = lower(words(&server.run("COMMAND LIST FILTERBY MODULE ltmc")));
    let mut expected: Vec<&str> = COMMANDS.iter().map(|(name, ..)| *name).collect();
    known.sort();
    expected.sort();
    assert_eq!(known, expected);
}

#[test]
fn arity_flags_and_categories_are_those_of_the_table() {
    let server = Server::start();
    for (name, arity, flags) in COMMANDS {
        let info = command_info(&server, name);
        let info = info.array();
        assert_eq!(info[1].int(), *arity, "{name}");
        let given = words(&info[2]);
        let has = |flag: &str| given.iter().any(|word| word == flag);
        for flag in FLAGS {
            assert_eq!(has(flag), flags.contains(flag), "{flag} of {name}: {given:?}");
        }
        let categories = words(&info[6]);
        if categories.is_empty() {
            assert!(server.version() < (7, 2, 0), "{name} has no categories");
            continue;
        }
        let in_category = |name: &str| categories.iter().any(|word| word == name);
        for (flag, category) in [
            ("write", "@write"),
            ("readonly", "@read"),
            ("blocking", "@blocking"),
            ("admin", "@admin"),
            ("admin", "@dangerous"),
        ] {
            assert_eq!(in_category(category), flags.contains(&flag), "{category} of {name}: {categories:?}");
        }
        let own = words(&server.run("ACL CAT")).contains(&"ltmc".to_string());
        assert_eq!(in_category("@ltmc"), own, "{name}: {categories:?}");
        assert_eq!(in_category("@fast"), has("fast"), "{name}: {categories:?}");
        assert_ne!(in_category("@fast"), in_category("@slow"), "{name}: {categories:?}");
    }
}

#[test]
fn where_the_server_has_own_categories_all_commands_are_in_ltmc() {
    let server = Server::start();
    if !words(&server.run("ACL CAT")).contains(&"ltmc".to_string()) {
        assert!(!server.is_valkey(), "Valkey 8 has them");
        return;
    }
    server.run("ACL SETUSER agent on >p ~* -@all +@ltmc -@admin").ok();
    let mut agent = server.client();
    agent.auth("agent", "p");
    assert!(agent.run("LTMC.LOCK k a").int() > 0);
    assert_eq!(agent.run("LTMC.LOCK.BREAK k").error_code(), "NOPERM");
    assert_eq!(agent.run("GET k").error_code(), "NOPERM");
}

#[test]
fn every_command_is_documented() {
    let server = Server::start();
    for (name, arity, _) in COMMANDS {
        let docs = server.cmd(&["COMMAND", "DOCS", name]);
        let docs = docs.pairs()[0].1;
        for field in ["summary", "since", "complexity"] {
            assert!(!docs.get(field).text().is_empty(), "{field} of {name}");
        }
        assert!(docs.get("summary").text().ends_with('.'), "{name}");
        assert_eq!(docs.get("group").text(), "module", "{name}");
        let args = docs.find("arguments").map_or(0, |args| args.array().len());
        assert_eq!(args > 0, *arity != 1, "arguments of {name}");
    }
    let docs = server.run("COMMAND DOCS LTMC.LOCK");
    let shown = format!("{docs:?}");
    for part in ["exclusive", "SHARED", "OPTIMISTIC", "LIMIT", "ONDISCONNECT", "REQID", "oneof", "optional"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let shown = format!("{:?}", server.run("COMMAND DOCS LTMC.AGENT.CLAIM"));
    for part in
        ["CAPS", "ANYCAP", "TAGS", "STATUS", "META", "MINFREE", "EXCLUDE", "SORT", "PX", "REF", "BLOCK", "REQID"]
    {
        assert!(shown.contains(&format!("\"{part}\"")), "{part} in {shown}");
    }
    for (command, parts) in [
        ("LTMC.SESSION.CREATE", "PARTICIPANTS STATE META PX EX SLIDING MAXLIFE"),
        ("LTMC.CTX.UPDATE", "IFVERSION MERGE PATCH SET DEL APPEND INCRBY REPLACE oneof"),
        ("LTMC.CTX.GENERATE", "BUDGET FOR TAGS"),
        ("LTMC.CTX.ROUTE", "CAPS ANYCAP TAGS STATUS META MINFREE EXCLUDE SORT PATH"),
    ] {
        let shown = format!("{:?}", server.cmd(&["COMMAND", "DOCS", command]));
        for part in parts.split(' ') {
            assert!(shown.contains(&format!("\"{part}\"")), "{part} in {shown}");
        }
    }
}

#[test]
fn status_and_info_show_the_node() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK k b BLOCK 0");
    server.wait_blocked(1);
    assert_eq!(server.run("LTMC.LOCK k c PX").error_code(), "ERR");
    let status = server.run("LTMC.STATUS");
    assert_eq!(status.get("role").text(), "primary");
    assert_eq!(status.get("mode").text(), "basic");
    assert_eq!(status.get("health").text(), "ok");
    assert_eq!((status.get("cluster").int(), status.get("replicas").int()), (0, 0));
    assert!(status.get("memory_permille").is_nil(), "there is no limit");
    server.run("CONFIG SET maxmemory 1gb").ok();
    assert!((0..1000).contains(&server.run("LTMC.STATUS").get("memory_permille").int()));
    assert_eq!(status.get("waiting_clients").int(), 1);
    assert_eq!(status.get("last_fence").int(), fence);
    assert_eq!(status.get("quarantined_keys").int(), 0);
    assert!(status.get("uptime_ms").int() >= 0);
    let server_name = if server.is_valkey() { "valkey" } else { "redis" };
    assert!(status.get("server").text().contains(server_name), "{status:?}");
    let locks = status.get("services").get("lock");
    assert_eq!(locks.get("waits").int(), 1);
    assert_eq!(locks.get("errors").int(), 1);
    let info = server.info("ltmc");
    let field = |name: &str| info.get(&format!("ltmc_{name}")).map(String::as_str);
    assert_eq!(field("version"), Some(status.get("version").text()));
    for (name, value) in [
        ("waiting_clients", "1"),
        ("quarantined_keys", "0"),
        ("panics", "0"),
        ("lock_waits", "1"),
        ("lock_errors", "1"),
        ("lock_timeouts", "0"),
        ("lock_deadlocks", "0"),
        ("event_lock_granted", "1"),
    ] {
        assert_eq!(field(name), Some(value), "{name} in {info:?}");
    }
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
    assert!(waiting.recv().int() > 0);
    let wait_us = |name: &str| server.info_int("ltmc", &format!("ltmc_lock_wait_us_{name}"));
    assert!(wait_us("p50") <= wait_us("p99") && wait_us("p99") <= wait_us("max"));
    assert_eq!(server.info_int("ltmc", "ltmc_lock_waits_served"), 1);
    let replica = server.replica();
    assert_eq!(replica.run("LTMC.STATUS").get("role").text(), "replica");
    assert_eq!(server.run("LTMC.STATUS").get("replicas").int(), 1);
}

#[test]
fn a_payload_can_be_explained() {
    let server = Server::start();
    let mut fence = 0;
    let stream = replication_stream(&server, || {
        fence = server.run("LTMC.LOCK k owner PATH src PX 600000 REQID r").int();
    });
    let shown = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &stream[0][2]]);
    let json: serde_json::Value = serde_json::from_str(shown.text()).expect("it is JSON");
    assert_eq!(json["type"], "ltmc-lock");
    assert_eq!(json["content"], "changes");
    let grant = &json["value"][0]["Event"]["Granted"];
    assert_eq!(grant["fence"], fence, "{json}");
    assert_eq!(grant["owner"], "owner", "{json}");
}

/// Panics on `key` this many times.
fn panic_on(server: &Server, key: &str, times: usize) {
    for _ in 0..times {
        let reply = server.run(&format!("LTMC.DEBUG PANIC {key}"));
        assert_eq!(reply.error_code(), "ERR");
        assert!(reply.error().contains("internal error"), "{reply:?}");
    }
}

#[test]
fn a_panic_is_contained_logged_and_counted() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    panic_on(&server, "k", 1);
    server.wait_log("LTMC.DEBUG PANIC was asked for");
    let log = server.log();
    assert!(log.contains("internal error in LTMC.DEBUG, contained"), "{log}");
    assert!(log.contains("ltmc::command::"), "the backtrace is missing: {log}");
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 1);
    assert_eq!(server.run("LTMC.DEBUG PANIC").error_code(), "ERR");
}

#[test]
fn three_panics_put_a_key_into_quarantine() {
    let server = Server::start();
    for lift in ["DEL k", "UNLINK k", "FLUSHALL", "LTMC.REPAIR k"] {
        server.run("LTMC.LOCK k a PX 600000").int();
        let fence = server.run("LTMC.LOCK k a").int();
        panic_on(&server, "k", 2);
        assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1);
        panic_on(&server, "k", 1);
        for line in [
            "LTMC.LOCK k a",
            "LTMC.UNLOCK k a",
            &format!("LTMC.LOCK.RENEW k a TOKEN {fence} PX 1000"),
            &format!("LTMC.LOCK.CONVERT k a TOKEN {fence} SHARED"),
            &format!("LTMC.LOCK.CHECK k {fence}"),
            "LTMC.LOCK.INFO k",
            "LTMC.LOCK.BREAK k",
            "LTMC.MLOCK a 2 other k",
            &format!("LTMC.GUARD k {fence} PING"),
        ] {
            assert_eq!(server.run(line).error_code(), "QUARANTINED", "{line}");
        }
        assert_eq!(server.run("LTMC.STATUS").get("quarantined_keys").int(), 1);
        assert_eq!(server.run("EXISTS other").int(), 0);
        assert!(server.run("LTMC.LOCK other a").int() > 0, "other keys are not affected");
        assert!(!server.run(lift).is_error());
        assert!(server.run("LTMC.LOCK k a").int() > 0, "after {lift}");
        // Some servers free flushed values some time later.
        wait_until("nothing is in quarantine", || server.info_int("ltmc", "ltmc_quarantined_keys") == 0);
        server.run("FLUSHALL").ok();
    }
}

#[test]
fn a_registry_in_quarantine_answers_nobody_until_it_is_repaired() {
    let server = Server::start();
    let epoch = server.run("LTMC.REGISTER k a PX 600000 CAPS 1 go CAPACITY 2").int();
    let fence = server.run("LTMC.AGENT.CLAIM k PX 600000").array()[1].int();
    let before = server.debug_digest();
    panic_on(&server, "k", 3);
    for line in [
        "LTMC.REGISTER k b",
        "LTMC.DEREGISTER k a",
        "LTMC.HEARTBEAT k a",
        "LTMC.AGENT.GET k a",
        "LTMC.AGENT.LIST k",
        "LTMC.AGENT.FIND k",
        "LTMC.AGENT.CLAIM k PX 5",
        "LTMC.AGENT.CLAIM k PX 5 BLOCK 0",
        &format!("LTMC.AGENT.RELEASE k {fence}"),
        "LTMC.AGENT.STATS k",
        "LTMC.WATCH 1 k SINCE 0",
        "LTMC.WATCH 2 other k SINCE 0 0 BLOCK 0",
    ] {
        assert_eq!(server.run(line).error_code(), "QUARANTINED", "{line}");
    }
    let repaired = server.run("LTMC.REPAIR k");
    assert_eq!((repaired.get("type").text(), repaired.get("was_broken").int()), ("ltmcagent", 0));
    assert_eq!(server.debug_digest(), before);
    assert_eq!(server.run(&format!("LTMC.HEARTBEAT k a EPOCH {epoch}")).int(), 600_000);
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE k {fence}")).int(), 1);
}

#[test]
fn a_key_that_holds_nothing_leaves_quarantine_by_repair() {
    let server = Server::start();
    panic_on(&server, "k", 3);
    assert_eq!(server.run("LTMC.LOCK k a").error_code(), "QUARANTINED");
    assert!(server.run("LTMC.REPAIR k").is_nil());
    assert!(server.run("LTMC.LOCK k a").int() > 0);
}

#[test]
fn repair_finds_nothing_wrong_with_a_sound_lock() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PATH src PX 600000").int();
    let before = server.debug_digest();
    let repaired = server.run("LTMC.REPAIR k");
    assert_eq!(repaired.get("type").text(), "ltmc-lock");
    assert_eq!(repaired.get("was_broken").int(), 0);
    assert_eq!(server.debug_digest(), before);
}

#[test]
fn a_panic_of_the_scheduler_forgets_no_waiter() {
    let server = Server::start();
    let mut waiter = server.client();
    server.run("LTMC.LOCK k a PX 200");
    waiter.send_line("LTMC.LOCK k b PX 60000 BLOCK 0");
    server.wait_blocked(1);
    server.run("LTMC.DEBUG SWEEP 2").ok();
    assert!(waiter.recv().int() > 0, "served in the third attempt");
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 2);

    waiter.send_line("LTMC.LOCK k c BLOCK 0");
    server.wait_blocked(1);
    server.run("LTMC.DEBUG SWEEP 3").ok();
    assert_eq!(waiter.recv().error_code(), "QUARANTINED", "three panics on one key end the waits for it");
}

#[test]
fn the_name_of_a_key_has_a_bound() {
    let server = Server::start();
    let (most, more) = ("k".repeat(1_024), "k".repeat(1_025));
    let text = "the name of a key is 1025 bytes long, at most 1024 are allowed";
    assert!(server.run(&format!("LTMC.LOCK {most} a")).int() > 0);
    for line in [
        format!("LTMC.LOCK {more} a"),
        format!("LTMC.MLOCK a 2 k {more}"),
        format!("LTMC.LOCK.INFO {more}"),
        format!("LTMC.WATCH 2 k {more} SINCE 0 0"),
        format!("LTMC.TASK.ADD f t x LOCKS 1 {more}"),
        format!("LTMC.SESSION.OWN s {more}"),
        format!("LTMC.CTX.GENERATE made 1 {more}"),
        format!("LTMC.LOCK k a REGISTRY {more}"),
    ] {
        let refused = server.run(&line);
        let is_named = refused.error().contains("1025 bytes") && refused.error().contains("1024");
        assert!(is_named, "{}: {refused:?}", &line[..30]);
        assert!(refused.error().contains(text) || line.contains("REGISTRY"), "{refused:?}");
    }
    assert!(server.run(&format!("LTMC.SESSION.SET s f {more}{more}")).int() > 0, "a value may be longer");
    assert_eq!(server.run("DBSIZE").int(), 2);
}
