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
    owner_of(&nodes, slot).unwrap_or(Ownership::Unsure)
}

/// Where `slot` is served, from the text of CLUSTER NODES:
/// `id ip:port@bus[,hostname] flags primary ping pong epoch link slot slot-slot ...`
fn owner_of(nodes: &str, slot: i64) -> Option<Ownership> {
    let serves = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse::<i64>(), last.parse::<i64>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
    };
    let line = nodes.lines().find(|line| line.split(' ').skip(8).any(serves))?;
    let is_self =
        |line: &&str| line.split(' ').nth(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself"));
    if is_self(&line) {
        // The call that came first says that the key is not here all the same: the slot is on the move.
        return None;
    }
    let mut fields = line.split(' ');
    let (id, address) = (fields.next()?, fields.next()?);
    // A replica answers for the slots of its primary. The call is refused there, since the scheduler has not said READONLY.
    let own_primary = nodes.lines().find(is_self).and_then(|line| line.split(' ').nth(3));
    if own_primary == Some(id) {
        return Some(Ownership::Here);
    }
    Some(Ownership::Moved(format!("{slot} {}", address.split('@').next()?)))
}
