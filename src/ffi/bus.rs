//! The cluster bus: each node tells all others of itself, and keeps what they tell. Nothing here does anything without cluster.
//!
//! What Redis does with the messages of modules (read in 7.0.15, 7.2.6, 7.4.1 and Valkey 8.0.1, all alike in this):
//! - they go over the links that the nodes have between them anyway, to replicas as well; a node without a link is left out;
//! - they are delivered on the main thread, between two commands, or while a long script or a load lets events through;
//! - a message of a node that is not known, or of the wrong length, is dropped before it comes here;
//! - there is no bound of its length but that of the bus;
//! - who does not listen for a type of message (an older LTMC, a node without it) passes over it;
//! - all modules whose names do not have nine characters are one to the bus. The last of them that listens for a type gets its
//!   messages: if that is another one, it has to bear with ours, and we show the other nodes as never heard;
//! - 255 is no type: Redis' table of receivers ends before it.

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

/// Type of the messages: an L, which others hardly take. The magic in them tells them from those of other modules.
const REPORT: u8 = 76;

/// Listens for reports and begins to send them.
pub fn start(ctx: Ctx) {
    if cluster::is_enabled(ctx) {
        call!(RedisModule_RegisterClusterMessageReceiver(ctx.0, REPORT, Some(receive)));
        arm(ctx, 0);
    }
}

/// Has the next report sent when it is time in a cluster with so many nodes.
fn arm(ctx: Ctx, nodes: usize) {
    call!(RedisModule_CreateTimer(ctx.0, interval_ms(nodes) as i64, Some(tick), ptr::null_mut()));
}

extern "C" fn tick(ctx: *mut rm::RedisModuleCtx, _data: *mut c_void) {
    let ctx = Ctx(ctx);
    let nodes = contain("the report to the cluster", || send(ctx));
    arm(ctx, nodes.unwrap_or_default());
}

/// Sends a report to all other nodes; returns how many nodes there are.
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
        // SAFETY: Redis passes the 40 bytes of the sender's id, which no zero byte ends.
        let sender = unsafe { sender.cast::<NodeId>().as_ref() };
        let message = if message.is_null() {
            &[]
        } else {
            // SAFETY: Redis has checked that `len` bytes lie there; they stay until we return.
            unsafe { std::slice::from_raw_parts(message, len as usize) }
        };
        let Some(sender) = sender else { return };
        // If a load of ours lets this through, the state is in use. The next report will do.
        state::with_node(|node| match report::decode(message) {
            Ok(report) => node.peers.hear(*sender, report, node.now()),
            Err(_) => node.peers.ignored += 1,
        });
    });
}
