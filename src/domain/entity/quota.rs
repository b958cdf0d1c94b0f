//! What of the things that an agent holds is counted against a quota.
//!
//! An entity says how much of its kind an agent holds in one key ([`Entity::amount`]). The sum over
//! all keys is kept beside the keys in the [index of holdings].
//!
//! [`Entity::amount`]: super::Entity::amount
//! [index of holdings]: crate::command::node::holdings

/// A kind of thing that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quota {
    /// Grants and stamps of locks.
    Locks,
    /// Claimed tasks.
    Tasks,
    /// Messages that were received and are not acknowledged.
    Messages,
    /// The bytes of chunks that are pinned, retained or not sealed yet.
    ChunkBytes,
}

impl Quota {
    /// How many kinds there are.
    pub const COUNT: usize = 4;

    /// What is counted, in messages.
    pub const fn words(self) -> &'static str {
        match self {
            Quota::Locks => "locks",
            Quota::Tasks => "tasks",
            Quota::Messages => "unacknowledged messages",
            Quota::ChunkBytes => "bytes of chunks",
        }
    }
}
