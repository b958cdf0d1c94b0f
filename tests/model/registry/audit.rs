//! Reads the log of what the module did, and compares it with the naive registries step by step.

use super::answers::{claim_reply, Naive, Wait, What};
use super::naive::{Hold, Life, Registry};
use super::ops::ClaimArgs;
use super::story::Story;
use super::world::{shown, Undelivered, World};
use crate::host::Fact;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::domain::registry::{ClaimEnd, RegistryEvent};
use ltmc::domain::{Bytes, Code, Error, Event};

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn names(events: &[RegistryEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.name().unwrap_or("seen")).collect()
}

impl World {
    /// Takes in what happened beside the command's own changes.
    pub fn absorb(&mut self, facts: Vec<Fact>) {
        let mut facts = facts.into_iter().peekable();
        while let Some(fact) = facts.next() {
            match fact {
                Fact::Agent(key, events) => {
                    self.model.bury();
                    let key = String::from_utf8_lossy(&key.name).into_owned();
                    self.touched.insert(key.clone());
                    let [RegistryEvent::Claimed { fence, agent, .. }] = &events[..] else {
                        self.decided(&key, &events);
                        continue;
                    };
                    let (id, mut told) = (text(agent), Vec::new());
                    let reply = claim_reply(&id, *fence);
                    while let Some(Fact::Answered(waiter, Ok(answer))) = facts.peek() {
                        if *answer != reply {
                            break;
                        }
                        told.push(waiter.0);
                        facts.next();
                    }
                    self.served(&key, &id, *fence, &told);
                }
                Fact::Answered(waiter, reply) => self.answered(waiter.0, reply),
                other => panic!("nothing of this kind happens to a registry here: {other:?}"),
            }
        }
        self.model.bury();
    }

    /// The agent is given to the client that waits longest of those whom it fits, and to those that
    /// repeat the same request.
    fn served(&mut self, key: &str, id: &str, fence: u64, told: &[u64]) {
        self.take_fence(fence);
        self.history.note(format!("  waiters {told:?} get {id} as {fence}"));
        let (registry, view) = (&self.model.registries[key], self.model.view);
        let fits =
            |(wait, claim_args): &(&Wait, &ClaimArgs)| told.contains(&wait.id) && claim_args.is_met(registry, view, id);
        let main = self.model.claimers(key).find(fits);
        let (main, claim_args) =
            main.unwrap_or_else(|| panic!("{id} is claimed as {fence}, and fits nobody of {told:?}"));
        let (main, claim_args) = (main.id, claim_args.clone());
        for (wait, older) in self.model.claimers(key).filter(|(wait, _)| wait.id < main) {
            let is_overtaken = older.is_met(registry, view, id) && !told.contains(&wait.id);
            assert!(!is_overtaken, "waiter {main} gets {id} before {wait:?}");
        }
        let is_twin = |other: &Option<String>| claim_args.request.is_some() && *other == claim_args.request;
        for (wait, other) in self.model.claimers(key).filter(|(wait, _)| wait.id != main) {
            assert_eq!(is_twin(&other.request), told.contains(&wait.id), "told of {fence}: {told:?}, {wait:?}");
        }
        self.model.give(key, id, fence, &claim_args);
        for waiter in told {
            // If a retry was told, too, the claim stays even if one of the clients is gone.
            let grant = (told.len() == 1).then(|| (key.to_string(), fence, claim_args.request.clone()));
            self.ends_waiting(*waiter, grant);
        }
    }

    fn ends_waiting(&mut self, id: u64, grant: Option<(String, u64, Option<String>)>) {
        let at = self.model.waits.iter().position(|wait| wait.id == id);
        let wait = self.model.waits.remove(at.unwrap_or_else(|| panic!("nobody waits as {id}")));
        self.clients.insert(wait.client, None);
        self.undelivered.push(Undelivered { id, client: wait.client, grant });
    }

    fn answered(&mut self, id: u64, reply: Result<Reply, Error>) {
        let told = reply.clone().map(Outcome::Reply).map_err(|error| error.code);
        self.history.note(format!("  waiter {id} is answered {}", shown(&told)));
        let wait = self.model.waits.iter().find(|wait| wait.id == id);
        let wait = wait.unwrap_or_else(|| panic!("nobody waits as {id}")).clone();
        match (&wait.what, reply) {
            (_, Ok(Reply::Nil)) => {
                let over = wait.deadline.is_some_and(|deadline| deadline <= self.model.view.now);
                assert!(over, "timed out too early: {wait:?}");
            }
            (What::Watch(keys, count), reply) => {
                let expected = self.model.report(keys, *count);
                let (expected, has_news) = expected.map_or_else(|code| (Err(code), true), |(r, news)| (Ok(r), news));
                assert!(has_news, "woken for nothing: {wait:?}");
                assert_eq!(reply.map_err(|error| error.code), expected, "{wait:?}");
            }
            (What::Claim(key, claim_args), Err(error)) => {
                // The registry came with a past in which the id was used for something else.
                let is_other = self.model.answer(key, claim_args) == Some(Err(()));
                let is_right = match error.code {
                    Code::WrongType => self.model.foreign.contains(key),
                    code => code == Code::Err && is_other,
                };
                assert!(is_right, "refused for no reason: {wait:?}, {error:?}");
            }
            // A retry that did not wait was quicker, or the registry came with its past.
            (What::Claim(key, claim_args), Ok(reply))
                if self.model.answer(key, claim_args) == Some(Ok(reply.clone())) => {}
            (What::Claim(..), Ok(other)) => panic!("no answer for {wait:?}: {other:?}"),
        }
        self.ends_waiting(id, None);
    }

    pub fn take_fence(&mut self, fence: u64) {
        assert!(fence > self.last_fence && fence < 1 << 53, "fence {fence} after {}", self.last_fence);
        self.last_fence = fence;
    }

    /// Time, or the loss of a client, has brought these events, all decided from the same state.
    fn decided(&mut self, key: &str, events: &[RegistryEvent]) {
        self.history.note(format!("  in {key}: {events:?}"));
        for event in events {
            assert_eq!(event.at(), self.model.view.now, "an event is told at its time");
            if let RegistryEvent::Released { fence, end: ClaimEnd::TakenBack, .. } = event {
                let at = self.take_backs.iter().position(|(of, known, ..)| of == key && known == fence);
                let (_, _, request, _) =
                    self.take_backs.remove(at.expect("only what nobody was told of is taken back"));
                let registry = self.model.registries.get_mut(key).expect("it has a claim");
                request.iter().for_each(|id| registry.requests.forget(&format!("/{id}")));
            } else {
                self.model.check_decided(key, event);
            }
        }
        for event in events {
            self.model.apply(key, event);
        }
    }
}

impl Naive {
    /// Removes registries without agents.
    pub fn bury(&mut self) {
        self.registries.retain(|_, registry| !registry.agents.is_empty());
    }

    /// Checks that it is time for this event.
    fn check_decided(&self, key: &str, event: &RegistryEvent) {
        let (registry, policy, view) = (&self.registries[key], &self.policy, self.view);
        let now = view.now;
        let agent = event.agent().map(|id| &registry.agents[&text(id)]);
        let life = agent.map(|agent| agent.life);
        let is_held = |id: &String| match registry.agents[id].life {
            Life::Suspect { dead_at } => {
                let agent = &registry.agents[id];
                registry.dies_at(view, agent, dead_at) <= now && registry.is_held_by(policy, view, agent, dead_at)
            }
            _ => false,
        };
        let is_right = match (event, agent, life) {
            (RegistryEvent::Suspected { dead_at, .. }, Some(agent), Some(Life::Alive)) => {
                // An agent that was suspected late has its time all the same.
                let share = |percent| agent.profile.ttl * percent / 100;
                let silence_ends = agent.beat + share(policy.dead_percent);
                let right = silence_ends.max(now + share(policy.dead_percent - 100));
                registry.suspect_at(view, agent) <= now && *dead_at == right
            }
            (RegistryEvent::Died { agent: id, remove_at, .. }, Some(agent), Some(Life::Suspect { dead_at })) => {
                let kept_back = agent.flaps.map_or(0, |flaps| flaps.until);
                registry.dies_at(view, agent, dead_at) <= now
                    && !is_held(&text(id))
                    && *remove_at == kept_back.max(now + policy.grace)
            }
            (RegistryEvent::Removed { .. }, _, Some(Life::Dead { remove_at })) => remove_at <= now,
            (RegistryEvent::Undamped { .. }, Some(agent), Some(Life::Alive | Life::Suspect { .. })) => {
                agent.flaps.is_some_and(|flaps| flaps.until > 0 && flaps.until <= now)
            }
            (RegistryEvent::Released { fence, end: ClaimEnd::Expired, agent: id, .. }, ..) => {
                registry.claim(*fence).is_some_and(|(of, claim)| *of == text(id) && claim.ends_at <= now)
            }
            (RegistryEvent::HoldBegan { share_percent, extra_percent, .. }, ..) => {
                let introduction = (u64::from(*share_percent), u64::from(*extra_percent));
                registry.may_hold(policy) && introduction == (policy.hold_share, policy.hold_extra)
            }
            (RegistryEvent::HoldEnded { .. }, ..) => {
                registry.hold.is_some_and(|hold| !registry.is_mostly_silent(hold.share))
            }
            _ => false,
        };
        assert!(is_right, "not now: {event:?}\n{agent:?}\n{policy:?} {:?} {:?}", registry.hold, registry.past);
    }

    fn apply(&mut self, key: &str, event: &RegistryEvent) {
        let now = self.view.now;
        let Registry { agents, hold, past, log, totals, .. } = self.registries.get_mut(key).expect("it has events");
        let id = event.agent().map(text).unwrap_or_default();
        let mut story = Story::of(&id);
        match (event, agents.get_mut(&id)) {
            (RegistryEvent::Suspected { dead_at, .. }, Some(agent)) => {
                agent.life = Life::Suspect { dead_at: *dead_at };
                totals[1] += 1;
                story = story.number("dead_at_ms", *dead_at);
            }
            (RegistryEvent::Died { remove_at, .. }, Some(agent)) => {
                agent.life = Life::Dead { remove_at: *remove_at };
                agent.claims.clear();
                totals[3] += 1;
                story = story.number("remove_at_ms", *remove_at);
            }
            (RegistryEvent::Removed { .. }, Some(_)) => drop(agents.remove(&id)),
            (RegistryEvent::Undamped { .. }, Some(agent)) => {
                agent.flaps.iter_mut().for_each(|flaps| flaps.until = 0);
            }
            (RegistryEvent::Released { fence, end, .. }, Some(agent)) => {
                agent.claims.retain(|claim| claim.fence != *fence);
                let outcome = if *end == ClaimEnd::Expired { "expired" } else { "taken back" };
                story = story.number("fence", *fence).text("outcome", outcome);
            }
            (RegistryEvent::HoldBegan { share_percent, extra_percent, .. }, None) => {
                *hold = Some(Hold { since: now, share: u64::from(*share_percent), extra: u64::from(*extra_percent) });
                story = Story(String::new());
            }
            (RegistryEvent::HoldEnded { .. }, None) => {
                *past = hold.take().map(|hold| (now, hold.extra));
                story = Story(String::new());
            }
            (other, agent) => panic!("no time brings this: {other:?}, {agent:?}"),
        }
        log.tell(event.name().expect("all of them are visible"), now, story);
    }
}
