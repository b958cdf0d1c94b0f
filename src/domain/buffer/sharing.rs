//! Contents that several chunks share: how many do, and how far an equal one is looked for.

use super::chunk::Chunk;

/// How many contents with the same hash are compared. More with the same hash and other bytes are
/// made on purpose, and are kept unshared.
pub const COMPARED_MAX: usize = 8;

/// How many chunks with the same hash are looked at for one that has not expired.
pub const LOOKED_AT_MAX: usize = 64;

/// How many sealed chunks have a content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sharing {
    /// All of them.
    pub chunks: u32,
    /// Those that are held.
    held: u32,
}

impl Sharing {
    /// Of a content that only this chunk has.
    pub fn of(chunk: &Chunk) -> Self {
        let mut sharing = Self::default();
        sharing.count(chunk, true);
        sharing
    }

    /// Counts a chunk in or out.
    pub fn count(&mut self, chunk: &Chunk, comes: bool) {
        let add = |total: &mut u32, more: u32| *total = if comes { *total + more } else { total.saturating_sub(more) };
        add(&mut self.chunks, chunk.is_shareable().into());
        add(&mut self.held, (chunk.is_shareable() && chunk.is_held()).into());
    }

    /// Whether there are any.
    pub fn sharers(self) -> Sharers {
        Sharers { any: self.chunks > 0, held: self.held > 0 }
    }
}

/// Whether other chunks share the content in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sharers {
    /// Any chunk.
    pub any: bool,
    /// A held one.
    pub held: bool,
}
