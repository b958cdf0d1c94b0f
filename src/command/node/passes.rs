//! How far one has come in keys of which something has to wait: a lock, or what a session owns, may be on another node.
//!
//! What has to wait is passed over, and the next look goes on behind it, so that it keeps nothing else from being decided. At the end of a pass the
//! key is left alone for a while. A place that is stale is harmless: the next pass begins at the start.

use crate::command::host::Key;
use crate::domain::flow::index::Alarm;
use crate::domain::{Bytes, KeyId, Millis};
use ahash::AHashMap;

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

/// Where one stands in a key.
#[derive(Debug)]
enum Place {
    Alarm(Alarm),
    Resource(Bytes),
}

/// The places in all keys that one is not through with. Each of these keys is due.
#[derive(Debug, Default)]
pub struct Passes(AHashMap<KeyId, Place>);

impl Passes {
    /// The alarm of a flow behind which to go on. It is forgotten by that.
    pub fn take_alarm(&mut self, flow: Key) -> Option<Alarm> {
        match self.take(flow)? {
            Place::Alarm(alarm) => Some(alarm),
            Place::Resource(_) => None,
        }
    }

    /// The resource of a session behind which to go on. It is forgotten by that.
    pub fn take_resource(&mut self, session: Key) -> Option<Bytes> {
        match self.take(session)? {
            Place::Resource(resource) => Some(resource),
            Place::Alarm(_) => None,
        }
    }

    fn take(&mut self, key: Key) -> Option<Place> {
        if self.0.is_empty() {
            return None;
        }
        self.0.remove(&key.id())
    }

    /// Goes on behind this alarm of a flow.
    pub fn stop_at_alarm(&mut self, flow: Key, alarm: Alarm) {
        self.0.insert(flow.id(), Place::Alarm(alarm));
    }

    /// Goes on behind this resource of a session.
    pub fn stop_at_resource(&mut self, session: Key, resource: Bytes) {
        self.0.insert(session.id(), Place::Resource(resource));
    }

    /// There is nothing of that kind in a key.
    pub fn forget(&mut self, key: Key) {
        self.take(key);
    }

    /// All passes begin anew.
    pub fn clear(&mut self) {
        self.0 = AHashMap::new();
    }
}
