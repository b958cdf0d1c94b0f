//! `LTMC.CTX.GENERATE`: one context from several contexts and sessions.
//!
//! The sources are read as they are when the command begins. If they are large, a thread merges
//! them.

use super::commands::{begin, bounds, room};
use super::queries::{meta_of, steps_to_choose};
use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::job::Steps;
use crate::command::host::{Host, Key, KeyType};
use crate::command::services::versioned::commands::{apply_change, existing, live, missing, remembered};
use crate::command::services::versioned::serve::end_if_expired;
use crate::domain::context::build::{build as build_part, BuildArgs};
use crate::domain::context::decide::update as update_rules;
use crate::domain::context::generate::{generate as generate_doc, Source};
use crate::domain::context::touches::Touches;
use crate::domain::context::Doc;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::json::text::{self, Room};
use crate::domain::json::{Op, Value};
use crate::domain::limits::{AGENT_LABELS_MAX, SOURCES_MAX};
use crate::domain::session::Fields;
use crate::domain::value::bytes::printable;
use crate::domain::versioned::{Shared, State, Version, Versioned};
use crate::domain::{Bytes, Entity, Error, Millis};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

/// All sources together may have this many times the bytes of a document.
const SOURCES_SHARE: usize = 4;

/// The options of the command.
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
    let sources = read_sources(cx, first..first + numkeys, &options.tags)?;
    let steps = sources.iter().fold(Steps::default(), |steps, source| steps.and(source.steps(options.budget)));
    let merging = Merging {
        sources,
        room: room(&bounds(cx)),
        agent: Bytes::from(agent),
        budget: options.budget,
        paths_bytes_max: Budget::of(cx.node).left(),
    };
    let root = cx.prepare("merging sources that large", steps, move |_| merging.root())?;
    put_generated(cx, dest, root, agent, request)
}

/// What is taken from the sources that have the tags.
fn read_sources<H: Host>(cx: &mut Cx<H>, indexes: Range<usize>, tags: &[&[u8]]) -> Result<Vec<ReadSource>, Error> {
    let (mut read, mut names) = (Vec::with_capacity(indexes.len()), BTreeSet::new());
    let (mut bytes, max) = (0, bounds(cx).bytes_max.saturating_mul(SOURCES_SHARE));
    for index in indexes {
        let key = cx.key(index);
        if !names.insert(key.name) {
            return Err(Error::usage(format!("the key '{}' is given twice", printable(key.name))));
        }
        let Some(source) = read_source(cx, key, tags)? else { continue };
        bytes += source.content.text_bytes();
        if bytes > max {
            return Err(Error::limit("context-bytes-max", &format!("sources of {bytes} bytes"), max as u64));
        }
        read.push(source);
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

/// What is taken from a source. It does not change with its key.
struct ReadSource {
    content: Content,
    version: Version,
    since: Millis,
    changed_at: Millis,
}

enum Content {
    Doc(Shared<Doc>),
    Fields(Shared<Fields>),
}

impl Content {
    fn text_bytes(&self) -> usize {
        match self {
            Content::Doc(doc) => doc.document().size().text,
            Content::Fields(fields) => fields.text_bytes(),
        }
    }

    /// The document, or one that has a member for each field. Errs if that takes more memory than
    /// there is room for.
    fn root(&self, room: &mut Room) -> Result<Value, Error> {
        match self {
            Content::Doc(doc) => {
                room.take("a source", doc.document().heap_bytes())?;
                Ok(doc.root().clone())
            }
            Content::Fields(fields) => {
                room.take("a source", fields.iter().map(|(_, value)| text::weigh(value).heap_bytes).sum())?;
                let members = fields.iter().map(|(name, value)| (lossy(name).into(), field_value(value)));
                Ok(Value::Object(members.collect()))
            }
        }
    }

    fn touches(&self) -> Option<&Touches> {
        match self {
            Content::Doc(doc) => Some(doc.touches()),
            Content::Fields(_) => None,
        }
    }
}

impl ReadSource {
    /// Merging it, and choosing from it.
    fn steps(&self, budget: Option<usize>) -> Steps {
        match &self.content {
            Content::Doc(doc) => {
                let document = doc.document();
                Steps(2 * document.size().values).and(steps_to_choose(document, budget))
            }
            Content::Fields(fields) => Steps::of_json(fields.text_bytes()).and(Steps(4 * fields.count())),
        }
    }
}

/// What is taken from a context or session; `None` if it does not have the tags.
fn read_source<H: Host>(cx: &mut Cx<H>, key: Key, tags: &[&[u8]]) -> Result<Option<ReadSource>, Error> {
    Ok(match cx.host.key_type(key) {
        KeyType::Ours(Versioned::<Fields>::TYPE_TAG) => {
            let session = existing::<Fields, H>(cx.node, cx.host, key)?;
            has_tags(session, tags).then(|| ReadSource {
                content: Content::Fields(session.snapshot()),
                version: session.version(),
                since: session.changed().0,
                changed_at: session.changed().0,
            })
        }
        KeyType::Nothing => return Err(missing::<Doc>(key)),
        _ => {
            let context = existing::<Doc, H>(cx.node, cx.host, key)?;
            has_tags(context, tags).then(|| ReadSource {
                content: Content::Doc(context.snapshot()),
                version: context.version(),
                since: context.created_at(),
                changed_at: context.changed().0,
            })
        }
    })
}

/// A field that holds JSON becomes that value, any other a string.
fn field_value(value: &Bytes) -> Value {
    let is_flat_enough = Room::new(value.len(), 64).read("field", value);
    is_flat_enough.unwrap_or_else(|_| Value::String(lossy(value).into()))
}

fn lossy(bytes: &Bytes) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn has_tags<S: State>(value: &Versioned<S>, tags: &[&[u8]]) -> bool {
    let meta = meta_of(value.meta());
    let own = meta.get("tags").and_then(serde_json::Value::as_array);
    let has =
        |tag: &&[u8]| own.is_some_and(|own| own.iter().any(|known| known.as_str().map(str::as_bytes) == Some(*tag)));
    tags.iter().all(has)
}

/// Sources that are to be merged.
struct Merging {
    sources: Vec<ReadSource>,
    room: Room,
    agent: Bytes,
    budget: Option<usize>,
    paths_bytes_max: usize,
}

impl Merging {
    /// The merged document, or the part of it that fits the budget.
    fn root(mut self) -> Result<Value, Error> {
        let roots = self.sources.iter().map(|source| source.content.root(&mut self.room));
        let roots: Vec<Value> = roots.collect::<Result<_, _>>()?;
        let sources = roots.iter().zip(&self.sources);
        let sources = sources.map(|(root, read)| Source { root, touches: read.content.touches(), since: read.since });
        let merged = generate_doc(&sources.collect::<Vec<_>>());
        if self.budget.is_none() {
            return Ok(merged);
        }
        self.fit(&merged)
    }

    /// The part that fits the budget. The source that was changed last says who touched what.
    fn fit(&self, merged: &Value) -> Result<Value, Error> {
        let version = self.sources.iter().map(|source| source.version).max().unwrap_or(0);
        let touched = self.sources.iter().filter_map(|source| Some((source.changed_at, source.content.touches()?)));
        let (empty, newest) = (Touches::default(), touched.max_by_key(|(changed_at, _)| *changed_at));
        let touches = newest.map_or(&empty, |(_, touches)| touches);
        let (agent, budget, paths_bytes_max) = (&self.agent[..], self.budget, self.paths_bytes_max);
        let build_args = BuildArgs { agent, budget, meta: &serde_json::Value::Null, touches, version, paths_bytes_max };
        Ok(build_part(merged, &[], &build_args)?.doc)
    }
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
    if let Some(context) = live::<Doc, H>(cx.node, cx.host, dest)? {
        let event = update_rules(context, agent, vec![Op::Replace(root)], None, bounds, at)?;
        return apply_change(cx, dest, event, None, request);
    }
    let state = Doc::new(root);
    bounds.check(state.document())?;
    begin(cx, dest, state, agent, request)
}
