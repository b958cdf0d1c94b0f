//! Time.

/// Unix time or a duration, in milliseconds.
pub type Millis = u64;
