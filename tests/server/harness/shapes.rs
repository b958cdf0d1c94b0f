//! Every reply of LTMC that a test sees is checked against the shape that the command table gives
//! it. The shapes come from `reference.json`, which is made from the table (`make docs`).
//!
//! A connection is followed command by command, MULTI and EXEC included. It is no longer followed
//! once there is not one reply for each command: after raw bytes of a test, pub/sub in RESP2,
//! MONITOR, CLIENT REPLY and replication. Replies within scripts, and those to other clients, are
//! not seen: redis-cli, the crate `redis`, and sockets of a bench.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;

use serde_json::Value;

use super::reply::Reply;

/// The commands by their names.
pub fn reference() -> &'static BTreeMap<String, Value> {
    static REFERENCE: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let text = include_str!("../../../src/command/services/reference.json");
        let Ok(Value::Array(commands)) = serde_json::from_str(text) else { panic!("reference.json is no list") };
        commands.into_iter().map(|command| (str_of(&command, "name").to_string(), command)).collect()
    })
}

/// After them a connection no longer has one reply for each command.
const UNFOLLOWED: [&str; 9] =
    ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR", "SYNC", "PSYNC", "REPLCONF", "QUIT", "UNSUBSCRIBE"];

type Args = Vec<Vec<u8>>;

/// How many arguments are kept: the name, the name of the command that GUARD wraps, and what a
/// message shows.
const ARGS_KEPT: usize = 4;
const BYTES_KEPT: usize = 64;

/// Clients cut `ERR ` off and take a first word in capitals for the error's code.
#[track_caller]
fn check_error(args: &Args, reply: &Reply) {
    let text = reply.error();
    let first = text.strip_prefix("ERR ").and_then(|text| text.split(' ').next()).unwrap_or_default();
    let is_like_a_code = first.len() > 1 && first.bytes().all(|byte| byte.is_ascii_uppercase());
    // GUARD passes on what the command that it runs says.
    let is_ours = name_of(args).starts_with("LTMC.") && name_of(args) != "LTMC.GUARD";
    assert!(!is_ours || !is_like_a_code, "begins like another code: {text}");
}

/// A bench measures the server, not the checks. The tests see the same replies.
const IS_BENCH: bool = matches!(option_env!("CARGO_CRATE_NAME"), Some(name) if matches!(name.as_bytes(), b"bench"));

/// What is known of a connection: the commands whose replies have not come yet.
#[derive(Debug)]
pub(super) struct Follower {
    sent: VecDeque<Args>,
    /// What has been queued since MULTI.
    queued: Option<Vec<Args>>,
    is_resp3: bool,
    is_lost: bool,
}

impl Default for Follower {
    fn default() -> Follower {
        Follower { sent: VecDeque::new(), queued: None, is_resp3: false, is_lost: IS_BENCH }
    }
}

impl Follower {
    /// A command is sent.
    pub(super) fn sends<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let kept = |arg: &[u8]| arg[..arg.len().min(BYTES_KEPT)].to_vec();
        let args: Args = args.iter().take(ARGS_KEPT).map(|arg| kept(arg.as_ref())).collect();
        let name = name_of(&args);
        let is_unfollowed = UNFOLLOWED.contains(&name.as_str())
            || (name == "CLIENT" && args.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"REPLY")));
        if is_unfollowed {
            self.lose();
        } else if !self.is_lost {
            self.sent.push_back(args);
        }
    }

    /// From now on nothing is known of the connection.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
        self.sent.clear();
    }

    /// A reply comes in. Panics if it does not have the shape of its command.
    #[track_caller]
    pub(super) fn receives(&mut self, reply: &Reply) {
        if self.is_lost {
            return;
        }
        let args = self.sent.pop_front().unwrap_or_else(|| panic!("a reply to no command: {reply:?}"));
        if reply.is_error() {
            check_error(&args, reply);
            // An aborted transaction has ended.
            self.queued = self.queued.take().filter(|_| name_of(&args) != "EXEC");
            return;
        }
        match name_of(&args).as_str() {
            "MULTI" => self.queued = Some(Vec::new()),
            "DISCARD" | "RESET" => {
                self.queued = None;
                self.is_resp3 &= name_of(&args) != "RESET";
            }
            "EXEC" => {
                let queued = self.queued.take().unwrap_or_default();
                if let Reply::Array(replies) = reply {
                    assert_eq!(queued.len(), replies.len(), "EXEC of {} commands: {reply:?}", queued.len());
                    queued.iter().zip(replies).for_each(|(args, reply)| check(args, reply, self.is_resp3));
                }
            }
            _ if matches!((&self.queued, reply), (Some(_), Reply::Simple(text)) if text == "QUEUED") => {
                self.queued.iter_mut().for_each(|queued| queued.push(args.clone()));
            }
            "HELLO" if args.len() > 1 => self.is_resp3 = args[1] == b"3",
            _ => check(&args, reply, self.is_resp3),
        }
    }
}

fn name_of(args: &[Vec<u8>]) -> String {
    args.first().map(|name| String::from_utf8_lossy(name).to_ascii_uppercase()).unwrap_or_default()
}

#[track_caller]
fn check(args: &[Vec<u8>], reply: &Reply, is_resp3: bool) {
    if let Err(wrong) = check_reply(args, reply, is_resp3) {
        panic!("{wrong}");
    }
}

/// Errs with the command, the reply and the shape if they do not fit.
pub fn check_reply<A: AsRef<[u8]>>(args: &[A], reply: &Reply, is_resp3: bool) -> Result<(), String> {
    let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_ref().to_vec()).collect();
    let name = name_of(&args);
    // The last exists in test builds only.
    if reply.is_error() || !name.starts_with("LTMC.") || name == "LTMC.DEBUG" {
        return Ok(());
    }
    let command = reference().get(&name).ok_or_else(|| format!("reference.json has no {name}: run make docs"))?;
    if command["wraps"] == true && args.len() > 3 {
        return check_reply(&args[3..], reply, is_resp3);
    }
    let shape = &command["reply"];
    mismatch(shape, reply, is_resp3).map_or(Ok(()), |what| {
        let shown: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
        Err(format!(
            "the reply of {} has not the shape in its spec: {what}\n  reply: {reply:?}\n  shape: {shape}",
            shown.join(" ")
        ))
    })
}

fn str_of<'a>(shape: &'a Value, name: &str) -> &'a str {
    shape[name].as_str().unwrap_or_else(|| panic!("no text {name:?} in {shape}"))
}

fn list_of<'a>(shape: &'a Value, name: &str) -> &'a [Value] {
    shape[name].as_array().unwrap_or_else(|| panic!("no list {name:?} in {shape}"))
}

/// How a reply differs from a shape; `None` if it does not.
fn mismatch(shape: &Value, reply: &Reply, is_resp3: bool) -> Option<String> {
    if reply.is_nil() {
        let may_be_nil = shape.get("nil").is_some() || shape["type"] == "any";
        let may_one = shape["type"] == "one of"
            && list_of(shape, "cases").iter().any(|case| mismatch(case, reply, is_resp3).is_none());
        return (!may_be_nil && !may_one).then(|| "nil".to_string());
    }
    let kind = str_of(shape, "type");
    let wrong = || Some(format!("{} is no {kind}", short(reply)));
    match (kind, reply) {
        ("any", _) => None,
        ("ok", Reply::Simple(text)) if text == "OK" => None,
        ("integer", Reply::Int(0)) if shape.get("zero").is_some() => None,
        ("integer", Reply::Int(number)) => number_mismatch(str_of(shape, "unit"), *number),
        ("bytes", Reply::Bulk(_)) => None,
        ("text" | "word" | "decimal" | "json", Reply::Bulk(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => text_mismatch(shape, text),
            Err(_) if kind == "json" && VALUES_ARE_FORGED.get() => None,
            Err(_) => Some(format!("{} is not UTF-8", short(reply))),
        },
        ("list", Reply::Array(items)) => {
            items.iter().find_map(|item| within("[]", mismatch(&shape["of"], item, is_resp3)))
        }
        ("tuple", Reply::Array(items)) => {
            let places = list_of(shape, "fields");
            if places.len() != items.len() {
                return Some(format!("{} elements, {} are said", items.len(), places.len()));
            }
            let pairs = places.iter().zip(items);
            pairs.into_iter().find_map(|(place, item)| within(str_of(place, "name"), mismatch(place, item, is_resp3)))
        }
        ("map" | "map of", _) => match pairs_of(reply, is_resp3) {
            None => wrong(),
            Some(pairs) if kind == "map" => fields_mismatch(list_of(shape, "fields"), &pairs, is_resp3),
            Some(pairs) => {
                let of = |(_, value): &(&Reply, &Reply)| within("{}", mismatch(&shape["of"], value, is_resp3));
                let names = pairs.iter().find(|(name, _)| !matches!(name, Reply::Bulk(_)));
                names.map(|(name, _)| format!("{name:?} is no name")).or_else(|| pairs.iter().find_map(of))
            }
        },
        ("one of", _) => {
            let cases = list_of(shape, "cases").iter().map(|case| mismatch(case, reply, is_resp3));
            let all: Option<Vec<String>> = cases.collect();
            all.map(|all| format!("none of the cases: {}", all.join("; ")))
        }
        _ => wrong(),
    }
}

/// A reply in a few words: it may be large, and another case may fit it.
fn short(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) => format!("a list of {}", items.len()),
        Reply::Map(pairs) => format!("a map of {}", pairs.len()),
        Reply::Bulk(bytes) if bytes.len() > 100 => format!("a text of {} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}

fn within(name: &str, wrong: Option<String>) -> Option<String> {
    wrong.map(|wrong| format!("{name}: {wrong}"))
}

/// The pairs of a map, which in RESP2 is a flat list.
fn pairs_of(reply: &Reply, is_resp3: bool) -> Option<Vec<(&Reply, &Reply)>> {
    match reply {
        Reply::Map(_) if is_resp3 => Some(reply.pairs()),
        Reply::Array(items) if !is_resp3 && items.len() % 2 == 0 => Some(reply.pairs()),
        _ => None,
    }
}

fn fields_mismatch(fields: &[Value], pairs: &[(&Reply, &Reply)], is_resp3: bool) -> Option<String> {
    let mut seen: Vec<&str> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let Reply::Bulk(name) = name else { return Some(format!("{name:?} is no name")) };
        let Some(field) = fields.iter().find(|field| str_of(field, "name").as_bytes() == name.as_slice()) else {
            return Some(format!("there is no field {:?}", String::from_utf8_lossy(name)));
        };
        let name = str_of(field, "name");
        if seen.contains(&name) {
            return Some(format!("the field {name:?} is there twice"));
        }
        seen.push(name);
        if let Some(wrong) = mismatch(field, value, is_resp3) {
            return Some(format!("{name}: {wrong}"));
        }
    }
    let is_missing = |field: &&Value| field.get("only").is_none() && !seen.contains(&str_of(field, "name"));
    fields.iter().find(is_missing).map(|field| format!("the field {} is missing", field["name"]))
}

/// Times and fences are at least this large, whatever a test does to the clock. So a duration or a
/// count in their place is noticed.
const LEAST_TIME: i64 = 1_000_000_000_000;

thread_local! {
    static VALUES_ARE_FORGED: Cell<bool> = const { Cell::new(false) };
}

/// From now on this test may see any times and fences, and texts that should be JSON and are not:
/// it makes values that no server would.
pub fn expect_forged_values() {
    VALUES_ARE_FORGED.set(true);
}

fn number_mismatch(unit: &str, number: i64) -> Option<String> {
    let fits = match unit {
        "unix ms" | "fence" if VALUES_ARE_FORGED.get() => true,
        "0 or 1" => (0..=1).contains(&number),
        "percent" => (0..=100).contains(&number),
        "unix ms" | "fence" => number >= LEAST_TIME,
        "unit of the setting" => true,
        _ => number >= 0,
    };
    (!fits).then(|| format!("{number} is no {unit}"))
}

fn text_mismatch(shape: &Value, text: &str) -> Option<String> {
    let fits = match str_of(shape, "type") {
        "word" => list_of(shape, "words").iter().any(|word| word == text),
        "decimal" => text.parse::<f64>().is_ok(),
        // Nothing of it is kept, so depth and size do not matter.
        "json" if VALUES_ARE_FORGED.get() => true,
        "json" => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        _ => true,
    };
    (!fits).then(|| format!("{} is no {shape}", short(&Reply::Bulk(text.as_bytes().to_vec()))))
}
