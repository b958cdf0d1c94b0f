//! What follows from changes of a mailbox: messages go to the clients that wait for them, and what
//! time brings is decided.

use crate::command::engine::bindings::binding_for;
use crate::command::engine::budget::Budget;
use crate::command::engine::commit::{commit, commit_step};
use crate::command::engine::current::current;
use crate::command::engine::quotas;
use crate::command::engine::service::Serve;
use crate::command::host::{Host, Key};
use crate::command::node::waits::UndeliveredGrant;
use crate::command::node::Node;
use crate::command::reply::{Reply, Size};
use crate::command::settings::Setting;
use crate::domain::mail::decide::{Bounds, ReceiveArgs};
use crate::domain::mail::queue::Line;
use crate::domain::mail::{decide, Mail, MailEvent, Message};
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Bytes, Change, Entity, Error, Fence, KeyId};
use ahash::AHashSet;
use smallvec::{smallvec, SmallVec};
use std::collections::BTreeMap;

/// How much may be in a mailbox.
pub fn bounds(node: &Node) -> Bounds {
    let get = |setting| node.settings.get(setting) as usize;
    Bounds {
        messages_max: get(Setting::MailMessagesMax),
        bytes_max: get(Setting::MailBytesMax),
        inbox_max: get(Setting::MailInboxMax),
        agents_max: get(Setting::MailAgentsMax),
    }
}

impl Serve for Mail {
    /// The lines of the clients that wait for what can be received then, by agent.
    type Plan = BTreeMap<Bytes, Vec<Line>>;

    fn plan<H: Host>(
        node: &mut Node,
        host: &mut H,
        key: Key,
        changes: &[Change<MailEvent>],
    ) -> Result<Self::Plan, Error> {
        let mut readied = Self::Plan::new();
        if !node.queues.mails.is_empty() && node.queues.mails.waiting_for(&key.id()) > 0 {
            let mail = current::<Mail, H>(node, host, key)?;
            let lines = changes.iter().filter_map(Change::event).flat_map(|event| readied_by(&mail, event));
            lines.for_each(|line| readied.entry(line.0.clone()).or_default().push(line));
        }
        Ok(readied)
    }

    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, readied: Self::Plan) {
        for (agent, lines) in readied {
            node.serving(|node| serve(node, host, key, agent, lines));
        }
    }

    /// Decides what time has brought, and serves waiting clients if the key may have changed
    /// unnoticed.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> Result<usize, Error> {
        let max = node.settings.get(Setting::SweepBatchMax) as usize;
        let work = decide_due(node, host, key.into(), max)?;
        Ok(if has_changed { work + node.serving(|node| serve_all(node, host, key, max)) } else { work })
    }
}

/// The lines of the clients that wait for what an event makes ready, except of those that wait for
/// any message.
fn readied_by(mail: &Mail, event: &MailEvent) -> Vec<Line> {
    let one = |agent: &Bytes, id: Fence| (agent.clone(), mail.message(id).and_then(|message| message.reply_to));
    match event {
        MailEvent::Sent(letter) => letter.to.iter().map(|agent| (agent.clone(), letter.reply_to)).collect(),
        MailEvent::Returned { agent, id, delay: None, .. } | MailEvent::Requeued { agent, id, .. } => {
            vec![one(agent, *id)]
        }
        MailEvent::LeaseEnded { fence, .. }
        | MailEvent::DelayEnded { fence, .. }
        | MailEvent::TakenBack { fence, .. } => {
            let Some(hold) = mail.hold(*fence) else { return Vec::new() };
            let agent = Bytes::from(hold.agent());
            mail.held(*fence).map(|(id, _)| one(&agent, id)).collect()
        }
        _ => Vec::new(),
    }
}

/// Gives an agent's messages to the clients that wait for them, the longest waiting first, in these
/// lines and in that of the clients that wait for any message.
fn serve<H: Host>(node: &mut Node, host: &mut H, key: Key, agent: Bytes, mut lines: Vec<Line>) {
    lines.push((agent, None));
    lines.sort_unstable();
    lines.dedup();
    let key_id = key.id();
    while !lines.is_empty() {
        lines.retain(|line| node.queues.mails.first(&key_id, line).is_some());
        let first =
            lines.iter().enumerate().filter_map(|(at, line)| Some((node.queues.mails.first(&key_id, line)?, at))).min();
        let Some((id, at)) = first else { return };
        if !give(node, host, key, id) {
            lines.swap_remove(at);
        }
    }
}

/// Gives a waiter what it waits for. False if there is nothing.
fn give<H: Host>(node: &mut Node, host: &mut H, key: Key, id: WaiterId) -> bool {
    let Some(waiter) = node.queues.mails.waiter(id) else { return false };
    let (agent, args, registry) = (waiter.line.0.clone(), waiter.args, waiter.registry.clone());
    match receive(node, host, key, &agent, &args, registry.as_ref()) {
        Ok(Some((reply, fence))) => {
            node.serve_wait(
                id,
                UndeliveredGrant { grants: smallvec![(key.id(), fence)], request_id: None },
                reply,
                host,
            );
            true
        }
        Ok(None) => false,
        Err(error) => {
            node.refuse_wait(id, error, host);
            true
        }
    }
}

/// An agent, of a registry if it names one, receives what is ready for it and fits into a reply.
/// Returns the messages and the fence of the lease; `None` if nothing is ready.
pub fn receive<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    agent: &[u8],
    args: &ReceiveArgs,
    registry: Option<&Bytes>,
) -> Result<Option<(Reply, Fence)>, Error> {
    let binding = binding_for::<Mail, H>(node, host, key, registry, agent)?;
    let count = quotas::room::<Mail, H>(node, host, key, args.count, registry, agent)?;
    let args = ReceiveArgs { count, ..*args };
    let mut budget = Budget::of(node);
    let Some(stored) = host.read::<Mail>(key)? else { return Ok(None) };
    let fits = |message: &Message| budget.takes(Size::map(9, message.from.len() + message.payload.len()));
    let received = decide::receive(&stored.state, agent, &args, fits, &mut node.clock);
    let Some((event, fence)) = received else { return Ok(None) };
    let reply = told(&stored.state, &event);
    let mut changes: SmallVec<[_; 2]> = [Change::Event(event)].into_iter().chain(binding.map(Change::Bound)).collect();
    commit_step::<Mail, H>(node, host, key, &mut changes)?;
    Ok(Some((reply, fence)))
}

/// What a receiver is told of the messages that it is about to receive.
fn told(mail: &Mail, event: &MailEvent) -> Reply {
    let MailEvent::Received { fence, agent, ids, ends_at, .. } = event else { return Reply::Array(Vec::new()) };
    let inbox = mail.inbox(agent);
    let map = |id: &Fence| {
        let message = mail.message(*id)?;
        let deliveries = inbox.and_then(|inbox| inbox.entry(*id)).map_or(0, |entry| entry.deliveries);
        Some(Reply::map([
            ("id", Reply::number(*id)),
            ("from", Reply::bytes(&message.from)),
            ("payload", Reply::Blob(message.payload.clone())),
            ("sent_at_ms", Reply::number(message.sent_at)),
            ("deliveries", Reply::number(u64::from(deliveries) + 1)),
            ("ends_at_ms", Reply::number(*ends_at)),
            ("fence", Reply::number(*fence)),
            ("reply_to", Reply::number_or_nil(message.reply_to)),
            ("expires_at_ms", Reply::number_or_nil(message.expires_at)),
        ]))
    };
    Reply::Array(ids.iter().filter_map(map).collect())
}

/// Decides at most `max` things that are due.
pub fn decide_due<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> Result<usize, Error> {
    let (at, policy) = (node.now(), node.settings.mail_policy());
    let mut work = 0;
    while let Some(stored) = host.read::<Mail>(key)?.filter(|_| work < max) {
        if stored.state.wakes_at(false).is_none_or(|when| when > at) {
            break;
        }
        let events = decide::due(&stored.state, &policy, max - work, at);
        if events.is_empty() {
            break;
        }
        work += events.iter().map(MailEvent::weight).sum::<usize>();
        commit::<Mail, H>(node, host, key, events)?;
    }
    Ok(work)
}

/// Serves at most `max` waiting clients, after something happened to the key unnoticed.
fn serve_all<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, max: usize) -> usize {
    let (mut served, mut in_vain) = (0, AHashSet::new());
    for id in node.queues.mails.waiters(key) {
        if served == max {
            node.look_at_soon(key.clone());
            break;
        }
        let Some(waiter) = node.queues.mails.waiter(id) else { continue };
        // If a waiter got nothing, those behind it in the same line get nothing either.
        let line = waiter.line.clone();
        if in_vain.contains(&line) {
            continue;
        }
        if give(node, host, key.into(), id) {
            served += 1;
        } else {
            in_vain.insert(line);
        }
    }
    served
}
