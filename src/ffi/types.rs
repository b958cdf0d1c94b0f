//! The key types: how Redis loads, saves, rewrites, measures, digests and frees our values.

use super::api::{c_text, call, Ctx};
use super::contain::contain;
use super::host::RedisHost;
use super::state::{self, Note};
use crate::command::{dispatch, Cx, Host, Key, Kind};
use crate::domain::context::Context;
use crate::domain::lock::Lock;
use crate::domain::registry::Registry;
use crate::domain::session::Session;
use crate::domain::{Entity, Error, KeyId, Stored};
use crate::snapshot::{self, frame, Payload};
use redis_module::raw as rm;
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// Version of the RDB encoding. What is inside is a frame, which has a version of its own.
const ENCODING_VERSION: c_int = 1;

/// Runs `$body` with `$E` being the entity type of a tag.
macro_rules! with_type {
    ($tag:expr, $E:ident => $body:expr) => {
        match $tag {
            <Lock as Entity>::TYPE_TAG => {
                type $E = Lock;
                $body
            }
            <Registry as Entity>::TYPE_TAG => {
                type $E = Registry;
                $body
            }
            <Context as Entity>::TYPE_TAG => {
                type $E = Context;
                $body
            }
            <Session as Entity>::TYPE_TAG => {
                type $E = Session;
                $body
            }
            other => Err(Error::usage(format!("payload has the unknown type tag {other}"))),
        }
    };
}

thread_local! {
    static TYPES: [Cell<*mut rm::RedisModuleType>; 16] = const { [const { Cell::new(ptr::null_mut()) }; 16] };
}

/// Redis' handle of the type of `E`.
pub fn of<E: Entity>() -> *mut rm::RedisModuleType {
    TYPES.with(|types| types[E::TYPE_TAG as usize].get())
}

/// The tag of the type with this handle; `None` if it is not one of ours.
pub fn tag_of(module_type: *mut rm::RedisModuleType) -> Option<u8> {
    let at = TYPES.with(|types| types.iter().position(|known| known.get() == module_type))?;
    u8::try_from(at).ok().filter(|_| !module_type.is_null())
}

/// Registers all types.
pub fn register(ctx: Ctx) -> Result<(), String> {
    register_type::<Registry>(ctx)?;
    register_type::<Context>(ctx)?;
    register_type::<Session>(ctx)?;
    register_type::<Lock>(ctx)
}

fn register_type<E: Entity>(ctx: Ctx) -> Result<(), String> {
    let mut methods = rm::RedisModuleTypeMethods {
        version: u64::from(rm::REDISMODULE_TYPE_METHOD_VERSION),
        rdb_load: Some(rdb_load::<E>),
        rdb_save: Some(rdb_save::<E>),
        aof_rewrite: Some(aof_rewrite::<E>),
        mem_usage: Some(mem_usage::<E>),
        digest: Some(digest::<E>),
        free: Some(free::<E>),
        aux_load: None,
        aux_save: None,
        aux_save_triggers: 0,
        free_effort: Some(free_effort::<E>),
        unlink: None,
        copy: None,
        defrag: None,
        mem_usage2: None,
        free_effort2: None,
        unlink2: Some(unlink::<E>),
        copy2: None,
        aux_save2: None,
    };
    let name = c_text(E::TYPE_NAME);
    let registered = call!(RedisModule_CreateDataType(ctx.0, name.as_ptr(), ENCODING_VERSION, &mut methods));
    if registered.is_null() {
        return Err(format!("the server does not accept the key type {}", E::TYPE_NAME));
    }
    TYPES.with(|types| types[E::TYPE_TAG as usize].set(registered));
    Ok(())
}

/// The value behind Redis' pointer.
fn stored<'a, E: Entity>(value: *const c_void) -> &'a Stored<E> {
    // SAFETY: Redis hands out only what `Host::write`, `Host::put` or `rdb_load` of the same type gave it, and keeps it until `free`.
    unsafe { &*value.cast::<Stored<E>>() }
}

extern "C" fn rdb_load<E: Entity>(io: *mut rm::RedisModuleIO, version: c_int) -> *mut c_void {
    let loaded = contain("loading a key", || {
        if version > ENCODING_VERSION {
            return Err(format!("encoding {version} is newer than this version of LTMC"));
        }
        let bytes = load_bytes(io)?;
        let frame = frame::read(&bytes).map_err(|error| error.line())?;
        if frame.tag != E::TYPE_TAG {
            return Err(format!("it holds type {} under the name of type {}", frame.tag, E::TYPE_TAG));
        }
        match snapshot::decode::<E>(&frame).map_err(|error| error.line())? {
            Payload::Snapshot(stored) => Ok(stored),
            Payload::Changes(_) => Err("it holds changes instead of a value".into()),
        }
    });
    let mut stored = match loaded {
        Some(Ok(stored)) => stored,
        Some(Err(text)) => {
            let text = c_text(&format!("LTMC cannot load a {}: {text}", E::TYPE_NAME));
            call!(RedisModule_LogIOError(io, c"warning".as_ptr(), c"%s".as_ptr(), text.as_ptr()));
            return ptr::null_mut();
        }
        None => return ptr::null_mut(),
    };
    contain("noting a loaded key", || {
        state::with_node(|node| {
            stored.state.loaded(node.now());
            if let Some(key) = key_of(io) {
                dispatch::note_found(node, (&key).into(), &mut stored.state);
                dispatch::note_value(node, (&key).into(), &stored);
            }
        });
    });
    Box::into_raw(Box::new(stored)).cast()
}

fn load_bytes(io: *mut rm::RedisModuleIO) -> Result<Vec<u8>, String> {
    let mut len = 0;
    let start = call!(RedisModule_LoadStringBuffer(io, &mut len));
    if start.is_null() || call!(RedisModule_IsIOError(io)) != 0 {
        return Err("the file ends too early".into());
    }
    // SAFETY: Redis says that `len` bytes start there; they are ours until freed.
    let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) }.to_vec();
    call!(RedisModule_Free(start.cast::<c_void>()));
    Ok(bytes)
}

fn key_of(io: *mut rm::RedisModuleIO) -> Option<KeyId> {
    let name = call!(RedisModule_GetKeyNameFromIO(io));
    let db = call!(RedisModule_GetDbIdFromIO(io));
    if name.is_null() || db < 0 {
        return None;
    }
    Some(KeyId::new(db as u32, super::api::Str(name.cast_mut()).bytes()))
}

extern "C" fn rdb_save<E: Entity>(io: *mut rm::RedisModuleIO, value: *mut c_void) {
    contain("saving a key", || {
        let payload = snapshot::encode_snapshot(stored::<E>(value));
        call!(RedisModule_SaveStringBuffer(io, payload.as_ptr().cast::<c_char>(), payload.len()));
    });
}

extern "C" fn aof_rewrite<E: Entity>(io: *mut rm::RedisModuleIO, key: *mut rm::RedisModuleString, value: *mut c_void) {
    contain("rewriting a key", || {
        let payload = snapshot::encode_snapshot(stored::<E>(value));
        let (start, len) = (payload.as_ptr().cast::<c_char>(), payload.len());
        call!(RedisModule_EmitAOF(io, c"LTMC.APPLY".as_ptr(), c"sb".as_ptr(), key, start, len));
    });
}

extern "C" fn mem_usage<E: Entity>(value: *const c_void) -> usize {
    contain("measuring a key", || stored::<E>(value).memory_bytes()).unwrap_or(0)
}

extern "C" fn digest<E: Entity>(digest: *mut rm::RedisModuleDigest, value: *mut c_void) {
    contain("digesting a key", || {
        // Only ordered collections are saved, so equal states are equal bytes.
        let payload = snapshot::encode_snapshot(stored::<E>(value));
        call!(RedisModule_DigestAddStringBuffer(digest, payload.as_ptr().cast::<c_char>(), payload.len()));
        call!(RedisModule_DigestEndSequence(digest));
    });
}

extern "C" fn free<E: Entity>(value: *mut c_void) {
    contain("freeing a key", || {
        // SAFETY: Redis frees each value once and forgets it.
        drop(unsafe { Box::from_raw(value.cast::<Stored<E>>()) });
    });
}

extern "C" fn free_effort<E: Entity>(_key: *mut rm::RedisModuleString, value: *const c_void) -> usize {
    contain("measuring a key", || stored::<E>(value).state.free_effort()).unwrap_or(1)
}

/// A value leaves its key by DEL, UNLINK, RENAME, expiry or eviction. May run in the middle of any command: leaves notes only.
extern "C" fn unlink<E: Entity>(ctx: *mut rm::RedisModuleKeyOptCtx, value: *const c_void) {
    contain("the end of a key", || {
        let connections = stored::<E>(value).state.connections();
        if connections.is_empty() && !state::cares_about_deletions() {
            return;
        }
        let name = call!(RedisModule_GetKeyNameFromOptCtx(ctx));
        let db = call!(RedisModule_GetDbIdFromOptCtx(ctx));
        if name.is_null() || db < 0 {
            return;
        }
        let key = KeyId::new(db as u32, super::api::Str(name.cast_mut()).bytes());
        if !connections.is_empty() {
            state::note(Note::Untied(key.clone(), connections));
        }
        if state::cares_about_deletions() {
            state::note(Note::KeyChanged(key));
        }
    });
}

/// Applies a framed payload to a key.
pub fn apply_payload(cx: &mut Cx<RedisHost>, key: Key, payload: &[u8]) -> Result<(), Error> {
    let frame = frame::read(payload)?;
    with_type!(frame.tag, E => match snapshot::decode::<E>(&frame)? {
        Payload::Changes(changes) => dispatch::apply_changes::<E, _>(cx, key, &changes),
        Payload::Snapshot(stored) => dispatch::apply_snapshot::<E, _>(cx, key, stored),
    })
}

/// A framed payload as JSON.
pub fn explain(payload: &[u8]) -> Result<String, Error> {
    let frame = frame::read(payload)?;
    with_type!(frame.tag, E => snapshot::explain::<E>(&frame))
}

/// Checks a value of ours, and rebuilds and sends it if it is broken.
pub fn repair(host: &mut RedisHost, key: Key) -> Result<Option<(&'static str, bool)>, Error> {
    match host.kind(key) {
        Kind::Nothing => Ok(None),
        Kind::Foreign => Err(Error::wrong_type()),
        Kind::Ours(tag) => with_type!(tag, E => repair_type::<E>(host, key)),
    }
}

fn repair_type<E: Entity>(host: &mut RedisHost, key: Key) -> Result<Option<(&'static str, bool)>, Error> {
    let Some(stored) = host.read::<E>(key)? else {
        return Ok(None);
    };
    let was_broken = stored.check().is_err();
    let stored = host.write::<E>(key)?;
    stored.state.rebuild();
    if let Err(broken) = stored.check() {
        let text = format!("the {} is broken beyond its derived indexes: {}", E::TYPE_NAME, broken.0);
        return Err(Error::new(crate::domain::Code::Err, text));
    }
    host.settle::<E>(key);
    host.replicate_snapshot::<E>(key);
    Ok(Some((E::TYPE_NAME, was_broken)))
}
