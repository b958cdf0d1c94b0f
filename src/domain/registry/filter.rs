//! What a caller wants of an agent.

use super::agent::{Agent, Status};
use super::time::View;
use super::Registry;
use crate::domain::value::capability::Requirement;
use crate::domain::Bytes;

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

/// A value at a path of `META`, as the keys that it is indexed under: as JSON, or as a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MetaWanted(pub [Option<Bytes>; 2]);

/// Everything that has to hold of an agent that is offered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    /// It can do all of this.
    pub caps: Vec<Requirement>,
    /// It can do something of this, if anything is named.
    pub any_caps: Vec<Requirement>,
    /// It has all these tags.
    pub tags: Vec<Bytes>,
    /// It has one of these statuses; if none is said it is active or idle.
    pub statuses: Option<Statuses>,
    /// It has this in its metadata.
    pub meta: Option<MetaWanted>,
    /// It can take at least so many claims more.
    pub free_min: u32,
    /// It is none of these, in order.
    pub excluded: Vec<Bytes>,
}

impl Filter {
    /// Nothing but what holds for everyone who is offered.
    pub const ANY: Filter = Filter {
        caps: Vec::new(),
        any_caps: Vec::new(),
        tags: Vec::new(),
        statuses: None,
        meta: None,
        free_min: 0,
        excluded: Vec::new(),
    };

    /// What the indexes cannot say of an agent that they offer: time, capacity and who is excluded.
    pub fn admits(&self, view: &View, registry: &Registry, agent: &Agent) -> bool {
        let status = view.status(registry, agent);
        let has_status = match self.statuses {
            Some(statuses) => statuses.has(status),
            None => matches!(status, Status::Active | Status::Idle),
        };
        has_status && agent.free() >= self.free_min && self.excluded.binary_search(&agent.id).is_err()
    }
}
