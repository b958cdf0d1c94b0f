//! What follows from changes of a mailbox: messages go to the clients that wait for them, and what
//! time brings is decided.

use crate::command::engine::bindings::binding_for;
use crate::command::engine::budget::Budget;
use crate::command::engine::commit::{commit, commit_step};
use crate::command::engine::current::current;
use crate::command::engine::quotas;
use crate::command::engine::round::Round;
use crate::command::engine::service::Serve;
use crate::command::host::{Host, Key};
use crate::command::node::waits::UndeliveredGrant;
use crate::command::node::Node;
use crate::command::reply::{Reply, Size};
use crate::command::settings::Setting;
use crate::domain::mail::decide::{Bounds, ReceiveArgs};
use crate::domain::mail::queue::{Line, Readied};
use crate::domain::mail::{decide, Mail, MailEvent, Message};
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Bytes, Change, Entity, Error, Fence, KeyId};
use smallvec::{smallvec, SmallVec};

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
    /// A round ends before all waiting clients are served.
    const PASSES: bool = true;

    /// The lines of the clients that wait for what can be received then.
    type Plan = Vec<Line>;

    fn plan<H: Host>(
        node: &mut Node,
        host: &mut H,
        key: Key,
        changes: &[Change<MailEvent>],
    ) -> Result<Self::Plan, Error> {
        let mut readied = Self::Plan::new();
        if !node.queues.mails.is_empty() && node.queues.mails.waiting_for(&key.id()) > 0 {
            let mail = current::<Mail, H>(node, host, key)?;
            let (waiting, key) = (&node.queues.mails, key.id());
            let is_waited_for = |line: &Line| waiting.in_line(&key, line) > 0;
            for line in changes.iter().filter_map(Change::event).flat_map(|event| readied_by(&mail, event)) {
                // The clients that wait for any message of the agent stand in another line.
                let of_all = (line.0.clone(), None);
                let lines = if line == of_all { vec![line] } else { vec![of_all, line] };
                readied.extend(lines.into_iter().filter(is_waited_for));
            }
        }
        Ok(readied)
    }

    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, readied: Self::Plan) {
        if !readied.is_empty() {
            let mut all = node.passes.take::<Readied>(key).unwrap_or_default();
            all.add(readied);
            node.serving(|node| serve_round(node, host, key, all));
        }
    }

    /// Decides what time has brought, goes on serving, and serves waiting clients if the key may
    /// have changed unnoticed.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> Result<usize, Error> {
        let max = node.settings.get(Setting::SweepBatchMax) as usize;
        let mut work = decide_due(node, host, key.into(), max)?;
        let mut readied = node.passes.take::<Readied>(key.into()).unwrap_or_default();
        if has_changed {
            readied.add(node.queues.mails.lines(key).cloned());
        }
        if !readied.is_empty() {
            work += node.serving(|node| serve_round(node, host, key.into(), readied));
        }
        Ok(work)
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

/// Serves as many waiting clients as one round has room for; the others follow in the next rounds
/// of the scheduler. Returns how much work that was.
fn serve_round<H: Host>(node: &mut Node, host: &mut H, key: Key, mut readied: Readied) -> usize {
    let mut round = Round::of(node);
    while !round.is_over() {
        let Some((agent, lines)) = readied.take_next() else { return round.work() };
        let rest = serve(node, host, key, agent, lines, &mut round);
        readied.add(rest);
    }
    if !readied.is_empty() {
        node.passes.stop_at(key, readied);
        node.schedule.look_at(key.id(), node.now());
    }
    round.work()
}

/// Before an agent receives: those of its clients that wait and can be served come first. False if
/// there are more than one round has room for.
pub fn serve_before<H: Host>(node: &mut Node, host: &mut H, key: Key, agent: &[u8]) -> bool {
    let Some(mut readied) = node.passes.take::<Readied>(key) else { return true };
    let agent = Bytes::from(agent);
    let lines = readied.take_of(&agent);
    let rest = node.serving(|node| serve(node, host, key, agent, lines, &mut Round::default()));
    let is_all = rest.is_empty();
    readied.add(rest);
    if !readied.is_empty() {
        node.passes.stop_at(key, readied);
    }
    is_all
}

/// Gives an agent's messages to the clients that wait for them in these lines, the longest waiting
/// first, as far as the round has room. Returns the lines that may have more to be served.
fn serve<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    agent: Bytes,
    mut lines: Vec<Line>,
    round: &mut Round,
) -> Vec<Line> {
    let key_id = key.id();
    // What is ready for a line is ready for those that wait for anything, too.
    if !lines.is_empty() && !lines.contains(&(agent.clone(), None)) {
        lines.push((agent, None));
    }
    while !round.is_over() {
        let waiting = |(at, line): (usize, &Line)| Some((node.queues.mails.first(&key_id, line)?, at));
        let Some((id, at)) = lines.iter().enumerate().filter_map(waiting).min() else { return Vec::new() };
        if !give(node, host, key, id, round) {
            lines.swap_remove(at);
        }
    }
    lines
}

/// Gives a waiter what it waits for. False if there is nothing.
fn give<H: Host>(node: &mut Node, host: &mut H, key: Key, id: WaiterId, round: &mut Round) -> bool {
    let Some(waiter) = node.queues.mails.waiter(id) else { return false };
    let (agent, args, registry) = (waiter.line.0.clone(), waiter.args, waiter.registry.clone());
    match receive(node, host, key, &agent, &args, registry.as_ref()) {
        Ok(Some((reply, fence))) => {
            round.sends(&reply);
            let grant = UndeliveredGrant { grants: smallvec![(key.id(), fence)], request_id: None };
            node.serve_wait(id, grant, reply, host);
            true
        }
        Ok(None) => {
            round.looks(1);
            false
        }
        Err(error) => {
            round.looks(1);
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
        work += events.iter().map(|event| stored.state.weight_of(event)).sum::<usize>();
        commit::<Mail, H>(node, host, key, events)?;
    }
    Ok(work)
}
