//! What a registered agent held is given back when the agent is gone.

use crate::harness::*;
use crate::waiting::set_clock;

mod bounds;
mod durability;
mod ends;
mod keys;
mod refusals;
mod waiting;

/// A time that does not end within a test.
const LONG_MS: i64 = 600_000_000;

fn full() -> Builder {
    Server::builder().arg("ltmc.orchestration-mode", "full")
}

/// Registers an agent whose silence is noticed after this many ms.
#[track_caller]
fn register_for(server: &Server, agent: &str, ms: i64) -> i64 {
    server.run(&format!("LTMC.REGISTER r {agent} PX {ms} CAPACITY 100")).int()
}

#[track_caller]
fn register(server: &Server, agent: &str) -> i64 {
    register_for(server, agent, LONG_MS)
}

/// The commands by which an agent gets one of everything. [`prepare`] makes what they need.
fn wants(agent: &str) -> Vec<String> {
    let px = format!("PX {LONG_MS}");
    vec![
        format!("LTMC.LOCK lock {agent} {px} REGISTRY r"),
        format!("LTMC.LOCK tree {agent} PATH src/{agent} {px} REGISTRY r"),
        format!("LTMC.LOCK pool {agent} SHARED LIMIT 5 {px} REGISTRY r"),
        format!("LTMC.LOCK stamps {agent} OPTIMISTIC {px} REGISTRY r"),
        format!("LTMC.MLOCK {agent} 2 many1 many2 {px} REGISTRY r"),
        format!("LTMC.AGENT.CLAIM r {px} CAPS 1 tool REF {agent} REGISTRY r"),
        format!("LTMC.TASK.CLAIM flow {agent} {px} REGISTRY r"),
        format!("LTMC.CHUNK.PIN buffer shared {agent} {px} REGISTRY r"),
        format!("LTMC.CHUNK.RETAIN buffer shared {agent} REGISTRY r"),
        format!("LTMC.CHUNK.PUT buffer own data PIN {agent} {LONG_MS} REGISTRY r"),
        format!("LTMC.CHUNK.ALLOC buffer ID draft SIZE 10 AGENT {agent} {px} REGISTRY r"),
        format!("LTMC.MSG.JOIN mail {agent} REGISTRY r"),
        format!("LTMC.MSG.RECV mail {agent} {px} REGISTRY r"),
        format!("LTMC.CTX.JOIN context {agent} REGISTRY r"),
        format!("LTMC.CTX.CREATE owned OWNER {agent} REGISTRY r"),
        format!("LTMC.SESSION.JOIN session {agent} REGISTRY r"),
        format!("LTMC.SESSION.CREATE team PARTICIPANTS 1 {agent} REGISTRY r"),
    ]
}

/// The keys in which an agent holds something after [`wants`].
const HELD: &[&str] = &[
    "buffer", "context", "flow", "lock", "mail", "many1", "many2", "owned", "pool", "r", "session", "stamps", "team",
    "tree",
];

/// Makes what has to be there before an agent can have something of it.
#[track_caller]
fn prepare(server: &Server, agent: &str) {
    for line in [
        format!("LTMC.REGISTER r worker CAPS 1 tool CAPACITY 5 PX {LONG_MS}"),
        "LTMC.TASK.ADD flow job payload RETRIES 10".into(),
        "LTMC.CHUNK.PUT buffer shared bytes".into(),
        format!("LTMC.MSG.SEND mail boss TO 1 {agent} read"),
        format!("LTMC.MSG.SEND mail boss TO 1 {agent} unread"),
        "LTMC.CTX.CREATE context".into(),
        "LTMC.SESSION.CREATE session".into(),
    ] {
        let reply = server.run(&line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
}

/// Lets an agent hold one of everything.
#[track_caller]
fn hold_everything(server: &Server, agent: &str) {
    prepare(server, agent);
    for line in wants(agent) {
        let reply = server.run(&line);
        assert!(!reply.is_error() && !reply.is_nil(), "{line}: {reply:?}");
    }
    assert_eq!(holds(server, agent), HELD);
}

/// The keys in which the registry knows an agent to hold something.
#[track_caller]
fn holds(server: &Server, agent: &str) -> Vec<String> {
    server.run(&format!("LTMC.AGENT.GET r {agent}")).get("holds").texts()
}

/// Where an agent holds something or takes part, by what the services themselves say.
#[track_caller]
fn found(server: &Server, agent: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |what: &str, is_there: bool| found.extend(is_there.then(|| what.to_string()));
    for key in ["lock", "tree", "pool", "stamps", "many1", "many2"] {
        let info = server.run(&format!("LTMC.LOCK.INFO {key}"));
        note(key, !info.is_nil() && format!("{info:?}").contains(&format!("\"{agent}\"")));
    }
    note("claim", server.run("LTMC.AGENT.STATS r").get("claims").int() > 0);
    let job = server.run("LTMC.TASK.GET flow job");
    note("task", job.get("state").text() == "running" && job.get("agent").text() == agent);
    for chunk in ["shared", "own"] {
        let info = server.run(&format!("LTMC.CHUNK.INFO buffer {chunk}"));
        note(chunk, format!("{info:?}").contains(&format!("\"{agent}\"")));
    }
    note("draft", !server.run("LTMC.CHUNK.INFO buffer draft").is_nil());
    let inbox = server.run(&format!("LTMC.MSG.PENDING mail {agent}"));
    note("messages", !inbox.array().is_empty());
    let joined = server.run("LTMC.MSG.AGENTS mail");
    let is_joined = |one: &Reply| one.get("agent").text() == agent && !one.get("joined_at_ms").is_nil();
    note("mailbox", joined.array().iter().any(is_joined));
    for (command, key) in
        [("CTX.GET", "context"), ("CTX.GET", "owned"), ("SESSION.INFO", "session"), ("SESSION.INFO", "team")]
    {
        let shown = server.run(&format!("LTMC.{command} {key}"));
        let takes_part = |one: &Reply| one.get("agent").text() == agent;
        note(key, shown.get("participants").array().iter().any(takes_part));
    }
    found
}

/// All that [`found`] finds after [`hold_everything`].
const FOUND: &[&str] = &[
    "lock", "tree", "pool", "stamps", "many1", "many2", "claim", "task", "shared", "own", "draft", "messages",
    "mailbox", "context", "owned", "session", "team",
];

/// The ways in which an incarnation of `ada` ends.
const ENDS: [&str; 3] = ["LTMC.DEREGISTER r ada", "LTMC.REGISTER r ada", "silence"];

/// Ends `ada`, who was registered for a minute.
#[track_caller]
fn end(server: &Server, how: &str) {
    if how == "silence" {
        set_clock(server, 60_001);
        wait_until("it is suspect", || server.info_int("ltmc", "ltmc_event_agent_suspected") > 0);
        set_clock(server, 120_002);
        wait_until("it is dead", || server.info_int("ltmc", "ltmc_event_agent_died") > 0);
    } else {
        assert!(server.run(how).int() > 0, "{how}");
    }
}
