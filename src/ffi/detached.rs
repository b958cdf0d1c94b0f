//! The context that belongs to no callback: for timers, and for the log when there is no other.

use super::api::Ctx;
use std::cell::Cell;

thread_local! {
    static DETACHED: Cell<Option<Ctx>> = const { Cell::new(None) };
}

/// Keeps a context, made from that of the load.
pub fn keep(ctx: Ctx) {
    DETACHED.set(Some(ctx.detached()));
}

/// The context; `None` before the module is loaded.
pub fn context() -> Option<Ctx> {
    DETACHED.get()
}

/// Writes a contained panic to the log, with its backtrace line by line: Redis cuts long lines.
pub fn log_panic(what: &str, text: &str) {
    // A thread has none; the log takes lines from any thread.
    let ctx = context().unwrap_or(Ctx(std::ptr::null_mut()));
    ctx.log("warning", &format!("LTMC: internal error in {what}, contained"));
    for line in text.lines() {
        ctx.log("warning", line);
    }
}
