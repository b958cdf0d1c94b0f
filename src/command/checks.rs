//! The automatic check: all values of LTMC are looked at again and again, a few at a time, and what is derived in them is made anew where it
//! is broken. Primaries and replicas do it each for themselves.
//!
//! A step comes ten times a second at most and looks at a tenth of `ltmc.check-rate` values, at one at least. A value that takes long to
//! check counts as several, so that the rate bounds the work, and no step goes on after a long one. Values whose check would hold up the
//! server are looked at in parts, one in each round; what cannot be looked at in parts is left out and counted. A round over all keys begins
//! no sooner than a second after the one before began. Where there is no value of ours there is no step and no timer: the types count their
//! values.

use super::kinds::Checkable;
use super::repair::{close, count_panic_on, repair, service_at};
use super::settings::Setting;
use super::{Host, Key, Node};
use crate::domain::id::printable;
use crate::domain::{Invariant, KeyId, Millis};
use ahash::AHashMap;

/// Time from one step to the next at least, ms.
const STEP_MS: Millis = 100;
/// Time from the beginning of one round to that of the next at least, ms.
const ROUND_MS_MIN: Millis = 1_000;
/// A value counts as one more for each so many of its elements.
const ELEMENTS_PER_VALUE: usize = 100;

/// How far the check has come.
#[derive(Debug, Default)]
pub struct Checks {
    /// Whether there may be values of ours.
    pub has_values: bool,
    /// When the last step was, and when the next one is due, unix ms.
    stepped_at: Millis,
    due: Millis,
    round: Option<Round>,
    /// Where the next part of each large value begins.
    places: AHashMap<KeyId, u64>,
    /// So often the next checks panic: `LTMC.DEBUG CHECK`.
    #[cfg(feature = "test-hooks")]
    pub panics_due: u64,
}

/// A round over all keys.
#[derive(Debug, Default)]
struct Round {
    began: Millis,
    skipped: u64,
    /// The large values that were looked at, with the beginning of the part that comes in the next round.
    places: AHashMap<KeyId, u64>,
}

impl Round {
    /// Looks at a value, or at the next part of it if it counts more elements than `room`. Says how many it was; `None` if it was left out.
    /// `places` are those of the round before; a key may come twice in a round.
    fn look(
        &mut self,
        places: &AHashMap<KeyId, u64>,
        key: &KeyId,
        value: &dyn Checkable,
        room: usize,
    ) -> Result<Option<usize>, Invariant> {
        let effort = value.effort();
        if effort <= room {
            return value.check().map(|()| Some(effort));
        }
        let from = self.places.get(key).or(places.get(key)).copied().unwrap_or(0);
        let part = value.check_part(from, room)?;
        match part {
            Some(part) => drop(self.places.insert(key.clone(), part.next.unwrap_or(0))),
            None => self.skipped += 1,
        }
        Ok(part.map(|part| part.effort))
    }
}

/// How far a host has come in one step of the walk over its keys.
#[derive(Debug, Default)]
pub struct Walked {
    /// How many values of ours there were.
    pub values: u64,
    /// What they counted together, see [`Host::walk`].
    pub elements: usize,
    /// Keys whose visit panicked.
    pub panicked: Vec<KeyId>,
    /// Whether that was the last of the keys, so that the next step begins anew.
    pub is_over: bool,
}

/// When the next step is due, unix ms; `None` if none is.
pub fn next_step(node: &Node) -> Option<Millis> {
    let rate = node.settings.get(Setting::CheckRate);
    let Checks { has_values, stepped_at, due, .. } = node.checks;
    if rate == 0 || !has_values {
        return None;
    }
    // If the clock was set back, nobody waits until it is again what it was.
    Some(if node.now() < stepped_at { node.now() } else { due })
}

impl Checks {
    /// The rate may be another one now: the wait for the next step was by the old one.
    pub fn rate_changed(&mut self) {
        self.due = 0;
    }
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
