//! Fencing tokens: numbers that only grow, so that a resource can refuse whoever comes late.
//!
//! After M. Kleppmann, "How to do distributed locking" (2016). A fence is `max(last + 1, unix time in microseconds)`, below 2^53 so
//! that every client can hold it. `last` is the largest fence this node has granted, loaded or applied: fences grow across release,
//! deletion of the key, restart, failover and a clock that steps backwards.

use super::{Error, Millis};

/// A fencing token. Zero is never granted.
pub type Fence = u64;

/// Every fence is below this.
pub const FENCE_END: Fence = 1 << 53;

/// The source of fences of one node, with the time of the command that is being decided.
///
/// A lock's grants are even and optimistic stamps are odd, so that a stamp can be told from a grant after its key is gone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fences {
    last: Fence,
    now_us: u64,
}

impl Fences {
    /// Takes the time that the next fences start from, unix microseconds.
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

    /// A new fence for a grant.
    pub fn grant(&mut self) -> Fence {
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

    fn next(&mut self, parity: u64) -> Fence {
        let least = (self.last + 1).max(self.now_us.min(FENCE_END - 4));
        self.last = least + ((least ^ parity) & 1);
        self.last
    }
}

/// Errs if a fence that comes from an unchecked payload cannot be one. Far below the end, so that no payload can use up the fences of
/// a node.
pub fn check_fence(fence: Fence) -> Result<(), Error> {
    if fence == 0 || fence >= FENCE_END / 2 {
        return Err(Error::usage(format!("payload holds the fence {fence}, allowed are 1 to {}", FENCE_END / 2 - 1)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_grow_when_the_clock_steps_back() {
        let mut fences = Fences::default();
        fences.set_now_us(1_000_000);
        let first = fences.grant();
        fences.set_now_us(10);
        let second = fences.grant();
        let stamp = fences.stamp();
        assert!(first >= 1_000_000 && second > first && stamp > second);
        assert!(!Fences::is_stamp(first) && !Fences::is_stamp(second) && Fences::is_stamp(stamp));
    }

    #[test]
    fn a_fence_seen_elsewhere_is_passed() {
        let mut fences = Fences::default();
        fences.observe(5_000);
        assert!(fences.grant() > 5_000);
        fences.observe(FENCE_END + 7);
        assert!(fences.grant() < FENCE_END);
    }
}
