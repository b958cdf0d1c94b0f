//! The INFO section `ltmc`.

use super::api::{c_text, call, Argv, Ctx};
use super::contain::contain;
use super::detached;
use super::host::RedisHost;
use super::{blocking, listeners, state, workers};
use crate::command::host::Host;
use crate::command::services::server::health::report;
use crate::observe::health;
use crate::observe::info::fields;
use redis_module::raw as rm;
use std::ffi::c_int;

/// Registers the section. It replaces the crate's own, which has nothing to show.
pub fn register(ctx: Ctx) -> Result<(), String> {
    if call!(RedisModule_RegisterInfoFunc(ctx.0, Some(write))) != rm::REDISMODULE_OK as c_int {
        return Err("the server does not take an INFO section".into());
    }
    Ok(())
}

extern "C" fn write(info: *mut rm::RedisModuleInfoCtx, _for_crash_report: c_int) {
    contain("INFO", || {
        call!(RedisModule_InfoAddSection(info, c"".as_ptr()));
        add_text(info, "version", env!("CARGO_PKG_VERSION"));
        add(info, "client_unblock", u64::from(blocking::is_unblock_safe()));
        add(info, "replication_listeners", u64::from(listeners::known()));
        let Some(ctx) = detached::context() else { return };
        let shown = state::with_node(|node| {
            let host = RedisHost::for_command(ctx, Argv::new(std::ptr::null(), 0), false);
            let report = report(node, &host);
            let mut shown = vec![
                ("waiting_clients".to_string(), node.waits.len() as u64),
                ("offloaded_now".to_string(), workers::awaited()),
                ("lock_searches".to_string(), node.queues.searches.len() as u64),
                ("deadlines".to_string(), node.schedule.len() as u64),
                ("last_fence".to_string(), node.clock.last()),
                ("cluster_peers".to_string(), node.peers.len() as u64),
                ("cluster_reports_sent".to_string(), node.peers.sent),
                ("cluster_reports_received".to_string(), node.peers.received),
                ("cluster_reports_ignored".to_string(), node.peers.ignored),
            ];
            let audit = host.audit_figures();
            shown.extend([
                ("audit_records".to_string(), node.audit.next - 1),
                ("audit_queued".to_string(), audit.queued + node.audit.batch.len() as u64),
                ("audit_unwritten_bytes".to_string(), audit.unwritten_bytes),
                ("audit_failures".to_string(), audit.failures),
                ("audit_dropped".to_string(), node.audit.dropped_total),
            ]);
            shown.extend(host.totals().into_iter().map(|(name, count)| (name.to_string(), count)));
            shown.extend(health::fields(&report, &node.metrics));
            shown.extend(fields(&node.metrics));
            (report, shown)
        });
        // A crash may have happened in the middle of a command.
        let Some((report, shown)) = shown else { return };
        add_word(info, "health", report.status());
        for of in &report.services {
            add_word(info, &format!("{}_state", of.service.name()), of.state());
        }
        for (name, value) in shown {
            add(info, &name, value);
        }
    });
}

/// A word of health, and beside it its code as a number, which a scraper can compare.
fn add_word(info: *mut rm::RedisModuleInfoCtx, name: &str, word: &str) {
    add_text(info, name, word);
    add(info, &format!("{name}_code"), health::code(word));
}

fn add_text(info: *mut rm::RedisModuleInfoCtx, name: &str, value: &str) {
    let (name, value) = (c_text(name), c_text(value));
    call!(RedisModule_InfoAddFieldCString(info, name.as_ptr(), value.as_ptr()));
}

fn add(info: *mut rm::RedisModuleInfoCtx, name: &str, value: u64) {
    let name = c_text(name);
    call!(RedisModule_InfoAddFieldULongLong(info, name.as_ptr(), value));
}
