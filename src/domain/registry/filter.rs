//! The requirements of a caller on an agent.

use super::agent::{Agent, Status};
use super::time::View;
use super::Registry;
use crate::domain::value::capability::Requirement;
use crate::domain::{looked, Bytes};

/// A set of statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Statuses(u8);

impl Statuses {
    /// None.
    pub const NONE: Statuses = Statuses(0);

    /// This set and `status`.
    pub fn with(self, status: Status) -> Self {
        Statuses(self.0 | 1 << status as u8)
    }

    /// Whether `status` is in it.
    pub fn has(self, status: Status) -> bool {
        self.0 & 1 << status as u8 != 0
    }
}

/// A value at a path of `META`, as its keys in the index: as JSON, or as a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MetaWanted(pub [Option<Bytes>; 2]);

/// The requirements on an agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    /// It has all these capabilities.
    pub caps: Vec<Requirement>,
    /// It has one of these capabilities, if any are given.
    pub any_caps: Vec<Requirement>,
    /// It has all these tags.
    pub tags: Vec<Bytes>,
    /// It has one of these statuses; if none is given, it is active or idle.
    pub statuses: Option<Statuses>,
    /// It has this value in its metadata.
    pub meta: Option<MetaWanted>,
    /// It can take at least this many more claims.
    pub free_min: u32,
    /// It is none of these, sorted.
    pub excluded: Vec<Bytes>,
}

impl Filter {
    /// No requirements but those on every offered agent.
    pub const ANY: Filter = Filter {
        caps: Vec::new(),
        any_caps: Vec::new(),
        tags: Vec::new(),
        statuses: None,
        meta: None,
        free_min: 0,
        excluded: Vec::new(),
    };

    /// How many capabilities and tags it names, and how many agents, which are quicker to compare.
    pub fn labels(&self) -> usize {
        self.caps.len() + self.any_caps.len() + self.tags.len() + self.excluded.len() / 16
    }

    /// Checks what the indexes do not contain: time, capacity and exclusion.
    pub fn admits(&self, view: &View, registry: &Registry, agent: &Agent) -> bool {
        looked(1);
        let status = view.status(registry, agent);
        let has_status = match self.statuses {
            Some(statuses) => statuses.has(status),
            None => matches!(status, Status::Active | Status::Idle),
        };
        has_status && agent.free() >= self.free_min && self.excluded.binary_search(&agent.id).is_err()
    }
}
