//! What the integers in replies count or measure.

/// What an integer counts or measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number that only grows and tells which of two came first: of a grant, an agent's epoch, a
    /// ticket, a message.
    Fence,
    /// The version of a value.
    Version,
    /// The revision of a key, for `LTMC.WATCH`.
    Revision,
    /// How many.
    Count,
    /// Bytes.
    Bytes,
    /// A duration.
    Ms,
    /// A point in time.
    UnixMs,
    /// A short duration.
    Us,
    /// 0 to 100.
    Percent,
    /// 0 to 1000 as a rule. More than all is possible.
    Permille,
    /// 0 or 1.
    Flag,
    /// The number of something that has no better unit.
    Number,
    /// The higher, the sooner.
    Priority,
    /// Penalty points of flap damping.
    Points,
    /// The unit of the setting. Its name tells it.
    Setting,
}

impl Unit {
    /// All units.
    pub const ALL: [Unit; 15] = [
        Unit::Fence,
        Unit::Version,
        Unit::Revision,
        Unit::Count,
        Unit::Bytes,
        Unit::Ms,
        Unit::UnixMs,
        Unit::Us,
        Unit::Percent,
        Unit::Permille,
        Unit::Flag,
        Unit::Number,
        Unit::Priority,
        Unit::Points,
        Unit::Setting,
    ];

    /// The word in documentation.
    pub const fn word(self) -> &'static str {
        match self {
            Unit::Fence => "fence",
            Unit::Version => "version",
            Unit::Revision => "revision",
            Unit::Count => "count",
            Unit::Bytes => "bytes",
            Unit::Ms => "ms",
            Unit::UnixMs => "unix ms",
            Unit::Us => "us",
            Unit::Percent => "percent",
            Unit::Permille => "permille",
            Unit::Flag => "0 or 1",
            Unit::Number => "number",
            Unit::Priority => "priority",
            Unit::Points => "points",
            Unit::Setting => "unit of the setting",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_words_of_their_own() {
        for (at, unit) in Unit::ALL.iter().enumerate() {
            assert!(Unit::ALL[..at].iter().all(|other| other.word() != unit.word()), "{}", unit.word());
        }
    }
}
