//! What agents may do with a mailbox. Each function validates everything, and returns
//! events or an error.

use super::{Entry, Letter, Mail, MailEvent, Message, Reason};
use crate::domain::value::bytes::printable;
use crate::domain::value::fence::Clock;
use crate::domain::{Blob, Bytes, Code, Error, Fence, Looked, Millis};
use std::collections::BTreeSet;

/// The bounds of a mailbox.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most messages.
    pub messages_max: usize,
    /// Most bytes of all payloads.
    pub bytes_max: usize,
    /// Most messages in one inbox.
    pub inbox_max: usize,
    /// Most inboxes.
    pub agents_max: usize,
}

/// What happens to messages that nobody acknowledges.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// A message that was received this often and comes back is a dead letter.
    pub deliveries_max: u32,
    /// How many dead letters are kept.
    pub dead_max: usize,
}

/// Errs if a message with this payload has no room in the mailbox, or in an inbox
/// of its recipients.
pub fn check_room(mail: &Mail, to: &[Bytes], payload_bytes: usize, bounds: &Bounds) -> Result<(), Error> {
    if mail.count() >= bounds.messages_max {
        return Err(Error::limit("mail-messages-max", "one more message in this mailbox", bounds.messages_max as u64));
    }
    if payload_bytes > bounds.bytes_max.saturating_sub(mail.payload_bytes()) {
        let what = format!("a payload of {payload_bytes} bytes beside {} in this mailbox", mail.payload_bytes());
        return Err(Error::limit("mail-bytes-max", &what, bounds.bytes_max as u64));
    }
    let mut agents = mail.agents();
    for agent in to.iter().looked() {
        match mail.inbox(agent) {
            Some(inbox) if inbox.len() >= bounds.inbox_max => {
                let what = format!("one more message in the inbox of '{}'", agent.show());
                return Err(Error::limit("mail-inbox-max", &what, bounds.inbox_max as u64));
            }
            Some(_) => {}
            None => agents += 1,
        }
    }
    check_agents(mail, agents, bounds)
}

fn check_agents(mail: &Mail, agents: usize, bounds: &Bounds) -> Result<(), Error> {
    if agents > bounds.agents_max && agents > mail.agents() {
        let what = format!("{agents} agents with an inbox in this mailbox");
        return Err(Error::limit("mail-agents-max", &what, bounds.agents_max as u64));
    }
    Ok(())
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The sender.
    pub from: Bytes,
    /// The recipients.
    pub to: Vec<Bytes>,
    /// The message that it answers.
    pub reply_to: Option<Fence>,
    /// Its time to live, ms.
    pub ttl_ms: Option<Millis>,
}

/// Sends a message, which there has to be room for.
pub fn send(draft: Draft, payload: Blob, clock: &mut Clock) -> (MailEvent, Fence) {
    let (id, at) = (clock.next_fence(), clock.now());
    let Draft { from, to, reply_to, ttl_ms } = draft;
    let expires_at = ttl_ms.map(|ttl_ms| at.saturating_add(ttl_ms));
    (MailEvent::Sent(Box::new(Letter { id, from, to, at, expires_at, reply_to, payload })), id)
}

/// The sender of a message: the recipient of an answer.
pub fn sender_of(mail: &Mail, id: Fence) -> Result<Bytes, Error> {
    mail.message(id).map(|message| message.from.clone()).ok_or_else(|| {
        Error::usage(format!("REPLYTO is {id}, and that message is not in the mailbox any more: say TO whom as well"))
    })
}

/// An agent joins. `None` if it is joined.
pub fn join(mail: &Mail, agent: &[u8], bounds: &Bounds, at: Millis) -> Result<Option<MailEvent>, Error> {
    match mail.inbox(agent) {
        Some(inbox) if inbox.is_joined() => return Ok(None),
        Some(_) => {}
        None => check_agents(mail, mail.agents() + 1, bounds)?,
    }
    Ok(Some(MailEvent::Joined { agent: Bytes::from(agent), at }))
}

/// An agent leaves. `None` if it has no inbox.
pub fn leave(mail: &Mail, agent: &[u8], at: Millis) -> Option<MailEvent> {
    mail.inbox(agent).map(|_| MailEvent::Left { agent: Bytes::from(agent), at })
}

/// The arguments of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveArgs {
    /// The largest number of messages.
    pub count: usize,
    /// Only answers to this message.
    pub answer_to: Option<Fence>,
    /// The lease of the messages, ms.
    pub lease_ms: Millis,
}

/// An agent receives the ready messages that fit. `None` if there are none.
pub fn receive(
    mail: &Mail,
    agent: &[u8],
    args: &ReceiveArgs,
    mut fits: impl FnMut(&Message) -> bool,
    clock: &mut Clock,
) -> Option<(MailEvent, Fence)> {
    let (inbox, at) = (mail.inbox(agent)?, clock.now());
    // An expired message is skipped even if the scheduler has not removed it yet.
    let live = |id: Fence| Some((id, mail.message(id).filter(|message| !message.is_expired(at))?));
    let ready = inbox.receivable(args.answer_to).filter_map(live).take(args.count);
    let ids: Vec<Fence> = ready.take_while(|(_, message)| fits(message)).map(|(id, _)| id).collect();
    if ids.is_empty() {
        return None;
    }
    let fence = clock.next_fence();
    let ends_at = at.saturating_add(args.lease_ms);
    Some((MailEvent::Received { fence, agent: Bytes::from(agent), ids, at, ends_at }, fence))
}

/// Errs if the agent has one of these messages, and not under the fence `token` of its receiver.
/// Messages that are gone count as handled: the request may be a repetition.
pub fn check_token(mail: &Mail, agent: &[u8], ids: &[Fence], token: Fence, at: Millis) -> Result<(), Error> {
    ids.iter().looked().try_for_each(|id| {
        let entry = mail.inbox(agent).and_then(|inbox| inbox.entry(*id));
        let hold = entry.and_then(|entry| mail.hold(entry.hold)).filter(|hold| !hold.is_delay && hold.ends_at > at);
        let known = match hold {
            Some(hold) if hold.token == token => return Ok(()),
            Some(hold) => format!("the newest is {}", hold.token),
            None if entry.is_some() => "its lease has ended and nobody has it".into(),
            None if mail.dead_letter(*id, agent).is_some() => "it is a dead letter".into(),
            None => return Ok(()),
        };
        Err(Error::new(Code::Stale, format!("fence {token} of message {id} is not current: {known}")))
    })
}

/// An agent acknowledges messages, whether they are leased, given back, never received, or dead
/// letters. Also returns their number.
pub fn acknowledge(mail: &Mail, agent: &[u8], mut ids: Vec<Fence>, at: Millis) -> (Option<MailEvent>, usize) {
    ids.sort_unstable();
    ids.dedup();
    let inbox = mail.inbox(agent);
    let is_there =
        |id: &Fence| inbox.is_some_and(|inbox| inbox.entry(*id).is_some()) || mail.dead_letter(*id, agent).is_some();
    ids.retain(is_there);
    let count = ids.len();
    ((count > 0).then(|| MailEvent::Acknowledged { agent: Bytes::from(agent), ids, at }), count)
}

/// Whether an agent has a lease on a message.
fn has(mail: &Mail, agent: &[u8], id: Fence, at: Millis) -> bool {
    let entry = mail.inbox(agent).and_then(|inbox| inbox.entry(id));
    let hold = entry.and_then(|entry| mail.hold(entry.hold));
    hold.is_some_and(|hold| !hold.is_delay && hold.ends_at > at)
}

/// How a message is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// It can be received at once.
    Now,
    /// It can be received after this many ms.
    Later(Millis),
    /// It becomes a dead letter.
    Dead,
}

/// An agent gives a message back. Nothing if it has no lease on it.
pub fn give_back(
    mail: &Mail,
    agent: &[u8],
    id: Fence,
    how: Return,
    policy: &Policy,
    clock: &mut Clock,
) -> Vec<MailEvent> {
    let at = clock.now();
    if !has(mail, agent, id, at) {
        return Vec::new();
    }
    let deliveries = mail.inbox(agent).and_then(|inbox| inbox.entry(id)).map_or(0, |entry| entry.deliveries);
    let reason = if how == Return::Dead { Reason::Refused } else { Reason::Deliveries };
    if how == Return::Dead || deliveries >= policy.deliveries_max {
        return bury(mail, vec![MailEvent::Died { agent: Bytes::from(agent), id, at, reason }], policy, at);
    }
    let delay = match how {
        Return::Later(ms) => Some((clock.next_fence(), at.saturating_add(ms))),
        _ => None,
    };
    vec![MailEvent::Returned { agent: Bytes::from(agent), id, at, delay }]
}

/// The messages that die, and then the oldest dead letters, which have to go for them.
fn bury(mail: &Mail, mut events: Vec<MailEvent>, policy: &Policy, at: Millis) -> Vec<MailEvent> {
    let surplus = (mail.dead_len() + events.len()).saturating_sub(policy.dead_max);
    let known = mail.dead().take(surplus).map(|(id, agent, _)| (id, Bytes::from(agent)));
    let dying = events.iter().filter_map(|event| match event {
        MailEvent::Died { agent, id, .. } => Some((*id, agent.clone())),
        _ => None,
    });
    let mut oldest: Vec<(Fence, Bytes)> = known.chain(dying).collect();
    oldest.sort_unstable();
    oldest.truncate(surplus);
    events.extend(oldest.into_iter().map(|(id, agent)| MailEvent::Dropped { agent, id, at }));
    events
}

/// An agent extends the lease of a message. `None` if it has none.
pub fn extend(mail: &Mail, agent: &[u8], id: Fence, lease_ms: Millis, clock: &mut Clock) -> Option<MailEvent> {
    let at = clock.now();
    has(mail, agent, id, at).then(|| {
        let (fence, ends_at) = (clock.next_fence(), at.saturating_add(lease_ms));
        MailEvent::Extended { fence, agent: Bytes::from(agent), id, at, ends_at }
    })
}

/// Requeues a dead letter. `None` if there is none.
pub fn requeue(mail: &Mail, agent: &[u8], id: Fence, bounds: &Bounds, at: Millis) -> Result<Option<MailEvent>, Error> {
    if mail.dead_letter(id, agent).is_none() {
        return Ok(None);
    }
    let len = mail.inbox(agent).map_or(0, |inbox| inbox.len());
    if len >= bounds.inbox_max {
        let what = format!("one more message in the inbox of '{}'", printable(agent));
        return Err(Error::limit("mail-inbox-max", &what, bounds.inbox_max as u64));
    }
    if mail.inbox(agent).is_none() {
        check_agents(mail, mail.agents() + 1, bounds)?;
    }
    Ok(Some(MailEvent::Requeued { agent: Bytes::from(agent), id, at }))
}

/// Takes back a delivery whose client was gone before it could be told. `None` if the
/// lease has ended.
pub fn take_back(mail: &Mail, fence: Fence, at: Millis) -> Option<MailEvent> {
    mail.hold(fence).map(|_| MailEvent::TakenBack { fence, at })
}

/// What is due: first expired messages, and if there are none, leases and delays. About as many as
/// weigh `max` together, and at least one.
pub fn due(mail: &Mail, policy: &Policy, max: usize, at: Millis) -> Vec<MailEvent> {
    let expired = mail.expiries.range(..=(at, Fence::MAX)).map(|(_, id)| *id);
    let expired: Vec<Fence> = within(max, expired, |id| mail.weight_of_message(*id)).collect();
    if !expired.is_empty() {
        return vec![MailEvent::Expired { ids: expired, at }];
    }
    let ends = mail.ends.range(..=(at, Fence::MAX)).map(|(_, fence)| *fence);
    end_holds(mail, within(max, ends, |fence| mail.weight_of_hold(*fence)), policy, at)
}

/// The first of these that weigh `max` together.
fn within<T>(mut max: usize, items: impl Iterator<Item = T>, weight: impl Fn(&T) -> usize) -> impl Iterator<Item = T> {
    items.take_while(move |item| {
        let has_room = max > 0;
        max = max.saturating_sub(weight(item));
        has_room
    })
}

/// The ends of these leases and delays: a message that was received too often is a dead letter, the
/// rest can be received again.
fn end_holds(mail: &Mail, holds: impl Iterator<Item = Fence>, policy: &Policy, at: Millis) -> Vec<MailEvent> {
    let (mut dying, mut ends) = (Vec::new(), Vec::new());
    for fence in holds {
        let Some(hold) = mail.hold(fence).filter(|hold| !hold.is_delay) else {
            ends.push(MailEvent::DelayEnded { fence, at });
            continue;
        };
        let is_worn = |(_, entry): &(Fence, &Entry)| entry.deliveries >= policy.deliveries_max;
        let (worn, fresh): (Vec<_>, Vec<_>) = mail.held(fence).partition(is_worn);
        let (agent, reason) = (Bytes::from(hold.agent()), Reason::Deliveries);
        dying.extend(worn.into_iter().map(|(id, _)| MailEvent::Died { agent: agent.clone(), id, at, reason }));
        // If all of them died, the lease ended with the last one.
        ends.extend((!fresh.is_empty()).then_some(MailEvent::LeaseEnded { fence, at }));
    }
    if !dying.is_empty() {
        dying = bury(mail, dying, policy, at);
    }
    dying.extend(ends);
    dying
}

/// An agent is gone: what it had received and not acknowledged comes back, and it leaves. No
/// message to it is lost: the next agent that registers under its name can receive them.
pub fn agent_gone(mail: &Mail, agent: &[u8], policy: &Policy, at: Millis) -> Vec<MailEvent> {
    let Some(inbox) = mail.inbox(agent) else { return Vec::new() };
    let is_lease = |fence: &Fence| mail.hold(*fence).is_some_and(|hold| !hold.is_delay);
    let leases: BTreeSet<Fence> = inbox.entries().map(|(_, entry)| entry.hold).filter(is_lease).collect();
    let parted = inbox.is_joined().then(|| MailEvent::Parted { agent: Bytes::from(agent), at });
    end_holds(mail, leases.into_iter(), policy, at).into_iter().chain(parted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::mail::Letter;
    use crate::domain::Entity;

    const AT: Millis = 1_767_225_600_000;
    const POLICY: Policy = Policy { deliveries_max: 9, dead_max: 9 };

    /// Messages to ten agents each, which expire.
    fn mailbox(messages: u64) -> Mail {
        let mut mail = Mail::default();
        let to: Vec<Bytes> = (0..10).map(|n| Bytes::from(format!("agent-{n}").as_str())).collect();
        for id in 1..=messages {
            let (to, payload) = (to.clone(), Blob::from(&b"x"[..]));
            let letter =
                Letter { id, from: "a".into(), to, at: AT, expires_at: Some(AT + 10), reply_to: None, payload };
            mail.apply(&MailEvent::Sent(Box::new(letter)));
        }
        mail
    }

    #[test]
    fn what_is_due_is_bounded_by_the_inboxes_that_it_changes() {
        let mut mail = mailbox(100);
        let expired = |mail: &Mail, max| match &due(mail, &POLICY, max, AT + 10)[..] {
            [event @ MailEvent::Expired { ids, .. }] => (ids.len(), mail.weight_of(event)),
            other => panic!("{other:?}"),
        };
        assert_eq!(expired(&mail, 1), (1, 10), "at least one");
        assert_eq!(expired(&mail, 31), (4, 40));
        assert_eq!(expired(&mail, 5_000), (100, 1_000));
        for (fence, agent) in (1_000..).zip(["agent-1", "agent-2", "agent-3"]) {
            let ids = (1..=50).collect();
            mail.apply(&MailEvent::Received { fence, agent: agent.into(), ids, at: AT, ends_at: AT + 5 });
        }
        let ends = |max| due(&mail, &POLICY, max, AT + 5).len();
        assert_eq!([1, 50, 51, 100, 101, 500].map(ends), [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn an_inbox_goes_with_all_that_is_in_it() {
        let mut mail = mailbox(20);
        let ids: Vec<Fence> = (1..=8).collect();
        let (agent, at) = (Bytes::from("agent-1"), AT);
        mail.apply(&MailEvent::Joined { agent: agent.clone(), at });
        mail.apply(&MailEvent::Received { fence: 99, agent: agent.clone(), ids, at, ends_at: AT + 5 });
        mail.apply(&MailEvent::Acknowledged { agent: agent.clone(), ids: vec![1, 2, 9, 77], at });
        assert_eq!((mail.inbox(&agent).map(|inbox| inbox.len()), mail.totals().acknowledged), (Some(17), 3));
        assert_eq!(mail.check(), Ok(()));
        mail.apply(&MailEvent::Left { agent: agent.clone(), at });
        assert_eq!((mail.inbox(&agent).is_none(), mail.joined(), mail.hold(99).is_none()), (true, 0, true));
        assert_eq!((mail.count(), mail.check()), (20, Ok(())));
    }
}
