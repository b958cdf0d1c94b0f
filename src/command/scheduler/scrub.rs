//! The automatic check: all values of LTMC are looked at again and again, a few at a time, and what is derived in them is made anew where it
//! is broken. Primaries and replicas do it each for themselves.
//!
//! A step comes ten times a second at most and looks at a tenth of `ltmc.check-rate` values, at one at least. A value that takes long to
//! check counts as several, so that the rate bounds the work, and no step goes on after a long one. Values whose check would hold up the
//! server are looked at in parts, one in each round; what cannot be looked at in parts is left out and counted. A round over all keys begins
//! no sooner than a second after the one before began. Where there is no value of ours there is no step and no timer: the types count their
//! values.

use crate::command::engine::repair::{close, count_panic_on, repair, service_at};
use crate::command::host::{Host, Key};
use crate::command::node::scrub_progress::{Checks, Round};
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::value::bytes::printable;
use crate::domain::{Invariant, KeyId, Millis};

/// Time from one step to the next at least, ms.
const STEP_MS: Millis = 100;
/// Time from the beginning of one round to that of the next at least, ms.
const ROUND_MS_MIN: Millis = 1_000;
/// A value counts as one more for each so many of its elements.
const ELEMENTS_PER_VALUE: usize = 100;

/// When the next step is due, unix ms; `None` if none is.
pub fn next_step(node: &Node) -> Option<Millis> {
    node.checks.next_step(node.settings.get(Setting::CheckRate), node.now())
}

/// The next step, if it is due.
pub fn go_on<H: Host>(node: &mut Node, host: &mut H) {
    if next_step(node).is_none_or(|when| node.now() < when) {
        return;
    }
    let now = node.now();
    let rate = node.settings.get(Setting::CheckRate);
    let values_max = (rate * STEP_MS / 1000).max(1);
    let elements_max = node.settings.get(Setting::CheckElementsMax) as usize;
    let Node { checks, metrics, .. } = node;
    let Checks { round, places, .. } = checks;
    let round = round.get_or_insert_with(|| Round { began: now, ..Round::default() });
    let mut broken: Vec<(KeyId, &'static str, Invariant)> = Vec::new();
    let walked = host.walk(values_max, &mut |key, value| {
        if value.is_faulty() {
            return 0;
        }
        #[cfg(feature = "test-hooks")]
        if checks.panics_due > 0 {
            checks.panics_due -= 1;
            panic!("LTMC.DEBUG CHECK was asked for");
        }
        match round.look(places, key, value, elements_max) {
            Ok(looked) => {
                metrics.checked += u64::from(looked.is_some());
                looked.unwrap_or(0)
            }
            Err(invariant) => {
                metrics.checked += 1;
                broken.push((key.clone(), value.type_name(), invariant));
                value.effort().min(elements_max)
            }
        }
    });
    let cost = walked.values.max((walked.elements / ELEMENTS_PER_VALUE) as u64);
    (checks.stepped_at, checks.due) = (now, now + STEP_MS.max(cost * 1000 / rate));
    if walked.is_over {
        let Round { began, skipped, places } = checks.round.take().unwrap_or_default();
        checks.due = checks.due.max(began + ROUND_MS_MIN);
        metrics.check_round_ms = Some(now.saturating_sub(began));
        (metrics.check_in_parts, metrics.check_skipped) = (places.len() as u64, skipped);
        checks.places = places;
    }
    for key in walked.panicked {
        let service = service_at(host, (&key).into());
        node.count_panic(service);
        count_panic_on(node, host, &key, service);
        node.look_at_soon(key);
    }
    for (key, type_name, invariant) in broken {
        // If the repair panics, it is known whose it was.
        node.looking_at = Some(key.clone());
        mend(node, host, &key, type_name, &invariant);
        node.looking_at = None;
    }
    host.release_keys();
}

/// Makes anew what is derived in a value that is broken. What stays broken goes into quarantine, and so is told of once.
fn mend<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, type_name: &str, invariant: &Invariant) {
    let shown = format!("the {type_name} '{}' in database {}", printable(&key.name), key.db);
    // A replica has from its primary what it decides; what is derived from that it mends by itself.
    let Ok(Some(repaired)) = repair(host, Key::from(key), !node.replica) else { return };
    match &repaired.is_broken {
        None => {
            node.count_repair(&repaired);
            host.log(&format!("LTMC: {shown} was broken: {}; what is derived in it was made anew", invariant.0));
        }
        Some(left) => {
            close(host, key.into(), left);
            host.log(&format!("LTMC: {shown} is broken beyond its derived indexes, and in quarantine: {}", left.0));
        }
    }
    // Whoever waits for it is served by what it is now, or told.
    node.look_at_soon(key.clone());
}
