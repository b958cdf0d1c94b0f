//! `LTMC.MSG.SEND`: the recipients of a message.

use super::serve::bounds;
use crate::command::engine::args::Args;
use crate::command::engine::commit::commit_changes;
use crate::command::engine::current::current;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::requests::{answered, remember};
use crate::command::host::{Host, Key};
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::{Answer, RequestId};
use crate::domain::limits::{ID_BYTES_MAX, MAIL_RECEIVERS_MAX};
use crate::domain::mail::decide::Draft;
use crate::domain::mail::{decide, Mail};
use crate::domain::registry::find::{find, Sort};
use crate::domain::registry::{Filter, Registry};
use crate::domain::value::bytes::printable;
use crate::domain::value::capability::Requirement;
use crate::domain::{Bytes, Change, Code, Error, Fence, Millis};

/// The destination of a message.
enum Destination<'a> {
    /// These agents.
    Agents(Vec<Bytes>),
    /// The least loaded agent with this capability, of the registry that is this argument.
    Capable(Requirement, &'a [u8], usize),
    /// All living agents of the registry that is this argument.
    Alive(usize),
    /// All agents that have joined, have something in their inboxes, or wait for messages.
    All,
    /// The sender of the message that this one answers.
    Sender(Fence),
}

#[derive(Default)]
struct Options {
    reply_to: Option<Fence>,
    ttl_ms: Option<Millis>,
    request_id: Option<RequestId>,
}

fn parse_destination<'a>(args: &mut Args<'a>) -> Result<Destination<'a>, Error> {
    Ok(match args.choice("destination")? {
        "TO" => Destination::Agents(parse_agents(args)?),
        "CAP" => {
            let cap = args.bytes("cap")?;
            let requirement = Requirement::parse(cap)?;
            args.expect("REGISTRY", "the word after the capability")?;
            Destination::Capable(requirement, cap, parse_registry(args)?)
        }
        "REGISTRY" => Destination::Alive(parse_registry(args)?),
        "ALL" => Destination::All,
        _ => Destination::Sender(args.fence("REPLYTO")?),
    })
}

fn parse_registry(args: &mut Args) -> Result<usize, Error> {
    let at = args.position();
    args.bytes("registry").map(|_| at)
}

/// At least one agent, in order and without duplicates.
fn parse_agents(args: &mut Args) -> Result<Vec<Bytes>, Error> {
    let given = args.list("TO", 1, MAIL_RECEIVERS_MAX)?;
    if let Some(bad) = given.iter().find(|id| !(1..=ID_BYTES_MAX).contains(&id.len())) {
        return Err(Error::length("an agent of TO", bad.len(), ID_BYTES_MAX));
    }
    let mut agents: Vec<Bytes> = given.iter().map(|id| Bytes::from(*id)).collect();
    agents.sort_unstable();
    agents.dedup();
    Ok(agents)
}

fn parse_options(args: &mut Args, from: &[u8]) -> Result<Options, Error> {
    let mut options = Options::default();
    while let Some(word) = args.option()? {
        match word {
            "REPLYTO" => options.reply_to = Some(args.fence("REPLYTO")?),
            "PX" | "EX" => options.ttl_ms = Some(args.duration(word)?),
            "REQID" => options.request_id = Some(args.request_id(from)?),
            _ => return Err(args.unread(word)),
        }
    }
    Ok(options)
}

/// `LTMC.MSG.SEND`
pub fn send<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("mail")?;
    let from = args.id("from")?;
    let destination = parse_destination(&mut args)?;
    let payload_at = args.position();
    let payload_bytes = args.bytes("payload")?.len();
    cx.check_bytes(Setting::MailPayloadBytesMax, "the payload of a message", payload_bytes)?;
    let mut options = parse_options(&mut args, from)?;
    if let Destination::Sender(id) = destination {
        if options.reply_to.replace(id).is_some() {
            return Err(args.twice("REPLYTO"));
        }
    }
    let (key, bounds) = (cx.key(1), bounds(cx.node));
    if let Some(answer) = answered::<Mail, H>(cx.node, cx.host, key, options.request_id.as_ref())? {
        return Ok(Outcome::Reply((&answer).into()));
    }
    let to = receivers(cx, key, from, destination)?;
    let mail = current::<Mail, H>(cx.node, cx.host, key)?;
    decide::check_room(&mail, &to, payload_bytes, &bounds)?;
    let payload = cx.blob(payload_at);
    let Options { reply_to, ttl_ms, request_id } = options;
    let draft = Draft { from: Bytes::from(from), to, reply_to, ttl_ms };
    let (event, id) = decide::send(draft, payload, &mut cx.node.clock);
    let answer = Answer::Integer(id as i64);
    let answered = remember::<Mail, H>(cx.node, cx.host, key, request_id.as_ref(), answer)?;
    let mut changes: Vec<_> = [Change::Event(event)].into_iter().chain(answered).collect();
    commit_changes::<Mail, H>(cx.node, cx.host, key, &mut changes)?;
    Ok(Outcome::Reply(Reply::number(id)))
}

/// The recipients of a message, in order.
fn receivers<H: Host>(cx: &mut Cx<H>, key: Key, from: &[u8], destination: Destination) -> Result<Vec<Bytes>, Error> {
    let (to, whom) = match destination {
        Destination::Agents(agents) => return Ok(agents),
        Destination::Sender(id) => {
            let mail = current::<Mail, H>(cx.node, cx.host, key)?;
            return decide::sender_of(&mail, id).map(|sender| vec![sender]);
        }
        Destination::Capable(requirement, cap, at) => {
            (capable(cx, from, requirement, at)?, format!("has the capability '{}' and is offered", printable(cap)))
        }
        Destination::Alive(at) => (alive(cx, from, at)?, "is alive in the registry".to_string()),
        Destination::All => (everyone(cx, key, from)?, "takes part in this mailbox".to_string()),
    };
    if to.is_empty() {
        return Err(Error::new(Code::NoAgent, format!("nobody but the sender {whom}")));
    }
    if to.len() > MAIL_RECEIVERS_MAX {
        let text = format!("the message is for {} agents, at most {MAIL_RECEIVERS_MAX} are allowed", to.len());
        return Err(Error::usage(text));
    }
    Ok(to)
}

/// The agent that `LTMC.AGENT.FIND ... SORT LOAD` would name first.
fn capable<H: Host>(cx: &mut Cx<H>, from: &[u8], requirement: Requirement, at: usize) -> Result<Vec<Bytes>, Error> {
    let (registry, view) = (cx.key(at), cx.node.view());
    let Some(stored) = cx.host.read::<Registry>(registry)? else { return Ok(Vec::new()) };
    let filter = Filter { caps: vec![requirement], excluded: vec![Bytes::from(from)], ..Filter::ANY };
    let found = find(&stored.state, &view, &filter, Sort::Load, 1, 0);
    Ok(found.into_iter().filter_map(|slot| stored.state.at(slot)).map(|agent| agent.id.clone()).collect())
}

/// All agents that are not dead. A suspect may be back in time to read it.
fn alive<H: Host>(cx: &mut Cx<H>, from: &[u8], at: usize) -> Result<Vec<Bytes>, Error> {
    let registry = cx.key(at);
    let Some(stored) = cx.host.read::<Registry>(registry)? else { return Ok(Vec::new()) };
    let max = cx.node.settings.get(Setting::MailAgentsMax) as usize;
    // More would not fit, so they need not be put in order.
    let living = stored.state.agents().filter(|agent| !agent.is_dead()).take(max.saturating_add(2));
    Ok(in_order(living.map(|agent| agent.id.clone()), from))
}

fn everyone<H: Host>(cx: &mut Cx<H>, key: Key, from: &[u8]) -> Result<Vec<Bytes>, Error> {
    let waiting = cx.node.queues.mails.agents(&key.id());
    let Some(stored) = cx.host.read::<Mail>(key)? else { return Ok(in_order(waiting.into_iter(), from)) };
    let known = stored.state.inboxes().map(|(agent, _)| Bytes::from(agent));
    Ok(in_order(known.chain(waiting), from))
}

/// All agents once, except the sender.
fn in_order(agents: impl Iterator<Item = Bytes>, from: &[u8]) -> Vec<Bytes> {
    let mut agents: Vec<Bytes> = agents.filter(|agent| agent[..] != *from).collect();
    agents.sort_unstable();
    agents.dedup();
    agents
}
