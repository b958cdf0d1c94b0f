//! A server with sessions, contexts and locks: the real module on the host in memory, beside the
//! naive model.

use super::naive::{Checkpoint, State, Thing};
use crate::driver::{History, Schedule, Timed};
use crate::host::{Fact, MemoryHost};
use crate::prng::Prng;
use crate::server::{blocked, execute, saved, set};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::engine::endings;
use ltmc::command::host::Host;
use ltmc::command::node::Node;
use ltmc::command::reply::Reply;
use ltmc::command::settings::Setting;
use ltmc::domain::context::Context;
use ltmc::domain::lock::Lock;
use ltmc::domain::queue::rank::WaiterId;
use ltmc::domain::registry::Registry;
use ltmc::domain::session::Session;
use ltmc::domain::{Code, Entity, Error, KeyId, Record};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub type Answer = Result<Reply, Error>;

/// A lock: who holds it, and who waits for it.
#[derive(Debug, Default)]
pub struct NaiveLock {
    pub holder: String,
    pub queue: VecDeque<(u64, String)>,
}

pub struct World {
    pub node: Node,
    pub host: MemoryHost,
    pub rng: Prng,
    pub things: BTreeMap<String, Thing>,
    pub locks: BTreeMap<String, NaiveLock>,
    pub now_us: u64,
    pub history: History,
    /// `history-versions-max` and `history-bytes-max`.
    pub keep: (u64, u64),
    pub grace: u64,
    /// `sweep-batch-max`.
    pub batch: u64,
    /// How many requests had an id.
    requests: u64,
    pub doc_bytes_max: u64,
    pub nulls: bool,
    /// Waiters that have to be answered, and those that were.
    pub due: BTreeSet<u64>,
    pub answered: BTreeSet<u64>,
}

pub fn id_of(key: &str) -> KeyId {
    KeyId::new(0, key.as_bytes())
}

pub fn is_session(key: &str) -> bool {
    key.starts_with('s')
}

impl Schedule for World {
    fn new(seed: u64) -> Self {
        let mut rng = Prng::new(seed);
        let bytes_max = *rng.pick(&[1 << 40, 1 << 40, 6000, 2000]);
        let mut world = Self {
            node: Node::default(),
            host: MemoryHost::default(),
            things: BTreeMap::new(),
            locks: BTreeMap::new(),
            now_us: 1_700_000_000_000_000,
            history: History::default(),
            keep: (3 + rng.below(18), bytes_max),
            grace: *rng.pick(&[0, 1000, 60_000]),
            batch: *rng.pick(&[1, 2, 1000]),
            requests: 0,
            doc_bytes_max: *rng.pick(&[1 << 20, 1 << 20, 1500]),
            nulls: rng.percent(30),
            due: BTreeSet::new(),
            answered: BTreeSet::new(),
            rng,
        };
        world.history.seed = seed;
        world.boot();
        world.meet();
        world
    }

    fn step(&mut self) {
        let micros = match self.rng.below(100) {
            0..=79 => self.rng.below(5_000),
            80..=97 => self.rng.below(900_000),
            _ => self.rng.below(100_000_000),
        };
        let prompt = self.rng.percent(85);
        self.pass(micros, prompt);
        if prompt {
            self.settle();
        }
        match self.rng.below(100) {
            0..=9 => self.lock(),
            10 if self.rng.percent(50) => self.restart(),
            11 => {
                let key = self.key();
                self.delete(&key);
            }
            12 => {
                let key = self.key();
                self.copy(&key);
            }
            13 if self.rng.percent(30) => self.quarantine(),
            13..=28 => self.read(),
            _ => self.command(),
        }
        self.absorb();
        self.settle();
        self.check();
    }
}

impl Timed for World {
    fn node(&self) -> &Node {
        &self.node
    }

    fn node_and_host(&mut self) -> (&mut Node, &mut MemoryHost) {
        (&mut self.node, &mut self.host)
    }

    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn note_time(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    fn ticked(&mut self) {
        self.absorb();
    }

    fn rested(&mut self) {
        self.bury();
        self.host.keys.keys().cloned().collect::<Vec<_>>().iter().for_each(|key| self.host.expire_if_needed(key));
        endings::take_in(&mut self.node, &mut self.host);
        self.absorb();
    }
}

impl World {
    /// The agents that work can be given to, with their loads in thousandths.
    pub const TEAM: [(&'static str, u64); 5] = [("a0", 300), ("a1", 0), ("a2", 900), ("a3", 300), ("a9", 100)];

    /// They register, or report their loads.
    fn meet(&mut self) {
        for (agent, load) in Self::TEAM {
            if self
                .host
                .peek::<Registry>(&id_of("r"))
                .is_none_or(|stored| stored.state.agent(agent.as_bytes()).is_none())
            {
                assert!(self.run_line(&format!("LTMC.REGISTER r {agent} PX 3000000000000")).is_ok());
            }
            assert!(self.run_line(&format!("LTMC.HEARTBEAT r {agent} LOAD 0.{load:03}")).is_ok());
        }
    }

    pub fn boot(&mut self) {
        self.node = Node::default();
        self.node.boot = self.now_us;
        let values = [
            (Setting::HistoryVersionsMax, self.keep.0),
            (Setting::HistoryBytesMax, self.keep.1),
            (Setting::SessionEndGraceMs, self.grace),
            (Setting::SweepBatchMax, self.batch),
            (Setting::ContextBytesMax, self.doc_bytes_max),
            (Setting::JsonDepthMax, 40),
            (Setting::SessionFieldsMax, 12),
            (Setting::SessionResourcesMax, 4),
            (Setting::ParticipantsMax, 4),
        ];
        set(&mut self.node, values);
        self.set_time(self.now_us);
        self.locks.values_mut().for_each(|lock| lock.queue.clear());
    }

    pub fn now(&self) -> u64 {
        self.now_us / 1000
    }

    pub fn absorb(&mut self) {
        for fact in std::mem::take(&mut self.host.log) {
            if let Fact::Answered(WaiterId(id), reply) = fact {
                assert!(matches!(reply, Ok(Reply::Integer(_))), "{reply:?}");
                self.node.waits.told(WaiterId(id));
                assert!(self.answered.insert(id), "{id} is answered twice");
            }
        }
        for (key, connections) in std::mem::take(&mut self.host.gone) {
            if !connections.is_empty() {
                self.node.value_gone(key.clone(), connections, Vec::new());
            }
            self.node.key_changed(key);
        }
    }

    /// Runs words as a command.
    pub fn run(&mut self, words: &[Vec<u8>]) -> Answer {
        match execute(&mut self.node, &mut self.host, (1, 0), words) {
            Ok(Outcome::Reply(reply)) => Ok(reply),
            Ok(Outcome::Waits | Outcome::Offloaded(_)) => Ok(Reply::Ok),
            Err(error) => Err(error),
        }
    }

    pub fn run_line(&mut self, line: &str) -> Answer {
        self.run(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    /// Runs a command and notes it. Some commands are sent twice with one id, which must be the
    /// same as once.
    pub fn noted(&mut self, words: &[Vec<u8>]) -> Answer {
        const RETRIED: [&str; 8] = ["CREATE", "UPDATE", "SET", "GENERATE", "CHECKPOINT", "ROLLBACK", "RESTORE", "FORK"];
        let name = String::from_utf8_lossy(&words[0]).into_owned();
        let may_retry = name.rsplit('.').next().is_some_and(|verb| RETRIED.contains(&verb));
        if !may_retry || self.rng.percent(70) {
            return self.noted_once(words);
        }
        self.requests += 1;
        let id = format!("r{}", self.requests).into_bytes();
        let words = [words, &[b"reqid".to_vec(), id]].concat();
        let answer = self.noted_once(&words);
        if answer.is_ok() {
            assert_eq!(self.noted_once(&words), answer, "a retry");
        }
        answer
    }

    fn noted_once(&mut self, words: &[Vec<u8>]) -> Answer {
        let answer = self.run(words);
        let line: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let text: String = format!("{answer:?}").chars().take(300).collect();
        self.history.note(format!("{} ms: {} => {text}", self.now() % 100_000_000, line.join(" ")));
        answer
    }

    /// A thing whose life has not ended.
    pub fn live(&self, key: &str) -> Option<&Thing> {
        self.things.get(key).filter(|thing| !thing.is_over(self.now()))
    }

    pub fn thing(&mut self, key: &str) -> &mut Thing {
        self.things.get_mut(key).expect("it is there")
    }

    /// Removes what has ended and frees what it owned. Whoever gets that may take part in what ends
    /// next.
    pub fn bury(&mut self) {
        let over = self.things.iter().filter(|(_, thing)| thing.is_buried(self.now()));
        let mut over: Vec<_> = over.map(|(key, thing)| (thing.life.over_at(), key.clone())).collect();
        over.sort();
        over.iter().for_each(|(_, key)| self.lay_down(key));
    }

    /// The same for one key, before the scheduler has come.
    pub fn bury_one(&mut self, key: &str) {
        if self.things.get(key).is_some_and(|thing| thing.is_over(self.now())) {
            self.lay_down(key);
        }
    }

    fn lay_down(&mut self, key: &str) {
        if let Some(thing) = self.things.remove(key) {
            self.free(key, &thing);
        }
    }

    /// Passes on the resources of a session: what the agents that named them hold of them, or all
    /// participants and the session itself if nobody was named.
    pub fn free(&mut self, key: &str, thing: &Thing) {
        for (resource, givers) in &thing.resources {
            let Some(holder) = self.locks.get(resource).map(|lock| lock.holder.clone()) else { continue };
            let takes_part = holder == key || thing.participants.contains_key(&holder);
            if givers.iter().any(|giver| if giver.is_empty() { takes_part } else { *giver == holder }) {
                self.pass_on(resource);
            }
        }
    }

    pub fn pass_on(&mut self, lock: &str) {
        let known = self.locks.get_mut(lock).expect("a lock");
        match known.queue.pop_front() {
            Some((waiter, owner)) => {
                known.holder = owner;
                self.due.insert(waiter);
            }
            None => drop(self.locks.remove(lock)),
        }
    }

    /// A thing ends: it is gone at once, or after its grace.
    pub fn end(&mut self, key: &str, grace: u64) {
        let (at, batch) = (self.now(), self.batch as usize);
        let thing = self.things[key].clone();
        self.free(key, &thing);
        if grace == 0 {
            self.things.remove(key);
            return;
        }
        let thing = self.thing(key);
        thing.tell("ended", at, serde_json::json!({"gone_at_ms": at + grace}));
        let resources: Vec<String> = thing.resources.keys().cloned().collect();
        for returned in resources.chunks(batch) {
            thing.tell("returned", at, serde_json::json!({"resources": returned}));
        }
        thing.status = "terminated";
        thing.resources.clear();
        thing.participants.clear();
        thing.life = super::naive::Life { ends: Some(at + grace), ..Default::default() };
    }

    /// Whether an ended thing owns so much that the command which finds it does not give all of it
    /// back.
    pub fn owes(&self, key: &str) -> bool {
        let over = self.things.get(key).filter(|thing| thing.is_over(self.now()));
        over.is_some_and(|thing| thing.resources.len() as u64 > self.batch)
    }

    /// Something was written to a thing, which may be gone after that.
    pub fn happened(&mut self, key: &str) {
        let at = self.now();
        let thing = self.thing(key);
        thing.used(at);
        if thing.is_bare() {
            self.things.remove(key);
        }
    }

    /// History takes more bytes than allowed. The module chooses, within its rules, how many
    /// versions and checkpoints go. It spares the checkpoint `made`, which is new.
    pub fn adopt(&mut self, key: &str, made: Option<u64>) {
        let (recent, bytes, ids) = match is_session(key) {
            true => past(self.host.peek::<Session>(&id_of(key)).expect("a session")),
            false => past(self.host.peek::<Context>(&id_of(key)).expect("a context")),
        };
        let thing = self.things.get_mut(key).expect("a thing");
        let from = thing.version - recent;
        assert!(from >= thing.recent_from, "{recent} versions are kept before {}", thing.version);
        let lost: Vec<(u64, Checkpoint)> =
            thing.checkpoints.iter().filter(|(id, _)| !ids.contains(id)).map(|(id, one)| (*id, one.clone())).collect();
        if thing.bytes_max == 1 << 40 {
            assert!(from == thing.recent_from && lost.is_empty(), "{recent} versions are kept, {lost:?} is lost");
        }
        assert!(lost.iter().all(|(_, one)| !one.pinned) && (lost.is_empty() || recent <= 1), "{lost:?}, {recent}");
        lost.iter().for_each(|(id, _)| drop(thing.checkpoints.remove(id)));
        let mut loose = thing.checkpoints.iter().filter(|(_, one)| !one.pinned).map(|(id, _)| *id);
        let first = loose.next();
        assert!(lost.iter().all(|(id, _)| first.is_none_or(|first| *id < first)), "not the oldest: {lost:?}");
        assert!(bytes <= thing.bytes_max || (recent <= 1 && first.is_none_or(|id| made == Some(id))), "{bytes} bytes");
        assert!(from >= thing.version.saturating_sub(1) || bytes <= thing.bytes_max);
        thing.recent_from = from;
    }

    /// Whether pinned checkpoints need more room than there is.
    pub fn is_full(&self, key: &str) -> bool {
        let bytes = match is_session(key) {
            true => self.host.peek::<Session>(&id_of(key)).map(|stored| past(stored).1),
            false => self.host.peek::<Context>(&id_of(key)).map(|stored| past(stored).1),
        };
        let thing = &self.things[key];
        bytes.is_some_and(|bytes| bytes > thing.bytes_max) && thing.checkpoints.values().all(|one| one.pinned)
    }

    /// The process stops, cleanly or not, and starts again.
    pub fn restart(&mut self) {
        let recovers = self.rng.percent(60);
        self.history.note(format!("the process starts anew, recovers: {recovers}"));
        self.settle();
        self.set_time(self.now_us + 1_000_000);
        let ends: BTreeMap<KeyId, Option<u64>> =
            self.host.keys.iter().map(|(id, (_, end))| (id.clone(), *end)).collect();
        self.boot();
        self.node.recovers = recovers;
        for key in self.things.keys() {
            match is_session(key) {
                true => reload::<Session>(&mut self.node, &mut self.host, key),
                false => reload::<Context>(&mut self.node, &mut self.host, key),
            }
        }
        for key in self.locks.keys() {
            reload::<Lock>(&mut self.node, &mut self.host, key);
        }
        reload::<Registry>(&mut self.node, &mut self.host, "r");
        for (id, (_, end)) in &mut self.host.keys {
            *end = ends[id];
        }
        self.host.gone.clear();
        self.node.recovers = false;
        self.node.keys_loaded();
        let at = self.now();
        for thing in self.things.values_mut().filter(|thing| recovers && thing.is_session() && !thing.is_over(at)) {
            if matches!(thing.status, "active" | "migrating") {
                thing.status = "recovering";
                thing.tell("status", at, serde_json::json!({"status": "recovering"}));
                thing.used(at);
            }
        }
        self.settle();
        self.meet();
    }

    pub fn delete(&mut self, key: &str) {
        self.history.note(format!("DEL {key}"));
        self.things.remove(key);
        self.host.delete(&id_of(key));
        self.absorb();
    }

    pub fn lock(&mut self) {
        let lock = self.rng.pick(&["l0", "l1", "l2"]).to_string();
        let owner = self.rng.pick(&["a0", "a1", "a2", "a3", "s0"]).to_string();
        let word = |text: &str| text.as_bytes().to_vec();
        let waits = self.locks.values().any(|lock| lock.queue.iter().any(|(_, other)| *other == owner));
        let holds = self.locks.values().any(|lock| lock.holder == owner);
        match self.locks.get(&lock).map(|known| known.holder.clone()) {
            Some(holder) if holder == owner && self.rng.percent(50) => {
                assert!(self.noted(&[word("LTMC.UNLOCK"), word(&lock), word(&owner)]).is_ok());
                self.pass_on(&lock);
            }
            Some(holder) if holder == owner || waits || holds => {}
            Some(_) => {
                let line = format!("LTMC.LOCK {lock} {owner} EXCLUSIVE PX 3000000000000 BLOCK 0");
                let words: Vec<Vec<u8>> = line.split(' ').map(word).collect();
                assert_eq!(self.noted(&words), Ok(Reply::Ok));
                let waiter = blocked(&self.host).expect("it waits");
                let queue = &mut self.locks.get_mut(&lock).expect("held").queue;
                queue.push_back((waiter, owner));
            }
            None if waits => {}
            None => {
                let line = format!("LTMC.LOCK {lock} {owner} EXCLUSIVE PX 3000000000000");
                let words: Vec<Vec<u8>> = line.split(' ').map(word).collect();
                assert!(matches!(self.noted(&words), Ok(Reply::Integer(_))));
                self.locks.insert(lock, NaiveLock { holder: owner, queue: VecDeque::new() });
            }
        }
    }

    /// A random key of sessions or contexts.
    pub fn key(&mut self) -> String {
        self.rng.pick(&["s0", "s1", "s2", "c0", "c1", "c2"]).to_string()
    }

    /// The state of a version that is kept, as the module has it.
    pub fn real_state(&self, key: &str, version: u64) -> Option<State> {
        if is_session(key) {
            let stored = self.host.peek::<Session>(&id_of(key)).expect("a session");
            let fields = stored.state.at_version(version)?;
            return Some(State::Fields(fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()));
        }
        let stored = self.host.peek::<Context>(&id_of(key)).expect("a context");
        Some(State::Doc(stored.state.at_version(version)?.root().into()))
    }

    pub fn refusal(code: Code) -> Answer {
        Err(Error::new(code, ""))
    }
}

fn past<S: ltmc::domain::versioned::State>(
    stored: &Record<ltmc::domain::versioned::Versioned<S>>,
) -> (u64, u64, BTreeSet<u64>) {
    let history = stored.state.history();
    let ids = history.checkpoints().map(|(id, _)| id).collect();
    (history.recent_versions() as u64, history.bytes() as u64, ids)
}

fn reload<E: Entity>(node: &mut Node, host: &mut MemoryHost, key: &str) {
    let Some(stored) = host.peek::<E>(&id_of(key)) else { return };
    let (again, copy) = (saved(stored), saved(stored));
    host.restore(&id_of(key), again, copy);
    let id = id_of(key);
    let stored = host.write::<E>((&id).into()).expect("just put there");
    ltmc::command::engine::replay::note_found(node, (&id).into(), &mut stored.state);
    ltmc::command::engine::replay::note_value(node, (&id).into(), stored);
}
