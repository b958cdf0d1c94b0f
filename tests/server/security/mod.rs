//! Who may do what: the ready roles, keys and agents that stand in arguments, and commands behind
//! `LTMC.GUARD`.

use crate::harness::*;
use serde_json::Value;
use std::ptr;

mod acting;
mod clients;
mod guarded;
mod keys;
mod quotas;
mod roles;

/// All commands, as `reference.json` describes them.
fn commands() -> impl Iterator<Item = &'static Value> {
    reference().values()
}

fn name(described: &Value) -> &str {
    described["name"].as_str().expect("a name")
}

fn inner(arg: &Value) -> &[Value] {
    arg["arguments"].as_array().map_or(&[], |args| args)
}

/// All arguments of a command, also those within others, that fit.
fn arguments<'a>(of: &'a Value, fits: &dyn Fn(&Value) -> bool) -> Vec<&'a Value> {
    let one = |arg: &'a Value| fits(arg).then_some(arg).into_iter().chain(arguments(arg, fits));
    inner(of).iter().flat_map(one).collect()
}

fn contains(arg: &Value, wanted: &Value) -> bool {
    ptr::eq(arg, wanted) || inner(arg).iter().any(|arg| contains(arg, wanted))
}

/// Values of arguments with a form of their own, by their names.
const FORMS: &[(&str, &str)] = &[
    ("json", "{}"),
    ("path", "/x"),
    ("revision", "0"),
    ("cursor", "0"),
    ("share", "0.5"),
    ("beta", "1"),
    ("state", "ready"),
    ("status", "active"),
    ("class", "read"),
    ("number", "1"),
    ("command", "PING"),
];

/// Writes a command as shortly as it can be, but with some of its arguments.
struct Writer<'a> {
    /// What is written, though it may be left out. If it may be repeated, it comes twice.
    with: &'a [&'a Value],
    /// The value of a key or text, and for one that comes twice, which of both this is.
    value: &'a dyn Fn(&Value, usize) -> Option<String>,
}

impl Writer<'_> {
    fn command(&self, described: &Value) -> Vec<String> {
        let mut words = vec![name(described).to_string()];
        self.sequence(inner(described), &mut words);
        words
    }

    fn is_wanted(&self, arg: &Value) -> bool {
        self.with.iter().any(|wanted| contains(arg, wanted))
    }

    /// One after the other. A number before a repeated argument counts it.
    fn sequence(&self, args: &[Value], words: &mut Vec<String>) {
        for (at, arg) in args.iter().enumerate() {
            let is_multiple = arg["multiple"] == true;
            if arg["optional"] == true && !self.is_wanted(arg) {
                continue;
            }
            let count = if is_multiple && self.is_wanted(arg) { 2 } else { 1 };
            if is_multiple && at > 0 && args[at - 1]["type"] == "integer" {
                *words.last_mut().expect("the count") = count.to_string();
            }
            (0..count).for_each(|which| self.argument(arg, which, words));
        }
    }

    fn argument(&self, arg: &Value, which: usize, words: &mut Vec<String>) {
        words.extend(arg["token"].as_str().map(String::from));
        match arg["type"].as_str().expect("a type") {
            "word" => {}
            "integer" => words.push("1".into()),
            "block" => self.sequence(inner(arg), words),
            "one of" => {
                let one = inner(arg).iter().find(|one| self.is_wanted(one)).unwrap_or(&inner(arg)[0]);
                self.argument(one, which, words);
            }
            _ => {
                let form = || FORMS.iter().find(|(name, _)| arg["name"] == *name).map_or("x", |(_, form)| form).into();
                words.push((self.value)(arg, which).unwrap_or_else(form));
            }
        }
    }
}

/// The lines of a text that begin users.
fn user_lines<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(before)?.strip_prefix("user "))
}

/// Makes the users of `redis.conf.example`.
fn add_users(server: &Server) {
    let lines = user_lines(include_str!("../../../redis.conf.example"), "# ");
    // The tests are the default user.
    let lines: Vec<&str> = lines.filter(|line| *line != "default off").collect();
    assert_eq!(lines.len(), ROLES.len() + 1, "one for each role, and one for replicas");
    lines.iter().for_each(|line| server.run(&format!("ACL SETUSER {line}")).ok());
}

const ROLES: [&str; 5] = ["agent", "coordinator", "observer", "operator", "auditor"];

/// A connection of a user of `redis.conf.example`.
fn log_in(server: &Server, role: &str) -> Client {
    let mut client = server.client();
    client.auth(role, "change-me");
    client
}

fn is_refused(reply: &Reply) -> bool {
    reply.is_error() && reply.error_code() == "NOPERM"
}

fn may(server: &Server, user: &str, words: &[String]) -> bool {
    let question = ["ACL", "DRYRUN", user].map(String::from);
    let reply = server.cmd(&[&question, words].concat());
    matches!(reply, Reply::Simple(text) if text == "OK")
}

fn split(line: &str) -> Vec<String> {
    line.split(' ').map(String::from).collect()
}
