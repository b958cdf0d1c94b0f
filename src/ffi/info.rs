//! The INFO section `ltmc`.

use super::api::{c_text, call, Ctx};
use super::contain::contain;
use super::{blocking, listeners, state};
use crate::observe::info::fields;
use redis_module::raw as rm;
use std::ffi::c_int;

/// Registers the section. It takes the place of the crate's own, which has nothing to show.
pub fn register(ctx: Ctx) -> Result<(), String> {
    if call!(RedisModule_RegisterInfoFunc(ctx.0, Some(write))) != rm::REDISMODULE_OK as c_int {
        return Err("the server does not take an INFO section".into());
    }
    Ok(())
}

extern "C" fn write(info: *mut rm::RedisModuleInfoCtx, _for_crash_report: c_int) {
    contain("INFO", || {
        let shown = state::with_node(|node| {
            let mut shown = vec![
                ("waiting_clients".to_string(), node.waits.len() as u64),
                ("deadlines".to_string(), node.schedule.len() as u64),
                ("quarantined_keys".to_string(), node.quarantined() as u64),
                ("last_fence".to_string(), node.fences.last()),
                ("cluster_peers".to_string(), node.peers.len() as u64),
                ("cluster_reports_sent".to_string(), node.peers.sent),
                ("cluster_reports_received".to_string(), node.peers.received),
                ("cluster_reports_ignored".to_string(), node.peers.ignored),
            ];
            shown.extend(fields(&node.metrics));
            shown
        });
        call!(RedisModule_InfoAddSection(info, c"".as_ptr()));
        let version = c_text(env!("CARGO_PKG_VERSION"));
        call!(RedisModule_InfoAddFieldCString(info, c"version".as_ptr(), version.as_ptr()));
        add(info, "client_unblock", u64::from(blocking::is_unblock_safe()));
        add(info, "replication_listeners", u64::from(listeners::known()));
        for (name, value) in shown.unwrap_or_default() {
            add(info, &name, value);
        }
    });
}

fn add(info: *mut rm::RedisModuleInfoCtx, name: &str, value: u64) {
    let name = c_text(name);
    call!(RedisModule_InfoAddFieldULongLong(info, name.as_ptr(), value));
}
