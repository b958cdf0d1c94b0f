//! Checks of a part of a value that is too large to be checked at once.

use crate::domain::Invariant;

/// The outcome of a partial check that found nothing broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The element that the next part begins with; `None` if this was the last part.
    pub next: Option<u64>,
    /// How long the check took, in the measure of
    /// [`Entity::check_effort`](crate::domain::Entity::check_effort).
    pub effort: usize,
}

impl Part {
    /// Checks numbered elements one after the other until they have taken `room`. `check` returns
    /// how much each one took.
    pub fn of<T>(
        elements: impl Iterator<Item = (u64, T)>,
        room: usize,
        mut check: impl FnMut(u64, T) -> Result<usize, Invariant>,
    ) -> Result<Self, Invariant> {
        let mut effort = 0;
        for (number, element) in elements {
            if effort >= room {
                return Ok(Self { next: Some(number), effort });
            }
            effort += check(number, element)?;
        }
        Ok(Self { next: None, effort })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_when_its_room_is_used_up_and_the_next_goes_on_there() {
        let look = |from: u64, room| {
            let mut seen = Vec::new();
            let part = Part::of((from..10).step_by(2).map(|n| (n, ())), room, |n, ()| {
                seen.push(n);
                Ok(3)
            });
            (part, seen)
        };
        assert_eq!(look(0, 7), (Ok(Part { next: Some(6), effort: 9 }), vec![0, 2, 4]));
        assert_eq!(look(6, 7), (Ok(Part { next: None, effort: 6 }), vec![6, 8]));
        assert_eq!(look(10, 7), (Ok(Part { next: None, effort: 0 }), vec![]));
    }

    #[test]
    fn what_is_broken_ends_it() {
        let broken = Invariant("five is broken".into());
        let check = |n: u64, ()| if n == 5 { Err(broken.clone()) } else { Ok(1) };
        assert_eq!(Part::of((0..9).map(|n| (n, ())), 5, check), Ok(Part { next: Some(5), effort: 5 }));
        assert_eq!(Part::of((0..9).map(|n| (n, ())), 6, check), Err(broken.clone()));
    }
}
