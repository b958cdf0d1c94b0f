//! Clients for whom a thread works: [`crate::command::engine::offload`] says what for.
//!
//! An answer is written by the thread, into a reply of its own that the server attaches to the
//! client's without a copy. What is prepared comes back to the event loop, in the timer of the
//! scheduler: there a command may be replicated, and not while clients are paused.
//!
//! `CLIENT UNBLOCK` does not end these waits, which are short; it answers 0. After `CLIENT KILL`, a
//! disconnect and a change of role, what was made is dropped by a thread.

use super::api::{call, Ctx};
use super::contain::contain;
use super::held::{HeldArgs, Origin};
use super::{blocking, reply, timer, users, workers};
use crate::command::engine::cx::Command;
use crate::command::engine::job::Product;
use crate::command::reply::Reply;
use crate::domain::queue::rank::WaiterId;
use crate::domain::Error;
use crate::ffi::host::RedisHost;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A command that a thread has prepared.
pub struct Prepared {
    /// Its client.
    pub waiter: WaiterId,
    /// Its row.
    pub command: &'static Command<RedisHost>,
    /// Its arguments.
    pub args: Arc<HeldArgs>,
    /// For whom it runs.
    pub origin: Origin,
    /// What was made for it.
    pub product: Product,
}

static PREPARED: Mutex<VecDeque<Prepared>> = Mutex::new(VecDeque::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pointer that goes to a thread and back.
struct Sent<T>(*mut T);

// SAFETY: the server allows the uses of these pointers in threads: replies to a blocked client in
// a context of its own, and unblocking it.
unsafe impl<T> Send for Sent<T> {}

impl<T> Sent<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// Blocks the client of `ctx` and has a thread answer it.
pub fn answer(ctx: Ctx, make: impl FnOnce() -> Result<Reply, Error> + Send + 'static) {
    let handle = call!(RedisModule_BlockClient(ctx.0, None, None, None, 0));
    let own_ctx = Sent(call!(RedisModule_GetThreadSafeContext(handle)));
    let handle = Sent(handle);
    let work = move || {
        contain("the work of a thread", || {
            let made = contain("the work of a thread", make).unwrap_or_else(|| Err(Error::internal()));
            reply::write(Ctx(own_ctx.get()), &made);
        });
        call!(RedisModule_FreeThreadSafeContext(own_ctx.get()));
        call!(RedisModule_UnblockClient(handle.get(), ptr::null_mut()));
    };
    workers::submit(&users::name(ctx).unwrap_or_default(), work);
}

/// Blocks the client of `ctx` and has a thread prepare its command.
pub fn prepare(ctx: Ctx, mut prepared: Prepared, make: impl FnOnce() -> Product + Send + 'static) {
    blocking::block_for_short(ctx, prepared.waiter);
    let user = prepared.origin.user.clone().unwrap_or_default();
    let work = move || {
        prepared.product = contain("the work of a thread", make).unwrap_or_else(|| Err(Error::internal()));
        lock(&PREPARED).push_back(prepared);
        call!(RedisModule_EventLoopAddOneShot(Some(is_prepared), ptr::null_mut()));
    };
    workers::submit(&user, work);
}

/// In the event loop, where nothing may be written yet.
extern "C" fn is_prepared(_data: *mut c_void) {
    contain("what a thread has prepared", || timer::arm(Some(0)));
}

/// The next command that is prepared and whose client still waits.
pub fn next_prepared() -> Option<Prepared> {
    loop {
        let prepared = lock(&PREPARED).pop_front()?;
        if blocking::is_blocked(prepared.waiter) {
            return Some(prepared);
        }
        workers::free(prepared);
    }
}

/// Whether there are more.
pub fn has_prepared() -> bool {
    !lock(&PREPARED).is_empty()
}
