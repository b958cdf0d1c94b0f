//! Well formed commands, made along the arguments that the command table declares.

use std::collections::VecDeque;

use serde_json::Value;

use super::prng::Prng;
use crate::harness::{reference, Reply};

pub type Args = Vec<Vec<u8>>;

/// The services that have keys, each with the server's name of its type.
pub const SERVICES: [(&str, &str); 8] = [
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

/// What a command named and got: values by their part in it. Later commands go on from there.
pub type Story = Vec<(&'static str, Vec<u8>)>;

/// Fences are at least this large, versions and counts are not.
const FENCE_MIN: i64 = 1_000_000_000_000;

/// Values that replies have given: fences, versions, ids, cursors.
#[derive(Default)]
pub struct Seen {
    numbers: VecDeque<i64>,
    texts: VecDeque<Vec<u8>>,
    stories: VecDeque<Story>,
}

impl Seen {
    /// A story to go on from, mostly one of the last.
    pub fn story(&self, rng: &mut Prng) -> Option<&Story> {
        let among = if rng.percent(60) { 6 } else { KEPT };
        let back = rng.below(among.min(self.stories.len()) as u64) as usize;
        self.stories.iter().rev().nth(back).filter(|_| rng.percent(65))
    }

    /// A command was answered without an error.
    pub fn tell(&mut self, mut story: Story, reply: &Reply) {
        add_to(&mut story, reply);
        keep(&mut self.stories, story);
    }

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

/// Adds the fence, the version and the id that a reply begins with, before what was named.
fn add_to(story: &mut Story, reply: &Reply) {
    match reply {
        Reply::Int(number) => {
            let part = if *number >= FENCE_MIN { "fence" } else { "version" };
            story.insert(0, (part, number.to_string().into_bytes()));
        }
        Reply::Bulk(id) if id.len() <= 40 => {
            story.splice(0..0, [("task", id.clone()), ("id", id.clone())]);
        }
        Reply::Array(items) => {
            items.iter().take(1).for_each(|item| add_to(story, item));
            items.windows(2).for_each(|pair| add_field(story, &pair[0], &pair[1]));
        }
        _ => {}
    }
}

fn add_field(story: &mut Story, name: &Reply, value: &Reply) {
    let Reply::Bulk(name) = name else { return };
    let known =
        ["task", "id", "fence", "epoch", "ticket", "version"].into_iter().find(|known| known.as_bytes() == name);
    let value = match value {
        Reply::Int(number) => number.to_string().into_bytes(),
        Reply::Bulk(text) => text.clone(),
        _ => return,
    };
    if let Some(part) = known.and_then(part) {
        story.insert(0, (part, value));
    }
}

/// The part that a value of this name has in a story; `None` if it has none.
fn part(name: &'static str) -> Option<&'static str> {
    match name {
        "agent" | "owner" | "from" => Some("agent"),
        "fence" | "epoch" | "ticket" => Some("fence"),
        "task" | "id" | "field" | "checkpoint" | "tool" | "args" | "path" | "version" => Some(name),
        _ => None,
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

/// The service that a story is about.
pub fn service_in(story: &Story) -> Option<&'static str> {
    story.iter().map(|(part, _)| *part).find(|part| is_service(part))
}

/// A command of the table; of `service` if one is asked for.
pub fn any_command(rng: &mut Prng, service: Option<&str>) -> &'static Value {
    let fits = |command: &&Value| service.is_none_or(|service| command["service"] == service);
    let all: Vec<&'static Value> = reference().values().filter(fits).collect();
    rng.pick::<&'static Value>(&all)
}

/// One command in the making.
pub struct Maker<'a> {
    pub rng: &'a mut Prng,
    pub seen: &'a Seen,
    /// The key that the command is about, if that is settled.
    pub about: Option<Vec<u8>>,
    /// What the command goes on from.
    before: Option<&'a Story>,
    made: Story,
    service: &'static str,
    /// How many values the last list had.
    listed: u64,
    args: Args,
}

impl<'a> Maker<'a> {
    pub fn new(rng: &'a mut Prng, seen: &'a Seen, before: Option<&'a Story>) -> Self {
        Self { rng, seen, about: None, before, made: Story::new(), service: "", listed: 0, args: Args::new() }
    }

    /// All positional arguments, and some of the options in any order.
    pub fn make(mut self, command: &'static Value) -> (Args, Story) {
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
        (self.args, self.made)
    }

    /// A value as it was before, if it has a part in that; else a new one.
    fn again(&mut self, part: Option<&'static str>, new: impl FnOnce(&mut Self) -> Vec<u8>) {
        let told = self.before.and_then(|story| story.iter().find(|(known, _)| Some(*known) == part));
        let value = match told {
            Some((_, value)) if self.rng.percent(85) => value.clone(),
            _ => new(self),
        };
        self.made.extend(part.map(|part| (part, value.clone())));
        self.args.push(value);
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
            "key" => self.key(text(doc, "name"), token),
            "integer" => {
                let name = text(doc, "name");
                self.again(part(name), |maker| maker.number(name, token).to_string().into_bytes());
            }
            _ => {
                let name = text(doc, "name");
                self.again(part(name), |maker| maker.text(name));
            }
        }
    }

    fn key(&mut self, name: &'static str, token: &str) {
        let service = match name {
            "lockkey" | "resource" => "lock",
            _ if token == "LOCKS" => "lock",
            _ if is_service(name) => name,
            _ => self.service,
        };
        let about = self.about.take();
        if about.is_some() || self.rng.percent(8) || !is_service(service) {
            let key = about.unwrap_or_else(|| any_key(self.rng));
            self.args.push(key);
        } else {
            self.again(Some(service), |maker| key_of(maker.rng, service));
        }
    }

    fn number(&mut self, name: &str, token: &str) -> i64 {
        // A chunk of the largest size only costs time.
        let is_seen = matches!(name, "fence" | "epoch" | "ticket" | "id") || (name != "bytes" && self.rng.percent(10));
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
