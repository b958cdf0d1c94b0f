//! The cluster bus: each node sends its report to all others, and keeps theirs. Without cluster
//! mode nothing here does anything.
//!
//! What Redis does with messages of modules (the same in 7.0.15, 7.2.6, 7.4.1 and Valkey 8.0.1):
//!
//! - It sends them over the existing links between nodes, to replicas as well. A node without a
//!   link is left out.
//! - It delivers them on the main thread, between two commands, or while a long script or a load
//!   processes events.
//! - It drops a message of an unknown node, or of a wrong length, before it gets here.
//! - It bounds their length only by that of the bus.
//! - A node that does not listen for a type of message (an older LTMC, a node
//!   without it) ignores it.
//! - The bus cannot tell modules apart whose names do not have nine characters. The last of them
//!   that listens for a type gets its messages. If that is another module, it has to cope with
//!   ours, and we show the other nodes as never heard.
//! - 255 is not a type: Redis' table of receivers ends before it.

use super::api::{call, Ctx};
use super::contain::contain;
use super::host::RedisHost;
use super::{cluster, state};
use crate::domain::node_report::NodeId;
use crate::observe::peers::interval_ms;
use crate::snapshot::report;
use redis_module::raw as rm;
use std::ffi::{c_char, c_uchar, c_void};
use std::ptr;

/// The type of the messages: an L, which others hardly use. The magic in them tells them from those
/// of other modules.
const REPORT: u8 = 76;

/// Listens for reports and begins to send them.
pub fn start(ctx: Ctx) {
    if cluster::is_enabled(ctx) {
        call!(RedisModule_RegisterClusterMessageReceiver(ctx.0, REPORT, Some(receive)));
        arm(ctx, 0);
    }
}

/// Schedules the next report in a cluster with `nodes` nodes.
fn arm(ctx: Ctx, nodes: usize) {
    call!(RedisModule_CreateTimer(ctx.0, interval_ms(nodes) as i64, Some(tick), ptr::null_mut()));
}

extern "C" fn tick(ctx: *mut rm::RedisModuleCtx, _data: *mut c_void) {
    let ctx = Ctx(ctx);
    let nodes = contain("the report to the cluster", || send(ctx));
    arm(ctx, nodes.unwrap_or_default());
}

/// Sends a report to all other nodes. Returns the number of nodes.
fn send(ctx: Ctx) -> usize {
    let members = cluster::node_ids(ctx);
    let count = members.len();
    let message = state::with_node(|node| {
        node.peers.keep(&members);
        node.peers.sent += u64::from(count > 1);
        report::encode(node.report(&RedisHost::for_scheduler(ctx)))
    });
    if let Some(message) = message.filter(|_| count > 1) {
        let (start, len) = (message.as_ptr().cast::<c_char>(), message.len() as u32);
        call!(RedisModule_SendClusterMessage(ctx.0, ptr::null(), REPORT, start, len));
    }
    count
}

extern "C" fn receive(
    _ctx: *mut rm::RedisModuleCtx,
    sender: *const c_char,
    _kind: u8,
    message: *const c_uchar,
    len: u32,
) {
    contain("a report from the cluster", || {
        // SAFETY: Redis passes the 40 bytes of the sender's id, without a NUL at the end.
        let sender = unsafe { sender.cast::<NodeId>().as_ref() };
        let message = if message.is_null() {
            &[]
        } else {
            // SAFETY: Redis has checked that there are `len` bytes, which stay until we return.
            unsafe { std::slice::from_raw_parts(message, len as usize) }
        };
        let Some(sender) = sender else { return };
        // The state is in use if a load of ours lets this through. The next report will do.
        state::with_node(|node| match report::decode(message) {
            Ok(report) => node.peers.hear(*sender, report, node.now()),
            Err(_) => node.peers.ignored += 1,
        });
    });
}
