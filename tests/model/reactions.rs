//! Reactions and quotas against a naive list of who holds what. Agents register, die, deregister
//! and register anew while they take and release things of every service, with and without
//! `REGISTRY`, in changing modes and under changing quotas. Keys are deleted, and the server
//! restarts. After every step the values, their bindings, the index of holdings with its sums, and
//! the replica are compared with the list.

mod things;

use crate::driver::{History, Schedule};
use crate::host::MemoryHost;
use crate::prng::Prng;
use crate::server::{execute, field, int};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::engine::service::change_setting;
use ltmc::command::node::Node;
use ltmc::command::reply::Reply;
use ltmc::command::scheduler;
use ltmc::command::settings::Setting;
use ltmc::domain::buffer::Buffer;
use ltmc::domain::context::Context;
use ltmc::domain::entity::quota::Quota;
use ltmc::domain::entity::record::Payload;
use ltmc::domain::flow::Flow;
use ltmc::domain::lock::Lock;
use ltmc::domain::mail::Mail;
use ltmc::domain::reactions::has_ended;
use ltmc::domain::registry::Registry;
use ltmc::domain::session::Session;
use ltmc::domain::{Code, Entity, Error, KeyId, Record};
use ltmc::snapshot;
use ltmc::snapshot::frame;
use std::collections::{BTreeMap, BTreeSet};
use things::{Held, Thing, QUOTAS};

const AGENTS: [&str; 4] = ["ada", "bob", "eve", "dan"];
/// An agent that is silent for twice this time is dead, ms.
const TTL_MS: u64 = 100;

#[derive(Default)]
struct World {
    node: Node,
    host: MemoryHost,
    rng: Option<Prng>,
    history: History,
    held: BTreeSet<Held>,
    /// The incarnation that owns what an agent holds in a key.
    bindings: BTreeMap<(String, String), u64>,
    /// The living agents, with their epochs.
    alive: BTreeMap<String, u64>,
    /// The lengths of the chunks.
    lengths: [usize; 2],
    /// How often an agent was refused by a quota.
    refused: u64,
}

fn id(key: &str) -> KeyId {
    KeyId::new(0, key.as_bytes())
}

/// Runs `$body` for every type that agents hold something of.
macro_rules! for_each_type {
    ($E:ident => $body:expr) => {
        for_each_type!($E => $body, Lock Registry Context Session Buffer Mail Flow)
    };
    ($E:ident => $body:expr, $($Type:ident)*) => {
        $({
            type $E = $Type;
            $body
        })*
    };
}

impl Schedule for World {
    fn new(seed: u64) -> World {
        let mut world = World { rng: Some(Prng::new(seed)), lengths: [1, 3], ..World::default() };
        world.history.seed = seed;
        world.settle_settings();
        world.set_time(1_700_000_000_000);
        world
    }

    fn step(&mut self) {
        self.change_lengths_and_quotas();
        self.prepare();
        let agent = AGENTS[self.rng().below(4) as usize].to_string();
        match self.rng().below(100) {
            0..=44 => self.take(&agent),
            45..=59 => self.give(),
            60..=67 => self.register(&agent),
            68..=72 => drop(self.must(&format!("LTMC.DEREGISTER r {agent}"))),
            73..=82 => {
                for agent in AGENTS {
                    if self.rng().percent(70) {
                        self.run(&format!("LTMC.HEARTBEAT r {agent}")).ok();
                    }
                }
            }
            83..=92 => {
                let ms = self.rng().below(120);
                self.pass(ms);
            }
            93..=94 => {
                let thing = Thing::random(self.rng());
                self.delete(&thing.key());
            }
            95..=96 => {
                let mode = self.rng().below(3) as i64;
                change_setting(&mut self.node, Setting::OrchestrationMode as usize, mode);
            }
            97 => self.restart(),
            _ => {
                let key = Thing::random(self.rng()).key();
                let exists = self.host.keys.contains_key(&id(&key));
                assert_eq!(self.must(&format!("LTMC.REPAIR {key}")) == Reply::Nil, !exists);
            }
        }
        self.tick();
        self.notice_ends();
        self.compare();
    }
}

impl World {
    fn settle_settings(&mut self) {
        self.node.settings.set_at(Setting::OrchestrationMode as usize, 1);
        self.node.settings.set_at(Setting::AgentHoldSharePercent as usize, 0);
        self.node.settings.set_at(Setting::AgentDampingHalfLifeMs as usize, 0);
    }

    fn rng(&mut self) -> &mut Prng {
        self.rng.as_mut().expect("it has one")
    }

    fn set_time(&mut self, ms: u64) {
        self.node.clock.set_now_us(ms * 1000);
        self.host.now = ms;
    }

    fn run(&mut self, line: &str) -> Result<Reply, Error> {
        let words: Vec<&str> = line.split(' ').collect();
        let outcome = execute(&mut self.node, &mut self.host, (1, 0), &words);
        self.history.note(format!("{}: {line} => {outcome:?}", self.host.now));
        match outcome? {
            Outcome::Reply(reply) => Ok(reply),
            Outcome::Waits | Outcome::Offloaded(_) => panic!("nobody waits here: {line}"),
        }
    }

    fn must(&mut self, line: &str) -> Reply {
        self.run(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn change_lengths_and_quotas(&mut self) {
        if self.rng().percent(10) {
            let (chunk, length) = (self.rng().below(2) as usize, 1 + self.rng().below(5) as usize);
            self.lengths[chunk] = length;
        }
        if self.rng().percent(10) {
            let (_, setting) = *self.rng().pick(&QUOTAS);
            let max = self.rng().below(6);
            self.history.note(format!("{setting:?} is {max}"));
            self.node.settings.set_at(setting as usize, max as i64);
        }
    }

    /// Creates what is to be taken.
    fn prepare(&mut self) {
        for line in [
            format!("LTMC.CHUNK.PUT buffer c0 {}", "x".repeat(self.lengths[0])).as_str(),
            format!("LTMC.CHUNK.PUT buffer c1 {}", "y".repeat(self.lengths[1])).as_str(),
            "LTMC.REGISTER r worker CAPS 1 tool CAPACITY 3 PX 31536000000",
        ] {
            if line.starts_with("LTMC.CHUNK")
                || self.host.peek::<Registry>(&id("r")).is_none_or(|stored| stored.state.agent(b"worker").is_none())
            {
                self.must(line);
            }
        }
        for (key, line) in [
            ("context", "LTMC.CTX.CREATE context"),
            ("session0", "LTMC.SESSION.CREATE session0"),
            ("session1", "LTMC.SESSION.CREATE session1"),
        ] {
            if !self.host.keys.contains_key(&id(key)) {
                self.must(line);
            }
        }
        let has_mail = |agent: &str| {
            let mail = self.host.peek::<Mail>(&id("mail"));
            mail.and_then(|stored| stored.state.inbox(agent.as_bytes())).is_some_and(|inbox| inbox.ready() > 0)
        };
        if !AGENTS.into_iter().any(has_mail) {
            self.must("LTMC.MSG.SEND mail boss TO 4 ada bob eve dan text");
        }
        if self.held.iter().filter(|held| held.thing == Thing::Task).count() < 3 {
            self.must("LTMC.TASK.ADD flow * payload RETRIES 1000000 BACKOFF FIXED 1");
        }
    }

    fn register(&mut self, agent: &str) {
        let epoch = int(&self.must(&format!("LTMC.REGISTER r {agent} PX {TTL_MS}")));
        self.depart(agent);
        self.alive.insert(agent.into(), epoch);
    }

    /// The incarnation of an agent has ended.
    fn depart(&mut self, agent: &str) {
        self.alive.remove(agent);
        let keys: Vec<String> =
            self.bindings.keys().filter(|(_, name)| name == agent).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.held.retain(|held| {
                held.agent != agent || held.thing.key() != key || (held.thing == Thing::Task && !held.named)
            });
            self.bindings.remove(&(key, agent.into()));
        }
    }

    fn take(&mut self, agent: &str) {
        let thing = Thing::random(self.rng());
        let names = self.rng().percent(70);
        let line = format!("{}{}", thing.take(agent), if names { " REGISTRY r" } else { "" });
        let binds = names && (thing == Thing::Task || self.node.settings.get(Setting::OrchestrationMode) > 0);
        let before = self.host.keys.contains_key(&id(&thing.key()));
        let reply = self.run(&line);
        self.notice_ends();
        let epoch = self.alive.get(agent).copied();
        if binds && epoch.is_none() {
            let error = reply.expect_err("it is not alive");
            assert_eq!(error.code, Code::NoAgent, "{line}: {error}");
            return assert_eq!(self.host.keys.contains_key(&id(&thing.key())), before);
        }
        if self.passes_quota(agent, thing, names) {
            let error = reply.expect_err(&format!("the quota is exhausted: {line}"));
            assert_eq!(error.code, Code::Limit, "{line}: {error}");
            self.refused += 1;
            return;
        }
        let reply = reply.unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut held = Held { agent: agent.into(), thing, fence: 0, named: names, task: String::new() };
        match (thing, reply) {
            (_, Reply::Nil) => return,
            (Thing::Task, Reply::Array(tasks)) => {
                let Some(task) = tasks.first() else { return };
                held.fence = int(field(task, "fence"));
                held.task = match field(task, "task") {
                    Reply::Bytes(name) => String::from_utf8_lossy(name).into_owned(),
                    other => panic!("{other:?}"),
                };
            }
            (Thing::Message, Reply::Array(messages)) => {
                let Some(message) = messages.first() else { return };
                held.fence = int(field(message, "id"));
            }
            (Thing::Claim, Reply::Array(claim)) => held.fence = int(&claim[1]),
            (Thing::Lock(_) | Thing::Share, fence) => held.fence = int(&fence),
            _ => {
                self.held.retain(|known| !(known.agent == held.agent && known.thing == thing));
            }
        }
        self.held.insert(held);
        if let Some(epoch) = epoch.filter(|_| binds) {
            self.bindings.insert((thing.key(), agent.into()), epoch);
        }
    }

    /// How much an agent holds of what a quota counts, in the keys where it is bound and in `also`.
    fn counted(&self, agent: &str, quota: Quota, also: Option<&str>) -> u64 {
        let is_counted = |held: &&Held| {
            let key = held.thing.key();
            let is_bound = self.bindings.contains_key(&(key.clone(), agent.into()));
            held.agent == agent && held.thing.quota() == Some(quota) && (is_bound || also == Some(&key))
        };
        let amount = |held: &Held| match held.thing {
            Thing::Pin(n) => self.lengths[n as usize] as u64,
            _ => 1,
        };
        self.held.iter().filter(is_counted).map(amount).sum()
    }

    /// Whether a quota keeps an agent from taking something.
    fn passes_quota(&self, agent: &str, thing: Thing, names: bool) -> bool {
        let key = thing.key();
        let is_bound = self.bindings.contains_key(&(key.clone(), agent.into()));
        if self.node.settings.get(Setting::OrchestrationMode) == 0 || !(names || is_bound) {
            return false;
        }
        let limit = thing.quota().and_then(|quota| QUOTAS.into_iter().find(|(known, _)| *known == quota));
        let Some((quota, setting)) = limit else { return false };
        let more = match thing {
            Thing::Pin(_) if self.held.iter().any(|held| held.agent == agent && held.thing == thing) => 0,
            Thing::Pin(n) => self.lengths[n as usize] as u64,
            _ => 1,
        };
        let (max, held) = (self.node.settings.get(setting), self.counted(agent, quota, Some(&key)));
        let asks_for_nothing = more == 0 && held == self.counted(agent, quota, None);
        max > 0 && held + more > max && !asks_for_nothing
    }

    fn give(&mut self) {
        let all: Vec<Held> = self.held.iter().cloned().collect();
        if all.is_empty() {
            return;
        }
        let held = self.rng().pick(&all).clone();
        let Held { agent, thing, fence, task, .. } = &held;
        let line = match thing {
            Thing::Lock(n) => format!("LTMC.UNLOCK lock{n} {agent} TOKEN {fence}"),
            Thing::Share => format!("LTMC.UNLOCK share {agent} TOKEN {fence}"),
            Thing::Pin(n) => format!("LTMC.CHUNK.UNPIN buffer c{n} {agent}"),
            Thing::Inbox => format!("LTMC.MSG.LEAVE mail {agent}"),
            Thing::Message => format!("LTMC.MSG.ACK mail {agent} {fence}"),
            Thing::Context => format!("LTMC.CTX.LEAVE context {agent}"),
            Thing::Session(n) => format!("LTMC.SESSION.LEAVE session{n} {agent}"),
            Thing::Task => format!("LTMC.TASK.COMPLETE flow {task} {fence} done"),
            Thing::Claim => format!("LTMC.AGENT.RELEASE r {fence}"),
        };
        let reply = self.must(&line);
        assert!(reply == Reply::Integer(1) || reply == Reply::Ok, "{line}: {reply:?}");
        self.held.remove(&held);
        if *thing == Thing::Inbox {
            // Who leaves gives up its messages.
            self.held.retain(|other| other.agent != *agent || other.thing != Thing::Message);
        }
        let key = thing.key();
        if !self.held.iter().any(|other| other.agent == *agent && other.thing.key() == key) {
            self.bindings.remove(&(key, agent.clone()));
        }
    }

    fn delete(&mut self, key: &str) {
        self.history.note(format!("{}: DEL {key}", self.host.now));
        let mut bindings = Vec::new();
        for_each_type!(E => if let Some(stored) = self.host.peek::<E>(&id(key)) {
            bindings.extend(stored.bindings().cloned());
        });
        self.host.delete(&id(key));
        self.host.gone.clear();
        // The server tells of both, and the scheduler may be late.
        self.node.value_gone(id(key), Vec::new(), bindings);
        self.node.key_changed(id(key));
        if key != "r" && self.rng().percent(50) {
            self.held.retain(|held| held.thing.key() != key);
            self.bindings.retain(|(known, _), _| known != key);
            self.prepare();
            let agent = *self.rng().pick(&AGENTS);
            return self.take(agent);
        }
        self.held.retain(|held| held.thing.key() != key);
        self.bindings.retain(|(known, _), _| known != key);
        if key == "r" {
            // A client waits for its agents.
            self.tick();
            self.alive.clear();
            self.pass(self.node.settings.get(Setting::AgentTtlMs) + 1);
            let agents: Vec<String> = self.bindings.keys().map(|(_, agent)| agent.clone()).collect();
            agents.iter().for_each(|agent| self.depart(agent));
        }
    }

    fn pass(&mut self, ms: u64) {
        let target = self.host.now + ms;
        while let Some(next) = scheduler::next_tick(&self.node).filter(|next| *next <= target) {
            self.set_time(next.max(self.host.now));
            self.tick();
        }
        self.set_time(target);
    }

    fn tick(&mut self) {
        for _ in 0..1000 {
            if scheduler::next_tick(&self.node).is_none_or(|next| next > self.host.now) {
                return;
            }
            self.host.client = 0;
            scheduler::tick(&mut self.node, &mut self.host);
        }
        panic!("the scheduler goes round in circles");
    }

    /// Notes which agents are dead or gone by now, as the registry says. Other tests check that it
    /// says so in time.
    fn notice_ends(&mut self) {
        let registry = self.host.peek::<Registry>(&id("r")).map(|stored| &stored.state);
        let binding =
            |agent: &str, epoch: u64| ltmc::domain::AgentBinding { registry: "r".into(), agent: agent.into(), epoch };
        let gone: Vec<String> = self
            .alive
            .iter()
            .filter(|(agent, epoch)| has_ended(&binding(agent, **epoch), registry))
            .map(|(agent, _)| agent.clone())
            .collect();
        gone.iter().for_each(|agent| self.depart(agent));
    }

    /// The process starts anew with what its keys hold.
    fn restart(&mut self) {
        self.history.note(format!("{}: restart", self.host.now));
        let settings = self.node.settings.clone();
        let (last, now) = (self.node.clock.last(), self.host.now);
        self.node = Node { settings, ..Node::default() };
        self.node.clock.observe(last);
        self.set_time(now);
        let keys: Vec<KeyId> = self.host.keys.keys().cloned().collect();
        for key in &keys {
            for_each_type!(E => if let Some(payload) = self.host.peek::<E>(key).map(snapshot::encode_snapshot) {
                let read = || match snapshot::decode::<E>(&frame::read(&payload).expect("our own frame")) {
                    Ok(Payload::Snapshot(stored)) => stored,
                    other => panic!("our own snapshot cannot be read: {other:?}"),
                };
                let mut stored: Record<E> = read();
                stored.state.loaded(now);
                ltmc::command::engine::replay::note_value(&mut self.node, key.into(), &stored);
                self.host.restore(key, stored, read());
            });
        }
        self.host.gone.clear();
        self.node.keys_loaded();
    }

    fn compare(&mut self) {
        let mut bindings = BTreeMap::new();
        for key in self.host.keys.keys().cloned().collect::<Vec<_>>() {
            let name = String::from_utf8_lossy(&key.name).into_owned();
            for_each_type!(E => if let Some(stored) = self.host.peek::<E>(&key) {
                assert_eq!(stored.check(), Ok(()), "{name}");
                let copy = self.host.copied::<E>(&key).map(snapshot::encode_snapshot);
                assert!(Some(snapshot::encode_snapshot(stored)) == copy, "the replica differs in {name}");
                bindings.extend(stored.bindings().map(|binding| {
                    ((name.clone(), String::from_utf8_lossy(&binding.agent).into_owned()), binding.epoch)
                }));
                for agent in AGENTS {
                    let expected = self.held.iter().any(|held| held.agent == agent && held.thing.key() == name);
                    assert_eq!(stored.state.holds(agent.as_bytes()), expected, "{agent} in {name}");
                }
            });
        }
        assert_eq!(bindings, self.bindings);
        for agent in AGENTS {
            let known: BTreeSet<String> = self
                .node
                .holdings
                .keys_of(&id("r"), agent.as_bytes())
                .map(|key| String::from_utf8_lossy(&key.name).into_owned())
                .collect();
            let bound: BTreeSet<String> =
                self.bindings.keys().filter(|(_, name)| name == agent).map(|(key, _)| key.clone()).collect();
            assert!(known.is_superset(&bound), "{agent}: {known:?} lacks some of {bound:?}");
            // What DEL made stale is forgotten at the latest when it would matter.
            assert!(known.is_empty() || self.alive.contains_key(agent), "{agent} is gone: {known:?}");
            for (quota, _) in QUOTAS {
                let sum = self.node.holdings.sum(&id("r"), agent.as_bytes(), quota);
                assert_eq!(sum, self.counted(agent, quota, None), "{quota:?} of {agent}");
            }
        }
    }
}

#[test]
fn nothing_belongs_to_who_is_gone_and_nothing_is_taken_from_who_is_there() {
    let refused = std::cell::Cell::new(0);
    crate::driver::run_all(10_000, 500, |seed, steps| {
        let mut world = World::new(seed);
        (0..steps).for_each(|_| world.step());
        refused.set(refused.get() + world.refused);
    });
    assert!(refused.get() > 0, "no quota was ever exhausted");
}
