//! What goes into the audit trail: each command that the level asks for, each key that changed, and
//! what is always recorded. [`crate::observe::audit`] says what the trail is.
//!
//! The event loop only copies what a record needs. What the command was about is found by the
//! trail's thread, along the command's row.

use super::cx::{Cx, Outcome};
use super::keys::positions;
use super::spec::{Flags, Spec};
use super::tracing::kind_of;
use super::walk::{Leaf, Walk};
use crate::command::host::{Host, Key};
use crate::command::node::audit::{Changed, Described, Open};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::policies::AuditLevel;
use crate::domain::{Bytes, Change, Code, Entity, Error, Event, KeyId};
use crate::observe::audit::{Class, Ended, Record, Subject};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// How much of each argument is kept, bytes. Ids and paths are not longer.
const ARG_BYTES_MAX: usize = 1024;
/// How many arguments are kept. What a command is about stands among the first.
const ARGS_MAX: usize = 64;
/// How much of a key's name is kept, bytes.
const KEY_BYTES_MAX: usize = 1024;

/// The option with the request id.
const REQID: &str = "REQID";
/// The arguments that say what in a key a command is about, by their names in the table.
const OBJECTS: [&str; 7] = ["path", "task", "tool", "id", "field", "resource", "checkpoint"];
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
        began_ns: (cx.node.audit.clock)(),
        notes_changes,
        from: cx.node.audit.records.len(),
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
    let is_own = |record: &Record| record.class == Class::Write;
    let has_own = cx.node.audit.records[open.from..].iter().any(|made| is_own(&made.record));
    if !has_own && !is_recorded(cx, class) {
        return;
    }
    if !has_own {
        let key = positions(cx.spec, cx.args).first().map(|(at, _)| key_name(cx.args[*at]));
        let record = Record::new(cx.now(), Class::Write, "", cx.db, key);
        cx.node.audit.push(record);
    }
    let us = (cx.node.audit.clock)().saturating_sub(open.began_ns) / 1000;
    let (caller, ended, described) = (cx.host.caller(), ended(outcome), described(cx.spec, cx.args));
    for made in &mut cx.node.audit.records[open.from..] {
        let record = &mut made.record;
        if is_own(record) {
            let command = Cow::Borrowed(cx.spec.name);
            (record.class, record.command, record.us) = (class, command, us);
            (record.caller, record.ended) = (caller.clone(), ended.clone());
            made.described = Some(described.clone());
        }
    }
}

/// A command has panicked: what it has changed stands, and is recorded.
pub fn panicked(node: &mut Node) {
    let Some(open) = node.audit.open.take() else { return };
    let made = node.audit.records.iter_mut().skip(open.from);
    made.for_each(|made| made.record.ended = Ended::Word(Code::Err.word().into()));
}

/// Whether a command is recorded that has changed nothing.
fn is_recorded<H: Host>(cx: &Cx<H>, class: Class) -> bool {
    let level = cx.node.settings.audit_level();
    let runs_another = cx.spec.flags.has(Flags::WRAPS) && level >= AuditLevel::Write;
    level == AuditLevel::All || class == Class::Denied || is_always(cx.spec) || runs_another
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
        Ok(Outcome::Reply(Reply::Integer(number))) => Ended::Integer(*number),
        Ok(outcome) => Ended::Word(kind_of(outcome)),
        Err(error) => Ended::Word(error.code.word().into()),
    }
}

/// Before a change: what there is to know of it.
#[inline]
pub fn foresee<E: Entity, H: Host>(
    node: &Node,
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

fn foresee_change<E: Entity, H: Host>(node: &Node, host: &mut H, key: Key, changes: &[Change<E::Event>]) -> Changed {
    let stored = host.read::<E>(key).ok().flatten();
    let before = stored.map(|stored| stored.revision);
    let changed = Changed { key: KeyId { db: key.db, name: key_name(key.name) }, before, ..Changed::default() };
    if node.audit.is_own() {
        // What is missing is found in the arguments.
        return changed;
    }
    let events = || changes.iter().filter_map(Change::event);
    let loser = |event: &E::Event| stored.and_then(|stored| stored.state.losers(event).into_iter().next());
    let agent = |event: &E::Event| event.agent().map(Box::from).or_else(|| Some(loser(event)?[..].into()));
    Changed { event: events().find_map(|event| event.name()), agent: events().find_map(agent), ..changed }
}

/// After the change, before the key goes because of it.
pub fn note<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key, changed: Changed) {
    let stored = host.raw::<E>(key).ok().flatten().filter(|stored| !stored.is_empty());
    let after = stored.map(|stored| stored.revision);
    let at = node.now();
    node.audit.changed(at, Changed { after, ..changed });
}

/// A setting was changed. `was_on` says whether there was a trail before.
pub fn setting_changed(node: &mut Node, name: &str, before: &str, after: &str, was_on: bool) {
    if was_on || node.settings.audit_level() > AuditLevel::Off {
        let record = Record::new(node.now(), Class::Config, "CONFIG SET", 0, None);
        let object = Some(format!("ltmc.{name}").into_bytes().into());
        let ended = Ended::Word(format!("{before} -> {after}").into());
        node.audit.push(Record { subject: Subject { object, ..Subject::default() }, ended, ..record });
    }
}

/// A key came into quarantine.
pub fn quarantined(node: &mut Node, key: Key, reason: &'static str) {
    if node.settings.audit_level() > AuditLevel::Off {
        let record = Record::new(node.now(), Class::Admin, "(quarantine)", key.db, Some(key_name(key.name)));
        node.audit.push(Record { ended: Ended::Word(reason.into()), ..record });
    }
}

/// Redis has ended a key by itself, and that is an event of LTMC. It follows from nothing.
pub fn expired(node: &mut Node, key: Key, event: &'static str) {
    node.audit.begin(None);
    if node.settings.audit_level() >= AuditLevel::Write {
        let at = node.now();
        let key = KeyId { db: key.db, name: key_name(key.name) };
        let changed = Changed { key, event: Some(event), ..Changed::default() };
        node.audit.changed(at, changed);
    }
}

/// The name of a key, or its beginning.
fn key_name(name: &[u8]) -> Bytes {
    Bytes::from(&name[..name.len().min(KEY_BYTES_MAX)])
}

/// What is kept of a command's arguments.
struct Kept {
    spec: &'static Spec,
    /// The beginnings of the first arguments, one after the other.
    bytes: SmallVec<[u8; 96]>,
    /// Where each of them ends there, and how long the argument was.
    ends: SmallVec<[(u32, u32); 8]>,
    /// Bytes of the arguments that are not kept.
    beyond: u64,
}

/// Says, when it is asked, what a command was about.
fn described(spec: &'static Spec, args: &[&[u8]]) -> Described {
    let (first, beyond) = args.split_at(args.len().min(ARGS_MAX));
    let beyond = beyond.iter().map(|arg| arg.len() as u64).sum();
    let mut kept = Kept { spec, bytes: SmallVec::new(), ends: SmallVec::new(), beyond };
    for arg in first {
        kept.bytes.extend_from_slice(&arg[..arg.len().min(ARG_BYTES_MAX)]);
        kept.ends.push((kept.bytes.len() as u32, u32::try_from(arg.len()).unwrap_or(u32::MAX)));
    }
    Arc::new(move || subject(&kept))
}

/// What a command was about.
fn subject(kept: &Kept) -> Subject {
    let starts = [0].into_iter().chain(kept.ends.iter().map(|(end, _)| *end));
    let args = starts.zip(&kept.ends).map(|(start, (end, _))| &kept.bytes[start as usize..*end as usize]);
    let args: Vec<&[u8]> = args.collect();
    let leaves = Walk::new(kept.spec, &args).leaves();
    let first =
        |is_it: &dyn Fn(&Leaf) -> bool| leaves.iter().find(|leaf| is_it(leaf)).map(|leaf| Box::from(args[leaf.at]));
    let values = leaves.iter().filter(|leaf| VALUES.contains(&leaf.name));
    Subject {
        agent: first(&|leaf| leaf.is_actor(&leaves)),
        object: first(&|leaf| OBJECTS.contains(&leaf.name) && leaf.token != Some(REQID)),
        reqid: first(&|leaf| leaf.token == Some(REQID)),
        bytes: values.map(|leaf| u64::from(kept.ends[leaf.at].1)).sum::<u64>() + kept.beyond,
    }
}
