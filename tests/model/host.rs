//! A server in memory: keys with TTLs, a replica that is fed by what is replicated, and a log of
//! all that the commands did.

use crate::held::{remains_of, Held, Kept};
use ltmc::command::engine::entity_types;
use ltmc::command::host::{Access, Arguments, Host, Key, KeyType, Member, Ownership, Walked};
use ltmc::command::node::audit::Audit;
use ltmc::command::reply::Reply;
use ltmc::domain::cache::CacheEvent;
use ltmc::domain::entity::checkable::Checkable;
use ltmc::domain::entity::expiry::Expiry;
use ltmc::domain::entity::{fault, record::Payload};
use ltmc::domain::lock::{Lock, LockEvent};
use ltmc::domain::queue::rank::WaiterId;
use ltmc::domain::reactions::Remains;
use ltmc::domain::registry::RegistryEvent;
use ltmc::domain::{Blob, Change, Connection, Entity, Error, Fault, KeyId, Millis, Record, Service};
use ltmc::observe::audit::batch::Batch;
use ltmc::observe::audit::trail::Trail;
use ltmc::observe::audit::{Caller, Figures};
use ltmc::snapshot::{self, frame, ChangesWriter, Encoded};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a key holds.
#[derive(Debug)]
pub enum Value {
    Ours(Box<dyn Held>),
    /// Something of another type.
    Foreign,
}

/// Something that the module did, or that happened to a key, in order.
#[derive(Debug)]
pub enum Fact {
    /// The server found that the key's TTL had run out.
    Vanished(KeyId),
    Event(KeyId, LockEvent),
    /// Events of a registry that were decided together, from the same state.
    Agent(KeyId, Vec<RegistryEvent>),
    /// Events of a cache that were decided together.
    Cache(Vec<CacheEvent>),
    Blocked(WaiterId),
    Answered(WaiterId, Result<Reply, Error>),
}

#[derive(Debug, Default)]
pub struct MemoryHost {
    pub keys: BTreeMap<KeyId, (Value, Option<Millis>)>,
    pub replica: BTreeMap<KeyId, Box<dyn Held>>,
    pub log: Vec<Fact>,
    /// What Redis would have noted: keys of ours that are gone, with the connections they were tied
    /// to.
    pub gone: Vec<(KeyId, Vec<Connection>)>,
    /// What is left of keys that ended by their TTL.
    pub expired: Vec<(KeyId, Remains)>,
    pub notifications: u64,
    pub now: Millis,
    pub client: u64,
    pub in_multi: bool,
    /// The arguments of the command that runs.
    pub args: Vec<Vec<u8>>,
    /// Whether the slot of all keys is moving: a missing key may be elsewhere.
    pub is_slot_open: bool,
    /// What `members` returns.
    pub members: Vec<Member>,
    /// What `memory_permille` returns.
    pub memory_permille: Option<u64>,
    pub trail: Trail,
}

impl MemoryHost {
    /// The value under `key`. Unlike an access, this does not remove an expired key.
    pub fn peek<E: Entity>(&self, key: &KeyId) -> Option<&Record<E>> {
        match self.keys.get(key) {
            Some((Value::Ours(held), _)) => held.any().downcast_ref(),
            _ => None,
        }
    }

    /// What the replica has under `key`.
    pub fn copied<E: Entity>(&self, key: &KeyId) -> Option<&Record<E>> {
        self.replica.get(key)?.any().downcast_ref()
    }

    /// Puts a value under a key, here and on the replica, as RESTORE or RENAME does.
    pub fn restore<E: Entity>(&mut self, key: &KeyId, stored: Record<E>, copy: Record<E>) {
        self.delete(key);
        self.keys.insert(key.clone(), (Value::Ours(Box::new(stored)), None));
        self.replica.insert(key.clone(), Box::new(copy));
    }

    /// The replica's value becomes the primary's, and the replica gets another one.
    pub fn promote<E: Entity>(&mut self, key: &KeyId, next_copy: Record<E>) {
        if let Some(copy) = self.replica.insert(key.clone(), Box::new(next_copy)) {
            self.keys.insert(key.clone(), (Value::Ours(copy), None));
        }
    }

    /// DEL by a client.
    pub fn delete(&mut self, key: &KeyId) {
        self.replica.remove(key);
        if let Some((Value::Ours(held), _)) = self.keys.remove(key) {
            self.gone.push((key.clone(), held.connections()));
        }
    }

    /// What Redis does whenever a key is looked up.
    pub fn expire_if_needed(&mut self, key: &KeyId) {
        let expired = matches!(self.keys.get(key), Some((_, Some(end))) if *end <= self.now);
        if expired {
            if let Value::Ours(held) = &self.keys[key].0 {
                self.expired.extend(remains_of(&**held, self.now).map(|remains| (key.clone(), remains)));
            }
            self.delete(key);
            self.log.push(Fact::Vanished(key.clone()));
        }
    }

    fn fault_of(&self, key: Key) -> Option<&Fault> {
        match &self.keys.get(&key.id())?.0 {
            Value::Ours(held) => held.fault(),
            Value::Foreign => None,
        }
    }

    fn find<E: Entity>(&mut self, key: Key) -> Result<Option<&mut Record<E>>, Error> {
        let id = key.id();
        self.expire_if_needed(&id);
        match self.keys.get_mut(&id) {
            None => Ok(None),
            Some((Value::Foreign, _)) => Err(Error::wrong_type()),
            Some((Value::Ours(held), _)) => held.any_mut().downcast_mut().map(Some).ok_or_else(Error::wrong_type),
        }
    }
}

/// The events of a value of type `E` that were decided together.
fn facts<E: Entity>(key: &KeyId, events: Vec<E::Event>) -> Vec<Fact> {
    let events: Box<dyn Any> = Box::new(events);
    let others = match events.downcast::<Vec<RegistryEvent>>() {
        Ok(events) if events.is_empty() => return Vec::new(),
        Ok(events) => return vec![Fact::Agent(key.clone(), *events)],
        Err(others) => others,
    };
    let others = match others.downcast::<Vec<CacheEvent>>() {
        Ok(events) => return vec![Fact::Cache(*events)],
        Err(others) => others,
    };
    // The models of sessions and contexts look at their values, not at their events.
    let locks = others.downcast::<Vec<LockEvent>>().unwrap_or_default();
    locks.into_iter().map(|event| Fact::Event(key.clone(), event)).collect()
}

impl Host for MemoryHost {
    #[cfg(feature = "test-hooks")]
    fn step_system_clock(&mut self, _ms: i64) {}

    #[cfg(feature = "test-hooks")]
    fn delay_threads(&mut self, _ms: Millis) {}

    fn key_type(&mut self, key: Key) -> KeyType {
        let id = key.id();
        self.expire_if_needed(&id);
        match self.keys.get(&id) {
            None => KeyType::Nothing,
            Some((Value::Foreign, _)) => KeyType::Foreign,
            Some((Value::Ours(held), _)) => KeyType::Ours(held.tag()),
        }
    }

    fn read<E: Entity>(&mut self, key: Key) -> Result<Option<&Record<E>>, Error> {
        self.find::<E>(key)?;
        if let Some(fault) = self.fault_of(key) {
            return Err(fault.error(key.name));
        }
        Ok(self.find(key)?.map(|stored| &*stored))
    }

    fn write<E: Entity>(&mut self, key: Key) -> Result<&mut Record<E>, Error> {
        if self.read::<E>(key)?.is_none() {
            self.keys.insert(key.id(), (Value::Ours(Box::new(Record::<E>::default())), None));
        }
        Ok(self.find(key)?.expect("just made"))
    }

    fn raw<E: Entity>(&mut self, key: Key) -> Result<Option<&mut Record<E>>, Error> {
        self.find(key)
    }

    fn raw_or_new<E: Entity>(&mut self, key: Key) -> Result<&mut Record<E>, Error> {
        if self.find::<E>(key)?.is_none() {
            self.keys.insert(key.id(), (Value::Ours(Box::new(Record::<E>::default())), None));
        }
        Ok(self.find(key)?.expect("just made"))
    }

    fn set_fault<E: Entity>(&mut self, key: Key, fault: Option<Fault>) -> Result<(), Error> {
        self.find::<E>(key)?.into_iter().for_each(|stored| stored.set_fault(fault.clone()));
        Ok(())
    }

    fn has_quarantined(&self) -> bool {
        self.keys.values().any(|(value, _)| matches!(value, Value::Ours(held) if held.fault().is_some()))
    }

    fn quarantined(&self, service: Service) -> u64 {
        let of_service = |value: &Value| match value {
            Value::Ours(held) => {
                held.fault().is_some() && entity_types::service_of(KeyType::Ours(held.tag())) == Some(service)
            }
            Value::Foreign => false,
        };
        self.keys.values().filter(|(value, _)| of_service(value)).count() as u64
    }

    fn totals(&self) -> Vec<(&'static str, u64)> {
        let mut totals = BTreeMap::new();
        for (value, _) in self.keys.values() {
            let Value::Ours(held) = value else { continue };
            let (keys, members) = held.counted();
            *totals.entry(keys).or_default() += 1;
            members.into_iter().for_each(|(name, count)| *totals.entry(name).or_default() += count);
        }
        totals.into_iter().collect()
    }

    fn decode<E: Entity>(original: &fault::Original) -> Result<Record<E>, Error> {
        snapshot::decode_unchecked(&frame::read(&original.frame)?, original.blobs.to_vec())
    }

    fn put<E: Entity>(&mut self, key: Key, stored: Record<E>) -> Result<(), Error> {
        self.find::<E>(key)?;
        let end = self.keys.get(&key.id()).and_then(|(_, end)| *end);
        self.keys.insert(key.id(), (Value::Ours(Box::new(stored)), end));
        Ok(())
    }

    fn finish_change<E: Entity>(&mut self, key: Key, expiry: Expiry) {
        let id = key.id();
        let Some((Value::Ours(held), ttl)) = self.keys.get_mut(&id) else {
            return;
        };
        let stored = held.any().downcast_ref::<Record<E>>().expect("settled under its own type");
        if stored.is_empty() {
            self.keys.remove(&id);
            self.replicate::<E>(key, &[Change::Gone]);
        } else {
            match expiry {
                Expiry::Keeps => {}
                Expiry::At(end) => *ttl = Some(end),
                Expiry::Never => *ttl = None,
            }
        }
    }

    fn expires_at(&mut self, key: Key) -> Option<Millis> {
        let id = key.id();
        self.expire_if_needed(&id);
        self.keys.get(&id)?.1
    }

    fn replicate<E: Entity>(&mut self, key: Key, changes: &[Change<E::Event>]) {
        let mut writer = ChangesWriter::new::<E>();
        writer.push::<E>(changes);
        let Encoded { frame: bytes, blobs } = writer.finish();
        let frame = frame::read(&bytes).expect("our own frame");
        let Ok(Payload::Changes(changes)) = snapshot::decode_with::<E>(&frame, blobs) else {
            panic!("our own changes cannot be read");
        };
        let copy = self.replica.entry(key.id()).or_insert_with(|| Box::new(Record::<E>::default()));
        let copy = copy.any_mut().downcast_mut::<Record<E>>().expect("the replica has the same types");
        for change in &changes {
            copy.apply(change);
        }
        // A new key is empty between its two payloads.
        let is_born = matches!(changes[..], [Change::Born { .. }]);
        if copy.is_empty() && !is_born {
            self.replica.remove(&key.id());
        }
        let events = changes.into_iter().filter_map(|change| match change {
            Change::Event(event) => Some(event),
            _ => None,
        });
        self.log.extend(facts::<E>(&key.id(), events.collect()));
    }

    fn replicate_snapshot<E: Entity>(&mut self, key: Key) {
        let id = key.id();
        if let Some(payload) = self.peek::<E>(&id).map(snapshot::encode_snapshot) {
            let frame = frame::read(&payload).expect("our own frame");
            let Ok(Payload::Snapshot(stored)) = snapshot::decode::<E>(&frame) else {
                panic!("our own snapshot cannot be read");
            };
            self.replica.insert(id, Box::new(stored));
        }
    }

    fn notify(&mut self, _key: Key, _event: &'static str) {
        self.notifications += 1;
    }

    fn client(&self) -> u64 {
        self.client
    }

    fn user(&self) -> Option<Vec<u8>> {
        Some(b"default".to_vec())
    }

    fn caller(&self) -> Caller {
        Caller { user: self.user().map(Into::into), client: Some(self.client), addr: None }
    }

    fn trail<T>(&mut self, audit: &mut Audit, work: impl FnOnce(&mut Trail) -> T) -> T {
        audit.take(Batch::default()).records().for_each(|record| self.trail.push(&record));
        work(&mut self.trail)
    }

    fn audit_figures(&self) -> Figures {
        Figures::default()
    }

    fn rotate_audit(&mut self, _audit: &mut Audit, _file: &str) -> Result<(), Error> {
        Err(Error::usage("there are no files here"))
    }

    fn may_access(&self, _key: Key, _access: Access) -> bool {
        true
    }

    fn may_run(&self, _command: &'static str, _key: Key) -> bool {
        true
    }

    fn is_connected(&self, _client: u64) -> bool {
        true
    }

    fn correct_expiry(&mut self, key: Key, expires_at: Option<Millis>) {
        self.keys.get_mut(&key.id()).expect("it was just read").1 = expires_at;
    }

    fn connection(&self) -> Option<u64> {
        (self.client > 0).then_some(self.client)
    }

    fn hold(&mut self) -> Arc<dyn Arguments> {
        Arc::new(Kept(self.args.clone()))
    }

    fn offloaded(&self) -> u64 {
        0
    }

    fn may_still_run(&self) -> bool {
        true
    }

    fn may_block(&self) -> bool {
        !self.in_multi
    }

    fn block(&mut self, waiter: WaiterId) {
        self.log.push(Fact::Blocked(waiter));
    }

    fn answer(&mut self, waiter: WaiterId, reply: Result<Reply, Error>) {
        self.log.push(Fact::Answered(waiter, reply));
    }

    fn take_expired(&mut self) -> Vec<(KeyId, Remains)> {
        std::mem::take(&mut self.expired)
    }

    fn release_keys(&mut self) {}

    fn is_clustered(&self) -> bool {
        self.is_slot_open
    }

    fn ownership(&mut self, key: Key) -> Ownership {
        self.presence(&[key])
    }

    fn presence(&mut self, keys: &[Key]) -> Ownership {
        if self.is_slot_open && keys.iter().any(|key| self.key_type(*key) == KeyType::Nothing) {
            return Ownership::Unsure;
        }
        Ownership::Here
    }

    fn call(&mut self, _args: &[&[u8]]) -> Result<(), Error> {
        Ok(())
    }

    fn take_blob(&mut self, _index: usize, bytes: &[u8]) -> Blob {
        Blob::from(bytes)
    }

    fn payload_tag(payload: &[u8]) -> Result<u8, Error> {
        frame::read(payload).map(|frame| frame.tag)
    }

    fn read_payload<E: Entity>(
        &mut self,
        _key: Key,
        payload: &[u8],
        blobs: &[&[u8]],
    ) -> Result<Option<Payload<E>>, Error> {
        let blobs = blobs.iter().map(|blob| Blob::from(*blob)).collect();
        snapshot::decode_with::<E>(&frame::read(payload)?, blobs).map(Some)
    }

    fn payload_lost(&self, _key: Key, _payload: &[u8], _error: &Error) {}

    fn is_loading(&self) -> bool {
        false
    }

    fn is_trusted(&self) -> bool {
        false
    }

    fn explain(&self, payload: &[u8], blobs: &[&[u8]], bytes_max: usize) -> Result<String, Error> {
        let blobs = blobs.iter().map(|blob| Blob::from(*blob)).collect();
        snapshot::explain::<Lock>(&frame::read(payload)?, blobs, bytes_max)
    }

    fn walk(&mut self, _values_max: u64, visit: &mut dyn FnMut(&KeyId, &dyn Checkable) -> usize) -> Walked {
        let mut walked = Walked { is_round_end: true, ..Walked::default() };
        for (key, (value, _)) in &self.keys {
            let Value::Ours(held) = value else { continue };
            walked.values += 1;
            walked.elements += visit(key, held.checkable());
        }
        walked
    }

    fn event_loop_delay_us(&self) -> (u64, u64) {
        (0, 0)
    }

    fn warn(&self, _text: &str) {}

    fn log(&self, _text: &str) {}

    fn log_verbose(&self, _text: &str) {}

    fn is_out_of_memory(&self) -> bool {
        self.memory_permille.is_some_and(|taken| taken > 1000)
    }

    fn memory_permille(&self) -> Option<u64> {
        self.memory_permille
    }

    fn server_version(&self) -> String {
        "memory".into()
    }

    fn replicas(&self) -> u64 {
        1
    }

    fn members(&self) -> Vec<Member> {
        self.members.clone()
    }
}
