//! A server with its clients: the real module on the host in memory, beside the naive cache.

use super::naive::{Naive, Status, Ticket, Wait};
use super::ops::{Call, Get, Op, Put};
use crate::driver::{History, Schedule, Timed};
use crate::host::{Fact, MemoryHost};
use crate::original::Original;
use crate::prng::Prng;
use crate::server::{execute, field, set};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::node::Node;
use ltmc::command::reply::Reply;
use ltmc::command::scheduler;
use ltmc::command::settings::Setting;
use ltmc::domain::cache::{Cache, CacheEvent, Removal, TicketEnd};
use ltmc::domain::queue::rank::WaiterId;
use ltmc::domain::{Code, Event, KeyId};
use std::collections::BTreeMap;

const KEY: &str = "c";
const NEGATIVE_TTL: u64 = 70;
const LEASE: u64 = 250;
const ORPHAN: u64 = 40;
/// The evictor looks at all answers if there are no more than this.
const FEW: usize = ltmc::domain::algorithm::eviction::SAMPLE;

pub struct World {
    pub node: Node,
    pub host: MemoryHost,
    pub model: Naive,
    pub rng: Prng,
    /// Clients by id, with the wait they are in.
    pub clients: BTreeMap<u64, Option<u64>>,
    pub waits: Vec<Wait>,
    /// All tickets that were ever given.
    given: Vec<(Call, u64)>,
    pub last_fence: u64,
    values: u64,
    pub history: History,
    next_client: u64,
    pub original: Option<Original<Cache>>,
}

pub fn key() -> KeyId {
    KeyId::new(0, KEY.as_bytes())
}

fn ticket_in(reply: &Reply) -> Option<u64> {
    match field(reply, "ticket") {
        Reply::Nil => None,
        Reply::Integer(ticket) => Some(*ticket as u64),
        other => panic!("no ticket: {other:?}"),
    }
}

impl Schedule for World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            node: Node::default(),
            host: MemoryHost::default(),
            model: Naive::default(),
            rng: Prng::new(seed),
            clients: BTreeMap::new(),
            waits: Vec::new(),
            given: Vec::new(),
            last_fence: 0,
            values: 0,
            history: History::default(),
            next_client: 1,
            original: None,
        };
        world.history.seed = seed;
        world.set_time(1_700_000_000_000_000);
        world.boot();
        world
    }

    /// One step of a random schedule, and all checks.
    fn step(&mut self) {
        let millis = if self.rng.percent(70) { self.rng.below(10) } else { self.rng.below(200) };
        self.pass(millis * 1000, true);
        let free: Vec<u64> = self.clients.iter().filter(|(_, wait)| wait.is_none()).map(|(id, _)| *id).collect();
        if free.is_empty() || self.rng.percent(7) {
            self.incident();
        } else {
            self.host.in_multi = self.rng.percent(3);
            let client = *self.rng.pick(&free);
            self.values += 1;
            let op = Op::pick(&mut self.rng, &self.given, self.values);
            self.run(client, &op);
            self.host.in_multi = false;
        }
        self.check();
        if self.rng.percent(30) {
            self.settle();
            self.check();
            self.check_rest();
        }
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
        self.host.now * 1000
    }

    fn ticked(&mut self) {
        self.take_facts();
    }
}

impl World {
    /// A process starts: no client waits, and no connection is known.
    pub fn boot(&mut self) {
        let now = self.host.now;
        self.node = Node::default();
        self.node.boot = now * 1000 + self.rng.below(1000);
        self.node.seed = self.rng.next();
        self.set_time(now * 1000);
        let batch = *self.rng.pick(&[1, 2, 5, 256]);
        let values = [
            (Setting::CacheNegativeTtlMs, NEGATIVE_TTL),
            (Setting::CacheLeaseMs, LEASE),
            (Setting::CacheOrphanMs, ORPHAN),
            (Setting::SweepBatchMax, batch),
        ];
        set(&mut self.node, values);
        self.clients.clear();
        self.waits.clear();
        (0..6).for_each(|_| self.connect());
    }

    pub fn connect(&mut self) {
        self.clients.insert(self.next_client, None);
        self.next_client += 1;
    }

    pub fn now(&self) -> u64 {
        self.host.now
    }

    /// Compares what the module did, on its own or for a command, with the rules, one by one.
    pub fn take_facts(&mut self) {
        let facts = std::mem::take(&mut self.host.log);
        for (at, fact) in facts.into_iter().enumerate() {
            match fact {
                Fact::Cache(events) => events.into_iter().for_each(|event| self.adopt(event)),
                Fact::Answered(id, answer) => self.answered(id, answer),
                other => panic!("{other:?} at {at}"),
            }
        }
        for (key, connections) in std::mem::take(&mut self.host.gone) {
            self.node.key_changed(key.clone());
            self.node.value_gone(key, connections, Vec::new());
        }
    }

    /// What time and pressure did has to be right. Then the model follows.
    fn adopt(&mut self, event: CacheEvent) {
        let now = self.now();
        match event {
            CacheEvent::Removed { answers, why } => {
                for id in answers {
                    let Some(at) = self.model.answers.iter().position(|answer| answer.id == id) else {
                        // It was invalidated before, and is removed now.
                        continue;
                    };
                    match why {
                        Removal::Expired => {
                            assert!(self.model.answers[at].is_gone(now), "{:?}", self.model.answers[at])
                        }
                        Removal::Evicted => self.check_victim(at),
                    }
                    self.model.answers.remove(at);
                }
            }
            CacheEvent::TicketEnded { ticket, why } => {
                let known = self.model.tickets.iter().position(|known| known.ticket == ticket);
                if why == TicketEnd::Expired {
                    let known = known.map(|at| &self.model.tickets[at]);
                    assert!(known.is_none_or(|known| known.ends_at <= now), "{known:?} ended too early");
                }
                self.model.tickets.retain(|known| known.ticket != ticket);
            }
            CacheEvent::Abandoned { ticket, until } => {
                assert_eq!(until, now + ORPHAN);
                let known = self.model.tickets.iter_mut().find(|known| known.ticket == ticket);
                known.into_iter().for_each(|known| (known.waited_until, known.client) = (Some(until), None));
            }
            CacheEvent::Orphaned { ticket } => {
                let known = self.model.tickets.iter_mut().find(|known| known.ticket == ticket);
                known.into_iter().for_each(|known| {
                    assert!(known.waited_until.is_some_and(|until| until <= now), "{known:?} is waited for");
                    known.is_orphaned = true;
                });
            }
            CacheEvent::Ticketed { flight, .. } => self.last_fence = self.last_fence.max(flight.ticket),
            CacheEvent::Buried { .. } => {}
            CacheEvent::Configured { config, stays } => {
                assert!(!stays && self.model.is_empty(), "made anew: {:?}", self.model);
                self.forget();
                (self.model.bytes_max, self.model.entries_max) = (config.bytes_max, config.entries_max);
            }
            other => panic!("not asked for: {other:?}"),
        }
    }

    /// With LRU and few answers, the one that was used longest ago goes.
    fn check_victim(&self, at: usize) {
        let answers = &self.model.answers;
        let stored = self.host.peek::<Cache>(&key());
        let is_exact = answers.len() <= FEW && self.model.policy == 1 && stored.is_some_and(|s| !s.state.has_dying());
        if is_exact {
            let oldest = answers.iter().map(|answer| answer.used).min();
            assert_eq!(Some(answers[at].used), oldest, "{:?} of {answers:?}", answers[at]);
        }
        let is_loose = self.model.bytes_max > 100_000 && self.model.entries_max > 100;
        assert!(!is_loose, "{:?} had to go without need", answers[at]);
    }

    /// A waiter got its answer: is it right, and was it its turn?
    fn answered(&mut self, id: WaiterId, answer: Result<Reply, ltmc::domain::Error>) {
        let at = self.waits.iter().position(|wait| wait.id == id.0).unwrap_or_else(|| panic!("{id:?} does not wait"));
        let wait = self.waits.remove(at);
        self.history.note(format!("  waiter {} of client {}: {answer:?}", wait.id, wait.client));
        self.clients.insert(wait.client, None);
        let now = self.now();
        let reply = match answer {
            Ok(Reply::Nil) => return assert!(wait.deadline.is_some_and(|end| end <= now), "{wait:?} ends too early"),
            Ok(reply) => reply,
            Err(error) => panic!("{error} for {wait:?}"),
        };
        match self.model.look(&wait.get, now) {
            Some(found) => {
                self.check_answer(&reply, found, None);
                self.use_answer(found);
            }
            None => {
                assert_eq!(*field(&reply, "status"), Reply::text("MISS"));
                assert!(self.model.flight(wait.get.call, now).is_none(), "somebody computes it already");
                let first =
                    self.waits.iter().filter(|other| other.get.call == wait.get.call).map(|other| other.id).min();
                assert!(first.is_none_or(|first| first > wait.id), "{first:?} waits longer");
                let ticket = ticket_in(&reply);
                assert!(ticket.is_some() || self.is_tight(), "who has no answer is to compute one: {wait:?}");
                ticket.into_iter().for_each(|ticket| self.grant(&wait.get, wait.client, ticket));
            }
        }
        if self.rng.percent(10) {
            self.history.note(format!("client {} goes before it can be told", wait.client));
            scheduler::waiter_gone(&mut self.node, WaiterId(wait.id));
            self.disconnect(wait.client);
        } else {
            self.node.waits.told(WaiterId(wait.id));
        }
    }

    fn use_answer(&mut self, at: usize) {
        self.model.clock += 1;
        self.model.answers[at].used = self.model.clock;
    }

    fn grant(&mut self, get: &Get, client: u64, ticket: u64) {
        assert!(
            ticket >= self.last_fence && self.given.iter().all(|(_, known)| *known < ticket),
            "{ticket} is no new fence"
        );
        self.last_fence = ticket;
        self.given.push((get.call, ticket));
        let ends_at = self.now() + get.lease.unwrap_or(LEASE);
        let (call, agent, client) = (get.call, get.agent, Some(client));
        self.model.grant(Ticket { ticket, call, agent, ends_at, client, waited_until: None, is_orphaned: false });
    }

    fn check_answer(&self, reply: &Reply, at: usize, ticket: Option<u64>) {
        let (answer, now) = (&self.model.answers[at], self.now());
        let number = |number: Option<u64>| number.map_or(Reply::Nil, Reply::number);
        let expected = Reply::map([
            ("status", Reply::text(answer.status(now).word())),
            ("value", Reply::Blob(answer.value.as_bytes().into())),
            ("age_ms", Reply::number(now - answer.at)),
            ("ttl_ms", number(answer.fresh_until.map(|end| end.saturating_sub(now)))),
            ("ticket", number(ticket)),
        ]);
        assert_eq!(*reply, expected, "{answer:?}");
    }

    pub fn disconnect(&mut self, client: u64) {
        self.history.note(format!("client {client} disconnects"));
        if let Some(Some(wait)) = self.clients.remove(&client) {
            scheduler::waiter_gone(&mut self.node, WaiterId(wait));
            self.waits.retain(|known| known.id != wait);
        }
        scheduler::client_gone(&mut self.node, client);
        self.connect();
    }

    fn execute(&mut self, client: u64, words: &[String]) -> Result<Outcome, Code> {
        execute(&mut self.node, &mut self.host, (client, 0), words).map_err(|error| error.code)
    }

    fn run(&mut self, client: u64, op: &Op) {
        self.forget_if_gone();
        let words = op.argv(KEY, &mut self.rng);
        let outcome = self.execute(client, &words);
        let shown = words.iter().map(|word| word.chars().take(30).collect()).collect::<Vec<String>>().join(" ");
        let now = self.now() % 100_000_000;
        self.history.note(format!("{now} ms: client {client}: {shown} => {outcome:?}"));
        match op {
            Op::Get(get) => self.check_get(client, get, outcome),
            Op::Peek { get, .. } => self.check_peek(get, outcome),
            Op::Put(put) => self.check_put(put, outcome),
            Op::Fail { call, ticket } => {
                // An expired lease that was not handled yet makes no difference.
                let expected = self.model.tickets.iter().any(|known| known.ticket == *ticket && known.call == *call);
                assert_eq!(outcome, Ok(Outcome::Reply(Reply::Integer(expected.into()))));
                self.take_facts();
            }
            Op::Invalidate { what, is_soft } => {
                // What has expired is handled first, and waiting clients are served afterwards.
                let facts = std::mem::take(&mut self.host.log);
                let is_own = |fact: &Fact| matches!(fact, Fact::Cache(events) if matches!(events[..], [CacheEvent::Invalidated { .. }]));
                let own = facts.iter().position(is_own);
                let mut before = facts;
                let after = before.split_off(own.map_or(before.len(), |own| own + 1));
                let fence = match own.and_then(|_| before.pop()) {
                    Some(Fact::Cache(events)) => events.iter().find_map(Event::fence),
                    _ => None,
                };
                self.host.log = before;
                self.take_facts();
                let is_needed = !self.model.tickets.is_empty();
                let hit = self.model.invalidate(what, *is_soft, fence.unwrap_or(0));
                assert_eq!(fence.is_some(), hit > 0 || is_needed, "{hit} answers");
                assert_eq!(outcome, Ok(Outcome::Reply(Reply::Integer(hit as i64))));
                self.host.log = after;
                self.take_facts();
            }
            Op::Config { bytes, entries, ttl, policy } => {
                assert_eq!(outcome, Ok(Outcome::Reply(Reply::Ok)));
                self.host.log.clear();
                let model = &mut self.model;
                if model.bytes_max == 0 {
                    (model.bytes_max, model.entries_max) = (67_108_864, 1_000_000);
                }
                bytes.iter().for_each(|bytes| model.bytes_max = *bytes);
                entries.iter().for_each(|entries| model.entries_max = *entries);
                ttl.iter().for_each(|ttl| model.ttl = Some(*ttl).filter(|ttl| *ttl > 0));
                policy.iter().for_each(|policy| model.policy = *policy);
                model.stays = true;
            }
        }
    }

    fn check_get(&mut self, client: u64, get: &Get, outcome: Result<Outcome, Code>) {
        let mut own = self.own_events();
        // Clients that waited longer were served before.
        self.take_facts();
        if let Some(Fact::Cache(events)) = own.first_mut() {
            events.retain(|event| matches!(event, CacheEvent::Configured { .. }));
            events.drain(..).for_each(|event| self.adopt(event));
        }
        let now = self.now();
        let found = self.model.look(get, now);
        let is_on = self.model.flight(get.call, now).is_some();
        let waits = get.block.filter(|_| !self.host.in_multi);
        match outcome {
            Ok(Outcome::Waits | Outcome::Offloaded(_)) => {
                assert!(found.is_none() && is_on && waits.is_some(), "need not wait: {get:?}");
                let Some(Fact::Blocked(id)) = own.last() else { panic!("does not wait: {own:?}") };
                let deadline = waits.filter(|block| *block > 0).map(|block| now + block);
                self.waits.push(Wait { id: id.0, client, get: get.clone(), deadline });
                self.clients.insert(client, Some(id.0));
            }
            Ok(Outcome::Reply(reply)) => {
                let ticket = ticket_in(&reply);
                let is_stale = found.is_some_and(|at| self.model.answers[at].status(now) == Status::Stale);
                let is_due = (found.is_none() || is_stale) && !is_on;
                assert!(ticket.is_some() == is_due || (is_due && self.is_tight()), "{reply:?}");
                match found {
                    Some(at) => {
                        self.check_answer(&reply, at, ticket);
                        self.use_answer(at);
                    }
                    None => {
                        assert_eq!(*field(&reply, "status"), Reply::text("MISS"));
                        assert!(ticket.is_some() || waits.is_none() || !is_on, "should wait: {get:?}");
                    }
                }
                ticket.into_iter().for_each(|ticket| self.grant(get, client, ticket));
            }
            Err(other) => panic!("{other:?} for {get:?}"),
        }
    }

    /// A look changes nothing that another node could see.
    fn check_peek(&mut self, get: &Get, outcome: Result<Outcome, Code>) {
        assert!(self.host.log.is_empty(), "{:?}", self.host.log);
        let Ok(Outcome::Reply(reply)) = outcome else { panic!("{outcome:?} for {get:?}") };
        match self.model.look(get, self.now()) {
            Some(at) => {
                self.check_answer(&reply, at, None);
                self.use_answer(at);
            }
            None => {
                assert_eq!(*field(&reply, "status"), Reply::text("MISS"));
                assert_eq!(ticket_in(&reply), None);
            }
        }
    }

    /// Takes the events of the command itself out of the log: its own ticket, or the begin of its
    /// wait.
    fn own_events(&mut self) -> Vec<Fact> {
        let own = |fact: &Fact| match fact {
            Fact::Blocked(_) => true,
            Fact::Cache(events) => {
                events.iter().all(|event| matches!(event, CacheEvent::Ticketed { .. } | CacheEvent::Configured { .. }))
            }
            _ => false,
        };
        match self.host.log.last() {
            Some(last) if own(last) => vec![self.host.log.pop().expect("just seen")],
            _ => Vec::new(),
        }
    }

    fn check_put(&mut self, put: &Put, outcome: Result<Outcome, Code>) {
        let now = self.now();
        let is_good = match put.ticket {
            Some(ticket) => self.model.redeem(put, ticket, now),
            None => true,
        };
        match outcome {
            Ok(Outcome::Reply(Reply::Ok)) => {
                assert!(is_good, "a ticket that is not good was taken");
                let facts = std::mem::take(&mut self.host.log);
                let mut facts = facts.into_iter();
                let Some(Fact::Cache(events)) = facts.next() else { panic!("nothing was put") };
                let (born, others): (Vec<_>, Vec<_>) =
                    events.into_iter().partition(|event| matches!(event, CacheEvent::Configured { .. }));
                born.into_iter().for_each(|event| self.adopt(event));
                for event in others {
                    match event {
                        CacheEvent::Put(_) => self.model.put(put, now, NEGATIVE_TTL),
                        other => self.adopt(other),
                    }
                }
                self.host.log = facts.collect();
                self.take_facts();
            }
            Err(Code::Stale) => {
                assert!(!is_good, "a good ticket was refused");
                self.take_facts();
            }
            Err(Code::Limit) => {
                assert!(is_good && self.is_tight(), "{put:?}");
                self.handed_over(put);
            }
            other => panic!("{other:?} for {put:?}"),
        }
    }

    /// An answer found no room: all who wait for it and may have it get it, before anything else
    /// happens. Then its ticket is gone.
    fn handed_over(&mut self, put: &Put) {
        let mine = |wait: &Wait| wait.get.call == put.call && (!put.is_private || wait.get.agent == put.agent);
        let (takers, others): (Vec<Wait>, Vec<Wait>) = std::mem::take(&mut self.waits).into_iter().partition(mine);
        self.waits = others;
        let mut handed = std::mem::take(&mut self.host.log);
        self.host.log = handed.split_off(takers.len().min(handed.len()));
        for (taker, fact) in takers.iter().zip(&handed) {
            let Fact::Answered(id, Ok(reply)) = fact else { panic!("{taker:?} got {fact:?}") };
            assert_eq!(id.0, taker.id);
            assert_eq!(*field(reply, "value"), Reply::Blob(put.value.as_bytes().into()));
            let word = if put.is_negative { "NEGATIVE" } else { "HIT" };
            assert_eq!((field(reply, "status"), ticket_in(reply)), (&Reply::text(word), None));
            self.clients.insert(taker.client, None);
            self.node.waits.told(*id);
        }
        assert_eq!(handed.len(), takers.len(), "all who wait are served");
        self.take_facts();
        if let Some(ticket) = put.ticket {
            assert!(self.model.tickets.iter().all(|known| known.ticket != ticket), "the ticket has ended");
        }
    }

    /// Whether there may be no room at all for an answer or a ticket.
    fn is_tight(&self) -> bool {
        self.model.bytes_max < 10_000
    }
}
