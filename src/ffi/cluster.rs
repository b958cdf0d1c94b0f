//! Redis Cluster: does this node still serve the key that somebody waits for?
//!
//! Redis redirects clients that wait in its own commands when a slot moves, but not those of a module. So a waited-for key is asked
//! about whenever it is looked at, before anything is granted on it.

use super::api::{call, Ctx, Str};
use crate::command::Ownership;
use redis_module::raw as rm;
use std::ffi::c_int;

/// Whether this node serves the slot of `key`, and who does else.
pub fn ownership(ctx: Ctx, key: &[u8]) -> Ownership {
    let name = ctx.new_string(key);
    let owned = serves(ctx, name);
    let found = if owned { Ownership::Here } else { moved(ctx, name) };
    ctx.free_string(name);
    found
}

/// A call on a key of another node fails before anything is looked up; so does one on a key that is not here while its slot moves.
fn serves(ctx: Ctx, name: Str) -> bool {
    let reply = call!(RedisModule_Call(ctx.0, c"EXISTS".as_ptr(), c"s".as_ptr(), name.0));
    if reply.is_null() {
        return false;
    }
    call!(RedisModule_FreeCallReply(reply));
    true
}

fn moved(ctx: Ctx, name: Str) -> Ownership {
    let Some(slot) = integer(call!(RedisModule_Call(
        ctx.0,
        c"CLUSTER".as_ptr(),
        c"cs".as_ptr(),
        c"KEYSLOT".as_ptr(),
        name.0
    ))) else {
        return Ownership::Unsure;
    };
    let reply = call!(RedisModule_Call(
        ctx.0,
        c"CLUSTER".as_ptr(),
        c"c".as_ptr(),
        c"NODES".as_ptr()
    ));
    let Some(nodes) = text(reply) else {
        return Ownership::Unsure;
    };
    match address_of(&nodes, slot) {
        Some(address) => Ownership::Moved(format!("{slot} {address}")),
        None => Ownership::Unsure,
    }
}

/// The address of the node that serves `slot`, if it is not this one, from the text of CLUSTER NODES:
/// `id ip:port@bus[,hostname] flags primary ping pong epoch link slot slot-slot ...`
fn address_of(nodes: &str, slot: i64) -> Option<String> {
    let serves = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse::<i64>(), last.parse::<i64>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
    };
    let line = nodes.lines().find(|line| line.split(' ').skip(8).any(serves))?;
    let mut fields = line.split(' ').skip(1);
    let (address, flags) = (fields.next()?, fields.next()?);
    if flags.split(',').any(|flag| flag == "myself") {
        return None;
    }
    Some(address.split('@').next()?.to_string())
}

fn integer(reply: *mut rm::RedisModuleCallReply) -> Option<i64> {
    if reply.is_null() {
        return None;
    }
    let is_integer = call!(RedisModule_CallReplyType(reply)) == rm::REDISMODULE_REPLY_INTEGER as c_int;
    let value = is_integer.then(|| call!(RedisModule_CallReplyInteger(reply)));
    call!(RedisModule_FreeCallReply(reply));
    value
}

fn text(reply: *mut rm::RedisModuleCallReply) -> Option<String> {
    if reply.is_null() {
        return None;
    }
    let mut len = 0;
    let start = call!(RedisModule_CallReplyStringPtr(reply, &mut len));
    let text = if start.is_null() {
        None
    } else {
        // SAFETY: Redis says that `len` bytes start there; they live as long as the reply, which is freed below.
        let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) };
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    call!(RedisModule_FreeCallReply(reply));
    text
}
