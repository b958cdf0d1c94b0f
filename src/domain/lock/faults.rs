//! What can be broken in a lock.

use super::Lock;
use crate::domain::entity::fault_injection::Breakable;

impl Breakable for Lock {
    fn parts() -> Vec<&'static str> {
        vec!["occupancy", "stamps", "stamp-paths", "segments", "bytes", "owners", "ends"]
    }

    fn break_part(&mut self, part: &str) {
        match part {
            "stamps" => self.stamps.count += 1,
            "stamp-paths" => self.stamps.break_paths(),
            "segments" => self.segments += 1,
            "bytes" => self.grant_bytes += 1,
            "owners" | "ends" => self.grants.break_index(part == "owners"),
            _ => self.occupancy = Default::default(),
        }
    }

    fn break_beyond_repair(&mut self) {
        let fences: Vec<_> = self.grants.iter().map(|grant| grant.fence).collect();
        fences.into_iter().for_each(|fence| self.grants.update(fence, |grant| grant.levels = 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::fault_injection::{
        testing::assert_breaks_are_mended, testing::assert_breaks_show_in_parts, testing::value, testing::FENCE,
        testing::NOW,
    };
    use crate::domain::lock::{Extra, Grant, LockEvent, Mode, Path};
    use crate::domain::{Bytes, Record};

    /// A lock with `grants` grants, each on a path of its own, some of them stamps.
    pub fn lock(grants: u64) -> Record<Lock> {
        value((0..grants).map(|n| {
            let path = Path::parse(format!("src/part-{}/file-{n}", n % 100).as_bytes()).expect("a path");
            let mode = [Mode::Exclusive, Mode::Shared, Mode::Optimistic][n as usize % 3];
            let extra = Some(Box::new(Extra { path, ..Extra::default() }));
            let owner = Bytes::from(format!("agent-{}", n % 7).as_str());
            let (fence, ends_at) = (FENCE + 2 * n + u64::from(mode == Mode::Optimistic), NOW + n);
            LockEvent::Granted(Grant { fence, ends_at, since: NOW, owner, levels: 1, mode, client: 0, extra })
        }))
    }

    #[test]
    fn each_break_of_a_lock_is_noticed_and_mended() {
        assert_breaks_are_mended(&lock(40));
    }

    #[test]
    fn breaks_of_a_large_lock_show_in_its_parts() {
        assert_breaks_show_in_parts(&lock(40), &["stamps", "segments", "bytes"]);
    }

    #[test]
    fn what_is_broken_in_its_grants_stays_so() {
        let mut broken = lock(40);
        broken.state.break_beyond_repair();
        broken.rebuild();
        assert!(broken.check().is_err());
    }
}
