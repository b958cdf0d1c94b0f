//! What clients of a cache do.

use crate::prng::Prng;

/// A call of a tool, as numbers into small lists: which tool, which arguments, and whether they are
/// compared literally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub tool: usize,
    pub args: usize,
    pub is_raw: bool,
}

pub const TOOLS: [&str; 3] = ["search", "fetch", "t"];
pub const AGENTS: [&str; 3] = ["ada", "bob", "cy"];
pub const DEPS: [&str; 4] = ["file:a", "file:b", "db", "a-dependency-with-a-long-name"];
pub const TAGS: [&str; 3] = ["x", "file:a", "z"];

/// Several ways to write the same arguments.
const ARGS: [&[&str]; 4] = [
    &[r#"{"a":1,"b":[true]}"#, r#" {"b": [true], "a": 1.0}"#, "{\"b\":[true],\n\"\\u0061\":1e0}"],
    &["[]", " [ ] "],
    &[r#""x""#, r#""\u0078""#],
    &["17", "17.0", "1.7e1"],
];

impl Call {
    pub fn pick(rng: &mut Prng) -> Self {
        Self { tool: rng.below(3) as usize, args: rng.below(ARGS.len() as u64) as usize, is_raw: rng.percent(10) }
    }

    /// The words for tool and args.
    pub fn words(&self, rng: &mut Prng) -> [String; 2] {
        let ways = ARGS[self.args];
        let args = if self.is_raw { ways[0] } else { rng.pick(ways) };
        [TOOLS[self.tool].into(), args.into()]
    }
}

#[derive(Debug, Clone)]
pub enum What {
    Dep(Vec<usize>),
    Tag(Vec<usize>),
    Tool(usize),
    Agent(usize),
    All,
}

#[derive(Debug, Clone)]
pub struct Get {
    pub call: Call,
    pub agent: Option<usize>,
    pub age_max: Option<u64>,
    pub lease: Option<u64>,
    pub block: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct Put {
    pub call: Call,
    pub value: String,
    pub ticket: Option<u64>,
    pub ttl: Option<u64>,
    pub stale: Option<u64>,
    pub deps: Vec<usize>,
    pub tags: Vec<usize>,
    pub cost: Option<u64>,
    pub agent: Option<usize>,
    pub is_private: bool,
    pub is_negative: bool,
}

#[derive(Debug, Clone)]
pub enum Op {
    Get(Get),
    /// Looks and takes no ticket, by a command of its own or by `PEEK`.
    Peek {
        get: Get,
        is_own: bool,
    },
    Put(Put),
    Fail {
        call: Call,
        ticket: u64,
    },
    Invalidate {
        what: What,
        is_soft: bool,
    },
    Config {
        bytes: Option<u64>,
        entries: Option<u64>,
        ttl: Option<u64>,
        policy: Option<usize>,
    },
}

pub const POLICIES: [&str; 3] = ["GDSF", "LRU", "LFU"];

fn some_of(rng: &mut Prng, count: usize) -> Vec<usize> {
    (0..count).filter(|_| rng.percent(30)).collect()
}

fn maybe<T>(rng: &mut Prng, chance: u64, value: impl FnOnce(&mut Prng) -> T) -> Option<T> {
    rng.percent(chance).then(|| value(rng))
}

impl Get {
    fn pick(rng: &mut Prng) -> Self {
        Self {
            call: Call::pick(rng),
            agent: maybe(rng, 50, |rng| rng.below(3) as usize),
            age_max: maybe(rng, 15, |rng| rng.below(400)),
            lease: maybe(rng, 70, |rng| 1 + rng.below(600)),
            block: maybe(rng, 60, |rng| *rng.pick(&[0, 0, 50, 400])),
        }
    }
}

impl Op {
    /// `tickets` are all that were ever given, the newest last.
    pub fn pick(rng: &mut Prng, tickets: &[(Call, u64)], values: u64) -> Self {
        let known = |rng: &mut Prng| {
            let recent = tickets.len().saturating_sub(6);
            tickets.get(recent + rng.below(6) as usize).copied()
        };
        match rng.below(100) {
            0..6 => {
                let get = Get { lease: None, block: None, ..Get::pick(rng) };
                Op::Peek { get, is_own: rng.percent(50) }
            }
            6..45 => Op::Get(Get::pick(rng)),
            45..75 => {
                let redeemed = maybe(rng, 75, known).flatten();
                let call = redeemed.filter(|_| rng.percent(95)).map_or_else(|| Call::pick(rng), |(call, _)| call);
                let agent = maybe(rng, 50, |rng| rng.below(3) as usize);
                Op::Put(Put {
                    call,
                    value: format!("{values}{}", "v".repeat(*rng.pick(&[0, 3, 40, 700]))),
                    ticket: redeemed.map(|(_, ticket)| ticket),
                    ttl: maybe(rng, 60, |rng| 1 + rng.below(500)),
                    stale: maybe(rng, 40, |rng| rng.below(500)),
                    deps: some_of(rng, DEPS.len()),
                    tags: some_of(rng, TAGS.len()),
                    cost: maybe(rng, 30, |rng| rng.below(1000)),
                    agent,
                    is_private: agent.is_some() && rng.percent(20),
                    is_negative: rng.percent(10),
                })
            }
            75..80 => match known(rng) {
                Some((call, ticket)) => Op::Fail { call, ticket },
                None => Op::Fail { call: Call::pick(rng), ticket: 7 },
            },
            80..95 => {
                let what = match rng.below(12) {
                    0..5 => What::Dep(vec![rng.below(4) as usize]),
                    5 => What::Dep(vec![0, 2]),
                    6..9 => What::Tag(vec![rng.below(3) as usize]),
                    9 => What::Tool(rng.below(3) as usize),
                    10 => What::Agent(rng.below(3) as usize),
                    _ => What::All,
                };
                Op::Invalidate { what, is_soft: rng.percent(30) }
            }
            _ => Op::Config {
                bytes: maybe(rng, 40, |rng| *rng.pick(&[4096, 6000, 1 << 20])),
                entries: maybe(rng, 40, |rng| *rng.pick(&[1, 2, 5, 1000])),
                ttl: maybe(rng, 30, |rng| rng.below(300)),
                policy: maybe(rng, 50, |rng| rng.below(3) as usize),
            },
        }
    }

    pub fn argv(&self, key: &str, rng: &mut Prng) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut say = |words_of: &[&str]| words.extend(words_of.iter().map(|word| word.to_string()));
        match self {
            Op::Get(get) | Op::Peek { get, .. } => {
                let [tool, args] = get.call.words(rng);
                let is_own = matches!(self, Op::Peek { is_own: true, .. });
                say(&[if is_own { "LTMC.CACHE.PEEK" } else { "LTMC.CACHE.GET" }, key, &tool, &args]);
                if matches!(self, Op::Peek { is_own: false, .. }) {
                    say(&["peek"]);
                }
                get.agent.iter().for_each(|agent| say(&["AGENT", AGENTS[*agent]]));
                get.age_max.iter().for_each(|age| say(&["MAXAGE", &age.to_string()]));
                get.lease.iter().for_each(|lease| say(&["LEASE", &lease.to_string()]));
                get.block.iter().for_each(|block| say(&["block", &block.to_string()]));
                if get.call.is_raw {
                    say(&["RAW"]);
                }
            }
            Op::Put(put) => {
                let [tool, args] = put.call.words(rng);
                say(&["LTMC.CACHE.PUT", key, &tool, &args, &put.value]);
                put.ticket.iter().for_each(|ticket| say(&["TICKET", &ticket.to_string()]));
                put.ttl.iter().for_each(|ttl| say(&["PX", &ttl.to_string()]));
                put.stale.iter().for_each(|stale| say(&["STALE", &stale.to_string()]));
                for (word, which, names) in [("DEPS", &put.deps, &DEPS[..]), ("TAGS", &put.tags, &TAGS[..])] {
                    if !which.is_empty() {
                        say(&[word, &which.len().to_string()]);
                        which.iter().for_each(|at| say(&[names[*at]]));
                    }
                }
                put.cost.iter().for_each(|cost| say(&["COST", &cost.to_string()]));
                put.agent.iter().for_each(|agent| say(&["AGENT", AGENTS[*agent]]));
                let flags = [("PRIVATE", put.is_private), ("negative", put.is_negative), ("RAW", put.call.is_raw)];
                flags.iter().filter(|(_, is_said)| *is_said).for_each(|(word, _)| say(&[word]));
            }
            Op::Fail { call, ticket } => {
                let [tool, args] = call.words(rng);
                say(&["LTMC.CACHE.FAIL", key, &tool, &args, &ticket.to_string()]);
                if call.is_raw {
                    say(&["RAW"]);
                }
            }
            Op::Invalidate { what, is_soft } => {
                say(&["LTMC.CACHE.INVALIDATE", key]);
                match what {
                    What::Dep(which) | What::Tag(which) => {
                        let (word, names) =
                            if matches!(what, What::Dep(_)) { ("DEP", &DEPS[..]) } else { ("TAG", &TAGS[..]) };
                        say(&[word, &which.len().to_string()]);
                        which.iter().for_each(|at| say(&[names[*at]]));
                    }
                    What::Tool(tool) => say(&["TOOL", TOOLS[*tool]]),
                    What::Agent(agent) => say(&["AGENT", AGENTS[*agent]]),
                    What::All => say(&["ALL"]),
                }
                if *is_soft {
                    say(&["SOFT"]);
                }
            }
            Op::Config { bytes, entries, ttl, policy } => {
                say(&["LTMC.CACHE.CONFIG", key]);
                bytes.iter().for_each(|bytes| say(&["MAXBYTES", &bytes.to_string()]));
                entries.iter().for_each(|entries| say(&["MAXENTRIES", &entries.to_string()]));
                ttl.iter().for_each(|ttl| say(&["PX", &ttl.to_string()]));
                policy.iter().for_each(|policy| say(&["POLICY", POLICIES[*policy]]));
            }
        }
        words
    }
}
