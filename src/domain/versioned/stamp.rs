//! Who made a version.

use super::history::Version;
use crate::domain::{Bytes, Millis};

/// By whom and when a version was made.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Its number.
    pub version: Version,
    /// When, unix ms.
    pub at: Millis,
    /// By whom; empty if nobody was named.
    pub by: &'a Bytes,
}
