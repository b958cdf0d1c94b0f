//! The commands that change mailboxes, except for sending: what they take, what they decide, what
//! they answer. The rules are in `domain::mail`.

use super::serve::{bounds, decide_due, receive, serve_before};
use crate::command::engine::args::Args;
use crate::command::engine::bindings::binding_for;
use crate::command::engine::commit::{commit, commit_changes};
use crate::command::engine::current::current;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::quotas;
use crate::command::engine::waiting::{wait, NewWait};
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::limits::MAIL_RECEIVE_MAX;
use crate::domain::mail::decide::{ReceiveArgs, Return};
use crate::domain::mail::queue::MailWaiter;
use crate::domain::mail::{decide, Mail};
use crate::domain::{Bytes, Change, Error, Fence, Millis, Service};

/// How much of what is due is decided before messages are received.
const DUE_BEFORE_RECEIVE: usize = 64;

/// `LTMC.MSG.RECV`
pub fn recv<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("mail")?;
    let agent = args.id("agent")?;
    let lease_ms = cx.node.settings.get(Setting::MailLeaseMs);
    let mut receive_args = ReceiveArgs { count: 1, answer_to: None, lease_ms };
    let (mut block_ms, mut registry) = (None, None);
    while let Some(word) = args.option()? {
        match word {
            "COUNT" => receive_args.count = args.number("COUNT", 1, MAIL_RECEIVE_MAX as u64)? as usize,
            "PX" | "EX" => receive_args.lease_ms = args.duration(word)?,
            "BLOCK" => block_ms = Some(args.millis("BLOCK", 0)?),
            "REGISTRY" => registry = Some(args.registry()?),
            "REPLYTO" => receive_args.answer_to = Some(args.fence("REPLYTO")?),
            _ => return Err(args.unread(word)),
        }
    }
    let key = cx.key(1);
    decide_due(cx.node, cx.host, key, DUE_BEFORE_RECEIVE)?;
    // Clients that wait for this agent get what is ready first, so nobody is overtaken.
    let is_first = serve_before(cx.node, cx.host, key, agent);
    if is_first {
        if let Some((reply, _)) = receive(cx.node, cx.host, key, agent, &receive_args, registry.as_ref())? {
            return Ok(Outcome::Reply(reply));
        }
    }
    match block_ms.filter(|_| cx.host.may_block()) {
        None => Ok(Outcome::Reply(Reply::Array(Vec::new()))),
        Some(block_ms) => {
            if !is_first {
                // It gets in its turn what is there for it.
                cx.node.look_at_soon(key.id());
            }
            wait_for_messages(cx, agent, receive_args, registry, block_ms)
        }
    }
}

fn wait_for_messages<H: Host>(
    cx: &mut Cx<H>,
    agent: &[u8],
    args: ReceiveArgs,
    registry: Option<Bytes>,
    block_ms: Millis,
) -> Result<Outcome, Error> {
    let principal = quotas::principal::<Mail, H>(cx.node, cx.host, cx.key(1), registry.as_ref(), agent)?;
    let key = cx.key(1).id();
    let waiter = MailWaiter { key: key.clone(), line: (Bytes::from(agent), args.answer_to), args, registry };
    let new = NewWait {
        service: Service::Mail,
        waiting: cx.node.queues.mails.waiting_for(&key),
        key,
        max: Setting::MailWaitersMax,
        what: "one more client waiting for messages of this mailbox",
        block_ms,
        principal,
    };
    wait(cx, new, |queues, id| queues.mails.insert(id, waiter))
}

/// `LTMC.MSG.ACK`
pub fn ack<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("mail")?;
    let agent = args.id("agent")?;
    let (ids, mut token) = (args.fences("id", 2)?, None);
    while args.option()?.is_some() {
        token = Some(args.fence_or_zero("TOKEN")?);
    }
    let key = cx.key(1);
    let now = cx.now();
    let Some(stored) = cx.host.read::<Mail>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    token.map_or(Ok(()), |token| decide::check_token(&stored.state, agent, &ids, token, now))?;
    let (event, count) = decide::acknowledge(&stored.state, agent, ids, now);
    commit::<Mail, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::number(count as u64)))
}

/// Reads `mail agent id` of a command about one message.
fn parse_one<'a>(args: &mut Args<'a>) -> Result<(&'a [u8], Fence), Error> {
    args.bytes("mail")?;
    Ok((args.id("agent")?, args.fence("id")?))
}

/// Commits what was decided about one message. The reply is 1 if that is anything, else 0.
fn done<H: Host>(
    cx: &mut Cx<H>,
    events: impl IntoIterator<Item = crate::domain::mail::MailEvent>,
) -> Result<Outcome, Error> {
    let mut changes: Vec<_> = events.into_iter().map(Change::Event).collect();
    let (key, is_done) = (cx.key(1), !changes.is_empty());
    commit_changes::<Mail, H>(cx.node, cx.host, key, &mut changes)?;
    Ok(Outcome::Reply(Reply::Integer(is_done.into())))
}

/// `LTMC.MSG.NACK`
pub fn nack<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let (agent, id) = parse_one(&mut args)?;
    let (mut how, mut token) = (Return::Now, None);
    while let Some(word) = args.option()? {
        match word {
            "DELAY" => how = Return::Later(args.millis("DELAY", 1)?),
            "DEAD" => how = Return::Dead,
            "TOKEN" => token = Some(args.fence_or_zero("TOKEN")?),
            _ => return Err(args.unread(word)),
        }
    }
    let (key, policy, now) = (cx.key(1), cx.node.settings.mail_policy(), cx.now());
    let Some(stored) = cx.host.read::<Mail>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    token.map_or(Ok(()), |token| decide::check_token(&stored.state, agent, &[id], token, now))?;
    let events = decide::give_back(&stored.state, agent, id, how, &policy, &mut cx.node.clock);
    done(cx, events)
}

/// `LTMC.MSG.EXTEND`
pub fn extend<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let (agent, id) = parse_one(&mut args)?;
    let (mut lease_ms, mut token) = (None, None);
    while let Some(word) = args.option()? {
        match word {
            "TOKEN" => token = Some(args.fence_or_zero("TOKEN")?),
            "PX" | "EX" => lease_ms = Some(args.duration(word)?),
            _ => return Err(args.unread(word)),
        }
    }
    let lease_ms = lease_ms.ok_or_else(|| args.missing("PX or EX"))?;
    let (key, now) = (cx.key(1), cx.now());
    let Some(stored) = cx.host.read::<Mail>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    token.map_or(Ok(()), |token| decide::check_token(&stored.state, agent, &[id], token, now))?;
    let event = decide::extend(&stored.state, agent, id, lease_ms, &mut cx.node.clock);
    done(cx, event)
}

/// `LTMC.MSG.REQUEUE`
pub fn requeue<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let (agent, id) = parse_one(&mut args)?;
    args.finish()?;
    let (key, bounds, now) = (cx.key(1), bounds(cx.node), cx.now());
    let Some(stored) = cx.host.read::<Mail>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    let event = decide::requeue(&stored.state, agent, id, &bounds, now)?;
    done(cx, event)
}

/// `LTMC.MSG.JOIN`
pub fn join<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("mail")?;
    let agent = args.id("agent")?;
    let registry = args.only_registry()?;
    let (key, bounds, now) = (cx.key(1), bounds(cx.node), cx.now());
    let binding = binding_for::<Mail, H>(cx.node, cx.host, key, registry.as_ref(), agent)?;
    let mail = current::<Mail, H>(cx.node, cx.host, key)?;
    let event = decide::join(&mail, agent, &bounds, now)?;
    let is_new = event.is_some();
    let mut changes: Vec<_> = event.map(Change::Event).into_iter().chain(binding.map(Change::Bound)).collect();
    commit_changes::<Mail, H>(cx.node, cx.host, key, &mut changes)?;
    Ok(Outcome::Reply(Reply::Integer(is_new.into())))
}

/// `LTMC.MSG.LEAVE`
pub fn leave<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("mail")?;
    let agent = args.id("agent")?;
    let (key, now) = (cx.key(1), cx.now());
    let Some(stored) = cx.host.read::<Mail>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    let event = decide::leave(&stored.state, agent, now);
    done(cx, event)
}
