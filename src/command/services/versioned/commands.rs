//! What sessions and contexts share: reading a live value, and the commands that are the same for
//! both.

use super::serve::{end_if_expired, has_expired};
use crate::command::engine::args::{parse_meta_of, Args};
use crate::command::engine::bindings::binding_for;
use crate::command::engine::budget::Budget;
use crate::command::engine::commit::{commit, commit_changes, commit_one};
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::page::{Items, Paging};
use crate::command::engine::requests::{answered, remember};
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::{Answer, RequestId};
use crate::domain::limits::{NAME_BYTES_MAX, VERSIONED_META_BYTES_MAX};
use crate::domain::value::bytes::printable;
use crate::domain::versioned::history::{Checkpoint, CheckpointId, Keep};
use crate::domain::versioned::{decide, Created, Life, State, Version, Versioned, VersionedEvent};
use crate::domain::{AgentBinding, Bytes, Change, Code, Entity, Error, Millis, Record};

/// The value of a key if its life has not ended.
pub fn live<'a, S: State, H: Host>(node: &Node, host: &'a mut H, key: Key) -> Result<Option<&'a Versioned<S>>, Error> {
    Ok(live_record(node, host, key)?.map(|stored| &stored.state))
}

/// The same, with what is kept beside the value.
pub fn live_record<'a, S: State, H: Host>(
    node: &Node,
    host: &'a mut H,
    key: Key,
) -> Result<Option<&'a Record<Versioned<S>>>, Error> {
    let now = node.now();
    Ok(shown_record::<S, H>(node, host, key)?.filter(|stored| !stored.state.is_gone(now)))
}

/// The same, also beyond its end while it gives things back.
pub fn shown_record<'a, S: State, H: Host>(
    node: &Node,
    host: &'a mut H,
    key: Key,
) -> Result<Option<&'a Record<Versioned<S>>>, Error> {
    let has_expired = has_expired(node, host, key);
    Ok(host.read::<Versioned<S>>(key)?.filter(|_| !has_expired))
}

/// The value of a key that has to be there.
pub fn existing<'a, S: State, H: Host>(node: &Node, host: &'a mut H, key: Key) -> Result<&'a Versioned<S>, Error> {
    live(node, host, key)?.ok_or_else(|| missing::<S>(key))
}

/// The error for a session or context that does not exist.
pub fn missing<S: State>(key: Key) -> Error {
    Error::new(S::MISSING, format!("there is no {} '{}'", S::SERVICE.name(), printable(key.name)))
}

/// The answer to a request that was answered before. A value whose life has ended remembers none.
pub fn remembered<S: State, H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    request: Option<&RequestId>,
) -> Result<Option<Outcome>, Error> {
    let has_ended = request.is_some() && live::<S, H>(cx.node, cx.host, key)?.is_none();
    let answer = answered::<Versioned<S>, H>(cx.node, cx.host, key, request.filter(|_| !has_ended))?;
    Ok(answer.map(|answer| Outcome::Reply((&answer).into())))
}

/// Applies one event.
pub fn apply<S: State, H: Host>(cx: &mut Cx<H>, key: Key, event: VersionedEvent<S>) -> Result<(), Error> {
    commit_one::<Versioned<S>, H>(cx.node, cx.host, key, event)
}

/// Applies an event that makes a version or a checkpoint, and answers its number. A retry of the
/// request gets the same answer.
pub fn apply_numbered<S: State, H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    event: VersionedEvent<S>,
    request: Option<RequestId>,
) -> Result<Outcome, Error> {
    let number = event.number();
    let reply = Ok(Outcome::Reply(Reply::number(number)));
    let answer = Answer::Integer(number as i64);
    let Some(answered) = remember::<Versioned<S>, H>(cx.node, cx.host, key, request.as_ref(), answer)? else {
        return apply(cx, key, event).and(reply);
    };
    commit_changes::<Versioned<S>, H>(cx.node, cx.host, key, &mut [Change::Event(event), answered]).and(reply)
}

/// The same for a write that makes a version only if it changes something. One that changes nothing
/// is answered the current version; its retry gets the same answer, whatever has changed meanwhile.
pub fn apply_change<S: State, H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    event: Option<VersionedEvent<S>>,
    ttl_ms: Option<Millis>,
    request: Option<RequestId>,
) -> Result<Outcome, Error> {
    if let Some(event) = event {
        return apply_numbered(cx, key, event, request);
    }
    let at = cx.now();
    let value = existing::<S, H>(cx.node, cx.host, key)?;
    let (version, used) = (value.version(), decide::used(value, ttl_ms, at));
    let answer = Answer::Integer(version as i64);
    let answered = remember::<Versioned<S>, H>(cx.node, cx.host, key, request.as_ref(), answer)?;
    let mut changes: Vec<_> = used.map(Change::Event).into_iter().chain(answered).collect();
    commit_changes::<Versioned<S>, H>(cx.node, cx.host, key, &mut changes)?;
    Ok(Outcome::Reply(Reply::number(version)))
}

/// How much of the past a new value keeps.
pub fn keep(node: &Node) -> Keep {
    let versions_max = node.settings.get(Setting::HistoryVersionsMax);
    Keep {
        versions_max: u32::try_from(versions_max).unwrap_or(u32::MAX),
        bytes_max: node.settings.get(Setting::HistoryBytesMax),
    }
}

/// Creates a value. With a registry, its participants are agents of that. Errs if there is one
/// already that has not ended.
pub fn create<S: State, H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    created: Created<S>,
    registry: Option<&Bytes>,
    request: Option<RequestId>,
) -> Result<Outcome, Error> {
    end_if_expired::<S, H>(cx.node, cx.host, key)?;
    if let Some(stored) = cx.host.read::<Versioned<S>>(key)? {
        decide::check_returned(&stored.state)?;
    }
    let max = cx.node.settings.get(Setting::ParticipantsMax);
    if created.participants.len() as u64 > max {
        return Err(Error::limit("participants-max", "so many participants", max));
    }
    if let Some(value) = live::<S, H>(cx.node, cx.host, key)? {
        if decide::check_open(value).is_ok() {
            let (name, version) = (S::SERVICE.name(), value.version());
            let text = format!("the {name} '{}' exists, its version is {version}", printable(key.name));
            return Err(Error::new(Code::Conflict, text));
        }
    }
    let bindings = created
        .participants
        .iter()
        .map(|(agent, _)| binding_for::<Versioned<S>, H>(cx.node, cx.host, key, registry, agent));
    let bindings: Vec<Option<AgentBinding>> = bindings.collect::<Result<_, _>>()?;
    let version = created.version;
    let created = [Change::Event(VersionedEvent::Created(Box::new(created)))].into_iter();
    let answer = Answer::Integer(version as i64);
    let answered = remember::<Versioned<S>, H>(cx.node, cx.host, key, request.as_ref(), answer)?;
    let mut changes: Vec<_> =
        created.chain(bindings.into_iter().flatten().map(Change::Bound)).chain(answered).collect();
    commit_changes::<Versioned<S>, H>(cx.node, cx.host, key, &mut changes)?;
    Ok(Outcome::Reply(Reply::number(version)))
}

/// The options for how long a new value lives.
#[derive(Debug, Default)]
pub struct LifeArgs {
    /// `PX` or `EX`, ms.
    pub ttl_ms: Option<Millis>,
    /// `SLIDING`.
    pub is_sliding: bool,
    /// `MAXLIFE`, ms.
    pub max_life_ms: Option<Millis>,
}

impl LifeArgs {
    /// The life that begins at `at`.
    pub fn begin(&self, at: Millis) -> Result<Life, Error> {
        if self.is_sliding && self.ttl_ms.is_none() {
            return Err(Error::usage("SLIDING goes with PX or EX only: it says how long each write lets it live"));
        }
        Ok(Life::new(at, self.ttl_ms, self.is_sliding, self.max_life_ms))
    }
}

/// `META json`, as it was given. Empty for null.
pub fn parse_meta(args: &mut Args, depth_max: usize) -> Result<Bytes, Error> {
    parse_meta_of(args, VERSIONED_META_BYTES_MAX, depth_max)
}

/// `... JOIN key agent [ROLE text]`
pub fn join<S: State, H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let agent = args.id("agent")?;
    let (mut role, mut registry) = (None, None);
    while let Some(word) = args.option()? {
        match word {
            "ROLE" => role = Some(args.text("ROLE", NAME_BYTES_MAX)?),
            "REGISTRY" => registry = Some(args.registry()?),
            _ => return Err(args.unread(word)),
        }
    }
    let (key, at, max) = (cx.key(1), cx.now(), cx.node.settings.get(Setting::ParticipantsMax));
    let binding = binding_for::<Versioned<S>, H>(cx.node, cx.host, key, registry.as_ref(), agent)?;
    let value = existing::<S, H>(cx.node, cx.host, key)?;
    let is_new = !value.participants().contains_key(agent);
    let event = decide::join(value, agent, role, max, at)?.or_else(|| decide::used(value, None, at));
    let mut changes: Vec<_> = event.map(Change::Event).into_iter().chain(binding.map(Change::Bound)).collect();
    commit_changes::<Versioned<S>, H>(cx.node, cx.host, key, &mut changes)?;
    Ok(Outcome::Reply(Reply::Integer(is_new.into())))
}

/// `... LEAVE key agent`
pub fn leave<S: State, H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let agent = args.id("agent")?;
    let (key, at) = (cx.key(1), cx.now());
    let Some(value) = live::<S, H>(cx.node, cx.host, key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    let left = decide::leave(value, agent, at);
    let was_there = left.is_some();
    let event = left.or_else(|| decide::used(value, None, at));
    commit::<Versioned<S>, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::Integer(was_there.into())))
}

/// `... TOUCH key [PX ms]`
pub fn touch<S: State, H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let ttl_ms = args.only_duration()?;
    let (key, at) = (cx.key(1), cx.now());
    let Some(value) = live::<S, H>(cx.node, cx.host, key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    decide::check_open(value)?;
    apply::<S, H>(cx, key, VersionedEvent::Touched { at, ttl_ms })?;
    Ok(Outcome::Reply(Reply::Integer(1)))
}

/// `... CHECKPOINT key [NAME text] [PIN] [REQID id]`
pub fn checkpoint<S: State, H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let (mut name, mut is_pinned, mut request) = (Bytes::EMPTY, false, None);
    while let Some(word) = args.option()? {
        match word {
            "NAME" => name = Bytes::from(args.text("NAME", NAME_BYTES_MAX)?),
            "PIN" => is_pinned = true,
            "REQID" => request = Some(args.request_id(b"")?),
            _ => return Err(args.unread(word)),
        }
    }
    let (key, at) = (cx.key(1), cx.now());
    if let Some(answered) = remembered::<S, H>(cx, key, request.as_ref())? {
        return Ok(answered);
    }
    let max = cx.node.settings.get(Setting::CheckpointsMax);
    let value = existing::<S, H>(cx.node, cx.host, key)?;
    let event = decide::checkpoint(value, name, is_pinned, max, at)?;
    apply_numbered::<S, H>(cx, key, event, request)
}

/// `... CHECKPOINTS key [LIMIT offset count | CURSOR cursor [COUNT n]]`
pub fn checkpoints<S: State, H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let page = Paging::only(Items::Checkpoints, &mut args)?;
    let (key, mut budget) = (cx.key(1), Budget::of(cx.node));
    let value = live::<S, H>(cx.node, cx.host, key)?;
    let checkpoints = value.into_iter().flat_map(|value| value.history().checkpoints_from(page.start()));
    Ok(Outcome::Reply(page.list(&mut budget, checkpoints, |(id, _)| *id, |_| true, checkpoint_map)?))
}

/// A checkpoint, as replies show it.
pub fn checkpoint_map((id, checkpoint): (CheckpointId, &Checkpoint)) -> Reply {
    Reply::map([
        ("id", Reply::number(id)),
        ("name", Reply::bytes_or_nil(&checkpoint.name)),
        ("version", Reply::number(checkpoint.version)),
        ("at_ms", Reply::number(checkpoint.at)),
        ("pinned", Reply::Integer(checkpoint.is_pinned.into())),
    ])
}

/// `... RESTORE key checkpoint [IFVERSION v] [REQID id] [AGENT a]`
pub fn restore<S: State, H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let name = args.bytes("checkpoint")?;
    let (mut expected, mut request, mut agent) = (None, None, None);
    while let Some(word) = args.option()? {
        match word {
            "IFVERSION" => expected = Some(args.version("IFVERSION")?),
            "REQID" => request = Some(args.request_id(b"")?),
            "AGENT" => agent = Some(args.id("AGENT")?),
            _ => return Err(args.unread(word)),
        }
    }
    let (key, at, by) = (cx.key(1), cx.now(), cx.acting(agent)?);
    let request = request.map(|request| request.of(&by));
    if let Some(answered) = remembered::<S, H>(cx, key, request.as_ref())? {
        return Ok(answered);
    }
    let value = existing::<S, H>(cx.node, cx.host, key)?;
    decide::check_version(Some(value), expected, S::changed_since)?;
    let (checkpoint, _) = decide::find_checkpoint(value, name)?;
    let event = decide::restore(value, checkpoint, &by, at)?;
    apply_change::<S, H>(cx, key, event, None, request)
}

/// `... FORK src dst [AT checkpoint] [REQID id]`
pub fn fork<S: State, H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("src")?;
    args.bytes("dst")?;
    let (mut checkpoint, mut request) = (None, None);
    while let Some(word) = args.option()? {
        match word {
            "AT" => checkpoint = Some(args.bytes("the checkpoint after AT")?),
            "REQID" => request = Some(args.request_id(b"")?),
            _ => return Err(args.unread(word)),
        }
    }
    let (src, dst, at) = (cx.key(1), cx.key(2), cx.now());
    if src.name == dst.name {
        return Err(Error::usage("src and dst are the same key"));
    }
    if let Some(answered) = remembered::<S, H>(cx, dst, request.as_ref())? {
        return Ok(answered);
    }
    let value = existing::<S, H>(cx.node, cx.host, src)?;
    let version: Version = match checkpoint {
        Some(name) => decide::find_checkpoint(value, name)?.1,
        None => value.version(),
    };
    let mut forked = value.forked(version, at).ok_or_else(Error::internal)?;
    // A user who is bound to its name must not take other agents along.
    forked.participants.retain(|(agent, _)| cx.check_actor(agent).is_ok());
    if cx.check_actor(&forked.owner).is_err() {
        forked.owner = Bytes::EMPTY;
    }
    create::<S, H>(cx, dst, forked, None, request)
}

/// `... PRUNE key KEEPLAST n [MAXAGE ms] [DRYRUN]`
pub fn prune<S: State, H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let (mut keep_last, mut max_age_ms, mut is_dry) = (None, None, false);
    while let Some(word) = args.option()? {
        match word {
            "KEEPLAST" => keep_last = Some(args.number("KEEPLAST", 0, u64::from(u32::MAX))? as usize),
            "MAXAGE" => max_age_ms = Some(args.millis("MAXAGE", 0)?),
            "DRYRUN" => is_dry = true,
            _ => return Err(args.unread(word)),
        }
    }
    let keep_last = keep_last.ok_or_else(|| args.missing("KEEPLAST"))?;
    let (key, at) = (cx.key(1), cx.now());
    let before = max_age_ms.map_or(Millis::MAX, |max_age_ms| at.saturating_sub(max_age_ms));
    let Some(value) = live::<S, H>(cx.node, cx.host, key)? else { return Ok(Outcome::Reply(Reply::Array(Vec::new()))) };
    let checkpoints = value.history().prunable(keep_last, before);
    let reply = Reply::Array(checkpoints.iter().map(|id| Reply::number(*id)).collect());
    if !is_dry {
        let pruned = (!checkpoints.is_empty()).then_some(VersionedEvent::Pruned { at, checkpoints });
        let event = pruned.or_else(|| decide::used(value, None, at));
        commit::<Versioned<S>, H>(cx.node, cx.host, key, event)?;
    }
    Ok(Outcome::Reply(reply))
}

/// What INFO and GET say of every versioned value, with as many of its participants as fit.
pub fn common_fields<S: State>(
    stored: &Record<Versioned<S>>,
    expires_at: Option<Millis>,
    budget: &mut Budget,
) -> Vec<(&'static str, Reply)> {
    let (value, revision) = (&stored.state, stored.revision);
    let (life, history) = (value.life(), value.history());
    let participants = value.participants().iter().map(|(agent, participant)| {
        Reply::map([
            ("agent", Reply::bytes(agent)),
            ("role", Reply::bytes_or_nil(&participant.role)),
            ("since_at_ms", Reply::number(participant.since)),
        ])
    });
    let participants = budget.list(participants);
    let (changed_at, changed_by) = value.changed();
    vec![
        ("owner", Reply::bytes_or_nil(value.owner())),
        ("meta", Reply::bytes_or_nil(value.meta())),
        ("participants_count", Reply::number(value.participants().len() as u64)),
        ("participants", participants),
        ("created_at_ms", Reply::number(value.created_at())),
        ("changed_at_ms", Reply::number(changed_at)),
        ("changed_by", Reply::bytes_or_nil(changed_by)),
        ("ttl_ms", Reply::number_or_nil(life.ttl_ms)),
        ("sliding", Reply::Integer(life.is_sliding.into())),
        ("ends_at_ms", Reply::number_or_nil(expires_at)),
        ("checkpoints", Reply::number(history.checkpoints().len() as u64)),
        ("last_checkpoint", history.checkpoints().next_back().map_or(Reply::Nil, checkpoint_map)),
        ("history_versions", Reply::number(history.recent_versions() as u64)),
        ("history_bytes", Reply::number(history.bytes() as u64)),
        ("memory_bytes", Reply::number(value.memory_bytes() as u64)),
        ("revision", Reply::number(revision)),
    ]
}
