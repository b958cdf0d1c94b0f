//! How far one has come in keys of which something has to wait: a lock, or what a session owns, may be on another node.
//!
//! What has to wait is passed over, and the next look goes on behind it, so that it keeps nothing else from being decided. At the end of a pass the
//! key is left alone for a while. A place that is stale is harmless: the next pass begins at the start.

use crate::command::host::Key;
use crate::domain::{KeyId, Millis};
use ahash::AHashMap;
use std::any::Any;

/// After so long a pass goes on if it has found nothing that can be decided, ms.
const GO_ON_MS: Millis = 10;

/// When to look again at a key in which something has to wait.
pub fn again_at(now: Millis, is_through: bool, has_done: bool) -> Millis {
    match (is_through, has_done) {
        (true, _) => now + crate::command::host::UNSURE_MS,
        (false, true) => now,
        (false, false) => now + GO_ON_MS,
    }
}

/// The places in all keys that one is not through with, each as its service names it. Each of these keys is due.
#[derive(Debug, Default)]
pub struct Passes(AHashMap<KeyId, Box<dyn Any>>);

impl Passes {
    /// The place behind which to go on in a key. It is forgotten by that.
    pub fn take<P: 'static>(&mut self, key: Key) -> Option<P> {
        if self.0.is_empty() {
            return None;
        }
        self.0.remove(&key.id())?.downcast().ok().map(|place| *place)
    }

    /// Goes on behind this place in a key.
    pub fn stop_at<P: 'static>(&mut self, key: Key, place: P) {
        self.0.insert(key.id(), Box::new(place));
    }

    /// There is nothing of that kind in a key.
    pub fn forget(&mut self, key: Key) {
        if !self.0.is_empty() {
            self.0.remove(&key.id());
        }
    }

    /// All passes begin anew.
    pub fn clear(&mut self) {
        self.0 = AHashMap::new();
    }
}
