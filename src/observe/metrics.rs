//! Counters of this process since the module was loaded.

use super::histogram::Histogram;
use crate::domain::entity_types::event_names;
use crate::domain::{Millis, Service};
use std::collections::BTreeMap;

/// The counters of one service.
#[derive(Debug, Clone, Default)]
pub struct ServiceMetrics {
    /// Commands run.
    pub commands: u64,
    /// Commands answered with an error.
    pub errors: u64,
    /// Changes decided here.
    pub changes: u64,
    /// Changes applied that another node had decided, or that a file held.
    pub applied: u64,
    /// Waits begun.
    pub waits: u64,
    /// Waits that ended with a grant.
    pub served: u64,
    /// Waits that ended by their time limit.
    pub timeouts: u64,
    /// Waits that ended because the client was unblocked or gone.
    pub cancelled: u64,
    /// Waits refused since they would have closed a cycle.
    pub deadlocks: u64,
    /// Grants taken back since their client could not be told.
    pub taken_back: u64,
    /// Commands refused by a bound; also counted as errors.
    pub rejected: u64,
    /// Panics contained.
    pub panics: u64,
    /// When the last one was, unix ms.
    pub panicked_at: Option<Millis>,
    /// Values repaired.
    pub repairs: u64,
    /// When the last one was, unix ms.
    pub repaired_at: Option<Millis>,
    /// How long served clients had waited, microseconds.
    pub wait_us: Histogram,
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Histogram({} values, max {})", self.count(), self.max())
    }
}

/// All counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    services: Vec<ServiceMetrics>,
    /// Visible events by the name of their notification. There are few, so searching the
    /// list is fastest.
    events: Vec<(&'static str, u64)>,
    /// Rounds of the scheduler.
    pub sweeps: u64,
    /// Keys opened by the scheduler.
    pub swept_keys: u64,
    /// Commands that threads took over.
    pub offloaded: u64,
    /// Values repaired: something derived was broken and was rebuilt.
    pub repairs: u64,
    /// When the last one was, unix ms.
    pub repaired_at: Option<Millis>,
    /// Panics contained in commands of any kind.
    pub panics: u64,
    /// Keys in which something was given back since its agent was gone.
    pub reactions: u64,
    /// When the last one was, unix ms.
    pub panicked_at: Option<Millis>,
    /// Changes dropped since their value is broken.
    pub dropped: u64,
    /// Values that the automatic check has checked.
    pub checked: u64,
    /// Large values that its last full round checked in parts.
    pub check_in_parts: u64,
    /// Values that it skipped, since they are too large and have no parts.
    pub check_skipped: u64,
    /// The duration of that round, ms.
    pub check_round_ms: Option<Millis>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            services: vec![ServiceMetrics::default(); Service::ALL.len()],
            events: Vec::new(),
            sweeps: 0,
            swept_keys: 0,
            offloaded: 0,
            repairs: 0,
            repaired_at: None,
            panics: 0,
            reactions: 0,
            dropped: 0,
            panicked_at: None,
            checked: 0,
            check_in_parts: 0,
            check_skipped: 0,
            check_round_ms: None,
        }
    }
}

impl Metrics {
    /// The counters of one service.
    pub fn of(&self, service: Service) -> &ServiceMetrics {
        &self.services[service as usize]
    }

    /// The counters of one service, to be changed.
    pub fn of_mut(&mut self, service: Service) -> &mut ServiceMetrics {
        &mut self.services[service as usize]
    }

    /// How many waits of all services ended with a grant.
    pub fn served(&self) -> u64 {
        self.services.iter().map(|service| service.served).sum()
    }

    /// Counts a panic that was contained at `now`, for its service if that is known.
    pub fn count_panic(&mut self, service: Option<Service>, now: Millis) {
        (self.panics, self.panicked_at) = (self.panics + 1, Some(now));
        if let Some(service) = service {
            let of = self.of_mut(service);
            (of.panics, of.panicked_at) = (of.panics + 1, Some(now));
        }
    }

    /// Counts a value of a service that was repaired at `now`.
    pub fn count_repair(&mut self, service: Service, now: Millis) {
        (self.repairs, self.repaired_at) = (self.repairs + 1, Some(now));
        let of = self.of_mut(service);
        (of.repairs, of.repaired_at) = (of.repairs + 1, Some(now));
    }

    /// Counts a visible event.
    pub fn count_event(&mut self, name: &'static str) {
        match self.events.iter_mut().find(|(known, _)| std::ptr::eq(*known, name)) {
            Some((_, count)) => *count += 1,
            None => {
                debug_assert!(event_names().contains(&name), "{name} is not among the names of its type");
                self.events.push((name, 1));
            }
        }
    }

    /// The number of each event, by name: of all that there are, from the start.
    pub fn events(&self) -> BTreeMap<&'static str, u64> {
        let mut events: BTreeMap<&str, u64> = event_names().into_iter().map(|name| (name, 0)).collect();
        for (name, count) in &self.events {
            *events.entry(*name).or_default() += count;
        }
        events
    }
}
