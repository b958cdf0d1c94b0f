//! Random commands about participants of sessions and contexts, about the resources of sessions,
//! and about how sessions end.

use super::commands::{words, AGENTS};
use super::world::{is_session, Answer, World};
use ltmc::command::reply::Reply;
use ltmc::domain::{Code, Error};
use serde_json::json;
use std::collections::BTreeSet;

fn refused(code: Code) -> Answer {
    Err(Error::new(code, ""))
}

fn same(real: Answer, expected: Answer) {
    let code = |error: Error| error.code;
    assert_eq!(real.map_err(code), expected.map_err(code));
}

impl World {
    /// A live thing, or the refusal.
    fn there(&self, key: &str) -> Option<Code> {
        let missing = if is_session(key) { Code::NoSession } else { Code::NoContext };
        self.live(key).is_none().then_some(missing)
    }

    fn is_done(&self, key: &str) -> bool {
        self.things[key].status == "terminated"
    }

    pub fn join(&mut self, key: &str) {
        let (at, agent) = (self.now(), self.rng.pick(&["a0", "a1", "a2", "a3", "a4"]).to_string());
        let role = self.rng.percent(40).then(|| self.rng.pick(&["", "lead"]).to_string());
        let verb = if is_session(key) { "LTMC.SESSION.JOIN" } else { "LTMC.CTX.JOIN" };
        let mut argv = words(&[verb, key, &agent]);
        role.iter().for_each(|role| argv.extend(words(&["role", role])));
        let real = self.noted(&argv);
        if let Some(code) = self.there(key) {
            return same(real, refused(code));
        }
        if self.is_done(key) {
            return same(real, refused(Code::BadState));
        }
        let known = self.things[key].participants.get(&agent).cloned();
        if known.is_none() && self.things[key].participants.len() >= 4 {
            return same(real, refused(Code::Limit));
        }
        same(real, Ok(Reply::Integer(known.is_none().into())));
        let role = role.or(known.as_ref().map(|known| known.0.clone())).unwrap_or_default();
        if known.as_ref().is_some_and(|known| known.0 == role) {
            return self.used(key);
        }
        let thing = self.thing(key);
        thing.tell("joined", at, json!({"agent": agent, "role": role}));
        thing.participants.insert(agent, (role, known.map_or(at, |known| known.1)));
        self.happened(key);
    }

    pub fn leave(&mut self, key: &str) {
        let (at, agent) = (self.now(), self.rng.pick(&["a0", "a1", "a2", "a3"]).to_string());
        let verb = if is_session(key) { "LTMC.SESSION.LEAVE" } else { "LTMC.CTX.LEAVE" };
        let real = self.noted(&words(&[verb, key, &agent]));
        if self.there(key).is_some() {
            return same(real, Ok(Reply::Integer(0)));
        }
        let was = self.thing(key).participants.remove(&agent).is_some();
        same(real, Ok(Reply::Integer(was.into())));
        if was {
            self.thing(key).tell("left", at, json!({"agent": agent}));
            self.happened(key);
        } else {
            self.used(key);
        }
    }

    pub fn touch(&mut self, key: &str) {
        let (at, ttl) = (self.now(), self.rng.percent(50).then(|| 1 + self.rng.below(10_000)));
        let mut argv = words(&["LTMC.SESSION.TOUCH", key]);
        ttl.iter().for_each(|ttl| argv.extend(words(&["PX", &ttl.to_string()])));
        let real = self.noted(&argv);
        if self.there(key).is_some() {
            return same(real, Ok(Reply::Integer(0)));
        }
        if self.is_done(key) {
            return same(real, refused(Code::BadState));
        }
        same(real, Ok(Reply::Integer(1)));
        self.thing(key).life.renew(at, ttl);
    }

    pub fn status(&mut self, key: &str) {
        let (at, word) =
            (self.now(), *self.rng.pick(&["active", "suspended", "migrating", "recovering", "terminated"]));
        let real = self.noted(&words(&["LTMC.SESSION.STATUS", key, word]));
        if let Some(code) = self.there(key) {
            return same(real, refused(code));
        }
        let now = self.things[key].status;
        let next: &[&str] = match now {
            "active" => &["suspended", "migrating", "terminated"],
            "suspended" => &["active", "migrating", "terminated"],
            "migrating" | "recovering" => &["active", "suspended", "terminated"],
            _ => &[],
        };
        if now != word && !next.contains(&word) {
            return same(real, refused(Code::BadState));
        }
        same(real, Ok(Reply::text(word)));
        if now == word {
            return self.used(key);
        }
        if word == "terminated" {
            return self.end(key, self.grace);
        }
        let thing = self.thing(key);
        thing.status = word;
        thing.tell("status", at, json!({"status": word}));
        self.happened(key);
    }

    pub fn own(&mut self, key: &str) {
        let (at, owns) = (self.now(), self.rng.percent(75));
        let verb = if owns { "LTMC.SESSION.OWN" } else { "LTMC.SESSION.DISOWN" };
        let names = ["l0", "l1", "l2", "other", "s1"];
        let given: Vec<&str> = (0..=self.rng.below(3)).map(|_| *self.rng.pick(&names)).collect();
        let by = if self.rng.percent(40) { *self.rng.pick(&AGENTS) } else { "" };
        let mut argv = [&[verb, key][..], &given].concat();
        if !by.is_empty() {
            argv.extend(["AGENT", by]);
        }
        let real = self.noted(&words(&argv));
        if owns && given.contains(&key) {
            return same(real, refused(Code::Err));
        }
        if let Some(code) = self.there(key) {
            return same(real, if owns { refused(code) } else { Ok(Reply::Integer(0)) });
        }
        if owns && self.is_done(key) {
            return same(real, refused(Code::BadState));
        }
        let known = &self.things[key].resources;
        let given: BTreeSet<String> = given.iter().map(|name| name.to_string()).collect();
        let new = given.iter().filter(|name| !known.contains_key(*name)).count();
        if owns && known.len() + new > 4 {
            return same(real, refused(Code::Limit));
        }
        let is_given = |name: &String| known.get(name).is_some_and(|givers| givers.iter().any(|giver| giver == by));
        let belongs = |name: &String| if owns || !by.is_empty() { is_given(name) } else { known.contains_key(name) };
        let changed: Vec<String> = given.into_iter().filter(|name| belongs(name) != owns).collect();
        same(real, Ok(Reply::number(if owns { new } else { changed.len() } as u64)));
        if changed.is_empty() {
            return self.used(key);
        }
        let thing = self.thing(key);
        for name in &changed {
            let givers = thing.resources.entry(name.clone()).or_default();
            if owns {
                givers.push(by.to_string());
            } else {
                givers.retain(|giver| !by.is_empty() && giver != by);
            }
            if givers.is_empty() {
                thing.resources.remove(name);
            }
        }
        let told = if by.is_empty() { json!({"resources": changed}) } else { json!({"by": by, "resources": changed}) };
        thing.tell(if owns { "owned" } else { "disowned" }, at, told);
        self.happened(key);
    }

    pub fn end_command(&mut self, key: &str) {
        let grace = self.rng.percent(60).then(|| *self.rng.pick(&[0, 500, 30_000]));
        let mut argv = words(&["LTMC.SESSION.END", key]);
        grace.iter().for_each(|grace| argv.extend(words(&["GRACE", &grace.to_string()])));
        let real = self.noted(&argv);
        let ends = self.there(key).is_none() && !self.is_done(key);
        same(real, Ok(Reply::Integer(ends.into())));
        if ends {
            self.end(key, grace.unwrap_or(self.grace));
        }
    }
}
