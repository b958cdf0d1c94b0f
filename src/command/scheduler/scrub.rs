//! The automatic check. It looks at all values of LTMC again and again, a few at a time, and
//! rebuilds what is derived in them where that is broken. Primaries and replicas do this each for
//! themselves.
//!
//! A step comes at most ten times a second and looks at a tenth of `ltmc.check-rate` values, at
//! least one. A value that takes long to check counts as several, so the rate bounds the work, and
//! there is a pause after a long step. A value whose check would hold up the server is checked in
//! parts, one part a round; if its type has no parts, it is skipped and counted. A round over all
//! keys begins at the earliest a second after the one before began. Where there are no values of
//! ours there is no step and no timer: the types count their values.

use crate::command::engine::repair::{close, count_panic_on, repair, service_at};
use crate::command::host::{Host, Key};
use crate::command::node::scrub_progress::{Checks, Round};
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::value::bytes::printable;
use crate::domain::{Invariant, KeyId, Millis};

/// Least time from one step to the next, ms.
const STEP_MS: Millis = 100;
/// Least time from the beginning of one round to that of the next, ms.
const ROUND_MS_MIN: Millis = 1_000;
/// A value counts as one more for each time it has this many elements.
const ELEMENTS_PER_VALUE: usize = 100;

/// When the next step is due, unix ms; `None` if there is none.
pub fn next_step(node: &Node) -> Option<Millis> {
    node.checks.next_step(node.settings.get(Setting::CheckRate), node.now())
}

/// Takes the next step, if it is due.
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
    (checks.stepped_at, checks.next_at) = (now, now + STEP_MS.max(cost * 1000 / rate));
    if walked.is_round_end {
        let Round { began, skipped, places } = checks.round.take().unwrap_or_default();
        checks.next_at = checks.next_at.max(began + ROUND_MS_MIN);
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
        // If the repair panics, this tells which key it was.
        node.looking_at = Some(key.clone());
        mend(node, host, &key, type_name, &invariant);
        node.looking_at = None;
    }
    host.release_keys();
}

/// Rebuilds what is derived in a broken value. What stays broken goes into quarantine, and so is
/// logged only once.
fn mend<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, type_name: &str, invariant: &Invariant) {
    let shown = format!("the {type_name} '{}' in database {}", printable(&key.name), key.db);
    // A replica gets decisions from its primary, and mends what is derived from them by itself.
    let Ok(Some(repaired)) = repair(host, Key::from(key), !node.replica) else { return };
    match &repaired.is_broken {
        None => {
            node.count_repair(&repaired);
            host.log(&format!("LTMC: {shown} was broken: {}; what is derived in it was made anew", invariant.0));
        }
        Some(left) => {
            close(node, host, key.into(), left);
            host.log(&format!("LTMC: {shown} is broken beyond its derived indexes, and in quarantine: {}", left.0));
        }
    }
    // Clients that wait for it are served by the repaired value, or told.
    node.look_at_soon(key.clone());
}
