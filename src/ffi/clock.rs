//! What time it is: the only place that asks.
//!
//! LTMC's time is unix time that never goes back, see [`SteadyClock`]. The system's clock is asked
//! once in each turn of the event loop. Redis' own times (TTLs) go by the system's clock:
//! [`to_system`] and [`from_system`] lead from one to the other.

use super::function::call;
use crate::domain::algorithm::steady_clock::SteadyClock;
use crate::domain::value::time::{Gap, Gaps};
use crate::domain::Millis;
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A turn of the event loop that takes longer is a gap, us.
const USUAL_TURN_US: u64 = 100_000;

/// The system's clock was set back if it shows so much less than expected, us.
const STEP_US: u64 = 10_000;

thread_local! {
    static STEADY: Cell<Option<SteadyClock>> = const { Cell::new(None) };
    static ASKED_US: Cell<u64> = const { Cell::new(0) };
    static GAPS: Cell<Gaps> = const { Cell::new(Gaps::NONE) };
    /// How long the event loop sleeps at most, us.
    static SLEEP_US: Cell<u64> = const { Cell::new(100_000) };
    /// The system's clock shows so much more: `LTMC.DEBUG WALL`.
    #[cfg(feature = "test-hooks")]
    static STEP_BY_MS: Cell<i64> = const { Cell::new(0) };
}

/// LTMC's time, unix microseconds.
pub fn now_us() -> u64 {
    let mut clock = STEADY.get().unwrap_or_else(|| SteadyClock::new(monotonic_us(), system_us()));
    let asked_us = monotonic_us();
    ASKED_US.set(asked_us);
    note(clock.advance(asked_us, USUAL_TURN_US));
    STEADY.set(Some(clock));
    clock.now()
}

/// When [`now_us`] was asked last, by [`monotonic_us`].
pub fn asked_us() -> u64 {
    ASKED_US.get()
}

/// The event loop has slept. Whether the system's clock was set back meanwhile.
pub fn has_slept() -> bool {
    let Some(mut clock) = STEADY.get() else { return false };
    let ahead = clock.ahead();
    note(clock.sync(monotonic_us(), system_us(), SLEEP_US.get() + USUAL_TURN_US));
    STEADY.set(Some(clock));
    clock.ahead() > ahead + STEP_US
}

fn note(gap: Option<Gap>) {
    let Some(gap) = gap else { return };
    let mut gaps = GAPS.get();
    gaps.add(gap);
    GAPS.set(gaps);
}

/// The event loop wakes so many times a second by itself.
pub fn set_hz(hz: u64) {
    SLEEP_US.set(1_000_000 / hz.max(1));
}

/// The last gaps: in these, this process could hear nobody.
pub fn gaps() -> Gaps {
    GAPS.get()
}

/// What the system's clock shows at a time of LTMC's.
pub fn to_system(when: Millis) -> Millis {
    when.saturating_sub(STEADY.get().map_or(0, |clock| clock.ahead() / 1000))
}

/// LTMC's time when the system's clock shows this.
pub fn from_system(when: Millis) -> Millis {
    when.saturating_add(STEADY.get().map_or(0, |clock| clock.ahead() / 1000))
}

fn system_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    #[cfg(feature = "test-hooks")]
    let now = now.saturating_add_signed(STEP_BY_MS.get() * 1000);
    now
}

/// The system's clock shows so much more than it does.
#[cfg(feature = "test-hooks")]
pub fn step_system(ms: i64) {
    STEP_BY_MS.set(ms);
}

/// Microseconds since some time before the server began.
pub fn monotonic_us() -> u64 {
    call!(RedisModule_MonotonicMicroseconds())
}

/// Nanoseconds since the first call.
pub fn monotonic_ns() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
