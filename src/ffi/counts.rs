//! How many of our values the server has. Another thread frees large ones, so the
//! counts are atomic.

use crate::command::engine::entity_types::service_of;
use crate::command::host::KeyType;
use crate::domain::{Entity, Fault, Record, Service};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The number of our values.
static VALUES: AtomicUsize = AtomicUsize::new(0);

/// The number of them in quarantine, by tag.
static FAULTY: [AtomicUsize; 16] = [const { AtomicUsize::new(0) }; 16];

/// How many there are in quarantine of all types: each command asks whether there is one.
static ALL_FAULTY: AtomicUsize = AtomicUsize::new(0);

/// Counts a value that was handed to Redis, in quarantine or not.
pub fn count_value<E: Entity>(is_faulty: bool) {
    VALUES.fetch_add(1, Relaxed);
    if is_faulty {
        count_fault::<E>();
    }
}

fn count_fault<E: Entity>() {
    FAULTY[E::TYPE_TAG as usize].fetch_add(1, Relaxed);
    ALL_FAULTY.fetch_add(1, Relaxed);
}

fn forget_fault<E: Entity>() {
    FAULTY[E::TYPE_TAG as usize].fetch_sub(1, Relaxed);
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
    let of_service = (0..).zip(&FAULTY).filter(|(tag, _)| service_of(KeyType::Ours(*tag)) == Some(service));
    of_service.map(|(_, faulty)| faulty.load(Relaxed) as u64).sum()
}

/// Whether any value is in quarantine. Every command checks this.
pub fn has_quarantined() -> bool {
    ALL_FAULTY.load(Relaxed) > 0
}

/// Whether there may be values of ours.
pub fn has_values() -> bool {
    VALUES.load(Relaxed) > 0
}

/// Counts a value that Redis has given back.
pub fn forget_value<E: Entity>(is_faulty: bool) {
    VALUES.fetch_sub(1, Relaxed);
    if is_faulty {
        forget_fault::<E>();
    }
}
