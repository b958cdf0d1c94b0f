//! The port: what a command asks of the server. `ffi` implements it for Redis, the model tests in
//! memory.

use super::reply::Reply;
use crate::command::node::audit::Audit;
use crate::domain::entity::checkable::Checkable;
use crate::domain::entity::expiry::Expiry;
use crate::domain::entity::fault::Original;
use crate::domain::entity::record::Payload;
use crate::domain::node_report::NodeId;
use crate::domain::queue::rank::WaiterId;
use crate::domain::reactions::Remains;
use crate::domain::{Blob, Change, Db, Entity, Error, Fault, KeyId, Millis, Record, Service};
use crate::observe::audit::trail::Trail;
use crate::observe::audit::{Caller, Figures};
use std::sync::Arc;

/// A key that a command or the scheduler works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// Database number.
    pub db: Db,
    /// Name.
    pub name: &'a [u8],
    /// Which argument of the command it is, so that the host need not create the name again; 0 if
    /// none.
    pub arg: usize,
}

impl Key<'_> {
    /// The key's identity.
    pub fn id(&self) -> KeyId {
        KeyId::new(self.db, self.name)
    }

    /// Whether both name the same key.
    pub fn is_same(&self, other: Key) -> bool {
        (self.db, self.name) == (other.db, other.name)
    }
}

impl<'a> From<&'a KeyId> for Key<'a> {
    fn from(id: &'a KeyId) -> Self {
        Key { db: id.db, name: &id.name, arg: 0 }
    }
}

/// What is under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// Nothing.
    Nothing,
    /// A value of ours, by its [type tag](Entity::TYPE_TAG).
    Ours(u8),
    /// Something else.
    Foreign,
}

/// Whether memory use has reached `permille` of maxmemory.
pub fn is_short<H: Host>(host: &H, permille: u64) -> bool {
    host.memory_permille().is_some_and(|taken| taken >= permille)
}

/// How soon to look again at a key whose slot is moving, ms.
pub const UNSURE_MS: Millis = 100;

/// Whether this node may decide about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// It may.
    Here,
    /// Not now: the key's slot is moving.
    Unsure,
    /// Another node of the cluster owns the slot. The text is what follows `MOVED`.
    Moved(String),
}

/// The arguments of a command, the name first, that live beyond it.
pub trait Arguments: Send + Sync {
    /// Their bytes.
    fn bytes(&self) -> Vec<&[u8]>;
}

/// What the server does for the commands. A host lives for one command or one round of the
/// scheduler.
pub trait Host: Sized + 'static {
    /// What is under `key`.
    fn key_type(&mut self, key: Key) -> KeyType;

    /// The value of `key`; `None` if there is none. Errs if it is of another type or in quarantine.
    fn read<E: Entity>(&mut self, key: Key) -> Result<Option<&Record<E>>, Error>;

    /// The same, created if there is none. Only `commit` calls it.
    fn write<E: Entity>(&mut self, key: Key) -> Result<&mut Record<E>, Error>;

    /// The value of `key`, even in quarantine, where `read` and `write` err. Only the engine and
    /// `scrub` call it.
    fn raw<E: Entity>(&mut self, key: Key) -> Result<Option<&mut Record<E>>, Error>;

    /// The same, created if there is none. Only `commit` and `replay` call it.
    fn raw_or_new<E: Entity>(&mut self, key: Key) -> Result<&mut Record<E>, Error>;

    /// Puts the value of `key`, if there is one, into quarantine or takes it out. Only `repair`
    /// calls it.
    fn set_fault<E: Entity>(&mut self, key: Key, fault: Option<Fault>) -> Result<(), Error>;

    /// Whether any value is in quarantine.
    fn has_quarantined(&self) -> bool;

    /// How many values of a service are in quarantine.
    fn quarantined(&self, service: Service) -> u64;

    /// How many keys of each type there are, and how many members they have, by what they
    /// are called.
    fn totals(&self) -> Vec<(&'static str, u64)>;

    /// Reads the original bytes of a broken value. No invariant is checked.
    fn decode<E: Entity>(original: &Original) -> Result<Record<E>, Error>;

    /// Puts a whole value under `key`, whatever was there. Only `replay` and `repair` call it.
    fn put<E: Entity>(&mut self, key: Key, stored: Record<E>) -> Result<(), Error>;

    /// Finishes a change. An empty key is deleted, which replicas and AOF are told beside the
    /// change; of any other, the TTL becomes what the change says. Clients that WATCH or track the
    /// key are told.
    fn finish_change<E: Entity>(&mut self, key: Key, expiry: Expiry);

    /// The end of the key's TTL, unix ms; `None` if it has none.
    fn expires_at(&mut self, key: Key) -> Option<Millis>;

    /// Sends the changes to replicas and AOF, in the same transaction as everything else of this
    /// command.
    fn replicate<E: Entity>(&mut self, key: Key, changes: &[Change<E::Event>]);

    /// Sends the whole value of `key`, after something went wrong between a change and its
    /// replication.
    fn replicate_snapshot<E: Entity>(&mut self, key: Key);

    /// Publishes a keyspace notification of the module class.
    fn notify(&mut self, key: Key, event: &'static str);

    /// Redis' id of the client; 0 in the scheduler.
    fn client(&self) -> u64;

    /// Name of the ACL user for whom the command runs; `None` for the server itself and for other
    /// modules, which may do anything.
    fn user(&self) -> Option<Vec<u8>>;

    /// For whom the command runs, for the audit trail.
    fn caller(&self) -> Caller;

    /// Whether the command runs for this caller.
    fn is_caller(&self, known: &Caller) -> bool {
        self.caller() == *known
    }

    /// The audit trail, with the records of all commands before, which `audit` hands over, unless
    /// its thread is far behind.
    fn trail<T>(&mut self, audit: &mut Audit, work: impl FnOnce(&mut Trail) -> T) -> T;

    /// The figures of the audit trail.
    fn audit_figures(&self) -> Figures;

    /// Has the audit trail go on in a new file of this name, behind what `audit` hands over. Errs
    /// if it cannot be opened.
    fn rotate_audit(&mut self, audit: &mut Audit, file: &str) -> Result<(), Error>;

    /// Whether that user may access, in this way, a key that is an argument.
    fn may_access(&self, key: Key, access: Access) -> bool;

    /// Whether that user may run one of our commands, by its name, on a key.
    fn may_run(&self, command: &'static str, key: Key) -> bool;

    /// Whether that user may run the command with its arguments, which took a thread some time.
    fn may_still_run(&self) -> bool;

    /// The client whose connection lasts beyond this command; `None` in scripts and inner calls.
    fn connection(&self) -> Option<u64>;

    /// Whether a client of this process is still connected.
    fn is_connected(&self, client: u64) -> bool;

    /// Sets the system's clock off by `ms`, as this process sees it.
    #[cfg(feature = "test-hooks")]
    fn step_system_clock(&mut self, ms: i64);

    /// Has threads begin each work so much later.
    #[cfg(feature = "test-hooks")]
    fn delay_threads(&mut self, ms: Millis);

    /// Sets another TTL, and tells replicas and AOF: the value does not allow the one that a client
    /// has given it.
    fn correct_expiry(&mut self, key: Key, expires_at: Option<Millis>);

    /// Whether the client may wait: not in MULTI, scripts and inner calls.
    fn may_block(&self) -> bool;

    /// Lets the client wait under this id. Its reply comes with [`answer`](Self::answer).
    fn block(&mut self, waiter: WaiterId);

    /// The arguments of the command, to be read in a thread.
    fn hold(&mut self) -> Arc<dyn Arguments>;

    /// How many commands of the same ACL user threads work on or have to begin.
    fn offloaded(&self) -> u64;

    /// Answers a waiting client, in this tick.
    fn answer(&mut self, waiter: WaiterId, reply: Result<Reply, Error>);

    /// What is left of values that Redis has deleted by itself since this was last asked.
    fn take_expired(&mut self) -> Vec<(KeyId, Remains)>;

    /// Lets go of keys and values, between two pieces of the scheduler's work.
    fn release_keys(&mut self);

    /// Whether this is a node of a Redis Cluster.
    fn is_clustered(&self) -> bool;

    /// Whether this node may decide about `key`; always [`Ownership::Here`] without cluster.
    fn ownership(&mut self, key: Key) -> Ownership;

    /// Whether this node may decide about all of these keys together. A key that exists is here. A
    /// missing key is gone only if its slot is not moving: else it may have gone ahead to another
    /// node, or not have come yet. The server has checked the first key, or none.
    fn presence(&mut self, keys: &[Key]) -> Ownership;

    /// Runs another command with the caller's rights; its reply is sent by [`Reply::Called`].
    fn call(&mut self, args: &[&[u8]]) -> Result<(), Error>;

    /// Argument `index` as a value to keep. When it is replicated, the argument is sent without a
    /// further copy.
    fn take_blob(&mut self, index: usize, bytes: &[u8]) -> Blob;

    /// The type tag of the value in a framed payload.
    fn payload_tag(payload: &[u8]) -> Result<u8, Error>;

    /// Reads a framed payload of that type, with its blobs, that came for `key`. `None` if it is a
    /// part of a value: it is kept until the value comes.
    fn read_payload<E: Entity>(
        &mut self,
        key: Key,
        payload: &[u8],
        blobs: &[&[u8]],
    ) -> Result<Option<Payload<E>>, Error>;

    /// What a file or a primary sent for `key` cannot be applied and is lost: tells the operator.
    fn payload_lost(&self, key: Key, payload: &[u8], error: &Error);

    /// Whether a file is being loaded.
    fn is_loading(&self) -> bool;

    /// Whether a primary has checked what this client sends: it is the link to the primary, or a
    /// file that is loaded.
    fn is_trusted(&self) -> bool;

    /// A framed payload, with those blobs that are at hand, as JSON of at most `bytes_max` bytes.
    fn explain(&self, payload: &[u8], blobs: &[&[u8]], bytes_max: usize) -> Result<String, Error>;

    /// Continues the walk over all keys. `visit` looks at the next values of ours, about
    /// `values_max` of them. It returns how many elements a value counts as, since a step of the
    /// walk is short.
    fn walk(&mut self, values_max: u64, visit: &mut dyn FnMut(&KeyId, &dyn Checkable) -> usize) -> Walked;

    /// Writes a warning to the server's log.
    fn warn(&self, text: &str);

    /// Writes a line to the server's log.
    fn log(&self, text: &str);

    /// Writes a verbose line to the server's log.
    fn log_verbose(&self, text: &str);

    /// How long the last tick of the event loop took, and the longest of the last minute,
    /// microseconds.
    fn event_loop_delay_us(&self) -> (u64, u64);

    /// Memory use in thousandths of the maximum; `None` without a maximum.
    fn memory_permille(&self) -> Option<u64>;

    /// Whether the server is beyond maxmemory, so that commands that store more are refused.
    fn is_out_of_memory(&self) -> bool;

    /// Name and version of the server.
    fn server_version(&self) -> String;

    /// How many replicas are connected to this node.
    fn replicas(&self) -> u64;

    /// This node and the others that the server knows of: the nodes of its cluster, or its primary
    /// and its replicas.
    fn members(&self) -> Vec<Member>;
}

/// How far a host has come in one step of the walk over its keys.
#[derive(Debug, Default)]
pub struct Walked {
    /// How many values of ours there were.
    pub values: u64,
    /// How many elements they counted as together, see [`Host::walk`].
    pub elements: usize,
    /// Keys whose visit panicked.
    pub panicked: Vec<KeyId>,
    /// Whether these were the last keys, so that the next step begins anew.
    pub is_round_end: bool,
}

/// A node as this server sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id; `None` without cluster.
    pub id: Option<NodeId>,
    /// `ip:port`. The server may not know its own IP.
    pub address: String,
    /// Whether it is this node.
    pub is_self: bool,
    /// Whether it is a replica.
    pub is_replica: bool,
    /// The id of its primary, or an address without cluster; empty if it is a primary.
    pub primary: String,
    /// Whether it can be reached.
    pub link: Link,
    /// How long ago the server heard of it, if it says so: only without cluster.
    pub age_ms: Option<Millis>,
}

/// Whether a node can be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Link {
    /// It can be reached.
    #[default]
    Up,
    /// This node has not reached it for some time. The cluster has not agreed yet that it failed.
    Suspect,
    /// It is a replica that is being filled.
    Syncing,
    /// It cannot be reached.
    Down,
}

impl Link {
    /// The word in replies.
    pub fn word(self) -> &'static str {
        match self {
            Link::Up => "up",
            Link::Suspect => "suspect",
            Link::Syncing => "syncing",
            Link::Down => "down",
        }
    }
}

/// This node, its primary and its replicas. `port` is the port of this server, `replication`
/// returns a field of that section of INFO.
pub fn replication_members(port: u64, replication: impl Fn(&str) -> Option<String>) -> Vec<Member> {
    let own = format!(":{port}");
    let primary = replication("master_host").map(|host| {
        let is_up = replication("master_link_status").is_some_and(|status| status == "up");
        let is_syncing = replication("master_sync_in_progress").is_some_and(|syncing| syncing == "1");
        let link = match (is_up, is_syncing) {
            (true, _) => Link::Up,
            (false, true) => Link::Syncing,
            (false, false) => Link::Down,
        };
        let age = replication("master_last_io_seconds_ago");
        let address = format!("{host}:{}", replication("master_port").unwrap_or_default());
        Member { address, link, age_ms: seconds(age.as_deref()), ..Member::default() }
    });
    let myself = Member {
        address: own.clone(),
        is_self: true,
        is_replica: primary.is_some(),
        primary: primary.as_ref().map(|primary| primary.address.clone()).unwrap_or_default(),
        ..Member::default()
    };
    let replicas = (0..).map_while(|index| replication(&format!("slave{index}")));
    let replicas = replicas.filter_map(|line| replica_member(&line, &own));
    std::iter::once(myself).chain(primary).chain(replicas).collect()
}

/// A replica from its line in INFO: `ip=127.0.0.1,port=6380,state=online,offset=56,lag=1`.
fn replica_member(line: &str, primary: &str) -> Option<Member> {
    let field = |name: &str| line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let is_online = field("state").is_some_and(|state| state == "online");
    Some(Member {
        address: format!("{}:{}", field("ip")?, field("port")?),
        is_replica: true,
        primary: primary.into(),
        link: if is_online { Link::Up } else { Link::Syncing },
        age_ms: seconds(field("lag")).filter(|_| is_online),
        ..Member::default()
    })
}

/// A number of seconds in ms; `None` if there is none, or a negative one.
fn seconds(text: Option<&str>) -> Option<Millis> {
    text.and_then(|text| text.parse::<Millis>().ok()).map(|seconds| seconds.saturating_mul(1000))
}

/// Errs with `TRYAGAIN` if one of these keys is missing and may be on another node, since its slot
/// is moving. The first key was checked by the server or is being looked at. No argument names the
/// others.
pub fn check_here<H: Host>(host: &mut H, keys: &[Key]) -> Result<(), Error> {
    match host.presence(keys) {
        Ownership::Unsure => Err(Error::try_again()),
        // A key that another node owns for good does not exist here.
        Ownership::Here | Ownership::Moved(_) => Ok(()),
    }
}

/// What a command does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    Read,
    /// Reads and changes it.
    Update,
    /// Deletes from it.
    Delete,
}
