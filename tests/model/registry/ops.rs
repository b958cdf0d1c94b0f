//! Random commands: what they ask for, and how that is written.

use super::naive::{Filter, Registry, Sort};
use crate::prng::Prng;
use crate::requests::Asked;
use std::collections::BTreeMap;

/// What an agent declares when it registers.
#[derive(Debug, Clone, Default)]
pub struct Introduction {
    pub is_new: bool,
    pub name: Option<String>,
    pub caps: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
    pub meta: Option<String>,
    pub capacity: Option<u64>,
    pub session: Option<String>,
    pub status: Option<&'static str>,
    pub ttl: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub struct Beat {
    pub epoch: Option<u64>,
    pub status: Option<&'static str>,
    pub load: Option<u64>,
    pub health: Option<(&'static str, String)>,
}

/// What a claim asks for.
#[derive(Debug, Clone)]
pub struct ClaimArgs {
    pub filter: Filter,
    pub sort: Sort,
    pub lease: u64,
    pub reference: String,
    pub block: Option<u64>,
    pub request: Option<String>,
}

#[derive(Debug, Clone)]
pub enum Op {
    Register { id: String, introduction: Introduction },
    Deregister { id: String, epoch: Option<u64> },
    Heartbeat { id: String, beat: Beat },
    Get { id: String },
    List { status: Option<&'static str>, page: Option<(usize, usize)> },
    Find { filter: Filter, sort: Sort, limit: Option<usize>, with_info: bool },
    Stats,
    Claim(ClaimArgs),
    Release { fence: u64, is_ok: bool, latency: Option<u64> },
    Watch { more: Vec<(String, Option<u64>)>, since: Option<u64>, count: Option<usize>, block: Option<u64> },
    Bad(&'static str),
}

pub const STATUSES: [&str; 8] = ["starting", "active", "idle", "busy", "draining", "suspect", "dead", "error"];
const CAPS: [&str; 9] = ["py", "py@1", "py@1.0", "py@1.2", "py@1.10", "py@2.0.0.1", "rs", "rs@0.9", "go@1.22"];
const WANTED: [&str; 10] =
    ["py", "py@1", "py@1.10.0", "py@>=1.2", "py@>=1.10", "py@>=2", "rs", "rs@>=0", "go@>=1.3", "c"];
const METAS: [&str; 8] = [
    r#"{"r":"eu","n":4}"#,
    r#"{"r":"us","n":4.0,"d":{"x":[1,"two",null,true]}}"#,
    r#"{"n":"4","r":"eu"}"#,
    "null",
    "[1,2.5]",
    r#""eu""#,
    r#"{"a/b":1,"~":false,"d":{"x":{"1":"two"}}}"#,
    "",
];
const META_FILTERS: [(&str, &str); 14] = [
    ("/r", "eu"),
    ("/r", "\"us\""),
    ("/n", "4"),
    ("/n", "4.0"),
    ("/n", "\"4\""),
    ("/d/x/1", "two"),
    ("/d/x/2", "null"),
    ("/d/x/3", "true"),
    ("/a~1b", "1"),
    ("/~0", "false"),
    ("", "eu"),
    ("/1", "25e-1"),
    ("/d/x", "[1]"),
    ("/none", "null"),
];
/// Commands (K is the key) that are refused whatever the registry holds.
const BAD: [&str; 14] = [
    "LTMC.HEARTBEAT K a0 STATUS SUSPECT",
    "LTMC.HEARTBEAT K a0 REASON why",
    "LTMC.HEARTBEAT K a0 LOAD 1.01",
    "LTMC.REGISTER K a0 PX 5 EX 1",
    "LTMC.REGISTER K a0 STATUS busy",
    "LTMC.REGISTER K a0 CAPS 1 py@>=1",
    "LTMC.REGISTER K a0 META {",
    "LTMC.AGENT.CLAIM K BLOCK 5 REQID r",
    "LTMC.AGENT.CLAIM K PX 100 STATUS 1 DEAD",
    "LTMC.AGENT.FIND K SORT LEARNED",
    "LTMC.AGENT.FIND K META r eu",
    "LTMC.AGENT.FIND K TAGS 2 a",
    "LTMC.WATCH 2 K K SINCE 0 0",
    "LTMC.WATCH 1 K SINCE -1",
];

/// Groups of words in any order.
struct Words(Vec<Vec<String>>);

impl Words {
    fn add(&mut self, token: &str, values: &[String]) {
        self.0.push([&[token.to_string()], values].concat());
    }

    fn add_if<T: ToString>(&mut self, token: &str, value: &Option<T>) {
        if let Some(value) = value {
            self.add(token, &[value.to_string()]);
        }
    }

    fn add_list<T: ToString>(&mut self, token: &str, list: &[T]) {
        if !list.is_empty() {
            let values: Vec<String> = list.iter().map(T::to_string).collect();
            self.add(token, &[&[list.len().to_string()], &values[..]].concat());
        }
    }

    fn add_filter(&mut self, filter: &Filter, sort: Sort) {
        self.add_list("CAPS", &filter.caps);
        self.add_list("ANYCAP", &filter.any);
        self.add_list("TAGS", &filter.tags);
        self.add_list("STATUS", &filter.statuses);
        self.add_list("EXCLUDE", &filter.excluded);
        if let Some((path, value)) = &filter.meta {
            self.add("META", &[path.clone(), value.clone()]);
        }
        self.add_if("MINFREE", &Some(filter.min_free).filter(|free| *free > 0));
        let word = [None, Some("LOAD"), Some("LATENCY"), Some("random")][sort as usize];
        self.add_if("SORT", &word);
    }

    /// A TTL or a lease, in seconds where that is possible.
    fn add_ttl(&mut self, rng: &mut Prng, ttl: Option<u64>) {
        match ttl {
            Some(ms) if ms % 1000 == 0 && rng.percent(50) => self.add_if("EX", &Some(ms / 1000)),
            ttl => self.add_if("PX", &ttl),
        }
    }

    fn finish(mut self, rng: &mut Prng, head: &[String]) -> Vec<Vec<u8>> {
        rng.shuffle(&mut self.0);
        for words in &mut self.0 {
            if rng.percent(20) {
                words[0] = words[0].to_lowercase();
            }
        }
        head.iter().chain(self.0.iter().flatten()).map(|word| word.clone().into_bytes()).collect()
    }
}

impl Op {
    pub fn argv(&self, key: &str, rng: &mut Prng) -> Vec<Vec<u8>> {
        let mut words = Words(Vec::new());
        let head = |name: &str, rest: &[&str]| -> Vec<String> {
            [name, key].iter().chain(rest).map(|word| word.to_string()).collect()
        };
        let head = match self {
            Op::Register { id, introduction } => {
                introduction.write(&mut words, rng);
                head("LTMC.REGISTER", &[id])
            }
            Op::Deregister { id, epoch } => {
                words.add_if("EPOCH", epoch);
                head("LTMC.DEREGISTER", &[id])
            }
            Op::Heartbeat { id, beat } => {
                words.add_if("EPOCH", &beat.epoch);
                words.add_if("STATUS", &beat.status);
                words.add_if("LOAD", &beat.load.map(|load| load as f64 / 1000.0));
                words.add_if("HEALTH", &beat.health.as_ref().map(|(health, _)| health));
                words.add_if("REASON", &beat.health.as_ref().map(|(_, reason)| reason).filter(|text| !text.is_empty()));
                head("LTMC.HEARTBEAT", &[id])
            }
            Op::Get { id } => head("LTMC.AGENT.GET", &[id]),
            Op::List { status, page } => {
                words.add_if("STATUS", status);
                if let Some((offset, count)) = page {
                    words.add("LIMIT", &[offset.to_string(), count.to_string()]);
                }
                head("LTMC.AGENT.LIST", &[])
            }
            Op::Find { filter, sort, limit, with_info } => {
                words.add_filter(filter, *sort);
                words.add_if("LIMIT", limit);
                if *with_info {
                    words.add("WITHINFO", &[]);
                }
                head("LTMC.AGENT.FIND", &[])
            }
            Op::Stats => head("LTMC.AGENT.STATS", &[]),
            Op::Claim(claim_args) => {
                claim_args.write(&mut words, rng);
                head("LTMC.AGENT.CLAIM", &[])
            }
            Op::Release { fence, is_ok, latency } => {
                words.add_if("OUTCOME", &(!is_ok || rng.percent(50)).then_some(if *is_ok { "OK" } else { "FAIL" }));
                words.add_if("LATENCY", latency);
                head("LTMC.AGENT.RELEASE", &[&fence.to_string()])
            }
            Op::Watch { more, since, count, block } => {
                words.add_if("COUNT", count);
                words.add_if("BLOCK", block);
                let keys = std::iter::once((key, since)).chain(more.iter().map(|(key, since)| (&key[..], since)));
                let revision = |since: &Option<u64>| since.map_or("$".into(), |since| since.to_string());
                let (keys, sinces): (Vec<_>, Vec<_>) =
                    keys.map(|(key, since)| (key.to_string(), revision(since))).unzip();
                let count = keys.len().to_string();
                [&["LTMC.WATCH".into(), count], &keys[..], &["SINCE".into()], &sinces[..]].concat()
            }
            Op::Bad(line) => line.split(' ').map(|word| if word == "K" { key } else { word }.to_string()).collect(),
        };
        words.finish(rng, &head)
    }
}

impl Introduction {
    fn write(&self, words: &mut Words, rng: &mut Prng) {
        if self.is_new {
            words.add("NX", &[]);
        }
        words.add_if("NAME", &self.name);
        words.add_list("CAPS", self.caps.as_deref().unwrap_or_default());
        words.add_list("TAGS", self.tags.as_deref().unwrap_or_default());
        words.add_if("META", &self.meta);
        words.add_if("CAPACITY", &self.capacity);
        words.add_if("SESSION", &self.session);
        words.add_if("STATUS", &self.status);
        words.add_ttl(rng, self.ttl);
    }
}

impl ClaimArgs {
    /// The request, if it has a `REQID`. It belongs to the registry.
    pub fn asked(&self) -> Option<Asked> {
        let id = self.request.as_ref()?;
        Some(Asked::new("", id, format!("{:?}", Self { block: None, ..self.clone() })))
    }

    fn write(&self, words: &mut Words, rng: &mut Prng) {
        words.add_filter(&self.filter, self.sort);
        // A retry repeats the words, and not only what they mean.
        match self.request {
            Some(_) => words.add_if("PX", &Some(self.lease)),
            None => words.add_ttl(rng, Some(self.lease)),
        }
        words.add_if("REF", &Some(&self.reference).filter(|text| !text.is_empty()));
        words.add_if("BLOCK", &self.block);
        words.add_if("REQID", &self.request);
    }
}

/// What the agents and the commands of one schedule are like.
pub struct Shape {
    pub keys: Vec<String>,
    pub agents: Vec<String>,
    pub clients: u64,
    /// Large registries are looked at less often.
    pub is_large: bool,
    /// How often the scheduler comes to rest between two steps, percent.
    pub rests: u64,
    ttls: Vec<u64>,
    reason_bytes: u64,
    filters: Vec<Filter>,
}

fn some_of(rng: &mut Prng, of: &[&str], most: u64) -> Vec<String> {
    (0..rng.below(most + 1)).map(|_| rng.pick(of).to_string()).collect()
}

fn maybe<T>(rng: &mut Prng, chance: u64, make: impl FnOnce(&mut Prng) -> T) -> Option<T> {
    rng.percent(chance).then(|| make(rng))
}

impl Shape {
    pub fn new(rng: &mut Prng) -> Self {
        let is_large = rng.percent(4);
        let agents = if is_large { 300 + rng.below(200) } else { 1 + rng.below(10) };
        let names = (0..agents).map(|n| if n == 3 { "a\"3 \u{fc} of a long name".into() } else { format!("a{n}") });
        let factor = if is_large { 100 } else { 1 };
        let ttls = match rng.below(3) {
            0 => vec![400],
            1 => vec![1000, 2000],
            _ => vec![1, 60, 501, 1000, 30_000],
        };
        let mut shape = Self {
            keys: (0..1 + rng.below(3)).map(|n| format!("{{t}}:r{n}")).collect(),
            agents: names.collect(),
            clients: *rng.pick(&[2, 5, 8, 15]),
            is_large,
            rests: *rng.pick(&[90, 90, 40]),
            ttls: ttls.into_iter().map(|ttl| ttl * factor).collect(),
            reason_bytes: if rng.percent(10) { 1000 } else { 5 },
            filters: Vec::new(),
        };
        let filters = *rng.pick(&[2, 5]);
        shape.filters = (0..filters).map(|_| shape.new_filter(rng)).collect();
        shape
    }

    pub fn key(&self, rng: &mut Prng) -> String {
        rng.pick(&self.keys).clone()
    }

    pub fn introduction(&self, rng: &mut Prng) -> Introduction {
        Introduction {
            is_new: rng.percent(20),
            name: maybe(rng, 20, |rng| rng.pick(&["", "Ann", "B \"b\""]).to_string()),
            caps: maybe(rng, 60, |rng| some_of(rng, &CAPS, 4)).filter(|caps| !caps.is_empty()),
            tags: maybe(rng, 60, |rng| some_of(rng, &["t0", "t1", "t2"], 3)).filter(|tags| !tags.is_empty()),
            meta: maybe(rng, 50, |rng| rng.pick(&METAS).to_string()),
            capacity: maybe(rng, 50, |rng| *rng.pick(&[0, 1, 2, 3, 7, 100])),
            session: maybe(rng, 20, |rng| rng.pick(&["", "s1"]).to_string()),
            status: maybe(rng, 20, |rng| *rng.pick(&["starting", "active"])),
            ttl: maybe(rng, 80, |rng| *rng.pick(&self.ttls)),
        }
    }

    fn new_filter(&self, rng: &mut Prng) -> Filter {
        let statuses = maybe(rng, 25, some_statuses).unwrap_or_default();
        Filter {
            caps: if rng.percent(35) { some_of(rng, &WANTED, 2) } else { Vec::new() },
            any: if rng.percent(25) { some_of(rng, &WANTED, 3) } else { Vec::new() },
            tags: if rng.percent(25) { some_of(rng, &["t0", "t1", "t2", "t3"], 2) } else { Vec::new() },
            statuses,
            meta: maybe(rng, 20, |rng| *rng.pick(&META_FILTERS)).map(|(path, value)| (path.into(), value.into())),
            min_free: if rng.percent(25) { 1 + rng.below(3) } else { 0 },
            excluded: if rng.percent(20) { vec![rng.pick(&self.agents).clone(), "a0".into()] } else { Vec::new() },
        }
    }

    fn filter(&self, rng: &mut Prng) -> Filter {
        if rng.percent(60) {
            rng.pick(&self.filters).clone()
        } else {
            self.new_filter(rng)
        }
    }

    fn beat(&self, rng: &mut Prng, epoch: Option<u64>) -> Beat {
        let declared = ["starting", "active", "idle", "active", "idle", "busy", "draining", "error"];
        Beat {
            epoch: maybe(rng, 40, |rng| epoch_of(rng, epoch)),
            status: maybe(rng, 40, |rng| *rng.pick(&declared)),
            load: maybe(rng, 30, |rng| *rng.pick(&[0, 1, 333, 500, 1000])),
            health: maybe(rng, 25, |rng| {
                let (health, letter) =
                    (*rng.pick(&["ok", "ok", "degraded", "failed"]), *rng.pick(&["x", "\"", "\u{fc}"]));
                let most = if letter == "\u{fc}" { self.reason_bytes / 2 } else { self.reason_bytes };
                (health, letter.repeat(rng.below(most) as usize))
            }),
        }
    }

    pub fn claim_args(&self, rng: &mut Prng) -> ClaimArgs {
        let mut filter = self.filter(rng);
        filter.statuses.retain(|status| !matches!(*status, "suspect" | "dead"));
        ClaimArgs {
            filter,
            sort: *rng.pick(&[Sort::None, Sort::None, Sort::Load, Sort::Latency, Sort::Random]),
            lease: *rng.pick(&[1, 20, 300, 1000, 5000, 60_000]),
            reference: rng.pick(&["", "", "job 7"]).to_string(),
            block: maybe(rng, 60, |rng| *rng.pick(&[0, 1, 50, 500, 5000])),
            request: None,
        }
    }

    fn release(&self, rng: &mut Prng, registry: Option<&Registry>) -> Op {
        let claims = registry.into_iter().flat_map(|registry| registry.agents.values().flat_map(|agent| &agent.claims));
        let mut fences: Vec<u64> = claims.map(|claim| claim.fence).collect();
        fences.push(1 + rng.below(1000));
        let latency = maybe(rng, 40, |rng| rng.below(3000));
        Op::Release { fence: *rng.pick(&fences), is_ok: rng.percent(70), latency }
    }

    fn watch(&self, rng: &mut Prng, key: &str, registries: &BTreeMap<String, Registry>) -> Op {
        let since = |rng: &mut Prng, key: &str| {
            let revision = registries.get(key).map_or(0, |registry| registry.log.revision());
            let back = *rng.pick(&[0, 0, 0, 1, 5, 100, 2000]);
            match rng.below(10) {
                0 => Some(0),
                1 | 2 => None,
                3 => Some(revision + rng.below(3)),
                _ => Some(revision.saturating_sub(rng.below(back + 1))),
            }
        };
        let others = self.keys.iter().filter(|other| *other != key && rng.percent(30));
        let others: Vec<String> = others.cloned().collect();
        Op::Watch {
            since: since(rng, key),
            more: others.into_iter().map(|key| (key.clone(), since(rng, &key))).collect(),
            count: maybe(rng, 20, |rng| 1 + rng.below(3) as usize),
            block: maybe(rng, 60, |rng| *rng.pick(&[0, 1, 50, 500, 5000])),
        }
    }

    /// A command on `key`. Claims with the same `REQID` are the same claim: `requests` are those so
    /// far.
    pub fn command(
        &self,
        rng: &mut Prng,
        key: &str,
        all: &BTreeMap<String, Registry>,
        requests: &mut Vec<ClaimArgs>,
    ) -> Op {
        let registry = all.get(key);
        let known: Vec<&String> = registry.into_iter().flat_map(|registry| registry.agents.keys()).collect();
        let is_known = !known.is_empty() && rng.percent(60);
        let id = if is_known { (*rng.pick(&known)).clone() } else { rng.pick(&self.agents).clone() };
        let epoch = registry.and_then(|registry| registry.agents.get(&id)).map(|agent| agent.epoch);
        match rng.below(100) {
            0..=12 => Op::Register { id, introduction: self.introduction(rng) },
            13..=15 => Op::Deregister { id, epoch: maybe(rng, 50, |rng| epoch_of(rng, epoch)) },
            16..=47 => Op::Heartbeat { id, beat: self.beat(rng, epoch) },
            48..=50 => Op::Get { id },
            51..=52 => Op::List { status: maybe(rng, 60, |rng| *rng.pick(&STATUSES)), page: None },
            53..=54 => Op::List {
                status: maybe(rng, 30, |rng| *rng.pick(&STATUSES)),
                page: Some((rng.below(5) as usize, rng.below(5) as usize)),
            },
            55..=66 => Op::Find {
                filter: self.filter(rng),
                sort: *rng.pick(&[Sort::None, Sort::Load, Sort::Latency, Sort::Random]),
                limit: maybe(rng, 50, |rng| 1 + rng.below(6) as usize),
                with_info: rng.percent(10),
            },
            67 => Op::Stats,
            68..=81 => Op::Claim(self.claim(rng, requests)),
            82..=89 => self.release(rng, registry),
            90..=98 => self.watch(rng, key, all),
            _ => Op::Bad(BAD[rng.below(BAD.len() as u64) as usize]),
        }
    }

    fn claim(&self, rng: &mut Prng, requests: &mut Vec<ClaimArgs>) -> ClaimArgs {
        if !requests.is_empty() && rng.percent(30) {
            let recent = requests.len().saturating_sub(if rng.percent(70) { 3 } else { 90 });
            let mut again = rng.pick(&requests[recent..]).clone();
            if rng.percent(10) {
                again.filter = self.claim_args(rng).filter;
            }
            return again;
        }
        let mut claim_args = self.claim_args(rng);
        if rng.percent(30) {
            claim_args.request = Some(format!("q{}", rng.next() % 1_000_000));
            if requests.len() > 90 {
                requests.remove(0);
            }
            requests.push(claim_args.clone());
        }
        claim_args
    }
}

fn epoch_of(rng: &mut Prng, current: Option<u64>) -> u64 {
    let wrong = 1 + rng.below(1_000_000);
    current.filter(|_| rng.percent(75)).unwrap_or(wrong)
}

fn some_statuses(rng: &mut Prng) -> Vec<&'static str> {
    let mut statuses: Vec<&str> = STATUSES.into_iter().filter(|_| rng.percent(30)).collect();
    rng.shuffle(&mut statuses);
    statuses
}
