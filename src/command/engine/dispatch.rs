//! How every command begins: the checks that hold for all of them, then its handler.

use super::auditing;
use super::cx::{Command, Cx, Outcome};
use super::keys::{is_searched, may_be_named, positions};
use super::repair::check_usable;
use super::tracing;
use super::walk::Walk;
use crate::command::host::{Host, Key};
use crate::command::settings::Setting;
use crate::domain::value::bytes::printable;
use crate::domain::{Code, Error};
use crate::observe::trace::Stage;

/// Runs a command: first the checks that hold for all commands, then its handler.
pub fn run<H: Host>(command: &Command<H>, cx: &mut Cx<H>) -> Result<Outcome, Error> {
    tracing::begin(cx);
    auditing::begin(cx);
    let outcome = checked(command, cx).and_then(|()| check_access(cx)).and_then(|()| cx.check_actors());
    let outcome = outcome.and_then(|()| {
        cx.node.trace.at(Stage::Decide);
        (command.run)(cx)
    });
    cx.node.trace.at(Stage::Send);
    if let Some(service) = command.spec.service {
        let metrics = cx.node.metrics.of_mut(service);
        metrics.commands += 1;
        metrics.errors += u64::from(outcome.is_err());
        metrics.rejected += u64::from(matches!(&outcome, Err(error) if error.code == Code::Limit));
    }
    auditing::end(cx, &outcome);
    outcome
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

/// Errs if one of the keys is in quarantine, before anything is decided about any of them.
fn check_quarantine<H: Host>(cx: &mut Cx<H>) -> Result<(), Error> {
    if cx.node.quarantine.is_empty() && !cx.host.has_quarantined() {
        return Ok(());
    }
    let keys = positions(cx.spec, cx.args);
    keys.into_iter().try_for_each(|(at, _)| check_usable(cx.node, cx.host, cx.key(at)))
}
