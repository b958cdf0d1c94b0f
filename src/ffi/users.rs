//! The user on whose behalf a command runs, and what that ACL user may do.
//!
//! `RM_GetCurrentUserName` must not be called without need: in timers, on the link to the primary,
//! in loaded files and in calls of other modules it reads the name of a user that does not exist,
//! and the server crashes (redis#13619).

use super::api::{call, CallReply, Ctx, Str};
use super::docs::permission_flags;
use crate::command::host::Access;
use redis_module::raw as rm;
use std::cell::RefCell;
use std::ffi::c_int;

thread_local! {
    /// The user whose command runs an inner one. An inner call has its own client, of which the
    /// server knows nothing.
    static CALLER: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Runs `call`. Commands of ours in it run on behalf of `user`.
pub fn on_behalf_of<T>(user: Option<Vec<u8>>, call: impl FnOnce() -> T) -> T {
    let before = CALLER.replace(user);
    let result = call();
    CALLER.set(before);
    result
}

/// The ACL user; `None` for the server itself and for other modules.
pub fn name(ctx: Ctx) -> Option<Vec<u8>> {
    with_client_name(ctx, <[u8]>::to_vec).or_else(|| inner_name(ctx))
}

/// Lends the name of the client's user; `None` for a client that is none of the server's.
pub fn with_client_name<T>(ctx: Ctx, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let name = Str(call!(RedisModule_GetClientUserNameById(ctx.0, ctx.client_id())));
    if name.0.is_null() {
        return None;
    }
    let result = read(name.bytes());
    ctx.free_string(name);
    Some(result)
}

/// Lends the name of the user of the client whose command runs: a client of the server's own
/// connections, which always has a user.
pub fn with_own_name<T>(ctx: Ctx, read: impl FnOnce(&[u8]) -> T) -> T {
    let name = Str(call!(RedisModule_GetCurrentUserName(ctx.0)));
    let result = read(name.bytes());
    ctx.free_string(name);
    result
}

/// The user of a script or an inner call.
pub fn inner_name(ctx: Ctx) -> Option<Vec<u8>> {
    let of_caller = CALLER.with_borrow(Clone::clone);
    of_caller.or_else(|| has_user(ctx).then(|| taken(ctx, Str(call!(RedisModule_GetCurrentUserName(ctx.0))))))
}

fn taken(ctx: Ctx, name: Str) -> Vec<u8> {
    let bytes = name.bytes().to_vec();
    ctx.free_string(name);
    bytes
}

/// Whether the context's client, which is that of a script, has a user. The server reveals it when
/// it is to run a command with that user's rights: without a user it refuses before it looks up the
/// command, which does not exist.
fn has_user(ctx: Ctx) -> bool {
    if ctx.flags() & rm::REDISMODULE_CTX_FLAGS_LUA == 0 {
        return false;
    }
    let refused = CallReply::new(call!(RedisModule_Call(ctx.0, c"LTMC.NOCOMMAND".as_ptr(), c"CE".as_ptr())));
    refused.and_then(|reply| reply.text()).is_some_and(|text| text.to_ascii_lowercase().contains("unknown command"))
}

/// A user of the server. Freed when dropped.
struct User(*mut rm::RedisModuleUser);

impl User {
    /// `None` if the user no longer exists.
    fn find(ctx: Ctx, name: &[u8]) -> Option<Self> {
        let name = ctx.new_string(name);
        let user = call!(RedisModule_GetModuleUserFromUserName(name.0));
        ctx.free_string(name);
        (!user.is_null()).then(|| Self(user))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        call!(RedisModule_FreeModuleUser(self.0));
    }
}

/// Whether a user has this access to a key.
pub fn may_access(ctx: Ctx, user: &[u8], key: Str, access: Access) -> bool {
    let Some(user) = User::find(ctx, user) else { return false };
    let flags = permission_flags(access) as c_int;
    call!(RedisModule_ACLCheckKeyPermissions(user.0, key.0, flags)) == rm::REDISMODULE_OK as c_int
}

/// Whether a user may run a command on a key.
pub fn may_run(ctx: Ctx, user: &[u8], command: &'static str, key: &[u8]) -> bool {
    let args = [ctx.new_string(command.as_bytes()), ctx.new_string(key)];
    let may = may_run_with(ctx, user, &args.map(|arg| arg.0));
    args.into_iter().for_each(|arg| ctx.free_string(arg));
    may
}

/// Whether a user may run a command with these arguments, the name first.
pub fn may_run_with(ctx: Ctx, user: &[u8], args: &[*mut rm::RedisModuleString]) -> bool {
    let Some(user) = User::find(ctx, user) else { return false };
    let mut args = args.to_vec();
    let may = call!(RedisModule_ACLCheckCommandPermissions(user.0, args.as_mut_ptr(), args.len() as c_int));
    may == rm::REDISMODULE_OK as c_int
}
