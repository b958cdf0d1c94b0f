//! The rounds of the scheduler.

use super::api::{call, Ctx};
use super::clock::now_us;
use super::contain::contain;
use super::host::RedisHost;
use super::{commands, offload, state, timer};
use crate::command::scheduler;
use redis_module::raw as rm;
use std::ffi::c_void;

/// How soon the scheduler checks again whether clients are still paused, ms.
const PAUSED_RETRY_MS: u64 = 10;

/// One round of the scheduler, when its timer fires.
pub extern "C" fn run(ctx: *mut rm::RedisModuleCtx, _data: *mut c_void) {
    timer::has_fired();
    contain("the scheduler", || {
        // While clients are paused (CLIENT PAUSE, FAILOVER, CLUSTER FAILOVER) the data must not
        // change: Redis dies of an assertion if something is replicated then.
        if call!(RedisModule_AvoidReplicaTraffic()) != 0 {
            return timer::arm(Some(now_us() / 1000 + PAUSED_RETRY_MS));
        }
        run_prepared(Ctx(ctx));
        let mut host = RedisHost::for_scheduler(Ctx(ctx));
        let ran = contain("the scheduler", || {
            state::with_node(|node| {
                #[cfg(feature = "test-hooks")]
                crate::command::engine::work::Seen::begin();
                scheduler::tick(node, &mut host);
                host.finish();
                #[cfg(feature = "test-hooks")]
                node.work.round(&node.settings);
            })
        });
        if ran.is_none() {
            host.recover(None, Vec::new());
        }
    });
}

/// Runs the next command that a thread has prepared. The others run in the next rounds: each may
/// take some milliseconds.
fn run_prepared(ctx: Ctx) {
    offload::next_prepared().into_iter().for_each(|prepared| commands::run_prepared(ctx, prepared));
    if offload::has_prepared() {
        timer::arm(Some(0));
    }
}
