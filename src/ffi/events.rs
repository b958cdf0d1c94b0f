//! What the server reports: roles, flushes, swaps, loads, forks, disconnects, and keys that appear
//! under a new name.
//!
//! None of these callbacks may write, and some run in the middle of a command, so they leave notes.

use super::api::{call, Ctx, OpenKey, Str};
use super::contain::contain;
use super::host::RedisHost;
use super::state;
use super::state::Note;
use super::{audit, blocking, clock, held, listeners, notifications, shutdown, ticks, timer, types};
use crate::command::engine::remains;
use crate::domain::KeyId;
use redis_module::raw as rm;
use std::ffi::{c_char, c_int, c_void, CStr};

/// Subscribes to everything that matters.
pub fn subscribe(ctx: Ctx) -> Result<(), String> {
    let server_events: [(u64, rm::RedisModuleEventCallback); 11] = [
        (rm::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED, Some(role_changed)),
        (rm::REDISMODULE_EVENT_FLUSHDB, Some(flushed)),
        (rm::REDISMODULE_EVENT_SWAPDB, Some(swapped)),
        (rm::REDISMODULE_EVENT_LOADING, Some(loading)),
        (rm::REDISMODULE_EVENT_FORK_CHILD, Some(forked)),
        (rm::REDISMODULE_EVENT_CLIENT_CHANGE, Some(client_changed)),
        (rm::REDISMODULE_EVENT_EVENTLOOP, Some(ticked)),
        (rm::REDISMODULE_EVENT_CRON_LOOP, Some(cron)),
        (rm::REDISMODULE_EVENT_CONFIG, Some(configured)),
        (rm::REDISMODULE_EVENT_SHUTDOWN, Some(shut_down)),
        (rm::REDISMODULE_EVENT_MODULE_CHANGE, Some(configured)),
    ];
    for (id, callback) in server_events {
        let event = rm::RedisModuleEvent { id, dataver: 1 };
        if call!(RedisModule_SubscribeToServerEvent(ctx.0, event, callback)) != rm::REDISMODULE_OK as c_int {
            return Err(format!("the server does not report event {id}"));
        }
    }
    let classes = rm::REDISMODULE_NOTIFY_GENERIC | rm::REDISMODULE_NOTIFY_EXPIRED | rm::REDISMODULE_NOTIFY_EVICTED;
    call!(RedisModule_SubscribeToKeyspaceEvents(ctx.0, classes, Some(keyspace)));
    Ok(())
}

extern "C" fn role_changed(_ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, sub: u64, _data: *mut c_void) {
    contain("a change of role", || {
        listeners::may_have_changed();
        state::note(Note::Role { replica: sub == rm::REDISMODULE_EVENT_REPLROLECHANGED_NOW_REPLICA });
    });
}

extern "C" fn flushed(_ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, sub: u64, data: *mut c_void) {
    contain("a flush", || {
        if sub != u64::from(rm::REDISMODULE_SUBEVENT_FLUSHDB_END as u32) {
            return;
        }
        // SAFETY: this event comes with a flush info of version 1.
        let Some(info) = (unsafe { data.cast::<rm::RedisModuleFlushInfoV1>().as_ref() }) else {
            return;
        };
        state::note(Note::Flushed(u32::try_from(info.dbnum).ok()));
    });
}

extern "C" fn swapped(_ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, _sub: u64, data: *mut c_void) {
    contain("SWAPDB", || {
        // SAFETY: this event comes with a swap info of version 1.
        let Some(info) = (unsafe { data.cast::<rm::RedisModuleSwapDbInfoV1>().as_ref() }) else {
            return;
        };
        // At once: what comes after it has the new numbers.
        state::with_node(|node| node.databases_swapped(info.dbnum_first as u32, info.dbnum_second as u32));
    });
}

extern "C" fn loading(ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, sub: u64, _data: *mut c_void) {
    contain("loading", || {
        listeners::may_have_changed();
        match sub {
            rm::REDISMODULE_SUBEVENT_LOADING_RDB_START => {
                state::with_node(|node| node.loading = Some(Vec::new()));
            }
            rm::REDISMODULE_SUBEVENT_LOADING_ENDED => {
                state::note(Note::Loaded);
                state::with_node(|node| remains::loaded(node, &mut RedisHost::for_scheduler(Ctx(ctx))));
            }
            // From an AOF and from a primary comes what is there.
            _ => drop(state::with_node(|node| node.loading = None)),
        }
    });
}

extern "C" fn forked(ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, sub: u64, _data: *mut c_void) {
    contain("a fork", || {
        if sub == rm::REDISMODULE_SUBEVENT_FORK_CHILD_BORN {
            listeners::forked(Ctx(ctx));
        }
    });
}

extern "C" fn client_changed(_ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, sub: u64, data: *mut c_void) {
    contain("the end of a client", || {
        if sub != rm::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED {
            return;
        }
        // SAFETY: this event comes with a client info, which begins like version 1.
        let Some(info) = (unsafe { data.cast::<rm::RedisModuleClientInfoV1>().as_ref() }) else {
            return;
        };
        if state::is_tied(info.id) {
            state::note(Note::ClientGone(info.id));
        }
    });
}

extern "C" fn ticked(_ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, sub: u64, _data: *mut c_void) {
    if sub == rm::REDISMODULE_SUBEVENT_EVENTLOOP_BEFORE_SLEEP {
        contain("the end of a tick", || {
            state::loading_has_ended();
            blocking::before_sleep();
            held::before_sleep();
            state::look_at_memory();
            state::hand_over_audit();
            ticks::end();
        });
    } else {
        contain("the beginning of a tick", || {
            ticks::begin();
            if clock::has_slept() {
                timer::arm_again();
            }
        });
    }
}

extern "C" fn cron(_ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, _sub: u64, data: *mut c_void) {
    // SAFETY: this event comes with a cron info of version 1.
    let info = unsafe { data.cast::<rm::RedisModuleCronLoopV1>().as_ref() };
    info.into_iter().for_each(|info| clock::set_hz(info.hz as u64));
}

extern "C" fn shut_down(ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, _sub: u64, _data: *mut c_void) {
    contain("the shutdown", || {
        state::hand_over_audit();
        audit::finish(Ctx(ctx));
        shutdown::note(Ctx(ctx));
    });
}

extern "C" fn configured(_ctx: *mut rm::RedisModuleCtx, _event: rm::RedisModuleEvent, _sub: u64, _data: *mut c_void) {
    contain("a change of settings", notifications::may_have_changed);
}

/// A value of ours may now be under another name or have another TTL, which the scheduler checks;
/// or it has expired.
extern "C" fn keyspace(
    ctx: *mut rm::RedisModuleCtx,
    class: c_int,
    event: *const c_char,
    key: *mut rm::RedisModuleString,
) -> c_int {
    contain("a keyspace event", || {
        if class != rm::REDISMODULE_NOTIFY_GENERIC {
            // Whoever writes to the key next may do so before LTMC's next turn.
            let event = state::has_expired(Str(key).bytes(), Ctx(ctx).db());
            return event.into_iter().for_each(|event| Ctx(ctx).notify(rm::REDISMODULE_NOTIFY_MODULE, event, Str(key)));
        }
        // SAFETY: Redis passes the event's name as a NUL-terminated text that lives
        // until we return.
        let event = unsafe { CStr::from_ptr(event) };
        let is_expiry = [c"expire", c"persist"].contains(&event);
        let may_be_ours = is_expiry || [c"rename_to", c"move_to", c"copy_to", c"restore"].contains(&event);
        // Most keys that are given a TTL are not ours.
        if may_be_ours && (!is_expiry || is_ours(Ctx(ctx), Str(key))) {
            state::note(Note::KeyChanged(KeyId::new(Ctx(ctx).db(), Str(key).bytes())));
        }
    });
    rm::REDISMODULE_OK as c_int
}

/// Whether the key holds a value of ours.
fn is_ours(ctx: Ctx, name: Str) -> bool {
    let key = OpenKey::open(ctx, name, false);
    !key.value().is_null() && types::tag_of(key.module_type()).is_some()
}
