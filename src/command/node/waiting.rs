//! How a wait begins and ends.

use super::waits::{Principal, UndeliveredGrant, Unserved, Wait, OWNERSHIP_MS};
use super::Node;
use crate::command::host::{Host, Key};
use crate::command::reply::Reply;
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Error, KeyId, Millis, Service};
use crate::observe::trace::{Base, Stage};
use smallvec::SmallVec;

impl Node {
    /// Begins the wait `id`, on behalf of a registered agent or of nobody. The service has put the
    /// client into its queue.
    pub fn begin_wait(
        &mut self,
        id: WaiterId,
        service: Service,
        keys: SmallVec<[KeyId; 1]>,
        block_ms: Millis,
        principal: Option<Principal>,
        host: &mut impl Host,
    ) {
        let now = self.now();
        let deadline = (block_ms > 0).then(|| now.saturating_add(block_ms));
        if let Some(deadline) = deadline {
            self.schedule.limit_wait(id, deadline);
        }
        if host.is_clustered() {
            keys.iter().for_each(|key| self.schedule.check_owner(key.clone(), now + OWNERSHIP_MS));
        }
        self.metrics.of_mut(service).waits += 1;
        let (client, since_us) = (host.client(), self.clock.now_us());
        self.waits.insert(id, Wait { service, keys, client, since_us, deadline, principal });
        host.block(id);
    }

    /// What the client of a wait waits for is known, but it will be told of it later.
    pub fn leave_queues(&mut self, id: WaiterId) {
        if let Some(wait) = self.waits.waits.get(&id) {
            self.queues.remove(wait.service, id);
            self.watchers.remove(id);
        }
    }

    fn forget_wait(&mut self, id: WaiterId) -> Option<Wait> {
        let wait = self.waits.remove(id)?;
        if let Some(deadline) = wait.deadline {
            self.schedule.forget_wait(id, deadline);
        }
        self.watchers.remove(id);
        self.queues.remove(wait.service, id);
        Some(wait)
    }

    /// Ends the wait `id`: the client gets what it waited for.
    pub fn serve_wait(&mut self, id: WaiterId, undelivered: UndeliveredGrant, reply: Reply, host: &mut impl Host) {
        self.serving(|node| {
            let Some(wait) = node.forget_wait(id) else { return };
            node.trace_woken(&wait);
            let metrics = node.metrics.of_mut(wait.service);
            metrics.served += 1;
            metrics.wait_us.record(node.clock.now_us().saturating_sub(wait.since_us));
            node.waits.undelivered.insert(id, undelivered);
            host.answer(id, Ok(reply));
        });
    }

    /// Runs `serve`, which serves waiting clients. Trace and audit trail are told.
    pub fn serving<T>(&mut self, serve: impl FnOnce(&mut Self) -> T) -> T {
        self.following(Stage::Wake, serve)
    }

    /// Runs `work`, which follows from what a command asked for. Trace and audit trail are told.
    pub fn following<T>(&mut self, stage: Stage, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.trace.rebase(Base { stage, follows: true });
        let followed = std::mem::replace(&mut self.audit.follows, true);
        let done = work(self);
        self.audit.follows = followed;
        self.trace.rebase(before);
        done
    }

    fn trace_woken(&mut self, wait: &Wait) {
        if let Some(key) = wait.keys.first() {
            self.trace.woken(wait.client, &key.name);
        }
    }

    /// Tells the trace which clients watch `key`. They are looked at in the next round of the
    /// scheduler.
    pub fn trace_watchers(&mut self, key: Key) {
        if self.trace.is_open() {
            let watching = self.watchers.of(&key.id()).into_iter().filter_map(|id| self.waits.waits.get(&id));
            watching.for_each(|wait| self.trace.woken(wait.client, key.name));
        }
    }

    /// Ends the wait `id` with an error.
    pub fn refuse_wait(&mut self, id: WaiterId, error: Error, host: &mut impl Host) {
        if self.drop_wait(id, Unserved::Refused) {
            host.answer(id, Err(error));
        }
    }

    /// The reply to a wait that ends with nothing: nil, and no tasks or messages are an empty list.
    pub fn nothing_for(&self, id: WaiterId) -> Reply {
        if self.queues.is_for_list(id) {
            Reply::Array(Vec::new())
        } else {
            Reply::Nil
        }
    }

    /// Ends the wait `id` unserved. False if there is no such wait.
    ///
    /// It may have held up others, so its keys are scheduled for a look: the caller may be a
    /// callback that must not write.
    pub fn drop_wait(&mut self, id: WaiterId, how: Unserved) -> bool {
        let Some(wait) = self.forget_wait(id) else {
            return false;
        };
        let metrics = self.metrics.of_mut(wait.service);
        match how {
            Unserved::TimedOut => metrics.timeouts += 1,
            Unserved::Gone => metrics.cancelled += 1,
            Unserved::Refused => self.trace_woken(&wait),
        }
        for key in wait.keys {
            if !self.queues.may_be_held_up(&key) {
                continue;
            }
            match how {
                // Behind the other waits that end now: one look is enough for all of them.
                Unserved::TimedOut => self.schedule.look_later(key, self.clock.now(), true),
                Unserved::Gone | Unserved::Refused => self.look_at_soon(key),
            }
        }
        true
    }
}
