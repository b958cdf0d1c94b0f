//! The scheduler's one timer.

use super::api::{call, Ctx};
use super::contain::contain;
use super::host::RedisHost;
use super::state;
use crate::command::scheduler;
use redis_module::raw as rm;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// How soon the scheduler looks again whether clients are still paused, ms.
const PAUSED_RETRY_MS: u64 = 10;

thread_local! {
    /// The timer that runs, and when it fires, unix ms.
    static ARMED: Cell<Option<(rm::RedisModuleTimerID, u64)>> = const { Cell::new(None) };
}

/// Sees to it that the scheduler runs at `when` (unix ms) or earlier; 0 is at once, after the current command.
pub fn arm(when: Option<u64>) {
    let (Some(when), Some(ctx)) = (when, state::detached()) else {
        return;
    };
    if let Some((id, armed)) = ARMED.get() {
        if armed <= when {
            return;
        }
        call!(RedisModule_StopTimer(ctx.0, id, ptr::null_mut()));
    }
    let delay = when.saturating_sub(state::now_us() / 1000).min(i64::MAX as u64 / 2000);
    let id = call!(RedisModule_CreateTimer(ctx.0, delay as i64, Some(fire), ptr::null_mut()));
    ARMED.set(Some((id, when)));
}

extern "C" fn fire(ctx: *mut rm::RedisModuleCtx, _data: *mut c_void) {
    ARMED.set(None);
    contain("the scheduler", || {
        // While clients are paused (CLIENT PAUSE, FAILOVER, CLUSTER FAILOVER) the data must not change: Redis dies of an assertion if
        // something is replicated then.
        if call!(RedisModule_AvoidReplicaTraffic()) != 0 {
            return arm(Some(state::now_us() / 1000 + PAUSED_RETRY_MS));
        }
        let mut host = RedisHost::for_scheduler(Ctx(ctx));
        let ran = contain("the scheduler", || {
            state::with_node(|node| {
                scheduler::tick(node, &mut host);
                host.finish();
            })
        });
        if ran.is_none() {
            host.recover(None, Vec::new());
        }
    });
}
