//! What can be broken in a cache.

use super::Cache;
use crate::domain::entity::fault_injection::Breakable;

impl Breakable for Cache {
    fn parts() -> Vec<&'static str> {
        let own = ["calls", "hashes", "rests", "free", "answers", "tickets", "ends", "due", "placed", "places"];
        let labels = ["labels", "label-users", "label-answers", "label-rests", "label-free", "label-idle"];
        let counts = ["label-texts", "label-uses", "label-bytes", "bytes", "private"];
        own.into_iter().chain(labels).chain(counts).collect()
    }

    fn break_part(&mut self, part: &str) {
        let entries = self.slots.values_mut();
        match part {
            "calls" => self.by_hash.clear(),
            "hashes" => entries.for_each(|entry| entry.hash += 1),
            "rests" => drop(self.by_hash.insert(7, 0)),
            "free" => self.slots.break_free(),
            "answers" => self.answers.values_mut().for_each(|slot| *slot += 1),
            "tickets" => self.tickets.values_mut().for_each(|slot| *slot += 1),
            "ends" => drop(self.ends.pop_first()),
            "due" => entries.for_each(|entry| entry.due ^= 1),
            "placed" => drop(self.placed.pop()),
            "places" => entries.for_each(|entry| entry.place += 1),
            "bytes" => self.entry_bytes += 1,
            "private" => self.private += 1,
            part => self.labels.break_part(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::algorithm::eviction::Policy;
    use crate::domain::cache::entry::{Flight, NEVER};
    use crate::domain::cache::labels::{Label, LabelKind};
    use crate::domain::cache::{CacheEvent, Call, Config, Filled, Target};
    use crate::domain::entity::fault_injection::{
        testing::assert_breaks_are_mended, testing::assert_breaks_show_in_parts, testing::value, testing::FENCE,
        testing::NOW,
    };
    use crate::domain::{Blob, Bytes, Change, Record};

    fn call(n: u64) -> Call {
        let scope = if n % 10 == 9 { &b"ada"[..] } else { b"" };
        Call::new(format!("tool-{}", n % 5).as_bytes(), scope, format!("[{n}]").as_bytes(), false)
    }

    /// A cache of `answers` answers with `labels` labels each, and half as many tickets.
    pub fn cache(answers: u64, labels: u64) -> Record<Cache> {
        let config = Config { bytes_max: 1 << 40, entries_max: 1 << 40, ttl_ms: None, policy: Policy::Gdsf };
        let configured = CacheEvent::Configured { config, stays: true };
        let put = move |n: u64| {
            let label = |at: u64| Label::new(LabelKind::Dep, format!("file-{:06}", (n + at) % 1000).as_bytes());
            let mut labels: Vec<Label> = (0..labels).map(label).collect();
            labels.sort();
            CacheEvent::Put(Box::new(Filled {
                call: call(n),
                value: Blob::from(&b"a result"[..]),
                at: NOW,
                fresh_until: if n % 2 == 0 { NOW + 60_000 } else { NEVER },
                gone_at: if n % 2 == 0 { NOW + 90_000 } else { NEVER },
                cost_ms: 10,
                agent: Bytes::from("ada"),
                is_negative: false,
                labels,
                ticket: None,
            }))
        };
        let ticketed = |n: u64| {
            let (ticket, agent) = (FENCE + 2 * n, Bytes::from("bob"));
            let (since, ends_at) = (NOW, NOW + 30_000);
            let (connection, waited_until, is_orphaned) = (None, None, false);
            let flight = Flight { ticket, agent, since, ends_at, connection, waited_until, is_orphaned };
            CacheEvent::Ticketed { call: call(n), flight }
        };
        let tickets = (answers / 2..answers + 1).map(ticketed);
        value([configured].into_iter().chain((0..answers).map(put)).chain(tickets))
    }

    #[test]
    fn each_break_of_a_cache_is_noticed_and_mended() {
        assert_breaks_are_mended(&cache(20, 3));
        assert_breaks_are_mended(&cache(200, 3));
    }

    #[test]
    fn breaks_of_a_large_cache_show_in_its_parts() {
        let labels =
            ["label-users", "label-rests", "label-free", "label-idle", "label-texts", "label-uses", "label-bytes"];
        let sums = [&["rests", "free"], &labels[..], &["bytes", "private"]].concat();
        assert_breaks_show_in_parts(&cache(300, 3), &sums);
    }

    #[test]
    fn what_is_being_called_off_is_known_to_none_of_its_labels() {
        let mut half = cache(20, 3);
        let what = Target::Labels(vec![Label::new(LabelKind::Tool, b"tool-1")]);
        let event = CacheEvent::Invalidated { at: NOW, what, is_soft: false, fence: FENCE + 1_000, batch: 1 };
        half.apply_unchecked(&Change::Event(event));
        assert!(half.state.has_dying());
        assert_breaks_are_mended(&half);
    }
}
