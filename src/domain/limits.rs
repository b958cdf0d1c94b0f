//! Bounds that are not settings: what a single argument or entity may at most be.
//!
//! Bounds that an operator may want to move are settings, see `command::settings`.

use super::Millis;

/// Longest owner, agent or request id, bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest `META` text of a lock, bytes.
pub const LOCK_META_BYTES_MAX: usize = 4096;
/// Longest lock path, bytes, after normalisation.
pub const PATH_BYTES_MAX: usize = 1024;
/// Deepest lock path, segments.
pub const PATH_DEPTH_MAX: usize = 64;
/// Most keys of one `LTMC.MLOCK`.
pub const MLOCK_KEYS_MAX: usize = 128;
/// Longest lease, wait or time to live: 100 years, ms. Keeps every sum of now and a duration far from overflow.
pub const DURATION_MS_MAX: Millis = 100 * 365 * 24 * 3600 * 1000;
/// Highest `PRIORITY`.
pub const PRIORITY_MAX: u64 = 1000;
/// Highest `LIMIT` of a counted lock.
pub const LOCK_LIMIT_MAX: u64 = 1_000_000;
/// Most levels one owner may take of one reentrant lock.
pub const LOCK_LEVELS_MAX: u32 = 1_000_000;
/// Request ids that an entity remembers for `REQID`.
pub const REQUESTS_MAX: usize = 64;
/// Largest payload that `LTMC.APPLY` and a load accept, bytes.
pub const PAYLOAD_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Panics on one key after which it is quarantined.
pub const PANICS_PER_KEY_MAX: u8 = 3;
/// Most edges that `LTMC.LOCK.GRAPH` lists.
pub const GRAPH_EDGES_MAX: usize = 10_000;
