//! `LTMC.CLUSTER`: this node and the others, as far as they are known.
//!
//! Redis says which nodes belong to the cluster, and whether they can be reached. How LTMC fares on
//! a node is what that node last reported over the cluster bus. Without cluster there is no such
//! bus, and the server only knows its primary and its replicas.

use super::health;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::host::{Host, Member};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::domain::node_report::Report;
use crate::domain::{Error, Millis, Service};
use crate::observe::peers::Peer;
use std::borrow::Cow;

/// The health of a node that does not report.
const UNKNOWN: &str = "unknown";

/// `primary` or `replica`.
pub fn role_word(is_replica: bool) -> &'static str {
    if is_replica {
        "replica"
    } else {
        "primary"
    }
}

impl Node {
    /// What this node reports about itself.
    pub fn report<H: Host>(&self, host: &H) -> Report {
        let health = health::report(self, host);
        let services = || Service::ALL.iter().map(|service| self.metrics.of(*service));
        Report {
            version: env!("CARGO_PKG_VERSION").into(),
            server: host.server_version(),
            role: role_word(self.replica).into(),
            mode: self.mode_word().into(),
            health: health.status().into(),
            uptime_ms: self.uptime_ms(),
            waiting_clients: self.waits.len() as u64,
            commands: services().map(|of| of.commands).sum(),
            errors: services().map(|of| of.errors).sum(),
            panics: self.metrics.panics,
            quarantined_keys: health.quarantined,
            deadlines: self.schedule.len() as u64,
            sweep_lag_ms: health.sweep_lag_ms,
        }
    }
}

/// `LTMC.CLUSTER`
pub fn cluster<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let now = cx.now();
    let own = Peer { report: cx.node.report(cx.host), heard_at: now };
    let mut members = cx.host.members();
    members.sort_by(|one, other| {
        let order = |member: &Member| (!member.is_self, member.id, member.is_replica);
        order(one).cmp(&order(other)).then_with(|| one.address.cmp(&other.address))
    });
    let count = members.len();
    let rows = members.iter().map(|member| {
        let heard = if member.is_self { Some(&own) } else { member.id.and_then(|id| cx.node.peers.get(&id)) };
        row(member, heard, heard.is_some_and(|peer| peer.is_silent(now, count)), now)
    });
    Ok(Outcome::Reply(Reply::Array(rows.collect())))
}

fn row(member: &Member, heard: Option<&Peer>, is_silent: bool, now: Millis) -> Reply {
    let fresh = heard.filter(|_| !is_silent);
    let role = fresh.map_or(role_word(member.is_replica), |peer| &peer.report.role);
    let health = fresh.map_or(UNKNOWN, |peer| &peer.report.health);
    // Without cluster it is unknown whether another node has the module.
    let module = member.id.is_some().then(|| u64::from(heard.is_some())).or(heard.map(|_| 1));
    let age = heard.map(|peer| peer.age_ms(now)).or(member.age_ms);
    let report = heard.map(|peer| &peer.report);
    let text = |of: fn(&Report) -> &str| text_or_nil(report.map_or("", of));
    let number = |of: fn(&Report) -> u64| Reply::number_or_nil(report.map(of));
    Reply::map([
        ("id", text_or_nil(&member.id.map(|id| String::from_utf8_lossy(&id).into_owned()).unwrap_or_default())),
        ("address", text_or_nil(&member.address)),
        ("role", text_or_nil(role)),
        ("primary", text_or_nil(&member.primary)),
        ("link", Reply::text(member.link.word())),
        ("health", text_or_nil(health)),
        ("age_ms", Reply::number_or_nil(age)),
        ("module", Reply::number_or_nil(module)),
        ("version", text(|report| &report.version)),
        ("server", text(|report| &report.server)),
        ("mode", text(|report| &report.mode)),
        ("uptime_ms", number(|report| report.uptime_ms)),
        ("waiting_clients", number(|report| report.waiting_clients)),
        ("commands", number(|report| report.commands)),
        ("errors", number(|report| report.errors)),
        ("panics", number(|report| report.panics)),
        ("quarantined_keys", number(|report| report.quarantined_keys)),
        ("deadlines", number(|report| report.deadlines)),
        ("sweep_lag_ms", number(|report| report.sweep_lag_ms)),
    ])
}

fn text_or_nil(text: &str) -> Reply {
    if text.is_empty() {
        Reply::Nil
    } else {
        Reply::Text(Cow::Owned(text.into()))
    }
}
