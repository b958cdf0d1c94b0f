//! What has to hold after every step, and whenever the scheduler is at rest.

use super::answers::What;
use super::naive::{Agent, Sort};
use super::ops::Op;
use super::world::{comparable, id_of, World};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::domain::entity::event_log::Missed;
use ltmc::domain::registry::Registry;
use ltmc::domain::Code;
use ltmc::snapshot::encode_snapshot;
use std::collections::BTreeSet;

fn ids(replies: &[Reply]) -> Vec<String> {
    let id = |reply: &Reply| match reply {
        Reply::Bytes(id) => String::from_utf8_lossy(id).into_owned(),
        Reply::Map(fields) => match &fields[0] {
            (name, Reply::Bytes(id)) if name == "id" => String::from_utf8_lossy(id).into_owned(),
            other => panic!("no id: {other:?}"),
        },
        other => panic!("no agent: {other:?}"),
    };
    replies.iter().map(id).collect()
}

impl World {
    /// A list of agents: the right ones, each once, in the requested order.
    pub fn check_listed(&mut self, key: &str, op: &Op, outcome: Result<Outcome, Code>) {
        if self.model.foreign.contains(key) {
            return assert_eq!(outcome, Err(Code::WrongType));
        }
        let Ok(Outcome::Reply(Reply::Array(replies))) = outcome else { panic!("no list: {outcome:?}") };
        let found = ids(&replies);
        let Some(registry) = self.model.registries.get(key) else { return assert!(found.is_empty(), "{found:?}") };
        let view = self.model.view;
        let (right, expected) = match op {
            Op::List { status, page } => {
                let has = |agent: &Agent| status.is_none_or(|status| registry.status(view, agent) == status);
                let right = registry.agents.iter().filter(|(_, agent)| has(agent)).map(|(id, _)| id);
                let right: Vec<&String> = right.collect();
                let (offset, count) = page.unwrap_or((0, usize::MAX));
                let expected = right.len().saturating_sub(offset).min(count);
                (right, expected)
            }
            Op::Find { filter, limit, .. } => {
                let right = registry.fitting(view, filter);
                let expected = right.len().min(limit.unwrap_or(usize::MAX));
                (right, expected)
            }
            other => panic!("{other:?} lists nothing"),
        };
        let once: BTreeSet<&String> = found.iter().collect();
        assert_eq!((found.len(), once.len()), (expected, expected), "{found:?}, of {right:?}");
        assert!(found.iter().all(|id| right.contains(&id)), "{found:?}, not of {right:?}");
        if let Op::Find { sort: sort @ (Sort::Load | Sort::Latency), .. } = op {
            let measure = |id: &String| registry.agents[id].measure(*sort);
            let mut best: Vec<_> = right.iter().map(|id| measure(id)).collect();
            best.sort();
            best.truncate(expected);
            assert_eq!(found.iter().map(measure).collect::<Vec<_>>(), best, "the order of {found:?}");
        }
        for (reply, id) in replies.into_iter().zip(&found).filter(|(reply, _)| matches!(reply, Reply::Map(_))) {
            assert_eq!(comparable(reply), comparable(self.model.shown(registry, id)));
        }
        let is_page = matches!(op, Op::List { page: Some(_), .. });
        if is_page {
            self.check_pages(key, op);
        }
    }

    /// All pages together are all agents, each once.
    fn check_pages(&mut self, key: &str, op: &Op) {
        let Op::List { status, .. } = op else { return };
        let list = |world: &mut Self, page| {
            let argv = Op::List { status: *status, page }.argv(key, &mut world.rng);
            match world.execute(0, &argv) {
                Ok(Outcome::Reply(Reply::Array(replies))) => ids(&replies),
                other => panic!("no list: {other:?}"),
            }
        };
        let all = list(self, None);
        let width = 1 + self.rng.below(4) as usize + all.len() / 10;
        let pages = (0..=all.len() / width).flat_map(|page| list(self, Some((page * width, width))));
        assert_eq!(pages.collect::<Vec<_>>(), all, "pages of {width}");
    }

    /// After every step: the keys are what the model says, and the replica's are the same to the
    /// byte.
    pub fn check_state(&mut self) {
        assert_eq!(self.host.keys.len(), self.model.registries.len() + self.model.foreign.len(), "number of keys");
        assert_eq!(self.host.replica.len(), self.model.registries.len(), "number of keys of the replica");
        let full = self.rng.percent(if self.shape.is_large { 1 } else { 3 });
        let touched = std::mem::take(&mut self.touched);
        for key in self.model.registries.keys().cloned().collect::<Vec<_>>() {
            if full || touched.contains(&key) {
                self.check_key(&key, full);
            }
        }
        self.compared.retain(|key, _| self.model.registries.contains_key(key));
    }

    fn check_key(&mut self, key: &str, full: bool) {
        let registry = &self.model.registries[key];
        let stored = self.host.peek::<Registry>(&id_of(key)).unwrap_or_else(|| panic!("there is no {key}"));
        assert_eq!(stored.revision, registry.log.revision(), "revision of {key}");
        let log = stored.log().expect("registries keep one");
        let compared = self.compared.insert(key.into(), stored.revision);
        let since = compared.filter(|since| registry.log.after(*since).is_some());
        let since = since.unwrap_or(registry.log.born + registry.log.dropped);
        let expected = registry.log.after(since).expect("just made sure");
        match log.after(since) {
            Missed::Events(events) => {
                let events: Vec<&str> = events.collect();
                assert!(events == expected, "the log has\n{events:#?}\nand not\n{expected:#?}");
            }
            Missed::Compacted(oldest) => panic!("{since} is compacted, the oldest is {oldest}"),
        }
        let is_small = !self.shape.is_large && registry.log.bytes < 100_000;
        if full || is_small || self.rng.percent(1) {
            assert_eq!(stored.check(), Ok(()));
            let copy = self.host.copied::<Registry>(&id_of(key)).unwrap_or_else(|| panic!("no copy of {key}"));
            assert!(encode_snapshot(stored) == encode_snapshot(copy), "replica of {key}: {stored:#?} {copy:#?}");
            assert_eq!(copy.check(), Ok(()));
        }
        let ids: Vec<String> = registry.agents.keys().cloned().collect();
        let one = self.rng.pick(&ids).clone();
        for id in ids.into_iter().filter(|id| is_small || full || *id == one) {
            let argv = Op::Get { id: id.clone() }.argv(key, &mut self.rng);
            let shown = self.execute(0, &argv);
            let Ok(Outcome::Reply(shown)) = shown else { panic!("{shown:?}") };
            let expected = self.model.shown(&self.model.registries[key], &id);
            assert_eq!(comparable(shown), comparable(expected), "{id} of {key}");
        }
    }

    /// When the scheduler is at rest: nothing is due, no client waits for an agent it could have,
    /// and no watcher for what has happened.
    pub fn check_rest(&mut self) {
        let (view, policy) = (self.model.view, &self.model.policy);
        for (key, registry) in &self.model.registries {
            assert_eq!(registry.due(policy, view), None, "in {key}");
        }
        for wait in &self.model.waits {
            assert!(wait.deadline.is_none_or(|deadline| deadline > view.now), "overdue: {wait:?}");
            match &wait.what {
                What::Claim(key, claim_args) => {
                    let registry = self.model.registries.get(key);
                    let fits = |id: &&String| registry.is_some_and(|registry| claim_args.is_met(registry, view, id));
                    let fitting = registry.and_then(|registry| registry.agents.keys().find(fits));
                    assert_eq!(fitting, None, "lost: {wait:?}");
                    assert!(!self.model.foreign.contains(key), "waits for a key of another type: {wait:?}");
                }
                What::Watch(keys, count) => {
                    let report = self.model.report(keys, *count);
                    assert!(matches!(report, Ok((_, false))), "not woken: {wait:?}, {report:?}");
                }
            }
        }
        for (key, fence, _, is_sure) in std::mem::take(&mut self.take_backs) {
            let registry = self.model.registries.get(&key).filter(|_| is_sure);
            let claim = registry.and_then(|registry| registry.claim(fence));
            assert!(claim.is_none(), "nobody was told of {claim:?}, and it was not taken back");
        }
        assert_eq!(self.node.waits.len(), self.model.waits.len(), "number of waiters");
        for key in &self.shape.keys {
            let real: Vec<u64> = self.node.queues.claims.waiters(&id_of(key)).iter().map(|id| id.0).collect();
            let naive: Vec<u64> = self.model.claimers(key).map(|(wait, _)| wait.id).collect();
            assert_eq!(real, naive, "those who wait for {key}");
        }
    }
}
