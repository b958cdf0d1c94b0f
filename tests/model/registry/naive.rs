//! A registry as naive as possible: plain maps and linear scans. It says which agents are offered,
//! and what is due when.

use super::story::Log;
use crate::requests::Memory;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Life {
    Alive,
    Suspect { dead_at: u64 },
    Dead { remove_at: u64 },
}

#[derive(Debug, Clone)]
pub struct Claim {
    pub fence: u64,
    pub since: u64,
    pub ends_at: u64,
    pub reference: String,
}

/// The penalty for coming and going.
#[derive(Debug, Clone, Copy)]
pub struct Flaps {
    pub penalty: u32,
    pub at: u64,
    /// Until when it is not offered; 0 if it is.
    pub until: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Profile {
    pub name: String,
    pub caps: BTreeSet<String>,
    pub tags: BTreeSet<String>,
    pub meta: String,
    pub session: String,
    pub capacity: u64,
    pub ttl: u64,
}

#[derive(Debug, Clone)]
pub struct Agent {
    pub epoch: u64,
    pub profile: Profile,
    pub declared: &'static str,
    pub life: Life,
    pub health: &'static str,
    pub reason: String,
    pub registered: u64,
    /// The last heartbeat that this node heard, when it makes the agent suspect, and the load in
    /// thousandths.
    pub beat: u64,
    pub suspect_at: u64,
    pub load: u64,
    /// The same as it is saved.
    pub seen: u64,
    pub seen_load: u64,
    /// The same as a replica has it.
    pub copy_beat: u64,
    pub copy_load: u64,
    pub flaps: Option<Flaps>,
    pub succeeded: u64,
    pub failed: u64,
    pub latency_us: u64,
    pub claims: Vec<Claim>,
}

#[derive(Debug, Clone, Copy)]
pub struct Hold {
    pub since: u64,
    pub share: u64,
    pub extra: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub agents: BTreeMap<String, Agent>,
    pub hold: Option<Hold>,
    /// When the last hold ended, and what it allowed.
    pub past: Option<(u64, u64)>,
    pub loaded_at: u64,
    pub log: Log,
    pub requests: Memory<(String, u64)>,
    /// Registered, suspected, recovered, died, claimed.
    pub totals: [u64; 5],
}

#[derive(Debug, Clone)]
pub struct Policy {
    pub ttl: u64,
    pub dead_percent: u64,
    pub grace: u64,
    pub half_life: u64,
    pub hold_share: u64,
    pub hold_min: u64,
    pub hold_extra: u64,
    pub phi: bool,
    pub phi_threshold: u64,
    pub agents_max: u64,
    pub claimers_max: u64,
    pub watchers_max: u64,
    pub sweep_batch: u64,
}

/// The node that looks at a registry.
#[derive(Debug, Clone, Copy, Default)]
pub struct View {
    pub now: u64,
    pub since: u64,
    pub is_replica: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    pub caps: Vec<String>,
    pub any: Vec<String>,
    pub tags: Vec<String>,
    pub statuses: Vec<&'static str>,
    pub meta: Option<(String, String)>,
    pub min_free: u64,
    pub excluded: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sort {
    None,
    Load,
    Latency,
    Random,
}

fn version(text: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = text.split('.').map(|part| part.parse().expect("a number")).collect();
    numbers.resize(4, 0);
    numbers
}

/// Whether a capability (`name` or `name@version`) meets a requirement (also `name@>=version`).
fn will_do(capability: &str, required: &str) -> bool {
    let split =
        |text: &str| text.split_once('@').map_or((text.into(), None), |(n, v)| (n.to_string(), Some(v.to_string())));
    let ((name, has), (other_name, wants)) = (split(capability), split(required));
    name == other_name
        && match (wants, has) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wants), Some(has)) => match wants.strip_prefix(">=") {
                Some(least) => version(&has) >= version(least),
                None => version(&has) == version(&wants),
            },
        }
}

/// Whether the value at `path` is `value`, read as JSON or as text.
fn has_meta(meta: &str, path: &str, value: &str) -> bool {
    use serde_json::Value;
    let Ok(meta) = serde_json::from_str::<Value>(meta) else { return false };
    let found = meta.pointer(path);
    let required = serde_json::from_str::<Value>(value).unwrap_or(Value::Object(serde_json::Map::new()));
    match found {
        Some(Value::String(text)) => text == value || required.as_str() == Some(text),
        Some(Value::Number(number)) => required.is_number() && required.as_f64() == number.as_f64(),
        Some(single @ (Value::Bool(_) | Value::Null)) => *single == required,
        _ => false,
    }
}

/// All paths of single values in a `META`, with their values: what can be searched for.
pub fn meta_values(meta: &str) -> BTreeSet<(String, String)> {
    fn walk(value: &serde_json::Value, path: String, found: &mut BTreeSet<(String, String)>) {
        match value {
            serde_json::Value::Object(map) => {
                let step = |name: &str| format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                map.iter().for_each(|(name, value)| walk(value, step(name), found));
            }
            serde_json::Value::Array(list) => {
                list.iter().enumerate().for_each(|(at, value)| walk(value, format!("{path}/{at}"), found));
            }
            serde_json::Value::Number(number) => drop(found.insert((path, format!("{:?}", number.as_f64())))),
            single => drop(found.insert((path, single.to_string()))),
        }
    }
    let mut found = BTreeSet::new();
    if let Ok(value) = serde_json::from_str(meta) {
        walk(&value, String::new(), &mut found);
    }
    found
}

impl Agent {
    pub fn free(&self) -> u64 {
        self.profile.capacity.saturating_sub(self.claims.len() as u64)
    }

    pub fn effective_load(&self) -> u64 {
        self.load.max((self.claims.len() as u64 * 1000 / self.profile.capacity.max(1)).min(1000))
    }

    pub fn is_damped(&self) -> bool {
        self.flaps.is_some_and(|flaps| flaps.until > 0)
    }

    pub fn decided(&self) -> &'static str {
        match self.life {
            Life::Alive => self.declared,
            Life::Suspect { .. } => "suspect",
            Life::Dead { .. } => "dead",
        }
    }

    /// Ready, well and not kept back, as far as that is decided.
    pub fn is_offered(&self) -> bool {
        matches!(self.decided(), "active" | "idle") && self.health != "failed" && !self.is_damped()
    }

    /// What agents are sorted by: the smaller comes first.
    pub fn measure(&self, sort: Sort) -> (bool, u64) {
        let measure = if sort == Sort::Latency { self.latency_us.div_ceil(1000) } else { self.effective_load() };
        (self.health == "degraded", measure)
    }

    /// What is left of the penalty.
    pub fn penalty(&self, now: u64, half_life: u64) -> u32 {
        let Some(flaps) = self.flaps.filter(|_| half_life > 0) else { return 0 };
        let half_lives = now.saturating_sub(flaps.at) as f64 / half_life as f64;
        (f64::from(flaps.penalty) * (-half_lives).exp2()).round() as u32
    }

    /// The registry is loaded: all that is known of an agent's heartbeats is what was saved.
    pub fn reload(&mut self) {
        (self.beat, self.load) = (self.seen, self.seen_load);
        (self.copy_beat, self.copy_load) = (self.seen, self.seen_load);
        self.suspect_at = self.beat + self.profile.ttl;
    }

    pub fn hear(&mut self, at: u64) {
        self.beat = self.beat.max(at);
        self.suspect_at = self.beat + self.profile.ttl;
        self.copy_beat = self.copy_beat.max(at);
    }
}

impl Registry {
    pub fn suspect_at(&self, view: View, agent: &Agent) -> u64 {
        let slack = if view.is_replica { agent.profile.ttl / 2 } else { 0 };
        agent.suspect_at.max(view.since.max(self.loaded_at) + agent.profile.ttl) + slack
    }

    pub fn status(&self, view: View, agent: &Agent) -> &'static str {
        let is_overdue = agent.life == Life::Alive && self.suspect_at(view, agent) <= view.now;
        if is_overdue {
            "suspect"
        } else {
            agent.decided()
        }
    }

    pub fn dies_at(&self, view: View, agent: &Agent, dead_at: u64) -> u64 {
        let ttl = agent.profile.ttl;
        let held = |extra: u64| dead_at + ttl * extra / 100;
        let in_hold = self.hold.map_or(dead_at, |hold| held(hold.extra));
        let after_hold = self.past.map_or(0, |(ended, extra)| held(extra).min(ended + ttl));
        in_hold.max(after_hold).max(view.since.max(self.loaded_at) + ttl)
    }

    fn count(&self, status: &str) -> u64 {
        self.agents.values().filter(|agent| agent.decided() == status).count() as u64
    }

    pub fn is_mostly_silent(&self, share: u64) -> bool {
        let (silent, living) = (self.count("suspect"), self.agents.len() as u64 - self.count("dead"));
        silent > 0 && silent * 100 >= living * share
    }

    /// Whether so many agents are silent that a hold may begin.
    pub fn may_hold(&self, policy: &Policy) -> bool {
        self.hold.is_none()
            && policy.hold_share > 0
            && self.count("suspect") >= policy.hold_min
            && self.is_mostly_silent(policy.hold_share)
    }

    /// Whether a hold that begins now postpones the death of this suspect.
    pub fn is_held_by(&self, policy: &Policy, view: View, agent: &Agent, dead_at: u64) -> bool {
        self.may_hold(policy) && view.now < dead_at + agent.profile.ttl * policy.hold_extra / 100
    }

    pub fn fits(&self, view: View, id: &str, filter: &Filter) -> bool {
        let agent = &self.agents[id];
        let profile = &agent.profile;
        let can = |required: &String| profile.caps.iter().any(|cap| will_do(cap, required));
        let status = self.status(view, agent);
        let statuses: &[&str] = if filter.statuses.is_empty() { &["active", "idle"] } else { &filter.statuses };
        statuses.contains(&status)
            && agent.health != "failed"
            && !agent.is_damped()
            && filter.caps.iter().all(can)
            && (filter.any.is_empty() || filter.any.iter().any(can))
            && filter.tags.iter().all(|tag| profile.tags.contains(tag))
            && filter.meta.as_ref().is_none_or(|(path, value)| has_meta(&profile.meta, path, value))
            && agent.free() >= filter.min_free
            && !filter.excluded.iter().any(|other| other == id)
    }

    pub fn fitting(&self, view: View, filter: &Filter) -> Vec<&String> {
        self.agents.keys().filter(|id| self.fits(view, id, filter)).collect()
    }

    /// The penalty of an agent after its return from silence.
    pub fn returned(&self, policy: &Policy, agent: &Agent, now: u64) -> Option<Flaps> {
        let is_after_hold = self.past.is_some_and(|(ended, _)| now < ended + agent.profile.ttl);
        if self.hold.is_some() || is_after_hold {
            return agent.flaps;
        }
        if policy.half_life == 0 {
            return None;
        }
        let penalty = (agent.penalty(now, policy.half_life) + 1000).min(12_000);
        let is_kept_back = penalty > 2500 || agent.flaps.is_some_and(|flaps| flaps.until > now);
        let wait = (f64::from(penalty) / 750.0).log2() * policy.half_life as f64;
        Some(Flaps { penalty, at: now, until: if is_kept_back { now + wait.ceil() as u64 } else { 0 } })
    }

    pub fn claim(&self, fence: u64) -> Option<(&String, &Claim)> {
        let claims = self.agents.iter().flat_map(|(id, agent)| agent.claims.iter().map(move |claim| (id, claim)));
        claims.into_iter().find(|(_, claim)| claim.fence == fence)
    }

    /// What the primary has to decide now.
    pub fn due(&self, policy: &Policy, view: View) -> Option<String> {
        if self.hold.is_some_and(|hold| !self.is_mostly_silent(hold.share)) {
            return Some("the hold is over".into());
        }
        for (id, agent) in &self.agents {
            let what = match agent.life {
                _ if agent.claims.iter().any(|claim| claim.ends_at <= view.now) => "has a claim that is over",
                Life::Alive | Life::Suspect { .. }
                    if agent.flaps.is_some_and(|flaps| flaps.until > 0 && flaps.until <= view.now) =>
                {
                    "is to be offered again"
                }
                Life::Alive if self.suspect_at(view, agent) <= view.now => "is silent for too long",
                Life::Suspect { dead_at } if self.dies_at(view, agent, dead_at) <= view.now => "is dead",
                Life::Dead { remove_at } if remove_at <= view.now => "is to be forgotten",
                _ => continue,
            };
            return Some(format!("{id} {what}: {agent:?}, {:?} {:?} {view:?} {policy:?}", self.hold, self.past));
        }
        None
    }
}
