//! How often each chunk was read in the last 1, 4 and 24 hours, and which were read most.
//!
//! A window is a ring of twelve steps: a read counts for at least eleven twelfths of the window and
//! at most for all of it. A chunk that was read within a day has 36 counters, any other none. The
//! reads of a step leave the window together with the step. Each step has a list of the chunks that
//! were read in it, so no search is needed.
//!
//! The order is updated in small parts. A read only notes that its chunk has to find its place, and
//! at most [`UNPLACED_MAX`] chunks wait for one. All of this is local to this node: it is neither
//! saved nor replicated.

use super::chunk::Serial;
use crate::domain::algorithm::allocator::{allocated, table_bytes, tree_bytes};
use crate::domain::algorithm::room::GiveBack;
use crate::domain::{looked, Millis, DUE_ALREADY};
use ahash::AHashMap;
use std::collections::BTreeSet;

/// A period over which reads are counted, always up to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the lengths
pub enum Window {
    OneHour,
    FourHours,
    OneDay,
}

impl Window {
    /// All of them, the shortest first.
    pub const ALL: [Window; 3] = [Window::OneHour, Window::FourHours, Window::OneDay];
    /// The words for them.
    pub const WORDS: [&'static str; 3] = ["1H", "4H", "24H"];

    /// Its length, ms.
    pub const fn length_ms(self) -> Millis {
        match self {
            Window::OneHour => 3_600_000,
            Window::FourHours => 4 * 3_600_000,
            Window::OneDay => 24 * 3_600_000,
        }
    }

    const fn step_ms(self) -> Millis {
        self.length_ms() / STEPS as Millis
    }
}

/// Steps of a window.
const STEPS: usize = 12;
/// Chunks that may wait for their place in the order.
const UNPLACED_MAX: usize = 64;
/// How many chunks whose reads leave a window are updated with each read.
const LEAVING_PER_READ: usize = 4;

/// The reads of one chunk in one window.
#[derive(Debug, Clone, Copy, Default)]
struct Ring {
    counts: [u32; STEPS],
    total: u32,
    /// The total under which the chunk stands in the order; 0 if it is not in the order.
    placed: u32,
    /// The newest step that is counted.
    step: u64,
}

impl Ring {
    /// Removes what has left the window at `step`.
    fn advance(&mut self, step: u64) {
        for past in (self.step + 1..=step).take(STEPS) {
            self.total -= std::mem::take(&mut self.counts[past as usize % STEPS]);
        }
        if step > self.step + STEPS as u64 {
            (self.counts, self.total) = ([0; STEPS], 0);
        }
        self.step = self.step.max(step);
    }

    /// Counts a read in `step`. True if it is the first one there.
    fn count(&mut self, step: u64) -> bool {
        self.advance(step);
        let count = &mut self.counts[step as usize % STEPS];
        if self.total < u32::MAX {
            *count += 1;
            self.total += 1;
        }
        *count == 1
    }
}

/// The reads of one chunk.
#[derive(Debug, Clone, Default)]
struct Reads {
    rings: [Ring; 3],
    is_unplaced: bool,
}

/// The chunks of one window.
#[derive(Debug, Clone, Default)]
struct Order {
    /// The current step.
    step: u64,
    /// The chunks that were read in each step of the window.
    read_in: [Vec<Serial>; STEPS],
    /// The chunks that were read in a step that has left the window.
    leaving: Vec<Serial>,
    by_total: BTreeSet<(u32, Serial)>,
}

impl Order {
    /// Moves on to `step`. The time may have stepped back.
    fn advance(&mut self, step: u64) {
        for past in (self.step + 1..=step).take(STEPS) {
            let mut left = std::mem::take(&mut self.read_in[past as usize % STEPS]);
            self.leaving.append(&mut left);
        }
        self.step = self.step.max(step);
    }
}

/// The reads of all chunks.
#[derive(Debug, Clone, Default)]
pub struct Popularity {
    reads: AHashMap<Serial, Box<Reads>>,
    orders: [Order; 3],
    unplaced: Vec<Serial>,
}

impl Popularity {
    /// Counts a read of a chunk.
    pub fn count(&mut self, serial: Serial, now: Millis) {
        self.slide(now, LEAVING_PER_READ);
        let reads = self.reads.entry(serial).or_default();
        for (ring, order) in reads.rings.iter_mut().zip(&mut self.orders) {
            if ring.count(order.step) {
                order.read_in[order.step as usize % STEPS].push(serial);
            }
        }
        if !std::mem::replace(&mut reads.is_unplaced, true) {
            self.unplaced.push(serial);
            if self.unplaced.len() >= UNPLACED_MAX {
                self.place_all();
            }
        }
    }

    /// Forgets a chunk that is gone.
    pub fn forget(&mut self, serial: Serial) {
        let Some(reads) = self.reads.remove(&serial) else { return };
        self.reads.give_back_room();
        for (ring, order) in reads.rings.iter().zip(&mut self.orders) {
            order.by_total.remove(&(ring.placed, serial));
        }
    }

    /// Moves the windows to `now`, updating at most `most` chunks of each. True if there are more.
    pub fn slide(&mut self, now: Millis, most: usize) -> bool {
        let mut is_behind = false;
        for (window, at) in Window::ALL.into_iter().zip(0..) {
            let order = &mut self.orders[at];
            order.advance(now / window.step_ms());
            for _ in 0..most.min(order.leaving.len()) {
                let Some(serial) = self.orders[at].leaving.pop() else { break };
                self.place(serial, at);
            }
            self.orders[at].leaving.give_back_room();
            is_behind |= !self.orders[at].leaving.is_empty();
        }
        is_behind
    }

    fn place_all(&mut self) {
        for serial in std::mem::take(&mut self.unplaced) {
            if let Some(reads) = self.reads.get_mut(&serial) {
                reads.is_unplaced = false;
                (0..Window::ALL.len()).for_each(|at| self.place(serial, at));
            }
        }
    }

    /// Puts a chunk into its place in the order of a window.
    fn place(&mut self, serial: Serial, at: usize) {
        looked(1);
        // It may be gone by now.
        let Some(reads) = self.reads.get_mut(&serial) else { return };
        let order = &mut self.orders[at];
        let ring = &mut reads.rings[at];
        ring.advance(order.step);
        if ring.placed != ring.total {
            order.by_total.remove(&(ring.placed, serial));
            if ring.total > 0 {
                order.by_total.insert((ring.total, serial));
            }
            ring.placed = ring.total;
        }
        if !reads.is_unplaced && reads.rings.iter().all(|ring| ring.total == 0 && ring.placed == 0) {
            self.reads.remove(&serial);
            self.reads.give_back_room();
        }
    }

    /// Brings everything up to date.
    pub fn settle(&mut self, now: Millis) {
        self.slide(now, usize::MAX);
        self.place_all();
    }

    /// The most read chunks with their reads, the most read first. Right as of the last
    /// [`settle`](Self::settle).
    pub fn most(&self, window: Window) -> impl Iterator<Item = (Serial, u32)> + '_ {
        self.orders[window as usize].by_total.iter().rev().map(|(total, serial)| (*serial, *total))
    }

    /// How often a chunk was read in each window.
    pub fn of(&self, serial: Serial, now: Millis) -> [u32; 3] {
        let reads = self.reads.get(&serial);
        std::array::from_fn(|at| {
            reads.map_or(0, |reads| {
                let mut ring = reads.rings[at];
                ring.advance(now / Window::ALL[at].step_ms());
                ring.total
            })
        })
    }

    /// When the next read leaves a window; `None` if there is none.
    pub fn slides_at(&self) -> Option<Millis> {
        if self.orders.iter().any(|order| !order.leaving.is_empty()) {
            return Some(DUE_ALREADY);
        }
        let step_ms = Window::OneHour.step_ms();
        (!self.reads.is_empty()).then(|| (self.orders[0].step + 1) * step_ms)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let lists = self.orders.iter().flat_map(|order| order.read_in.iter().chain([&order.leaving]));
        let trees = self.orders.iter().map(|order| tree_bytes(order.by_total.len(), size_of::<(u32, Serial)>()));
        table_bytes(self.reads.capacity(), size_of::<(Serial, Box<Reads>)>())
            + self.reads.len() * allocated(size_of::<Reads>())
            + lists.map(|list| allocated(list.capacity() * size_of::<Serial>())).sum::<usize>()
            + trees.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Millis = 60_000;
    /// At the edge of a step of every window.
    const START: Millis = 24 * 3_600_000 * 20_000;

    fn totals(popularity: &mut Popularity, serial: Serial, now: Millis) -> [u32; 3] {
        popularity.settle(now);
        let of = popularity.of(serial, now);
        for (window, total) in Window::ALL.into_iter().zip(of) {
            let listed = popularity.most(window).find(|(known, _)| *known == serial).map_or(0, |(_, total)| total);
            assert_eq!(listed, total, "{window:?}");
        }
        of
    }

    #[test]
    fn what_was_read_leaves_each_window_after_its_length_and_not_much_before() {
        let mut popularity = Popularity::default();
        popularity.count(1, START);
        popularity.count(1, START + 2 * MINUTE);
        assert_eq!(totals(&mut popularity, 1, START + 59 * MINUTE), [2, 2, 2]);
        assert_eq!(totals(&mut popularity, 1, START + 60 * MINUTE), [0, 2, 2]);
        assert_eq!(totals(&mut popularity, 1, START + 239 * MINUTE), [0, 2, 2]);
        assert_eq!(totals(&mut popularity, 1, START + 240 * MINUTE), [0, 0, 2]);
        assert_eq!(totals(&mut popularity, 1, START + 24 * 60 * MINUTE - 1), [0, 0, 2]);
        assert_eq!(totals(&mut popularity, 1, START + 24 * 60 * MINUTE), [0, 0, 0]);
        assert_eq!(popularity.reads.len(), 0, "nothing is kept of what nobody reads");
        assert_eq!(popularity.slides_at(), None);
    }

    /// Compares the reads of more than a day with a list of all of them.
    #[test]
    fn a_day_of_reads_is_counted_as_by_a_list_of_all_of_them() {
        let (mut popularity, mut all) = (Popularity::default(), Vec::new());
        let (mut seed, mut now) = (7, START);
        let mut random = |end: u64| crate::domain::algorithm::splitmix::next_random(&mut seed) % end;
        for read in 0..20_000u64 {
            // Most reads go to few chunks, and now and then nobody reads for hours.
            now += random(10_000) + if read % 997 == 0 { random(6 * 3_600_000) } else { 0 };
            let serial = random(8) * random(8);
            popularity.count(serial, now);
            all.push((now, serial));
            if read % 1000 == 0 {
                popularity.settle(now);
                for window in Window::ALL {
                    let step = window.step_ms();
                    let first = (now / step).saturating_sub(STEPS as u64 - 1) * step;
                    let mut counts = std::collections::BTreeMap::<Serial, u32>::new();
                    all.iter().filter(|(at, _)| *at >= first).for_each(|(_, s)| *counts.entry(*s).or_default() += 1);
                    let found: Vec<_> = popularity.most(window).collect();
                    assert!(found.is_sorted_by(|one, next| one.1 >= next.1), "{found:?}");
                    assert_eq!(found.into_iter().collect::<std::collections::BTreeMap<_, _>>(), counts, "{window:?}");
                }
            }
        }
    }

    #[test]
    fn the_windows_slide_in_small_parts_and_chunks_that_are_gone_are_not_listed() {
        let mut popularity = Popularity::default();
        (0..1000).for_each(|serial| popularity.count(serial, START));
        popularity.forget(7);
        let later = START + 61 * MINUTE;
        let mut rounds = 0;
        while popularity.slide(later, 100) {
            rounds += 1;
        }
        assert_eq!(rounds, 9, "1000 chunks in parts of 100");
        assert_eq!(popularity.most(Window::OneHour).count(), 0);
        popularity.settle(later);
        assert_eq!(popularity.most(Window::FourHours).count(), 999);
    }
}
