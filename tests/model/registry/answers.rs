//! What the commands answer, and what they do to the naive registries.

use super::naive::{Agent, Claim, Life, Policy, Profile, Registry, Sort, View};
use super::ops::{Beat, ClaimArgs, Introduction, Op, STATUSES};
use super::story::{Log, Story};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::domain::Code;
use std::collections::{BTreeMap, BTreeSet};

/// A client that waits.
#[derive(Debug, Clone)]
pub struct Wait {
    pub id: u64,
    pub client: u64,
    pub deadline: Option<u64>,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Claim(String, Box<ClaimArgs>),
    Watch(Vec<(String, u64)>, usize),
}

pub struct Naive {
    pub registries: BTreeMap<String, Registry>,
    /// Keys that hold something else.
    pub foreign: BTreeSet<String>,
    /// In the order in which they came.
    pub waits: Vec<Wait>,
    pub policy: Policy,
    pub view: View,
    pub now_us: u64,
}

/// The answer of a command, and the events that it has to notify at once.
pub struct Expected {
    pub reply: Result<Reply, Code>,
    pub events: Vec<&'static str>,
}

fn only(reply: Result<Reply, Code>) -> Expected {
    Expected { reply, events: Vec::new() }
}

pub fn number(value: u64) -> Reply {
    Reply::Integer(value as i64)
}

/// Whether an agent may declare this after what it has declared.
fn may_follow(before: &str, after: &str) -> bool {
    before == after
        || match before {
            "draining" => after == "error",
            _ => after != "starting",
        }
}

impl ClaimArgs {
    pub fn order(&self) -> Sort {
        match self.sort {
            Sort::None => Sort::Load,
            sort => sort,
        }
    }

    /// Whether an agent fits. A claim takes at least one unit of its capacity.
    pub fn is_met(&self, registry: &Registry, view: View, id: &str) -> bool {
        registry.agents.contains_key(id) && registry.agents[id].free() > 0 && registry.fits(view, id, &self.filter)
    }
}

impl Naive {
    /// The answers of writes that take no claim, and of reads with one right answer. `fence` is the
    /// granted one.
    pub fn expect(&mut self, key: &str, op: &Op, fence: u64) -> Expected {
        if matches!(op, Op::Bad(_)) {
            return only(Err(Code::Err));
        }
        if self.foreign.contains(key) {
            return only(Err(Code::WrongType));
        }
        match op {
            Op::Register { id, introduction } => self.register(key, id, introduction, fence),
            Op::Deregister { id, epoch } => self.deregister(key, id, *epoch),
            Op::Heartbeat { id, beat } => self.heartbeat(key, id, beat),
            Op::Release { fence, is_ok, latency } => self.release(key, *fence, *is_ok, *latency),
            Op::Get { id } => {
                let agent = self.registries.get(key).filter(|registry| registry.agents.contains_key(id));
                only(Ok(agent.map_or(Reply::Nil, |registry| self.shown(registry, id))))
            }
            Op::Stats => only(Ok(self.registries.get(key).map_or(Reply::Nil, |registry| self.stats(key, registry)))),
            other => panic!("{other:?} has more than one right answer"),
        }
    }

    fn register(&mut self, key: &str, id: &str, introduction: &Introduction, epoch: u64) -> Expected {
        let (now, policy) = (self.view.now, &self.policy);
        let registry = self.registries.get(key);
        let known = registry.and_then(|registry| registry.agents.get(id));
        if known.is_none() && registry.map_or(0, |registry| registry.agents.len()) as u64 >= policy.agents_max {
            return only(Err(Code::Limit));
        }
        if introduction.is_new && known.is_some_and(|agent| !matches!(agent.life, Life::Dead { .. })) {
            return only(Ok(Reply::Nil));
        }
        let before = known.map(|agent| agent.profile.clone());
        let before = before.unwrap_or(Profile { capacity: 1, ttl: policy.ttl, ..Profile::default() });
        let flaps = match (known, registry) {
            (Some(agent), _) if agent.life == Life::Alive => agent.flaps,
            (Some(agent), Some(registry)) => registry.returned(policy, agent, now),
            _ => None,
        };
        let set = |list: &Vec<String>| list.iter().cloned().collect::<BTreeSet<String>>();
        let profile = Profile {
            name: introduction.name.clone().unwrap_or(before.name),
            caps: introduction.caps.as_ref().map_or(before.caps, set),
            tags: introduction.tags.as_ref().map_or(before.tags, set),
            meta: introduction
                .meta
                .clone()
                .map_or(before.meta, |meta| if meta == "null" { String::new() } else { meta }),
            session: introduction.session.clone().unwrap_or(before.session),
            capacity: introduction.capacity.unwrap_or(before.capacity),
            ttl: introduction.ttl.unwrap_or(before.ttl),
        };
        let story = Story::of(id).number("epoch", epoch).text("status", introduction.status.unwrap_or("active"));
        let story = story.number("capacity", profile.capacity).damped(flaps.map(|flaps| flaps.until));
        let record = known.map_or((0, 0, 0), |agent| (agent.succeeded, agent.failed, agent.latency_us));
        let agent = Agent {
            epoch,
            declared: introduction.status.unwrap_or("active"),
            life: Life::Alive,
            health: "ok",
            reason: String::new(),
            registered: now,
            beat: now,
            suspect_at: now + profile.ttl,
            load: 0,
            seen: now,
            seen_load: 0,
            copy_beat: now,
            copy_load: 0,
            flaps,
            succeeded: record.0,
            failed: record.1,
            latency_us: record.2,
            claims: Vec::new(),
            profile,
        };
        let log = Log { born: self.now_us.max(epoch), ..Log::default() };
        let registry = self.registries.entry(key.into()).or_insert(Registry { log, ..Registry::default() });
        registry.agents.insert(id.into(), agent);
        registry.totals[0] += 1;
        registry.log.tell("agent.registered", now, story);
        Expected { reply: Ok(number(epoch)), events: vec!["agent.registered"] }
    }

    fn deregister(&mut self, key: &str, id: &str, epoch: Option<u64>) -> Expected {
        let known = self.registries.get_mut(key).filter(|registry| registry.agents.contains_key(id));
        let Some(registry) = known else { return only(Ok(number(0))) };
        if epoch.is_some_and(|epoch| epoch != registry.agents[id].epoch) {
            return only(Err(Code::Stale));
        }
        registry.agents.remove(id);
        registry.log.tell("agent.deregistered", self.view.now, Story::of(id));
        Expected { reply: Ok(number(1)), events: vec!["agent.deregistered"] }
    }

    fn heartbeat(&mut self, key: &str, id: &str, beat: &Beat) -> Expected {
        let (now, policy) = (self.view.now, &self.policy);
        let known = self.registries.get_mut(key).filter(|registry| registry.agents.contains_key(id));
        let Some(registry) = known else { return only(Err(Code::NoAgent)) };
        let agent = &registry.agents[id];
        if beat.epoch.is_some_and(|epoch| epoch != agent.epoch) {
            return only(Err(Code::Stale));
        }
        let is_allowed = beat.status.is_none_or(|status| may_follow(agent.declared, status));
        if matches!(agent.life, Life::Dead { .. }) || !is_allowed {
            return only(Err(Code::BadState));
        }
        let was_suspect = matches!(agent.life, Life::Suspect { .. });
        let flaps = if was_suspect { registry.returned(policy, agent, now) } else { agent.flaps };
        let Registry { agents, log, totals, .. } = registry;
        let agent = agents.get_mut(id).expect("it is known");
        let mut events = Vec::new();
        (agent.beat, agent.suspect_at) = (now, now + agent.profile.ttl);
        agent.load = beat.load.unwrap_or(agent.load);
        let mut tell = |event, story| {
            log.tell(event, now, story);
            events.push(event);
        };
        if was_suspect {
            (agent.life, agent.flaps) = (Life::Alive, flaps);
            agent.hear(now);
            totals[2] += 1;
            tell("agent.recovered", Story::of(id).damped(flaps.map(|flaps| flaps.until)));
        }
        if let Some(status) = beat.status.filter(|status| *status != agent.declared) {
            agent.declared = status;
            tell("agent.status", Story::of(id).text("status", status));
        }
        let is_same = |(health, reason): &&(&str, String)| *health == agent.health && *reason == agent.reason;
        if let Some((health, reason)) = beat.health.as_ref().filter(|reported| !is_same(reported)) {
            (agent.health, agent.reason) = (health, reason.clone());
            tell("agent.health", Story::of(id).text("health", health).text_if_any("reason", reason));
        }
        if now - agent.seen >= agent.profile.ttl / 2 {
            (agent.seen, agent.seen_load) = (now, agent.load);
            (agent.copy_beat, agent.copy_load) = (now, agent.load);
            events.push("seen");
        }
        Expected { reply: Ok(number(agent.profile.ttl)), events }
    }

    fn release(&mut self, key: &str, fence: u64, is_ok: bool, latency: Option<u64>) -> Expected {
        let now = self.view.now;
        let registry = self.registries.get_mut(key);
        let known = registry.and_then(|registry| registry.claim(fence).map(|(id, claim)| (id.clone(), claim.clone())));
        let Some((id, claim)) = known.filter(|(_, claim)| claim.ends_at > now) else { return only(Ok(number(0))) };
        let registry = self.registries.get_mut(key).expect("it is known");
        let agent = registry.agents.get_mut(&id).expect("it is known");
        agent.claims.retain(|known| known.fence != fence);
        let micros = latency.unwrap_or(now - claim.since) * 1000;
        let mean = if agent.latency_us == 0 { micros } else { (agent.latency_us * 3 + micros) / 4 };
        agent.latency_us = mean.max(1);
        *(if is_ok { &mut agent.succeeded } else { &mut agent.failed }) += 1;
        let story = Story::of(&id).number("fence", fence).text("outcome", if is_ok { "ok" } else { "fail" });
        registry.log.tell("agent.released", now, story.number("latency_us", micros));
        Expected { reply: Ok(number(1)), events: vec!["agent.released"] }
    }

    /// A claim is made, by whichever command.
    pub fn give(&mut self, key: &str, id: &str, fence: u64, claim_args: &ClaimArgs) {
        let now = self.view.now;
        let registry = self.registries.get_mut(key).expect("claimed of a registry");
        let claim =
            Claim { fence, since: now, ends_at: now + claim_args.lease, reference: claim_args.reference.clone() };
        let story = Story::of(id).number("fence", fence).number("ends_at_ms", claim.ends_at);
        registry.log.tell("agent.claimed", now, story.text_if_any("ref", &claim.reference));
        registry.agents.get_mut(id).expect("it fits").claims.push(claim);
        registry.totals[4] += 1;
        claim_args.asked().iter().for_each(|asked| registry.requests.remember(asked, now, (id.into(), fence)));
    }

    /// The answer of `LTMC.AGENT.CLAIM`; `None` if it is a new claim on one of the agents that fit
    /// best.
    pub fn expect_claim(&self, key: &str, claim_args: &ClaimArgs, may_block: bool) -> Option<Result<Outcome, Code>> {
        if self.foreign.contains(key) {
            return Some(Err(Code::WrongType));
        }
        if let Some(answer) = self.answer(key, claim_args) {
            return Some(answer.map(Outcome::Reply).map_err(|()| Code::Err));
        }
        if claim_args.asked().is_some_and(|asked| {
            self.claimers(key).filter_map(|(_, other)| other.asked()).any(|other| asked.excludes(&other))
        }) {
            return Some(Err(Code::Err));
        }
        if !self.best(key, claim_args).is_empty() {
            return None;
        }
        let waiting = self.claimers(key).count() as u64;
        Some(match claim_args.block.filter(|_| may_block) {
            None => Ok(Outcome::Reply(Reply::Nil)),
            Some(_) if waiting >= self.policy.claimers_max => Err(Code::Limit),
            Some(_) => Ok(Outcome::Waits),
        })
    }

    /// The answer to the same request before; an error if that was another one.
    pub fn answer(&self, key: &str, claim_args: &ClaimArgs) -> Option<Result<Reply, ()>> {
        let known = self.registries.get(key)?.requests.find(&claim_args.asked()?, self.view.now)?;
        Some(known.map(|(id, fence)| claim_reply(&id, fence)))
    }

    /// The agents that a claim may be given.
    pub fn best(&self, key: &str, claim_args: &ClaimArgs) -> Vec<&String> {
        let Some(registry) = self.registries.get(key) else { return Vec::new() };
        let mut fitting: Vec<&String> =
            registry.agents.keys().filter(|id| claim_args.is_met(registry, self.view, id)).collect();
        let measure = |id: &str| registry.agents[id].measure(claim_args.order());
        if let Some(least) = fitting.iter().map(|id| measure(id)).min().filter(|_| claim_args.order() != Sort::Random) {
            fitting.retain(|id| measure(id) == least);
        }
        fitting
    }

    pub fn claimers<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a Wait, &'a ClaimArgs)> {
        self.waits.iter().filter_map(move |wait| match &wait.what {
            What::Claim(of, claim_args) if of == key => Some((wait, &**claim_args)),
            _ => None,
        })
    }

    /// What a watcher is told, and whether that is news.
    pub fn report(&self, keys: &[(String, u64)], count: usize) -> Result<(Reply, bool), Code> {
        let (mut replies, mut has_news) = (Vec::new(), false);
        for (key, since) in keys {
            if self.foreign.contains(key) {
                return Err(Code::WrongType);
            }
            let compacted = |oldest| vec![Reply::text("COMPACTED"), number(oldest)];
            let (revision, told) = match self.registries.get(key).map(|registry| &registry.log) {
                None if *since == 0 => (0, vec![Reply::Array(Vec::new())]),
                None => (0, compacted(0)),
                Some(log) => match log.after(*since) {
                    None => (log.revision(), compacted(log.born + log.dropped + 1)),
                    Some(events) => {
                        let events = events.into_iter().take(count).map(|event| Reply::bytes(event.as_bytes()));
                        (log.revision(), vec![Reply::Array(events.collect())])
                    }
                },
            };
            has_news |= told[0] != Reply::Array(Vec::new());
            replies.push(Reply::Array([vec![number(revision)], told].concat()));
        }
        Ok((Reply::Array(replies), has_news))
    }

    fn stats(&self, key: &str, registry: &Registry) -> Reply {
        let agents = || registry.agents.values();
        let count = |count: usize| number(count as u64);
        let mut fields = vec![("revision", number(registry.log.revision())), ("agents", count(registry.agents.len()))];
        for status in STATUSES {
            let has = |agent: &&Agent| registry.status(self.view, agent) == status;
            fields.push((status, count(agents().filter(has).count())));
        }
        fields.push(("offered", count(agents().filter(|agent| agent.is_offered()).count())));
        let is_claimable = |agent: &&Agent| agent.is_offered() && agent.free() > 0;
        fields.push(("claimable", count(agents().filter(is_claimable).count())));
        fields.push(("claims", count(agents().map(|agent| agent.claims.len()).sum())));
        fields.push(("waiting", count(self.claimers(key).count())));
        fields.push(("held", Reply::Integer(i64::from(registry.hold.is_some()))));
        fields.push(("held_since_at_ms", registry.hold.map_or(Reply::Nil, |hold| number(hold.since))));
        let caps = agents().flat_map(|agent| &agent.profile.caps);
        let names: BTreeSet<_> = caps.map(|cap| cap.split('@').next()).collect();
        let tags: BTreeSet<_> = agents().flat_map(|agent| &agent.profile.tags).collect();
        let values: BTreeSet<_> = agents().flat_map(|agent| super::naive::meta_values(&agent.profile.meta)).collect();
        fields.extend([
            ("capabilities", count(names.len())),
            ("tags", count(tags.len())),
            ("meta_values", count(values.len())),
        ]);
        const TOTALS: [&str; 5] =
            ["total_registered", "total_suspected", "total_recovered", "total_died", "total_claimed"];
        fields.extend(TOTALS.into_iter().zip(registry.totals.map(number)));
        Reply::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// What `LTMC.AGENT.GET` shows, without phi.
    pub fn shown(&self, registry: &Registry, id: &str) -> Reply {
        let (agent, now) = (&registry.agents[id], self.view.now);
        let profile = &agent.profile;
        let text = |text: &str| if text.is_empty() { Reply::Nil } else { Reply::bytes(text.as_bytes()) };
        let list =
            |set: &BTreeSet<String>| Reply::Array(set.iter().map(|item| Reply::bytes(item.as_bytes())).collect());
        let when = |time: Option<u64>| time.filter(|time| *time > 0).map_or(Reply::Nil, number);
        let (dead_at, remove_at) = match agent.life {
            Life::Alive => (None, None),
            Life::Suspect { dead_at } => (Some(dead_at), None),
            Life::Dead { remove_at } => (None, Some(remove_at)),
        };
        let claim = |claim: &Claim| {
            let (since, ends_at) = (number(claim.since), number(claim.ends_at));
            Reply::map([
                ("fence", number(claim.fence)),
                ("since_at_ms", since),
                ("ends_at_ms", ends_at),
                ("ref", text(&claim.reference)),
            ])
        };
        Reply::map([
            ("id", Reply::bytes(id.as_bytes())),
            ("epoch", number(agent.epoch)),
            ("status", Reply::text(registry.status(self.view, agent))),
            ("declared", Reply::text(agent.declared)),
            ("health", Reply::text(agent.health)),
            ("reason", text(&agent.reason)),
            ("name", text(&profile.name)),
            ("caps", list(&profile.caps)),
            ("tags", list(&profile.tags)),
            ("meta", text(&profile.meta)),
            ("session", text(&profile.session)),
            ("capacity", number(profile.capacity)),
            ("free", number(agent.free())),
            ("load", Reply::text((agent.effective_load() as f64 / 1000.0).to_string())),
            ("latency_ms", when(Some(agent.latency_us.div_ceil(1000)))),
            ("succeeded", number(agent.succeeded)),
            ("failed", number(agent.failed)),
            ("registered_at_ms", number(agent.registered)),
            ("heartbeat_at_ms", number(agent.beat)),
            ("ttl_ms", number(profile.ttl)),
            ("suspect_at_ms", number(registry.suspect_at(self.view, agent))),
            ("dead_at_ms", when(dead_at)),
            ("removed_at_ms", when(remove_at)),
            ("damped", Reply::Integer(i64::from(agent.is_damped()))),
            ("damped_until_at_ms", when(agent.flaps.map(|flaps| flaps.until))),
            ("penalty", number(agent.penalty(now, self.policy.half_life).into())),
            ("claims", Reply::Array(agent.claims.iter().map(claim).collect())),
        ])
    }
}

pub fn claim_reply(id: &str, fence: u64) -> Reply {
    Reply::Array(vec![Reply::bytes(id.as_bytes()), number(fence)])
}
