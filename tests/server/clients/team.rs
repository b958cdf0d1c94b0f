//! A team at work. Agents are processes with a real client each, and half of them are killed with
//! `kill -9` while they hold locks, tasks and pins and take part in the session. What they held
//! passes to the others, who finish the flow.

use crate::harness::*;
use redis::{cmd, Connection, FromRedisValue, RedisResult, ToRedisArgs};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Tells the process of an agent where the server is.
const URL: &str = "LTMC_TEST_TEAM_URL";
/// Its name.
const NAME: &str = "LTMC_TEST_TEAM_AGENT";

const AGENTS: usize = 10;
const KILLED: usize = 5;
const TASKS: usize = 150;
const FILES: usize = 12;
/// An agent that is silent for this long is suspect, and for twice this time dead, ms.
const TTL_MS: usize = 1500;

const REGISTRY: &str = "{team}:agents";
const FLOW: &str = "{team}:flow";
const BUFFER: &str = "{team}:buffer";
const SESSION: &str = "{team}:session";
const MAIL: &str = "{team}:mail";

/// One connection of an agent.
struct Agent {
    name: String,
    connection: Connection,
}

impl Agent {
    fn connect() -> Option<Agent> {
        let (url, name) = (std::env::var(URL).ok()?, std::env::var(NAME).ok()?);
        let client = redis::Client::open(url).expect("an address");
        Some(Agent { name, connection: client.get_connection().expect("the server is there") })
    }

    fn ask<T: FromRedisValue>(&mut self, line: &[&str]) -> RedisResult<T> {
        let (name, args) = line.split_first().expect("a command");
        cmd(name).arg(args.to_redis_args()).query(&mut self.connection)
    }

    fn register(&mut self) {
        let (name, ttl) = (self.name.clone(), TTL_MS.to_string());
        let _: i64 = self.ask(&["LTMC.REGISTER", REGISTRY, &name, "PX", &ttl]).expect("it can register");
        let _: i64 = self.ask(&["LTMC.SESSION.JOIN", SESSION, &name, "REGISTRY", REGISTRY]).expect("it can join");
        let _: i64 = self.ask(&["LTMC.MSG.JOIN", MAIL, &name, "REGISTRY", REGISTRY]).expect("it can join");
    }

    /// Claims a task and does it: under the lock of its file, with the chunk that it needs pinned.
    /// False if no task is left.
    fn work(&mut self) -> RedisResult<bool> {
        let name = self.name.clone();
        let claim = ["LTMC.TASK.CLAIM", FLOW, &name, "PX", "60000", "BLOCK", "200", "REGISTRY", REGISTRY];
        let tasks: Vec<BTreeMap<String, redis::Value>> = self.ask(&claim)?;
        if tasks.is_empty() {
            let state: BTreeMap<String, redis::Value> = self.ask(&["LTMC.FLOW.INFO", FLOW])?;
            return Ok(text(&state["state"]) == "running");
        }
        for task in tasks {
            let (id, fence) = (text(&task["task"]), text(&task["fence"]));
            let file = text(&task["payload"]);
            let lock = format!("{{team}}:lock:{file}");
            let _: i64 = self.ask(&["LTMC.CHUNK.PIN", BUFFER, &file, &name, "PX", "60000", "REGISTRY", REGISTRY])?;
            let lock_fence: Option<i64> =
                self.ask(&["LTMC.LOCK", &lock, &name, "PX", "60000", "BLOCK", "30000", "REGISTRY", REGISTRY])?;
            let lock_fence = lock_fence.expect("the lock comes free in time").to_string();
            let _: i64 = self.ask(&["SADD", "busy", &name])?;
            let document = format!("{{team}}:document:{file}");
            let before: Option<String> = self.ask(&["GET", &document])?;
            thread::sleep(Duration::from_millis(15));
            let after = format!("{}{id},", before.unwrap_or_default());
            let _: String = self.ask(&["LTMC.GUARD", &lock, &lock_fence, "SET", &document, &after])?;
            let _: i64 = self.ask(&["SREM", "busy", &name])?;
            let _: i64 = self.ask(&["LTMC.UNLOCK", &lock, &name])?;
            let _: i64 = self.ask(&["LTMC.CHUNK.UNPIN", BUFFER, &file, &name])?;
            let _: String = self.ask(&["LTMC.TASK.COMPLETE", FLOW, &id, &fence, &name])?;
        }
        Ok(true)
    }
}

fn text(value: &redis::Value) -> String {
    redis::from_redis_value(value.clone()).expect("a text")
}

/// Not a test by itself: a process of the team runs this. Without its environment it does nothing.
#[test]
fn an_agent_of_the_team() {
    let Some(mut agent) = Agent::connect() else { return };
    agent.register();
    thread::spawn(|| {
        let mut heart = Agent::connect().expect("it is an agent");
        let name = heart.name.clone();
        while heart.ask::<i64>(&["LTMC.HEARTBEAT", REGISTRY, &name]).map_or_else(|error| is_lost(&error), |_| true) {
            thread::sleep(Duration::from_millis(TTL_MS as u64 / 10));
        }
    });
    loop {
        match agent.work() {
            Ok(true) => {}
            Ok(false) => return,
            // On a busy machine the agent may be silent for too long. Then others have what it had,
            // and it begins anew.
            Err(error) if is_lost(&error) => agent.register(),
            Err(error) => panic!("{}: {error}", agent.name),
        }
    }
}

/// Whether the agent was declared dead.
fn is_lost(error: &redis::RedisError) -> bool {
    matches!(error.code(), Some("NOAGENT" | "STALE" | "NOTOWNER"))
}

fn start_agent(server: &Server, name: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    // Named after its module, so that it is found when this file moves.
    let (_, here) = module_path!().split_once("::").expect("a crate and a module");
    command.args(["--exact", &format!("{here}::an_agent_of_the_team"), "--nocapture"]);
    command.env(URL, server.url()).env(NAME, name).stdout(Stdio::null());
    command.spawn().expect("a process")
}

/// The work: tasks that follow each other in chains, each about a file.
fn prepare(server: &Server) {
    server.run(&format!("LTMC.SESSION.CREATE {SESSION}")).int();
    for file in 0..FILES {
        server.run(&format!("LTMC.CHUNK.PUT {BUFFER} f{file} content")).array();
    }
    for n in 0..TASKS {
        let after = if n >= 20 { format!("AFTER 1 t{}", n - 20) } else { String::new() };
        let line = format!("LTMC.TASK.ADD {FLOW} t{n} f{} RETRIES 20 BACKOFF FIXED 1 {after}", n % FILES);
        assert!(!server.run(&line).is_error(), "{line}");
    }
}

/// What an agent holds at this moment, in the order of the keys.
fn holds(server: &Server, agent: &str) -> Vec<String> {
    let shown = server.run(&format!("LTMC.AGENT.GET {REGISTRY} {agent}"));
    if shown.is_nil() {
        Vec::new()
    } else {
        shown.get("holds").texts()
    }
}

fn is_held_by(server: &Server, agent: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in 0..FILES {
        let lock = format!("{{team}}:lock:f{file}");
        let info = server.run(&format!("LTMC.LOCK.INFO {lock}"));
        let holders = if info.is_nil() { &[][..] } else { info.get("holders").array() };
        found.extend(holders.iter().filter(|holder| holder.get("owner").text() == agent).map(|_| lock.clone()));
        let chunk = server.run(&format!("LTMC.CHUNK.INFO {BUFFER} f{file}"));
        found.extend(format!("{chunk:?}").contains(&format!("\"{agent}\"")).then(|| format!("chunk f{file}")));
    }
    for task in server.run(&format!("LTMC.TASK.LIST {FLOW} STATE running LIMIT 0 1000")).array() {
        let shown = server.run(&format!("LTMC.TASK.GET {FLOW} {}", task.text()));
        found.extend(
            (shown.find("agent").is_some_and(|name| !name.is_nil() && name.text() == agent))
                .then(|| task.text().to_string()),
        );
    }
    let session = server.run(&format!("LTMC.SESSION.INFO {SESSION}"));
    let participants = session.get("participants").array().iter();
    found.extend(participants.filter(|one| one.get("agent").text() == agent).map(|_| SESSION.to_string()));
    found
}

#[test]
fn half_of_a_team_is_killed_and_the_rest_finishes_the_work() {
    let server = Server::builder().arg("ltmc.orchestration-mode", "full").start();
    prepare(&server);
    let names: Vec<String> = (0..AGENTS).map(|n| format!("agent-{n}")).collect();
    let mut team: Vec<Child> = names.iter().map(|name| start_agent(&server, name)).collect();
    let (victims, rest) = names.split_at(KILLED);
    for (victim, child) in victims.iter().zip(&mut team) {
        // In the middle of everything: a lock, a task, a pin, the session, the mailbox.
        wait_until("it holds one of everything", || {
            server.run(&format!("SISMEMBER busy {victim}")).int() == 1 && holds(&server, victim).len() == 5
        });
        child.kill().expect("it can be killed");
        child.wait().expect("it is gone");
    }
    let deadline = Duration::from_secs(20);
    let is_dead = |victim: &String| {
        let shown = server.run(&format!("LTMC.AGENT.GET {REGISTRY} {victim}"));
        shown.is_nil() || shown.get("status").text() == "dead"
    };
    assert!(holds_within(deadline, || victims.iter().all(is_dead)), "they are noticed");
    for victim in victims {
        assert_eq!(holds(&server, victim), [""; 0], "{victim}");
        assert_eq!(is_held_by(&server, victim), [""; 0], "{victim}");
    }
    let state = || server.run(&format!("LTMC.FLOW.INFO {FLOW}")).get("state").text().to_string();
    assert!(holds_within(Duration::from_secs(60), || state() == "succeeded"), "{}", state());
    for child in &mut team[KILLED..] {
        assert!(child.wait().expect("it ends").success());
    }
    // Each task has one result, from the agent that did it last. Each file has each of its tasks at
    // least once, and no update was lost.
    let documents: Vec<String> =
        (0..FILES).map(|file| server.run(&format!("GET {{team}}:document:f{file}")).text().to_string()).collect();
    for n in 0..TASKS {
        let task = server.run(&format!("LTMC.TASK.GET {FLOW} t{n}"));
        assert_eq!(task.get("state").text(), "succeeded", "t{n}");
        assert!(names.contains(&task.get("result").text().to_string()));
        let done = documents[n % FILES].split(',').filter(|id| *id == format!("t{n}")).count();
        assert!((1..=1 + KILLED).contains(&done), "t{n} was done {done} times");
    }
    let failures: usize =
        (0..TASKS).map(|n| server.run(&format!("LTMC.TASK.GET {FLOW} t{n}")).get("history").array().len()).sum();
    assert!(failures >= KILLED, "what the dead were at was done again by others: {failures}");
    assert!(rest.iter().all(|name| is_held_by(&server, name).len() <= 1), "but for the session");
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}
