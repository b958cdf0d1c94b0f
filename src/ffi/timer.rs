//! The scheduler's one timer.

use super::api::{call, Ctx};
use super::clock::now_us;
use super::detached;
use redis_module::raw as rm;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// What Redis calls when a timer fires.
pub type Callback = extern "C" fn(*mut rm::RedisModuleCtx, *mut c_void);

thread_local! {
    /// The armed timer, and when it fires, unix ms.
    static ARMED: Cell<Option<(rm::RedisModuleTimerID, u64)>> = const { Cell::new(None) };
    /// The callback.
    static FIRE: Cell<Option<Callback>> = const { Cell::new(None) };
}

/// Sets the callback. To be called before the first [`arm`].
pub fn set_callback(fire: Callback) {
    FIRE.set(Some(fire));
}

/// The timer has fired, so none is armed.
pub fn has_fired() {
    ARMED.set(None);
}

extern "C" fn idle(_ctx: *mut rm::RedisModuleCtx, _data: *mut c_void) {}

/// Ensures that the scheduler runs at `when` (unix ms) or earlier; 0 is at once, after the
/// current command.
pub fn arm(when: Option<u64>) {
    let (Some(when), Some(ctx)) = (when, detached::context()) else {
        return;
    };
    if let Some((id, armed)) = ARMED.get() {
        if armed <= when {
            return;
        }
        call!(RedisModule_StopTimer(ctx.0, id, ptr::null_mut()));
    }
    create(ctx, when);
}

/// The system's clock was set back: Redis' timers go by it, and would not fire before it shows
/// again what it showed.
pub fn arm_again() {
    let (Some((id, when)), Some(ctx)) = (ARMED.get(), detached::context()) else { return };
    call!(RedisModule_StopTimer(ctx.0, id, ptr::null_mut()));
    create(ctx, when);
}

fn create(ctx: Ctx, when: u64) {
    let delay = when.saturating_sub(now_us() / 1000).min(i64::MAX as u64 / 2000);
    let id = call!(RedisModule_CreateTimer(ctx.0, delay as i64, Some(FIRE.get().unwrap_or(idle)), ptr::null_mut()));
    ARMED.set(Some((id, when)));
}
