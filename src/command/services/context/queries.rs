//! The commands that read contexts. Large documents are read by threads.

use crate::command::engine::args::Args;
use crate::command::engine::budget::{refuse_repeated, Budget};
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::job::Steps;
use crate::command::host::Host;
use crate::command::reply::{Reply, Size};
use crate::command::services::registry::filter::FindArgs;
use crate::command::services::versioned::commands::{common_fields, live, live_record};
use crate::domain::context::build::{build as build_part, BuildArgs};
use crate::domain::context::past::Past;
use crate::domain::context::route::knowledge;
use crate::domain::context::Doc;
use crate::domain::json::merge::Patch;
use crate::domain::json::{text, Document, Pointer, Value};
use crate::domain::limits::PATHS_MAX;
use crate::domain::registry::find::{find_worthiest, Sort};
use crate::domain::registry::Registry;
use crate::domain::{Bytes, Error};
use serde::Serialize;
use std::collections::BTreeMap;

fn parse_paths(args: &mut Args) -> Result<Vec<Pointer>, Error> {
    let paths = args.list("PATH", 1, PATHS_MAX)?;
    refuse_repeated("path", paths)?;
    paths.iter().map(|path| Pointer::parse(path)).collect()
}

/// A value as JSON text of about this many bytes.
fn json_reply(value: &impl Serialize, bytes: usize) -> Reply {
    Reply::Bytes(text::write(value, bytes))
}

/// Writing what is at these places, or all of it.
fn steps_of_text(document: &Document, paths: Option<&[Pointer]>) -> Steps {
    let found =
        |paths: &[Pointer]| paths.iter().filter_map(|path| path.find(document.root())).map(Value::text_bytes).sum();
    Steps::of_json(paths.map_or(document.size().text, found))
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
    let version = version.unwrap_or(stored.state.version());
    let past = Past::of(&stored.state, version)?;
    // The fields beside the document have a bound of their own: the document, or the value at one
    // path, is always returned.
    let common = common_fields(stored, expires_at, &mut Budget::of(cx.node));
    let steps = Steps(past.edits()).and(steps_of_text(past.now(), paths.as_deref()));
    let budget = Budget::of(cx.node);
    cx.answer_with("so large a document", steps, move || {
        let document = past.then()?;
        let doc = match &paths {
            Some(paths) => values_reply(document.root(), paths, budget)?,
            None => json_reply(document.root(), document.size().text),
        };
        let fields = [("version", Reply::number(version)), ("doc", doc)];
        let all = fields.into_iter().chain(common);
        Ok(Reply::Map(all.map(|(name, value)| (name.into(), value)).collect()))
    })
}

/// The values at several paths, as one object. Paths may lie inside others, so all values together
/// may be many times the document.
fn values_reply(root: &Value, paths: &[Pointer], mut budget: Budget) -> Result<Reply, Error> {
    let found = paths.iter().filter_map(|path| Some((path.text(), path.find(root)?)));
    let values: BTreeMap<&str, &Value> = found.collect();
    let sizes = values.iter().map(|(path, value)| Size::value(path.len() + value.text_bytes()));
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
    let past = Past::of(context, since)?;
    let steps = Steps(2 * past.edits()).and(steps_of_text(past.now(), Some(std::slice::from_ref(&path))));
    let reply = |patch: Option<Patch>| match patch {
        Some(patch) => json_reply(&patch, 0),
        None => json_reply(&Value::object(), 0),
    };
    cx.answer_with("so large a difference", steps, move || past.diff(&path, reply))
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
    let agent = Bytes::from(agent.ok_or_else(|| args.missing("FOR"))?);
    let (key, paths_bytes_max) = (cx.key(1), Budget::of(cx.node).left());
    let Some(context) = live::<Doc, H>(cx.node, cx.host, key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let (meta, doc, version) = (meta_of(context.meta()), context.snapshot(), context.version());
    let requested = (!paths.is_empty()).then_some(&paths[..]);
    let steps = steps_of_text(doc.document(), requested).and(steps_to_choose(doc.document(), budget));
    cx.answer_with("a part of so large a document", steps, move || {
        let (agent, touches) = (&agent[..], doc.touches());
        let build_args = BuildArgs { agent, budget, meta: &meta, touches, version, paths_bytes_max };
        let built = build_part(doc.root(), &paths, &build_args)?;
        let part = text::write(&built.doc, built.doc.text_bytes());
        let left_out = built.left_out.iter().map(|path| Reply::bytes(path.text().as_bytes()));
        Ok(Reply::map([
            ("version", Reply::number(version)),
            ("bytes", Reply::number(part.len() as u64)),
            ("left_out_count", Reply::number(built.left_out_count as u64)),
            ("left_out", Reply::Array(left_out.collect())),
            ("doc", Reply::Bytes(part)),
        ]))
    })
}

/// Choosing what fits a budget, if there is one.
pub(super) fn steps_to_choose(document: &Document, budget: Option<usize>) -> Steps {
    Steps(budget.map_or(0, |_| 2 * document.size().values))
}

pub(super) fn meta_of(meta: &Bytes) -> serde_json::Value {
    serde_json::from_slice(meta).unwrap_or_default()
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
