//! The series of a node, found by what they measure, and the alarms of late.

use super::series::{Alarm, Metric, Series};
use crate::domain::algorithm::xxhash::xxh64;
use crate::domain::Millis;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// A table has at most this many series, about 12 MB.
pub const SERIES_MAX: usize = 65_536;
/// So many bytes of a name are kept.
pub const NAME_MAX: usize = 128;
/// Alarms that are remembered after they began.
pub const PAST_MAX: usize = 256;

/// Whose series it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An agent.
    Agent,
    /// A tool of a cache.
    Tool,
    /// A lock.
    Lock,
    /// A flow.
    Flow,
}

/// An alarm and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// What it is.
    pub kind: Kind,
    /// Its name, at most [`NAME_MAX`] bytes of it.
    pub name: Box<[u8]>,
    /// What is measured.
    pub metric: Metric,
    /// What happened.
    pub alarm: Alarm,
    /// Whether it still is so.
    pub lasts: bool,
}

const NONE: u32 = u32::MAX;

struct Entry {
    series: Series,
    name: Box<[u8]>,
    kind: Kind,
    id: u64,
    /// Neighbours in the order of use.
    newer: u32,
    older: u32,
}

/// At most a number of series; the least recently used one makes room. A note is O(1).
pub struct Table {
    entries: Vec<Entry>,
    /// Only looked up, never walked.
    places: HashMap<u64, u32, BuildHasherDefault<Passed>>,
    newest: u32,
    oldest: u32,
    series_max: usize,
    past: VecDeque<Anomaly>,
}

impl Table {
    /// An empty table of at most this many series, 1 to [`SERIES_MAX`].
    pub fn new(series_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            places: HashMap::default(),
            newest: NONE,
            oldest: NONE,
            series_max: series_max.clamp(1, SERIES_MAX),
            past: VecDeque::new(),
        }
    }

    /// Adds a value to a series (see [`Series::note`]), which begins with it if there is none.
    /// Returns an alarm when it begins. O(1).
    pub fn note(&mut self, kind: Kind, metric: Metric, name: &[u8], value: u64, now: Millis) -> Option<Alarm> {
        let id = id_of(kind, metric, name);
        let place = match self.places.get(&id) {
            Some(place) => *place,
            None => self.make_place(kind, metric, name, id),
        };
        self.use_now(place);
        let entry = self.entries.get_mut(place as usize)?;
        let alarm = entry.series.note(value, now)?;
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(Anomaly { kind, name: entry.name.clone(), metric, alarm, lasts: false });
        Some(alarm)
    }

    /// The alarms that last, the furthest from normal first, and then those that began of late, the
    /// latest first; at most `limit`, of this name if one is given. O(series).
    pub fn anomalies(&self, name: Option<&[u8]>, limit: usize) -> Vec<Anomaly> {
        let is_wanted = |known: &[u8]| name.is_none_or(|name| cut(name) == known);
        let lasting = |entry: &Entry| {
            let alarm = entry.series.alarm().filter(|_| is_wanted(&entry.name))?;
            let (kind, metric) = (entry.kind, entry.series.metric());
            Some(Anomaly { kind, name: entry.name.clone(), metric, alarm, lasts: true })
        };
        let mut found: Vec<Anomaly> = self.entries.iter().filter_map(lasting).collect();
        found.sort_by(|one, other| {
            let order = other.alarm.score.unsigned_abs().cmp(&one.alarm.score.unsigned_abs());
            let order = order.then_with(|| one.name.cmp(&other.name));
            order.then_with(|| (one.kind, one.metric).cmp(&(other.kind, other.metric)))
        });
        let lasts = |past: &Anomaly| {
            let place = self.places.get(&id_of(past.kind, past.metric, &past.name));
            let entry = place.and_then(|place| self.entries.get(*place as usize));
            entry.and_then(|entry| entry.series.alarm()).is_some_and(|alarm| alarm.since == past.alarm.since)
        };
        let past = self.past.iter().rev().filter(|past| is_wanted(&past.name) && !lasts(past));
        found.extend(past.take(limit).cloned());
        found.truncate(limit);
        found
    }

    /// The number of series.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes held, about.
    pub fn memory_bytes(&self) -> usize {
        let names: usize = self.entries.iter().map(|entry| entry.name.len()).sum();
        let past: usize = self.past.iter().map(|past| size_of::<Anomaly>() + past.name.len()).sum();
        self.entries.capacity() * size_of::<Entry>() + self.places.capacity() * 13 + names + past
    }

    /// A place for a new series, at no end of the order of use yet.
    fn make_place(&mut self, kind: Kind, metric: Metric, name: &[u8], id: u64) -> u32 {
        let entry = Entry { series: Series::new(metric), name: cut(name).into(), kind, id, newer: NONE, older: NONE };
        let oldest = self.oldest;
        let place = if self.entries.len() < self.series_max {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            self.unlink(oldest);
            if let Some(old) = self.entries.get_mut(oldest as usize) {
                self.places.remove(&old.id);
                *old = entry;
            }
            oldest
        };
        self.places.insert(id, place);
        place
    }

    /// Makes an entry the newest.
    fn use_now(&mut self, place: u32) {
        if self.newest == place {
            return;
        }
        self.unlink(place);
        let newest = self.newest;
        if let Some(entry) = self.entries.get_mut(place as usize) {
            (entry.newer, entry.older) = (NONE, newest);
        }
        match self.entries.get_mut(newest as usize) {
            Some(entry) => entry.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    /// Takes an entry out of the order of use, if it is in it.
    fn unlink(&mut self, place: u32) {
        let Some(entry) = self.entries.get_mut(place as usize) else { return };
        let (newer, older) = (entry.newer, entry.older);
        (entry.newer, entry.older) = (NONE, NONE);
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None if self.newest == place => self.newest = older,
            None => {}
        }
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None if self.oldest == place => self.oldest = newer,
            None => {}
        }
    }
}

fn cut(name: &[u8]) -> &[u8] {
    name.get(..NAME_MAX).unwrap_or(name)
}

/// 64 bits of what is measured. Two series that share them would be one: it takes about 100 million
/// series for a chance of 1 in 4,000.
fn id_of(kind: Kind, metric: Metric, name: &[u8]) -> u64 {
    let which = kind as u64 * 16 + metric as u64 + 1;
    (xxh64(cut(name)) ^ which.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

/// Ids are mixed well already.
#[derive(Default)]
struct Passed(u64);

impl Hasher for Passed {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table in which the agent `slow` went from 100 ms to 1 s.
    fn with_slow_agent() -> Table {
        let mut table = Table::new(8);
        for n in 0..400 {
            let latency = if n < 300 { 90 + n * 7 % 30 } else { 1_000 };
            table.note(Kind::Agent, Metric::Latency, b"slow", latency, n * 1_000);
            table.note(Kind::Agent, Metric::Latency, b"well", 90 + n * 7 % 30, n * 1_000);
        }
        table
    }

    #[test]
    fn an_entry_says_who_and_since_when() {
        let found = with_slow_agent().anomalies(None, 10);
        let [one, spike] = found.as_slice() else { panic!("{found:?}") };
        assert!(!spike.lasts && spike.alarm.change == super::super::Change::Spike, "{spike:?}");
        assert!(one.lasts && &*one.name == b"slow" && one.metric == Metric::Latency);
        assert!(one.alarm.since.abs_diff(300_000) <= 2_000 && one.alarm.score > 3_000, "{one:?}");
        assert!((90..120).contains(&one.alarm.normal) && one.alarm.seen > 900, "{one:?}");
    }

    #[test]
    fn entries_can_be_limited_and_asked_for_by_name() {
        let table = with_slow_agent();
        assert_eq!(table.anomalies(Some(b"slow"), 1).len(), 1);
        assert_eq!(table.anomalies(Some(b"well"), 10).len(), 0);
        assert_eq!(table.anomalies(None, 0).len(), 0);
    }

    #[test]
    fn an_alarm_that_is_over_is_told_as_past() {
        let mut table = with_slow_agent();
        for n in 400..500 {
            table.note(Kind::Agent, Metric::Latency, b"slow", 90 + n * 7 % 30, n * 1_000);
        }
        let found = table.anomalies(None, 10);
        assert!(!found.is_empty() && found.iter().all(|one| !one.lasts), "{found:?}");
    }

    #[test]
    fn the_least_recently_used_series_makes_room() {
        let mut table = Table::new(3);
        let mut note = |name: &[u8]| {
            table.note(Kind::Tool, Metric::Hits, name, 1, 0);
            table.entries.iter().map(|entry| entry.name.to_vec()).collect::<Vec<_>>()
        };
        [b"a", b"b", b"c", b"a"].iter().for_each(|name| drop(note(*name)));
        let names = note(b"d");
        assert_eq!(names, [b"a".to_vec(), b"d".to_vec(), b"c".to_vec()]);
        let names = note(b"e");
        assert_eq!(names, [b"a".to_vec(), b"d".to_vec(), b"e".to_vec()]);
    }

    #[test]
    fn the_table_stays_bounded() {
        let mut table = Table::new(100);
        for n in 0..10_000_u32 {
            let name = [b'x'; 300].map(|byte| byte ^ n.to_le_bytes()[0] ^ n.to_le_bytes()[1]);
            table.note(Kind::Lock, Metric::Wait, &name[..(n % 300) as usize], 1, u64::from(n));
            table.note(Kind::Lock, Metric::Hold, &n.to_le_bytes(), 1, u64::from(n));
        }
        assert_eq!((table.len(), table.places.len()), (100, 100));
        assert!(table.memory_bytes() < 100 * 400, "{}", table.memory_bytes());
    }
}
