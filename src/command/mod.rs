//! Commands: the table that declares them, the parser, replies, and the one way through which all of them go.
//!
//! ```text
//! argv -> Args (parse) -> domain decides -> dispatch::commit -> Reply
//!                                            replicate, apply, notify, count, hint: in one place, for every service
//! ```
//!
//! Nothing here knows Redis. What a command needs of the server it asks of its [`Host`], which `ffi` implements for Redis and the
//! model tests implement in memory. The state of the process that is in no key (who waits, what is due, counters, settings) is the
//! [`Node`].

pub mod args;
pub mod budget;
pub mod buffer;
pub mod buffer_info;
pub mod buffer_serve;
pub mod cache;
pub mod cache_info;
pub mod cache_serve;
pub mod checks;
pub mod cluster;
pub mod context;
pub mod dispatch;
pub mod flow;
pub mod flow_info;
pub mod flow_locks;
pub mod flow_serve;
pub mod health;
pub mod holders;
pub mod keys;
pub mod kinds;
pub mod lock;
pub mod lock_info;
pub mod lock_serve;
pub mod mail;
pub mod mail_info;
pub mod mail_send;
pub mod mail_serve;
pub mod node;
pub mod passes;
pub mod policies;
pub mod reactions;
pub mod registry;
pub mod registry_filter;
pub mod registry_info;
pub mod registry_serve;
pub mod repair;
pub mod reply;
pub mod schedule;
pub mod server;
pub mod session;
pub mod settings;
pub mod spec;
pub mod sweep;
pub mod table;
pub mod task;
pub mod task_claim;
pub mod task_info;
pub mod trace;
pub mod versioned;
pub mod versioned_serve;
pub mod waits;
pub mod walk;
pub mod watch;

pub use budget::Budget;
pub use checks::Walked;
pub use cluster::Member;
pub use dispatch::{Cx, Outcome};
pub use kinds::Checkable;
pub use node::Node;
pub use reply::Reply;
pub use spec::Access;

use crate::domain::fault::Original;
use crate::domain::wait::WaiterId;
use crate::domain::{Blob, Change, Db, Entity, Error, Fault, KeyId, Millis, Service, Stored};

/// A key that a command or the scheduler works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// Database number.
    pub db: Db,
    /// Name.
    pub name: &'a [u8],
    /// Which argument of the command it is, so that the host need not make the name anew; 0 if none.
    pub arg: usize,
}

impl Key<'_> {
    /// The key's identity.
    pub fn id(&self) -> KeyId {
        KeyId::new(self.db, self.name)
    }
}

impl<'a> From<&'a KeyId> for Key<'a> {
    fn from(id: &'a KeyId) -> Self {
        Key { db: id.db, name: &id.name, arg: 0 }
    }
}

/// What is under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Nothing,
    /// A value of ours, by its [type tag](Entity::TYPE_TAG).
    Ours(u8),
    /// Something else.
    Foreign,
}

/// Whether so much of the memory that the server may take is taken, in thousandths.
fn is_short<H: Host>(host: &H, permille: u64) -> bool {
    host.memory_permille().is_some_and(|taken| taken >= permille)
}

/// How soon a key is looked at again whose slot is on the move, ms.
const UNSURE_MS: Millis = 100;

/// Whether this node may decide about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// It may.
    Here,
    /// Not at this moment: the key's slot is on the move.
    Unsure,
    /// Another node of the cluster serves the slot; the text is what follows `MOVED`.
    Moved(String),
}

/// What the server does for the commands. A host lives for one command or one round of the scheduler.
pub trait Host: Sized + 'static {
    /// What is under `key`.
    fn kind(&mut self, key: Key) -> Kind;

    /// The value of `key`; `None` if there is none. Errs if it is of another type or in quarantine.
    fn read<E: Entity>(&mut self, key: Key) -> Result<Option<&Stored<E>>, Error>;

    /// The same, made if there is none. Only `dispatch` calls it.
    fn write<E: Entity>(&mut self, key: Key) -> Result<&mut Stored<E>, Error>;

    /// The value of `key` even if it is in quarantine, of which `read` and `write` say why. Only `dispatch`, `repair` and
    /// `reactions` call it.
    fn raw<E: Entity>(&mut self, key: Key) -> Result<Option<&mut Stored<E>>, Error>;

    /// The same, made if there is none. Only `dispatch` calls it.
    fn raw_or_new<E: Entity>(&mut self, key: Key) -> Result<&mut Stored<E>, Error>;

    /// Puts the value of `key`, if there is one, into quarantine or takes it out. Only `repair` calls it.
    fn set_fault<E: Entity>(&mut self, key: Key, fault: Option<Fault>) -> Result<(), Error>;

    /// How many values of a service are in quarantine.
    fn quarantined(&self, service: Service) -> u64;

    /// Reads what a broken value was found as. No invariant is checked.
    fn decode<E: Entity>(original: &Original) -> Result<Stored<E>, Error>;

    /// Puts a whole value under `key`, whatever was there. Only `dispatch` and `repair` call it.
    fn put<E: Entity>(&mut self, key: Key, stored: Stored<E>) -> Result<(), Error>;

    /// After a change: deletes the key if it is empty, of which copies are told beside the change, else gives it its TTL; tells those who WATCH or track it.
    fn settle<E: Entity>(&mut self, key: Key);

    /// Sends the changes to replicas and AOF, in the same transaction as everything else of this command.
    fn replicate<E: Entity>(&mut self, key: Key, changes: &[Change<E::Event>]);

    /// Sends the whole value of `key`, after something went wrong between a change and its replication.
    fn replicate_snapshot<E: Entity>(&mut self, key: Key);

    /// Publishes a keyspace notification of the module class.
    fn notify(&mut self, key: Key, event: &'static str);

    /// Redis' id of the client; 0 in the scheduler.
    fn client(&self) -> u64;

    /// Name of the ACL user on whose behalf the command runs; `None` for the server itself and for other modules, which may do anything.
    fn user(&self) -> Option<Vec<u8>>;

    /// Whether that user may do so with a key that is an argument.
    fn may_access(&self, key: Key, access: Access) -> bool;

    /// Whether that user may run a command of ours, by its name, on a key.
    fn may_run(&self, command: &'static str, key: Key) -> bool;

    /// The client whose connection lasts beyond this command; `None` in scripts and inner calls.
    fn connection(&self) -> Option<u64>;

    /// Whether a client of this process is still connected.
    fn is_connected(&self, client: u64) -> bool;

    /// Gives the key its TTL back if something took it away (PERSIST, RESTORE without one).
    fn keep_expiry<E: Entity>(&mut self, key: Key);

    /// Whether the client may wait: not in MULTI, scripts and inner calls.
    fn may_block(&self) -> bool;

    /// Lets the client wait under this id. Its reply comes with [`answer`](Self::answer).
    fn block(&mut self, waiter: WaiterId);

    /// Answers a client that waits, in this tick.
    fn answer(&mut self, waiter: WaiterId, reply: Result<Reply, Error>);

    /// Lets go of keys and values: between two pieces of work of the scheduler.
    fn release_keys(&mut self);

    /// Whether this is a node of a Redis Cluster.
    fn is_clustered(&self) -> bool;

    /// Whether this node may decide about `key`; always [`Ownership::Here`] without cluster.
    fn ownership(&mut self, key: Key) -> Ownership;

    /// Whether this node may decide about all of these keys together. What is there is here; a key that is missing is gone only if its slot is at
    /// rest: else it may have gone ahead to another node, or not have come yet. The server has checked the first of them or none.
    fn presence(&mut self, keys: &[Key]) -> Ownership;

    /// Runs another command with the caller's rights; its reply is sent by [`Reply::Called`].
    fn call(&mut self, args: &[&[u8]]) -> Result<(), Error>;

    /// Argument `index` as a value to keep. If it is replicated, the argument goes along and is not copied once more.
    fn take_blob(&mut self, index: usize, bytes: &[u8]) -> Blob;

    /// Applies a framed payload and what stands beside it to `key` by way of [`dispatch::apply_changes`] and [`dispatch::apply_snapshot`].
    fn apply_payload(cx: &mut Cx<Self>, key: Key, payload: &[u8], blobs: &[&[u8]]) -> Result<(), Error>;

    /// Whether a file is being loaded.
    fn is_loading(&self) -> bool;

    /// Whether what this client sends was checked by a primary before: the link to the primary, or a file that is loaded.
    fn is_trusted(&self) -> bool;

    /// A framed payload, with as much of what stands beside it as is at hand, as JSON of at most `bytes_max` bytes.
    fn explain(&self, payload: &[u8], blobs: &[&[u8]], bytes_max: usize) -> Result<String, Error>;

    /// Goes on with the walk over all keys, and has `visit` look at the next values of ours, `values_max` or somewhat more or less.
    /// `visit` says as how many elements a value counts, for a step of the walk is short.
    fn walk(&mut self, values_max: u64, visit: &mut dyn FnMut(&KeyId, &dyn Checkable) -> usize) -> Walked;

    /// Writes a line to the server's log that somebody should look at.
    fn warn(&self, text: &str);

    /// Writes a line to the server's log.
    fn log(&self, text: &str);

    /// Writes a line to the server's log that only those see who want to know everything.
    fn log_verbose(&self, text: &str);

    /// How long the last tick of the event loop took, and the longest of the last minute, microseconds.
    fn event_loop_delay_us(&self) -> (u64, u64);

    /// How much of the memory that the server may take it has taken, in thousandths; `None` without such a limit.
    fn memory_permille(&self) -> Option<u64>;

    /// Name and version of the server.
    fn server_version(&self) -> String;

    /// How many replicas are connected to this node.
    fn replicas(&self) -> u64;

    /// This node and the others that the server knows of: the nodes of its cluster, or its primary and its replicas.
    fn members(&self) -> Vec<Member>;
}
