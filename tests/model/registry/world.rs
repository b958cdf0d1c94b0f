//! A server with its clients: the real module on the host in memory, beside the naive registries.

use super::answers::{claim_reply, Naive, Wait, What};
use super::audit::names;
use super::naive::{Policy, View};
use super::ops::{ClaimArgs, Op, Shape};
use crate::driver::{History, Schedule, Timed};
use crate::host::{Fact, MemoryHost};
use crate::prng::Prng;
use crate::server::{execute, set};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::node::Node;
use ltmc::command::reply::Reply;
use ltmc::command::scheduler;
use ltmc::command::settings::Setting;
use ltmc::domain::queue::rank::WaiterId;
use ltmc::domain::registry::Registry;
use ltmc::domain::{Code, KeyId};
use std::collections::{BTreeMap, BTreeSet};

/// A waiter that was answered. Whether its client hears it is not known yet.
pub struct Undelivered {
    pub id: u64,
    pub client: u64,
    /// The key, the fence and the `REQID` of its claim.
    pub grant: Option<(String, u64, Option<String>)>,
}

pub struct World {
    pub node: Node,
    pub host: MemoryHost,
    pub model: Naive,
    pub rng: Prng,
    pub shape: Shape,
    /// Clients by id, with the wait they are in.
    pub clients: BTreeMap<u64, Option<u64>>,
    pub undelivered: Vec<Undelivered>,
    /// Claims whose clients were not told: key, fence, `REQID`, and whether the key is still the
    /// same.
    pub take_backs: Vec<(String, u64, Option<String>, bool)>,
    pub last_fence: u64,
    pub history: History,
    /// Keys that something happened to since the last comparison.
    pub touched: BTreeSet<String>,
    /// Keys that came from elsewhere and that the scheduler has not seen yet: waiters may be
    /// overtaken.
    pub unsettled: BTreeSet<String>,
    /// Claims with a `REQID`.
    pub requests: Vec<ClaimArgs>,
    /// The revision up to which the logs were compared.
    pub compared: BTreeMap<String, u64>,
    next_client: u64,
}

pub fn id_of(key: &str) -> KeyId {
    KeyId::new(0, key.as_bytes())
}

/// A reply as text.
pub fn shown(outcome: &Result<Outcome, Code>) -> String {
    fn text(reply: &Reply) -> String {
        match reply {
            Reply::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Reply::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
            Reply::Integer(number) => number.to_string(),
            Reply::Map(fields) => fields.iter().map(|(name, value)| format!("{name}: {}; ", text(value))).collect(),
            other => format!("{other:?}"),
        }
    }
    match outcome {
        Ok(Outcome::Reply(reply)) => text(reply),
        other => format!("{other:?}"),
    }
}

/// A reply without what depends on the detector and on memory, and with texts in order.
pub fn comparable(reply: Reply) -> Reply {
    match reply {
        Reply::Map(fields) => {
            // No agent holds anything here: another model is for that. What the node alone counts
            // is gone with each of its restarts.
            let is_left_out = |name: &str| ["phi", "memory_bytes", "holds", "beats_without_epoch"].contains(&name);
            let fields = fields.into_iter().filter(|(name, _)| !is_left_out(name));
            let sorted = |(name, value)| match value {
                Reply::Array(mut items) if name == "caps" => {
                    items.sort_by_key(|item| format!("{item:?}"));
                    (name, Reply::Array(items))
                }
                value => (name, value),
            };
            let fields = fields.map(sorted).map(|(name, value)| (name, comparable(value)));
            Reply::Map(fields.collect())
        }
        reply => reply,
    }
}

impl Schedule for World {
    fn new(seed: u64) -> Self {
        let mut rng = Prng::new(seed);
        let shape = Shape::new(&mut rng);
        let policy = Policy::random(&mut rng, shape.is_large);
        let model = Naive {
            registries: BTreeMap::new(),
            foreign: BTreeSet::new(),
            waits: Vec::new(),
            policy,
            view: View::default(),
            now_us: 0,
        };
        let mut world = Self {
            node: Node::default(),
            host: MemoryHost::default(),
            model,
            rng,
            shape,
            clients: BTreeMap::new(),
            undelivered: Vec::new(),
            take_backs: Vec::new(),
            last_fence: 0,
            history: History::default(),
            touched: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            requests: Vec::new(),
            compared: BTreeMap::new(),
            next_client: 1,
        };
        world.history.seed = seed;
        world.set_time(1_700_000_000_000_000);
        world.boot();
        world.populate();
        world
    }

    /// One step of a random schedule, and all checks.
    fn step(&mut self) {
        let micros = if self.rng.percent(75) { 100 + self.rng.below(20_000) } else { self.rng.below(300_000) };
        let prompt = self.rng.percent(85);
        self.pass(micros, prompt);
        let free: Vec<u64> = self.clients.iter().filter(|(_, wait)| wait.is_none()).map(|(id, _)| *id).collect();
        if free.is_empty() || self.rng.percent(9) {
            self.incident();
        } else {
            self.host.in_multi = self.rng.percent(3);
            let (client, key) = (*self.rng.pick(&free), self.shape.key(&mut self.rng));
            let op = self.shape.command(&mut self.rng, &key, &self.model.registries, &mut self.requests);
            self.run(client, &key, &op);
            self.host.in_multi = false;
        }
        if self.rng.percent(self.shape.rests) {
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
        self.model.now_us
    }

    fn note_time(&mut self, now_us: u64) {
        (self.model.now_us, self.model.view.now) = (now_us, now_us / 1000);
    }

    fn ticked(&mut self) {
        let facts = std::mem::take(&mut self.host.log);
        self.absorb(facts);
        self.take_notes();
        self.tell();
    }

    fn rested(&mut self) {
        self.unsettled.clear();
    }
}

impl World {
    /// A large registry is one from the beginning.
    fn populate(&mut self) {
        if !self.shape.is_large {
            return;
        }
        let key = self.shape.keys[0].clone();
        for id in self.shape.agents.clone() {
            let op = Op::Register { id, introduction: self.shape.introduction(&mut self.rng) };
            self.run(1, &key, &op);
        }
    }

    /// A process starts: no client waits.
    pub fn boot(&mut self) {
        self.node = Node::default();
        self.node.boot = self.model.now_us;
        self.node.seed = self.rng.next();
        self.set_time(self.model.now_us);
        self.set_settings();
        self.model.waits.clear();
        self.take_backs.clear();
        self.clients.clear();
        for _ in 0..self.shape.clients {
            self.connect();
        }
    }

    pub fn set_settings(&mut self) {
        let policy = &self.model.policy;
        let values = [
            (Setting::AgentTtlMs, policy.ttl),
            (Setting::AgentDeadPercent, policy.dead_percent),
            (Setting::AgentGraceMs, policy.grace),
            (Setting::FailureDetector, policy.phi.into()),
            (Setting::PhiThreshold, policy.phi_threshold),
            (Setting::AgentDampingHalfLifeMs, policy.half_life),
            (Setting::AgentHoldSharePercent, policy.hold_share),
            (Setting::AgentHoldAgentsMin, policy.hold_min),
            (Setting::AgentHoldPercent, policy.hold_extra),
            (Setting::RegistryAgentsMax, policy.agents_max),
            (Setting::ClaimWaitersMax, policy.claimers_max),
            (Setting::WatchersMax, policy.watchers_max),
            (Setting::SweepBatchMax, policy.sweep_batch),
        ];
        set(&mut self.node, values);
    }

    pub fn connect(&mut self) {
        self.clients.insert(self.next_client, None);
        self.next_client += 1;
    }

    /// What the server noted while the module was busy.
    pub fn take_notes(&mut self) {
        for (key, _) in std::mem::take(&mut self.host.gone) {
            self.node.key_changed(key);
        }
    }

    /// The answered clients read their answers, unless they go away just now.
    fn tell(&mut self) {
        for Undelivered { id, client, grant } in std::mem::take(&mut self.undelivered) {
            if self.rng.percent(6) {
                self.history.note(format!("client {client} goes before it can be told"));
                scheduler::waiter_gone(&mut self.node, WaiterId(id));
                self.take_backs.extend(grant.map(|(key, fence, request)| (key, fence, request, true)));
                self.disconnect(client);
            } else {
                self.node.waits.told(WaiterId(id));
            }
        }
    }

    pub fn disconnect(&mut self, client: u64) {
        self.history.note(format!("client {client} disconnects"));
        if let Some(Some(wait)) = self.clients.remove(&client) {
            scheduler::waiter_gone(&mut self.node, WaiterId(wait));
            self.model.waits.retain(|known| known.id != wait);
        }
        scheduler::client_gone(&mut self.node, client);
        self.connect();
    }

    /// Runs words as a command, and compares nothing.
    pub fn execute(&mut self, client: u64, words: &[Vec<u8>]) -> Result<Outcome, Code> {
        execute(&mut self.node, &mut self.host, (client, 0), words).map_err(|error| error.code)
    }

    /// Runs a command of `client` and compares its reply with the model's.
    pub fn run(&mut self, client: u64, key: &str, op: &Op) {
        let argv = op.argv(key, &mut self.rng);
        let outcome = self.execute(client, &argv);
        let line: Vec<_> = argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
        let multi = if self.host.in_multi { " in MULTI" } else { "" };
        let now = self.host.now % 100_000_000;
        self.history.note(format!("{now} ms: client {client}{multi}: {} => {}", line.join(" "), shown(&outcome)));
        let facts = std::mem::take(&mut self.host.log);
        self.touched.insert(key.into());
        match op {
            Op::Claim(claim_args) => self.check_claim(client, key, claim_args, &outcome, facts),
            Op::Watch { .. } => self.check_watch(client, key, op, &outcome, facts),
            Op::Find { .. } | Op::List { .. } => {
                assert!(facts.is_empty(), "a reader changes nothing: {facts:?}");
                self.check_listed(key, op, outcome);
            }
            _ => self.check_only(key, op, outcome, facts),
        }
        self.take_notes();
        self.tell();
    }

    /// A command with one right answer.
    fn check_only(&mut self, key: &str, op: &Op, outcome: Result<Outcome, Code>, mut facts: Vec<Fact>) {
        let fence = match (op, &outcome) {
            (Op::Register { .. }, Ok(Outcome::Reply(Reply::Integer(epoch)))) => *epoch as u64,
            _ => 0,
        };
        if fence > 0 {
            self.take_fence(fence);
        }
        let expected = self.model.expect(key, op, fence);
        let outcome = outcome.map(|outcome| match outcome {
            Outcome::Reply(reply) => Outcome::Reply(comparable(reply)),
            waits => waits,
        });
        // LTMC.WATCH looks at its keys while it reads its arguments.
        let is_foreign = matches!(op, Op::Bad(_)) && self.model.foreign.contains(key);
        if !(is_foreign && outcome == Err(Code::WrongType)) {
            assert_eq!(outcome, expected.reply.map(comparable).map(Outcome::Reply));
        }
        if !expected.events.is_empty() {
            let Fact::Agent(of, events) = facts.remove(0) else { panic!("no events, but {facts:?}") };
            assert_eq!((of, names(&events)), (id_of(key), expected.events), "{events:?}");
        }
        if let Op::Heartbeat { id, .. } = op {
            self.adopt_suspicion(key, id);
        }
        self.absorb(facts);
    }

    /// The phi-accrual detector may suspect an agent early, but never before its next heartbeat is
    /// due, and never after its TTL.
    fn adopt_suspicion(&mut self, key: &str, id: &str) {
        let stored = self.host.peek::<Registry>(&id_of(key));
        let real = stored.and_then(|stored| stored.state.agent(id.as_bytes()));
        let naive = self.model.registries.get_mut(key).and_then(|registry| registry.agents.get_mut(id));
        let (Some(real), Some(naive)) = (real.filter(|_| self.model.policy.phi), naive) else { return };
        let bounds = naive.beat..=naive.beat + naive.profile.ttl;
        assert!(bounds.contains(&real.pulse.suspect_at), "{} is not in {bounds:?}", real.pulse.suspect_at);
        naive.suspect_at = real.pulse.suspect_at;
    }

    fn check_claim(
        &mut self,
        client: u64,
        key: &str,
        claim_args: &ClaimArgs,
        outcome: &Result<Outcome, Code>,
        mut facts: Vec<Fact>,
    ) {
        let own = match facts.last() {
            Some(Fact::Agent(_, events)) if names(events) == ["agent.claimed"] => facts.pop(),
            Some(Fact::Blocked(_)) => facts.pop(),
            _ => None,
        };
        // What was due is decided before.
        self.absorb(facts);
        let expected = self.model.expect_claim(key, claim_args, !self.host.in_multi);
        if let Some(expected) = expected {
            assert_eq!(*outcome, expected, "{claim_args:?}");
            if matches!(expected, Ok(Outcome::Reply(Reply::Array(_)))) {
                // Whoever hears the answer again has the claim, even if the first client is gone.
                let is_it =
                    |(of, _, request): &mut (String, u64, Option<String>)| of == key && *request == claim_args.request;
                self.undelivered.iter_mut().for_each(|untold| drop(untold.grant.take_if(is_it)));
            }
            assert_eq!(matches!(own, Some(Fact::Blocked(_))), expected == Ok(Outcome::Waits), "{own:?}");
            if let Some(Fact::Blocked(id)) = own {
                self.begin_wait(id.0, client, claim_args.block, What::Claim(key.into(), Box::new(claim_args.clone())));
            }
            return;
        }
        let Ok(Outcome::Reply(reply @ Reply::Array(parts))) = outcome else { panic!("{outcome:?} for {claim_args:?}") };
        let [Reply::Bytes(id), Reply::Integer(fence)] = &parts[..] else { panic!("no claim: {reply:?}") };
        let (id, fence) = (String::from_utf8_lossy(id).into_owned(), *fence as u64);
        assert!(
            self.model.best(key, claim_args).contains(&&id),
            "{id} is not the best of {:?}",
            self.model.best(key, claim_args)
        );
        assert!(own.is_some() && *reply == claim_reply(&id, fence), "{own:?}");
        let registry = &self.model.registries[key];
        for (wait, older) in self.model.claimers(key) {
            let is_overtaken = older.is_met(registry, self.model.view, &id) && !self.unsettled.contains(key);
            assert!(!is_overtaken, "{wait:?} is overtaken");
        }
        self.take_fence(fence);
        self.model.give(key, &id, fence, claim_args);
    }

    fn begin_wait(&mut self, id: u64, client: u64, block: Option<u64>, what: What) {
        let deadline = block.filter(|block| *block > 0).map(|block| self.model.view.now + block);
        self.model.waits.push(Wait { id, client, deadline, what });
        self.clients.insert(client, Some(id));
    }

    fn check_watch(&mut self, client: u64, key: &str, op: &Op, outcome: &Result<Outcome, Code>, mut facts: Vec<Fact>) {
        let Op::Watch { more, since, count, block } = op else { panic!("{op:?} is no LTMC.WATCH") };
        let now = |key: &str| self.model.registries.get(key).map_or(0, |registry| registry.log.revision());
        let keys = std::iter::once((key.to_string(), *since)).chain(more.iter().cloned());
        let keys: Vec<(String, u64)> = keys.map(|(key, since)| (key.clone(), since.unwrap_or(now(&key)))).collect();
        let count = count.unwrap_or(usize::MAX);
        let watching = |key: &String| {
            let watches = |wait: &&Wait| matches!(&wait.what, What::Watch(keys, _) if keys.iter().any(|k| k.0 == *key));
            self.model.waits.iter().filter(watches).count() as u64
        };
        let expected = self.model.report(&keys, count).and_then(|(reply, has_news)| match block {
            None => Ok(Outcome::Reply(reply)),
            Some(_) if has_news => Ok(Outcome::Reply(reply)),
            Some(_) if self.host.in_multi => Ok(Outcome::Reply(Reply::Nil)),
            Some(_) if keys.iter().any(|(key, _)| watching(key) >= self.model.policy.watchers_max) => Err(Code::Limit),
            Some(_) => Ok(Outcome::Waits),
        });
        assert_eq!(*outcome, expected, "watching {keys:?}");
        if let (Some(Fact::Blocked(id)), Ok(Outcome::Waits)) = (facts.pop(), outcome) {
            self.begin_wait(id.0, client, *block, What::Watch(keys, count));
        }
        assert!(facts.is_empty(), "{facts:?}");
    }

    /// A reader sees what the model says. Used for replicas and after incidents.
    pub fn look(&mut self) {
        let key = self.shape.key(&mut self.rng);
        let id = self.rng.pick(&self.shape.agents).clone();
        let filter = self.shape.claim_args(&mut self.rng).filter;
        for status in super::ops::STATUSES {
            self.run(0, &key, &Op::List { status: Some(status), page: None });
        }
        self.run(0, &key, &Op::Find { filter, sort: super::naive::Sort::Load, limit: None, with_info: false });
        self.run(0, &key, &Op::Get { id });
        self.run(0, &key, &Op::Stats);
    }

    /// The reply to a command that must not decide anything on a replica.
    pub fn refused_on_replica(&mut self) {
        let key = self.shape.key(&mut self.rng);
        let id = self.rng.pick(&self.shape.agents).clone();
        let op = Op::Deregister { id, epoch: None };
        let argv = op.argv(&key, &mut self.rng);
        assert_eq!(self.execute(0, &argv), Err(Code::ReadOnly));
    }
}
