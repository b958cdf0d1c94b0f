//! The commands that change chunk buffers: what they take, what they decide, what they answer. The
//! rules are in `domain::buffer`.

use super::serve::{end_if_expired, is_short, make_room};
use crate::command::engine::args::{parse_meta_of, Args};
use crate::command::engine::bindings::binding_for;
use crate::command::engine::commit::{commit, commit_changes};
use crate::command::engine::current::current;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::quotas;
use crate::command::engine::requests::{answered, remember};
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::algorithm::eviction::Policy;
use crate::domain::buffer::decide::{Allocating, Bounds, Conditions, Putting};
use crate::domain::buffer::{decide, Buffer, BufferEvent, Config};
use crate::domain::entity::idempotency::{Answer, RequestId};
use crate::domain::limits::{BUFFER_BYTES_END, CHUNKS_FREED_MAX, CHUNK_BYTES_END, CHUNK_META_BYTES_MAX};
use crate::domain::value::bytes::printable;
use crate::domain::{AgentBinding, Bytes, Change, Code, Error, Millis};

fn bounds(node: &Node) -> Bounds {
    Bounds {
        chunk_bytes_max: node.settings.get(Setting::ChunkBytesMax),
        chunks_max: node.settings.get(Setting::BufferChunksMax),
        holders_max: node.settings.get(Setting::ChunkHoldersMax),
    }
}

fn conditions<H: Host>(cx: &Cx<H>) -> Conditions {
    Conditions { at: cx.now(), is_short: is_short(cx.node, cx.host, true) }
}

/// The error for a buffer that does not exist.
fn no_buffer(key: Key) -> Error {
    Error::new(Code::NoBuffer, format!("there is no buffer '{}'", printable(key.name)))
}

/// The value of a key that has to be there.
fn existing<'a, H: Host>(host: &'a mut H, key: Key) -> Result<&'a Buffer, Error> {
    Ok(&host.read::<Buffer>(key)?.ok_or_else(|| no_buffer(key))?.state)
}

/// A write begins: first the chunk is ended if it has expired.
fn begin<H: Host>(cx: &mut Cx<H>, key: Key, id: &[u8]) -> Result<(), Error> {
    end_if_expired(cx.node, cx.host, key, id)
}

/// Errs if an agent may not hold a chunk, with a content of this length if one is given.
fn check_quota<H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    (id, bytes): (&[u8], Option<u64>),
    registry: Option<&Bytes>,
    agent: &[u8],
) -> Result<(), Error> {
    let stored = cx.host.read::<Buffer>(key)?;
    let more = stored.map_or(bytes.unwrap_or(0), |stored| stored.state.held_more(agent, id, bytes));
    quotas::check::<Buffer, H>(cx.node, cx.host, key, more, registry, agent)
}

/// Applies what was decided about a chunk, with the binding of its holder, evicts what has to go
/// for it, and remembers the answer.
fn commit_chunk<H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    id: &[u8],
    events: impl IntoIterator<Item = BufferEvent>,
    binding: Option<AgentBinding>,
    answer: Option<(RequestId, Answer)>,
) -> Result<(), Error> {
    let answered = match answer {
        Some((request, answer)) => remember::<Buffer, H>(cx.node, cx.host, key, Some(&request), answer)?,
        None => None,
    };
    let bound = binding.map(Change::Bound);
    let mut changes: Vec<_> = events.into_iter().map(Change::Event).chain(bound).chain(answered).collect();
    commit_changes::<Buffer, H>(cx.node, cx.host, key, &mut changes)?;
    make_room(cx.node, cx.host, key, Some(id))
}

/// `LTMC.CHUNK.BUFFER`
pub fn configure<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let key = cx.key(1);
    let mut config = current::<Buffer, H>(cx.node, cx.host, key)?.config();
    let mut min_bytes = None;
    while let Some(word) = args.option()? {
        match word {
            "MAXBYTES" => config.max_bytes = args.number("MAXBYTES", 1, BUFFER_BYTES_END)?,
            "MINBYTES" => min_bytes = Some(args.number("MINBYTES", 0, BUFFER_BYTES_END)?),
            "POLICY" => config.policy = Policy::of_word(args.choice("policy")?).ok_or_else(Error::internal)?,
            "RING" => config.policy = Policy::Ring,
            _ => return Err(args.unread(word)),
        }
    }
    // A lower bound that was not given makes way for the upper one.
    config.min_bytes = min_bytes.unwrap_or(config.min_bytes.min(config.max_bytes));
    apply_config(cx, key, config)?;
    Ok(Outcome::Reply(Reply::Ok))
}

fn apply_config<H: Host>(cx: &mut Cx<H>, key: Key, config: Config) -> Result<(), Error> {
    let at = cx.now();
    let events = match cx.host.read::<Buffer>(key)? {
        Some(stored) => decide::configure(&stored.state, config, at)?,
        None => decide::configure(&Buffer::default(), config, at)?,
    };
    commit::<Buffer, H>(cx.node, cx.host, key, events)
}

/// `LTMC.CHUNK.RESIZE`
pub fn resize<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    args.expect("MAXBYTES", "the word after the buffer")?;
    let max_bytes = args.number("MAXBYTES", 1, BUFFER_BYTES_END)?;
    args.finish()?;
    let key = cx.key(1);
    let config = existing(cx.host, key)?.config();
    apply_config(cx, key, Config { max_bytes, min_bytes: config.min_bytes.min(max_bytes), ..config })?;
    let size = existing(cx.host, key)?.size_bytes();
    Ok(Outcome::Reply(Reply::number(size)))
}

/// An id for a chunk without one: a number that only grows.
fn new_id<H: Host>(cx: &mut Cx<H>, key: Key) -> Result<Vec<u8>, Error> {
    loop {
        let id = cx.node.clock.next_fence().to_string().into_bytes();
        let is_taken = cx.host.read::<Buffer>(key)?.is_some_and(|stored| stored.state.find(&id).is_some());
        if !is_taken {
            return Ok(id);
        }
    }
}

/// `LTMC.CHUNK.ALLOC`
pub fn allocate<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let (mut id, mut bytes, mut agent, mut meta, mut request) = (None, None, &[][..], Bytes::EMPTY, None);
    let (mut lease_ms, mut registry) = (cx.node.settings.get(Setting::ChunkLeaseMs), None);
    while let Some(word) = args.option()? {
        match word {
            "ID" => id = Some(args.id("ID")?.to_vec()),
            "SIZE" => bytes = Some(args.number("SIZE", 0, CHUNK_BYTES_END as u64)?),
            "AGENT" => agent = args.id("AGENT")?,
            "META" => meta = chunk_meta(cx.node, &mut args)?,
            "PX" | "EX" => lease_ms = args.duration(word)?,
            "REGISTRY" => registry = Some(args.registry()?),
            "REQID" => request = Some(args.request_id(b"")?),
            _ => return Err(args.unread(word)),
        }
    }
    if registry.is_some() && agent.is_empty() {
        return Err(Error::usage("REGISTRY goes with AGENT only, which is the id of the agent that writes the chunk"));
    }
    let bytes = bytes.ok_or_else(|| Error::usage("SIZE bytes is missing: a chunk always has a length"))?;
    let (key, request) = (cx.key(1), request.map(|request| request.of(agent)));
    if let Some(answer) = answered::<Buffer, H>(cx.node, cx.host, key, request.as_ref())? {
        return Ok(Outcome::Reply((&answer).into()));
    }
    let id = match id {
        Some(id) => id,
        None => new_id(cx, key)?,
    };
    let binding = binding_for::<Buffer, H>(cx.node, cx.host, key, registry.as_ref(), agent)?;
    begin(cx, key, &id)?;
    make_room(cx.node, cx.host, key, None)?;
    let (bounds, conditions) = (bounds(cx.node), conditions(cx));
    let allocating = Allocating { id: &id, agent, bytes, meta, lease_ms };
    check_quota(cx, key, (&id, Some(bytes)), registry.as_ref(), agent)?;
    let buffer = current::<Buffer, H>(cx.node, cx.host, key)?;
    let allocated = decide::allocate(&buffer, allocating, &bounds, conditions)?;
    let events = buffer.first().into_iter().chain(allocated);
    let answer = request.map(|request| (request, Answer::Bytes(Bytes::from(&id[..]))));
    commit_chunk(cx, key, &id, events, binding, answer)?;
    Ok(Outcome::Reply(Reply::Bytes(id)))
}

/// The options of `LTMC.CHUNK.PUT`.
#[derive(Default)]
struct PutOptions<'a> {
    expected: Option<u64>,
    pin: Option<(&'a [u8], Millis)>,
    meta: Bytes,
    ttl_ms: Option<Millis>,
    registry: Option<Bytes>,
    request: Option<RequestId>,
}

fn put_options<'a, H: Host>(cx: &Cx<H>, args: &mut Args<'a>) -> Result<PutOptions<'a>, Error> {
    let mut options = PutOptions::default();
    while let Some(word) = args.option()? {
        match word {
            "IFVERSION" => options.expected = Some(args.version("IFVERSION")?),
            "PIN" => options.pin = Some((args.id("the agent after PIN")?, args.millis("the time after PIN", 1)?)),
            "META" => options.meta = chunk_meta(cx.node, args)?,
            "PX" | "EX" => options.ttl_ms = Some(args.duration(word)?),
            "REGISTRY" => options.registry = Some(args.registry()?),
            "REQID" => options.request = Some(args.request_id(b"")?),
            _ => return Err(args.unread(word)),
        }
    }
    if options.registry.is_some() && options.pin.is_none() {
        return Err(Error::usage("REGISTRY goes with PIN only, which names the agent that needs the chunk"));
    }
    Ok(options)
}

/// `META json` of a chunk.
fn chunk_meta(node: &Node, args: &mut Args) -> Result<Bytes, Error> {
    parse_meta_of(args, CHUNK_META_BYTES_MAX, node.settings.get(Setting::JsonDepthMax) as usize)
}

/// `LTMC.CHUNK.PUT`
pub fn put<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let given = args.id("id")?;
    args.bytes("data")?;
    let PutOptions { expected, pin, meta, ttl_ms, registry, request } = put_options(cx, &mut args)?;
    let (key, owner) = (cx.key(1), pin.map_or(&[][..], |(agent, _)| agent));
    let request = request.map(|request| request.of(owner));
    if let Some(answer) = answered::<Buffer, H>(cx.node, cx.host, key, request.as_ref())? {
        return Ok(Outcome::Reply((&answer).into()));
    }
    let binding = binding_for::<Buffer, H>(cx.node, cx.host, key, registry.as_ref(), owner)?;
    let id = if given == b"*" { new_id(cx, key)? } else { given.to_vec() };
    begin(cx, key, &id)?;
    make_room(cx.node, cx.host, key, None)?;
    let (bounds, conditions) = (bounds(cx.node), conditions(cx));
    let data = cx.blob(3);
    check_quota(cx, key, (&id, Some(data.len() as u64)), registry.as_ref(), owner)?;
    let putting = Putting { id: &id, data, expected, pin, meta, ttl_ms };
    let buffer = current::<Buffer, H>(cx.node, cx.host, key)?;
    let (put, version) = decide::put(&buffer, putting, &bounds, conditions)?;
    let events = buffer.first().into_iter().chain(put);
    let answer = Answer::Versioned { id: Bytes::from(&id[..]), version };
    let reply = Reply::from(&answer);
    commit_chunk(cx, key, &id, events, binding, request.map(|request| (request, answer)))?;
    Ok(Outcome::Reply(reply))
}

/// `LTMC.CHUNK.WRITE`
pub fn write<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let id = args.id("id")?;
    let offset = args.number("offset", 0, CHUNK_BYTES_END as u64)?;
    args.bytes("data")?;
    let mut expected = None;
    while args.option()?.is_some() {
        expected = Some(args.version("IFVERSION")?);
    }
    let key = cx.key(1);
    begin(cx, key, id)?;
    let (data, conditions) = (cx.blob(4), conditions(cx));
    let (events, version) = decide::write(existing(cx.host, key)?, id, offset, data, expected, conditions)?;
    commit_chunk(cx, key, id, events, None, None)?;
    Ok(Outcome::Reply(Reply::number(version)))
}

/// `LTMC.CHUNK.SEAL`
pub fn seal<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let (id, mut ttl_ms) = (args.id("id")?, None);
    while let Some(word) = args.option()? {
        ttl_ms = Some(args.duration(word)?);
    }
    let (key, at) = (cx.key(1), cx.now());
    begin(cx, key, id)?;
    let (event, version) = decide::seal(existing(cx.host, key)?, id, ttl_ms, at)?;
    commit::<Buffer, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::number(version)))
}

/// The chunk and the agent of a command that names both.
fn parse_holder<'a, H: Host>(cx: &Cx<'a, H>) -> Result<(Args<'a>, &'a [u8], &'a [u8]), Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let id = args.id("id")?;
    let agent = args.id("agent")?;
    Ok((args, id, agent))
}

/// `LTMC.CHUNK.RETAIN`
pub fn retain<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (mut args, id, agent) = parse_holder(cx)?;
    let registry = args.only_registry()?;
    let key = cx.key(1);
    let binding = binding_for::<Buffer, H>(cx.node, cx.host, key, registry.as_ref(), agent)?;
    begin(cx, key, id)?;
    check_quota(cx, key, (id, None), registry.as_ref(), agent)?;
    let (bounds, conditions) = (bounds(cx.node), conditions(cx));
    let events = decide::retain(existing(cx.host, key)?, id, agent, &bounds, conditions)?;
    let is_new = !events.is_empty();
    commit_chunk(cx, key, id, events, binding, None)?;
    Ok(Outcome::Reply(Reply::Integer(is_new.into())))
}

/// `LTMC.CHUNK.RELEASE`
pub fn release<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let_go(cx, decide::release)
}

/// `LTMC.CHUNK.UNPIN`
pub fn unpin<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let_go(cx, decide::unpin)
}

fn let_go<H: Host>(
    cx: &mut Cx<H>,
    decide: fn(&Buffer, &[u8], &[u8], Millis) -> Option<BufferEvent>,
) -> Result<Outcome, Error> {
    let (_, id, agent) = parse_holder(cx)?;
    let (key, at) = (cx.key(1), cx.now());
    begin(cx, key, id)?;
    let event = cx.host.read::<Buffer>(key)?.and_then(|stored| decide(&stored.state, id, agent, at));
    let was_held = event.is_some();
    commit::<Buffer, H>(cx.node, cx.host, key, event)?;
    // It may have expired long ago.
    end_if_expired(cx.node, cx.host, key, id)?;
    Ok(Outcome::Reply(Reply::Integer(was_held.into())))
}

/// `LTMC.CHUNK.PIN`
pub fn pin<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (mut args, id, agent) = parse_holder(cx)?;
    let (mut pinned_ms, mut registry) = (None, None);
    while let Some(word) = args.option()? {
        match word {
            "PX" | "EX" => pinned_ms = Some(args.duration(word)?),
            "REGISTRY" => registry = Some(args.registry()?),
            _ => return Err(args.unread(word)),
        }
    }
    let pinned_ms = pinned_ms.ok_or_else(|| args.missing("PX ms (or EX s)"))?;
    let key = cx.key(1);
    let binding = binding_for::<Buffer, H>(cx.node, cx.host, key, registry.as_ref(), agent)?;
    begin(cx, key, id)?;
    check_quota(cx, key, (id, None), registry.as_ref(), agent)?;
    let (bounds, conditions) = (bounds(cx.node), conditions(cx));
    let (events, until) = decide::pin(existing(cx.host, key)?, id, (agent, pinned_ms), &bounds, conditions)?;
    commit_chunk(cx, key, id, events, binding, None)?;
    Ok(Outcome::Reply(Reply::number(until)))
}

/// `LTMC.CHUNK.FREE`
pub fn free<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (key, at, ids) = (cx.key(1), cx.now(), &cx.args[2..]);
    if ids.len() > CHUNKS_FREED_MAX {
        let text = format!("the number of ids is '{}', allowed are 1 to {CHUNKS_FREED_MAX}", ids.len());
        return Err(Error::usage(text));
    }
    let Some(stored) = cx.host.read::<Buffer>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    let event = decide::free(&stored.state, ids, at)?;
    let count = match &event {
        Some(BufferEvent::Gone { ids, .. }) => ids.len(),
        _ => 0,
    };
    commit::<Buffer, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::number(count as u64)))
}

/// `LTMC.CHUNK.META`
pub fn meta<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("buffer")?;
    let (id, key, at) = (args.id("id")?, cx.key(1), cx.now());
    if cx.args.len() == 3 {
        let stored = cx.host.read::<Buffer>(key)?;
        let chunk = stored.and_then(|stored| stored.state.live(id, at));
        return Ok(Outcome::Reply(chunk.map_or(Reply::Nil, |(_, chunk)| Reply::bytes_or_nil(&chunk.record.meta))));
    }
    let meta = chunk_meta(cx.node, &mut args)?;
    args.finish()?;
    begin(cx, key, id)?;
    let conditions = conditions(cx);
    let events = decide::describe(existing(cx.host, key)?, id, meta, conditions)?;
    commit_chunk(cx, key, id, events, None, None)?;
    Ok(Outcome::Reply(Reply::Ok))
}
