//! The health of this node, in one word and with its reasons. Pure: from numbers to words.
//!
//! - `failed`: [`QUARANTINED_FAILED`] keys are in quarantine, so something breaks values; or the
//!   scheduler is [`LAG_FAILED_MS`] behind, so no lease ends and nobody is served.
//! - `degraded`: a key is in quarantine; a panic was contained or a value repaired within the last
//!   [`RECENT_MS`]; or one of the bounds below is exceeded.
//! - `ok`: otherwise.

use super::Metrics;
use crate::domain::{Millis, Service};

/// How long a panic or a repair counts as recent, ms.
pub const RECENT_MS: Millis = 5 * 60 * 1000;
/// With this many keys in quarantine the node has failed.
pub const QUARANTINED_FAILED: u64 = 3;
/// How far the scheduler may be behind its earliest deadline, ms.
pub const LAG_MS_MAX: Millis = 1_000;
/// How far behind it counts as not working at all, ms.
pub const LAG_FAILED_MS: Millis = 60_000;
/// How long a tick of the event loop may take, microseconds.
pub const LOOP_DELAY_US_MAX: u64 = 1_000_000;
/// How much of `maxmemory` may be used, in thousandths.
pub const MEMORY_PERMILLE_MAX: u64 = 950;

/// The figures of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceReport {
    /// The service.
    pub service: Service,
    /// Whether it is enabled.
    pub is_enabled: bool,
    /// The number of its keys in quarantine.
    pub quarantined: u64,
    /// Clients that wait for it.
    pub waiting: u64,
    /// How long the first of them has waited, ms; 0 if there is none.
    pub oldest_waiter_ms: Millis,
    /// Whether it recently panicked, or a value of it was repaired.
    pub has_news: bool,
}

impl ServiceReport {
    /// Its state in one word.
    pub fn state(&self) -> &'static str {
        match () {
            () if !self.is_enabled => "disabled",
            () if self.quarantined > 0 || self.has_news => "degraded",
            () => "ok",
        }
    }
}

/// The figures of this node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// How far the scheduler is behind its earliest deadline, ms.
    pub sweep_lag_ms: Millis,
    /// How long the last tick of the event loop took, microseconds.
    pub loop_delay_us: u64,
    /// The longest tick of the last minute, microseconds.
    pub loop_delay_max_us: u64,
    /// How much of `maxmemory` is used, in thousandths; `None` without a limit.
    pub memory_permille: Option<u64>,
    /// Keys in quarantine.
    pub quarantined: u64,
    /// Whether a panic was recently contained anywhere.
    pub has_panicked: bool,
    /// Whether a value was recently repaired.
    pub has_repaired: bool,
    /// Whether the file of the audit trail refuses lines, or records are dropped.
    pub is_audit_failing: bool,
    /// The services, in the order in which they are listed.
    pub services: Vec<ServiceReport>,
}

impl Report {
    /// Why it is not `ok`; empty if it is.
    pub fn reasons(&self) -> Vec<&'static str> {
        let reasons = [
            ("quarantine", self.quarantined > 0),
            ("panic", self.has_panicked),
            ("repair", self.has_repaired),
            ("sweep-lag", self.sweep_lag_ms > LAG_MS_MAX),
            ("event-loop-delay", self.loop_delay_max_us > LOOP_DELAY_US_MAX),
            ("audit", self.is_audit_failing),
            ("memory", self.memory_permille.is_some_and(|permille| permille > MEMORY_PERMILLE_MAX)),
        ];
        reasons.into_iter().filter(|(_, holds)| *holds).map(|(reason, _)| reason).collect()
    }

    /// Its health in one word.
    pub fn status(&self) -> &'static str {
        match () {
            () if self.quarantined >= QUARANTINED_FAILED || self.sweep_lag_ms >= LAG_FAILED_MS => "failed",
            () if !self.reasons().is_empty() => "degraded",
            () => "ok",
        }
    }
}

/// The number that stands for a word of [`Report::status`] or [`ServiceReport::state`].
pub fn code(word: &str) -> u64 {
    match word {
        "ok" => 0,
        "degraded" => 1,
        "failed" => 2,
        _ => 3,
    }
}

/// Whether something happened recently; `None` if it never did.
pub fn is_recent(at: Option<Millis>, now: Millis) -> bool {
    at.is_some_and(|at| now < at.saturating_add(RECENT_MS))
}

/// The INFO fields of a report, besides those that come from the counters.
pub fn fields(report: &Report, metrics: &Metrics) -> Vec<(String, u64)> {
    let mut fields = vec![
        ("sweep_lag_ms".to_string(), report.sweep_lag_ms),
        ("event_loop_delay_us".to_string(), report.loop_delay_us),
        ("event_loop_delay_max_us".to_string(), report.loop_delay_max_us),
        ("memory_permille".to_string(), report.memory_permille.unwrap_or(0)),
        ("quarantined_keys".to_string(), report.quarantined),
        ("dropped_changes".to_string(), metrics.dropped),
        ("checked".to_string(), metrics.checked),
        ("check_in_parts".to_string(), metrics.check_in_parts),
        ("check_skipped".to_string(), metrics.check_skipped),
        ("check_round_ms".to_string(), metrics.check_round_ms.unwrap_or(0)),
    ];
    for of in &report.services {
        let mut add = |name: &str, value: u64| fields.push((format!("{}_{name}", of.service.name()), value));
        add("waiting_clients", of.waiting);
        add("oldest_waiter_ms", of.oldest_waiter_ms);
        add("quarantined_keys", of.quarantined);
    }
    fields
}

/// The recent durations of ticks of the event loop.
#[derive(Debug, Clone, Default)]
pub struct LoopDelay {
    last_us: u64,
    /// The number and the longest tick of each of the last steps.
    longest: [(u64, u64); STEPS + 1],
}

/// A step of the last minute, microseconds.
const STEP_US: u64 = 5_000_000;
/// Steps of a minute.
const STEPS: usize = 12;

impl LoopDelay {
    /// Records a tick that ends now. Both arguments are in microseconds, by a monotonic clock.
    pub fn record(&mut self, now_us: u64, took_us: u64) {
        let step = now_us / STEP_US;
        let longest = &mut self.longest[step as usize % (STEPS + 1)];
        if longest.0 != step {
            *longest = (step, 0);
        }
        longest.1 = longest.1.max(took_us);
        self.last_us = took_us;
    }

    /// The last tick, and the longest of the last minute.
    pub fn shown(&self, now_us: u64) -> (u64, u64) {
        let is_recent = |(step, _): &&(u64, u64)| step + STEPS as u64 >= now_us / STEP_US;
        let longest = self.longest.iter().filter(is_recent).map(|(_, took_us)| *took_us);
        (self.last_us, longest.max().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_reason_gives_the_word() {
        let well = Report { memory_permille: Some(MEMORY_PERMILLE_MAX), sweep_lag_ms: LAG_MS_MAX, ..Report::default() };
        assert_eq!((well.status(), well.reasons()), ("ok", vec![]));
        for (reason, report) in [
            ("quarantine", Report { quarantined: 1, ..well.clone() }),
            ("panic", Report { has_panicked: true, ..well.clone() }),
            ("repair", Report { has_repaired: true, ..well.clone() }),
            ("sweep-lag", Report { sweep_lag_ms: LAG_MS_MAX + 1, ..well.clone() }),
            ("event-loop-delay", Report { loop_delay_max_us: LOOP_DELAY_US_MAX + 1, ..well.clone() }),
            ("audit", Report { is_audit_failing: true, ..well.clone() }),
            ("memory", Report { memory_permille: Some(MEMORY_PERMILLE_MAX + 1), ..well.clone() }),
        ] {
            assert_eq!((report.status(), report.reasons()), ("degraded", vec![reason]));
        }
        assert_eq!(Report { quarantined: QUARANTINED_FAILED, ..well.clone() }.status(), "failed");
        assert_eq!(Report { sweep_lag_ms: LAG_FAILED_MS, ..well }.status(), "failed");
    }

    #[test]
    fn a_service_that_is_off_is_neither_well_nor_ill() {
        let service = ServiceReport {
            service: Service::Lock,
            is_enabled: true,
            quarantined: 0,
            waiting: 0,
            oldest_waiter_ms: 0,
            has_news: false,
        };
        assert_eq!(service.state(), "ok");
        assert_eq!(ServiceReport { has_news: true, ..service.clone() }.state(), "degraded");
        assert_eq!(ServiceReport { quarantined: 1, ..service.clone() }.state(), "degraded");
        assert_eq!(ServiceReport { quarantined: 1, is_enabled: false, ..service }.state(), "disabled");
    }

    #[test]
    fn news_gets_old() {
        assert!(!is_recent(None, 5) && is_recent(Some(5), 5) && is_recent(Some(5), 4 + RECENT_MS));
        assert!(!is_recent(Some(5), 5 + RECENT_MS));
    }

    #[test]
    fn the_longest_tick_is_shown_for_a_minute() {
        let mut delay = LoopDelay::default();
        assert_eq!(delay.shown(0), (0, 0));
        delay.record(1_000_000, 700);
        (2..60).for_each(|second| delay.record(second * 1_000_000, second));
        assert_eq!(delay.shown(60_000_000), (59, 700));
        assert_eq!(delay.shown(64_999_999), (59, 700));
        assert_eq!(delay.shown(65_000_000), (59, 59));
        delay.record(600_000_000, 3);
        assert_eq!(delay.shown(600_000_000), (3, 3));
    }
}
