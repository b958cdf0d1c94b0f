//! How long the event loop is busy between two of its sleeps, and so how long a client may have to
//! wait. Reads the clock twice for each tick, which makes at least as many system calls. What the
//! server does right before it sleeps (writing replies and the AOF) is not included.

use crate::observe::health::LoopDelay;
use std::cell::RefCell;
use std::time::Instant;

struct Ticks {
    began: Instant,
    woke: Option<Instant>,
    delay: LoopDelay,
}

thread_local! {
    static TICKS: RefCell<Ticks> =
        RefCell::new(Ticks { began: Instant::now(), woke: None, delay: LoopDelay::default() });
}

/// The event loop has slept.
pub fn begin() {
    TICKS.with_borrow_mut(|ticks| ticks.woke = Some(Instant::now()));
}

/// It is about to sleep.
pub fn end() {
    TICKS.with_borrow_mut(|ticks| {
        let Some(woke) = ticks.woke.take() else { return };
        let now = Instant::now();
        let [now_us, took_us] = [ticks.began, woke].map(|then| now.duration_since(then).as_micros() as u64);
        ticks.delay.record(now_us, took_us);
    });
}

/// The duration of the last tick, and of the longest one in the last minute, microseconds.
pub fn shown() -> (u64, u64) {
    TICKS.with_borrow(|ticks| ticks.delay.shown(ticks.began.elapsed().as_micros() as u64))
}
