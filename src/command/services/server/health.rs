//! `LTMC.HEALTH`: the health of this node. [`observe::health`](crate::observe::health) says what
//! the words mean.

use crate::command::engine::cx::{Cx, Outcome};
use crate::command::host::Host;
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::domain::{Error, Millis, Service};
use crate::observe::health::{is_recent, Report, ServiceReport};

/// What is known about this node now.
pub fn report<H: Host>(node: &Node, host: &H) -> Report {
    let (now, metrics) = (node.now(), &node.metrics);
    let (loop_delay_us, loop_delay_max_us) = host.event_loop_delay_us();
    let services = Service::ALL.iter().map(|service| {
        let of = metrics.of(*service);
        let (waiting, since_us) = node.waits.of(*service);
        ServiceReport {
            service: *service,
            is_enabled: node.settings.is_enabled(*service),
            quarantined: node.quarantine.count(Some(*service)) + host.quarantined(*service),
            waiting: waiting as u64,
            oldest_waiter_ms: since_us.map_or(0, |since_us| now.saturating_sub(since_us / 1000)),
            has_news: is_recent(of.panicked_at, now) || is_recent(of.repaired_at, now),
        }
    });
    Report {
        sweep_lag_ms: sweep_lag_ms(node),
        loop_delay_us,
        loop_delay_max_us,
        memory_permille: host.memory_permille(),
        quarantined: node.quarantine.count(None) + Service::ALL.iter().map(|of| host.quarantined(*of)).sum::<u64>(),
        has_panicked: is_recent(metrics.panicked_at, now),
        has_repaired: is_recent(metrics.repaired_at, now),
        is_audit_failing: host.audit_figures().is_failing || node.audit.dropped > 0 || node.audit.is_full,
        services: services.collect(),
    }
}

/// How far the scheduler is behind. A replica decides nothing, so it is never behind, and no node
/// is behind with what was due before its time.
fn sweep_lag_ms(node: &Node) -> Millis {
    let due_since = node.schedule.next_deadline().filter(|_| !node.replica);
    due_since.map_or(0, |since| node.now().saturating_sub(since.max(node.since)))
}

/// `LTMC.HEALTH`
pub fn health<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let report = report(cx.node, cx.host);
    let metrics = &cx.node.metrics;
    let services = report.services.iter().map(|of| {
        let counted = metrics.of(of.service);
        let shown = Reply::map([
            ("state", Reply::text(of.state())),
            ("panics", Reply::number(counted.panics)),
            ("repairs", Reply::number(counted.repairs)),
            ("quarantined_keys", Reply::number(of.quarantined)),
            ("waiting_clients", Reply::number(of.waiting)),
            ("oldest_waiter_ms", Reply::number(of.oldest_waiter_ms)),
            ("errors", Reply::number(counted.errors)),
            ("rejected", Reply::number(counted.rejected)),
        ]);
        (of.service.name().into(), shown)
    });
    Ok(Outcome::Reply(Reply::map([
        ("status", Reply::text(report.status())),
        ("reasons", Reply::Array(report.reasons().into_iter().map(Reply::text).collect())),
        ("sweep_lag_ms", Reply::number(report.sweep_lag_ms)),
        ("event_loop_delay_us", Reply::number(report.loop_delay_us)),
        ("event_loop_delay_max_us", Reply::number(report.loop_delay_max_us)),
        ("memory_permille", Reply::number_or_nil(report.memory_permille)),
        ("quarantined_keys", Reply::number(report.quarantined)),
        ("dropped_changes", Reply::number(metrics.dropped)),
        ("panics", Reply::number(metrics.panics)),
        ("repairs", Reply::number(metrics.repairs)),
        ("checked", Reply::number(metrics.checked)),
        ("check_in_parts", Reply::number(metrics.check_in_parts)),
        ("check_skipped", Reply::number(metrics.check_skipped)),
        ("check_round_ms", Reply::number_or_nil(metrics.check_round_ms)),
        ("services", Reply::Map(services.collect())),
    ])))
}
