//! [`Host`] for Redis: keys, replication, notifications and clients of one command or one round
//! of the scheduler.

use super::api::{memory_permille, Argv, Ctx, Str};
use super::audit::callers;
use super::by_key::ByKey;
use super::held::{HeldArgs, Origin};
use super::{audit, blocking, counts, inner, listeners, state, ticks, types, users, walk, workers};
use crate::command::engine::work::looked_at_reply;
use crate::command::host::{Access, Arguments, Host, Key, KeyType, Member, Ownership, Walked};
use crate::command::node::audit::Audit;
use crate::command::reply::Reply;
use crate::domain::entity::expiry::Expiry;
use crate::domain::entity::fault::Original;
use crate::domain::entity::record::Payload;
use crate::domain::queue::rank::WaiterId;
use crate::domain::reactions::Remains;
use crate::domain::{looked, Blob, Change, Db, Entity, Error, Fault, KeyId, Millis, Record, Service};
use crate::observe::audit::trail::Trail;
use crate::observe::audit::{Caller, Figures};
use crate::snapshot;
use crate::snapshot::{frame, ChangesWriter};
use redis_module::raw as rm;
use smallvec::SmallVec;
use std::cell::OnceCell;
use std::ptr;
use std::sync::Arc;

mod opened;
mod opening;
mod prepared;
mod recovery;
mod sending;
mod values;

use opened::{Opened, Unsent};

/// Redis, during one callback.
pub struct RedisHost {
    ctx: Ctx,
    argv: Argv,
    db: Db,
    /// The client's database, which is selected again at the end.
    home: Db,
    is_scheduler: bool,
    /// Whether the command itself is replicated: LTMC.APPLY.
    verbatim: bool,
    changed: bool,
    opened: ByKey<Opened>,
    unsent: ByKey<Unsent>,
    /// Values taken from the arguments.
    taken: SmallVec<[(Blob, Str); 1]>,
    inner: Vec<Str>,
    blocked: Option<WaiterId>,
    /// The flags of the context, once they were asked for.
    flags: OnceCell<u32>,
    /// The arguments, once a thread is to read some of them.
    held: Option<Arc<HeldArgs>>,
    /// For whom a command runs that runs again, beside its client's context.
    origin: Option<Origin>,
}

impl RedisHost {
    /// For a command with these arguments. `verbatim` says that the command itself is replicated.
    pub fn for_command(ctx: Ctx, argv: Argv, verbatim: bool) -> Self {
        Self::new(ctx, argv, verbatim, ctx.db(), false)
    }

    /// For a round of the scheduler.
    pub fn for_scheduler(ctx: Ctx) -> Self {
        Self::new(ctx, Argv::new(ptr::null(), 0), false, 0, true)
    }

    fn new(ctx: Ctx, argv: Argv, verbatim: bool, db: Db, is_scheduler: bool) -> Self {
        Self {
            ctx,
            argv,
            db,
            home: db,
            is_scheduler,
            verbatim,
            changed: false,
            opened: ByKey::default(),
            unsent: ByKey::default(),
            taken: SmallVec::new(),
            inner: Vec::new(),
            blocked: None,
            flags: OnceCell::new(),
            held: None,
            origin: None,
        }
    }

    fn flags(&self) -> u32 {
        *self.flags.get_or_init(|| self.ctx.flags())
    }

    fn select(&mut self, db: Db) {
        if self.is_scheduler || self.db != db {
            self.ctx.select_db(db);
            self.db = db;
        }
    }

    /// Runs the command that was handed to [`Host::call`] and sends its reply. The state of the
    /// process must not be in use then.
    pub fn run_inner(&mut self) {
        inner::run(self.ctx, &std::mem::take(&mut self.inner), self.user());
    }
}

impl Host for RedisHost {
    fn key_type(&mut self, key: Key) -> KeyType {
        let at = self.open(key);
        let opened = &self.opened[at];
        if opened.value.is_null() {
            return if opened.key.is_empty() { KeyType::Nothing } else { KeyType::Foreign };
        }
        types::tag_of(opened.module_type).map_or(KeyType::Foreign, KeyType::Ours)
    }

    fn read<E: Entity>(&mut self, key: Key) -> Result<Option<&Record<E>>, Error> {
        let at = self.open(key);
        // SAFETY: the value lives as long as its key is open and nobody deletes it. The host is
        // borrowed as long as the result.
        Ok(self.usable::<E>(at)?.map(|value| unsafe { &*value }))
    }

    fn write<E: Entity>(&mut self, key: Key) -> Result<&mut Record<E>, Error> {
        let at = self.open(key);
        self.usable::<E>(at)?;
        self.raw_or_new(key)
    }

    fn raw<E: Entity>(&mut self, key: Key) -> Result<Option<&mut Record<E>>, Error> {
        let at = self.open(key);
        // SAFETY: as in `raw_or_new`.
        Ok(self.value::<E>(at)?.map(|value| unsafe { &mut *value }))
    }

    fn raw_or_new<E: Entity>(&mut self, key: Key) -> Result<&mut Record<E>, Error> {
        let at = self.open(key);
        let value = self.value_or_new::<E>(at)?;
        // SAFETY: as in `read`; the host is borrowed mutably, so no other reference of ours exists.
        Ok(unsafe { &mut *value })
    }

    fn set_fault<E: Entity>(&mut self, key: Key, fault: Option<Fault>) -> Result<(), Error> {
        self.raw::<E>(key)?.into_iter().for_each(|stored| counts::set_fault(stored, fault.clone()));
        Ok(())
    }

    fn has_quarantined(&self) -> bool {
        counts::has_quarantined()
    }

    fn quarantined(&self, service: Service) -> u64 {
        counts::quarantined(service)
    }

    fn totals(&self) -> Vec<(&'static str, u64)> {
        counts::totals()
    }

    fn decode<E: Entity>(original: &Original) -> Result<Record<E>, Error> {
        let frame = frame::read(&original.frame)?;
        snapshot::decode_unchecked(&frame, original.blobs.to_vec())
    }

    fn put<E: Entity>(&mut self, key: Key, stored: Record<E>) -> Result<(), Error> {
        let at = self.open(key);
        self.replace_value(at, stored)
    }

    fn finish_change<E: Entity>(&mut self, key: Key, expiry: Expiry) {
        let at = self.open(key);
        let Ok(Some(value)) = self.value::<E>(at) else {
            return;
        };
        // SAFETY: as in `raw_or_new`; only used before the key is deleted.
        let stored = unsafe { &mut *value };
        counts::recount(stored);
        let (is_empty, is_broken) = (stored.is_empty(), stored.is_broken());
        let opened = &mut self.opened[at];
        self.ctx.signal_modified(opened.name);
        if is_broken {
            // It keeps the TTL that it came with.
        } else if is_empty {
            opened.value = ptr::null_mut();
            state::own_deletion(|| opened.key.delete());
            self.publish(rm::REDISMODULE_NOTIFY_GENERIC, "del", self.opened[at].name);
            let unsent = self.unsent.find(key);
            unsent.into_iter().for_each(|at| self.unsent[at].writer.push::<E>(&[Change::Gone]));
        } else {
            self.set_expiry(at, expiry);
        }
    }

    fn expires_at(&mut self, key: Key) -> Option<Millis> {
        let at = self.open(key);
        self.opened[at].key.expiry()
    }

    fn replicate<E: Entity>(&mut self, key: Key, changes: &[Change<E::Event>]) {
        if self.verbatim || (!self.is_scheduler && !listeners::are_there(self.ctx)) {
            self.changed = true;
            return;
        }
        let at = self.unsent.find(key).unwrap_or_else(|| {
            let (name, own_name) = self.name_of(key);
            self.unsent.push(Unsent { db: key.db, name, own_name, writer: ChangesWriter::new::<E>() })
        });
        self.unsent[at].writer.push::<E>(changes);
    }

    fn replicate_snapshot<E: Entity>(&mut self, key: Key) {
        if self.verbatim {
            self.changed = true;
            return;
        }
        let at = self.open(key);
        let Ok(Some(value)) = self.value::<E>(at) else {
            return;
        };
        // SAFETY: as in `read`.
        let encoded = snapshot::encode_snapshot_beside(unsafe { &*value });
        // The snapshot contains the earlier changes of this key.
        self.drop_unsent(key);
        self.replicate_apply(self.opened[at].name, encoded);
    }

    fn notify(&mut self, key: Key, event: &'static str) {
        let at = self.open(key);
        let name = self.opened[at].name;
        self.publish(rm::REDISMODULE_NOTIFY_MODULE, event, name);
    }

    fn client(&self) -> u64 {
        match &self.origin {
            Some(origin) => origin.client,
            None if self.is_scheduler => 0,
            None => self.ctx.client_id(),
        }
    }

    fn user(&self) -> Option<Vec<u8>> {
        match &self.origin {
            Some(origin) => origin.user.clone(),
            None => users::name(self.ctx),
        }
    }

    fn caller(&self) -> Caller {
        match &self.origin {
            Some(origin) => origin.caller.clone(),
            None => callers::caller(self.ctx, self.connection()),
        }
    }

    fn is_caller(&self, known: &Caller) -> bool {
        if let Some(origin) = &self.origin {
            return origin.caller == *known;
        }
        // The link to the primary has no user.
        !self.is_trusted() && callers::is_caller(self.ctx, self.connection(), known)
    }

    fn trail<T>(&mut self, audit: &mut Audit, work: impl FnOnce(&mut Trail) -> T) -> T {
        audit::with_trail(audit, work)
    }

    fn audit_figures(&self) -> Figures {
        audit::figures()
    }

    fn rotate_audit(&mut self, audit: &mut Audit, file: &str) -> Result<(), Error> {
        audit::rotate(audit, file)
    }

    fn may_access(&self, key: Key, access: Access) -> bool {
        let (name, is_own) = self.name_of(key);
        let may = self.user().is_none_or(|user| users::may_access(self.ctx, &user, name, access));
        if is_own {
            self.ctx.free_string(name);
        }
        may
    }

    fn may_run(&self, command: &'static str, key: Key) -> bool {
        self.user().is_none_or(|user| users::may_run(self.ctx, &user, command, key.name))
    }

    fn may_still_run(&self) -> bool {
        self.user().is_none_or(|user| users::may_run_with(self.ctx, &user, self.argv.strings()))
    }

    fn connection(&self) -> Option<u64> {
        if let Some(origin) = &self.origin {
            return origin.connection;
        }
        let flags = self.flags();
        let in_multi = flags & rm::REDISMODULE_CTX_FLAGS_MULTI != 0;
        let inner = flags & rm::REDISMODULE_CTX_FLAGS_DENY_BLOCKING != 0 && !in_multi;
        let lasts = !inner && flags & rm::REDISMODULE_CTX_FLAGS_LUA == 0 && !self.is_scheduler;
        lasts.then(|| self.ctx.client_id()).filter(|id| *id > 0)
    }

    fn is_connected(&self, client: u64) -> bool {
        self.ctx.knows_client(client)
    }

    #[cfg(feature = "test-hooks")]
    fn step_system_clock(&mut self, ms: i64) {
        super::clock::step_system(ms);
    }

    #[cfg(feature = "test-hooks")]
    fn delay_threads(&mut self, ms: Millis) {
        workers::set_delay(ms);
    }

    fn correct_expiry(&mut self, key: Key, expires_at: Option<Millis>) {
        self.send();
        let at = self.open(key);
        self.set_expiry(at, Expiry::of(expires_at));
        self.ctx.replicate_expiry(self.opened[at].name, expires_at);
    }

    fn may_block(&self) -> bool {
        let no =
            rm::REDISMODULE_CTX_FLAGS_MULTI | rm::REDISMODULE_CTX_FLAGS_LUA | rm::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;
        !self.is_scheduler && self.flags() & no == 0
    }

    fn block(&mut self, waiter: WaiterId) {
        blocking::block(self.ctx, waiter);
        self.blocked = Some(waiter);
    }

    fn hold(&mut self) -> Arc<dyn Arguments> {
        self.held()
    }

    fn offloaded(&self) -> u64 {
        workers::awaited_for(&self.user().unwrap_or_default())
    }

    fn answer(&mut self, waiter: WaiterId, reply: Result<Reply, Error>) {
        if let (Ok(reply), true) = (&reply, cfg!(feature = "test-hooks")) {
            looked(1);
            looked_at_reply(reply);
        }
        blocking::answer(waiter, reply);
    }

    fn take_expired(&mut self) -> Vec<(KeyId, Remains)> {
        state::take_expired()
    }

    fn release_keys(&mut self) {
        // Sent now, so that an expiry that Redis notices in the next piece of work does
        // not overtake it.
        self.send();
    }

    fn is_clustered(&self) -> bool {
        super::cluster::is_enabled(self.ctx)
    }

    fn ownership(&mut self, key: Key) -> Ownership {
        if !self.is_clustered() {
            return Ownership::Here;
        }
        self.let_go_of_keys(key.db);
        super::cluster::ownership(self.ctx, key.name)
    }

    fn presence(&mut self, keys: &[Key]) -> Ownership {
        // A replica has what its primary has, and is not told which slots are moving.
        let is_asked = self.is_clustered() && self.flags() & rm::REDISMODULE_CTX_FLAGS_SLAVE == 0;
        if !is_asked || keys.iter().all(|key| self.key_type(*key) != KeyType::Nothing) {
            return Ownership::Here;
        }
        self.let_go_of_keys(keys[0].db);
        let names: SmallVec<[&[u8]; 4]> = keys.iter().map(|key| key.name).collect();
        super::cluster::presence(self.ctx, &names)
    }

    fn call(&mut self, args: &[&[u8]]) -> Result<(), Error> {
        // The handler runs while our state is in use. The inner command runs when it is free again.
        let argv = self.argv.strings();
        self.inner = argv[argv.len() - args.len()..].iter().map(|arg| Str(*arg)).collect();
        Ok(())
    }

    fn take_blob(&mut self, index: usize, bytes: &[u8]) -> Blob {
        let blob = Blob::from(bytes);
        self.taken.extend(self.argv.get(index).map(|arg| (blob.clone(), arg)));
        blob
    }

    fn payload_tag(payload: &[u8]) -> Result<u8, Error> {
        frame::read(payload).map(|frame| frame.tag)
    }

    fn read_payload<E: Entity>(
        &mut self,
        key: Key,
        payload: &[u8],
        blobs: &[&[u8]],
    ) -> Result<Option<Payload<E>>, Error> {
        types::read_payload(self, key, payload, blobs)
    }

    fn payload_lost(&self, key: Key, payload: &[u8], error: &Error) {
        types::payload_lost(self, key, payload, error);
    }

    fn is_loading(&self) -> bool {
        self.flags() & rm::REDISMODULE_CTX_FLAGS_LOADING != 0
    }

    fn is_trusted(&self) -> bool {
        self.flags() & (rm::REDISMODULE_CTX_FLAGS_REPLICATED | rm::REDISMODULE_CTX_FLAGS_LOADING) != 0
    }

    fn explain(&self, payload: &[u8], blobs: &[&[u8]], bytes_max: usize) -> Result<String, Error> {
        types::explain(payload, blobs, bytes_max)
    }

    fn walk(&mut self, values_max: u64, visit: &mut walk::Visit) -> Walked {
        if self.is_loading() {
            return Walked::default();
        }
        let walked = walk::step(self.ctx, values_max, visit);
        // The walk has selected databases itself.
        self.db = self.ctx.db();
        walked
    }

    fn event_loop_delay_us(&self) -> (u64, u64) {
        ticks::shown()
    }

    fn log(&self, text: &str) {
        self.ctx.log("notice", text);
    }

    fn warn(&self, text: &str) {
        self.ctx.log("warning", text);
    }

    fn log_verbose(&self, text: &str) {
        self.ctx.log("verbose", text);
    }

    fn is_out_of_memory(&self) -> bool {
        self.flags() & rm::REDISMODULE_CTX_FLAGS_OOM != 0
    }

    fn memory_permille(&self) -> Option<u64> {
        memory_permille()
    }

    fn server_version(&self) -> String {
        self.ctx.server_version_text()
    }

    fn replicas(&self) -> u64 {
        self.ctx.server_info("replication").number("connected_slaves")
    }

    fn members(&self) -> Vec<Member> {
        super::cluster::members(self.ctx)
    }
}

impl Drop for RedisHost {
    fn drop(&mut self) {
        self.close_keys();
        self.go_home();
    }
}
