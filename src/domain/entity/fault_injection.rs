//! Faults made on purpose, for tests and test servers. Each derived part can be broken, to prove
//! that a check notices it and that a rebuild repairs it.

use crate::domain::Entity;

/// What can be broken in an entity.
pub trait Breakable: Entity {
    /// The names of the derived parts.
    fn parts() -> Vec<&'static str>;

    /// Breaks a derived part, as a fault would. The primary data stays as it is.
    fn break_part(&mut self, part: &str);

    /// Breaks primary data, from which nothing can be rebuilt, if the type has a way to.
    fn break_beyond_repair(&mut self) {}
}

#[cfg(test)]
pub mod testing {
    //! Helpers of the tests of all types.

    use super::*;
    use crate::domain::{Change, Record};

    /// A time, unix ms.
    pub const NOW: u64 = 1_767_225_600_000;
    /// A fence.
    pub const FENCE: u64 = 1_767_225_600_000_000;

    /// The value that these events make.
    pub fn value<E: Entity>(events: impl IntoIterator<Item = E::Event>) -> Record<E> {
        let mut stored = Record::default();
        if E::WATCH_EVENTS_MAX > 0 {
            stored.apply(&Change::Born { revision: FENCE });
        }
        // Checked at the end: checking after each of many events would take long.
        events.into_iter().for_each(|event| drop(stored.apply_unchecked(&Change::Event(event))));
        stored
    }

    fn saved<E: Entity>(stored: &Record<E>) -> String {
        serde_json::to_string(stored).expect("a value can be written as JSON")
    }

    /// Asserts that checking the value in parts notices each break of each derived part, except
    /// those named in `sums`. A check in parts finds neither wrong sums over all elements nor
    /// entries of a derived part that should not be there.
    pub fn assert_breaks_show_in_parts<E: Breakable + Clone>(whole: &Record<E>, sums: &[&str]) {
        assert!(whole.check_part(0, 1).expect("it is sound").is_some_and(|part| part.next.is_some()), "it has parts");
        let is_missed = |part: &&str| {
            let mut stored = whole.clone();
            stored.state.break_part(part);
            stored.check_in_parts(10).is_ok()
        };
        let missed: Vec<_> = E::parts().into_iter().filter(is_missed).collect();
        assert_eq!(missed, sums, "{}: what is not noticed in parts", E::TYPE_NAME);
    }

    /// Asserts that each break of each part is noticed, and repaired without loss.
    pub fn assert_breaks_are_mended<E: Breakable + Clone>(whole: &Record<E>) {
        assert_eq!(whole.check(), Ok(()), "before anything is broken");
        for part in E::parts() {
            let mut stored = whole.clone();
            stored.state.break_part(part);
            assert!(stored.check().is_err(), "{}: nobody notices that '{part}' is broken", E::TYPE_NAME);
            stored.rebuild();
            assert_eq!(stored.check(), Ok(()), "{}: '{part}' stays broken", E::TYPE_NAME);
            assert_eq!(saved(&stored), saved(whole), "{}: '{part}' is mended and something is lost", E::TYPE_NAME);
            assert_eq!(stored.state.wakes_at(true), whole.state.wakes_at(true), "{}: '{part}'", E::TYPE_NAME);
        }
    }
}
