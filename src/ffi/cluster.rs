//! Redis Cluster: does this node still serve the key that somebody waits for?
//!
//! Redis redirects clients that wait in its own commands when a slot moves, but not those of a module. So a waited-for key is asked
//! about whenever it is looked at, before anything is granted on it.

use super::api::{call, CallReply, Ctx, Str};
use crate::command::Ownership;

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
    CallReply::new(call!(RedisModule_Call(ctx.0, c"EXISTS".as_ptr(), c"s".as_ptr(), name.0))).is_some()
}

fn moved(ctx: Ctx, name: Str) -> Ownership {
    let slot = call!(RedisModule_Call(ctx.0, c"CLUSTER".as_ptr(), c"cs".as_ptr(), c"KEYSLOT".as_ptr(), name.0));
    let nodes = call!(RedisModule_Call(ctx.0, c"CLUSTER".as_ptr(), c"c".as_ptr(), c"NODES".as_ptr()));
    let slot = CallReply::new(slot).and_then(|reply| reply.integer());
    let nodes = CallReply::new(nodes).and_then(|reply| reply.text());
    let (Some(slot), Some(nodes)) = (slot, nodes) else { return Ownership::Unsure };
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
