//! The commands of flows as wholes: what they take, what they decide, what they answer. The rules
//! are in `domain::flow`.

use super::due;
use super::serve::existing;
use crate::command::engine::args::Args;
use crate::command::engine::commit::{commit, commit_changes, commit_one};
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::job::Steps;
use crate::command::engine::requests::{answered, remember};
use crate::command::host::Host;
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::{Answer, RequestId};
use crate::domain::flow::spec::{Bounds, Graph};
use crate::domain::flow::{decide, spec, Flow, FlowEvent, Keep, Options, Rate};
use crate::domain::limits::{FLOW_TASKS_END, PATHS_MAX, RATE_CLAIMS_MAX};
use crate::domain::{Bytes, Change, Error, Millis};

/// The highest bound of tasks that run at a time.
const ACTIVE_MAX: u64 = u32::MAX as u64;
/// As many strings of a specification are read in a step.
const STRINGS_OF_STEP: usize = 2;

/// The arguments of `LTMC.FLOW.CREATE`.
#[derive(Default)]
struct CreateArgs<'a> {
    options: Options,
    spec_at: Option<usize>,
    locks: &'a [&'a [u8]],
    request_id: Option<RequestId>,
}

fn parse_create<'a>(node: &Node, args: &mut Args<'a>) -> Result<CreateArgs<'a>, Error> {
    let mut create_args = CreateArgs { options: node.settings.flow_options(), ..CreateArgs::default() };
    let (options, mut ttl_ms) = (&mut create_args.options, None);
    while let Some(word) = args.option()? {
        match word {
            "SPEC" => {
                create_args.spec_at = Some(args.position());
                args.bytes("SPEC")?;
            }
            "MAXACTIVE" => options.max_active = args.number("MAXACTIVE", 1, ACTIVE_MAX)? as u32,
            "GROUPMAX" => options.group_max = args.number("GROUPMAX", 1, ACTIVE_MAX)? as u32,
            "RATE" => {
                let claims = args.number("RATE", 1, RATE_CLAIMS_MAX)? as u32;
                options.rate = Some(Rate { claims, per_ms: args.millis("the time after RATE n", 1)? });
            }
            "KEEP" => parse_keep(args, word, &mut options.keep)?,
            "KEEPDEAD" => parse_keep(args, word, &mut options.keep_dead)?,
            "LOCKS" => create_args.locks = args.list("LOCKS", 1, PATHS_MAX)?,
            "REQID" => create_args.request_id = Some(args.request_id(b"")?),
            "PX" | "EX" => ttl_ms = Some(args.duration(word)?),
            _ => return Err(args.unread(word)),
        }
    }
    if !create_args.locks.is_empty() && create_args.spec_at.is_none() {
        return Err(Error::usage("LOCKS goes with SPEC only: it names the keys that its tasks may lock"));
    }
    create_args.options.ttl_ms = ttl_ms;
    Ok(create_args)
}

/// `n [MAXAGE ms]`
fn parse_keep(args: &mut Args, word: &str, keep: &mut Keep) -> Result<(), Error> {
    keep.tasks = args.number(word, 0, FLOW_TASKS_END as u64)?;
    if args.has_value() {
        args.expect("MAXAGE", "the word after the number")?;
        keep.age_ms = args.millis("MAXAGE", 0)?;
    }
    Ok(())
}

/// `LTMC.FLOW.CREATE`
pub fn create<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let create_args = parse_create(cx.node, &mut args)?;
    let (key, at) = (cx.key(1), cx.now());
    if answered::<Flow, H>(cx.node, cx.host, key, create_args.request_id.as_ref())?.is_some() {
        return Ok(Outcome::Reply(Reply::Ok));
    }
    if cx.host.read::<Flow>(key)?.is_some() {
        return Err(decide::exists());
    }
    let mut events = vec![FlowEvent::Created { at, options: create_args.options }];
    if let Some(graph) = create_args.spec_at.map(|spec_at| read_spec(cx, spec_at, create_args.locks)).transpose()? {
        let additions = graph.into_additions(at, &mut cx.node.clock);
        events.extend(additions.into_iter().map(|task| FlowEvent::Added(Box::new(task))));
    }
    let answered = remember::<Flow, H>(cx.node, cx.host, key, create_args.request_id.as_ref(), Answer::Integer(1))?;
    let mut changes: Vec<_> = events.into_iter().map(Change::Event).chain(answered).collect();
    commit_changes::<Flow, H>(cx.node, cx.host, key, &mut changes)?;
    Ok(Outcome::Reply(Reply::Ok))
}

/// `SPEC json`, which is argument `spec_at`.
fn read_spec<H: Host>(cx: &mut Cx<H>, spec_at: usize, locks: &[&[u8]]) -> Result<Graph, Error> {
    let settings = &cx.node.settings;
    let bounds = Bounds {
        bytes_max: settings.get(Setting::FlowSpecBytesMax),
        flow_tasks_max: settings.get(Setting::FlowTasksMax),
        tasks_max: settings.get(Setting::FlowSpecTasksMax),
        edges_max: settings.get(Setting::FlowSpecEdgesMax),
        sets_max: settings.get(Setting::FlowCapsMax),
        payload_bytes_max: settings.get(Setting::TaskPayloadBytesMax),
        locks: locks.iter().map(|lock| Bytes::from(*lock)).collect(),
    };
    let json = cx.args[spec_at];
    let steps = Steps::of_json(json.len()).and(Steps(spec::strings_in(json) / STRINGS_OF_STEP));
    cx.prepare("SPEC", steps, move |args| spec::read(args[spec_at], &bounds))
}

/// Applies what a rule decides about the flow. The reply says whether something changes.
fn decide_about<H: Host>(
    cx: &mut Cx<H>,
    rule: impl FnOnce(&Flow, Millis) -> Result<Option<FlowEvent>, Error>,
) -> Result<Outcome, Error> {
    existing(cx)?;
    let (key, at) = (cx.key(1), cx.now());
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Err(decide::no_flow()) };
    let event = rule(&stored.state, at)?;
    let has_changed = event.is_some();
    commit::<Flow, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::Integer(has_changed.into())))
}

/// `LTMC.FLOW.PAUSE`
pub fn pause<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    decide_about(cx, decide::pause)
}

/// `LTMC.FLOW.RESUME`
pub fn resume<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    decide_about(cx, decide::resume)
}

/// `LTMC.FLOW.TOUCH`
pub fn touch<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let ttl_ms = args.only_duration()?;
    let (key, at) = (cx.key(1), cx.now());
    if cx.host.read::<Flow>(key)?.is_none() {
        return Ok(Outcome::Reply(Reply::Integer(0)));
    }
    commit_one::<Flow, H>(cx.node, cx.host, key, FlowEvent::Touched { at, ttl_ms })?;
    Ok(Outcome::Reply(Reply::Integer(1)))
}

/// `LTMC.FLOW.CANCEL`
pub fn cancel<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    if cx.host.read::<Flow>(cx.key(1))?.is_none() {
        return Ok(Outcome::Reply(Reply::Integer(0)));
    }
    let outcome = decide_about(cx, |flow, at| Ok((!flow.is_cancelled()).then_some(FlowEvent::Cancelled { at })))?;
    // The first tasks are cancelled at once, so that a small flow has ended when the answer comes.
    // The scheduler cancels the others.
    let max = cx.node.settings.get(Setting::SweepBatchMax) as usize;
    due::sweep(cx.node, cx.host, cx.key(1), max)?;
    Ok(outcome)
}
