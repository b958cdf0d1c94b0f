//! Faults made on purpose, for tests and for servers that tests run on: each part that is derived can be broken, so that it can be proved
//! that a check notices it and that a rebuild mends it.

use super::Entity;

/// What can be broken in an entity.
pub trait Breakable: Entity {
    /// The parts that are derived, by name.
    fn parts() -> Vec<&'static str>;

    /// Breaks one of them, as a fault would. What it is derived from stays as it is.
    fn break_part(&mut self, part: &str);

    /// Breaks what nothing is left to rebuild from, if the type has a way to.
    fn break_beyond_repair(&mut self) {}
}

#[cfg(test)]
pub mod testing {
    //! What the tests of all types share.

    use super::*;
    use crate::domain::{Change, Stored};

    /// A time, unix ms.
    pub const NOW: u64 = 1_767_225_600_000;
    /// A fence.
    pub const FENCE: u64 = 1_767_225_600_000_000;

    /// The value that these events make.
    pub fn value<E: Entity>(events: impl IntoIterator<Item = E::Event>) -> Stored<E> {
        let mut stored = Stored::default();
        if E::WATCH_EVENTS_MAX > 0 {
            stored.apply(&Change::Born { revision: FENCE });
        }
        // Checked at the end: a check after each of many events would take long.
        events.into_iter().for_each(|event| stored.apply_unchecked(&Change::Event(event)));
        stored
    }

    fn saved<E: Entity>(stored: &Stored<E>) -> String {
        serde_json::to_string(stored).expect("a value can be written as JSON")
    }

    /// Asserts that each break of each part is noticed, and mended with nothing lost.
    pub fn assert_breaks_are_mended<E: Breakable + Clone>(whole: &Stored<E>) {
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

    fn show_time<E: Entity>(what: &str, stored: &Stored<E>) {
        let started = std::time::Instant::now();
        assert_eq!(stored.check(), Ok(()));
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        let effort = stored.state.check_effort();
        println!("{what:<40} {effort:>8} {ms:>8.2} ms {:>8.2} us for each", ms * 1000.0 / effort as f64);
    }

    /// Prints what `ltmc.check-elements-max` is chosen by:
    /// `cargo test --release --no-default-features --lib how_long -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn how_long_a_check_takes() {
        use crate::domain::{buffer, cache, flow, lock, mail, registry, versioned};
        show_time("lock, 10,000 grants on paths", &lock::broken::tests::lock(10_000));
        show_time("registry, 10,000 agents", &registry::broken::tests::registry(10_000));
        show_time("session, 10,000 fields, 100 versions", &versioned::broken::tests::session(10_000, 100));
        show_time("session, 100 fields, 10,000 versions", &versioned::broken::tests::session(100, 10_000));
        show_time("context, 10,000 members, 100 versions", &versioned::broken::tests::context(10_000, 100));
        show_time("context, 100 members, 10,000 versions", &versioned::broken::tests::context(100, 10_000));
        show_time("cache, 10,000 answers", &cache::broken::tests::cache(10_000, 0));
        show_time("cache, 10,000 answers with 10 labels", &cache::broken::tests::cache(10_000, 10));
        show_time("buffer, 10,000 chunks of 100 bytes", &buffer::broken::tests::buffer(10_000, 100));
        show_time("buffer, 100 chunks of 1 MiB", &buffer::broken::tests::buffer(100, 1 << 20));
        show_time("mailbox, 10,000 messages", &mail::broken::tests::mail(10_000, 1));
        show_time("mailbox, 1,000 messages for 100 agents", &mail::broken::tests::mail(1_000, 100));
        show_time("flow, 10,000 tasks", &flow::broken::tests::flow(10_000));
    }
}
