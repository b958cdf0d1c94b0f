//! A server with its clients: the real module on the host in memory, beside the naive model.

use super::naive::{Naive, Name};
use super::ops::{Op, Shape};
use crate::driver::{History, Schedule, Timed};
use crate::host::{Fact, MemoryHost, Value};
use crate::prng::Prng;
use crate::requests::Asked;
use crate::server::execute;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::node::waits::Unserved;
use ltmc::command::node::Node;
use ltmc::command::scheduler;
use ltmc::command::settings::policies::Mode;
use ltmc::command::settings::Setting;
use ltmc::domain::lock::Lock;
use ltmc::domain::queue::rank::WaiterId;
use ltmc::domain::{Error, Fence, KeyId};
use std::collections::{BTreeMap, BTreeSet};

/// A waiter that was answered. Whether its client hears it is not known yet.
pub struct Undelivered {
    pub id: u64,
    pub client: u64,
    pub grants: Vec<(Name, Fence)>,
    /// The request under which the answer is remembered.
    pub asked: Option<Asked>,
}

pub struct World {
    pub node: Node,
    pub host: MemoryHost,
    pub model: Naive,
    pub rng: Prng,
    pub shape: Shape,
    /// Clients by id, with the wait they are in.
    pub clients: BTreeMap<u64, Option<u64>>,
    pub gone: BTreeSet<u64>,
    pub undelivered: Vec<Undelivered>,
    pub take_backs: Vec<(Name, Fence, Option<Asked>)>,
    pub last_fence: Fence,
    /// Virtual time, microseconds.
    pub now_us: u64,
    pub history: History,
    /// Keys touched since the last comparison.
    pub touched: BTreeSet<KeyId>,
    /// Whether no client goes away between a grant and its answer.
    pub loyal_clients: bool,
    pub retry: Option<(Vec<Name>, Option<Asked>, u64)>,
    /// The command's own request, and what it was answered.
    pub own_request: Option<(Asked, i64)>,
    /// The client to whose connection the last grant is tied.
    pub tied_to: Option<u64>,
    /// The last commands with a `REQID`.
    asked: Vec<Op>,
    /// In debug mode.
    pub is_traced: bool,
    next_client: u64,
}

pub fn id_of(name: &Name) -> KeyId {
    KeyId::new(name.0, name.1.as_bytes())
}

pub fn name_of(id: &KeyId) -> Name {
    (id.db, String::from_utf8_lossy(&id.name).into_owned())
}

impl Schedule for World {
    fn new(seed: u64) -> Self {
        let mut rng = Prng::new(seed);
        let shape = Shape::new(&mut rng);
        let mut world = Self::with_shape(rng, shape);
        world.history.seed = seed;
        world
    }

    /// One step of a random schedule, and all checks.
    fn step(&mut self) {
        let micros = if self.rng.percent(80) { self.rng.below(20) } else { self.rng.below(60_000) };
        let prompt = self.rng.percent(85);
        self.pass(micros, prompt);
        match self.free_client() {
            Some(client) if self.rng.percent(92) => {
                self.host.in_multi = self.rng.percent(2);
                let op = self.next_command(client);
                let _ = self.run(client, &op);
                self.host.in_multi = false;
            }
            _ => self.incident(),
        }
        if self.rng.percent(90) {
            self.settle();
            self.check_rest();
        }
        self.check_state();
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
        (self.now_us, self.model.now) = (now_us, now_us / 1000);
    }

    fn ticked(&mut self) {
        self.absorb_tick();
        self.take_notes();
        self.tell();
    }
}

impl World {
    /// A new command, or one that was sent before.
    fn next_command(&mut self, client: u64) -> Op {
        if !self.asked.is_empty() && self.rng.percent(8) {
            let mut again = self.rng.pick(&self.asked).clone();
            if let Op::Lock { want, block, .. } = &mut again {
                want.client = want.client.map(|_| client);
                *block = block.filter(|_| self.rng.percent(70));
            }
            return again;
        }
        let op = self.shape.command(&mut self.rng, client, &self.model);
        if op.asked().is_some() {
            self.asked.push(op.clone());
            self.asked.drain(..self.asked.len().saturating_sub(4));
        }
        op
    }

    pub fn with_shape(rng: Prng, shape: Shape) -> Self {
        let mut world = Self {
            node: Node::default(),
            host: MemoryHost::default(),
            model: Naive::default(),
            rng,
            clients: BTreeMap::new(),
            gone: BTreeSet::new(),
            undelivered: Vec::new(),
            take_backs: Vec::new(),
            last_fence: 0,
            now_us: 1_700_000_000_000_000,
            history: History::default(),
            touched: BTreeSet::new(),
            loyal_clients: false,
            retry: None,
            own_request: None,
            tied_to: None,
            asked: Vec::new(),
            is_traced: false,
            next_client: 1,
            shape,
        };
        world.boot();
        world
    }

    /// The process starts: no client waits, no connection is known, the keys are what they were.
    fn boot(&mut self) {
        self.node = Node::default();
        self.node.boot = self.now_us;
        // The naive model knows each verdict at once.
        self.node.queues.searches.allow(usize::MAX);
        self.node.settings.set_at(Setting::LockLeaseMs as usize, self.shape.lease_ms as i64);
        self.apply_mode();
        self.set_time(self.now_us);
        let strangers: Vec<u64> = std::mem::take(&mut self.clients).into_keys().collect();
        self.gone.extend(strangers);
        self.model.waits.clear();
        for _ in 0..self.shape.clients {
            self.connect();
        }
    }

    fn apply_mode(&mut self) {
        let mode = if self.is_traced { Mode::Debug } else { Mode::Full };
        self.node.settings.set_at(Setting::OrchestrationMode as usize, mode as i64);
    }

    /// From now on everything is traced.
    pub fn trace(&mut self) {
        self.is_traced = true;
        self.apply_mode();
    }

    fn connect(&mut self) {
        self.clients.insert(self.next_client, None);
        self.next_client += 1;
    }

    /// What the server noted while the module was busy.
    fn take_notes(&mut self) {
        for (key, connections) in std::mem::take(&mut self.host.gone) {
            if !connections.is_empty() {
                self.node.value_gone(key.clone(), connections, Vec::new());
            }
            self.node.key_changed(key);
        }
    }

    /// The answered clients read their answers, unless they go away just now.
    fn tell(&mut self) {
        for Undelivered { id, client, grants, asked } in std::mem::take(&mut self.undelivered) {
            if !self.loyal_clients && self.rng.percent(2) {
                self.history.note(format!("client {client} goes before it can be told"));
                scheduler::waiter_gone(&mut self.node, WaiterId(id));
                let taken = grants.into_iter().map(|(key, fence)| (key, fence, asked.clone()));
                self.take_backs.extend(taken);
                self.disconnect(client);
            } else {
                self.node.waits.told(WaiterId(id));
            }
        }
    }

    /// Runs a command of `client` and compares its reply with the model's.
    pub fn run(&mut self, client: u64, op: &Op) -> Result<Outcome, Error> {
        let argv = op.argv(&mut self.rng, self.shape.lease_ms);
        let line: Vec<_> = argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
        let line = line.join(" ");
        let multi = if self.host.in_multi { " in MULTI" } else { "" };
        let outcome = execute(&mut self.node, &mut self.host, (client, op.db()), &argv);
        ltmc::command::engine::tracing::end(&mut self.node, &mut self.host, &outcome);
        self.history.note(format!(
            "{} ms: client {client} db {}{multi}: {line} => {outcome:?}",
            self.host.now % 100_000_000,
            op.db()
        ));
        self.absorb_command(client, op, &outcome);
        self.take_notes();
        self.tell();
        outcome
    }

    /// A client that may send a command now.
    pub fn free_client(&mut self) -> Option<u64> {
        let free: Vec<u64> = self.clients.iter().filter(|(_, wait)| wait.is_none()).map(|(id, _)| *id).collect();
        (!free.is_empty()).then(|| *self.rng.pick(&free))
    }

    pub fn disconnect(&mut self, client: u64) {
        self.history.note(format!("client {client} disconnects"));
        if let Some(Some(wait)) = self.clients.remove(&client) {
            scheduler::waiter_gone(&mut self.node, WaiterId(wait));
            self.model.waits.retain(|known| known.id != wait);
        }
        scheduler::client_gone(&mut self.node, client);
        self.gone.insert(client);
        self.connect();
    }

    fn unblock(&mut self, client: u64, with_error: bool) {
        let Some(Some(wait)) = self.clients.get(&client).copied() else {
            return;
        };
        self.history.note(format!("CLIENT UNBLOCK {client}"));
        if with_error {
            scheduler::waiter_gone(&mut self.node, WaiterId(wait));
        } else {
            self.node.drop_wait(WaiterId(wait), Unserved::TimedOut);
        }
        self.model.waits.retain(|known| known.id != wait);
        self.clients.insert(client, None);
    }

    fn delete(&mut self, name: &Name) {
        self.history.note(format!("DEL {name:?}"));
        self.host.delete(&id_of(name));
        self.model.locks.remove(name);
        self.model.foreign.remove(name);
        self.take_notes();
    }

    fn flush_all(&mut self) {
        self.history.note("FLUSHALL".into());
        self.host.keys.clear();
        self.host.replica.clear();
        self.model.locks.clear();
        self.model.foreign.clear();
        self.node.database_flushed(None);
    }

    fn overwrite(&mut self, name: &Name) {
        self.delete(name);
        self.history.note(format!("SET {name:?}"));
        self.host.keys.insert(id_of(name), (Value::Foreign, None));
        self.model.foreign.insert(name.clone(), self.model.now);
    }

    fn restart(&mut self) {
        self.history.note("the process starts anew".into());
        let after = self.now_us.max(self.last_fence) + 1_000_000;
        self.set_time(after);
        self.boot();
        let keys: Vec<KeyId> = self.host.keys.keys().cloned().collect();
        for key in keys {
            if let Some(stored) = self.host.peek::<Lock>(&key) {
                ltmc::command::engine::replay::note_value(&mut self.node, (&key).into(), stored);
            }
        }
        self.node.deferred.push_back(ltmc::command::node::deferred::DeferredWork::ForgetForeignConnections);
    }

    /// The server's own sweep over expired keys.
    fn expire_cycle(&mut self) {
        let keys: Vec<KeyId> = self.host.keys.keys().cloned().collect();
        keys.iter().for_each(|key| self.host.expire_if_needed(key));
        for fact in std::mem::take(&mut self.host.log) {
            let Fact::Vanished(key) = fact else { continue };
            self.vanished(&name_of(&key));
        }
        self.take_notes();
    }

    fn step_back(&mut self) {
        self.settle();
        let micros = self.rng.below(400_000);
        self.history.note(format!("the clock steps back by {micros} us"));
        self.set_time(self.now_us - micros);
    }

    /// Something happens that is no command of ours.
    fn incident(&mut self) {
        let name = self.shape.key(&mut self.rng);
        let clients: Vec<u64> = self.clients.keys().copied().collect();
        let client = *self.rng.pick(&clients);
        match self.rng.below(100) {
            0..=34 => self.disconnect(client),
            35..=64 => {
                let with_error = self.rng.percent(50);
                self.unblock(client, with_error);
            }
            65..=74 => self.delete(&name),
            75..=77 => self.overwrite(&name),
            78..=79 => self.flush_all(),
            80..=81 => self.restart(),
            82..=89 => self.expire_cycle(),
            90..=94 => self.step_back(),
            _ => {
                let micros = self.rng.below(2_000_000_000);
                let prompt = self.rng.percent(50);
                self.history.note(format!("the clock jumps by {micros} us"));
                self.pass(micros, prompt);
            }
        }
    }
}
