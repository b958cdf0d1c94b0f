//! The hold on deaths.

use crate::domain::Millis;

/// The hold on deaths: so many agents are silent that the network is at fault, not the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hold {
    /// When it began, unix ms.
    pub since: Millis,
    /// It ends when less than this share of the agents is silent, percent.
    pub share_percent: u8,
    /// How much longer an agent may be silent, in percent of its time to live.
    pub extra_percent: u32,
}

/// A hold that has ended, whose suspects have a little more time to be heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PastHold {
    /// When it ended, unix ms.
    pub ended_at: Millis,
    /// How much longer an agent could be silent, in percent of its time to live.
    pub extra_percent: u32,
}
