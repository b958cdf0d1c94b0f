//! The origin of a version.

use super::history::Version;
use crate::domain::{Bytes, Millis};

/// When and by whom a version was made.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Its number.
    pub version: Version,
    /// When, unix ms.
    pub at: Millis,
    /// The agent; empty if none was named.
    pub by: &'a Bytes,
}
