//! What is kept of a command beyond its handler: its arguments, and for whom it runs.

use super::api::{call, Argv, Str};
use crate::command::host::Arguments;
use crate::domain::Db;
use crate::observe::audit::Caller;
use redis_module::raw as rm;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// For whom a command runs that no longer runs in its client's context.
#[derive(Debug, Clone)]
pub struct Origin {
    /// See [`Host::client`](crate::command::host::Host::client).
    pub client: u64,
    /// See [`Host::connection`](crate::command::host::Host::connection).
    pub connection: Option<u64>,
    /// See [`Host::user`](crate::command::host::Host::user).
    pub user: Option<Vec<u8>>,
    /// See [`Host::caller`](crate::command::host::Host::caller).
    pub caller: Caller,
    /// Its database.
    pub db: Db,
}

/// The arguments of a command, held beyond it.
#[derive(Debug)]
pub struct HeldArgs(Vec<HeldString>);

#[derive(Debug, Clone, Copy)]
struct HeldString {
    string: *mut rm::RedisModuleString,
    start: *const u8,
    len: usize,
}

// SAFETY: the server does not change a string that has several owners, and only the event loop
// frees it.
unsafe impl Send for HeldString {}
// SAFETY: as above.
unsafe impl Sync for HeldString {}

/// Strings that the event loop has to free, and whether there are any.
static RELEASED: Mutex<Vec<HeldString>> = Mutex::new(Vec::new());
static HAS_RELEASED: AtomicBool = AtomicBool::new(false);

fn released() -> MutexGuard<'static, Vec<HeldString>> {
    RELEASED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HeldArgs {
    /// Holds the arguments of a command.
    pub fn new(argv: Argv) -> Self {
        let hold = |string: &*mut rm::RedisModuleString| {
            let string = call!(RedisModule_HoldString(ptr::null_mut(), *string));
            let bytes = Str(string).bytes();
            HeldString { string, start: bytes.as_ptr(), len: bytes.len() }
        };
        Self(argv.strings().iter().map(hold).collect())
    }

    /// The strings.
    pub fn strings(&self) -> Vec<*mut rm::RedisModuleString> {
        self.0.iter().map(|held| held.string).collect()
    }
}

impl Arguments for HeldArgs {
    fn bytes(&self) -> Vec<&[u8]> {
        // SAFETY: the strings have these bytes as long as they are held, which is as long as this
        // lives.
        self.0.iter().map(|held| unsafe { std::slice::from_raw_parts(held.start, held.len) }).collect()
    }
}

impl Drop for HeldArgs {
    fn drop(&mut self) {
        released().append(&mut self.0);
        HAS_RELEASED.store(true, Relaxed);
    }
}

/// At the end of a tick: frees what threads no longer read.
pub fn before_sleep() {
    if HAS_RELEASED.swap(false, Relaxed) {
        let strings = std::mem::take(&mut *released());
        strings.into_iter().for_each(|held| call!(RedisModule_FreeString(ptr::null_mut(), held.string)));
    }
}
