//! What the samples of all types share.

use ltmc::domain::entity::idempotency::{Answer, Answered, Forgets, Remembered, RequestId};
use ltmc::domain::{AgentBinding, Bytes, Change, Entity, Record};

pub const NOW: u64 = 1_767_225_600_000;
pub const FENCE: u64 = 1_767_225_600_000_000;

/// The samples in the golden files of one type, by the names of the files.
pub struct Samples<E: Entity> {
    /// Whole values.
    pub snapshots: Vec<(&'static str, Record<E>)>,
    /// Changes.
    pub changes: Vec<(&'static str, Vec<Change<E::Event>>)>,
}

pub fn answered<V>(id: &[u8], answer: Answer) -> Change<V> {
    answered_for("ada", id, answer, Forgets::default())
}

pub fn answered_for<V>(owner: &str, id: &[u8], answer: Answer, forgets: Forgets) -> Change<V> {
    let request = RequestId { owner: Bytes::from(owner), id: Bytes::from(id), digest: 0x0123_4567_89ab_cdef };
    Change::Answered(Box::new(Answered { what: Remembered { request, answer, at: NOW + 7 }, forgets }))
}

/// The request `req-0` was taken back.
pub fn forgotten<V>() -> Change<V> {
    Change::Forgotten { owner: Bytes::from("ada"), id: Bytes::from("req-0") }
}

/// The binding of what an agent holds to its incarnation.
pub fn bound<V>(agent: &str, epoch: u64) -> Change<V> {
    Change::Bound(AgentBinding { registry: Bytes::from("{team}:agents"), agent: Bytes::from(agent), epoch })
}

/// The value that these changes make.
pub fn value<E: Entity>(changes: &[Change<E::Event>]) -> Record<E> {
    let mut stored = Record::default();
    for change in changes {
        stored.apply(change);
    }
    stored
}

/// Bytes that are the same in every run (xorshift, G. Marsaglia 2003).
pub fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    }
}
