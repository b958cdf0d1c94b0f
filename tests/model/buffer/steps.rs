//! What is done to a buffer at random, and what should come of it.

use super::world::{Naive, World};
use ltmc::command::reply::Reply;
use ltmc::domain::algorithm::xxhash::xxh64;
use ltmc::domain::{Code, Error};

const IDS: u64 = 30;
const AGENTS: [&str; 3] = ["ada", "bob", "a-long-name-of-an-agent"];

type Words = Vec<Vec<u8>>;

fn words(texts: &[&str]) -> Words {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

impl World {
    fn id(&mut self) -> String {
        match self.rng.below(IDS) {
            n if n % 7 == 0 => format!("a-rather-long-name-of-a-chunk-{n}"),
            n => format!("c{n}"),
        }
    }

    fn agent(&mut self) -> String {
        self.rng.pick(&AGENTS).to_string()
    }

    /// Bytes of which many are equal.
    fn data(&mut self) -> Vec<u8> {
        let len = *self.rng.pick(&[0, 1, 100, 600, 600, 1200, 3000]);
        vec![self.rng.below(4) as u8; len]
    }

    /// A refusal for lack of room has to be true.
    fn assert_full(&mut self, error: &Error, more: u64) {
        assert_eq!(error.code, Code::Limit, "{error}");
        // Without a buffer, one with the default bounds would be created, and those are large.
        let buffer = self.buffer().expect("nothing is full that is not there");
        let totals = buffer.totals();
        let fixed = if self.evicts { totals.held_bytes() } else { totals.used_bytes() };
        let rounded = more + more / 4 + 2000;
        assert!(fixed + rounded > buffer.config().max_bytes, "{error}");
    }

    /// A new version of a chunk is above all its earlier ones.
    fn note_version(&mut self, id: &str, version: u64) {
        let first = self.buffer().and_then(|buffer| buffer.find(id.as_bytes())).map(|(serial, _)| serial);
        if first == Some(1) && version == 1 {
            // The buffer went with its last chunk, and this is another.
            self.versions.clear();
        }
        let before = self.versions.insert(id.to_string(), version).unwrap_or(0);
        assert!(version > before, "{id} had version {before} and has {version} now");
    }

    pub fn put(&mut self) -> Option<String> {
        let (id, data) = (self.id(), self.data());
        let mut line = words(&["LTMC.CHUNK.PUT", "b", &id]);
        line.push(data.clone());
        let known = self.chunks.get(&id).cloned();
        let current = known.as_ref().map_or(0, |chunk| chunk.version);
        let expected = self.rng.percent(30).then(|| if self.rng.percent(60) { current } else { self.rng.below(4) });
        if let Some(expected) = expected {
            line.extend(words(&["IFVERSION", &expected.to_string()]));
        }
        let mut chunk = known.clone().unwrap_or_default();
        (chunk.data, chunk.meta, chunk.ends_at) = (data, Vec::new(), None);
        if self.rng.percent(20) {
            let agent = self.agent();
            line.extend(words(&["PIN", &agent, "2000"]));
            chunk.pin(agent, self.now() + 2000);
        }
        if self.rng.percent(20) {
            line.extend(words(&["META", r#"{"a":"long-enough-to-be-on-the-heap"}"#]));
            chunk.meta = br#"{"a":"long-enough-to-be-on-the-heap"}"#.to_vec();
        }
        if self.rng.percent(20) {
            line.extend(words(&["PX", "3000"]));
            chunk.ends_at = Some(self.now() + 3000);
        }
        match self.run(&line) {
            Ok(Reply::Array(parts)) => {
                let [Reply::Bytes(named), Reply::Integer(version)] = &parts[..] else { panic!("{parts:?}") };
                assert_eq!((named, expected.unwrap_or(current)), (&id.as_bytes().to_vec(), current));
                assert!(known.is_none_or(|known| known.lease.is_none()), "an unsealed chunk was put");
                chunk.version = *version as u64;
                self.note_version(&id, chunk.version);
                self.chunks.insert(id.clone(), chunk);
                return Some(id);
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) if error.code == Code::Conflict => assert_ne!(expected, Some(current), "{error}"),
            Err(error) if error.code == Code::BadState => assert!(known.is_some_and(|known| known.lease.is_some())),
            Err(error) => self.assert_full(&error, chunk.data.len() as u64),
        }
        None
    }

    pub fn allocate(&mut self) -> Option<String> {
        let (id, agent, bytes) = (self.id(), self.agent(), self.rng.below(2000));
        let line = format!("LTMC.CHUNK.ALLOC b ID {id} SIZE {bytes} AGENT {agent} PX 5000");
        match self.run_line(&line) {
            Ok(_) => {
                assert!(!self.chunks.contains_key(&id));
                let buffer = self.buffer().expect("just made");
                let version = buffer.find(id.as_bytes()).expect("just made").1.record.version;
                self.note_version(&id, version);
                let lease = Some((5000, self.now() + 5000));
                let data = vec![0; bytes as usize];
                self.chunks.insert(id.clone(), Naive { data, version, lease, owner: agent, ..Naive::default() });
                return Some(id);
            }
            Err(error) if error.code == Code::Conflict => assert!(self.chunks.contains_key(&id)),
            Err(error) => self.assert_full(&error, bytes),
        }
        None
    }

    pub fn write(&mut self) -> Option<String> {
        let (id, now) = (self.id(), self.now());
        let known = self.chunks.get(&id).cloned();
        let len = known.as_ref().map_or(10, |chunk| chunk.data.len() as u64);
        let (offset, count) = (self.rng.below(len + 1), self.rng.below(len / 2 + 2));
        let data = vec![self.rng.below(4) as u8; count as usize];
        let mut line = words(&["LTMC.CHUNK.WRITE", "b", &id, &offset.to_string()]);
        line.push(data.clone());
        match (self.run(&line), known) {
            (Ok(Reply::Integer(version)), Some(mut chunk)) => {
                assert_eq!(version as u64, chunk.version + 1);
                chunk.data[offset as usize..(offset + count) as usize].copy_from_slice(&data);
                chunk.version = version as u64;
                chunk.lease = chunk.lease.map(|(lease_ms, _)| (lease_ms, now + lease_ms));
                self.note_version(&id, chunk.version);
                self.chunks.insert(id.clone(), chunk);
                return Some(id);
            }
            (Err(error), Some(_)) if error.code == Code::Err => assert!(offset + count > len, "{error}"),
            (Err(error), Some(chunk)) => self.assert_full(&error, chunk.data.len() as u64),
            (Err(error), None) => assert!(matches!(error.code, Code::NoChunk | Code::NoBuffer), "{error}"),
            (other, known) => panic!("{other:?} for {known:?}"),
        }
        None
    }

    pub fn seal(&mut self) -> Option<String> {
        let id = self.id();
        let is_mortal = self.rng.percent(30);
        let line = format!("LTMC.CHUNK.SEAL b {id}{}", if is_mortal { " PX 4000" } else { "" });
        let (answer, now) = (self.run_line(&line), self.now());
        match self.chunks.get_mut(&id) {
            Some(chunk) => {
                assert_eq!(answer, Ok(Reply::number(chunk.version)));
                chunk.lease = None;
                chunk.ends_at = if is_mortal { Some(now + 4000) } else { chunk.ends_at };
            }
            None => assert!(matches!(answer, Err(error) if matches!(error.code, Code::NoChunk | Code::NoBuffer))),
        }
        None
    }

    pub fn hold(&mut self) -> Option<String> {
        let (id, agent, pins) = (self.id(), self.agent(), self.rng.percent(50));
        let line = match pins {
            true => format!("LTMC.CHUNK.PIN b {id} {agent} PX 3000"),
            false => format!("LTMC.CHUNK.RETAIN b {id} {agent}"),
        };
        let (answer, until) = (self.run_line(&line), self.now() + 3000);
        match (answer, self.chunks.get_mut(&id)) {
            (Ok(_), None) => panic!("{id} is not there"),
            (Ok(reply), Some(chunk)) if pins => {
                assert_eq!(reply, Reply::number(chunk.pin(agent, until)));
            }
            (Ok(reply), Some(chunk)) => assert_eq!(reply, Reply::Integer(chunk.retained.insert(agent).into())),
            (Err(error), Some(chunk)) if error.code == Code::BadState => assert!(chunk.lease.is_some()),
            // What is held cannot make room for itself.
            (Err(error), Some(chunk)) => {
                let bytes = chunk.data.len() as u64;
                self.assert_full(&error, bytes);
            }
            (Err(error), None) => assert!(matches!(error.code, Code::NoChunk | Code::NoBuffer), "{error}"),
        }
        None
    }

    pub fn let_go(&mut self) -> Option<String> {
        let (id, agent, pins) = (self.id(), self.agent(), self.rng.percent(50));
        let word = if pins { "UNPIN" } else { "RELEASE" };
        let answer = self.ok(&format!("LTMC.CHUNK.{word} b {id} {agent}"));
        let had = self.chunks.get_mut(&id).is_some_and(|chunk| match pins {
            true => chunk.pins.remove(&agent).is_some(),
            false => chunk.retained.remove(&agent),
        });
        assert_eq!(answer, Reply::Integer(had.into()));
        None
    }

    pub fn free(&mut self) -> Option<String> {
        let (one, other, now) = (self.id(), self.id(), self.now());
        let found: Vec<String> =
            [&one, &other].into_iter().filter(|id| self.chunks.contains_key(*id)).cloned().collect();
        let is_needed = found.iter().any(|id| self.chunks[id].is_needed(now));
        match self.run_line(&format!("LTMC.CHUNK.FREE b {one} {other}")) {
            Ok(Reply::Integer(count)) => {
                assert!(!is_needed);
                let freed = found.iter().filter(|id| self.chunks.remove(*id).is_some()).count();
                assert_eq!(count as usize, freed);
            }
            other => assert!(is_needed && matches!(other, Err(error) if error.code == Code::BadState)),
        }
        None
    }

    pub fn configure(&mut self) -> Option<String> {
        let max = *self.rng.pick(&[6_000, 20_000, 40_000]);
        let min = *self.rng.pick(&[max, max, 0, 3_000]);
        let policy = *self.rng.pick(&["POLICY GDSF", "POLICY LRU", "POLICY TTL", "RING", "POLICY NONE"]);
        self.ok(&format!("LTMC.CHUNK.BUFFER b MAXBYTES {max} MINBYTES {min} {policy}"));
        // Evictions up to now used the policy before.
        self.absorb_evictions(None);
        (self.evicts, self.stays) = (policy != "POLICY NONE", true);
        None
    }

    pub fn describe(&mut self) -> Option<String> {
        let (id, meta) = (self.id(), *self.rng.pick(&["null", "[1,2]", r#"{"text":"of-more-than-sixteen-bytes"}"#]));
        match (self.run_line(&format!("LTMC.CHUNK.META b {id} {meta}")), self.chunks.get_mut(&id)) {
            (Ok(_), Some(chunk)) => chunk.meta = if meta == "null" { Vec::new() } else { meta.as_bytes().to_vec() },
            // What is held cannot make room for itself.
            (Err(error), Some(chunk)) => {
                let bytes = chunk.data.len() as u64;
                self.assert_full(&error, bytes);
            }
            (Err(error), None) => assert!(matches!(error.code, Code::NoChunk | Code::NoBuffer), "{error}"),
            (Ok(_), None) => panic!("{id} is not there"),
        }
        None
    }

    /// The server restarts with what it saved.
    pub fn restart(&mut self) -> Option<String> {
        use super::world::{key, saved};
        let stored = self.host.peek::<ltmc::domain::buffer::Buffer>(&key())?;
        let (loaded, copy) = (saved(stored), saved(stored));
        self.host.restore(&key(), loaded, copy);
        self.host.gone.clear();
        self.history.note("restart".into());
        self.node.key_changed(key());
        None
    }

    /// A copy of the buffer replaces it. Nobody holds anything in the copy.
    pub fn replace_by_copy(&mut self) -> Option<String> {
        use super::world::key;
        self.original = Some(self.host.replace_by_copy(&key())?);
        self.host.gone.clear();
        self.history.note("COPY b copy, RENAME copy b".into());
        self.chunks.values_mut().for_each(|chunk| {
            chunk.retained.clear();
            chunk.pins.clear();
        });
        self.node.key_changed(key());
        None
    }

    pub fn read(&mut self) -> Option<String> {
        let (id, other) = (self.id(), self.id());
        let content = |world: &World, id: &str| match world.chunks.get(id).filter(|chunk| chunk.lease.is_none()) {
            Some(chunk) => chunk.data.clone(),
            None => b"nil".to_vec(),
        };
        let bytes = |reply: &Reply| match reply {
            Reply::Blob(blob) => blob.to_vec(),
            Reply::BlobPart(blob, part) => blob[part.clone()].to_vec(),
            _ => b"nil".to_vec(),
        };
        let whole = content(self, &id);
        // A call does not name a chunk twice.
        let ids = if id == other { vec![&id] } else { vec![&id, &other] };
        let line = ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(" ");
        let Reply::Array(read) = self.ok(&format!("LTMC.CHUNK.MGET b {line}")) else { panic!("no list") };
        let expected: Vec<Vec<u8>> = ids.iter().map(|id| content(self, id)).collect();
        assert_eq!(read.iter().map(bytes).collect::<Vec<_>>(), expected);
        let (offset, length) = (self.rng.below(700) as usize, self.rng.below(700) as usize);
        let part = self.ok(&format!("LTMC.CHUNK.READ b {id} {offset} {length}"));
        if part != Reply::Nil {
            let (start, end) = (offset.min(whole.len()), (offset + length).min(whole.len()));
            assert_eq!(bytes(&part), whole[start.min(end)..end]);
        }
        let hash = xxh64(&whole);
        let Reply::Array(have) = self.ok(&format!("LTMC.CHUNK.HAVE b 1 {hash:016x}")) else { panic!("no list") };
        if let [Reply::Bytes(found)] = &have[..] {
            assert_eq!(content(self, &String::from_utf8_lossy(found)), whole);
        }
        None
    }
}
