//! The only part that calls Redis, and the only one with unsafe code. It knows no rule of
//! LTMC: it translates.
//!
//! ```text
//! Redis calls                      here                        goes on in
//! a command                        commands.rs -> host.rs      command::engine::dispatch::run
//! a timer                          timer.rs -> rounds.rs       command::scheduler::tick
//! each key, one after the other    walk.rs                     command::scheduler::scrub
//! load, save, free a value         types.rs                    snapshot
//! a client waits, leaves, is told  blocking.rs                 command::node::waits
//! flush, swap, role, fork, ...     events.rs -> inbox          command::node
//! a report of another node         bus.rs                      observe::peers
//! CONFIG, INFO                     config.rs, info.rs          command::settings, observe
//! the audit trail's thread         audit.rs                    observe::audit
//! the threads of long work         workers.rs, offload.rs      command::engine::offload
//! ```
//!
//! Everything but those threads runs on Redis' one thread. The state of the process is in
//! [`state`], and one entry point borrows it at a time. Callbacks that Redis may call in the
//! middle of another one (a key was unlinked, a client left) leave a note in the inbox instead.
//! Every entry point is wrapped by [`contain`], so that no panic reaches Redis.

pub mod api;
pub mod audit;
pub mod blocking;
pub mod bus;
pub mod by_key;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod config_file;
pub mod contain;
pub mod counts;
pub mod detached;
pub mod docs;
pub mod events;
pub mod function;
pub mod held;
pub mod host;
pub mod info;
pub mod inner;
pub mod listeners;
pub mod notifications;
pub mod offload;
pub mod reply;
pub mod rounds;
pub mod shutdown;
pub mod state;
pub mod ticks;
pub mod timer;
pub mod types;
pub mod users;
pub mod walk;
pub mod workers;

use crate::domain::algorithm::discard::free_with;
use api::Ctx;
use redis_module::raw as rm;
use std::ffi::c_int;

/// Redis calls this when it loads the module. Registers everything, or stops the load with a
/// message in the log.
#[no_mangle]
pub extern "C" fn RedisModule_OnLoad(
    ctx: *mut rm::RedisModuleCtx,
    _args: *mut *mut rm::RedisModuleString,
    args_count: c_int,
) -> c_int {
    // Nothing may allocate before this: it finds Redis' allocator, and all else of the API.
    // SAFETY: the context is Redis', and the name is a NUL-terminated text.
    let found = unsafe { rm::Export_RedisModule_Init(ctx, c"ltmc".as_ptr(), 1, rm::REDISMODULE_APIVER_1 as c_int) };
    if found != rm::REDISMODULE_OK as c_int {
        return rm::REDISMODULE_ERR as c_int;
    }
    let ctx = Ctx(ctx);
    let problem = match std::panic::catch_unwind(|| start(ctx, args_count)) {
        Ok(Ok(())) => return rm::REDISMODULE_OK as c_int,
        Ok(Err(problem)) => problem,
        Err(_) => "internal error, see the lines above".into(),
    };
    ctx.log("warning", &format!("LTMC does not load: {problem}"));
    rm::REDISMODULE_ERR as c_int
}

fn start(ctx: Ctx, module_args: c_int) -> Result<(), String> {
    if module_args > 0 {
        return Err("it takes no module arguments; settings are configs named ltmc.*, see redis.conf.example".into());
    }
    contain::install_hook();
    ctx.set_module_options(
        rm::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS | rm::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED,
    );
    timer::set_callback(rounds::run);
    state::start(ctx);
    types::register(ctx)?;
    free_with(types::free_large);
    commands::register(ctx)?;
    config::register(ctx)?;
    config_file::warn_of_unknown_names(ctx);
    events::subscribe(ctx)?;
    info::register(ctx)?;
    blocking::start(ctx);
    bus::start(ctx);
    state::with_node(|node| audit::start(ctx, node)).unwrap_or(Ok(()))?;
    warn_of_eviction(ctx);
    let server = ctx.server_version_text();
    ctx.log("notice", &format!("LTMC {} loaded into {server}", env!("CARGO_PKG_VERSION")));
    Ok(())
}

fn warn_of_eviction(ctx: Ctx) {
    let policy = ctx.server_info("memory").text("maxmemory_policy").unwrap_or_default();
    if !policy.is_empty() && policy != "noeviction" {
        let text = format!(
            "maxmemory-policy is {policy}: when memory runs out Redis may evict locks that are held. Use noeviction, or keep LTMC's \
             keys on a server of their own"
        );
        ctx.log("warning", &text);
    }
}
