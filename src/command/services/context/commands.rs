//! The commands of contexts: what they take, what they decide, what they answer. The rules are in
//! `domain::context` and `domain::versioned`.

use crate::command::engine::args::Args;
use crate::command::engine::budget::{refuse_repeated, Budget};
use crate::command::engine::commit::try_on;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::host::{Host, Key, KeyType};
use crate::command::reply::{Reply, Size};
use crate::command::services::registry::filter::FindArgs;
use crate::command::services::versioned::commands::{
    apply_change, common_fields, create as create_value, existing, keep, live, live_record, missing, parse_meta,
    remembered, LifeArgs,
};
use crate::command::services::versioned::serve::end_if_expired;
use crate::command::settings::Setting;
use crate::domain::context::build::{build as build_part, BuildArgs};
use crate::domain::context::decide::{first as first_update, update as update_rules};
use crate::domain::context::diff::{diff as diff_since, not_kept, values_at};
use crate::domain::context::generate::{generate as generate_doc, Source};
use crate::domain::context::route::knowledge;
use crate::domain::context::touches::Touches;
use crate::domain::context::{Context, Doc};
use crate::domain::entity::idempotency::RequestId;
use crate::domain::json::attempt::Bounds;
use crate::domain::json::past::Patch;
use crate::domain::json::size::text_bytes;
use crate::domain::json::text::Room;
use crate::domain::json::{patch, text, Op, Pointer};
use crate::domain::limits::{AGENT_LABELS_MAX, PATHS_MAX, SOURCES_MAX};
use crate::domain::registry::find::{find_worthiest, Sort};
use crate::domain::registry::Registry;
use crate::domain::session::Fields;
use crate::domain::value::bytes::printable;
use crate::domain::versioned::{Created, Life, State, Version, Versioned};
use crate::domain::{Bytes, Entity, Error, Millis};
use serde::Serialize;
use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;
use std::ops::Range;

fn bounds<H: Host>(cx: &Cx<H>) -> Bounds {
    Bounds {
        bytes_max: cx.node.settings.get(Setting::ContextBytesMax) as usize,
        depth_max: cx.node.settings.get(Setting::JsonDepthMax) as usize,
    }
}

fn parse_paths(args: &mut Args) -> Result<Vec<Pointer>, Error> {
    let paths = args.list("PATH", 1, PATHS_MAX)?;
    refuse_repeated("path", paths)?;
    paths.iter().map(|path| Pointer::parse(path)).collect()
}

/// The next argument as JSON. If it is longer than a document may be, it is not even parsed.
fn read_json(name: &str, args: &mut Args, bounds: &Bounds, room: &mut Room) -> Result<Value, Error> {
    let json = args.bytes(name)?;
    if json.len() > bounds.bytes_max {
        let what = format!("{name} of {} bytes", json.len());
        return Err(Error::limit("context-bytes-max", &what, bounds.bytes_max as u64));
    }
    room.read(name, json)
}

fn room(bounds: &Bounds) -> Room {
    Room::new(bounds.bytes_max, bounds.depth_max)
}

/// A value as JSON text of about this many bytes.
fn json_reply(value: &impl Serialize, bytes: usize) -> Reply {
    Reply::Bytes(text::write(value, bytes))
}

/// `LTMC.CTX.CREATE`
pub fn create<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let (mut owner, mut doc, mut meta) = (Bytes::EMPTY, Value::Object(Map::new()), Bytes::EMPTY);
    let (mut life, mut registry, mut request_id, bounds) = (LifeArgs::default(), None, None, bounds(cx));
    while let Some(word) = args.option()? {
        match word {
            "OWNER" => owner = Bytes::from(args.id("OWNER")?),
            "DOC" => doc = read_json("DOC", &mut args, &bounds, &mut room(&bounds))?,
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
    let (life, state) = (life.begin(at)?, Doc::new(doc));
    bounds.check(state.document())?;
    let state = state.into();
    let created = Created { at, owner, state, version: 1, meta, participants, life, keep, stays: true };
    create_value(cx, cx.key(1), created, registry.as_ref(), request)
}

/// `LTMC.CTX.UPDATE`
pub fn update<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let agent = args.id("agent")?;
    let bounds = bounds(cx);
    let (expected, request_id, ops) = parse_ops(&mut args, &bounds)?;
    let only_deletes = ops.iter().all(|op| matches!(op, Op::Del(_)));
    if !only_deletes && cx.host.is_out_of_memory() {
        return Err(Error::out_of_memory());
    }
    let (key, at, request) = (cx.key(1), cx.now(), request_id.map(|request| request.of(agent)));
    if let Some(answered) = remembered::<Doc, H>(cx, key, request.as_ref())? {
        return Ok(answered);
    }
    if live::<Doc, H>(cx.node, cx.host, key)?.is_none() {
        // There is no version yet, and the client says that it knows.
        if expected != Some(0) {
            return Err(missing::<Doc>(key));
        }
        return begin(cx, key, first_update(ops, bounds)?, agent, request);
    }
    let event = try_on(cx.host, key, |context: &mut Context| update_rules(context, agent, ops, expected, bounds, at))??;
    apply_change(cx, key, event, None, request)
}

/// `IFVERSION`, `REQID` and the operations of an update.
type Parsed = (Option<Version>, Option<RequestId>, Vec<Op>);

fn parse_ops(args: &mut Args, bounds: &Bounds) -> Result<Parsed, Error> {
    let (mut expected, mut request_id, mut ops) = (None, None, Vec::new());
    let path = |args: &mut Args| Pointer::parse(args.bytes("path")?);
    let mut room = room(bounds);
    let mut json = |name: &str, args: &mut Args| read_json(name, args, bounds, &mut room);
    while let Some(word) = args.option()? {
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

/// `LTMC.CTX.GET`
pub fn get<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let (mut paths, mut version) = (None, None);
    while let Some(word) = args.option()? {
        match word {
            "PATH" => paths = Some(parse_paths(&mut args)?),
            "AT" => version = Some(args.version("AT")?),
            _ => return Err(args.unread(word)),
        }
    }
    let key = cx.key(1);
    let expires_at = cx.host.expires_at(key);
    let stored = live_record::<Doc, H>(cx.node, cx.host, key)?;
    let Some(stored) = stored else { return Ok(Outcome::Reply(Reply::Nil)) };
    let context = &stored.state;
    let then = match version.filter(|version| *version != context.version()) {
        Some(version) => Some(context.at_version(version).ok_or_else(|| not_kept(context, version))?),
        None => None,
    };
    let document = then.as_ref().unwrap_or(context.state()).document();
    // The fields beside the document have a bound of their own: the document, or the value at one
    // path, is always returned.
    let common = common_fields(stored, expires_at, &mut Budget::of(cx.node));
    let doc = match &paths {
        Some(paths) => values_reply(document.root(), paths, Budget::of(cx.node))?,
        None => json_reply(document.root(), document.size().text),
    };
    let fields = [("version", Reply::number(version.unwrap_or(context.version()))), ("doc", doc)];
    let all = fields.into_iter().chain(common);
    Ok(Outcome::Reply(Reply::Map(all.map(|(name, value)| (name.into(), value)).collect())))
}

/// The values at several paths, as one object. Paths may lie inside others, so all values together
/// may be many times the document.
fn values_reply(root: &Value, paths: &[Pointer], mut budget: Budget) -> Result<Reply, Error> {
    let values = values_at(root, paths);
    let sizes = values.iter().map(|(path, value)| Size::value(path.len() + text_bytes(*value)));
    budget.check(&format!("the values at {} paths", paths.len()), sizes)?;
    Ok(json_reply(&values, 0))
}

/// `LTMC.CTX.DIFF`
pub fn diff<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let since = args.version("since")?;
    let mut path = Pointer::default();
    while args.option()?.is_some() {
        path = Pointer::parse(args.bytes("PATH")?)?;
    }
    let key = cx.key(1);
    let Some(context) = live::<Doc, H>(cx.node, cx.host, key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let reply = |patch: Option<Patch>| match patch {
        Some(patch) => json_reply(&patch, 0),
        None => json_reply(&Map::new(), 0),
    };
    Ok(Outcome::Reply(diff_since(context, since, &path, reply)?))
}

/// `LTMC.CTX.BUILD`
pub fn build<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let (mut agent, mut budget, mut paths) = (None, None, Vec::new());
    while let Some(word) = args.option()? {
        match word {
            "FOR" => agent = Some(args.id("FOR")?),
            "BUDGET" => budget = Some(args.number("BUDGET", 1, u64::from(u32::MAX))? as usize),
            "PATH" => paths = parse_paths(&mut args)?,
            _ => return Err(args.unread(word)),
        }
    }
    let agent = agent.ok_or_else(|| args.missing("FOR"))?;
    let (key, paths_bytes_max) = (cx.key(1), Budget::of(cx.node).left());
    let Some(context) = live::<Doc, H>(cx.node, cx.host, key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let (meta, touches, version) = (meta_of(context.meta()), context.state().touches(), context.version());
    let build_args = BuildArgs { agent, budget, meta: &meta, touches, version, paths_bytes_max };
    let built = build_part(context.state().root(), &paths, &build_args)?;
    let doc = text::write(&built.doc, 0);
    let left_out = built.left_out.iter().map(|path| Reply::bytes(path.text().as_bytes()));
    Ok(Outcome::Reply(Reply::map([
        ("version", Reply::number(version)),
        ("bytes", Reply::number(doc.len() as u64)),
        ("left_out_count", Reply::number(built.left_out_count as u64)),
        ("left_out", Reply::Array(left_out.collect())),
        ("doc", Reply::Bytes(doc)),
    ])))
}

fn meta_of(meta: &Bytes) -> Value {
    serde_json::from_slice(meta).unwrap_or(Value::Null)
}

/// `LTMC.CTX.ROUTE`
pub fn route<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    args.bytes("registry")?;
    let (mut find_args, mut path) = (FindArgs::new(Sort::Load), Pointer::default());
    while let Some(word) = args.option()? {
        match word {
            "PATH" => path = Pointer::parse(args.bytes("PATH")?)?,
            _ => find_args.read(word, &mut args)?,
        }
    }
    let (key, registry) = (cx.key(1), cx.key(2));
    let view = cx.node.view();
    let Some(context) = live::<Doc, H>(cx.node, cx.host, key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let knowledge = knowledge(context, &path);
    let Some(stored) = cx.host.read::<Registry>(registry)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let agent = find_worthiest(&stored.state, &view, &find_args.filter, &knowledge);
    Ok(Outcome::Reply(agent.map_or(Reply::Nil, |agent| Reply::bytes(&agent))))
}

/// All sources together may have this many times the bytes of a document.
const SOURCES_SHARE: usize = 4;

/// The options of `LTMC.CTX.GENERATE`.
#[derive(Default)]
struct GenerateArgs<'a> {
    budget: Option<usize>,
    agent: &'a [u8],
    tags: Vec<&'a [u8]>,
    request_id: Option<RequestId>,
}

/// `LTMC.CTX.GENERATE`
pub fn generate<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("dest")?;
    let first = args.position() + 1;
    let numkeys = args.list("numkeys", 1, SOURCES_MAX)?.len();
    let mut options = GenerateArgs::default();
    while let Some(word) = args.option()? {
        match word {
            "BUDGET" => options.budget = Some(args.number("BUDGET", 1, u64::from(u32::MAX))? as usize),
            "FOR" => options.agent = args.id("FOR")?,
            "TAGS" => options.tags = args.list("TAGS", 1, AGENT_LABELS_MAX)?.to_vec(),
            "REQID" => options.request_id = Some(args.request_id(b"")?),
            _ => return Err(args.unread(word)),
        }
    }
    let (dest, agent) = (cx.key(1), options.agent);
    let request = options.request_id.take().map(|request| request.of(agent));
    if let Some(answered) = remembered::<Doc, H>(cx, dest, request.as_ref())? {
        return Ok(answered);
    }
    let read = read_sources(cx, first..first + numkeys, &options.tags)?;
    let merged = generate_doc(&read.iter().map(ReadSource::source).collect::<Vec<_>>());
    let root =
        if options.budget.is_some() { fit(&merged, &read, &options, Budget::of(cx.node).left())? } else { merged };
    put_generated(cx, dest, root, options.agent, request)
}

/// What is taken from the sources that have the tags.
fn read_sources<H: Host>(cx: &mut Cx<H>, indexes: Range<usize>, tags: &[&[u8]]) -> Result<Vec<ReadSource>, Error> {
    let (mut read, mut names) = (Vec::with_capacity(indexes.len()), BTreeSet::new());
    let bounds = bounds(cx);
    let mut sizes = Sizes { bytes: 0, max: bounds.bytes_max.saturating_mul(SOURCES_SHARE), room: room(&bounds) };
    for index in indexes {
        let key = cx.key(index);
        if !names.insert(key.name) {
            return Err(Error::usage(format!("the key '{}' is given twice", printable(key.name))));
        }
        read.extend(read_source(cx, key, tags, &mut sizes)?);
    }
    if read.is_empty() {
        let shown: Vec<String> = tags.iter().map(|tag| format!("'{}'", printable(tag))).collect();
        return Err(Error::usage(format!(
            "no source has the TAGS {}: there is nothing to generate from",
            shown.join(", ")
        )));
    }
    Ok(read)
}

/// The bound of all sources together.
struct Sizes {
    bytes: usize,
    max: usize,
    room: Room,
}

impl Sizes {
    /// Errs if this many more bytes of text, or of memory, are too much. Called before they are
    /// copied.
    fn take(&mut self, bytes: usize, heap_bytes: usize) -> Result<(), Error> {
        self.bytes += bytes;
        if self.bytes > self.max {
            let what = format!("sources of {} bytes", self.bytes);
            return Err(Error::limit("context-bytes-max", &what, self.max as u64));
        }
        self.room.take("a source", heap_bytes)
    }
}

/// What is taken from a source, so that its key need not stay open.
struct ReadSource {
    root: Value,
    touches: Option<Touches>,
    version: Version,
    since: Millis,
    changed_at: Millis,
}

impl ReadSource {
    fn source(&self) -> Source<'_> {
        Source { root: &self.root, touches: self.touches.as_ref(), since: self.since }
    }
}

/// What is taken from a context or session; `None` if it does not have the tags.
fn read_source<H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    tags: &[&[u8]],
    sizes: &mut Sizes,
) -> Result<Option<ReadSource>, Error> {
    match cx.host.key_type(key) {
        KeyType::Ours(Versioned::<Fields>::TYPE_TAG) => {
            let session = existing::<Fields, H>(cx.node, cx.host, key)?;
            if !has_tags(session, tags) {
                return Ok(None);
            }
            let weights = session.state().iter().map(|(_, value)| text::weigh(value).heap_bytes);
            sizes.take(session.state().text_bytes(), weights.sum())?;
            let fields = session.state().iter().map(|(name, value)| (lossy(name), field_value(value)));
            Ok(Some(ReadSource {
                root: Value::Object(fields.collect()),
                touches: None,
                version: session.version(),
                since: session.changed().0,
                changed_at: session.changed().0,
            }))
        }
        KeyType::Nothing => Err(missing::<Doc>(key)),
        _ => {
            let context = existing::<Doc, H>(cx.node, cx.host, key)?;
            if !has_tags(context, tags) {
                return Ok(None);
            }
            let document = context.state().document();
            sizes.take(document.size().text, document.heap_bytes())?;
            Ok(Some(ReadSource {
                root: context.state().root().clone(),
                touches: Some(context.state().touches().clone()),
                version: context.version(),
                since: context.created_at(),
                changed_at: context.changed().0,
            }))
        }
    }
}

/// A field that holds JSON becomes that value, any other a string.
fn field_value(value: &Bytes) -> Value {
    let is_flat_enough = Room::new(value.len(), 64).read("field", value);
    is_flat_enough.unwrap_or_else(|_| Value::String(lossy(value)))
}

fn lossy(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn has_tags<S: State>(value: &Versioned<S>, tags: &[&[u8]]) -> bool {
    let meta = meta_of(value.meta());
    let own = meta.get("tags").and_then(Value::as_array);
    let has =
        |tag: &&[u8]| own.is_some_and(|own| own.iter().any(|known| known.as_str().map(str::as_bytes) == Some(*tag)));
    tags.iter().all(has)
}

/// The part of the merged document that fits the budget. The source that was changed last says who
/// touched what.
fn fit(merged: &Value, read: &[ReadSource], options: &GenerateArgs, paths_bytes_max: usize) -> Result<Value, Error> {
    let version = read.iter().map(|source| source.version).max().unwrap_or(0);
    let empty = Touches::default();
    let newest = read.iter().filter(|source| source.touches.is_some()).max_by_key(|source| source.changed_at);
    let touches = newest.and_then(|source| source.touches.as_ref()).unwrap_or(&empty);
    let (agent, budget, meta) = (options.agent, options.budget, &Value::Null);
    let build_args = BuildArgs { agent, budget, meta, touches, version, paths_bytes_max };
    Ok(build_part(merged, &[], &build_args)?.doc)
}

fn put_generated<H: Host>(
    cx: &mut Cx<H>,
    dest: Key,
    root: Value,
    agent: &[u8],
    request: Option<RequestId>,
) -> Result<Outcome, Error> {
    let (bounds, at) = (bounds(cx), cx.now());
    end_if_expired::<Doc, H>(cx.node, cx.host, dest)?;
    if live::<Doc, H>(cx.node, cx.host, dest)?.is_some() {
        let ops = vec![Op::Replace(root)];
        let event =
            try_on(cx.host, dest, |context: &mut Context| update_rules(context, agent, ops, None, bounds, at))??;
        return apply_change(cx, dest, event, None, request);
    }
    let state = Doc::new(root);
    bounds.check(state.document())?;
    begin(cx, dest, state, agent, request)
}

/// Creates a context with what an agent wrote or generated.
fn begin<H: Host>(
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
