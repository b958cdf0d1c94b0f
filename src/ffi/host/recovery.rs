//! What a host does after a panic.

use super::RedisHost;
use crate::command::host::Key;
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Error, KeyId, Service};
use crate::ffi::contain::contain;
use crate::ffi::state;

impl RedisHost {
    /// After a panic. The keys are checked and sent whole, since a change may have been applied and
    /// not sent. A client that had begun to wait gets an answer.
    pub fn recover(&mut self, service: Option<Service>, mut keys: Vec<KeyId>) {
        keys.extend(self.opened.iter().map(|opened| KeyId::new(opened.db, opened.name.bytes())));
        keys.sort();
        keys.dedup();
        contain("the repair after an internal error", || {
            state::with_node(|node| {
                let keys: Vec<Key> = keys.iter().map(Key::from).collect();
                crate::command::engine::repair::after_panic(node, self, service, &keys);
                if let Some(waiter) = self.blocked {
                    node.refuse_wait(waiter, Error::internal(), self);
                }
                self.finish();
            })
        });
    }

    /// The waiter id of this command's client, if it waits.
    pub fn blocked(&self) -> Option<WaiterId> {
        self.blocked
    }
}
