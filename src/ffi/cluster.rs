//! Redis Cluster: its members, and whether this node still serves a waited-for key.
//!
//! Redis redirects clients that wait in its own commands when a slot moves, but not those of a
//! module. So the ownership of a waited-for key is checked whenever the key is looked at, before
//! anything is granted on it.

use super::api::{call, CallReply, Ctx, Str};
use crate::command::host::{replication_members, Link};
use crate::command::host::{Member, Ownership};
use crate::domain::node_report::NodeId;
use redis_module::raw as rm;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::ffi::{c_char, c_int, CStr};

/// More than the longest IP address as a text with its end. Redis writes at most 46 bytes, and no
/// end after an address that long.
const IP_BYTES: usize = 64;

/// Whether this is a node of a Redis Cluster.
pub fn is_enabled(ctx: Ctx) -> bool {
    ctx.flags() & rm::REDISMODULE_CTX_FLAGS_CLUSTER != 0
}

/// The ids of all nodes with a known address, including this one.
pub fn node_ids(ctx: Ctx) -> BTreeSet<NodeId> {
    let mut count = 0;
    let list = call!(RedisModule_GetClusterNodesList(ctx.0, &mut count));
    if list.is_null() {
        return BTreeSet::new();
    }
    // SAFETY: Redis returns `count` pointers, ours until freed, each to the 40 bytes of an id,
    // without a NUL at the end.
    let ids = unsafe { std::slice::from_raw_parts(list.cast::<*const NodeId>(), count) };
    // SAFETY: as above; each id is copied.
    let ids = ids.iter().map(|id| unsafe { **id }).collect();
    call!(RedisModule_FreeClusterNodesList(list));
    ids
}

/// The nodes of the cluster. Without a cluster a primary and its replicas, as far as this
/// server knows them.
pub fn members(ctx: Ctx) -> Vec<Member> {
    if is_enabled(ctx) {
        return nodes(ctx);
    }
    let port = ctx.server_info("server").number("tcp_port");
    let replication = ctx.server_info("replication");
    replication_members(port, |field| replication.text(field))
}

/// All nodes with a known address, including this one.
fn nodes(ctx: Ctx) -> Vec<Member> {
    node_ids(ctx).into_iter().filter_map(|id| member(ctx, id)).collect()
}

fn member(ctx: Ctx, id: NodeId) -> Option<Member> {
    let mut name: [c_char; 41] = [0; 41];
    name.iter_mut().zip(id).for_each(|(place, byte)| *place = byte as c_char);
    let mut ip: [c_char; IP_BYTES] = [0; IP_BYTES];
    let mut primary: NodeId = [0; 40];
    let (mut port, mut flags) = (0, 0);
    let found = call!(RedisModule_GetClusterNodeInfo(
        ctx.0,
        name.as_ptr(),
        ip.as_mut_ptr(),
        primary.as_mut_ptr().cast::<c_char>(),
        &mut port,
        &mut flags
    ));
    if found != rm::REDISMODULE_OK as c_int {
        return None;
    }
    // SAFETY: the array ends with zero bytes, whatever Redis wrote before them.
    let ip = unsafe { CStr::from_ptr(ip.as_ptr()) }.to_string_lossy();
    let has = |flag: u32| flags as u32 & flag != 0;
    let is_replica = has(rm::REDISMODULE_NODE_SLAVE);
    let has_primary = primary[0] != 0;
    Some(Member {
        id: Some(id),
        address: format!("{ip}:{port}"),
        is_self: has(rm::REDISMODULE_NODE_MYSELF),
        is_replica,
        primary: if has_primary { String::from_utf8_lossy(&primary).into_owned() } else { String::new() },
        link: match (has(rm::REDISMODULE_NODE_FAIL), has(rm::REDISMODULE_NODE_PFAIL)) {
            (true, _) => Link::Down,
            (false, true) => Link::Suspect,
            (false, false) => Link::Up,
        },
        age_ms: None,
    })
}

/// Whether this node serves the slot of `key`; otherwise which node does.
pub fn ownership(ctx: Ctx, key: &[u8]) -> Ownership {
    if with_names(ctx, &[key], |names| serves(ctx, names)) {
        Ownership::Here
    } else {
        moved(ctx, key)
    }
}

/// Whether this node has all of `keys`, as far as they exist. They are checked together: about a
/// single missing key, the target of a move tells a client with ASKING that it may be created
/// there, which is right only for the key that the client was sent for.
pub fn presence(ctx: Ctx, keys: &[&[u8]]) -> Ownership {
    if with_names(ctx, keys, |names| serves(ctx, names)) {
        return Ownership::Here;
    }
    let slot = slot_of(ctx, keys[0]);
    // Keys of other slots came with a value from a server without cluster mode. No move of this
    // slot brings them.
    let (own, foreign): (Vec<&[u8]>, Vec<&[u8]>) = keys.iter().partition(|key| slot_of(ctx, key) == slot);
    if foreign.is_empty() {
        return Ownership::Unsure;
    }
    let own = if own.len() > 1 { presence(ctx, &own) } else { Ownership::Here };
    let foreign = foreign.into_iter().map(|key| ownership(ctx, key));
    [own].into_iter().chain(foreign).find(|found| *found != Ownership::Here).unwrap_or(Ownership::Here)
}

/// Lends these keys as strings of the server.
fn with_names<T>(ctx: Ctx, keys: &[&[u8]], ask: impl FnOnce(&[Str]) -> T) -> T {
    let names: SmallVec<[Str; 4]> = keys.iter().map(|key| ctx.new_string(key)).collect();
    let answer = ask(&names);
    names.into_iter().for_each(|name| ctx.free_string(name));
    answer
}

/// A call on keys of another node fails before any key is looked up. So does a call on a missing
/// key whose slot moves.
fn serves(ctx: Ctx, names: &[Str]) -> bool {
    let names: SmallVec<[_; 4]> = names.iter().map(|name| name.0).collect();
    let (first, count) = (names.as_ptr(), names.len());
    CallReply::new(call!(RedisModule_Call(ctx.0, c"EXISTS".as_ptr(), c"v".as_ptr(), first, count))).is_some()
}

fn slot_of(ctx: Ctx, key: &[u8]) -> Option<i64> {
    let (start, len) = (key.as_ptr().cast::<c_char>(), key.len());
    let slot = call!(RedisModule_Call(ctx.0, c"CLUSTER".as_ptr(), c"cb".as_ptr(), c"KEYSLOT".as_ptr(), start, len));
    CallReply::new(slot).and_then(|reply| reply.integer())
}

fn moved(ctx: Ctx, key: &[u8]) -> Ownership {
    let nodes = call!(RedisModule_Call(ctx.0, c"CLUSTER".as_ptr(), c"c".as_ptr(), c"NODES".as_ptr()));
    let nodes = CallReply::new(nodes).and_then(|reply| reply.text());
    let (Some(slot), Some(nodes)) = (slot_of(ctx, key), nodes) else { return Ownership::Unsure };
    owner_of(&nodes, slot).unwrap_or(Ownership::Unsure)
}

/// The node that serves `slot`, from the text of CLUSTER NODES: `id ip:port@bus[,hostname] flags
/// primary ping pong epoch link slot slot-slot ...`
fn owner_of(nodes: &str, slot: i64) -> Option<Ownership> {
    let serves = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        matches!((first.parse::<i64>(), last.parse::<i64>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
    };
    let line = nodes.lines().find(|line| line.split(' ').skip(8).any(serves))?;
    let is_self =
        |line: &&str| line.split(' ').nth(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself"));
    if is_self(&line) {
        // The earlier call nevertheless found that the key is not here: the slot is moving.
        return None;
    }
    let mut fields = line.split(' ');
    let (id, address) = (fields.next()?, fields.next()?);
    // A replica answers for the slots of its primary. The call is refused there, since the
    // scheduler has not sent READONLY.
    let own_primary = nodes.lines().find(is_self).and_then(|line| line.split(' ').nth(3));
    if own_primary == Some(id) {
        return Some(Ownership::Here);
    }
    Some(Ownership::Moved(format!("{slot} {}", address.split('@').next()?)))
}
