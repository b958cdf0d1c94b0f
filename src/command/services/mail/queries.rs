//! The commands that only read mailboxes. They work on replicas, too.

use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::page::{Items, Paging};
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::domain::mail::{Dead, Entry, Inbox, Mail};
use crate::domain::{Bytes, Error, Fence, Record};
use std::collections::BTreeMap;

/// Shows something of the mailbox that is the first argument, or `none` if there is none.
fn show<H: Host>(
    cx: &mut Cx<H>,
    none: Reply,
    shown: impl FnOnce(&Record<Mail>, &mut Budget) -> Result<Reply, Error>,
) -> Result<Outcome, Error> {
    let (key, mut budget) = (cx.key(1), Budget::of(cx.node));
    let shown = cx.host.read::<Mail>(key)?.map_or(Ok(none), |stored| shown(stored, &mut budget));
    shown.map(Outcome::Reply)
}

/// When the hold ends that keeps a message from being received, and whether an agent has received
/// it.
fn hold_of(mail: &Mail, entry: &Entry) -> Option<(u64, bool)> {
    mail.hold(entry.hold).map(|hold| (hold.ends_at, !hold.is_delay))
}

/// `LTMC.MSG.PENDING`
pub fn pending<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("mail")?;
    let agent = args.id("agent")?;
    let page = Paging::only(Items::Messages, &mut args)?;
    show(cx, page.nothing(), |stored, budget| {
        let mail = &stored.state;
        let map = |(id, entry): (Fence, &Entry)| {
            let message = mail.message(id);
            Reply::map([
                ("id", Reply::number(id)),
                ("from", message.map_or(Reply::Nil, |message| Reply::bytes(&message.from))),
                ("sent_at_ms", Reply::number_or_nil(message.map(|message| message.sent_at))),
                ("deliveries", Reply::number(entry.deliveries.into())),
                ("ends_at_ms", Reply::number_or_nil(hold_of(mail, entry).map(|(ends_at, _)| ends_at))),
                ("fence", Reply::number_or_nil(mail.token(agent, id))),
                ("reply_to", Reply::number_or_nil(message.and_then(|message| message.reply_to))),
            ])
        };
        let entries = mail.inbox(agent).into_iter().flat_map(|inbox| inbox.entries_from(page.start()));
        page.list(budget, entries, |(id, _)| *id, |(_, entry)| entry.is_leased, map)
    })
}

/// `LTMC.MSG.DEAD`
pub fn dead<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("mail")?;
    let page = Paging::only(Items::Letters, &mut args)?;
    show(cx, page.nothing(), |stored, budget| {
        let mail = &stored.state;
        let map = |(id, agent, dead): (Fence, &[u8], &Dead)| {
            let message = mail.message(id);
            Reply::map([
                ("id", Reply::number(id)),
                ("agent", Reply::bytes(agent)),
                ("from", message.map_or(Reply::Nil, |message| Reply::bytes(&message.from))),
                ("payload", message.map_or(Reply::Nil, |message| Reply::Blob(message.payload.clone()))),
                ("sent_at_ms", Reply::number_or_nil(message.map(|message| message.sent_at))),
                ("deliveries", Reply::number(dead.deliveries.into())),
                ("died_at_ms", Reply::number(dead.since)),
                ("reason", Reply::text(dead.reason.word())),
                ("reply_to", Reply::number_or_nil(message.and_then(|message| message.reply_to))),
            ])
        };
        let letters = mail.dead_from(page.start());
        page.list(budget, letters, |(id, agent, _)| (*id, Bytes::from(*agent)), |_| true, map)
    })
}

/// `LTMC.MSG.GET`
pub fn get<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("mail")?;
    let id = args.fence("id")?;
    args.finish()?;
    show(cx, Reply::Nil, |stored, budget| {
        let mail = &stored.state;
        let Some(message) = mail.message(id) else { return Ok(Reply::Nil) };
        Ok(Reply::map([
            ("id", Reply::number(id)),
            ("from", Reply::bytes(&message.from)),
            ("payload", Reply::Blob(message.payload.clone())),
            ("sent_at_ms", Reply::number(message.sent_at)),
            ("reply_to", Reply::number_or_nil(message.reply_to)),
            ("expires_at_ms", Reply::number_or_nil(message.expires_at)),
            ("receivers", budget.list(mail.receivers(id).map(|agent| receiver_map(mail, agent, id)))),
        ]))
    })
}

/// The state of a message for one of its receivers.
fn receiver_map(mail: &Mail, agent: &[u8], id: Fence) -> Reply {
    let entry = mail.inbox(agent).and_then(|inbox| inbox.entry(id));
    let (state, deliveries, ends_at) = match (entry, mail.dead_letter(id, agent)) {
        (Some(entry), _) => {
            let hold = hold_of(mail, entry);
            let state = hold.map_or("ready", |(_, is_received)| if is_received { "received" } else { "delayed" });
            (state, entry.deliveries, hold.map(|(ends_at, _)| ends_at))
        }
        (None, dead) => ("dead", dead.map_or(0, |dead| dead.deliveries), None),
    };
    Reply::map([
        ("agent", Reply::bytes(agent)),
        ("state", Reply::text(state)),
        ("deliveries", Reply::number(deliveries.into())),
        ("ends_at_ms", Reply::number_or_nil(ends_at)),
    ])
}

/// `LTMC.MSG.AGENTS`
pub fn agents<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("mail")?;
    let page = Paging::<Bytes>::only(Items::Inboxes, &mut args)?;
    let (key, mut budget) = (cx.key(1), Budget::of(cx.node));
    let Some(stored) = cx.host.read::<Mail>(key)? else { return Ok(Outcome::Reply(page.nothing())) };
    let (mails, key) = (&cx.node.queues.mails, key.id());
    let mut waiting: BTreeMap<&[u8], usize> = BTreeMap::new();
    mails.lines(&key).for_each(|line| *waiting.entry(&line.0).or_default() += mails.in_line(&key, line));
    let map = |(agent, inbox): (&[u8], &Inbox)| {
        Reply::map([
            ("agent", Reply::bytes(agent)),
            ("joined_at_ms", if inbox.is_joined() { Reply::number(inbox.joined_at) } else { Reply::Nil }),
            ("messages", Reply::number(inbox.len() as u64)),
            ("ready", Reply::number(inbox.ready() as u64)),
            ("waiting", Reply::number(waiting.get(agent).copied().unwrap_or(0) as u64)),
        ])
    };
    let inboxes = stored.state.inboxes_from(&page.start());
    Ok(Outcome::Reply(page.list(&mut budget, inboxes, |(agent, _)| Bytes::from(*agent), |_| true, map)?))
}

/// `LTMC.MSG.INFO`
pub fn info<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let waiting = cx.node.queues.mails.waiting_for(&cx.key(1).id()) as u64;
    show(cx, Reply::Nil, |stored, _| {
        let (mail, totals) = (&stored.state, stored.state.totals());
        let count = |count: usize| Reply::number(count as u64);
        let (entries, ready) =
            mail.inboxes().fold((0, 0), |(entries, ready), (_, inbox)| (entries + inbox.len(), ready + inbox.ready()));
        Ok(Reply::map([
            ("revision", Reply::number(stored.revision)),
            ("messages", count(mail.count())),
            ("payload_bytes", count(mail.payload_bytes())),
            ("agents", count(mail.agents())),
            ("joined", count(mail.joined())),
            ("ready", count(ready)),
            ("held", count(entries - ready)),
            ("dead", count(mail.dead_len())),
            ("waiting", Reply::number(waiting)),
            ("oldest_at_ms", Reply::number_or_nil(mail.oldest().map(|(_, message)| message.sent_at))),
            ("total_sent", Reply::number(totals.sent)),
            ("total_received", Reply::number(totals.received)),
            ("total_acknowledged", Reply::number(totals.acknowledged)),
            ("total_returned", Reply::number(totals.returned)),
            ("total_expired", Reply::number(totals.expired)),
            ("total_died", Reply::number(totals.died)),
            ("total_dropped", Reply::number(totals.dropped)),
            ("memory_bytes", count(stored.memory_bytes())),
        ]))
    })
}
