//! Counters of this process, since the module was loaded.

use super::histogram::Histogram;
use crate::domain::Service;
use std::collections::BTreeMap;

/// What happened to those who waited for one service.
#[derive(Debug, Clone, Default)]
pub struct ServiceMetrics {
    /// Commands run.
    pub commands: u64,
    /// Commands answered with an error.
    pub errors: u64,
    /// Changes decided here.
    pub changes: u64,
    /// Changes applied that another node decided, or that a file held.
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
    /// Grants taken back since nobody was there to be told.
    pub taken_back: u64,
    /// Panics contained.
    pub panics: u64,
    /// How long those who were served had waited, microseconds.
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
    /// Visible events by the name of their notification. Few, so that a look along the list is the quickest.
    events: Vec<(&'static str, u64)>,
    /// Rounds of the scheduler.
    pub sweeps: u64,
    /// Keys opened by the scheduler.
    pub swept_keys: u64,
    /// How far the scheduler is behind its earliest deadline after its last round, ms.
    pub sweep_lag_ms: u64,
    /// Keys repaired: their derived indexes were made anew.
    pub repairs: u64,
    /// Panics contained in commands of any kind.
    pub panics: u64,
    /// Keys in which something was given back because its agent was gone.
    pub reactions: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            services: vec![ServiceMetrics::default(); Service::ALL.len()],
            events: Vec::new(),
            sweeps: 0,
            swept_keys: 0,
            sweep_lag_ms: 0,
            repairs: 0,
            panics: 0,
            reactions: 0,
        }
    }
}

impl Metrics {
    /// The counters of one service.
    pub fn of(&self, service: Service) -> &ServiceMetrics {
        &self.services[service as usize]
    }

    /// The counters of one service, to count in.
    pub fn of_mut(&mut self, service: Service) -> &mut ServiceMetrics {
        &mut self.services[service as usize]
    }

    /// Counts a visible event.
    pub fn count_event(&mut self, name: &'static str) {
        match self.events.iter_mut().find(|(known, _)| std::ptr::eq(*known, name)) {
            Some((_, count)) => *count += 1,
            None => self.events.push((name, 1)),
        }
    }

    /// How often each event happened, by name.
    pub fn events(&self) -> BTreeMap<&'static str, u64> {
        let mut events = BTreeMap::new();
        for (name, count) in &self.events {
            *events.entry(*name).or_default() += count;
        }
        events
    }
}
