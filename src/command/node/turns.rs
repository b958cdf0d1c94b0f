//! Long work of services that goes on in turns, beside the commands of others.

use crate::domain::{Millis, Service};
use std::collections::VecDeque;

/// How long others have their time after a turn, ms. A turn takes about a millisecond, so such work
/// takes at most a fourth of the main thread, however much of it there is.
const PAUSE_MS: Millis = 3;

/// The services that have such work.
#[derive(Debug, Default)]
pub struct Turns {
    services: VecDeque<Service>,
    next_at: Millis,
}

impl Turns {
    /// A service has work for one more turn.
    pub fn ask(&mut self, service: Service) {
        if !self.services.contains(&service) {
            self.services.push_back(service);
        }
    }

    /// When the next turn is due, unix ms.
    pub fn next_at(&self) -> Option<Millis> {
        (!self.services.is_empty()).then_some(self.next_at)
    }

    /// The service whose turn it is now.
    pub fn take(&mut self, now: Millis) -> Option<Service> {
        // A clock that was set back stops nothing.
        if self.next_at > now && self.next_at <= now + PAUSE_MS {
            return None;
        }
        let service = self.services.pop_front()?;
        self.next_at = now + PAUSE_MS;
        Some(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_have_their_time_between_two_turns() {
        let (mut turns, one, other) = (Turns::default(), Service::ALL[0], Service::ALL[1]);
        assert_eq!((turns.next_at(), turns.take(100)), (None, None));
        for service in [one, other, one] {
            turns.ask(service);
        }
        assert_eq!((turns.next_at(), turns.take(100)), (Some(0), Some(one)));
        turns.ask(one);
        assert_eq!((turns.next_at(), turns.take(102)), (Some(100 + PAUSE_MS), None));
        assert_eq!((turns.take(100 + PAUSE_MS), turns.take(50)), (Some(other), Some(one)));
        assert_eq!((turns.next_at(), turns.take(200)), (None, None));
    }
}
