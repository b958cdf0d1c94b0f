//! One seed: a primary, a replica, and clients that send it whatever there is.

use std::time::Instant;

use super::forgery::{forge_dump, forge_payload};
use super::grammar::{any_command, any_key, key_of, service_in, service_of, Args, Maker, Seen, Story, SERVICES};
use super::hostile::spoil;
use super::journal::{Journal, Totals};
use super::prng::Prng;
use super::tour::{self, Bound};
use super::verdict;
use crate::harness::*;

const CLIENTS: usize = 4;
const STEPS_IN_BATCH: u64 = 120;
/// Every so many batches the data sets are compared, before and after a reload.
const BATCHES_TO_COMPARISON: u64 = 4;
const PAYLOADS_KEPT: usize = 200;
/// Values that settings are given; those that fit none are refused.
const SETTINGS: &[&str] =
    &["0", "1", "2", "10", "1000", "-1", "9223372036854775807", "yes", "no", "full", "debug", "basic", "all", "off"];

/// A connection, and the command that it waits for.
struct Caller {
    client: Client,
    waits_for: Option<Args>,
}

pub struct Run {
    rng: Prng,
    journal: Journal,
    seen: Seen,
    /// That of the command that was made last.
    story: Story,
    callers: Vec<Caller>,
    tap: ReplicationTap,
    /// `LTMC.APPLY` as replicas got it: key, frame, blobs.
    payloads: Vec<Args>,
    settings: Vec<Args>,
    replica: Server,
    server: Server,
}

impl Run {
    pub fn start(seed: u64, spec: Builder) -> Self {
        // The tap never says that it lives.
        let server = spec.durable().arg("rdbcompression", "no").arg("repl-timeout", 3600).start();
        let replica = server.replica();
        let caller = |client| Caller { client, waits_for: None };
        let names = server.run("CONFIG GET ltmc.*");
        let settings =
            names.pairs().into_iter().map(|(name, value)| vec![name.bytes().to_vec(), value.bytes().to_vec()]);
        Self {
            rng: Prng::new(seed),
            journal: Journal::new(seed),
            seen: Seen::default(),
            story: Story::new(),
            callers: server.clients(CLIENTS).into_iter().map(caller).collect(),
            tap: ReplicationTap::attach(&server),
            payloads: Vec::new(),
            // What is written to a file of that name is no matter of input.
            settings: settings.filter(|pair| pair[0] != b"ltmc.audit-file").collect(),
            replica,
            server,
        }
    }

    /// Runs so many batches, and fewer if `is_over` says so.
    pub fn batches(mut self, count: u64, mut is_over: impl FnMut() -> bool) -> Totals {
        self.tour();
        for batch in 1..=count {
            (0..STEPS_IN_BATCH).for_each(|_| self.step());
            self.settle();
            verdict::check(&self.server);
            let is_last = batch == count || is_over();
            if is_last || batch % BATCHES_TO_COMPARISON == 0 {
                self.compare();
            }
            if is_last {
                break;
            }
        }
        let Self { mut journal, server, .. } = self;
        verdict::check_end(server);
        std::mem::take(&mut journal.totals)
    }

    /// Every command succeeds once.
    pub fn tour(&mut self) {
        let mut bound = Bound::default();
        for line in tour::LINES {
            let (names, command) = tour::parts(line);
            if command.contains("$payload") {
                bound.bind("payload", self.lock_payload());
            }
            let args = bound.args(command).unwrap_or_else(|| panic!("nothing is bound for {line}"));
            self.journal.note(0, &args);
            let client = &mut self.callers[0].client;
            client.send(&args);
            let reply = verdict::reply_in_time(client, &args);
            assert!(!reply.is_error() && !reply.is_nil(), "{command}: {reply:?}");
            verdict::check_reply(&args, &reply);
            self.seen.learn(&reply);
            assert!(names.is_none_or(|names| bound.take(names, &reply)), "{command}: {reply:?}");
        }
        self.keep_payloads();
        verdict::check(&self.server);
    }

    /// The part of the tour that is about one service, with commands left out and others put in
    /// between: what needs several steps is rare otherwise.
    fn scene(&mut self, at: usize) {
        let (service, _) = *self.rng.pick(&SERVICES);
        let key = format!("{{f}}:{service}:0");
        if self.rng.percent(60) {
            self.ask_words(at, &[b"UNLINK", key.as_bytes()]);
        }
        let mut bound = Bound::default();
        for line in tour::LINES.iter().filter(|line| line.contains(&format!(" {key}"))) {
            let (names, command) = tour::parts(line);
            let Some(args) = bound.args(command).filter(|_| !self.rng.percent(10)) else { continue };
            if self.callers[at].waits_for.is_some() {
                return;
            }
            let reply = self.ask(at, args);
            if let Some(names) = names {
                bound.take(names, &reply);
            }
            if self.rng.percent(10) && self.callers[at].waits_for.is_none() {
                let other = self.command(Some((service, key.as_bytes())));
                self.ask(at, other);
            }
        }
    }

    /// What a replica gets when somebody locks `{f}:lock:1`, which is free again.
    fn lock_payload(&mut self) -> Vec<u8> {
        self.keep_payloads();
        self.server.cmd(&["LTMC.LOCK", "{f}:lock:1", "a0", "PX", "600000"]).int();
        self.keep_payloads();
        self.server.cmd(&["DEL", "{f}:lock:1"]).int();
        self.payloads.last().expect("a payload")[1].clone()
    }

    fn step(&mut self) {
        self.journal.step += 1;
        let at = self.rng.below(CLIENTS as u64) as usize;
        if !self.is_free(at) {
            return;
        }
        match self.rng.below(100) {
            0..2 => self.scene(at),
            2..54 => {
                let args = self.command(None);
                self.ask(at, args);
            }
            54..70 => {
                let args = self.spoilt();
                self.ask(at, args);
            }
            70..80 => self.restore(at),
            80..86 => self.apply(at),
            86..90 => self.transaction(at),
            90..93 => self.script(at),
            93 => self.wake(),
            94..96 => self.set(at),
            _ => {
                let args = self.native();
                self.ask(at, args);
            }
        }
    }

    /// A well formed command, at times behind a guard.
    fn command(&mut self, about: Option<(&str, &[u8])>) -> Args {
        let before = self.seen.story(&mut self.rng);
        let goes_on = before.and_then(service_in).filter(|_| self.rng.percent(70));
        let any = any_command(&mut self.rng, about.map(|(service, _)| service).or(goes_on));
        let is_guarded = about.is_none() && self.rng.percent(4);
        let command = if is_guarded { &reference()["LTMC.GUARD"] } else { any };
        let mut maker = Maker::new(&mut self.rng, &self.seen, before);
        maker.about = about.map(|(_, key)| key.to_vec());
        let (mut args, story) = maker.make(command);
        if command["wraps"] == true {
            args.truncate(3);
            let inner = any_command(&mut self.rng, None);
            args.extend(Maker::new(&mut self.rng, &self.seen, before).make(inner).0);
        }
        // Who only reads leaves nothing to go on from.
        let writes = command["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "write"));
        self.story = if writes { story } else { Story::new() };
        args
    }

    fn spoilt(&mut self) -> Args {
        let mut args = self.command(None);
        spoil(&mut self.rng, &mut args);
        self.journal.totals.spoilt += 1;
        args
    }

    /// A command of the server itself on keys of ours.
    fn native(&mut self) -> Args {
        let (key, other) = (any_key(&mut self.rng), any_key(&mut self.rng));
        let with = |words: &[&str], keys: &[&[u8]], rest: &[&str]| -> Args {
            let bytes = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Args>();
            [bytes(words), keys.iter().map(|key| key.to_vec()).collect(), bytes(rest)].concat()
        };
        match self.rng.below(25) {
            0 => with(&["FLUSHALL"], &[], &[]),
            1 => with(&["SWAPDB", "0", "1"], &[], &[]),
            2..4 => with(&["RENAME"], &[&key, &other], &[]),
            4..7 => with(&["COPY"], &[&key, &other], &["REPLACE"]),
            7 => with(&["COPY"], &[&key, &key], &["DB", "1"]),
            8 => with(&["UNLINK"], &[&key], &[]),
            9 => with(&["DEL"], &[&key, &other], &[]),
            10..12 => with(&["PEXPIRE"], &[&key], &["30"]),
            12 => with(&["PEXPIREAT"], &[&key], &["9223372036854775000"]),
            13 => with(&["PERSIST"], &[&key], &[]),
            14 => with(&["MOVE"], &[&key], &["1"]),
            15 => with(&["SET"], &[&key], &["text"]),
            16 => with(&["MEMORY", "USAGE"], &[&key], &[]),
            17 => with(&["DEBUG", "DIGEST-VALUE"], &[&key], &[]),
            18 => with(&["SCAN", "0"], &[], &[]),
            19 => with(&["DUMP"], &[&key], &[]),
            20 => with(&["TOUCH"], &[&key], &[]),
            21 => with(&["OBJECT", "ENCODING"], &[&key], &[]),
            22 => with(&["COMMAND", "GETKEYS"], &[], &["LTMC.MLOCK", "a", "2", "k", "k"]),
            23 => with(&["SELECT"], &[], &[if self.rng.percent(30) { "1" } else { "0" }]),
            _ => with(&["LTMC.REPAIR"], &[&key], &[]),
        }
    }

    /// Whether a connection waits for nothing any more.
    fn is_free(&mut self, at: usize) -> bool {
        let caller = &mut self.callers[at];
        if caller.waits_for.is_some() {
            let Some(reply) = caller.client.recv_within(1) else { return false };
            let args = caller.waits_for.take().unwrap_or_default();
            verdict::check_reply(&args, &reply);
            self.seen.learn(&reply);
        }
        true
    }

    /// Sends a command and takes its reply, unless it is one that may wait.
    fn ask(&mut self, at: usize, args: Args) -> Reply {
        let may_wait = args.iter().any(|arg| arg.eq_ignore_ascii_case(b"BLOCK"));
        self.journal.note(at, &args);
        let started = Instant::now();
        let client = &mut self.callers[at].client;
        client.send(&args);
        let reply = if may_wait { client.recv_within(5) } else { Some(verdict::reply_in_time(client, &args)) };
        let Some(reply) = reply else {
            self.journal.totals.waits += 1;
            self.callers[at].waits_for = Some(args);
            return Reply::Nil;
        };
        self.journal.took(&args, &reply, started.elapsed());
        let story = std::mem::take(&mut self.story);
        let did_something = !reply.is_error() && !reply.is_nil() && reply != Reply::Int(0);
        if did_something && !story.is_empty() {
            self.seen.tell(story, &reply);
        }
        verdict::check_reply(&args, &reply);
        self.seen.learn(&reply);
        reply
    }

    fn ask_words(&mut self, at: usize, words: &[&[u8]]) -> Reply {
        self.ask(at, words.iter().map(|word| word.to_vec()).collect())
    }

    /// A dump of a value is changed and restored. What is taken is used.
    fn restore(&mut self, at: usize) {
        let Reply::Bulk(from) = self.ask_words(at, &[b"RANDOMKEY"]) else { return };
        let Reply::Bulk(dump) = self.ask_words(at, &[b"DUMP", &from]) else { return };
        let kind = self.ask_words(at, &[b"TYPE", &from]);
        let Some(service) = service_of(kind.text()) else { return };
        let to = key_of(&mut self.rng, service);
        let forged = forge_dump(&mut self.rng, &dump);
        let ttl: &[u8] = if self.rng.percent(20) { b"60000" } else { b"0" };
        self.journal.totals.restores += 1;
        if self.ask_words(at, &[b"RESTORE", &to, ttl, &forged, b"REPLACE"]).is_error() {
            return;
        }
        self.journal.totals.restores_taken += 1;
        self.use_it(at, service, &to);
    }

    /// A payload as replicas get it is changed and applied, or explained.
    fn apply(&mut self, at: usize) {
        if self.payloads.is_empty() {
            return;
        }
        let payload = self.rng.pick(&self.payloads).clone();
        let forged = forge_payload(&mut self.rng, &payload[1..]);
        if self.rng.percent(20) {
            self.ask(at, [&[b"LTMC.EXPLAIN".to_vec()], &forged[..]].concat());
            return;
        }
        self.journal.totals.applies += 1;
        let args = [&[b"LTMC.APPLY".to_vec(), payload[0].clone()], &forged[..]].concat();
        if !self.ask(at, args).is_error() {
            self.journal.totals.applies_taken += 1;
            let kind = self.ask_words(at, &[b"TYPE", &payload[0]]);
            if let Some(service) = service_of(kind.text()) {
                self.use_it(at, service, &payload[0]);
            }
        }
    }

    fn use_it(&mut self, at: usize, service: &str, key: &[u8]) {
        for _ in 0..5 {
            if self.callers[at].waits_for.is_none() && reference().values().any(|command| command["service"] == service)
            {
                let args = self.command(Some((service, key)));
                self.ask(at, args);
            }
        }
    }

    fn transaction(&mut self, at: usize) {
        self.journal.totals.transactions += 1;
        self.ask_words(at, &[b"MULTI"]);
        for _ in 0..1 + self.rng.below(6) {
            let args = match self.rng.below(10) {
                0 => self.native(),
                1..3 => self.spoilt(),
                _ => self.command(None),
            };
            self.journal.note(at, &args);
            let client = &mut self.callers[at].client;
            client.send(&args);
            verdict::reply_in_time(client, &args);
        }
        let end: &[u8] = if self.rng.percent(85) { b"EXEC" } else { b"DISCARD" };
        self.ask_words(at, &[end]);
    }

    fn script(&mut self, at: usize) {
        self.journal.totals.scripts += 1;
        let args = if self.rng.percent(30) { self.spoilt() } else { self.command(None) };
        let head = ["EVAL", "return redis.pcall(unpack(ARGV))", "0"].map(|word| word.as_bytes().to_vec());
        let args = [&head[..], &args].concat();
        self.journal.note(at, &args);
        let client = &mut self.callers[at].client;
        client.send(&args);
        verdict::check_reply(&args, &verdict::reply_in_time(client, &args));
    }

    fn set(&mut self, at: usize) {
        let name = self.rng.pick(&self.settings)[0].clone();
        let value = self.rng.pick(SETTINGS).as_bytes();
        self.ask_words(at, &[b"CONFIG", b"SET", &name, value]);
    }

    /// Ends one of the waits, in one of three ways.
    fn wake(&mut self) {
        let waiting: Vec<usize> = (0..CLIENTS).filter(|at| self.callers[*at].waits_for.is_some()).collect();
        if waiting.is_empty() {
            return;
        }
        let at = *self.rng.pick(&waiting);
        self.end_wait(at);
    }

    fn end_wait(&mut self, at: usize) {
        let id = self.callers[at].client.id().to_string();
        match self.rng.below(3) {
            0 => {
                self.server.cmd(&["CLIENT", "KILL", "ID", &id]);
                self.callers[at] = Caller { client: self.server.client(), waits_for: None };
            }
            way => {
                let how = if way == 1 { "TIMEOUT" } else { "ERROR" };
                self.server.cmd(&["CLIENT", "UNBLOCK", &id, how]);
                let args = self.callers[at].waits_for.take().unwrap_or_default();
                let reply = verdict::reply_in_time(&mut self.callers[at].client, &args);
                verdict::check_reply(&args, &reply);
            }
        }
    }

    /// Nobody waits, the settings are as they were, and the payloads of the batch are known.
    fn settle(&mut self) {
        for at in 0..CLIENTS {
            if !self.is_free(at) {
                self.end_wait(at);
            }
        }
        for pair in &self.settings {
            self.server.cmd(&[b"CONFIG".as_slice(), b"SET", &pair[0], &pair[1]]).ok();
        }
        self.keep_payloads();
    }

    /// The payloads that replicas were sent are known.
    fn keep_payloads(&mut self) {
        let stream = self.tap.take_with_selects(&self.server);
        stream.iter().for_each(|args| self.journal.replicated(args));
        let applied = stream.into_iter().filter(|args| args[0].eq_ignore_ascii_case(b"LTMC.APPLY"));
        self.payloads.extend(applied.map(|args| args[1..].to_vec()));
        let surplus = self.payloads.len().saturating_sub(PAYLOADS_KEPT);
        self.payloads.drain(..surplus);
    }

    /// No TTL ends soon, and nothing is left whose TTL has ended.
    fn end_what_expires(&self) {
        const SOON_MS: i64 = 10_000;
        let mut client = self.server.client();
        for db in ["0", "1"] {
            client.cmd(&["SELECT", db]).ok();
            // KEYS passes over what has expired, SCAN deletes it.
            client.run("SCAN 0 COUNT 100000").array();
            for key in client.run("KEYS *").array() {
                if (0..SOON_MS).contains(&client.cmd(&[b"PTTL", key.bytes()]).int()) {
                    client.cmd(&[b"DEL", key.bytes()]).int();
                }
            }
        }
    }

    /// Primary and replica hold the same, and so does what is loaded from a file.
    fn compare(&mut self) {
        let totals = &mut self.journal.totals;
        (totals.comparisons, totals.reloads) = (totals.comparisons + 1, totals.reloads + 1);
        verdict::check_same("replica", &self.server, &self.replica);
        let (reloaded, how) = match self.rng.below(3) {
            0 => (&self.server, "RELOAD"),
            1 => (&self.server, "LOADAOF"),
            _ => (&self.replica, "RELOAD"),
        };
        // A primary that loads an RDB drops what has expired meanwhile, and tells nobody.
        if how == "RELOAD" {
            self.end_what_expires();
        }
        reloaded.cmd(&["DEBUG", how]).ok();
        verdict::check_same(&format!("DEBUG {how}"), &self.server, &self.replica);
        verdict::check(&self.server);
        verdict::check(&self.replica);
    }
}
