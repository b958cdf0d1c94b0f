//! Random questions, and what the naive model answers.

use super::check::text;
use super::commands::{words, AGENTS, FIELDS};
use super::json::{self, get, parts};
use super::naive::{covers, State, Thing};
use super::relevance::{built, routed};
use super::world::{is_session, Answer, World};
use ltmc::command::reply::Reply;
use ltmc::domain::Code;
use serde_json::{json, Map, Value};
use std::collections::BTreeSet;

fn bytes(value: &Value) -> Reply {
    Reply::bytes(value.to_string().as_bytes())
}

fn refused(answer: Answer, code: Code) {
    assert_eq!(answer.expect_err("it cannot be").code, code);
}

/// RFC 7396: the patch that makes one value of another; `None` if they are the same.
fn patch_between(then: &Value, now: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (then, now) else {
        return (then != now).then(|| now.clone());
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| match (before.get(name), after.get(name)) {
        (Some(then), Some(now)) => patch_between(then, now),
        (None, now) => now.cloned(),
        (Some(_), None) => Some(Value::Null),
    };
    let patch: Map<String, Value> = names.into_iter().filter_map(|name| Some((name.clone(), change(name)?))).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Whether a watcher of this place is told of an event.
fn concerns(event: &str, place: &str) -> bool {
    let event: Value = serde_json::from_str(event).expect("JSON");
    let place_names = parts(place);
    if let Some(edits) = event["edits"].as_array() {
        return edits.iter().any(|edit| {
            let path = edit["path"].as_str().expect("a path");
            let names = parts(path);
            let index = |name: &String| name.parse::<usize>().ok();
            let moves = names.split_last().is_some_and(|(name, array)| {
                let there = place_names.get(array.len()).filter(|_| place_names.starts_with(array)).and_then(index);
                edit["op"] != "set" && there.zip(index(name)).is_some_and(|(there, at)| there >= at)
            });
            covers(path, place) || covers(place, path) || moves
        });
    }
    let names: Vec<&Value> = ["set", "deleted"].iter().filter_map(|what| event[what].as_array()).flatten().collect();
    names.is_empty() || place_names.first().is_none_or(|first| names.iter().any(|name| *name == first))
}

impl World {
    pub fn read(&mut self) {
        let key = self.key();
        match self.rng.below(10) {
            0 => self.read_nothing_or_all(&key),
            1..=3 if is_session(&key) => self.get_fields(&key),
            1..=3 => self.get_doc(&key),
            4..=5 if !is_session(&key) => self.diff(&key),
            6 if !is_session(&key) => self.build(&key),
            7 if !is_session(&key) => self.route(&key),
            _ => self.watch(),
        }
    }

    /// What shows a whole thing, or that there is none.
    fn read_nothing_or_all(&mut self, key: &str) {
        if self.live(key).is_some() {
            return self.check_shown(key);
        }
        let kind = if is_session(key) { "SESSION" } else { "CTX" };
        let shows = if is_session(key) { "INFO" } else { "GET" };
        assert_eq!(self.run_line(&format!("LTMC.{kind}.{shows} {key}")), Ok(Reply::Nil));
        assert_eq!(self.run_line(&format!("LTMC.{kind}.CHECKPOINTS {key}")), Ok(Reply::Array(Vec::new())));
        if is_session(key) {
            assert_eq!(self.run_line(&format!("LTMC.SESSION.STATUS {key}")), Ok(Reply::Nil));
        }
    }

    fn get_fields(&mut self, key: &str) {
        // In any order, each once.
        let (count, mut names) = (self.rng.below(4) as usize, Vec::new());
        while names.len() < count.min(FIELDS.len()) {
            let name = *self.rng.pick(&FIELDS);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let real = self.noted(&words(&[&["LTMC.SESSION.GET", key], &names[..]].concat()));
        let fields = self.live(key).map(|thing| thing.fields().clone()).unwrap_or_default();
        let value = |name: &&str| fields.get(name.as_bytes()).map_or(Reply::Nil, |value| Reply::bytes(value));
        let expected = match &names[..] {
            [] if self.live(key).is_none() => Reply::Nil,
            [] => Reply::Pairs(fields.iter().map(|(name, value)| (Reply::bytes(name), Reply::bytes(value))).collect()),
            [name] => value(name),
            names => Reply::Array(names.iter().map(value).collect()),
        };
        assert_eq!(real, Ok(expected));
        if let Some(thing) = self.live(key) {
            let status = Reply::text(thing.status);
            assert_eq!(self.run_line(&format!("LTMC.SESSION.STATUS {key}")), Ok(status));
        }
    }

    /// A version that was, is, or will be.
    fn some_version(&mut self, key: &str) -> u64 {
        let current = self.live(key).map_or(1, |thing| thing.version);
        let back = if self.rng.percent(70) { self.rng.below(12) } else { self.rng.below(current + 1) };
        if self.rng.percent(5) {
            current + 1
        } else {
            current.saturating_sub(back)
        }
    }

    fn some_paths(&mut self, key: &str) -> Vec<String> {
        let doc = self.live(key).map_or(json!({}), |thing| thing.doc().clone());
        let mut paths: Vec<String> = (0..=self.rng.below(3)).map(|_| json::path(&mut self.rng, &doc)).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    fn get_doc(&mut self, key: &str) {
        let mut argv = words(&["LTMC.CTX.GET", key]);
        let version = self.rng.percent(60).then(|| self.some_version(key));
        version.iter().for_each(|version| argv.extend(words(&["AT", &version.to_string()])));
        let paths = if self.rng.percent(60) { self.some_paths(key) } else { Vec::new() };
        if !paths.is_empty() {
            argv.extend(words(&["PATH", &paths.len().to_string()]));
            paths.iter().for_each(|path| argv.extend(words(&[path])));
        }
        let real = self.noted(&argv);
        let Some(thing) = self.live(key) else { return assert_eq!(real, Ok(Reply::Nil)) };
        let version = version.unwrap_or(thing.version);
        if !thing.is_kept(version) {
            return refused(real, Code::Err);
        }
        let State::Doc(then) = &thing.versions[&version] else { panic!("no context") };
        let at = |path: &String| Some((path.clone(), get(then, &parts(path))?.clone()));
        let expected =
            if paths.is_empty() { then.clone() } else { Value::Object(paths.iter().filter_map(at).collect()) };
        let Ok(Reply::Map(fields)) = real else { panic!("{real:?}") };
        let shown: Vec<&Reply> = fields.iter().take(2).map(|(_, value)| value).collect();
        assert_eq!(shown, [&Reply::number(version), &bytes(&expected)]);
    }

    fn diff(&mut self, key: &str) {
        let (since, path) = (self.some_version(key), self.some_paths(key).remove(0));
        let path = if self.rng.percent(50) { String::new() } else { path };
        let mut argv = words(&["LTMC.CTX.DIFF", key, &since.to_string()]);
        if !path.is_empty() || self.rng.percent(10) {
            argv.extend(words(&["PATH", &path]));
        }
        let real = self.noted(&argv);
        let Some(thing) = self.live(key) else { return assert_eq!(real, Ok(Reply::Nil)) };
        if !thing.is_kept(since) {
            return refused(real, Code::Err);
        }
        let State::Doc(then) = &thing.versions[&since] else { panic!("no context") };
        let patch = match (get(then, &parts(&path)), get(thing.doc(), &parts(&path))) {
            (Some(then), Some(now)) => patch_between(then, now).unwrap_or(json!({})),
            (None, Some(now)) => now.clone(),
            (Some(_), None) => Value::Null,
            (None, None) => json!({}),
        };
        assert_eq!(real, Ok(bytes(&patch)), "since {then}");
    }

    fn build(&mut self, key: &str) {
        let agent = self.rng.pick(&AGENTS).to_string();
        let budget = self.rng.percent(70).then(|| 1 + self.rng.below(400));
        let paths = if self.rng.percent(40) { self.some_paths(key) } else { Vec::new() };
        let mut argv = words(&["LTMC.CTX.BUILD", key, "FOR", &agent]);
        budget.iter().for_each(|budget| argv.extend(words(&["BUDGET", &budget.to_string()])));
        if !paths.is_empty() {
            argv.extend(words(&["PATH", &paths.len().to_string()]));
            paths.iter().for_each(|path| argv.extend(words(&[path])));
        }
        let real = self.noted(&argv);
        let Some(thing) = self.live(key) else { return assert_eq!(real, Ok(Reply::Nil)) };
        if thing.vague {
            return assert!(real.is_ok());
        }
        let (doc, left_out, count) = built(thing, &agent, budget.map(|budget| budget as usize), &paths);
        let expected = Reply::map([
            ("version", Reply::number(thing.version)),
            ("bytes", Reply::number(doc.to_string().len() as u64)),
            ("left_out_count", Reply::number(count)),
            ("left_out", Reply::Array(left_out.iter().map(|path| Reply::bytes(path.as_bytes())).collect())),
            ("doc", bytes(&doc)),
        ]);
        assert_eq!(real, Ok(expected), "of {}", thing.doc());
    }

    fn route(&mut self, key: &str) {
        let path = self.some_paths(key).remove(0);
        let excluded = if self.rng.percent(40) { *self.rng.pick(&["a0", "a1", "a9"]) } else { "" };
        let mut argv = words(&["LTMC.CTX.ROUTE", key, "r", "PATH", &path]);
        argv.extend(words(if excluded.is_empty() { &[] } else { &["EXCLUDE", "1"] }));
        argv.extend(words(if excluded.is_empty() { &[] } else { std::slice::from_ref(&excluded) }));
        let real = self.noted(&argv);
        let Some(thing) = self.live(key) else { return assert_eq!(real, Ok(Reply::Nil)) };
        assert_eq!(real, Ok(text(routed(thing, &path, excluded).expect("somebody is there"))));
    }

    fn watch(&mut self) {
        let mut keys: Vec<String> = (0..=self.rng.below(3)).map(|_| self.key()).collect();
        keys.sort();
        keys.dedup();
        // It is not known whether an ended thing is still there.
        keys.retain(|key| self.live(key).is_some() || !self.things.contains_key(key));
        if keys.is_empty() {
            return;
        }
        let since: Vec<Option<u64>> = keys.iter().map(|key| self.some_revision(key)).collect();
        let mut argv = words(&["LTMC.WATCH", &keys.len().to_string()]);
        argv.extend(keys.iter().map(|key| key.as_bytes().to_vec()));
        argv.extend(words(&["SINCE"]));
        let shown = since.iter().map(|since| since.map_or("$".into(), |since| since.to_string()));
        argv.extend(shown.map(String::into_bytes));
        let count = self.rng.percent(40).then(|| 1 + self.rng.below(5));
        count.iter().for_each(|count| argv.extend(words(&["COUNT", &count.to_string()])));
        let path = self.rng.percent(40).then(|| {
            let doc = self.live("c0").map_or(json!({"f0": 1}), |thing| thing.doc().clone());
            json::path(&mut self.rng, &doc)
        });
        path.iter().for_each(|path| argv.extend(words(&["PATH", path])));
        let real = self.noted(&argv);
        let told = |(key, since): (&String, &Option<u64>)| {
            let (revision, since, events) = match self.things.get(key) {
                Some(thing) => (thing.revision.expect("it was compared"), *since, events_after(thing, *since)),
                None => (0, *since, if since.unwrap_or(0) == 0 { Ok(&[][..]) } else { Err(0) }),
            };
            let events = match events {
                _ if since.is_none() => Ok(&[][..]),
                events => events,
            };
            match events {
                Err(oldest) => {
                    Reply::Array(vec![Reply::number(revision), Reply::text("COMPACTED"), Reply::number(oldest)])
                }
                Ok(events) => {
                    let fits = |event: &&String| path.as_ref().is_none_or(|path| concerns(event, path));
                    let events = events.iter().filter(fits).take(count.unwrap_or(u64::MAX) as usize);
                    let events = events.map(|event| Reply::bytes(event.as_bytes())).collect();
                    Reply::Array(vec![Reply::number(revision), Reply::Array(events)])
                }
            }
        };
        assert_eq!(real, Ok(Reply::Array(keys.iter().zip(&since).map(told).collect())));
    }

    /// A revision to watch from; `None` is now.
    fn some_revision(&mut self, key: &str) -> Option<u64> {
        let current = self.things.get(key).and_then(|thing| thing.revision).unwrap_or(0);
        match self.rng.below(10) {
            0 => None,
            1..=3 => Some(0),
            4 => Some(current + 1),
            5 => Some(self.rng.below(1000)),
            _ => Some(current.saturating_sub(self.rng.below(20))),
        }
    }
}

/// The events after a revision; else the oldest revision that is known in the life of the key.
fn events_after(thing: &Thing, since: Option<u64>) -> Result<&[String], u64> {
    let revision = thing.revision.expect("it was compared");
    let born = revision - thing.log.len() as u64;
    match since {
        None => Ok(&[]),
        Some(0) if !thing.is_copy => Ok(&thing.log),
        Some(since) if (born..=revision).contains(&since) => Ok(&thing.log[(since - born) as usize..]),
        Some(_) => Err(born + 1),
    }
}
