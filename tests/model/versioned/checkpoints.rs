//! Random commands about checkpoints and forks.

use super::commands::{option, words};
use super::naive::{Checkpoint, Life, Thing};
use super::world::World;
use ltmc::command::reply::Reply;
use ltmc::domain::Code;
use serde_json::json;

impl World {
    pub fn checkpoint(&mut self, key: &str) {
        let (at, name, pinned) = (self.now(), self.pick(&["", "n0", "n1", "7"]), self.rng.percent(20));
        let mut argv = vec![Self::word(self.verb(key, "CHECKPOINT", "CHECKPOINT")), Self::word(key)];
        argv.extend(option("NAME", &name));
        argv.extend(words(if pinned { &["PIN"] } else { &[] }));
        let is_full = self.live(key).is_some() && self.is_full(key);
        let real = self.noted(&argv);
        let Some(thing) = self.live(key) else { return Self::same(&real, &Self::missing(key)) };
        if name.parse::<i64>().is_ok() {
            return Self::same(&real, &Self::refusal(Code::Err));
        }
        if thing.status == "terminated" {
            return Self::same(&real, &Self::refusal(Code::BadState));
        }
        if is_full {
            return Self::same(&real, &Self::refusal(Code::Limit));
        }
        let thing = self.thing(key);
        thing.last_checkpoint += 1;
        let id = thing.last_checkpoint;
        assert_eq!(real, Ok(Reply::number(id)));
        thing.tell("checkpointed", at, json!({"name": name, "checkpoint": id}));
        thing.checkpoints.insert(id, Checkpoint { version: thing.version, name, at, pinned });
        self.happened(key);
        self.adopt(key, Some(id));
    }

    fn some_checkpoint(&mut self, key: &str) -> String {
        let ids: Vec<u64> = self.live(key).map_or(Vec::new(), |thing| thing.checkpoints.keys().copied().collect());
        match self.rng.below(10) {
            0..=6 if !ids.is_empty() => self.rng.pick(&ids).to_string(),
            7 => self.rng.below(9).to_string(),
            _ => self.pick(&["n0", "n1", "7", "", "+1", "01"]),
        }
    }

    pub fn restore(&mut self, key: &str) {
        let (at, checkpoint, (version_words, expected)) = (self.now(), self.some_checkpoint(key), self.expected(key));
        let verb = self.pick(&["RESTORE", "ROLLBACK"]);
        let mut argv = vec![Self::word(self.verb(key, "RESTORE", &verb)), Self::word(key), Self::word(&checkpoint)];
        argv.extend(version_words);
        let is_full = self.live(key).is_some() && self.is_full(key);
        let real = self.noted(&argv);
        let Some(thing) = self.live(key) else { return Self::same(&real, &Self::missing(key)) };
        if let Some(version) = expected.filter(|version| *version != thing.version) {
            return self.check_conflict(key, version, &real);
        }
        let found = thing.find_checkpoint(&checkpoint).filter(|_| !checkpoint.is_empty());
        let Some(id) = found else { return Self::same(&real, &Self::refusal(Code::Err)) };
        if thing.status == "terminated" {
            return Self::same(&real, &Self::refusal(Code::BadState));
        }
        let version = thing.checkpoints[&id].version;
        if thing.versions[&version] == *thing.state() {
            assert_eq!(real, Ok(Reply::number(thing.version)), "nothing changes");
            return self.used(key);
        }
        if is_full {
            return Self::same(&real, &Self::refusal(Code::Limit));
        }
        assert_eq!(real, Ok(Reply::number(thing.version + 1)));
        let (state, places) = (thing.versions[&version].clone(), thing.places_since(version));
        let thing = self.thing(key);
        thing.new_version(state, at, "", places);
        thing.tell("restored", at, json!({"version": thing.version, "checkpoint": id}));
        self.happened(key);
        if self.things.contains_key(key) {
            self.adopt(key, None);
        }
    }

    pub fn fork(&mut self, src: &str) {
        let (at, number) = (self.now(), self.rng.below(3));
        let dst = format!("{}{number}", &src[..1]);
        let mut argv = vec![Self::word(self.verb(src, "FORK", "FORK")), Self::word(src), Self::word(&dst)];
        let checkpoint = self.rng.percent(60).then(|| self.some_checkpoint(src));
        checkpoint.iter().for_each(|checkpoint| argv.extend(words(&["AT", checkpoint])));
        let real = self.noted(&argv);
        if src == dst {
            return Self::same(&real, &Self::refusal(Code::Err));
        }
        let Some(thing) = self.live(src) else { return Self::same(&real, &Self::missing(src)) };
        let version = match &checkpoint {
            None => thing.version,
            Some(checkpoint) => match thing.find_checkpoint(checkpoint).filter(|_| !checkpoint.is_empty()) {
                Some(id) => thing.checkpoints[&id].version,
                None => return Self::same(&real, &Self::refusal(Code::Err)),
            },
        };
        if self.owes(&dst) {
            return Self::same(&real, &Self::refusal(Code::BadState));
        }
        if self.live(&dst).is_some_and(|thing| thing.status != "terminated") {
            return Self::same(&real, &Self::refusal(Code::Conflict));
        }
        assert_eq!(real, Ok(Reply::number(version)));
        let mut fork = Thing::new(thing.versions[&version].clone(), version, at, (thing.versions_max, thing.bytes_max));
        (fork.owner, fork.meta, fork.changed.1) = (thing.owner.clone(), thing.meta.clone(), thing.owner.clone());
        fork.participants =
            thing.participants.iter().map(|(agent, (role, _))| (agent.clone(), (role.clone(), at))).collect();
        let max = thing.life.dies.map(|dies| dies.saturating_sub(thing.created_at));
        fork.life = Life::new(at, thing.life.ttl, thing.life.sliding, max);
        fork.touches = thing.touches.clone();
        fork.vague = thing.vague || fork.touches.values().any(|touch| touch.version > version && touch.restored);
        fork.touches.retain(|_, touch| touch.version <= version);
        self.begin(&dst, fork);
    }

    pub fn prune(&mut self, key: &str) {
        let (at, last) = (self.now(), self.rng.below(6) as usize);
        let age = self.rng.percent(40).then(|| self.rng.below(100_000));
        let dry = self.rng.percent(30);
        let mut argv = vec![Self::word(self.verb(key, "PRUNE", "PRUNE")), Self::word(key)];
        argv.extend(words(&["KEEPLAST", &last.to_string()]));
        age.iter().for_each(|age| argv.extend(words(&["MAXAGE", &age.to_string()])));
        argv.extend(words(if dry { &["DRYRUN"] } else { &[] }));
        let real = self.noted(&argv);
        let Some(thing) = self.live(key) else { return assert_eq!(real, Ok(Reply::Array(Vec::new()))) };
        let loose: Vec<u64> = thing.checkpoints.iter().filter(|(_, one)| !one.pinned).map(|(id, _)| *id).collect();
        let is_old = |id: &u64| age.is_none_or(|age| thing.checkpoints[id].at < at - age);
        let gone = loose[..loose.len().saturating_sub(last)].iter().copied().filter(is_old).collect::<Vec<u64>>();
        assert_eq!(real, Ok(Reply::Array(gone.iter().map(|id| Reply::number(*id)).collect())));
        if !dry && gone.is_empty() {
            return self.used(key);
        }
        if !dry {
            let thing = self.thing(key);
            gone.iter().for_each(|id| drop(thing.checkpoints.remove(id)));
            thing.tell("pruned", at, json!({"checkpoints": gone}));
            self.happened(key);
        }
    }
}
