//! The one way that every command and every change goes: check, run, replicate, apply, notify, count.

use super::cx::{Command, Cx, Outcome};
use super::keys::check_access;
use crate::command::host::Host;
use crate::domain::{Code, Error};
use crate::observe::trace::Stage;

/// Runs a command: checks what holds for all commands, then hands over to its handler.
pub fn run<H: Host>(command: &Command<H>, cx: &mut Cx<H>) -> Result<Outcome, Error> {
    crate::command::engine::tracing::begin(cx);
    let outcome = checked(command, cx).and_then(|()| check_access(cx)).and_then(|()| {
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
    outcome
}

fn checked<H: Host>(command: &Command<H>, cx: &Cx<H>) -> Result<(), Error> {
    let given = cx.args.len() as i32;
    let arity = command.spec.arity;
    if (arity > 0 && given != arity) || given < arity.abs() {
        let text = format!("wrong number of arguments ({}); syntax: {}", given - 1, command.spec.syntax());
        return Err(Error::usage(text));
    }
    let Some(service) = command.spec.service else { return Ok(()) };
    cx.node.settings.check_enabled(service)?;
    if !command.spec.writes() {
        return Ok(());
    }
    if cx.node.replica {
        // A replica with replica-read-only no lets writes through. It must not grant anything all the same.
        return Err(Error::new(Code::ReadOnly, "only the primary decides about locks and other shared state"));
    }
    cx.node.clock.check_left()
}
