//! A server in memory: keys with TTLs, a replica that is fed by what is replicated, and a log of all that the commands did.

use ltmc::command::dispatch::{apply_changes, apply_snapshot};
use ltmc::command::{Cx, Host, Key, Ownership, Reply};
use ltmc::domain::lock::{Lock, LockEvent};
use ltmc::domain::wait::WaiterId;
use ltmc::domain::{Change, Connection, Entity, Error, KeyId, Millis, Stored};
use ltmc::snapshot::{self, frame, ChangesWriter, Payload};
use std::any::Any;
use std::collections::BTreeMap;

/// What a key holds.
#[derive(Debug)]
pub enum Value {
    Lock(Box<Stored<Lock>>),
    /// Something of another type.
    Foreign,
}

/// Something that the module did or that happened to a key, in order.
#[derive(Debug)]
pub enum Fact {
    /// The server found the key's TTL to be over.
    Vanished(KeyId),
    Event(KeyId, LockEvent),
    Blocked(WaiterId),
    Answered(WaiterId, Result<Reply, Error>),
}

#[derive(Debug, Default)]
pub struct MemoryHost {
    pub keys: BTreeMap<KeyId, (Value, Option<Millis>)>,
    pub replica: BTreeMap<KeyId, Stored<Lock>>,
    pub log: Vec<Fact>,
    /// What Redis would have noted: keys of ours that went away, with the connections they were tied to.
    pub gone: Vec<(KeyId, Vec<Connection>)>,
    pub notifications: u64,
    pub now: Millis,
    pub client: u64,
    pub in_multi: bool,
}

impl MemoryHost {
    /// The lock under `key`, without what an access does to an expired key.
    pub fn peek(&self, key: &KeyId) -> Option<&Stored<Lock>> {
        match self.keys.get(key) {
            Some((Value::Lock(stored), _)) => Some(stored),
            _ => None,
        }
    }

    /// DEL by a client.
    pub fn delete(&mut self, key: &KeyId) {
        self.replica.remove(key);
        if let Some((Value::Lock(stored), _)) = self.keys.remove(key) {
            self.gone.push((key.clone(), stored.state.connections()));
        }
    }

    /// What Redis does whenever a key is looked up.
    pub fn expire_if_needed(&mut self, key: &KeyId) {
        let expired = matches!(self.keys.get(key), Some((_, Some(end))) if *end <= self.now);
        if expired {
            self.delete(key);
            self.log.push(Fact::Vanished(key.clone()));
        }
    }

    fn find<E: Entity>(&mut self, key: Key) -> Result<Option<&mut Stored<E>>, Error> {
        let id = key.id();
        self.expire_if_needed(&id);
        match self.keys.get_mut(&id) {
            None => Ok(None),
            Some((Value::Foreign, _)) => Err(Error::wrong_type()),
            Some((Value::Lock(stored), _)) => {
                let any: &mut dyn Any = &mut **stored;
                any.downcast_mut().map(Some).ok_or_else(Error::wrong_type)
            }
        }
    }
}

impl Host for MemoryHost {
    fn read<E: Entity>(&mut self, key: Key) -> Result<Option<&Stored<E>>, Error> {
        Ok(self.find(key)?.map(|stored| &*stored))
    }

    fn write<E: Entity>(&mut self, key: Key) -> Result<&mut Stored<E>, Error> {
        if self.find::<E>(key)?.is_none() {
            self.keys.insert(key.id(), (Value::Lock(Box::default()), None));
        }
        Ok(self.find(key)?.expect("just made"))
    }

    fn put<E: Entity>(&mut self, key: Key, stored: Stored<E>) -> Result<(), Error> {
        *self.write::<E>(key)? = stored;
        Ok(())
    }

    fn settle<E: Entity>(&mut self, key: Key) {
        let id = key.id();
        let Some((Value::Lock(stored), ttl)) = self.keys.get_mut(&id) else {
            return;
        };
        if stored.is_empty() {
            self.keys.remove(&id);
        } else {
            *ttl = stored.state.expires_at();
        }
    }

    fn replicate<E: Entity>(&mut self, key: Key, changes: &[Change<E::Event>]) {
        let mut writer = ChangesWriter::new::<E>();
        writer.push::<E>(changes);
        let bytes = writer.finish();
        let frame = frame::read(&bytes).expect("our own frame");
        let Ok(Payload::Changes(changes)) = snapshot::decode::<Lock>(&frame) else {
            panic!("our own changes cannot be read");
        };
        let copy = self.replica.entry(key.id()).or_default();
        for change in &changes {
            copy.apply(change);
        }
        if copy.is_empty() {
            self.replica.remove(&key.id());
        }
        let events = changes.into_iter().filter_map(|change| match change {
            Change::Event(event) => Some(Fact::Event(key.id(), event)),
            Change::Answered { .. } | Change::Forgotten { .. } => None,
        });
        self.log.extend(events);
    }

    fn replicate_snapshot<E: Entity>(&mut self, key: Key) {
        let id = key.id();
        if let Some(stored) = self.peek(&id).cloned() {
            self.replica.insert(id, stored);
        }
    }

    fn notify(&mut self, _key: Key, _event: &'static str) {
        self.notifications += 1;
    }

    fn client(&self) -> u64 {
        self.client
    }

    fn user(&self) -> Vec<u8> {
        b"default".to_vec()
    }

    fn is_connected(&self, _client: u64) -> bool {
        true
    }

    fn keep_expiry<E: Entity>(&mut self, _key: Key) {}

    fn connection(&self) -> Option<u64> {
        (self.client > 0).then_some(self.client)
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

    fn release_keys(&mut self) {}

    fn ownership(&mut self, _key: Key) -> Ownership {
        Ownership::Here
    }

    fn call(&mut self, _args: &[&[u8]]) -> Result<(), Error> {
        Ok(())
    }

    fn apply_payload(cx: &mut Cx<Self>, key: Key, payload: &[u8]) -> Result<(), Error> {
        match snapshot::decode::<Lock>(&frame::read(payload)?)? {
            Payload::Changes(changes) => apply_changes::<Lock, _>(cx, key, &changes),
            Payload::Snapshot(stored) => apply_snapshot::<Lock, _>(cx, key, stored),
        }
    }

    fn is_trusted(&self) -> bool {
        false
    }

    fn explain(&self, payload: &[u8]) -> Result<String, Error> {
        snapshot::explain::<Lock>(&frame::read(payload)?)
    }

    fn repair(&mut self, key: Key) -> Result<Option<(&'static str, bool)>, Error> {
        let Some(stored) = self.find::<Lock>(key)? else {
            return Ok(None);
        };
        let broken = stored.check().is_err();
        stored.state.rebuild();
        Ok(Some((Lock::TYPE_NAME, broken)))
    }

    fn log(&self, _text: &str) {}

    fn server_version(&self) -> String {
        "memory".into()
    }
}
