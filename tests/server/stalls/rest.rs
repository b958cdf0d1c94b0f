//! What is dear only beside much that is stored, or is never dear: every other command.

use super::context::object;
use super::stage::{text, Stage};

/// Sends each of these lines as dear.
fn dear(stage: &mut Stage, beside: &str, lines: &[&str]) {
    for line in lines {
        let name = line.split(' ').next().unwrap_or_default().trim_start_matches("LTMC.");
        stage.dear_line(format!("{name} {beside}"), line);
    }
}

pub const LOCK: &[super::Scene] = &[("lock: the rest", |stage| {
    let count = stage.max("lock-holders-max") - 2;
    let fence = stage.run("LTMC.LOCK l a SHARED PX 3600000").int();
    stage.fill((0..count).map(|n| format!("LTMC.LOCK l a{n} OPTIMISTIC PX 3600000")));
    let beside = format!("beside {count} stamps");
    dear(
        stage,
        &beside,
        &[&format!("LTMC.LOCK.CHECK l {fence}"), &format!("LTMC.LOCK.RENEW l a TOKEN {fence} PX 3600000")],
    );
    dear(stage, &beside, &[&format!("LTMC.GUARD l {fence} PING")]);
    dear(stage, &beside, &[&format!("LTMC.LOCK.CONVERT l a TOKEN {fence} EXCLUSIVE")]);
})];

pub const REGISTRY: &[super::Scene] = &[("registry: the rest", |stage| {
    let count = stage.max("claim-waiters-max");
    let mut waiters = stage.server.clients(count);
    stage.run("LTMC.REGISTER r a CAPACITY 1 PX 36000000");
    let fence = stage.run("LTMC.AGENT.CLAIM r PX 3600000").array()[1].int();
    let caps: Vec<String> = (0..64).map(|n| format!("none-{n}")).collect();
    stage.server.block_in_turn(&mut waiters, |n| {
        format!("LTMC.AGENT.CLAIM r PX 3600000 BLOCK 0 ANYCAP 64 {} TAGS 1 no{n}", caps.join(" "))
    });
    dear(
        stage,
        &format!("beside {count} waiters"),
        &[
            "LTMC.HEARTBEAT r a LOAD 0.1",
            &format!("LTMC.AGENT.RELEASE r {fence}"),
            "LTMC.HEARTBEAT r a HEALTH FAILED",
            "LTMC.HEARTBEAT r a HEALTH OK",
        ],
    );
})];

pub const CONTEXT: &[super::Scene] = &[("context: the rest", |stage| {
    let (people, agents) = (stage.max("participants-max") - 1, stage.max("registry-agents-max"));
    stage.fill((0..agents).map(|n| format!("LTMC.REGISTER r agent-{n} TAGS 1 all PX 36000000")));
    stage.cmd(&["LTMC.CTX.CREATE", "ctx", "DOC", &object(100, |_| "1".into())]);
    stage.fill((0..people).map(|n| format!("LTMC.CTX.JOIN ctx agent-{n}")));
    stage.fill((0..100).map(|n| format!("LTMC.CTX.UPDATE ctx agent-{n} SET /member-{n} {n}")));
    let beside = format!("beside {people} participants");
    dear(
        stage,
        &beside,
        &[
            "LTMC.CTX.JOIN ctx last",
            "LTMC.CTX.ROUTE ctx r TAGS 1 all",
            "LTMC.CTX.ROUTE ctx r TAGS 1 all PATH /member-1",
            "LTMC.CTX.LEAVE ctx last",
            "LTMC.CTX.TOUCH ctx PX 36000000",
            "LTMC.CTX.CHECKPOINT ctx NAME one",
        ],
    );
    let values = stage.max("context-values-max") - 10;
    stage.cmd(&["LTMC.CTX.UPDATE", "ctx", "a", "REPLACE", &object(values, |_| "1".into())]);
    dear(stage, &format!("of {values} values"), &["LTMC.CTX.RESTORE ctx one"]);
    let text = format!("\"{}\"", text(stage.max("context-bytes-max") * 9 / 10));
    stage.dear("CTX.UPDATE REPLACE with a text", &["LTMC.CTX.UPDATE", "ctx", "a", "REPLACE", &text]);
    let wide = object(values, |_| "2".into());
    stage.dear(format!("CTX.UPDATE REPLACE with {values} values"), &["LTMC.CTX.UPDATE", "ctx", "a", "REPLACE", &wide]);
})];

pub const SESSION: &[super::Scene] = &[("session: the rest", |stage| {
    let people = stage.max("participants-max") - 1;
    stage.run("LTMC.SESSION.SET s f v");
    stage.fill((0..people).map(|n| format!("LTMC.SESSION.JOIN s agent-{n}")));
    dear(
        stage,
        &format!("beside {people} participants"),
        &[
            "LTMC.SESSION.JOIN s last",
            "LTMC.SESSION.STATUS s",
            "LTMC.SESSION.LEAVE s last",
            "LTMC.SESSION.TOUCH s PX 36000000",
            "LTMC.SESSION.CHECKPOINT s NAME one",
        ],
    );
})];

pub const CACHE: &[super::Scene] = &[("cache: the rest", |stage| {
    let bytes = stage.max("cache-args-bytes-max");
    let args = format!("{{\"a\":[{}]}}", vec!["1"; (bytes - 10) / 2].join(","));
    stage.dear(format!("CACHE.PEEK with {bytes} bytes"), &["LTMC.CACHE.PEEK", "c", "tool", &args]);
    let got = stage.cmd(&["LTMC.CACHE.GET", "c", "tool", &args, "LEASE", "3600000"]);
    let ticket = got.get("ticket").int().to_string();
    stage.dear(format!("CACHE.FAIL with {bytes} bytes"), &["LTMC.CACHE.FAIL", "c", "tool", &args, &ticket]);
})];

pub const BUFFER: &[super::Scene] = &[("buffer: the rest", |stage| {
    let (holders, chunks) = (stage.max("chunk-holders-max") - 2, stage.max("buffer-chunks-max"));
    stage.fill((0..chunks).map(|n| format!("LTMC.CHUNK.PUT b c{n} x")));
    stage.fill((0..holders).map(|n| format!("LTMC.CHUNK.RETAIN b c1 agent-{n}")));
    stage.dear("CHUNK.META of a held chunk", &["LTMC.CHUNK.META", "b", "c1", r#"{"a":1}"#]);
    dear(
        stage,
        &format!("beside {holders} holders"),
        &[
            "LTMC.CHUNK.RETAIN b c1 a",
            "LTMC.CHUNK.PIN b c1 b PX 3600000",
            "LTMC.CHUNK.UNPIN b c1 b",
            "LTMC.CHUNK.RELEASE b c1 a",
        ],
    );
    dear(stage, &format!("of {chunks} chunks"), &["LTMC.CHUNK.BUFFER b POLICY TTL"]);
})];

pub const MAIL: &[super::Scene] = &[("mail: the rest", |stage| {
    let (agents, dead) = (stage.max("mail-agents-max"), stage.max("mail-dead-max"));
    stage.fill((0..agents - 2).map(|n| format!("LTMC.MSG.JOIN m agent-{n}")));
    stage.dear_line(format!("MSG.JOIN beside {agents}"), "LTMC.MSG.JOIN m last");
    let id = stage.run("LTMC.MSG.SEND m a ALL hello").int();
    stage.run("LTMC.MSG.RECV m agent-1");
    let beside = format!("of a message to {agents}");
    dear(
        stage,
        &beside,
        &[
            &format!("LTMC.MSG.EXTEND m agent-1 {id} PX 3600000"),
            &format!("LTMC.MSG.NACK m agent-1 {id} DEAD"),
            &format!("LTMC.MSG.REQUEUE m agent-1 {id}"),
        ],
    );
    for _ in 0..dead {
        let id = stage.run("LTMC.MSG.SEND m a TO 1 dead hello").int();
        stage.run("LTMC.MSG.RECV m dead");
        stage.run(&format!("LTMC.MSG.NACK m dead {id} DEAD"));
    }
    dear(stage, &format!("of {dead}"), &["LTMC.MSG.DEAD m LIMIT 0 10000", "LTMC.MSG.DEAD m CURSOR 0 COUNT 10000"]);
})];

pub const FLOW: &[super::Scene] = &[("flow: the rest", |stage| {
    let tasks = stage.some(100_000).min(stage.max("flow-tasks-max")) - 10;
    stage.fill((0..tasks).map(|n| format!("LTMC.TASK.ADD f t{n} x GROUP g{n}")));
    stage.run("LTMC.TASK.ADD f signalled x WAITSIGNAL");
    let fence = stage.run("LTMC.TASK.CLAIM f a").array()[0].get("fence").int();
    let bytes = stage.max("task-payload-bytes-max");
    stage.dear(format!("TASK.SIGNAL of {bytes} bytes"), &["LTMC.TASK.SIGNAL", "f", "signalled", &text(bytes)]);
    let beside = format!("beside {tasks} tasks");
    dear(
        stage,
        &beside,
        &[
            &format!("LTMC.TASK.HEARTBEAT f t0 {fence} PROGRESS 50 half"),
            &format!("LTMC.TASK.FAIL f t0 {fence} why DEAD"),
            "LTMC.TASK.WAIT f t1",
            "LTMC.FLOW.TOUCH f PX 36000000",
            "LTMC.FLOW.PAUSE f",
        ],
    );
    let count = stage.some(4_000);
    let mut waiters = stage.server.clients(count);
    stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.TASK.CLAIM f w{n} BLOCK 0"));
    dear(stage, &format!("for {count} waiters"), &["LTMC.FLOW.RESUME f"]);
})];

pub const SERVER: &[super::Scene] = &[("the module itself", |stage| {
    stage.run("CONFIG SET ltmc.orchestration-mode debug ltmc.audit all");
    let count = stage.max("audit-ring-max");
    stage.fill((0..count).map(|n| format!("LTMC.SESSION.SET s{} f {n}", n % 100)));
    dear(
        stage,
        &format!("behind {count} commands"),
        &[
            "LTMC.STATUS",
            "LTMC.HEALTH",
            "LTMC.CLUSTER",
            "LTMC.TRACE GET 10000",
            "LTMC.AUDIT GET 1000000",
            "LTMC.AUDIT GET 10 KEY none",
        ],
    );
})];
