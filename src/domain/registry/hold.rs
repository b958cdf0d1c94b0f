//! The hold on deaths.

use crate::domain::Millis;

/// The hold on deaths: so many agents are silent that it is not they who are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hold {
    /// Since when, unix ms.
    pub since: Millis,
    /// It ends when fewer than this share of the agents is silent, percent.
    pub share_percent: u8,
    /// So much longer, in percent of its time to live, may an agent be silent.
    pub extra_percent: u32,
}

/// A hold that is over, whose suspects have a little more time to be heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PastHold {
    /// Since when, unix ms.
    pub ended_at: Millis,
    /// What it allowed.
    pub extra_percent: u32,
}
