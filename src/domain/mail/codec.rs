//! The saved form of a mailbox, and the invariants of a loaded one.

use super::event::{Letter, MailEvent, Reason};
use super::{Dead, Entry, Hold, Inbox, Mail, Message, Name, Totals};
use crate::domain::algorithm::allocator::tree_bytes;
use crate::domain::entity::invariant::rule;
use crate::domain::entity::partial_check::Part;
use crate::domain::entity::CHECKED_BYTES;
use crate::domain::limits::{FIELD_BYTES_MAX, ID_BYTES_MAX, MAIL_RECEIVERS_MAX, MAIL_RECEIVE_MAX};
use crate::domain::value::fence::check_fence;
use crate::domain::{Blob, Bytes, Error, Fence, Invariant, Millis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// The saved form: everything ordered by ids and names, so that equal mailboxes are equal bytes.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// New ids and fences are above this, and so above those that are gone.
    last_fence: Fence,
    totals: Totals,
    messages: Vec<SavedMessage>,
    inboxes: Vec<SavedInbox>,
    holds: Vec<SavedHold>,
    dead: Vec<SavedDead>,
}

/// A message. The inboxes say whose it is.
#[derive(Serialize, Deserialize)]
struct SavedMessage {
    id: Fence,
    from: Bytes,
    sent_at: Millis,
    expires_at: Option<Millis>,
    reply_to: Option<Fence>,
    payload: Blob,
}

#[derive(Serialize, Deserialize)]
struct SavedInbox {
    agent: Bytes,
    joined_at: Millis,
    entries: Vec<SavedEntry>,
}

#[derive(Serialize, Deserialize)]
struct SavedEntry {
    id: Fence,
    deliveries: u32,
    hold: Fence,
}

#[derive(Serialize, Deserialize)]
struct SavedHold {
    fence: Fence,
    ends_at: Millis,
    is_delay: bool,
    token: Fence,
}

#[derive(Serialize, Deserialize)]
struct SavedDead {
    id: Fence,
    agent: Bytes,
    deliveries: u32,
    since: Millis,
    reason: Reason,
}

fn saved(mail: &Mail) -> Saved {
    let message = |(id, message): (&Fence, &Message)| SavedMessage {
        id: *id,
        from: message.from.clone(),
        sent_at: message.sent_at,
        expires_at: message.expires_at,
        reply_to: message.reply_to,
        payload: message.payload.clone(),
    };
    let hold = |(fence, hold): (&Fence, &Hold)| {
        let Hold { ends_at, is_delay, token, .. } = *hold;
        SavedHold { fence: *fence, ends_at, is_delay, token }
    };
    let entry = |(id, entry): (Fence, &Entry)| SavedEntry { id, deliveries: entry.deliveries, hold: entry.hold };
    Saved {
        last_fence: mail.last_fence,
        totals: mail.totals,
        messages: mail.messages.iter().map(message).collect(),
        inboxes: mail
            .inboxes()
            .map(|(agent, inbox)| SavedInbox {
                agent: Bytes::from(agent),
                joined_at: inbox.joined_at,
                entries: inbox.entries().map(entry).collect(),
            })
            .collect(),
        holds: mail.holds.iter().map(hold).collect(),
        dead: mail
            .dead()
            .map(|(id, agent, dead)| SavedDead {
                id,
                agent: Bytes::from(agent),
                deliveries: dead.deliveries,
                since: dead.since,
                reason: dead.reason,
            })
            .collect(),
    }
}

/// A mailbox with everything derived. Errs with what does not fit together.
fn restored(saved: Saved) -> Result<Mail, &'static str> {
    let mut mail = Mail { last_fence: saved.last_fence, totals: saved.totals, ..Mail::default() };
    for SavedMessage { id, from, sent_at, expires_at, reply_to, payload } in saved.messages {
        if mail.messages.contains_key(&id) {
            return Err("a message is there twice");
        }
        let to = SmallVec::new();
        mail.keep(id, Message { from, sent_at, expires_at, reply_to, payload, to, left: 0 });
    }
    for SavedHold { fence, ends_at, is_delay, token } in saved.holds {
        let hold = Hold { agent: Name::default(), ends_at, is_delay, token, ids: SmallVec::new(), left: 0 };
        if fence == 0 || mail.holds.insert(fence, hold).is_some() {
            return Err("a lease is there twice");
        }
        mail.ends.insert((ends_at, fence));
        mail.last_fence = mail.last_fence.max(fence);
    }
    for SavedInbox { agent, joined_at, entries } in saved.inboxes {
        if mail.inbox(&agent).is_some() || (joined_at == 0 && entries.is_empty()) {
            return Err("an inbox is there twice or without need");
        }
        if joined_at > 0 {
            mail.joined_or_left(&agent, joined_at);
        }
        for entry in entries {
            adopt(&mut mail, &agent, &entry)?;
        }
    }
    for SavedDead { id, agent, deliveries, since, reason } in saved.dead {
        let name = Name::from(&agent[..]);
        let is_in_inbox = mail.inbox(&agent).is_some_and(|inbox| inbox.entry(id).is_some());
        if is_in_inbox || mail.dead.insert((id, name.clone()), Dead { deliveries, since, reason }).is_some() {
            return Err("a dead letter is there twice");
        }
        add_receiver(&mut mail, id, name)?;
    }
    if mail.messages.values().any(|message| message.left == 0) {
        return Err("a message is for nobody");
    }
    if mail.holds.values().any(|hold| hold.left == 0) {
        return Err("a lease holds nothing");
    }
    Ok(mail)
}

fn adopt(mail: &mut Mail, agent: &Bytes, saved: &SavedEntry) -> Result<(), &'static str> {
    let SavedEntry { id, deliveries, hold } = *saved;
    let Some(message) = mail.messages.get(&id) else { return Err("a message in an inbox is missing") };
    let is_leased = mail.holds.get(&hold).is_some_and(|hold| !hold.is_delay);
    let entry = Entry { deliveries, hold, reply_to: message.reply_to.unwrap_or(0), is_leased };
    let name = mail.with_inbox(agent, |inbox| inbox.put(id, entry).then(|| inbox.name.clone()));
    let name = name.ok_or("a message is in an inbox twice")?;
    add_receiver(mail, id, name.clone())?;
    if hold == 0 {
        return Ok(());
    }
    let Some(hold) = mail.holds.get_mut(&hold) else { return Err("a lease is missing") };
    if hold.left > 0 && hold.agent != name {
        return Err("a lease holds messages of two agents");
    }
    hold.agent = name;
    hold.ids.push(id);
    hold.left += 1;
    Ok(())
}

fn add_receiver(mail: &mut Mail, id: Fence, agent: Name) -> Result<(), &'static str> {
    let message = mail.messages.get_mut(&id).ok_or("a dead letter is missing")?;
    mail.heap_bytes -= message.heap_bytes();
    message.to.push(agent);
    message.left += 1;
    mail.heap_bytes += message.heap_bytes();
    Ok(())
}

impl Serialize for Mail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        saved(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        restored(Saved::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn is_time(when: Millis) -> bool {
    // Far from every overflow, and within what Redis accepts as a time.
    when <= i64::MAX as Millis / 4
}

fn is_agent(id: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
}

/// Errs if an event from an unchecked payload is outside the bounds that commands keep.
pub fn admit(event: &MailEvent) -> Result<(), Error> {
    let in_order = |ids: &[Fence], max: usize| {
        (1..=max).contains(&ids.len()) && ids.is_sorted_by(|one, next| one < next) && ids.iter().all(|id| is_id(*id))
    };
    let fits = match event {
        MailEvent::Joined { agent, at } | MailEvent::Left { agent, at } => is_agent(agent) && is_time(*at),
        MailEvent::Sent(letter) => admits_letter(letter),
        MailEvent::Received { fence, agent, ids, at, ends_at } => {
            let times = is_time(*at) && is_time(*ends_at);
            is_id(*fence) && is_agent(agent) && in_order(ids, MAIL_RECEIVE_MAX) && times
        }
        MailEvent::Extended { fence, agent, id, at, ends_at } => {
            is_id(*fence) && is_agent(agent) && is_id(*id) && is_time(*at) && is_time(*ends_at)
        }
        MailEvent::Acknowledged { agent, ids, at } => is_agent(agent) && in_order(ids, usize::MAX) && is_time(*at),
        MailEvent::Returned { agent, id, at, delay } => {
            let delay_fits = delay.is_none_or(|(fence, ends_at)| is_id(fence) && is_time(ends_at));
            is_agent(agent) && is_id(*id) && is_time(*at) && delay_fits
        }
        MailEvent::LeaseEnded { fence, at }
        | MailEvent::DelayEnded { fence, at }
        | MailEvent::TakenBack { fence, at } => is_id(*fence) && is_time(*at),
        MailEvent::Died { agent, id, at, .. }
        | MailEvent::Requeued { agent, id, at }
        | MailEvent::Dropped { agent, id, at } => is_agent(agent) && is_id(*id) && is_time(*at),
        MailEvent::Parted { agent, at } => is_agent(agent) && is_time(*at),
        MailEvent::Expired { ids, at } => in_order(&sorted(ids), usize::MAX) && is_time(*at),
    };
    fits.then_some(()).ok_or_else(|| Error::usage("payload holds an event of a mailbox that is out of bounds"))
}

/// Expired messages are ordered by their end.
fn sorted(ids: &[Fence]) -> Vec<Fence> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

fn is_id(id: Fence) -> bool {
    check_fence(id).is_ok()
}

fn admits_letter(letter: &Letter) -> bool {
    let to = &letter.to;
    let receivers = (1..=MAIL_RECEIVERS_MAX).contains(&to.len())
        && to.iter().all(|agent| is_agent(agent))
        && to.is_sorted_by(|one, next| one < next);
    let times = is_time(letter.at) && letter.expires_at.is_none_or(is_time);
    let ids = is_id(letter.id) && letter.reply_to.is_none_or(is_id);
    receivers && times && ids && is_agent(&letter.from) && letter.payload.len() <= FIELD_BYTES_MAX
}

/// Whether all invariants hold: each part is within its bounds, and everything derived
/// agrees with the rest.
pub fn check(mail: &Mail) -> Result<(), Invariant> {
    let again = restored(saved(mail)).map_err(|text| Invariant(text.into()))?;
    rule(mail.last_fence == 0 || is_id(mail.last_fence), "the last fence is out of bounds")?;
    rule(mail.last_fence == again.last_fence, "the last fence is behind an id")?;
    rule(mail.inboxes == again.inboxes && mail.joined == again.joined, "the inboxes differ from what is derived")?;
    rule(mail.dead == again.dead, "the dead letters differ")?;
    rule(mail.ends == again.ends && mail.expiries == again.expiries, "the ends of leases or messages differ")?;
    rule(mail.payload_bytes == again.payload_bytes, "the bytes of payloads differ")?;
    rule(mail.heap_bytes == counted_bytes(mail), "the counted bytes differ")?;
    for (id, message) in &mail.messages {
        rule(message.left == again.messages[id].left, "a message is in more or fewer places than it counts")?;
        check_message(mail, *id, message)?;
    }
    for (fence, hold) in &mail.holds {
        let held = &again.holds[fence];
        let knows_all = held.ids.iter().all(|id| hold.ids.contains(id));
        let same = (&hold.agent, hold.left) == (&held.agent, held.left);
        rule(same && knows_all && is_id(*fence) && is_time(hold.ends_at), "a lease differs from what it holds")?;
        let is_token = if hold.is_delay { hold.token == 0 } else { is_id(hold.token) && hold.token <= *fence };
        rule(is_token, "the token of a lease is out of bounds")?;
    }
    let dead_fit = mail.dead().all(|(_, agent, dead)| is_agent(agent) && is_time(dead.since));
    let joins_fit = mail.inboxes().all(|(agent, inbox)| is_agent(agent) && is_time(inbox.joined_at));
    rule(dead_fit && joins_fit, "a dead letter or an inbox is out of bounds")
}

/// Checks a part of it, by the ids of the messages.
pub fn check_part(mail: &Mail, from: Fence, room: usize) -> Result<Part, Invariant> {
    rule(mail.ends.len() == mail.holds.len(), "the ends of leases or messages differ")?;
    rule(mail.expiries.len() <= mail.messages.len(), "the ends of leases or messages differ")?;
    Part::of(mail.messages.range(from..).map(|(id, message)| (*id, message)), room, |id, message| {
        check_message(mail, id, message)?;
        let is_known = message.expires_at.is_none_or(|end| mail.expiries.contains(&(end, id)));
        rule(is_known, "the ends of leases or messages differ")?;
        let mut effort = 1 + 4 * (message.heap_bytes() - message.payload.heap_bytes()) / CHECKED_BYTES;
        for inbox in message.to.iter().filter_map(|agent| mail.inbox(agent)) {
            let Some(entry) = inbox.entry(id) else { continue };
            rule(inbox.offers(id, message.reply_to), "the inboxes differ from what is derived")?;
            if entry.hold > 0 {
                effort += check_hold(mail, id, inbox, entry)?;
            }
            effort += 1;
        }
        Ok(effort)
    })
}

/// Checks the lease of a message in an inbox. Returns how long that took.
fn check_hold(mail: &Mail, id: Fence, inbox: &Inbox, entry: &Entry) -> Result<usize, Invariant> {
    const LOOKED_THROUGH: usize = 64;
    let fence = entry.hold;
    let hold = mail.holds.get(&fence).filter(|hold| hold.agent == inbox.name);
    let Some(hold) = hold else { return Err(Invariant("a lease differs from what it holds".into())) };
    let is_same = entry.is_leased != hold.is_delay;
    let holds = is_same && hold.ids.contains(&id) && (1..=hold.ids.len()).contains(&hold.left);
    rule(holds, "a lease differs from what it holds")?;
    rule(mail.ends.contains(&(hold.ends_at, fence)), "the ends of leases or messages differ")?;
    Ok(hold.ids.len() / LOOKED_THROUGH)
}

fn check_message(mail: &Mail, id: Fence, message: &Message) -> Result<(), Invariant> {
    rule(mail.receivers(id).count() == message.left, "a message does not know who has it")?;
    let times = is_time(message.sent_at) && message.expires_at.is_none_or(is_time);
    let ids = is_id(id) && message.reply_to.is_none_or(is_id) && is_agent(&message.from);
    rule(times && ids && message.payload.len() <= FIELD_BYTES_MAX, "a message is out of bounds")
}

/// Checks it after one event. In a large mailbox, only the counts.
pub fn check_after(mail: &Mail, event: &MailEvent) -> Result<(), Invariant> {
    const SMALL: usize = 40;
    if mail.count() <= SMALL && mail.agents() <= SMALL {
        return check(mail);
    }
    let known = match event {
        MailEvent::Sent(letter) => mail.messages.contains_key(&letter.id),
        MailEvent::Acknowledged { agent, ids, .. } => {
            mail.inbox(agent).is_none_or(|inbox| ids.iter().all(|id| inbox.entry(*id).is_none()))
        }
        _ => true,
    };
    rule(known && mail.ends.len() == mail.holds.len(), "the event did not do what it says")
}

/// Rebuilds everything derived. What does not fit together stays as it is, and the
/// check reports it.
pub fn rebuild(mail: &mut Mail) {
    if let Ok(again) = restored(saved(mail)) {
        *mail = again;
    }
}

/// A clone. Cloned lists have no spare room, so the bytes are counted again.
pub fn cloned(mail: &Mail) -> Mail {
    let mut same = mail.clone();
    same.heap_bytes = counted_bytes(&same);
    same
}

fn counted_bytes(mail: &Mail) -> usize {
    let inboxes: usize = mail.inboxes.values().map(crate::domain::mail::Inbox::heap_bytes).sum();
    inboxes + mail.messages.values().map(Message::heap_bytes).sum::<usize>()
}

/// Bytes held by the mailbox and everything in it.
pub fn memory_bytes(mail: &Mail) -> usize {
    size_of::<Mail>()
        + mail.heap_bytes
        + tree_bytes(mail.messages.len(), size_of::<(Fence, Message)>())
        + tree_bytes(mail.inboxes.len(), size_of::<(Name, crate::domain::mail::Inbox)>())
        + tree_bytes(mail.holds.len(), size_of::<(Fence, Hold)>())
        + tree_bytes(mail.dead.len(), size_of::<((Fence, Name), Dead)>())
        + tree_bytes(mail.ends.len() + mail.expiries.len(), size_of::<(Millis, Fence)>())
}
