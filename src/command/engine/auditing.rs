//! What goes into the audit trail: each command that the level asks for, each key that changed, and
//! what is always recorded. [`crate::observe::audit`] says what the trail is.
//!
//! The event loop only copies what a record needs. What the command was about is found by the
//! trail's thread, along the command's row.

use super::cx::{Cx, Outcome};
use super::keys::positions;
use super::spec::{Acting, Flags, Spec};
use super::tracing::kind_of;
use super::walk::{Leaf, Walk};
use crate::command::host::{Host, Key};
use crate::command::node::audit::{Changed, Open};
use crate::command::node::Node;
use crate::command::settings::policies::AuditLevel;
use crate::domain::reactions::Remains;
use crate::domain::{Change, Code, Entity, Error, Event};
use crate::observe::audit::batch::{Describes, Draft, KeptArgs, Span};
use crate::observe::audit::{Class, Ended, Subject};

/// The option with the request id.
const REQID: &str = "REQID";
/// The arguments that say what in a key a command is about, by their names in the table.
const OBJECTS: [&str; 8] = ["path", "task", "tool", "id", "field", "resource", "checkpoint", "command"];
/// The arguments that name agents.
const AGENTS: [&str; 2] = ["agent", "owner"];
/// The arguments that are values.
const VALUES: [&str; 7] = ["value", "payload", "data", "json", "text", "result", "meta"];

/// The error for a command that comes while the trail cannot take more.
pub fn check_room<H: Host>(cx: &Cx<H>) -> Result<(), Error> {
    // What shows the state of the node goes on, and so does what another node has decided.
    let goes_on = (cx.spec.service.is_none() && !cx.spec.writes()) || cx.host.is_trusted();
    if !is_held_up(cx.node) || goes_on {
        return Ok(());
    }
    let text = "ltmc.audit-on-full: the audit trail takes no more until its file can be written, see LTMC.HEALTH";
    Err(Error::new(Code::Limit, text))
}

/// Whether nothing may be decided, since it could not be recorded.
#[inline]
pub fn is_held_up(node: &Node) -> bool {
    node.audit.is_full && node.settings.audit_blocks() && node.settings.audit_level() > AuditLevel::Off
}

/// A command begins.
#[inline]
pub fn begin<H: Host>(cx: &mut Cx<H>) {
    match cx.node.settings.audit_level() {
        // A panic may have left a command open.
        AuditLevel::Off => cx.node.audit.open = None,
        level => begin_command(cx, level),
    }
}

fn begin_command<H: Host>(cx: &mut Cx<H>, level: AuditLevel) {
    // What is loaded from a file happened before, and a primary records what it sends.
    let is_repeated = cx.spec.is_verbatim && cx.host.is_trusted();
    let notes_changes = !is_repeated && (level >= AuditLevel::Write || is_always(cx.spec));
    let open = (!is_repeated || level == AuditLevel::All && !cx.host.is_loading()).then(|| Open {
        notes_changes,
        agent: None,
        names_agent: cx.spec.flags.has(Flags::ADMIN) || cx.spec.args.iter().any(|arg| arg.acting != Acting::No),
        from: cx.node.audit.batch.len(),
    });
    cx.node.audit.begin(open);
}

/// Whether a command is always recorded: it is an operator's, and may change something.
fn is_always(spec: &Spec) -> bool {
    spec.flags.has(Flags::ADMIN) && spec.writes()
}

/// A command ends: its records are completed. One that has made none gets one if the level asks for
/// that.
#[inline]
pub fn end<H: Host>(cx: &mut Cx<H>, outcome: &Result<Outcome, Error>) {
    if let Some(open) = cx.node.audit.open.take() {
        end_command(cx, &open, outcome);
    }
}

fn end_command<H: Host>(cx: &mut Cx<H>, open: &Open, outcome: &Result<Outcome, Error>) {
    if is_held_up(cx.node) && matches!(outcome, Err(error) if error.code == Code::Limit) {
        return;
    }
    let class = class_of(cx.spec, outcome);
    let is_own = |draft: &Draft| draft.class == Class::Write;
    if !cx.node.audit.batch.drafts[open.from..].iter().any(is_own) {
        if !is_recorded(cx, class, outcome) || cx.node.audit.is_dropped() {
            return;
        }
        let key = positions(cx.spec, cx.args).first().map(|(at, _)| cx.args[*at]);
        let draft = cx.node.audit.draft(cx.now(), Class::Write, "", cx.db, key);
        cx.node.audit.push(draft);
    }
    let us = cx.node.stopwatch.elapsed_us();
    let batch = &mut cx.node.audit.batch;
    let caller = match batch.last_caller() {
        Some((last, at)) if cx.host.is_caller(last) => at,
        _ => batch.keep_caller(cx.host.caller()),
    };
    let (ended, args) = (ended(outcome), batch.keep_args(cx.args));
    let described: (&dyn Describes, Span) = (cx.spec, args);
    for draft in batch.drafts[open.from..].iter_mut().filter(|draft| is_own(draft)) {
        draft.agent = open.agent.or(draft.agent);
        (draft.class, draft.command, draft.us) = (class, cx.spec.name, us);
        (draft.caller, draft.ended, draft.args) = (Some(caller), ended.clone(), Some(described));
    }
}

/// The command in progress runs again later, and is recorded then.
pub fn forget(node: &mut Node) {
    node.audit.open = None;
}

/// The command in progress acts for this agent, which it does not name itself.
pub fn acts_for(node: &mut Node, agent: &[u8]) {
    if let Some(open) = &mut node.audit.open {
        open.agent = Some(node.audit.batch.keep(agent));
    }
}

/// A command has panicked: what it has changed stands, and is recorded.
pub fn panicked(node: &mut Node) {
    let Some(open) = node.audit.open.take() else { return };
    let made = node.audit.batch.drafts.iter_mut().skip(open.from);
    made.for_each(|made| made.ended = Ended::Word(Code::Err.word().into()));
}

/// Whether a command is recorded that has changed nothing. One that waits may be served later:
/// this record says for whom.
fn is_recorded<H: Host>(cx: &Cx<H>, class: Class, outcome: &Result<Outcome, Error>) -> bool {
    let level = cx.node.settings.audit_level();
    let waits = cx.spec.writes() && matches!(outcome, Ok(Outcome::Waits));
    let may_come = waits || cx.spec.flags.has(Flags::WRAPS);
    level == AuditLevel::All || class == Class::Denied || is_always(cx.spec) || (may_come && level >= AuditLevel::Write)
}

fn class_of(spec: &Spec, outcome: &Result<Outcome, Error>) -> Class {
    let is_denied = |error: &Error| matches!(error.code, Code::Denied | Code::NotOwner | Code::Stale | Code::NoPerm);
    match outcome {
        Err(error) if is_denied(error) => Class::Denied,
        _ if spec.flags.has(Flags::ADMIN) => Class::Admin,
        _ if spec.writes() => Class::Write,
        _ => Class::Read,
    }
}

fn ended(outcome: &Result<Outcome, Error>) -> Ended {
    match outcome {
        Ok(outcome) => kind_of(outcome),
        Err(error) => Ended::Word(error.code.word().into()),
    }
}

/// Before a change: what there is to know of it.
#[inline]
pub fn foresee<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &[Change<E::Event>],
) -> Option<Changed> {
    let is_noted = match &node.audit.open {
        Some(open) => open.notes_changes,
        None => node.settings.audit_level() >= AuditLevel::Write,
    };
    is_noted.then(|| foresee_change::<E, H>(node, host, key, changes))
}

fn foresee_change<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &[Change<E::Event>],
) -> Changed {
    let stored = host.read::<E>(key).ok().flatten();
    let changed = Changed { before: stored.map(|stored| stored.revision), ..Changed::default() };
    if node.audit.drops {
        return changed;
    }
    let batch = &mut node.audit.batch;
    let events = || changes.iter().filter_map(Change::event);
    let object = events().find_map(Event::object).map(|object| batch.keep(&object));
    if node.audit.open.as_ref().is_some_and(|open| open.names_agent) && !node.audit.follows {
        // What else is to be known stands in the arguments.
        return Changed { object, ..changed };
    }
    let loser = |event: &E::Event| stored.and_then(|stored| stored.state.losers(event).into_iter().next());
    let agent = events().find_map(|event| match event.agent() {
        Some(agent) => Some(batch.keep(agent)),
        None => loser(event).map(|loser| batch.keep(&loser)),
    });
    Changed { event: events().find_map(Event::name), agent, object, ..changed }
}

/// After the change, before the key goes because of it.
pub fn note<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key, changed: Changed) {
    let stored = host.raw::<E>(key).ok().flatten().filter(|stored| !stored.is_empty());
    let after = stored.map(|stored| stored.revision);
    node.audit.changed(node.clock.now(), key.db, key.name, Changed { after, ..changed });
}

/// A setting was changed. `was_on` says whether there was a trail before.
pub fn setting_changed(node: &mut Node, name: &str, before: &str, after: &str, was_on: bool) {
    if !was_on && node.settings.audit_level() == AuditLevel::Off || node.audit.is_dropped() {
        return;
    }
    let object = node.audit.batch.keep(format!("ltmc.{name}").as_bytes());
    let draft = node.audit.draft(node.now(), Class::Config, "CONFIG SET", 0, None);
    let ended = Ended::Word(format!("{before} -> {after}").into());
    node.audit.push(Draft { object: Some(object), ended, ..draft });
}

/// A key came into quarantine.
pub fn quarantined(node: &mut Node, key: Key, reason: &'static str) {
    if node.settings.audit_level() > AuditLevel::Off && !node.audit.is_dropped() {
        let draft = node.audit.draft(node.now(), Class::Admin, "(quarantine)", key.db, Some(key.name));
        node.audit.push(Draft { ended: Ended::Word(reason.into()), ..draft });
    }
}

/// Redis has ended a key by itself, and that is an event of LTMC. It follows from nothing.
pub fn expired(node: &mut Node, key: Key, event: &'static str, remains: &Remains) {
    node.audit.begin(None);
    if node.settings.audit_level() >= AuditLevel::Write && !node.audit.drops {
        let agent = remains.loser.as_ref().map(|loser| node.audit.batch.keep(loser));
        let before = Some(remains.revision);
        node.audit.changed(
            node.now(),
            key.db,
            key.name,
            Changed { event: Some(event), agent, before, ..Changed::default() },
        );
    }
}

impl Describes for Spec {
    fn subject<'a>(&'static self, args: &KeptArgs<'a>) -> Subject<'a> {
        let leaves = Walk::new(self, &args.kept).leaves();
        let first =
            |is_it: &dyn Fn(&Leaf) -> bool| leaves.iter().find(|leaf| is_it(leaf)).map(|leaf| args.kept[leaf.at]);
        // Whom an operator takes something from.
        let other = || first(&|leaf| AGENTS.contains(&leaf.name) && !leaf.is_actor(&leaves));
        let values = leaves.iter().filter(|leaf| VALUES.contains(&leaf.name));
        Subject {
            agent: first(&|leaf| leaf.is_actor(&leaves)),
            object: first(&|leaf| OBJECTS.contains(&leaf.name) && leaf.token != Some(REQID)).or_else(other),
            reqid: first(&|leaf| leaf.token == Some(REQID)),
            bytes: values.map(|leaf| args.lens[leaf.at]).sum::<u64>() + args.beyond,
        }
    }
}
