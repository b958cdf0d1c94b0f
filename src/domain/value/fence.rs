//! Fencing tokens: numbers that only grow, so that a resource can refuse late writers.
//!
//! After M. Kleppmann, "How to do distributed locking" (2016). A fence is `max(last + 1, unix time
//! in microseconds)`, below 2^53 so that every client can represent it. `last` is the largest fence
//! this node has granted, loaded or applied: fences grow across release, deletion of the key,
//! restart, failover and a clock that steps backwards.

use crate::domain::{Code, Error, Millis};

/// A fencing token. Zero is never granted.
pub type Fence = u64;

/// Every fence is below this.
pub const FENCE_END: Fence = 1 << 53;
/// A clock beyond this, the year 2112, is wrong and is not followed. So a wrong clock uses up at
/// most half of the fences.
const CLOCK_END: Fence = FENCE_END / 2;
/// Fences kept for clients that already wait, each of which takes a few. When no others are left,
/// nothing begins that could take a fence.
const FENCES_KEPT: Fence = 1 << 32;
/// How far beyond the clock a fence from a client may be, microseconds: a day.
const AHEAD_US_MAX: u64 = 24 * 3600 * 1_000_000;

/// The source of fences of one node, with the time of the command that is being decided.
///
/// A lock's grants are even and optimistic stamps are odd, so that a stamp can be told from a grant
/// after its key is gone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    last: Fence,
    /// The largest revision of a key with a log that this node has made, loaded or applied.
    last_revision: u64,
    now_us: u64,
}

impl Clock {
    /// Sets the time that the next fences start from, unix microseconds.
    pub fn set_now_us(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    /// The time of the command that is being decided, unix milliseconds.
    pub fn now(&self) -> Millis {
        self.now_us / 1000
    }

    /// The same time, unix microseconds.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The same time, as far as it is followed.
    fn clock(&self) -> Fence {
        self.now_us.min(CLOCK_END)
    }

    /// Learns of a fence that was granted elsewhere or before.
    pub fn observe(&mut self, fence: Fence) {
        if fence < FENCE_END {
            self.last = self.last.max(fence);
        }
    }

    /// The largest fence seen.
    pub fn last(&self) -> Fence {
        self.last
    }

    /// Learns of a revision of a key with a log.
    pub fn observe_revision(&mut self, revision: u64) {
        if revision < FENCE_END {
            self.last_revision = self.last_revision.max(revision);
        }
    }

    /// The revision that a new key starts from: above those of its earlier lives.
    pub fn birth(&self) -> u64 {
        self.last.max(self.last_revision).max(self.clock())
    }

    /// Errs if a fence from a client is more than a day beyond the clock: this node would lose the
    /// fences between. A fence that the node itself has granted or seen is always accepted.
    pub fn check_handed_in(&self, fence: Fence) -> Result<(), Error> {
        let most = self.last.max(self.clock() + AHEAD_US_MAX);
        if fence <= most {
            return Ok(());
        }
        Err(Error::usage(format!("payload holds the fence {fence}, allowed are 1 to {most}: a day beyond the clock")))
    }

    /// Errs if a revision from a client is more than a day beyond the one that the next key
    /// would start from.
    pub fn check_revision(&self, revision: u64) -> Result<(), Error> {
        let most = self.birth() + AHEAD_US_MAX;
        if revision <= most {
            return Ok(());
        }
        Err(Error::usage(format!(
            "payload holds the revision {revision}, allowed are up to {most}: a day beyond the clock"
        )))
    }

    /// Errs if only the fences kept for waiting clients are left.
    pub fn check_left(&self) -> Result<(), Error> {
        if FENCE_END - self.last > FENCES_KEPT {
            return Ok(());
        }
        let text = format!("the fences are used up: the last one is {}, and all are below {FENCE_END}", self.last);
        Err(Error::new(Code::Limit, text))
    }

    /// A new fence for a grant.
    pub fn next_fence(&mut self) -> Fence {
        self.next(0)
    }

    /// A new fence for an optimistic stamp.
    pub fn stamp(&mut self) -> Fence {
        self.next(1)
    }

    /// Whether `fence` was given to an optimistic stamp.
    pub fn is_stamp(fence: Fence) -> bool {
        fence & 1 == 1
    }

    /// Panics rather than return a fence that is out of bounds or was granted before.
    /// [`check_left`](Self::check_left) prevents that.
    fn next(&mut self, parity: u64) -> Fence {
        let least = (self.last + 1).max(self.clock());
        let fence = least + ((least ^ parity) & 1);
        assert!(fence < FENCE_END, "the fences are used up");
        self.last = fence;
        fence
    }
}

/// Errs if a fence from a payload cannot be one that a node has granted.
pub fn check_fence(fence: Fence) -> Result<(), Error> {
    if (1..FENCE_END).contains(&fence) {
        return Ok(());
    }
    Err(Error::usage(format!("payload holds the fence {fence}, allowed are 1 to {}", FENCE_END - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that has seen the fence `last` and whose clock is at `now_us`.
    fn clock(last: Fence, now_us: u64) -> Clock {
        let mut clock = Clock::default();
        clock.observe(last);
        clock.set_now_us(now_us);
        clock
    }

    #[test]
    fn fences_grow_when_the_clock_steps_back() {
        let mut clock = Clock::default();
        clock.set_now_us(1_000_000);
        let first = clock.next_fence();
        clock.set_now_us(10);
        let second = clock.next_fence();
        let stamp = clock.stamp();
        assert!(first >= 1_000_000 && second > first && stamp > second);
        assert!(!Clock::is_stamp(first) && !Clock::is_stamp(second) && Clock::is_stamp(stamp));
    }

    #[test]
    fn a_fence_is_the_next_of_its_kind_after_the_last_one_and_from_the_clock_on() {
        assert_eq!([clock(10, 0).next_fence(), clock(10, 0).stamp()], [12, 11]);
        assert_eq!([clock(11, 0).next_fence(), clock(11, 0).stamp()], [12, 13]);
        assert_eq!([clock(10, 20).next_fence(), clock(10, 20).stamp()], [20, 21]);
        assert_eq!([clock(10, 21).next_fence(), clock(10, 21).stamp()], [22, 21]);
        let mut clock = clock(10, 1_999);
        assert_eq!((clock.now(), clock.now_us(), clock.last()), (1, 1_999, 10));
        assert_eq!([clock.stamp(), clock.stamp(), clock.next_fence(), clock.last()], [1_999, 2_001, 2_002, 2_002]);
    }

    #[test]
    fn a_fence_seen_elsewhere_is_passed() {
        let mut clock = Clock::default();
        clock.observe(5_000);
        clock.observe(4_000);
        assert_eq!(clock.last(), 5_000);
        assert_eq!(clock.next_fence(), 5_002);
        clock.observe(FENCE_END - 1);
        assert_eq!(clock.last(), FENCE_END - 1, "whatever a file or a primary says");
    }

    #[test]
    fn what_is_no_fence_is_not_learned() {
        for beyond in [FENCE_END, FENCE_END + 7, u64::MAX] {
            assert_eq!(clock(beyond, 0).last(), 0);
        }
    }

    #[test]
    fn a_payload_may_hold_all_that_can_be_given_and_nothing_else() {
        for fence in [1, 2, FENCE_END / 2, FENCE_END - 1] {
            assert_eq!(check_fence(fence), Ok(()));
        }
        for fence in [0, FENCE_END, FENCE_END + 1, u64::MAX] {
            let error = check_fence(fence).expect_err("it is none");
            assert!(error.text.contains(&format!("the fence {fence}, allowed are 1 to {}", FENCE_END - 1)), "{error}");
        }
        assert_eq!(check_fence(clock(FENCE_END - 3, 0).next_fence()), Ok(()));
        assert_eq!(check_fence(clock(FENCE_END - 2, 0).stamp()), Ok(()));
    }

    #[test]
    fn a_client_hands_in_nothing_that_is_more_than_a_day_beyond_the_clock() {
        let day = 86_400_000_000;
        let now = 1_767_225_600_000_000;
        assert_eq!(clock(0, now).check_handed_in(now + day), Ok(()));
        let error = clock(0, now).check_handed_in(now + day + 1).expect_err("it is beyond");
        assert!(error.text.contains(&format!("allowed are 1 to {}", now + day)), "{error}");
        // The node accepts what it has seen.
        assert_eq!(clock(now + 2 * day, now).check_handed_in(now + 2 * day), Ok(()));
        assert!(clock(now + 2 * day, now).check_handed_in(now + 2 * day + 1).is_err());
        assert!(clock(now, u64::MAX).check_handed_in(CLOCK_END + day + 1).is_err(), "a clock that is wrong");
    }

    #[test]
    fn a_clock_that_is_far_off_leaves_half_of_the_fences() {
        for now_us in [CLOCK_END, CLOCK_END + 1, FENCE_END, u64::MAX] {
            let mut clock = clock(5, now_us);
            assert_eq!((clock.birth(), clock.next_fence(), clock.next_fence()), (CLOCK_END, CLOCK_END, CLOCK_END + 2));
            assert_eq!(clock.check_left(), Ok(()));
            assert_eq!(clock.now_us(), now_us, "leases go by it all the same");
        }
        assert_eq!(clock(5, CLOCK_END - 2).next_fence(), CLOCK_END - 2);
    }

    #[test]
    fn a_key_is_born_above_all_that_was_given() {
        assert_eq!((clock(30, 20).birth(), clock(30, 40).birth()), (30, 40));
        let mut clock = clock(30, 40);
        for (revision, birth) in [(35, 40), (50, 50), (45, 50), (FENCE_END, 50), (FENCE_END - 1, FENCE_END - 1)] {
            clock.observe_revision(revision);
            assert_eq!((clock.birth(), clock.last()), (birth, 30), "after {revision}");
        }
    }

    #[test]
    fn a_client_hands_in_no_revision_that_is_more_than_a_day_beyond_the_next_birth() {
        let day = 86_400_000_000;
        for (last, now) in [(30, 40), (40, 30)] {
            assert_eq!(clock(last, now).check_revision(40 + day), Ok(()));
            let error = clock(last, now).check_revision(41 + day).expect_err("it is beyond");
            assert!(error.text.contains(&format!("revision {}, allowed are up to {}", 41 + day, 40 + day)), "{error}");
        }
    }

    #[test]
    fn nothing_begins_when_only_those_are_left_that_are_kept() {
        assert_eq!(clock(FENCE_END - FENCES_KEPT - 1, 0).check_left(), Ok(()));
        for last in [FENCE_END - FENCES_KEPT, FENCE_END - 1] {
            let error = clock(last, 0).check_left().expect_err("they are used up");
            assert_eq!(error.code, Code::Limit);
            assert!(error.text.contains(&last.to_string()), "{error}");
        }
    }

    #[test]
    fn at_the_end_no_number_is_given_twice_or_beyond_it() {
        assert_eq!(clock(FENCE_END - 4, 0).next_fence(), FENCE_END - 2);
        assert_eq!(clock(FENCE_END - 3, 0).stamp(), FENCE_END - 1);
        for (last, parity) in [(FENCE_END - 2, 0), (FENCE_END - 1, 0), (FENCE_END - 1, 1)] {
            let mut clock = clock(last, 0);
            let given = std::panic::catch_unwind(move || clock.next(parity));
            assert!(given.is_err(), "after {last}: {given:?}");
        }
    }
}
