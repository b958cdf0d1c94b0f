//! Well formed commands, made along the arguments that the command table declares.

use std::collections::VecDeque;

use serde_json::Value;

use super::prng::Prng;
use crate::harness::{reference, Reply};

pub type Args = Vec<Vec<u8>>;

/// The services that have keys, each with the server's name of its type.
const SERVICES: [(&str, &str); 8] = [
    ("registry", "ltmcagent"),
    ("context", "ltmc-ctxt"),
    ("lock", "ltmc-lock"),
    ("session", "ltmc-sess"),
    ("cache", "ltmccache"),
    ("buffer", "ltmcchunk"),
    ("mail", "ltmc-mail"),
    ("flow", "ltmc-flow"),
];
const KEYS_EACH: u64 = 2;
/// How many values of replies are remembered: what comes back soon still means something.
const KEPT: usize = 24;

const JSONS: &[&str] = &[
    "{}",
    "5",
    "\"text\"",
    r#"{"a":1}"#,
    r#"{"a":{"b":[1,2,3]},"tags":["x"]}"#,
    r#"[1,"x",null,{"a":[]}]"#,
    r#"[{"op":"add","path":"/a","value":{"b":[1]}},{"op":"test","path":"/a/b/0","value":1}]"#,
    r#"[{"op":"move","from":"/a","path":"/c"},{"op":"remove","path":"/c/b"}]"#,
    r#"{"tasks":[{"id":"t0","payload":"p"},{"id":"t1","after":["t0"],"backoff":{"exp":10,"max":50}}]}"#,
];
const PATHS: &[&str] = &["", "/a", "/a/b", "/a/b/0", "/a/b/-", "/tags", "src", "src/db"];
const STATUSES: &[&str] = &["starting", "active", "idle", "busy", "draining", "suspect", "suspended", "ended", "x"];
const STATES: &[&str] = &["pending", "ready", "claimed", "done", "failed", "dead", "cancelled"];

/// Values that replies have given: fences, versions, ids, cursors.
#[derive(Default)]
pub struct Seen {
    numbers: VecDeque<i64>,
    texts: VecDeque<Vec<u8>>,
}

impl Seen {
    pub fn learn(&mut self, reply: &Reply) {
        match reply {
            Reply::Int(number) if *number > 1 => keep(&mut self.numbers, *number),
            Reply::Bulk(bytes) if (1..=40).contains(&bytes.len()) => keep(&mut self.texts, bytes.clone()),
            Reply::Array(items) => items.iter().take(12).for_each(|item| self.learn(item)),
            Reply::Map(pairs) => pairs.iter().take(12).for_each(|(_, value)| self.learn(value)),
            _ => {}
        }
    }
}

fn keep<T>(list: &mut VecDeque<T>, value: T) {
    list.push_back(value);
    if list.len() > KEPT {
        list.pop_front();
    }
}

/// A key of a service.
pub fn key_of(rng: &mut Prng, service: &str) -> Vec<u8> {
    format!("{{f}}:{service}:{}", rng.below(KEYS_EACH)).into_bytes()
}

/// A key of any service.
pub fn any_key(rng: &mut Prng) -> Vec<u8> {
    let (service, _) = *rng.pick(&SERVICES);
    key_of(rng, service)
}

fn is_service(name: &str) -> bool {
    SERVICES.iter().any(|(service, _)| *service == name)
}

/// The service of a type; `None` if it is none of ours.
pub fn service_of(type_name: &str) -> Option<&'static str> {
    SERVICES.iter().find(|(_, name)| *name == type_name).map(|(service, _)| *service)
}

/// A command of the table; of `service` if one is asked for.
pub fn any_command(rng: &mut Prng, service: Option<&str>) -> &'static Value {
    let fits = |command: &&Value| service.is_none_or(|service| command["service"] == service);
    let all: Vec<&'static Value> = reference().values().filter(fits).collect();
    *rng.pick(&all)
}

/// One command in the making.
pub struct Maker<'a> {
    pub rng: &'a mut Prng,
    pub seen: &'a Seen,
    /// The key that the command is about, if that is settled.
    pub about: Option<Vec<u8>>,
    service: &'static str,
    /// How many values the last list had.
    listed: u64,
    args: Args,
}

impl<'a> Maker<'a> {
    pub fn new(rng: &'a mut Prng, seen: &'a Seen) -> Self {
        Self { rng, seen, about: None, service: "", listed: 0, args: Args::new() }
    }

    /// All positional arguments, and some of the options in any order.
    pub fn make(mut self, command: &'static Value) -> Args {
        self.args.push(text(command, "name").as_bytes().to_vec());
        self.service = text(command, "service");
        let docs = list(command);
        let place = docs.iter().rposition(|doc| !is_option(doc)).map_or(0, |last| last + 1);
        self.sequence(&docs[..place]);
        let mut options: Vec<&Value> = docs[place..].iter().filter(|doc| !is_optional(doc)).collect();
        for doc in docs[place..].iter().filter(|doc| is_optional(doc)) {
            // Those who wait are few otherwise.
            if self.rng.percent(if text(doc, "token") == "BLOCK" { 70 } else { 20 }) {
                options.insert(self.rng.below(options.len() as u64 + 1) as usize, doc);
            }
        }
        options.into_iter().for_each(|doc| self.repeated(doc));
        self.args
    }

    fn sequence(&mut self, docs: &'static [Value]) {
        for (at, doc) in docs.iter().enumerate() {
            let is_counted = at > 0 && docs[at - 1]["type"] == "integer" && doc["multiple"] == true;
            if is_counted {
                self.listed = 1 + self.rng.below(3);
                *self.args.last_mut().expect("the count") = self.listed.to_string().into_bytes();
                (0..self.listed).for_each(|_| self.argument(doc));
            } else if !is_optional(doc) || self.rng.percent(50) {
                self.repeated(doc);
            }
        }
    }

    fn repeated(&mut self, doc: &'static Value) {
        let count = match doc["multiple"] == true {
            // The second list of LTMC.WATCH is as long as its keys.
            true if doc["name"] == "revision" => self.listed,
            true => 1 + self.rng.below(3),
            false => 1,
        };
        (0..count).for_each(|_| self.argument(doc));
    }

    fn argument(&mut self, doc: &'static Value) {
        let token = text(doc, "token");
        if !token.is_empty() {
            self.args.push(token.as_bytes().to_vec());
        }
        match text(doc, "type") {
            "word" => {}
            "one of" => {
                let one = self.rng.pick(list(doc));
                self.argument(one);
            }
            "block" => self.sequence(list(doc)),
            "key" => {
                let key = self.key(text(doc, "name"), token);
                self.args.push(key);
            }
            "integer" => {
                let number = self.number(text(doc, "name"), token);
                self.args.push(number.to_string().into_bytes());
            }
            _ => {
                let value = self.text(text(doc, "name"));
                self.args.push(value);
            }
        }
    }

    fn key(&mut self, name: &str, token: &str) -> Vec<u8> {
        if let Some(key) = self.about.take() {
            return key;
        }
        let service = match name {
            "lockkey" | "resource" => "lock",
            _ if token == "LOCKS" => "lock",
            _ if is_service(name) => name,
            _ => self.service,
        };
        if self.rng.percent(8) || !is_service(service) {
            return any_key(self.rng);
        }
        key_of(self.rng, service)
    }

    fn number(&mut self, name: &str, token: &str) -> i64 {
        let is_seen = matches!(name, "fence" | "epoch" | "ticket" | "id") || self.rng.percent(10);
        if is_seen && !self.seen.numbers.is_empty() {
            let at = self.rng.below(self.seen.numbers.len() as u64) as usize;
            return self.seen.numbers[at];
        }
        *self.rng.pick(match name {
            "ms" if token == "BLOCK" => &[0, 1, 5, 20],
            "ms" => &[1, 20, 1000, 60_000, 600_000],
            "s" => &[1, 60],
            "bytes" => &[1, 16, 1000, 100_000],
            "percent" => &[0, 50, 100],
            _ => &[0, 1, 2, 3, 10],
        })
    }

    fn text(&mut self, name: &str) -> Vec<u8> {
        if self.rng.percent(10) && !self.seen.texts.is_empty() {
            let at = self.rng.below(self.seen.texts.len() as u64) as usize;
            return self.seen.texts[at].clone();
        }
        let pool: &[&str] = match name {
            "agent" | "owner" | "from" | "user" => &["a0", "a1", "a2"],
            "task" => &["t0", "t1", "t2"],
            "json" | "args" => JSONS,
            "path" => PATHS,
            "status" => STATUSES,
            "state" => STATES,
            "class" => &["read", "write", "admin"],
            "checkpoint" => &["1", "2", "3", "first"],
            "share" | "beta" | "number" | "value" => &["0", "0.5", "1", "-2.5"],
            "revision" | "cursor" => &["0", "1"],
            "data" | "payload" | "blob" => &["", "x", "a payload that is longer than what is kept within a value"],
            _ => &["c0", "c1", "c2", "first"],
        };
        self.rng.pick(pool).as_bytes().to_vec()
    }
}

fn text(doc: &'static Value, field: &str) -> &'static str {
    doc[field].as_str().unwrap_or_default()
}

fn list(doc: &'static Value) -> &'static [Value] {
    doc["arguments"].as_array().map_or(&[], Vec::as_slice)
}

fn is_optional(doc: &Value) -> bool {
    doc["optional"] == true
}

/// Whether it has a word, so that it may stand in any order with the others that have one.
fn is_option(doc: &Value) -> bool {
    doc.get("token").is_some() || doc["type"] == "one of" || doc["type"] == "word"
}
