//! Time.

/// Unix time or a duration, in milliseconds.
pub type Millis = u64;

/// When an entity wakes that has work due already. It is no deadline, so the scheduler is not late
/// with it.
pub const DUE_ALREADY: Millis = 1;

/// A span in which this process could hear nobody: it was stopped or swapped out, one piece of work
/// took long, or the system's clock was set forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gap {
    /// When it began, unix ms.
    pub began: Millis,
    /// When it ended, unix ms.
    pub ended: Millis,
}

/// So many gaps are remembered.
const GAPS: usize = 4;

/// The last gaps: nobody is blamed for silence in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gaps([Gap; GAPS]);

impl Gaps {
    /// None.
    pub const NONE: Gaps = Gaps([Gap { began: 0, ended: 0 }; GAPS]);

    /// Remembers a gap that has just ended, in place of the oldest.
    pub fn add(&mut self, gap: Gap) {
        self.0.rotate_left(1);
        self.0[GAPS - 1] = gap;
    }

    /// When a sign of life is overdue that was to come between `from` and `due`. A gap between
    /// these does not count. After one that took half of that span or more, the whole span begins
    /// anew: whoever waited for an answer of this process may have to connect again.
    pub fn postpone(&self, from: Millis, due: Millis) -> Millis {
        let span = due.saturating_sub(from);
        self.0.iter().fold(due, |due, gap| {
            let began = gap.began.max(from);
            if gap.ended <= began || began >= due {
                return due;
            }
            let length = gap.ended - began;
            let anew = if length >= span / 2 { gap.ended.saturating_add(span) } else { 0 };
            due.saturating_add(length).max(anew)
        })
    }

    /// When a lease of `span` that ends at `end` ends instead, because its holder could say nothing
    /// for half of it or more: it begins anew at the end of that gap. `None` if there was no such
    /// gap.
    pub fn renewed(&self, end: Millis, span: Millis) -> Option<Millis> {
        let from = end.saturating_sub(span);
        let is_in_it = |gap: &&Gap| {
            let length = gap.ended.min(end).saturating_sub(gap.began.max(from));
            span > 0 && length >= span.div_ceil(2)
        };
        self.0.iter().rev().find(is_in_it).map(|gap| gap.ended.saturating_add(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(all: &[(Millis, Millis)]) -> Gaps {
        let mut gaps = Gaps::NONE;
        all.iter().for_each(|(began, ended)| gaps.add(Gap { began: *began, ended: *ended }));
        gaps
    }

    #[test]
    fn silence_in_a_gap_does_not_count() {
        assert_eq!(gaps(&[]).postpone(100, 200), 200);
        assert_eq!(gaps(&[(150, 170)]).postpone(100, 200), 220);
        assert_eq!(gaps(&[(50, 90)]).postpone(100, 200), 200, "before");
        assert_eq!(gaps(&[(200, 290)]).postpone(100, 200), 200, "overdue before it began");
        assert_eq!(gaps(&[(90, 110)]).postpone(100, 200), 210, "the part that overlaps");
        assert_eq!(gaps(&[(110, 120), (210, 220)]).postpone(100, 200), 210, "after the end that stood");
        assert_eq!(gaps(&[(110, 130), (210, 230)]).postpone(100, 200), 240, "one moves it into the next");
    }

    #[test]
    fn a_long_gap_gives_the_whole_span_anew() {
        assert_eq!(gaps(&[(150, 1750)]).postpone(100, 200), 1850);
        assert_eq!(gaps(&[(150, 200)]).postpone(100, 200), 300);
    }

    #[test]
    fn a_lease_is_renewed_once_by_a_gap_that_took_half_of_it() {
        assert_eq!(gaps(&[(150, 199)]).renewed(200, 100), None);
        assert_eq!(gaps(&[(150, 1750)]).renewed(200, 100), Some(1850));
        assert_eq!(gaps(&[(150, 1750)]).renewed(1850, 100), None, "that one is over");
        assert_eq!(gaps(&[(0, 150)]).renewed(200, 100), Some(250));
        assert_eq!(gaps(&[]).renewed(0, 0), None);
    }

    #[test]
    fn the_last_gaps_are_remembered() {
        let many: Vec<_> = (0..9).map(|n| (100 + 10 * n, 101 + 10 * n)).collect();
        assert_eq!(gaps(&many).postpone(100, 200), 200 + GAPS as u64);
    }
}
