//! The fields of the INFO section `ltmc` that come from the counters.

use super::Metrics;
use crate::domain::Service;

/// Name and value of each field, in order.
pub fn fields(metrics: &Metrics) -> Vec<(String, u64)> {
    let mut fields = vec![
        ("sweeps".to_string(), metrics.sweeps),
        ("swept_keys".to_string(), metrics.swept_keys),
        ("offloaded".to_string(), metrics.offloaded),
        ("repairs".to_string(), metrics.repairs),
        ("panics".to_string(), metrics.panics),
        ("reactions".to_string(), metrics.reactions),
    ];
    for &service in Service::ALL {
        let of = metrics.of(service);
        let mut add = |name: &str, value: u64| fields.push((format!("{}_{name}", service.name()), value));
        add("commands", of.commands);
        add("errors", of.errors);
        add("rejected", of.rejected);
        add("changes", of.changes);
        add("applied", of.applied);
        add("waits", of.waits);
        add("waits_served", of.served);
        add("timeouts", of.timeouts);
        add("waits_cancelled", of.cancelled);
        add("deadlocks", of.deadlocks);
        add("taken_back", of.taken_back);
        add("panics", of.panics);
        add("repairs", of.repairs);
        for (name, percent) in [("wait_us_p50", 50.0), ("wait_us_p95", 95.0), ("wait_us_p99", 99.0)] {
            add(name, of.wait_us.percentile(percent));
        }
        add("wait_us_max", of.wait_us.max());
    }
    let event = |(name, count): (&str, u64)| (format!("event_{}", name.replace('.', "_")), count);
    fields.extend(metrics.events().into_iter().map(event));
    fields
}
