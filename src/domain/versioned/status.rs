//! The statuses of a piece of work, and the transitions between them.

use serde::{Deserialize, Serialize};

/// The statuses of a session. A context is always active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// At work.
    #[default]
    Active,
    /// Put aside; its state can be read and written.
    Suspended,
    /// On its way to another agent.
    Migrating,
    /// The server stopped without notice while it was at work. A participant has to look at
    /// it and resume it.
    Recovering,
    /// Ended. Nothing changes any more until it is removed.
    Terminated,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 5] =
        [Status::Active, Status::Suspended, Status::Migrating, Status::Recovering, Status::Terminated];

    /// The words of [`ALL`](Self::ALL), in upper case as the parser needs them.
    pub const WORDS: [&'static str; 5] = ["ACTIVE", "SUSPENDED", "MIGRATING", "RECOVERING", "TERMINATED"];

    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Suspended => "suspended",
            Status::Migrating => "migrating",
            Status::Recovering => "recovering",
            Status::Terminated => "terminated",
        }
    }

    /// The statuses that `LTMC.SESSION.STATUS` can set. Only a restart sets recovering.
    ///
    /// ```text
    /// active     -> suspended migrating terminated
    /// suspended  -> active    migrating terminated
    /// migrating  -> active    suspended terminated
    /// recovering -> active    suspended terminated
    /// terminated ->
    /// ```
    pub const fn next(self) -> &'static [Status] {
        use Status::{Active, Migrating, Suspended, Terminated};
        match self {
            Status::Active => &[Suspended, Migrating, Terminated],
            Status::Suspended => &[Active, Migrating, Terminated],
            Status::Migrating => &[Active, Suspended, Terminated],
            Status::Recovering => &[Active, Suspended, Terminated],
            Status::Terminated => &[],
        }
    }

    /// Whether it was at work, so that somebody has to look at it after a stop without notice.
    pub const fn is_at_work(self) -> bool {
        matches!(self, Status::Active | Status::Migrating)
    }
}
