//! A cache as naive as can be: lists that are searched from end to end, and every invalidation
//! remembered for ever.

use super::ops::{Call, Get, Put, What};

#[derive(Debug, Clone)]
pub struct Answer {
    pub id: u64,
    pub call: Call,
    /// The agent that it belongs to; `None` if it is shared.
    pub scope: Option<usize>,
    pub value: String,
    pub at: u64,
    /// `None` if it does not expire.
    pub fresh_until: Option<u64>,
    pub gone_at: Option<u64>,
    pub is_soft: bool,
    pub is_negative: bool,
    pub agent: Option<usize>,
    pub deps: Vec<usize>,
    pub tags: Vec<usize>,
    /// Grows with each use of any answer.
    pub used: u64,
}

#[derive(Debug, Clone)]
pub struct Ticket {
    pub ticket: u64,
    pub call: Call,
    pub agent: Option<usize>,
    pub ends_at: u64,
    pub client: Option<u64>,
    pub waited_until: Option<u64>,
    pub is_orphaned: bool,
}

impl Ticket {
    pub fn is_on(&self, now: u64) -> bool {
        !self.is_orphaned && now < self.ends_at && self.waited_until.is_none_or(|until| now < until)
    }
}

#[derive(Debug, Clone)]
pub struct Wait {
    pub id: u64,
    pub client: u64,
    pub get: Get,
    pub deadline: Option<u64>,
}

/// How an answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Hit,
    Stale,
    Negative,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Hit => "HIT",
            Status::Stale => "STALE",
            Status::Negative => "NEGATIVE",
        }
    }
}

#[derive(Debug, Default)]
pub struct Naive {
    pub answers: Vec<Answer>,
    pub tickets: Vec<Ticket>,
    /// All invalidations, with their fences.
    pub called_off: Vec<(What, u64)>,
    pub stays: bool,
    pub bytes_max: u64,
    pub entries_max: u64,
    pub ttl: Option<u64>,
    pub policy: usize,
    pub last_id: u64,
    pub clock: u64,
}

impl Answer {
    pub fn is_gone(&self, now: u64) -> bool {
        self.gone_at.is_some_and(|end| end <= now)
    }

    pub fn status(&self, now: u64) -> Status {
        if self.is_soft || self.fresh_until.is_some_and(|end| end <= now) {
            Status::Stale
        } else if self.is_negative {
            Status::Negative
        } else {
            Status::Hit
        }
    }

    fn is_hit_by(&self, what: &What) -> bool {
        match what {
            What::Dep(deps) => deps.iter().any(|dep| self.deps.contains(dep)),
            What::Tag(tags) => tags.iter().any(|tag| self.tags.contains(tag)),
            What::Tool(tool) => self.call.tool == *tool,
            What::Agent(agent) => self.agent == Some(*agent),
            What::All => true,
        }
    }
}

impl Naive {
    pub fn is_empty(&self) -> bool {
        !self.stays && self.answers.is_empty() && self.tickets.is_empty()
    }

    /// The answer that a caller finds, by its place.
    pub fn look(&self, get: &Get, now: u64) -> Option<usize> {
        let fits = |answer: &Answer, scope: Option<usize>| {
            let is_young = now - answer.at <= get.age_max.unwrap_or(u64::MAX);
            answer.call == get.call && answer.scope == scope && is_young && !answer.is_gone(now)
        };
        let own = get.agent.and_then(|agent| self.answers.iter().position(|answer| fits(answer, Some(agent))));
        own.or_else(|| self.answers.iter().position(|answer| fits(answer, None)))
    }

    pub fn flight(&self, call: Call, now: u64) -> Option<&Ticket> {
        self.tickets.iter().find(|ticket| ticket.call == call && ticket.is_on(now))
    }

    /// A caller gets a ticket. An older one for the same call is void.
    pub fn grant(&mut self, ticket: Ticket) {
        self.tickets.retain(|known| known.call != ticket.call);
        self.tickets.push(ticket);
    }

    /// Whether an answer may be put. A void ticket is removed.
    pub fn redeem(&mut self, put: &Put, ticket: u64, now: u64) -> bool {
        let Some(at) = self.tickets.iter().position(|known| known.ticket == ticket && known.call == put.call) else {
            return false;
        };
        if self.tickets[at].ends_at <= now {
            return false;
        }
        let hits = |what: &What| match what {
            What::Dep(deps) => deps.iter().any(|dep| put.deps.contains(dep)),
            What::Tag(tags) => tags.iter().any(|tag| put.tags.contains(tag)),
            What::Agent(agent) => put.agent == Some(*agent),
            What::Tool(_) | What::All => false,
        };
        let is_void = self.called_off.iter().any(|(what, fence)| *fence > ticket && hits(what));
        if is_void {
            self.tickets.remove(at);
        }
        !is_void
    }

    pub fn put(&mut self, put: &Put, now: u64, negative_ttl: u64) {
        let scope = put.agent.filter(|_| put.is_private);
        self.answers.retain(|answer| answer.call != put.call || answer.scope != scope);
        if let Some(ticket) = put.ticket {
            self.tickets.retain(|known| known.ticket != ticket);
        }
        let default = if put.is_negative { Some(negative_ttl) } else { self.ttl };
        let fresh_until = put.ttl.or(default).map(|ttl| now + ttl);
        self.last_id += 1;
        self.clock += 1;
        self.answers.push(Answer {
            id: self.last_id,
            call: put.call,
            scope,
            value: put.value.clone(),
            at: now,
            fresh_until,
            gone_at: fresh_until.map(|end| end + put.stale.unwrap_or(0)),
            is_soft: false,
            is_negative: put.is_negative,
            agent: put.agent,
            deps: put.deps.clone(),
            tags: put.tags.clone(),
            used: self.clock,
        });
    }

    /// Invalidates, and returns how many answers that concerned.
    pub fn invalidate(&mut self, what: &What, is_soft: bool, fence: u64) -> usize {
        let hit: Vec<u64> =
            self.answers.iter().filter(|answer| answer.is_hit_by(what)).map(|answer| answer.id).collect();
        let is_hit = |answer: &Answer| hit.contains(&answer.id);
        let concerned: Vec<Call> = self
            .answers
            .iter()
            .filter(|answer| is_hit(answer) && answer.scope.is_none())
            .map(|answer| answer.call)
            .collect();
        self.tickets.retain(|ticket| {
            let is_aimed_at = match what {
                What::All => true,
                What::Tool(tool) => ticket.call.tool == *tool,
                What::Agent(agent) => ticket.agent == Some(*agent),
                What::Dep(_) | What::Tag(_) => false,
            };
            // A recomputed answer depends on the same as the old one.
            !is_aimed_at && !concerned.contains(&ticket.call)
        });
        if is_soft {
            self.answers.iter_mut().filter(|answer| is_hit(answer)).for_each(|answer| answer.is_soft = true);
        } else {
            self.answers.retain(|answer| !is_hit(answer));
        }
        self.called_off.push((what.clone(), fence));
        hit.len()
    }
}
