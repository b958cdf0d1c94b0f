//! The order in which waiting clients are served, in every service.
//!
//! Highest priority first, then first come, and a long wait raises the priority so that nobody
//! starves. With linear ageing the order of two waiters never changes while they wait: a unit of
//! priority is a head start of `ageing_ms`, and the one with the earlier *virtual start* (start -
//! priority * ageing_ms) is served first. So a waiter's place is a fixed key in an ordered map.

use crate::domain::Millis;

/// The waiter with the smaller virtual start is served first: `start` (unix ms), with a head start
/// of `ageing_ms` for each unit of `priority`.
pub fn virtual_start(start: Millis, priority: u64, ageing_ms: Millis) -> i64 {
    let head_start = priority.saturating_mul(ageing_ms).min(i64::MAX as u64) as i64;
    (start as i64).saturating_sub(head_start)
}

/// Names a waiter for as long as the process lives; never reused, unlike Redis' handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// Who is served before whom: smaller ranks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    class: Class,
    virtual_start: i64,
    waiter: WaiterId,
}

/// All waiters of a higher class are served before those of a lower one, whatever their priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Goes first, since others cannot move before it does: a conversion of what is already held,
    /// or a waiter that would deadlock behind the queue but not in front of it.
    Ahead,
    /// Everyone else.
    Usual,
}

impl Rank {
    /// The rank of a waiter that starts to wait at `start` (unix ms) with `priority`.
    pub fn new(class: Class, start: Millis, priority: u64, ageing_ms: Millis, waiter: WaiterId) -> Self {
        Self { class, virtual_start: virtual_start(start, priority, ageing_ms), waiter }
    }

    /// The waiter that has this rank.
    pub fn waiter(&self) -> WaiterId {
        self.waiter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_is_a_head_start_and_age_catches_up() {
        let rank = |start, priority, id| Rank::new(Class::Usual, start, priority, 1000, WaiterId(id));
        assert!(rank(100, 1, 2) < rank(50, 0, 1), "priority 1 overtakes one who is 50 ms older");
        assert!(rank(5000, 1, 2) > rank(50, 0, 1), "but not one who is 5 s older");
        assert!(rank(50, 0, 1) < rank(50, 0, 2), "first come at the same time");
        assert!(Rank::new(Class::Ahead, 9000, 0, 1000, WaiterId(9)) < rank(0, 1000, 1));
    }
}
