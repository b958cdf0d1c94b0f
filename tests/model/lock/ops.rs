//! Commands as the model sees them and as bytes, and what to try next.

use super::naive::{Mode, Naive, Name, Want};
use crate::prng::Prng;
use crate::requests::Asked;

#[derive(Debug, Clone)]
pub enum Op {
    Lock { key: Name, want: Want, block: Option<u64>, priority: u64, request_id: Option<String> },
    Mlock { keys: Vec<Name>, want: Want, block: Option<u64>, priority: u64 },
    Unlock { key: Name, owner: String, token: Option<u64>, path: Option<String>, all: bool, request_id: Option<String> },
    Renew { key: Name, owner: String, token: u64, lease: u64 },
    Convert { key: Name, owner: String, token: u64, mode: Mode, block: Option<u64> },
    Check { key: Name, fence: u64 },
    Break { key: Name, owner: Option<String> },
    Info { key: Name },
    Graph,
    Status,
}

/// How one schedule is made.
pub struct Shape {
    pub owners: u64,
    pub clients: u64,
    pub keys: Vec<Name>,
    pub paths: Vec<&'static str>,
    /// Lease of a lock that names none, ms; 0 for no end.
    pub lease_ms: u64,
    pub shared_percent: u64,
    pub block_percent: u64,
    pub extras_percent: u64,
}

const PATHS: [&str; 7] = ["", "a", "ab", "a/x", "a/y", "a/x/1", "b"];

impl Shape {
    pub fn new(rng: &mut Prng) -> Self {
        let owners = 2 + rng.below(11);
        let (keys, dbs) = (1 + rng.below(6), 1 + rng.below(2) as u32);
        let names = (0..dbs).flat_map(|db| (0..keys).map(move |n| (db, format!("k{n}"))));
        let paths = 1 + rng.below(PATHS.len() as u64) as usize;
        Self {
            owners,
            clients: owners * (1 + rng.below(3)) + 2,
            keys: names.collect(),
            paths: PATHS[..if rng.percent(30) { 1 } else { paths }].to_vec(),
            lease_ms: *rng.pick(&[0, 300, 30_000]),
            shared_percent: *rng.pick(&[20, 50, 80]),
            block_percent: *rng.pick(&[40, 80, 95]),
            extras_percent: *rng.pick(&[0, 10, 30]),
        }
    }

    fn owner(&self, rng: &mut Prng) -> String {
        format!("o{}", rng.below(self.owners))
    }

    pub fn key(&self, rng: &mut Prng) -> Name {
        rng.pick(&self.keys).clone()
    }

    fn want(&self, rng: &mut Prng, client: u64, is_multiple: bool) -> Want {
        let shared = rng.percent(self.shared_percent);
        let extra = |rng: &mut Prng| !is_multiple && rng.percent(self.extras_percent);
        let stamp = extra(rng) && rng.percent(50);
        let mode = match (stamp, shared) {
            (true, _) => Mode::Stamp,
            (_, true) => Mode::Shared,
            _ => Mode::Exclusive,
        };
        Want {
            owner: self.owner(rng),
            mode,
            path: if is_multiple { "" } else { *rng.pick(&self.paths) }.into(),
            limit: if mode == Mode::Shared && extra(rng) { 1 + rng.below(4) } else { 0 },
            lease: rng.percent(30).then(|| 1 + rng.below(400)).or(Some(self.lease_ms).filter(|ms| *ms > 0)),
            reentrant: !extra(rng),
            client: extra(rng).then_some(client),
        }
    }

    fn block(&self, rng: &mut Prng) -> Option<u64> {
        let block = if rng.percent(40) { 0 } else { 1 + rng.below(600) };
        rng.percent(self.block_percent).then_some(block)
    }

    fn priority(&self, rng: &mut Prng) -> u64 {
        if rng.percent(self.extras_percent) {
            rng.below(4)
        } else {
            0
        }
    }

    /// The next command of `client`.
    pub fn command(&self, rng: &mut Prng, client: u64, model: &Naive) -> Op {
        let key = self.key(rng);
        match rng.below(100) {
            0..=39 => Op::Lock {
                want: self.want(rng, client, false),
                block: self.block(rng),
                priority: self.priority(rng),
                request_id: rng.percent(self.extras_percent / 2).then(|| format!("r{}", rng.below(20))),
                key,
            },
            40..=49 => {
                let mut keys: Vec<Name> = self.keys.iter().filter(|name| name.0 == key.0).cloned().collect();
                rng.shuffle(&mut keys);
                keys.truncate(1 + rng.below(3) as usize);
                let (block, priority) = (self.block(rng), self.priority(rng));
                Op::Mlock { keys, want: self.want(rng, client, true), block, priority }
            }
            50..=96 => self.about_a_grant(rng, key, model),
            97 => Op::Graph,
            98 => Op::Status,
            _ => Op::Info { key },
        }
    }

    /// A command about a grant, mostly by its holder.
    fn about_a_grant(&self, rng: &mut Prng, key: Name, model: &Naive) -> Op {
        let request_id = rng.percent(self.extras_percent / 2).then(|| format!("r{}", rng.below(20)));
        let held: Vec<_> =
            model.locks.iter().flat_map(|(name, lock)| lock.holds.iter().map(move |hold| (name, hold))).collect();
        if held.is_empty() || rng.percent(3) {
            let (owner, all) = (self.owner(rng), rng.percent(50));
            return Op::Unlock { key, owner, token: None, path: None, all, request_id };
        }
        let (name, hold) = *rng.pick(&held);
        let key = name.clone();
        let owner = if rng.percent(95) { hold.owner.clone() } else { self.owner(rng) };
        let token = if rng.percent(95) { hold.fence } else { hold.fence.saturating_sub(rng.below(5)).max(1) };
        match rng.below(100) {
            0..=34 => Op::Unlock { key, owner, token: Some(token), path: None, all: rng.percent(20), request_id },
            35..=69 => {
                let path = rng.percent(80).then(|| hold.path.clone());
                Op::Unlock { key, owner, token: None, path, all: rng.percent(20), request_id }
            }
            70..=77 => Op::Renew { key, owner, token, lease: 1 + rng.below(600) },
            78..=91 => {
                let mode = if rng.percent(60) { Mode::Exclusive } else { Mode::Shared };
                Op::Convert { key, owner, token, mode, block: self.block(rng) }
            }
            92..=96 => Op::Check { key, fence: token },
            _ => Op::Break { key, owner: rng.percent(70).then_some(owner) },
        }
    }
}

impl Op {
    /// The database that the client has selected for this command.
    pub fn db(&self) -> u32 {
        match self {
            Op::Lock { key, .. }
            | Op::Unlock { key, .. }
            | Op::Renew { key, .. }
            | Op::Convert { key, .. }
            | Op::Check { key, .. }
            | Op::Break { key, .. }
            | Op::Info { key } => key.0,
            Op::Mlock { keys, .. } => keys[0].0,
            Op::Graph | Op::Status => 0,
        }
    }

    /// The command as a client sends it, with its options in any order. Defaults are left out.
    pub fn argv(&self, rng: &mut Prng, lease_ms: u64) -> Vec<Vec<u8>> {
        let (head, mut options) = self.words();
        options.retain(|option| *option != ["PX".to_string(), lease_ms.to_string()]);
        rng.shuffle(&mut options);
        let words = head.into_iter().chain(options.into_iter().flatten());
        words.map(String::into_bytes).collect()
    }

    /// The request, if it has a `REQID`.
    pub fn asked(&self) -> Option<Asked> {
        let (owner, id) = match self {
            Op::Lock { want, request_id, .. } => (&want.owner, request_id.as_ref()?),
            Op::Unlock { owner, request_id, .. } => (owner, request_id.as_ref()?),
            _ => return None,
        };
        let (head, mut options) = self.words();
        options.retain(|option| !["REQID", "block"].contains(&&*option[0]));
        options.sort();
        Some(Asked::new(owner, id, format!("{head:?} {options:?}")))
    }

    /// The positional words, and the options.
    fn words(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let plain = |words: &[&str]| (head(words), Vec::new());
        match self {
            Op::Lock { key, want, block, priority, request_id } => {
                let mut options = want_words(want, *priority, *block);
                options.extend(request_id.as_ref().map(|id| vec!["REQID".into(), id.clone()]));
                (head(&["LTMC.LOCK", &key.1, &want.owner]), options)
            }
            Op::Mlock { keys, want, block, priority } => {
                let mut words = head(&["ltmc.mlock", &want.owner, &keys.len().to_string()]);
                words.extend(keys.iter().map(|key| key.1.clone()));
                (words, want_words(want, *priority, *block))
            }
            Op::Unlock { key, owner, token, path, all, request_id } => {
                let mut options: Vec<_> = token.iter().map(|token| pair("TOKEN", token.to_string())).collect();
                options.extend(path.as_ref().map(|path| pair("PATH", path.clone())));
                options.extend(all.then(|| vec!["ALL".into()]));
                options.extend(request_id.as_ref().map(|id| pair("REQID", id.clone())));
                (head(&["LTMC.UNLOCK", &key.1, owner]), options)
            }
            Op::Renew { key, owner, token, lease } => {
                let (token, lease) = (token.to_string(), lease.to_string());
                plain(&["LTMC.LOCK.RENEW", &key.1, owner, "TOKEN", &token, "PX", &lease])
            }
            Op::Convert { key, owner, token, mode, block } => {
                let mode = ["shared", "EXCLUSIVE"][usize::from(*mode == Mode::Exclusive)];
                let words = ["LTMC.LOCK.CONVERT", &key.1, owner, "TOKEN", &token.to_string(), mode];
                (head(&words), block_words(*block))
            }
            Op::Check { key, fence } => plain(&["LTMC.LOCK.CHECK", &key.1, &fence.to_string()]),
            Op::Break { key, owner: Some(owner) } => plain(&["LTMC.LOCK.BREAK", &key.1, owner]),
            Op::Break { key, owner: None } => plain(&["LTMC.LOCK.BREAK", &key.1]),
            Op::Info { key } => plain(&["LTMC.LOCK.INFO", &key.1]),
            Op::Graph => plain(&["LTMC.LOCK.GRAPH"]),
            Op::Status => plain(&["LTMC.STATUS"]),
        }
    }
}

fn head(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

fn pair(word: &str, value: String) -> Vec<String> {
    vec![word.to_string(), value]
}

fn block_words(block: Option<u64>) -> Vec<Vec<String>> {
    block.map(|ms| pair("block", ms.to_string())).into_iter().collect()
}

fn want_words(want: &Want, priority: u64, block: Option<u64>) -> Vec<Vec<String>> {
    let mut options = vec![match want.mode {
        Mode::Shared => vec!["SHARED".to_string()],
        Mode::Exclusive => vec!["exclusive".to_string()],
        Mode::Stamp => vec!["OPTIMISTIC".to_string()],
    }];
    options.extend((want.limit > 0).then(|| pair("LIMIT", want.limit.to_string())));
    options.extend((!want.path.is_empty()).then(|| pair("PATH", format!("/{}/", want.path))));
    options.extend(want.lease.map(|ms| pair("PX", ms.to_string())));
    options.extend((priority > 0).then(|| pair("PRIORITY", priority.to_string())));
    options.extend((!want.reentrant).then(|| vec!["NOREENTRANT".to_string()]));
    options.extend(want.client.map(|_| pair("ONDISCONNECT", "RELEASE".into())));
    options.extend(block_words(block));
    options
}
