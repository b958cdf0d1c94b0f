//! How far looks have come in keys in which something has to wait: a lock, or a resource of a
//! session, may be on another node, or more clients are to be served than one round has room for.
//!
//! A look skips what has to wait, and the next look continues behind it, so it keeps nothing else
//! from being decided. A round that serves clients ends, too, and the next one goes on with those
//! that are left. At the end of a pass the key is left alone for a while. A stale place is
//! harmless: the next pass begins at the start.

use crate::command::host::Key;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::{KeyId, Millis};
use ahash::AHashMap;
use std::any::Any;

/// A pass that has found nothing to decide continues after this time, ms.
const GO_ON_MS: Millis = 10;

/// When to look again at a key in which something has to wait.
pub fn again_at(now: Millis, is_through: bool, has_done: bool) -> Millis {
    match (is_through, has_done) {
        (true, _) => now + crate::command::host::UNSURE_MS,
        (false, true) => now,
        (false, false) => now + GO_ON_MS,
    }
}

/// The place in each key at which its pass stopped, as its service names it. Each of these keys is
/// scheduled.
#[derive(Debug, Default)]
pub struct Passes(AHashMap<KeyId, Box<dyn Any>>);

impl Passes {
    /// The place behind which the pass of a key continues. It is taken out.
    pub fn take<P: 'static>(&mut self, key: Key) -> Option<P> {
        if self.0.is_empty() {
            return None;
        }
        let place = self.0.remove(&key.id())?;
        self.0.give_back_room();
        place.downcast().ok().map(|place| *place)
    }

    /// Whether a key has a pass.
    pub fn has(&self, key: Key) -> bool {
        !self.0.is_empty() && self.0.contains_key(&key.id())
    }

    /// The next look at this key continues behind this place.
    pub fn stop_at<P: 'static>(&mut self, key: Key, place: P) {
        self.0.insert(key.id(), Box::new(place));
    }

    /// This key has no pass.
    pub fn forget(&mut self, key: Key) {
        if !self.0.is_empty() {
            self.0.remove(&key.id());
            self.0.give_back_room();
        }
    }

    /// All passes begin anew.
    pub fn clear(&mut self) {
        self.0 = AHashMap::new();
    }
}
