//! [`Host`] for Redis: keys, replication, notifications and clients of one command or one round of the scheduler.

use super::api::{c_text, call, Ctx, OpenKey, Str};
use super::{blocking, listeners, state, types};
use crate::command::{Cx, Host, Key, Ownership, Reply};
use crate::domain::wait::WaiterId;
use crate::domain::{Change, Code, Db, Entity, Error, Stored};
use crate::snapshot::ChangesWriter;
use redis_module::raw as rm;
use smallvec::SmallVec;
use std::ffi::c_int;

/// A key in use.
struct Opened {
    db: Db,
    name: Str,
    /// The name is a string of our own that has to be freed.
    own_name: bool,
    key: OpenKey,
}

/// Changes of a key that are not sent yet.
struct Unsent {
    db: Db,
    name: Vec<u8>,
    writer: ChangesWriter,
}

/// Redis, for as long as one callback runs.
pub struct RedisHost {
    ctx: Ctx,
    argv: SmallVec<[Str; 16]>,
    db: Db,
    is_scheduler: bool,
    /// The command itself is what is replicated: LTMC.APPLY.
    verbatim: bool,
    changed: bool,
    opened: SmallVec<[Opened; 2]>,
    unsent: Vec<Unsent>,
    inner: Vec<Str>,
    blocked: Option<WaiterId>,
}

impl RedisHost {
    /// For a command with these arguments. `verbatim`: the command itself is what is replicated.
    pub fn for_command(ctx: Ctx, argv: SmallVec<[Str; 16]>, verbatim: bool) -> Self {
        Self::new(ctx, argv, verbatim, ctx.db(), false)
    }

    /// For a round of the scheduler.
    pub fn for_scheduler(ctx: Ctx) -> Self {
        Self::new(ctx, SmallVec::new(), false, 0, true)
    }

    fn new(ctx: Ctx, argv: SmallVec<[Str; 16]>, verbatim: bool, db: Db, is_scheduler: bool) -> Self {
        Self {
            ctx,
            argv,
            db,
            is_scheduler,
            verbatim,
            changed: false,
            opened: SmallVec::new(),
            unsent: Vec::new(),
            inner: Vec::new(),
            blocked: None,
        }
    }

    fn flags(&self) -> u32 {
        self.ctx.flags()
    }

    fn select(&mut self, db: Db) {
        if self.is_scheduler || self.db != db {
            self.ctx.select_db(db);
            self.db = db;
        }
    }

    fn open(&mut self, key: Key) -> usize {
        let known = |opened: &Opened| opened.db == key.db && opened.name.bytes() == key.name;
        if let Some(at) = self.opened.iter().position(known) {
            return at;
        }
        self.select(key.db);
        let from_argv = if key.arg > 0 {
            self.argv.get(key.arg).copied()
        } else {
            None
        };
        let name = from_argv.unwrap_or_else(|| self.ctx.new_string(key.name));
        let opened = OpenKey::open(self.ctx, name, true);
        self.opened.push(Opened {
            db: key.db,
            name,
            own_name: from_argv.is_none(),
            key: opened,
        });
        self.opened.len() - 1
    }

    fn value<E: Entity>(&mut self, at: usize) -> Result<Option<*mut Stored<E>>, Error> {
        let key = &self.opened[at].key;
        let value = key.value();
        if !value.is_null() && key.module_type() == types::of::<E>() {
            return Ok(Some(value.cast::<Stored<E>>()));
        }
        if key.is_empty() {
            Ok(None)
        } else {
            Err(Error::wrong_type())
        }
    }

    /// Closes the keys that are in use. What Redis may delete behind our back must not be open then.
    pub fn close_keys(&mut self) {
        for opened in self.opened.drain(..) {
            let Opened {
                name, own_name, key, ..
            } = opened;
            drop(key);
            if own_name {
                self.ctx.free_string(name);
            }
        }
    }

    /// Sends what is unsent and closes all keys: the end of every callback that used a host.
    pub fn finish(&mut self) {
        self.close_keys();
        for unsent in std::mem::take(&mut self.unsent) {
            self.select(unsent.db);
            let name = self.ctx.new_string(&unsent.name);
            self.ctx.replicate(c"LTMC.APPLY", name, &unsent.writer.finish());
            self.ctx.free_string(name);
        }
        if std::mem::take(&mut self.changed) {
            // LTMC.APPLY goes on as it came; any other command only if nobody listens, and then it just marks the data as changed.
            self.ctx.replicate_verbatim();
        }
    }

    /// Runs the command that was handed to [`Host::call`] and sends its reply. The state of the process is not in use then.
    pub fn run_inner(&mut self) {
        let inner = std::mem::take(&mut self.inner);
        let Some((command, args)) = inner.split_first() else {
            return;
        };
        let name = c_text(&String::from_utf8_lossy(command.bytes()));
        // Scripts are refused in script mode, though they are as safe here as anywhere else.
        let upper = command.bytes().to_ascii_uppercase();
        let is_script = upper.starts_with(b"EVAL") || upper.starts_with(b"FCALL");
        let format = if is_script { c"v!CEM0" } else { c"v!CEMS0" };
        let mut pointers: Vec<_> = args.iter().map(|arg| arg.0).collect();
        let reply = call!(RedisModule_Call(
            self.ctx.0,
            name.as_ptr(),
            format.as_ptr(),
            pointers.as_mut_ptr(),
            pointers.len()
        ));
        if reply.is_null() {
            super::reply::write_error(self.ctx, "ERR the inner command could not be run");
            return;
        }
        if is_denial(reply) {
            super::reply::write_error(
                self.ctx,
                "NOPERM the user has no permission to run the inner command or to access its keys",
            );
        } else {
            call!(RedisModule_ReplyWithCallReply(self.ctx.0, reply));
        }
        call!(RedisModule_FreeCallReply(reply));
    }

    /// The waiter that the client has become in this command.
    pub fn blocked(&self) -> Option<WaiterId> {
        self.blocked
    }
}

/// Redis 7.0 says that an inner command is not allowed by a text of its own instead of NOPERM.
fn is_denial(reply: *mut rm::RedisModuleCallReply) -> bool {
    const TEXT: &[u8] = b"ERR acl verification failed";
    if call!(RedisModule_CallReplyType(reply)) != rm::REDISMODULE_REPLY_ERROR as c_int {
        return false;
    }
    let mut len = 0;
    let start = call!(RedisModule_CallReplyStringPtr(reply, &mut len));
    // SAFETY: Redis says that `len` bytes start there; they live as long as the reply.
    !start.is_null() && unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) }.starts_with(TEXT)
}

impl Host for RedisHost {
    fn read<E: Entity>(&mut self, key: Key) -> Result<Option<&Stored<E>>, Error> {
        let at = self.open(key);
        // SAFETY: the value lives as long as its key is open and nobody deletes it; the host is borrowed as long as the result.
        Ok(self.value::<E>(at)?.map(|value| unsafe { &*value }))
    }

    fn write<E: Entity>(&mut self, key: Key) -> Result<&mut Stored<E>, Error> {
        let at = self.open(key);
        let value = match self.value::<E>(at)? {
            Some(value) => value,
            None => {
                let value = Box::into_raw(Box::<Stored<E>>::default());
                if !self.opened[at].key.set_value(types::of::<E>(), value.cast()) {
                    // SAFETY: Redis did not take it, so it is still ours alone.
                    drop(unsafe { Box::from_raw(value) });
                    return Err(Error::new(Code::Err, "the server did not accept the value"));
                }
                value
            }
        };
        // SAFETY: as in `read`; the host is borrowed mutably, so nothing else of ours refers to the value.
        Ok(unsafe { &mut *value })
    }

    fn put<E: Entity>(&mut self, key: Key, stored: Stored<E>) -> Result<(), Error> {
        let at = self.open(key);
        self.value::<E>(at)?;
        let value = Box::into_raw(Box::new(stored));
        if self.opened[at].key.set_value(types::of::<E>(), value.cast()) {
            return Ok(());
        }
        // SAFETY: Redis did not take it, so it is still ours alone.
        drop(unsafe { Box::from_raw(value) });
        Err(Error::new(Code::Err, "the server did not accept the value"))
    }

    fn settle<E: Entity>(&mut self, key: Key) {
        let at = self.open(key);
        let Ok(Some(value)) = self.value::<E>(at) else {
            return;
        };
        // SAFETY: as in `read`; only looked at before the key is deleted.
        let (is_empty, expires_at) = unsafe { ((*value).is_empty(), (*value).state.expires_at()) };
        let opened = &self.opened[at];
        if is_empty {
            state::own_deletion(|| opened.key.delete());
        } else {
            opened.key.set_expiry(expires_at);
        }
        self.ctx.signal_modified(opened.name);
        if is_empty {
            self.ctx
                .notify(rm::REDISMODULE_NOTIFY_GENERIC, "del", self.opened[at].name);
        }
    }

    fn replicate<E: Entity>(&mut self, key: Key, changes: &[Change<E::Event>]) {
        if self.verbatim || (!self.is_scheduler && !listeners::are_there(self.ctx)) {
            self.changed = true;
            return;
        }
        let known = self
            .unsent
            .iter()
            .position(|unsent| unsent.db == key.db && unsent.name == key.name);
        let at = known.unwrap_or_else(|| {
            self.unsent.push(Unsent {
                db: key.db,
                name: key.name.to_vec(),
                writer: ChangesWriter::new::<E>(),
            });
            self.unsent.len() - 1
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
        let payload = crate::snapshot::encode_snapshot(unsafe { &*value });
        self.unsent
            .retain(|unsent| !(unsent.db == key.db && unsent.name == key.name));
        self.ctx.replicate(c"LTMC.APPLY", self.opened[at].name, &payload);
    }

    fn notify(&mut self, key: Key, event: &'static str) {
        let at = self.open(key);
        self.ctx
            .notify(rm::REDISMODULE_NOTIFY_MODULE, event, self.opened[at].name);
    }

    fn client(&self) -> u64 {
        if self.is_scheduler {
            0
        } else {
            self.ctx.client_id()
        }
    }

    fn connection(&self) -> Option<u64> {
        let flags = self.flags();
        let in_multi = flags & rm::REDISMODULE_CTX_FLAGS_MULTI != 0;
        let inner = flags & rm::REDISMODULE_CTX_FLAGS_DENY_BLOCKING != 0 && !in_multi;
        let lasts = !inner && flags & rm::REDISMODULE_CTX_FLAGS_LUA == 0 && !self.is_scheduler;
        lasts.then(|| self.ctx.client_id()).filter(|id| *id > 0)
    }

    fn may_block(&self) -> bool {
        let no = rm::REDISMODULE_CTX_FLAGS_MULTI
            | rm::REDISMODULE_CTX_FLAGS_LUA
            | rm::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;
        !self.is_scheduler && self.flags() & no == 0
    }

    fn block(&mut self, waiter: WaiterId) {
        blocking::block(self.ctx, waiter);
        self.blocked = Some(waiter);
    }

    fn answer(&mut self, waiter: WaiterId, reply: Result<Reply, Error>) {
        blocking::answer(waiter, reply);
    }

    fn release_keys(&mut self) {
        self.close_keys();
    }

    fn ownership(&mut self, key: Key) -> Ownership {
        if self.flags() & rm::REDISMODULE_CTX_FLAGS_CLUSTER == 0 {
            return Ownership::Here;
        }
        // The inner command may find the key expired and delete it.
        self.close_keys();
        self.select(key.db);
        super::cluster::ownership(self.ctx, key.name)
    }

    fn call(&mut self, args: &[&[u8]]) -> Result<(), Error> {
        // The handler runs in the middle of our own state; the inner command runs when that is free again.
        let first = self.argv.len() - args.len();
        self.inner = self.argv[first..].to_vec();
        Ok(())
    }

    fn apply_payload(cx: &mut Cx<Self>, key: Key, payload: &[u8]) -> Result<(), Error> {
        types::apply_payload(cx, key, payload)
    }

    fn is_trusted(&self) -> bool {
        self.flags() & (rm::REDISMODULE_CTX_FLAGS_REPLICATED | rm::REDISMODULE_CTX_FLAGS_LOADING) != 0
    }

    fn explain(&self, payload: &[u8]) -> Result<String, Error> {
        types::explain(payload)
    }

    fn repair(&mut self, key: Key) -> Result<Option<(&'static str, bool)>, Error> {
        types::repair(self, key)
    }

    fn log(&self, text: &str) {
        self.ctx.log("notice", text);
    }

    fn server_version(&self) -> String {
        self.ctx.server_version_text()
    }
}

impl Drop for RedisHost {
    fn drop(&mut self) {
        self.close_keys();
    }
}
