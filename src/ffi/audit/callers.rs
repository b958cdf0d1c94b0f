//! For whom a command runs, for the audit trail. Address and user of a client are kept, since they
//! seldom change and every record needs them.

use crate::ffi::api::{call, Ctx};
use crate::ffi::users;
use crate::observe::audit::Caller;
use ahash::AHashMap;
use redis_module::raw as rm;
use std::cell::RefCell;
use std::ffi::{c_int, c_void, CStr};
use std::sync::Arc;

/// How many clients are kept.
const CLIENTS_MAX: usize = 10_000;

/// What is kept of a client. Ids of clients are never given twice.
struct Known {
    user: Option<Arc<[u8]>>,
    addr: Option<Arc<str>>,
}

thread_local! {
    static CLIENTS: RefCell<AHashMap<u64, Known>> = RefCell::default();
}

/// The caller of the command that runs in this context. `client` is the one whose connection lasts
/// beyond it.
pub fn caller(ctx: Ctx, client: Option<u64>) -> Caller {
    let Some(id) = client else {
        return Caller { user: users::name(ctx).map(Into::into), client: None, addr: None };
    };
    CLIENTS.with_borrow_mut(|clients| {
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(&id) {
            clients.clear();
        }
        let known = clients.entry(id).or_insert_with(|| Known { user: None, addr: address(id) });
        let is_known = |user: &[u8]| known.user.as_deref() == Some(user);
        // The user of a client is another one after AUTH.
        if users::with_client_name(ctx, is_known) != Some(true) {
            known.user = users::name(ctx).map(Into::into);
        }
        Caller { user: known.user.clone(), client, addr: known.addr.clone() }
    })
}

/// Whether the command in this context runs for this caller. Not to be asked on the link to the
/// primary.
pub fn is_caller(ctx: Ctx, client: Option<u64>, known: &Caller) -> bool {
    let is_known = |user: &[u8]| known.user.as_deref() == Some(user);
    client.is_some() && client == known.client && users::with_own_name(ctx, is_known)
}

/// The address of a client: `ip:port`, or `unix`.
fn address(id: u64) -> Option<Arc<str>> {
    // SAFETY: a struct of numbers and bytes, which the server fills in.
    let mut info: rm::RedisModuleClientInfo = unsafe { std::mem::zeroed() };
    info.version = 1;
    let place = (&raw mut info).cast::<c_void>();
    if call!(RedisModule_GetClientInfoById(place, id)) != rm::REDISMODULE_OK as c_int {
        return None;
    }
    if info.flags & u64::from(rm::REDISMODULE_CLIENTINFO_FLAG_UNIXSOCKET) != 0 {
        return Some("unix".into());
    }
    // SAFETY: the server ends the text with a NUL within its bounds.
    let ip = unsafe { CStr::from_ptr(info.addr.as_ptr()) }.to_string_lossy();
    let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.into_owned() };
    Some(format!("{ip}:{}", info.port).into())
}
