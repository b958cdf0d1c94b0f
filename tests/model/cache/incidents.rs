//! What happens to a server beside the commands of its clients.

use super::naive::Naive;
use super::world::{key, World};
use crate::driver::Timed;
use ltmc::command::engine::repair::repair;
use ltmc::command::node::waits::Unserved;
use ltmc::domain::cache::Cache;
use ltmc::domain::entity::record::Payload;
use ltmc::domain::queue::rank::WaiterId;
use ltmc::snapshot::{decode, encode_snapshot, frame};

impl World {
    /// Something happens beside the commands of clients.
    pub fn incident(&mut self) {
        match self.rng.below(11) {
            0..5 => {
                let ids: Vec<u64> = self.clients.keys().copied().collect();
                let client = *self.rng.pick(&ids);
                self.disconnect(client);
            }
            5 => {
                self.history.note("DEL".into());
                self.host.delete(&key());
                self.forget();
                self.take_facts();
            }
            6 => {
                let Some(id) = self.waits.first().map(|wait| wait.id) else { return };
                self.history.note(format!("CLIENT UNBLOCK of waiter {id}"));
                assert!(self.node.drop_wait(WaiterId(id), Unserved::TimedOut));
                let wait = self.waits.remove(0);
                self.clients.insert(wait.client, None);
            }
            7 => {
                self.history.note("LTMC.REPAIR".into());
                let at = key();
                let found = repair(&mut self.host, (&at).into(), true).expect("a cache or nothing");
                assert!(found.is_none_or(|found| found.was_broken.is_none()));
            }
            8 => self.restart(),
            9 => self.replace_by_copy(),
            _ => {
                self.history.note("the replica takes over".into());
                self.promote();
            }
        }
    }

    /// A key that holds nothing is gone. The next cache of its name begins anew.
    pub fn forget_if_gone(&mut self) {
        if self.host.peek::<Cache>(&key()).is_none() {
            assert!(self.model.is_empty(), "the cache is gone: {:?}", self.model);
            self.forget();
        }
    }

    pub fn forget(&mut self) {
        let (last_fence, called_off) = (self.last_fence, std::mem::take(&mut self.model.called_off));
        self.model = Naive { called_off, ..Naive::default() };
        self.last_fence = last_fence;
    }

    /// What a process knows of uses is gone with it: then all answers are equal.
    pub fn forget_uses(&mut self) {
        self.model.answers.iter_mut().for_each(|answer| answer.used = 0);
    }

    fn copy(&self) -> Option<ltmc::domain::Record<Cache>> {
        let bytes = encode_snapshot(self.host.peek::<Cache>(&key())?);
        let read = frame::read(&bytes).expect("our own frame");
        let Ok(Payload::Snapshot(again)) = decode::<Cache>(&read) else { panic!("our own snapshot cannot be read") };
        assert!(encode_snapshot(&again) == bytes, "loading and saving changes something");
        Some(again)
    }

    /// The server stops and starts again.
    fn restart(&mut self) {
        self.history.note("restart".into());
        let (one, other) = (self.copy(), self.copy());
        self.begin_anew();
        if let (Some(one), Some(other)) = (one, other) {
            let at = key();
            ltmc::command::engine::replay::note_value(&mut self.node, (&at).into(), &one);
            self.host.restore(&at, one, other);
            self.host.gone.clear();
        }
        self.node.keys_loaded();
        self.settle();
    }

    /// A copy of the cache replaces it. Nobody has a ticket of the copy.
    fn replace_by_copy(&mut self) {
        let at = key();
        let Some(original) = self.host.replace_by_copy::<Cache>(&at) else { return };
        self.history.note("COPY c copy, RENAME copy c".into());
        self.original = Some(original);
        self.model.tickets.clear();
        // What was invalidated and not removed yet is not in the model.
        self.model.stays |= self.host.peek::<Cache>(&at).is_some_and(|copy| copy.state.count() == 0);
        self.node.key_changed(at);
        self.take_facts();
        self.settle();
    }

    fn begin_anew(&mut self) {
        self.set_time(self.now_us() + 1000);
        self.boot();
        self.node.clock.observe(self.last_fence);
        self.forget_uses();
    }

    /// The replica's copy becomes the value.
    fn promote(&mut self) {
        let next = self.copy();
        self.begin_anew();
        if let Some(next) = next {
            let at = key();
            self.host.promote(&at, next);
            let stored = self.host.peek::<Cache>(&at).expect("just promoted");
            ltmc::command::engine::replay::note_value(&mut self.node, (&at).into(), stored);
        }
        self.node.role_changed(false);
        self.settle();
    }
}
