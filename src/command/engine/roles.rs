//! Who may run a command: a column of the command table.

/// Roles, as a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles(pub u8);

#[allow(missing_docs)] // described in `command::acl`
impl Roles {
    pub const AGENT: Roles = Roles(1);
    pub const COORDINATOR: Roles = Roles(2);
    pub const OBSERVER: Roles = Roles(4);
    pub const OPERATOR: Roles = Roles(8);
    pub const AUDITOR: Roles = Roles(16);

    const NAMES: [(Roles, &'static str); 5] = [
        (Roles::AGENT, "agent"),
        (Roles::COORDINATOR, "coordinator"),
        (Roles::OBSERVER, "observer"),
        (Roles::OPERATOR, "operator"),
        (Roles::AUDITOR, "auditor"),
    ];

    /// Who works in a team.
    pub const TEAM: Roles = Roles::AGENT.and(Roles::COORDINATOR);
    /// Who decides for others: in a team, or on the whole server.
    pub const LEADERS: Roles = Roles::COORDINATOR.and(Roles::OPERATOR);
    /// A team, and an operator in its place: for what ends something or gives it back.
    pub const ENDERS: Roles = Roles::TEAM.and(Roles::OPERATOR);
    /// Who may read what is in keys.
    pub const READERS: Roles = Roles::ENDERS.and(Roles::OBSERVER);
    /// Who sees more than one team's keys.
    pub const WATCHERS: Roles = Roles::OBSERVER.and(Roles::OPERATOR);
    /// All of them.
    pub const ALL: Roles = Roles::READERS.and(Roles::AUDITOR);

    /// The union of both.
    pub const fn and(self, other: Roles) -> Roles {
        Roles(self.0 | other.0)
    }

    /// Whether it contains all of `other`.
    pub const fn has(self, other: Roles) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Roles::NAMES.into_iter().filter(move |(role, _)| self.has(*role)).map(|(_, name)| name)
    }
}
