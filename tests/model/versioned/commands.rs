//! Random commands, what the naive model makes of them, and their answers.

use super::json;
use super::naive::{merged, Fields, Life, State, Thing};
use super::world::{is_session, Answer, World};
use ltmc::command::reply::Reply;
use ltmc::domain::Code;
use serde_json::{json, Value};
use std::collections::BTreeSet;

/// Words of a command.
pub fn words(parts: &[&str]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.as_bytes().to_vec()).collect()
}

/// An option with its value, if there is one.
pub fn option(name: &str, value: &str) -> Vec<Vec<u8>> {
    if value.is_empty() {
        Vec::new()
    } else {
        words(&[name, value])
    }
}

pub const AGENTS: [&str; 6] = ["a0", "a1", "a2", "a3", "a4", "a5 \u{fc}\""];
pub const FIELDS: [&str; 9] = ["f0", "f1", "f2", "f3", "px", "IFVERSION", "n/a", "\u{fc}", "f4"];
const VALUES: [&[u8]; 8] = [b"", b"1", b"{\"a\":{\"b\":1}}", b"[1,2]", b"\xff\0", b"text", b"null", b"\"t\""];

impl World {
    /// The name of the command for a key.
    pub fn verb(&self, key: &str, session: &str, context: &str) -> String {
        if is_session(key) {
            format!("LTMC.SESSION.{session}")
        } else {
            format!("LTMC.CTX.{context}")
        }
    }

    pub fn missing(key: &str) -> Answer {
        Self::refusal(if is_session(key) { Code::NoSession } else { Code::NoContext })
    }

    pub fn word(text: impl ToString) -> Vec<u8> {
        text.to_string().into_bytes()
    }

    pub fn pick(&mut self, of: &[&str]) -> String {
        self.rng.pick(of).to_string()
    }

    /// The answer is what it should be. Of refusals the code is compared.
    pub fn same(real: &Answer, expected: &Answer) {
        match (real, expected) {
            (Err(real), Err(expected)) => assert_eq!(real.code, expected.code, "{real}"),
            _ => assert_eq!(real, expected),
        }
    }

    /// `IFVERSION`, and whether it is right.
    pub fn expected(&mut self, key: &str) -> (Vec<Vec<u8>>, Option<u64>) {
        let current = self.live(key).map_or(0, |thing| thing.version);
        let version = match self.rng.below(10) {
            0..=5 => return (Vec::new(), None),
            6 | 7 => current,
            8 => self.rng.below(current + 2),
            _ => current.saturating_sub(self.rng.below(8)),
        };
        (vec![Self::word("ifversion"), Self::word(version)], Some(version))
    }

    /// A refusal because of another version names what has changed.
    pub fn check_conflict(&self, key: &str, version: u64, real: &Answer) {
        let thing = self.live(key);
        let current = thing.map_or(0, |thing| thing.version);
        let since = thing.and_then(|thing| thing.changed_since(version));
        let since = since.map_or(String::new(), |since| format!("; changed since: {since}"));
        let text = format!("version {version} is not current, the current one is {current}{since}");
        let error = real.as_ref().expect_err("another version");
        // A restore skips what came and went meanwhile, and so do the named changes.
        let (given, places) = error.text.split_once("; changed since: ").unwrap_or((&error.text, ""));
        let (expected, all) = text.split_once("; changed since: ").unwrap_or((&text, ""));
        assert_eq!((error.code, given), (Code::Conflict, expected));
        let is_known = |place: &str| all.split(", ").any(|known| known == place);
        // A restore of the current state has changed nothing.
        let are_known = places.is_empty() || places.split(", ").all(is_known);
        assert!(are_known || all.ends_with(", ..."), "{places} of {all}");
    }

    pub fn command(&mut self) {
        let key = self.key();
        match self.rng.below(100) {
            0..=7 => self.create(&key),
            8..=44 if is_session(&key) => self.set(&key),
            8..=44 => self.update(&key),
            45..=49 if is_session(&key) => self.delete_fields(&key),
            45..=49 => self.generate(&key),
            50..=58 => self.checkpoint(&key),
            59..=65 => self.restore(&key),
            66..=69 => self.fork(&key),
            70..=74 => self.prune(&key),
            75..=80 => self.join(&key),
            81..=83 => self.leave(&key),
            _ if !is_session(&key) => self.update(&key),
            84..=86 => self.touch(&key),
            87..=90 => self.status(&key),
            91..=96 => self.own(&key),
            _ => self.end_command(&key),
        }
    }

    fn life(&mut self, has_max: bool) -> (Vec<Vec<u8>>, Life) {
        let (at, mut list) = (self.now(), Vec::new());
        let ttl = if self.rng.percent(50) { Some(*self.rng.pick(&[500, 3000, 60_000])) } else { None };
        match ttl {
            Some(ttl) if ttl % 1000 == 0 && self.rng.percent(50) => {
                list.extend(words(&["EX", &(ttl / 1000).to_string()]))
            }
            Some(ttl) => list.extend(words(&["PX", &ttl.to_string()])),
            None => {}
        }
        let sliding = ttl.is_some() && self.rng.percent(50);
        list.extend(words(if sliding { &["SLIDING"] } else { &[] }));
        let max = (has_max && self.rng.percent(20)).then(|| 1 + self.rng.below(20_000));
        max.iter().for_each(|max| list.extend(words(&["MAXLIFE", &max.to_string()])));
        (list, Life::new(at, ttl, sliding, max))
    }

    /// Creates a new thing under a key. A terminated one goes, and its log stays.
    pub fn begin(&mut self, key: &str, mut new: Thing) {
        let at = self.now();
        self.bury_one(key);
        if let Some(old) = self.things.remove(key) {
            (new.told, new.revision, new.log, new.is_copy) = (old.told, old.revision, old.log, old.is_copy);
        }
        new.tell("created", at, json!({"by": new.owner, "version": new.version}));
        self.things.insert(key.into(), new);
        self.happened(key);
    }

    fn create(&mut self, key: &str) {
        let at = self.now();
        let mut argv = vec![Self::word(self.verb(key, "CREATE", "CREATE")), Self::word(key)];
        let (list, life) = self.life(is_session(key));
        argv.extend(list);
        let meta = self.pick(&["", "{\"tags\":[\"t0\"]}", "{\"tags\":[\"t0\",\"t1\"],\"weights\":{\"/a\":5}}"]);
        argv.extend(option("META", &meta));
        let (mut owner, mut agents) = (String::new(), BTreeSet::new());
        let first = json::object(&mut self.rng, 3, self.nulls);
        let text = Value::Object(first.clone()).to_string();
        let (nulls, is_empty) = (self.nulls, self.rng.percent(30));
        let state = if is_session(key) {
            agents = (0..self.rng.below(6)).map(|_| self.rng.pick(&AGENTS).to_string()).collect();
            argv.extend(words(&["PARTICIPANTS", &agents.len().to_string()]));
            argv.extend(agents.iter().map(Self::word));
            let raw = |value: &Value| value.as_str().map_or(value.to_string(), str::to_string).into_bytes();
            let fields = first.iter().filter(|(name, _)| !name.is_empty());
            let fields: Fields = fields.map(|(name, value)| (name.clone().into_bytes(), raw(value))).collect();
            let given = first.into_iter().filter(|(name, _)| !name.is_empty()).collect();
            argv.extend(words(&["STATE", &Value::Object(given).to_string()]));
            State::Fields(fields)
        } else {
            if self.rng.percent(60) {
                owner = self.pick(&AGENTS);
                argv.extend(words(&["OWNER", &owner]));
                agents.insert(owner.clone());
            }
            let whole = if self.rng.percent(5) { json::value(&mut self.rng, 2, nulls) } else { Value::Object(first) };
            let doc = if is_empty { json!({}) } else { whole };
            argv.extend(option("DOC", &if is_empty { String::new() } else { doc.to_string() }));
            State::Doc(doc)
        };
        let is_large = matches!(&state, State::Doc(doc) if json::bytes(doc) as u64 > self.doc_bytes_max)
            || (!is_session(key) && text.len() as u64 > self.doc_bytes_max);
        let real = self.noted(&argv);
        if is_large && real.is_err() {
            return;
        }
        if self.owes(key) {
            return Self::same(&real, &Self::refusal(Code::BadState));
        }
        if agents.len() > 4 {
            return Self::same(&real, &Self::refusal(Code::Limit));
        }
        if self.live(key).is_some_and(|thing| thing.status != "terminated") {
            return Self::same(&real, &Self::refusal(Code::Conflict));
        }
        assert_eq!(real, Ok(Reply::Integer(1)));
        let mut thing = Thing::new(state, 1, at, self.keep);
        (thing.changed.1, thing.owner, thing.meta, thing.life) = (owner.clone(), owner, meta, life);
        thing.participants = agents.into_iter().map(|agent| (agent, (String::new(), at))).collect();
        self.begin(key, thing);
    }

    fn set(&mut self, key: &str) {
        let at = self.now();
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for _ in 0..=self.rng.below(3) {
            pairs.push((self.pick(&FIELDS[..]).into_bytes(), self.rng.pick(&VALUES).to_vec()));
        }
        // Of fields that look like an option, only the first is one.
        let is_word = |name: &[u8]| name == b"px" || name == b"IFVERSION";
        let first = pairs[0].clone();
        pairs.retain(|(name, _)| !is_word(name));
        if is_word(&first.0) {
            pairs.insert(0, first);
        }
        if pairs.is_empty() {
            pairs.push((b"f0".to_vec(), b"1".to_vec()));
        }
        let (version_words, expected) = self.expected(key);
        let ttl = self.rng.percent(10).then(|| 1 + self.rng.below(9_000));
        let mut argv = words(&["LTMC.SESSION.SET", key]);
        pairs.iter().for_each(|(name, value)| argv.extend([name.clone(), value.clone()]));
        argv.extend(version_words);
        ttl.iter().for_each(|ttl| argv.extend(words(&["px", &ttl.to_string()])));
        let is_full = self.live(key).is_some() && self.is_full(key);
        let real = self.noted(&argv);
        let known = self.live(key);
        let current = known.map_or(0, |thing| thing.version);
        let mut fields = known.map_or_else(Fields::new, |thing| thing.fields().clone());
        fields.extend(pairs.iter().cloned());
        if known.is_some_and(|thing| thing.status == "terminated") {
            return Self::same(&real, &Self::refusal(Code::BadState));
        }
        if let Some(version) = expected.filter(|version| *version != current) {
            return self.check_conflict(key, version, &real);
        }
        if known.is_some_and(|thing| *thing.fields() == fields) {
            assert_eq!(real, Ok(Reply::number(current)), "nothing changes");
            return match ttl {
                Some(_) => self.thing(key).life.renew(at, ttl),
                None => self.thing(key).used(at),
            };
        }
        if is_full || fields.len() > 12 {
            return Self::same(&real, &Self::refusal(Code::Limit));
        }
        if self.owes(key) {
            return Self::same(&real, &Self::refusal(Code::BadState));
        }
        assert_eq!(real, Ok(Reply::number(current + 1)));
        let differs = |name: &Vec<u8>| known.is_none_or(|thing| thing.fields().get(name) != fields.get(name));
        let names: BTreeSet<String> = pairs
            .iter()
            .filter(|(name, _)| differs(name))
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect();
        if current == 0 {
            let mut thing = Thing::new(State::Fields(fields), 1, at, self.keep);
            (thing.stays, thing.life) = (false, Life::new(at, ttl, false, None));
            return self.begin(key, thing);
        }
        self.change(key, State::Fields(fields), "", names.clone(), json!({"set": names}));
        if ttl.is_some() {
            self.thing(key).life.renew(at, ttl);
        }
    }

    /// A write has changed nothing.
    pub fn used(&mut self, key: &str) {
        let at = self.now();
        self.thing(key).used(at);
    }

    /// A new version.
    fn change(&mut self, key: &str, state: State, by: &str, places: BTreeSet<String>, told: Value) {
        let at = self.now();
        let thing = self.thing(key);
        thing.new_version(state, at, by, places);
        let mut told = told;
        told["by"] = json!(by);
        told["version"] = json!(thing.version);
        thing.tell("changed", at, told);
        self.happened(key);
        if self.things.contains_key(key) {
            self.adopt(key, None);
        }
    }

    fn delete_fields(&mut self, key: &str) {
        let names: BTreeSet<String> = (0..=self.rng.below(3)).map(|_| self.rng.pick(&FIELDS).to_string()).collect();
        let mut argv = words(&["LTMC.SESSION.DEL", key]);
        argv.extend(names.iter().map(Self::word));
        let is_full = self.live(key).is_some() && self.is_full(key);
        let real = self.noted(&argv);
        let Some(thing) = self.live(key) else { return assert_eq!(real, Ok(Reply::Integer(0))) };
        if thing.status == "terminated" {
            return Self::same(&real, &Self::refusal(Code::BadState));
        }
        let mut fields = thing.fields().clone();
        let gone: BTreeSet<String> =
            names.into_iter().filter(|name| fields.remove(name.as_bytes()).is_some()).collect();
        if is_full && !gone.is_empty() {
            return Self::same(&real, &Self::refusal(Code::Limit));
        }
        assert_eq!(real, Ok(Reply::number(gone.len() as u64)));
        if gone.is_empty() {
            return self.used(key);
        }
        self.change(key, State::Fields(fields), "", gone.clone(), json!({"deleted": gone}));
    }

    fn update(&mut self, key: &str) {
        let agent = self.pick(&AGENTS);
        let (version_words, expected) = self.expected(key);
        let before = self.live(key).map_or(json!({}), |thing| thing.doc().clone());
        let (mut ops, mut now) = (Vec::new(), before.clone());
        for _ in 0..=self.rng.below(3) {
            let op = json::op(&mut self.rng, &now, self.nulls);
            now = json::all(&now, std::slice::from_ref(&op), usize::MAX, 40).unwrap_or(now);
            ops.push(op);
        }
        let mut argv = words(&["LTMC.CTX.UPDATE", key, &agent]);
        for op in &ops {
            argv.extend(match op {
                json::Op::Merge(value) => words(&["merge", &value.to_string()]),
                json::Op::Patch(value) => words(&["PATCH", &value.to_string()]),
                json::Op::Set(path, value) => words(&["SET", path, &value.to_string()]),
                json::Op::Del(path) => words(&["DEL", path]),
                json::Op::Append(path, value) => words(&["APPEND", path, &value.to_string()]),
                json::Op::IncrBy(path, by) => words(&["INCRBY", path, &by.to_string()]),
                json::Op::Replace(value) => words(&["REPLACE", &value.to_string()]),
            });
        }
        argv.extend(version_words);
        let is_long = argv.iter().any(|word| word.len() as u64 > self.doc_bytes_max);
        let is_full = self.live(key).is_some() && self.is_full(key);
        let real = self.noted(&argv);
        if is_long {
            return assert!(real.is_err());
        }
        let known = self.live(key).map(|thing| thing.version);
        if known.is_none() && expected != Some(0) {
            return Self::same(&real, &Self::missing(key));
        }
        if let Some(version) = expected.filter(|version| Some(*version) != known && known.is_some()) {
            return self.check_conflict(key, version, &real);
        }
        let after = match json::all(&before, &ops, self.doc_bytes_max as usize, 40) {
            Ok(after) => after,
            Err(failure) => {
                let error = real.expect_err("it cannot be");
                assert_eq!(error.code == Code::Conflict, failure == json::Failure::Conflict, "{error}");
                return;
            }
        };
        let Some(version) = known else {
            assert_eq!(real, Ok(Reply::Integer(1)), "it makes the context");
            let mut thing = Thing::new(State::Doc(after), 1, self.now(), self.keep);
            (thing.owner, thing.changed.1) = (agent.clone(), agent);
            return self.begin(key, thing);
        };
        if after == before {
            assert_eq!(real, Ok(Reply::number(version)), "nothing changes");
            return self.used(key);
        }
        if is_full {
            return Self::same(&real, &Self::refusal(Code::Limit));
        }
        assert_eq!(real, Ok(Reply::number(version + 1)));
        // Watchers are told where.
        self.change(key, State::Doc(after), &agent, BTreeSet::new(), json!({"edits": null}));
    }

    fn generate(&mut self, dest: &str) {
        let mut sources: Vec<String> = (0..=self.rng.below(3)).map(|_| self.key()).collect();
        let mut known = BTreeSet::new();
        sources.retain(|key| known.insert(key.clone()));
        let tag = self.rng.percent(30).then(|| self.pick(&["t0", "t1"]));
        let agent = if self.rng.percent(50) { self.pick(&AGENTS) } else { Default::default() };
        let mut argv = words(&["LTMC.CTX.GENERATE", dest, &sources.len().to_string()]);
        argv.extend(sources.iter().map(Self::word));
        tag.iter().for_each(|tag| argv.extend(words(&["TAGS", "1", tag])));
        argv.extend(option("FOR", &agent));
        let is_full = self.live(dest).is_some() && self.is_full(dest);
        let real = self.noted(&argv);
        if let Some(gone) = sources.iter().find(|key| self.live(key).is_none()) {
            // Whether an ended session is still there as one depends on the expiry of the keys.
            let code = real.expect_err("a source is missing").code;
            return assert!(code == Code::NoContext || (is_session(gone) && code == Code::NoSession));
        }
        let has_tag = |thing: &Thing| tag.as_ref().is_none_or(|tag| thing.meta.contains(&format!("\"{tag}\"")));
        let things = sources.iter().map(|key| &self.things[key]).filter(|thing| has_tag(thing));
        let things: Vec<(Value, &Thing)> = things.map(|thing| (thing.as_source(), thing)).collect();
        if things.is_empty() {
            return Self::same(&real, &Self::refusal(Code::Err));
        }
        let doc = merged("", &things).expect("a source");
        let known = self.live(dest);
        if let Some(version) = known.filter(|thing| *thing.doc() == doc).map(|thing| thing.version) {
            assert_eq!(real, Ok(Reply::number(version)), "nothing changes");
            return self.used(dest);
        }
        if is_full || json::bytes(&doc) as u64 > self.doc_bytes_max || json::depth(&doc) > 40 {
            return Self::same(&real, &Self::refusal(Code::Limit));
        }
        assert_eq!(real, Ok(Reply::number(known.map_or(0, |thing| thing.version) + 1)), "{doc}");
        if known.is_some() {
            return self.change(dest, State::Doc(doc), &agent, BTreeSet::new(), json!({"edits": null}));
        }
        let mut thing = Thing::new(State::Doc(doc), 1, self.now(), self.keep);
        (thing.owner, thing.changed.1) = (agent.clone(), agent);
        self.begin(dest, thing);
    }
}
