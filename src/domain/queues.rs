//! All who wait for something of this node, by what they wait for. One of the places that name every service.

use super::{KeyId, Service};
use crate::domain::cache::queue::FillQueues;
use crate::domain::flow::queue::{CompletionWaiters, TaskWaiters};
use crate::domain::lock::queue::LockQueues;
use crate::domain::mail::queue::MailQueues;
use crate::domain::queue::rank::WaiterId;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::registry::queue::ClaimQueues;

/// Those who wait for the same kind of thing.
pub trait Queue {
    /// Whether nobody waits.
    fn is_empty(&self) -> bool;

    /// How many wait for `key`.
    fn waiting_for(&self, key: &KeyId) -> usize;

    /// Those who wait for `key`, who comes first at the front.
    fn waiters(&self, key: &KeyId) -> Vec<WaiterId>;

    /// The keys that are waited for.
    fn keys(&self) -> Box<dyn Iterator<Item = &KeyId> + '_>;

    /// Takes a waiter out, if it is one of these.
    fn remove(&mut self, id: WaiterId);

    /// Whether somebody who waits keeps those behind it from what they could have.
    fn holds_up(&self) -> bool {
        false
    }
}

impl<W: InLine> Queue for Lines<W> {
    fn is_empty(&self) -> bool {
        Lines::is_empty(self)
    }

    fn waiting_for(&self, key: &KeyId) -> usize {
        Lines::waiting_for(self, key)
    }

    fn waiters(&self, key: &KeyId) -> Vec<WaiterId> {
        Lines::waiters(self, key)
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &KeyId> + '_> {
        Box::new(Lines::keys(self))
    }

    fn remove(&mut self, id: WaiterId) {
        Lines::remove(self, id);
    }
}

impl Queue for LockQueues {
    fn is_empty(&self) -> bool {
        LockQueues::is_empty(self)
    }

    fn waiting_for(&self, key: &KeyId) -> usize {
        LockQueues::waiting_for(self, key)
    }

    fn waiters(&self, key: &KeyId) -> Vec<WaiterId> {
        self.queue(key).map(|(rank, _)| rank.waiter()).collect()
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &KeyId> + '_> {
        Box::new(LockQueues::keys(self))
    }

    fn remove(&mut self, id: WaiterId) {
        LockQueues::remove(self, id);
    }

    fn holds_up(&self) -> bool {
        true
    }
}

/// The queues of a node.
#[derive(Debug, Default)]
pub struct Queues {
    /// Who waits for which lock.
    pub locks: LockQueues,
    /// Who waits for a claim on an agent of which registry.
    pub claims: ClaimQueues,
    /// Who waits for which answer of which cache.
    pub fills: FillQueues,
    /// Who waits for messages of which mailbox.
    pub mails: MailQueues,
    /// Who waits for tasks of which flow.
    pub tasks: TaskWaiters,
    /// Who waits for the ends of which tasks and flows.
    pub completions: CompletionWaiters,
}

impl Queues {
    fn all(&self) -> [(Service, &dyn Queue); 6] {
        [
            (Service::Lock, &self.locks),
            (Service::Registry, &self.claims),
            (Service::Cache, &self.fills),
            (Service::Mail, &self.mails),
            (Service::Flow, &self.tasks),
            (Service::Flow, &self.completions),
        ]
    }

    fn all_mut(&mut self) -> [(Service, &mut dyn Queue); 6] {
        [
            (Service::Lock, &mut self.locks),
            (Service::Registry, &mut self.claims),
            (Service::Cache, &mut self.fills),
            (Service::Mail, &mut self.mails),
            (Service::Flow, &mut self.tasks),
            (Service::Flow, &mut self.completions),
        ]
    }

    fn of(&self, service: Service) -> impl Iterator<Item = &dyn Queue> {
        self.all().into_iter().filter(move |(of, _)| *of == service).map(|(_, queue)| queue)
    }

    /// Whether nobody waits for anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all().into_iter().all(|(_, queue)| queue.is_empty())
    }

    /// Whether somebody waits for something of a key.
    pub fn is_waited_for(&self, key: &KeyId) -> bool {
        self.all().into_iter().any(|(_, queue)| !queue.is_empty() && queue.waiting_for(key) > 0)
    }

    /// Whether somebody waits for what a service has under a key.
    pub fn waits_for(&self, service: Service, key: &KeyId) -> bool {
        self.of(service).any(|queue| !queue.is_empty() && queue.waiting_for(key) > 0)
    }

    /// Those who wait for what a service has under a key.
    pub fn waiters(&self, service: Service, key: &KeyId) -> Vec<WaiterId> {
        self.of(service).flat_map(|queue| queue.waiters(key)).collect()
    }

    /// Whether somebody who waits for a key may have been held up by one that waited before it.
    pub fn may_be_held_up(&self, key: &KeyId) -> bool {
        self.all().into_iter().any(|(_, queue)| queue.holds_up() && queue.waiting_for(key) > 0)
    }

    /// The keys that are waited for.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.all().into_iter().flat_map(|(_, queue)| queue.keys())
    }

    /// Takes out who waits for something of a service.
    pub fn remove(&mut self, service: Service, id: WaiterId) {
        self.all_mut().into_iter().filter(|(of, _)| *of == service).for_each(|(_, queue)| queue.remove(id));
    }
}
