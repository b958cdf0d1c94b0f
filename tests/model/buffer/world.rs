//! A server with one buffer: the real module on the host in memory, beside a map of full copies;
//! and what has to be true after every step.

use crate::driver::{History, Schedule, Timed};
use crate::host::MemoryHost;
use crate::original::Original;
use crate::prng::Prng;
use crate::server::execute;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::node::Node;
use ltmc::command::reply::Reply;
use ltmc::domain::buffer::chunk::{Chunk, Phase};
use ltmc::domain::buffer::Buffer;
use ltmc::domain::entity::record::Payload;
use ltmc::domain::{Error, KeyId, Record};
use ltmc::snapshot;
use ltmc::snapshot::frame;
use std::collections::{BTreeMap, BTreeSet};

/// A chunk as it should be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Naive {
    pub data: Vec<u8>,
    pub version: u64,
    /// Lease and its end, while it is not sealed.
    pub lease: Option<(u64, u64)>,
    pub ends_at: Option<u64>,
    pub meta: Vec<u8>,
    pub owner: String,
    pub retained: BTreeSet<String>,
    pub pins: BTreeMap<String, u64>,
}

impl Naive {
    /// An agent pins it. Its longer end stands; returns that.
    pub fn pin(&mut self, agent: String, until: u64) -> u64 {
        let end = self.pins.entry(agent).or_insert(until);
        *end = until.max(*end);
        *end
    }

    pub fn is_needed(&self, now: u64) -> bool {
        !self.retained.is_empty() || self.pins.values().any(|until| *until > now)
    }

    pub fn is_over(&self, now: u64) -> bool {
        match self.lease {
            Some((_, ends_at)) => ends_at <= now,
            None => self.ends_at.is_some_and(|ends_at| ends_at <= now) && !self.is_needed(now),
        }
    }
}

pub struct World {
    pub node: Node,
    pub host: MemoryHost,
    pub rng: Prng,
    pub chunks: BTreeMap<String, Naive>,
    /// The highest version that each id ever had.
    pub versions: BTreeMap<String, u64>,
    pub evicts: bool,
    pub stays: bool,
    pub history: History,
    pub original: Option<Original<Buffer>>,
}

pub fn key() -> KeyId {
    KeyId::new(0, b"b")
}

/// The value after it was saved and loaded.
pub fn saved(stored: &Record<Buffer>) -> Record<Buffer> {
    let encoded = snapshot::encode_snapshot_beside(stored);
    let frame = frame::read(&encoded.frame).expect("our own frame");
    let Ok(Payload::Snapshot(again)) = snapshot::decode_with::<Buffer>(&frame, encoded.blobs.clone()) else {
        panic!("our own snapshot cannot be read");
    };
    assert!(snapshot::encode_snapshot_beside(&again) == encoded, "loading and saving changes something");
    again
}

impl Schedule for World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            node: Node::default(),
            host: MemoryHost::default(),
            rng: Prng::new(seed),
            chunks: BTreeMap::new(),
            versions: BTreeMap::new(),
            evicts: true,
            stays: false,
            history: History::default(),
            original: None,
        };
        world.history.seed = seed;
        world.node.boot = 1;
        world.node.seed = seed;
        world.set_time(1_700_000_000_000_000);
        world
    }

    fn step(&mut self) {
        let (ms, prompt) = (*self.rng.pick(&[0, 0, 1, 50, 999, 1500, 40_000]), self.rng.percent(70));
        self.pass(ms * 1000, prompt);
        self.bury();
        let spared = match self.rng.below(100) {
            0..=24 => self.put(),
            25..=34 => self.allocate(),
            35..=49 => self.write(),
            50..=56 => self.seal(),
            57..=66 => self.hold(),
            67..=73 => self.let_go(),
            74..=79 => self.free(),
            80..=83 => self.configure(),
            84..=87 => self.describe(),
            88 => self.restart(),
            89..=90 => self.replace_by_copy(),
            _ => self.read(),
        };
        self.absorb_evictions(spared.as_deref());
        // What is due now is done before anything is compared. The buffer may shrink then, and its
        // policy chooses what goes.
        self.pass(0, true);
        self.bury();
        self.check();
    }
}

impl Timed for World {
    fn node(&self) -> &Node {
        &self.node
    }

    fn node_and_host(&mut self) -> (&mut Node, &mut MemoryHost) {
        (&mut self.node, &mut self.host)
    }

    fn now_us(&self) -> u64 {
        self.host.now * 1000
    }
}

impl World {
    pub fn now(&self) -> u64 {
        self.host.now
    }

    pub fn run(&mut self, words: &[Vec<u8>]) -> Result<Reply, Error> {
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let outcome = execute(&mut self.node, &mut self.host, (1, 0), &args);
        let line: Vec<String> = args.iter().map(|arg| ltmc::domain::value::bytes::printable(arg)).collect();
        let text: String = format!("{outcome:?}").chars().take(200).collect();
        self.history.note(format!("{} ms: {} => {text}", self.host.now % 100_000_000, line.join(" ")));
        match outcome? {
            Outcome::Reply(reply) => Ok(reply),
            Outcome::Waits | Outcome::Offloaded(_) => panic!("nobody waits for a chunk"),
        }
    }

    pub fn run_line(&mut self, line: &str) -> Result<Reply, Error> {
        self.run(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    pub fn ok(&mut self, line: &str) -> Reply {
        self.run_line(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    pub fn buffer(&self) -> Option<&Buffer> {
        self.host.peek::<Buffer>(&key()).map(|stored| &stored.state)
    }

    /// A field of `LTMC.CHUNK.STATS` or another map.
    pub fn number(&mut self, line: &str, field: &str) -> i64 {
        let Reply::Map(fields) = self.ok(line) else { panic!("{line}: no map") };
        match fields.iter().find(|(name, _)| name == field) {
            Some((_, Reply::Integer(value))) => *value,
            other => panic!("{field} of {line}: {other:?}"),
        }
    }

    /// What has expired is gone.
    pub fn bury(&mut self) {
        let now = self.now();
        self.chunks.retain(|_, chunk| !chunk.is_over(now));
        self.chunks.values_mut().for_each(|chunk| chunk.pins.retain(|_, until| *until > now));
        // The scheduler may have evicted something meanwhile.
        self.absorb_evictions(None);
    }

    /// What the buffer has evicted is gone. Each chunk must have been allowed to go, and none of
    /// them is `spared`.
    pub fn absorb_evictions(&mut self, spared: Option<&str>) {
        let Some(stored) = self.host.peek::<Buffer>(&key()) else {
            let has_any = self.chunks.values().any(|chunk| chunk.is_needed(self.host.now) || chunk.lease.is_some());
            assert!(!has_any && !self.stays, "the buffer is gone, but not what was in it: {:?}", self.chunks);
            return self.chunks.clear();
        };
        let gone: Vec<String> =
            self.chunks.keys().filter(|id| stored.state.find(id.as_bytes()).is_none()).cloned().collect();
        for id in gone {
            let chunk = self.chunks.remove(&id).expect("just seen");
            if chunk.is_over(self.host.now) {
                continue;
            }
            assert!(self.evicts && !chunk.is_needed(self.host.now) && chunk.lease.is_none(), "{id} went: {chunk:?}");
            assert_ne!(Some(&*id), spared, "what was just put went at once");
        }
    }

    /// What has to be true after every step.
    pub fn check(&mut self) {
        self.host.log.clear();
        self.original.iter().for_each(Original::check);
        self.absorb_evictions(None);
        let now = self.now();
        let Some(stored) = self.host.peek::<Buffer>(&key()) else { return };
        let buffer = &stored.state;
        assert_eq!(stored.check(), Ok(()));
        let live = buffer.chunks().filter(|(_, chunk)| !chunk.is_expired(now));
        let found: BTreeMap<String, Naive> = live.map(|(_, chunk)| seen(chunk, now)).collect();
        assert_eq!(found, self.chunks);
        assert!(!buffer.is_too_large(), "{} of {}", buffer.totals().used_bytes(), buffer.size_bytes());
        self.check_sharing();
        let copy = self.host.copied::<Buffer>(&key()).expect("the replica has it");
        let encoded = snapshot::encode_snapshot_beside(stored);
        assert!(snapshot::encode_snapshot_beside(copy) == encoded, "the replica differs");
        assert_eq!(copy.state.totals(), buffer.totals());
        assert_eq!(saved(stored).state.totals(), buffer.totals(), "loading changes the counts");
    }

    /// Each sealed content is there once, whatever was done to get there.
    fn check_sharing(&self) {
        let Some(buffer) = self.buffer() else { return };
        let (mut logical, mut physical, mut sealed) = (0, 0, BTreeSet::new());
        for (_, chunk) in buffer.chunks() {
            let len = chunk.content.len() as u64;
            logical += len;
            if !chunk.is_shareable() || sealed.insert(chunk.content.to_vec()) {
                physical += len;
            }
        }
        assert_eq!((buffer.totals().logical_bytes, buffer.totals().physical_bytes), (logical, physical));
    }
}

/// A chunk as the model has it.
fn seen(chunk: &Chunk, now: u64) -> (String, Naive) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let record = &chunk.record;
    let lease = match record.phase {
        Phase::Unsealed { lease_ms, ends_at } => Some((lease_ms, ends_at)),
        _ => None,
    };
    let pins = record.pins.iter().filter(|pin| pin.until > now);
    let naive = Naive {
        data: chunk.content.to_vec(),
        version: record.version,
        lease,
        ends_at: record.ends_at,
        meta: record.meta.to_vec(),
        owner: text(&record.owner),
        retained: record.retained_by.iter().map(|agent| text(agent)).collect(),
        pins: pins.map(|pin| (text(&pin.agent), pin.until)).collect(),
    };
    (text(&record.id), naive)
}
