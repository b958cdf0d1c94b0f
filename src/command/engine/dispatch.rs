//! How every command begins: the checks that hold for all of them, then its handler.

use super::auditing;
use super::cx::{Command, Cx, Outcome};
use super::job::Job;
use super::keys::{is_searched, may_be_named, positions};
use super::repair::check_usable;
use super::spec::Flags;
use super::tracing;
use super::walk::Walk;
use super::work::looked_at_reply;
use crate::command::host::{check_here, Host, Key, Ownership};
use crate::command::settings::Setting;
use crate::domain::limits::COMMAND_KEY_BYTES_MAX;
use crate::domain::value::bytes::printable;
use crate::domain::{looked_at_parts, Code, Error};
use crate::observe::trace::Stage;
use smallvec::SmallVec;

/// As many arguments are passed in one look, before a command begins.
const ARGUMENTS_OF_LOOK: usize = 8;

/// Runs a command: first the checks that hold for all commands, then its handler.
pub fn run<H: Host>(command: &Command<H>, cx: &mut Cx<H>) -> Result<Outcome, Error> {
    #[cfg(feature = "test-hooks")]
    super::work::Seen::begin();
    let outcome = run_checked(command, cx);
    #[cfg(feature = "test-hooks")]
    cx.node.work.command(command.spec.name, command.spec.work, &cx.node.settings);
    outcome
}

fn run_checked<H: Host>(command: &Command<H>, cx: &mut Cx<H>) -> Result<Outcome, Error> {
    looked_at_parts(cx.args.len(), ARGUMENTS_OF_LOOK);
    tracing::begin(cx);
    auditing::begin(cx);
    let outcome = checked(command, cx).and_then(|()| check_access(cx)).and_then(|()| cx.check_actors());
    let outcome = outcome.and_then(|()| check_again(cx));
    let outcome = outcome.and_then(|()| {
        cx.node.trace.at(Stage::Decide);
        (command.run)(cx)
    });
    let outcome = cx.job.take().map_or(outcome, |job| Ok(Outcome::Offloaded(job)));
    cx.node.trace.at(Stage::Send);
    if matches!(&outcome, Ok(Outcome::Offloaded(Job::Prepare(_)))) {
        // It has not happened yet.
        auditing::forget(cx.node);
        return outcome;
    }
    if let Some(service) = command.spec.service {
        let metrics = cx.node.metrics.of_mut(service);
        metrics.commands += 1;
        metrics.errors += u64::from(outcome.is_err());
        metrics.rejected += u64::from(matches!(&outcome, Err(error) if error.code == Code::Limit));
    }
    auditing::end(cx, &outcome);
    if let (Ok(Outcome::Reply(reply)), true) = (&outcome, cfg!(feature = "test-hooks")) {
        looked_at_reply(reply);
    }
    outcome.map(|outcome| cx.sent(outcome))
}

/// Errs if the server would no longer run a command for which a thread has prepared something.
fn check_again<H: Host>(cx: &mut Cx<H>) -> Result<(), Error> {
    if cx.prepared.is_none() {
        return Ok(());
    }
    let positions = positions(cx.spec, cx.args);
    let keys: SmallVec<[Key; 4]> = positions.iter().map(|(at, _)| cx.key(*at)).collect();
    if !cx.host.may_still_run() {
        return Err(Error::new(Code::NoPerm, format!("the user may no longer run this {}", cx.spec.name)));
    }
    for key in &keys {
        if let Ownership::Moved(text) = cx.host.ownership(*key) {
            return Err(Error::new(Code::Moved, text));
        }
    }
    if !keys.is_empty() {
        check_here(cx.host, &keys)?;
    }
    if cx.spec.flags.has(Flags::DENY_OOM) && cx.host.is_out_of_memory() {
        return Err(Error::out_of_memory());
    }
    Ok(())
}

/// Errs if the caller must not access the keys in the way the command does. The server has checked
/// the keys in fixed places, and others only where it can find them. So these are checked here
/// again.
fn check_access<H: Host>(cx: &mut Cx<H>) -> Result<(), Error> {
    if !cx.spec.keys.iter().any(|keys| may_be_named(keys.at, cx.args)) {
        return Ok(());
    }
    for (at, key_spec) in Walk::new(cx.spec, cx.args).keys() {
        let Some(keys) = cx.spec.keys.get(key_spec as usize).filter(|keys| is_searched(keys.at)) else { continue };
        let key: Key = cx.key(at);
        if !cx.host.may_access(key, keys.access) {
            let text = format!("no permission to access the key '{}', which is an argument", printable(key.name));
            return Err(Error::new(Code::NoPerm, text));
        }
    }
    Ok(())
}

fn checked<H: Host>(command: &Command<H>, cx: &mut Cx<H>) -> Result<(), Error> {
    let given = cx.args.len() as i32;
    let arity = command.spec.arity;
    if (arity > 0 && given != arity) || given < arity.abs() {
        let text = format!("wrong number of arguments ({}); syntax: {}", given - 1, command.spec.syntax());
        return Err(Error::usage(text));
    }
    auditing::check_room(cx)?;
    let Some(service) = command.spec.service else { return Ok(()) };
    cx.node.settings.check_enabled(service)?;
    let arguments_max = cx.node.settings.get(Setting::ArgumentsMax);
    if cx.args.len() as u64 > arguments_max {
        let what = format!("a command with {} arguments", cx.args.len());
        return Err(Error::limit(Setting::ArgumentsMax.row().name, &what, arguments_max));
    }
    check_key_lengths(cx)?;
    check_quarantine(cx)?;
    if !command.spec.writes() {
        return Ok(());
    }
    if cx.node.replica {
        // A replica with replica-read-only no lets writes through. Still it must not grant
        // anything.
        return Err(Error::new(Code::ReadOnly, "only the primary decides about locks and other shared state"));
    }
    cx.node.clock.check_left()
}

/// Errs if the name of a key is too long.
fn check_key_lengths<H: Host>(cx: &Cx<H>) -> Result<(), Error> {
    // Most commands have no argument that is so long.
    if cx.args.iter().all(|arg| arg.len() <= COMMAND_KEY_BYTES_MAX) {
        return Ok(());
    }
    let mut keys = positions(cx.spec, cx.args).into_iter();
    keys.try_for_each(|(at, _)| Error::check_length_max("the name of a key", cx.args[at].len(), COMMAND_KEY_BYTES_MAX))
}

/// Errs if one of the keys is in quarantine, before anything is decided about any of them.
fn check_quarantine<H: Host>(cx: &mut Cx<H>) -> Result<(), Error> {
    if cx.node.quarantine.is_empty() && !cx.host.has_quarantined() {
        return Ok(());
    }
    let keys = positions(cx.spec, cx.args);
    keys.into_iter().try_for_each(|(at, _)| check_usable(cx.node, cx.host, cx.key(at)))
}
