//! The commands that write contexts. The rules are in `domain::context` and `domain::versioned`.

use crate::command::engine::args::Args;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::job::Steps;
use crate::command::host::{Host, Key};
use crate::command::services::versioned::commands::{
    apply_change, create as create_value, keep, live, missing, parse_meta, remembered, LifeArgs,
};
use crate::command::settings::Setting;
use crate::domain::context::decide::{first as first_update, update as update_rules};
use crate::domain::context::Doc;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::json::attempt::Bounds;
use crate::domain::json::text::Room;
use crate::domain::json::{patch, Op, Pointer, Value};
use crate::domain::versioned::{Created, Life, Version};
use crate::domain::{Bytes, Error};
use serde_json::Number;

pub(super) fn bounds<H: Host>(cx: &Cx<H>) -> Bounds {
    Bounds {
        bytes_max: cx.node.settings.get(Setting::ContextBytesMax) as usize,
        values_max: cx.node.settings.get(Setting::ContextValuesMax) as usize,
        depth_max: cx.node.settings.get(Setting::JsonDepthMax) as usize,
        edits_max: cx.node.settings.get(Setting::ContextEditsMax) as usize,
    }
}

/// An argument as JSON. If it is longer than a document may be, it is not even parsed.
fn read_json(name: &str, json: &[u8], bounds: &Bounds, room: &mut Room) -> Result<Value, Error> {
    if json.len() > bounds.bytes_max {
        let what = format!("{name} of {} bytes", json.len());
        return Err(Error::limit("context-bytes-max", &what, bounds.bytes_max as u64));
    }
    room.read(name, json)
}

pub(super) fn room(bounds: &Bounds) -> Room {
    Room::new(bounds.bytes_max, bounds.depth_max).of_values(bounds.values_max)
}

/// `LTMC.CTX.CREATE`
pub fn create<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let (mut owner, mut doc_at, mut meta) = (Bytes::EMPTY, None, Bytes::EMPTY);
    let (mut life, mut registry, mut request_id, bounds) = (LifeArgs::default(), None, None, bounds(cx));
    while let Some(word) = args.option()? {
        match word {
            "OWNER" => owner = Bytes::from(args.id("OWNER")?),
            "DOC" => {
                doc_at = Some(args.position());
                args.bytes("DOC")?;
            }
            "META" => meta = parse_meta(&mut args, bounds.depth_max)?,
            "PX" | "EX" => life.ttl_ms = Some(args.duration(word)?),
            "SLIDING" => life.is_sliding = true,
            "REGISTRY" => registry = Some(args.registry()?),
            "REQID" => request_id = Some(args.request_id(b"")?),
            _ => return Err(args.unread(word)),
        }
    }
    if registry.is_some() && owner.is_empty() {
        return Err(Error::usage("REGISTRY goes with OWNER only, which is the id of the agent that takes part"));
    }
    let request = request_id.map(|request| request.of(&owner));
    if let Some(answered) = remembered::<Doc, H>(cx, cx.key(1), request.as_ref())? {
        return Ok(answered);
    }
    let (at, keep) = (cx.now(), keep(cx.node));
    let participants = if owner.is_empty() { Vec::new() } else { vec![(owner.clone(), Bytes::EMPTY)] };
    let life = life.begin(at)?;
    let state = doc_at.map_or_else(|| Ok(Doc::new(Value::object())), |at| first_doc(cx, at, bounds))?.into();
    let created = Created { at, owner, state, version: 1, meta, participants, life, keep, stays: true };
    create_value(cx, cx.key(1), created, registry.as_ref(), request)
}

/// `DOC json`, which is argument `at`.
fn first_doc<H: Host>(cx: &mut Cx<H>, at: usize, bounds: Bounds) -> Result<Doc, Error> {
    cx.prepare("DOC", Steps::of_json(cx.args[at].len()), move |args| {
        let doc = Doc::new(read_json("DOC", args[at], &bounds, &mut room(&bounds))?);
        bounds.check(doc.document())?;
        Ok(doc)
    })
}

/// `LTMC.CTX.UPDATE`
pub fn update<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let agent = args.id("agent")?;
    let (bounds, first) = (bounds(cx), args.position());
    let bytes = cx.args[first..].iter().map(|arg| arg.len()).sum();
    let spec = cx.spec;
    let (expected, request_id, ops) = cx.prepare("so much JSON", Steps::of_json(bytes), move |args| {
        let mut args = Args::new(spec, args);
        args.bytes("key")?;
        args.id("agent")?;
        parse_ops(&mut args, &bounds)
    })?;
    let only_deletes = ops.iter().all(|op| matches!(op, Op::Del(_)));
    if !only_deletes && cx.host.is_out_of_memory() {
        return Err(Error::out_of_memory());
    }
    let (key, at, request) = (cx.key(1), cx.now(), request_id.map(|request| request.of(agent)));
    if let Some(answered) = remembered::<Doc, H>(cx, key, request.as_ref())? {
        return Ok(answered);
    }
    let Some(context) = live::<Doc, H>(cx.node, cx.host, key)? else {
        // There is no version yet, and the client says that it knows.
        if expected != Some(0) {
            return Err(missing::<Doc>(key));
        }
        return begin(cx, key, first_update(ops, bounds)?, agent, request);
    };
    let event = update_rules(context, agent, ops, expected, bounds, at)?;
    apply_change(cx, key, event, None, request)
}

/// `IFVERSION`, `REQID` and the operations of an update.
type Parsed = (Option<Version>, Option<RequestId>, Vec<Op>);

fn parse_ops(args: &mut Args, bounds: &Bounds) -> Result<Parsed, Error> {
    let (mut expected, mut request_id, mut ops) = (None, None, Vec::new());
    let path = |args: &mut Args| Pointer::parse(args.bytes("path")?);
    let mut room = room(bounds);
    let mut json = |name: &str, args: &mut Args| read_json(name, args.bytes(name)?, bounds, &mut room);
    while let Some(word) = args.option()? {
        if ops.len() >= bounds.edits_max {
            return Err(Error::limit("context-edits-max", "one more operation", bounds.edits_max as u64));
        }
        ops.push(match word {
            "IFVERSION" => {
                expected = Some(args.version("IFVERSION")?);
                continue;
            }
            "REQID" => {
                request_id = Some(args.request_id(b"")?);
                continue;
            }
            "MERGE" => Op::Merge(json("MERGE", args)?),
            "PATCH" => Op::Patch(patch::read(json("PATCH", args)?)?),
            "SET" => Op::Set(path(args)?, json("SET", args)?),
            "DEL" => Op::Del(path(args)?),
            "APPEND" => Op::Append(path(args)?, json("APPEND", args)?),
            "INCRBY" => Op::IncrBy(path(args)?, number(json("INCRBY", args)?)?),
            _ => Op::Replace(json("REPLACE", args)?),
        });
    }
    if ops.is_empty() {
        let allowed = "MERGE, PATCH, SET, DEL, APPEND, INCRBY, REPLACE";
        return Err(Error::usage(format!("an operation is missing, allowed are {allowed}")));
    }
    Ok((expected, request_id, ops))
}

fn number(value: Value) -> Result<Number, Error> {
    match value {
        Value::Number(number) => Ok(number),
        other => Err(Error::usage(format!("INCRBY is {other}, allowed are numbers"))),
    }
}

/// Creates a context with what an agent wrote or generated.
pub(super) fn begin<H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    state: Doc,
    agent: &[u8],
    request: Option<RequestId>,
) -> Result<Outcome, Error> {
    let (at, keep, owner) = (cx.now(), keep(cx.node), Bytes::from(agent));
    let (life, meta, participants, state) = (Life::default(), Bytes::EMPTY, Vec::new(), state.into());
    let created = Created { at, owner, state, version: 1, meta, participants, life, keep, stays: true };
    create_value(cx, key, created, None, request)
}
