//! How many of our values the server has, and what they hold. Another thread frees large ones, so
//! the counts are atomic.

use crate::command::engine::entity_types::service_of;
use crate::command::host::KeyType;
use crate::domain::entity_types::for_each_type;
use crate::domain::{Entity, Fault, Record, Service};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The counts of one type.
struct Counts {
    values: AtomicUsize,
    /// What the values hold, as of their last change.
    members: AtomicUsize,
    /// Those of the values that are in quarantine.
    faulty: AtomicUsize,
}

/// The counts by tag.
static COUNTS: [Counts; 16] =
    [const { Counts { values: AtomicUsize::new(0), members: AtomicUsize::new(0), faulty: AtomicUsize::new(0) } }; 16];

/// How many there are in quarantine of all types: each command asks whether there is one.
static ALL_FAULTY: AtomicUsize = AtomicUsize::new(0);

fn of<E: Entity>() -> &'static Counts {
    &COUNTS[E::TYPE_TAG as usize]
}

/// Counts a value that was handed to Redis.
pub fn count_value<E: Entity>(stored: &mut Record<E>) {
    of::<E>().values.fetch_add(1, Relaxed);
    let (_, members) = stored.recount();
    of::<E>().members.fetch_add(members, Relaxed);
    if stored.fault().is_some() {
        count_fault::<E>();
    }
}

/// Counts what a value that Redis has holds after a change.
#[inline]
pub fn recount<E: Entity>(stored: &mut Record<E>) {
    let (before, now) = stored.recount();
    if now != before {
        // Wraps around where there are fewer: the sum is right all the same.
        of::<E>().members.fetch_add(now.wrapping_sub(before), Relaxed);
    }
}

/// Counts a value that Redis has given back.
pub fn forget_value<E: Entity>(stored: &Record<E>) {
    of::<E>().values.fetch_sub(1, Relaxed);
    of::<E>().members.fetch_sub(stored.counted(), Relaxed);
    if stored.fault().is_some() {
        forget_fault::<E>();
    }
}

fn count_fault<E: Entity>() {
    of::<E>().faulty.fetch_add(1, Relaxed);
    ALL_FAULTY.fetch_add(1, Relaxed);
}

fn forget_fault<E: Entity>() {
    of::<E>().faulty.fetch_sub(1, Relaxed);
    ALL_FAULTY.fetch_sub(1, Relaxed);
}

/// Puts a value that Redis has into quarantine, or takes it out.
pub fn set_fault<E: Entity>(stored: &mut Record<E>, fault: Option<Fault>) {
    if fault.is_some() {
        count_fault::<E>();
    }
    if stored.fault().is_some() {
        forget_fault::<E>();
    }
    stored.set_fault(fault);
}

/// The number of values of a service in quarantine.
pub fn quarantined(service: Service) -> u64 {
    let of_service = (0..).zip(&COUNTS).filter(|(tag, _)| service_of(KeyType::Ours(*tag)) == Some(service));
    of_service.map(|(_, counts)| counts.faulty.load(Relaxed) as u64).sum()
}

/// Whether any value is in quarantine. Every command checks this.
pub fn has_quarantined() -> bool {
    ALL_FAULTY.load(Relaxed) > 0
}

/// Whether there may be values of ours.
pub fn has_values() -> bool {
    COUNTS.iter().any(|counts| counts.values.load(Relaxed) > 0)
}

/// How many keys of each type there are, and how many members they have, by what they are called.
pub fn totals() -> Vec<(&'static str, u64)> {
    let mut totals = Vec::new();
    for_each_type!(E => {
        totals.push((E::KEYS, of::<E>().values.load(Relaxed) as u64));
        totals.extend(E::MEMBERS.map(|members| (members, of::<E>().members.load(Relaxed) as u64)));
    });
    totals
}
