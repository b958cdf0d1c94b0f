//! Clients that wait: Redis' handles of blocked clients, and the one way out of each wait.
//!
//! `RM_UnblockClient` has to be called exactly once per handle, and a handle may be reused
//! afterwards. So waiters have ids of their own, and the handle is looked up. Between that call and
//! the moment when Redis writes the reply there is a gap. In this gap `CLIENT UNBLOCK` can hit a
//! client that was served already, and servers differ in what happens then:
//!
//! * Redis 7.0 loses the reply, and the client would hang. There the call is deferred to the event
//!   *before sleep*, which Redis fires right before it writes the replies, so that there is no gap.
//!   An earlier `CLIENT UNBLOCK` finds the wait still open and answers with the grant.
//! * Redis 7.2 dies of an assertion. It fires the event too late, so there is no safe moment, and
//!   `CLIENT UNBLOCK` cannot end waits there: it answers 0, as Redis defines for a module's client
//!   without a timeout callback.
//! * Redis 7.4, 8 and Valkey 8 handle the gap themselves.
//!
//! On all of them the scheduler enforces time limits.

use super::api::{call, Ctx};
use super::contain::contain;
use super::reply;
use super::state;
use super::state::Note;
use crate::command::node::waits::Unserved;
use crate::command::reply::Reply;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::queue::rank::WaiterId;
use crate::domain::Error;
use ahash::AHashMap;
use redis_module::raw as rm;
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr;

type Handle = *mut rm::RedisModuleBlockedClient;
type Answer = Result<Reply, Error>;

/// How this server has to be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// Redis 7.0: unblock before sleep.
    PutOff,
    /// Redis 7.2: no `CLIENT UNBLOCK`.
    Closed,
    /// Everything newer.
    Handled,
}

#[derive(Default)]
struct Blocked {
    handles: AHashMap<WaiterId, Handle>,
    /// The waiter of each handle, and whether it was unblocked already.
    waiters: AHashMap<Handle, (WaiterId, bool)>,
    /// Served waiters that are unblocked before sleep.
    put_off: Vec<(WaiterId, Answer)>,
}

struct Delivery {
    waiter: WaiterId,
    answer: Answer,
}

thread_local! {
    static BLOCKED: RefCell<Blocked> = RefCell::default();
    static GAP: Cell<Gap> = const { Cell::new(Gap::Closed) };
}

/// Finds out how the server has to be handled.
pub fn start(ctx: Ctx) {
    const V7_2: i32 = 0x0007_0200;
    const V7_4: i32 = 0x0007_0400;
    GAP.set(match ctx.server_version() {
        version if version < V7_2 => Gap::PutOff,
        version if version < V7_4 => Gap::Closed,
        _ => Gap::Handled,
    });
}

/// Whether `CLIENT UNBLOCK` reaches waiting clients.
pub fn is_unblock_safe() -> bool {
    GAP.get() != Gap::Closed
}

/// Lets the client of `ctx` wait with the id `waiter`.
pub fn block(ctx: Ctx, waiter: WaiterId) {
    block_with(ctx, waiter, if is_unblock_safe() { Some(unblocked_by_command) } else { None });
}

/// The same, and `CLIENT UNBLOCK` does not end it.
pub fn block_for_short(ctx: Ctx, waiter: WaiterId) {
    block_with(ctx, waiter, None);
}

/// Whether this client still waits.
pub fn is_blocked(waiter: WaiterId) -> bool {
    BLOCKED.with_borrow(|blocked| blocked.handles.contains_key(&waiter))
}

fn block_with(ctx: Ctx, waiter: WaiterId, timed_out: rm::RedisModuleCmdFunc) {
    let handle = call!(RedisModule_BlockClient(ctx.0, Some(write_reply), timed_out, Some(free_delivery), 0));
    call!(RedisModule_SetDisconnectCallback(handle, Some(disconnected)));
    BLOCKED.with_borrow_mut(|blocked| {
        blocked.handles.insert(waiter, handle);
        blocked.waiters.insert(handle, (waiter, false));
    });
}

/// Answers a waiting client. One that is gone is ignored: its disconnect callback has handled it.
pub fn answer(waiter: WaiterId, answer: Answer) {
    if GAP.get() == Gap::PutOff {
        BLOCKED.with_borrow_mut(|blocked| blocked.put_off.push((waiter, answer)));
    } else {
        deliver(waiter, answer);
    }
}

/// Called before Redis sleeps: unblocks the clients that [`answer`] has deferred.
pub fn before_sleep() {
    if BLOCKED.with_borrow(|blocked| blocked.put_off.is_empty()) {
        return;
    }
    let put_off = BLOCKED.with_borrow_mut(|blocked| std::mem::take(&mut blocked.put_off));
    for (waiter, answer) in put_off {
        deliver(waiter, answer);
    }
}

fn deliver(waiter: WaiterId, answer: Answer) {
    let handle = BLOCKED.with_borrow_mut(|blocked| {
        let handle = blocked.handles.get(&waiter).copied()?;
        blocked.waiters.insert(handle, (waiter, true));
        Some(handle)
    });
    if let Some(handle) = handle {
        let delivery = Box::into_raw(Box::new(Delivery { waiter, answer }));
        call!(RedisModule_UnblockClient(handle, delivery.cast::<c_void>()));
    }
}

/// Returns the handle of a client that gets no answer from us.
fn release(handle: Handle) {
    call!(RedisModule_UnblockClient(handle, ptr::null_mut()));
}

/// A wait that has ended, and whose handle is about to be freed.
struct Ended {
    waiter: WaiterId,
    was_unblocked: bool,
    put_off: Option<Answer>,
}

fn forget(handle: Handle) -> Option<Ended> {
    BLOCKED.with_borrow_mut(|blocked| {
        let (waiter, was_unblocked) = blocked.waiters.remove(&handle)?;
        blocked.handles.remove(&waiter);
        blocked.waiters.give_back_room();
        blocked.handles.give_back_room();
        let at = blocked.put_off.iter().position(|(id, _)| *id == waiter);
        Some(Ended { waiter, was_unblocked, put_off: at.map(|at| blocked.put_off.swap_remove(at).1) })
    })
}

/// Redis writes the reply of an unblocked client.
extern "C" fn write_reply(ctx: *mut rm::RedisModuleCtx, _argv: *mut *mut rm::RedisModuleString, _argc: c_int) -> c_int {
    contain("the reply to a waiting client", || {
        let ctx = Ctx(ctx);
        let delivery = call!(RedisModule_GetBlockedClientPrivateData(ctx.0)).cast::<Delivery>();
        // SAFETY: the private data of this handle is the delivery that `unblock` boxed; it is freed
        // only in `free_delivery`, later.
        let Some(delivery) = (unsafe { delivery.as_ref() }) else {
            return;
        };
        reply::write(ctx, &delivery.answer);
        forget(call!(RedisModule_GetBlockedClientHandle(ctx.0)));
        state::with_node(|node| node.waits.told(delivery.waiter));
    });
    rm::REDISMODULE_OK as c_int
}

extern "C" fn free_delivery(_ctx: *mut rm::RedisModuleCtx, delivery: *mut c_void) {
    contain("the end of a wait", || {
        // SAFETY: boxed in `unblock`; Redis calls this once for each.
        drop(unsafe { Box::from_raw(delivery.cast::<Delivery>()) });
    });
}

/// `CLIENT UNBLOCK id [TIMEOUT]`: the wait ends as by its time limit, or with what it was
/// served in this tick.
extern "C" fn unblocked_by_command(
    ctx: *mut rm::RedisModuleCtx,
    _argv: *mut *mut rm::RedisModuleString,
    _argc: c_int,
) -> c_int {
    contain("CLIENT UNBLOCK", || {
        let ctx = Ctx(ctx);
        let handle = call!(RedisModule_GetBlockedClientHandle(ctx.0));
        let Some(ended) = forget(handle) else { return };
        let nothing = state::with_node(|node| {
            let nothing = node.nothing_for(ended.waiter);
            node.waits.told(ended.waiter);
            node.drop_wait(ended.waiter, Unserved::TimedOut);
            nothing
        });
        reply::write(ctx, &ended.put_off.unwrap_or(Ok(nothing.unwrap_or(Reply::Nil))));
        if !ended.was_unblocked {
            release(handle);
        }
    });
    rm::REDISMODULE_OK as c_int
}

/// The client disconnected, was killed, was unblocked with an error, or this node became a replica.
/// May run in the middle of a command.
extern "C" fn disconnected(_ctx: *mut rm::RedisModuleCtx, handle: Handle) {
    contain("the end of a waiting client", || {
        let Some(ended) = forget(handle) else { return };
        state::note(Note::WaiterGone(ended.waiter));
        if !ended.was_unblocked {
            release(handle);
        }
    });
}
