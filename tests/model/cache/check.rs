//! What has to hold after every step, and whenever the scheduler is at rest.

use super::world::{key, World};
use crate::original::Original;
use ltmc::domain::cache::Cache;
use ltmc::domain::Entity;
use ltmc::snapshot::encode_snapshot;

impl World {
    /// What holds after every step.
    pub fn check(&mut self) {
        let at = key();
        self.original.iter().for_each(Original::check);
        self.forget_if_gone();
        let (Some(stored), Some(copy)) = (self.host.peek::<Cache>(&at), self.host.copied::<Cache>(&at)) else {
            assert!(self.host.keys.is_empty() && self.host.replica.is_empty(), "there is only one of cache and copy");
            return;
        };
        assert_eq!((stored.check(), copy.check()), (Ok(()), Ok(())));
        assert!(encode_snapshot(stored) == encode_snapshot(copy), "the replica differs: {stored:#?} {copy:#?}");
        let cache = &stored.state;
        let now = self.now();
        let mut shown: Vec<u64> =
            cache.answers_from(0).filter_map(|entry| entry.answer.as_ref()).map(|answer| answer.id).collect();
        let gone = |id: &u64| {
            self.model.answers.iter().find(|answer| answer.id == *id).is_none_or(|answer| answer.is_gone(now))
        };
        shown.retain(|id| !gone(id));
        let mut expected: Vec<u64> =
            self.model.answers.iter().filter(|answer| !answer.is_gone(now)).map(|answer| answer.id).collect();
        expected.sort_unstable();
        assert_eq!(shown, expected, "the answers");
        for ticket in &self.model.tickets {
            assert!(cache.of_ticket(ticket.ticket).is_some(), "{ticket:?} is not known");
        }
    }

    /// When the scheduler is at rest: nothing has expired, no client waits in vain, and all is
    /// within its bounds.
    pub fn check_rest(&mut self) {
        let now = self.now();
        for wait in &self.waits {
            assert!(wait.deadline.is_none_or(|end| end > now), "overdue: {wait:?}");
            assert!(self.model.look(&wait.get, now).is_none(), "an answer is there: {wait:?}");
            assert!(self.model.flight(wait.get.call, now).is_some(), "nobody computes it: {wait:?}");
        }
        assert_eq!(self.node.waits.len(), self.waits.len(), "number of waiters");
        let at = key();
        let Some(stored) = self.host.peek::<Cache>(&at) else { return };
        let cache = &stored.state;
        assert!(!cache.has_dying() && !cache.is_too_large(), "something is left to do");
        assert_eq!(cache.count(), self.model.answers.len(), "what is over is gone");
        assert_eq!(cache.tickets(), self.model.tickets.len(), "tickets that are over are gone");
        assert!(!self.model.answers.iter().any(|answer| answer.is_gone(now)));
        if cache.count() == 0 && cache.tickets() == 0 {
            assert_eq!(cache.bytes(), 0, "nothing is left");
            assert!(cache.labels().is_empty(), "labels are left");
            assert!(cache.memory_bytes() < 4096 + 64 * 1024, "{}", cache.memory_bytes());
        }
    }
}
