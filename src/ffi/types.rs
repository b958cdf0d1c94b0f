//! The key types: how Redis loads, saves, rewrites, measures, digests and frees our values.

use super::api::{c_text, call, memory_permille, Ctx, Str};
use super::contain::contain;
use super::state::Note;
use super::{clock, counts, detached, state, workers};
use crate::command::engine::replay::unknown_type;
use crate::command::host::{Host, Key};
use crate::domain::algorithm::discard::discard;
use crate::domain::entity::checkable::Checkable;
use crate::domain::entity::record::Payload;
use crate::domain::entity_types::{for_each_type, with_type};
use crate::domain::reactions::{remains, Reacts};
use crate::domain::value::bytes::printable;
use crate::domain::{Blob, Entity, Error, KeyId, Record};
use crate::snapshot;
use crate::snapshot::frame;
use crate::snapshot::frame::Content;
use crate::snapshot::Encoded;
use redis_module::raw as rm;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// The version of the RDB encoding. The frame inside has its own version. 1 is a frame; 2 is a
/// frame, a count, and that many blobs beside it.
const ENCODING_VERSION: c_int = 2;

/// More bytes of blobs than this are written to an AOF as separate commands, so that none of
/// them is too large.
const AOF_PART_BYTES: usize = 32 * 1024 * 1024;

/// Redis' handles of the types by tag. Every access to a value reads this, and a static is faster
/// than a thread local.
static TYPES: [AtomicPtr<rm::RedisModuleType>; 16] = [const { AtomicPtr::new(ptr::null_mut()) }; 16];

/// Redis' handle of the type of `E`.
pub fn of<E: Entity>() -> *mut rm::RedisModuleType {
    TYPES[E::TYPE_TAG as usize].load(Relaxed)
}

/// The tag of the type with this handle; `None` if it is not one of ours.
pub fn tag_of(module_type: *mut rm::RedisModuleType) -> Option<u8> {
    let at = TYPES.iter().position(|known| known.load(Relaxed) == module_type)?;
    u8::try_from(at).ok().filter(|_| !module_type.is_null())
}

/// Registers all types.
pub fn register(ctx: Ctx) -> Result<(), String> {
    for_each_type!(E => register_type::<E>(ctx)?);
    Ok(())
}

fn register_type<E: Reacts>(ctx: Ctx) -> Result<(), String> {
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
        copy2: E::COPIES.then_some(copy::<E>),
        aux_save2: None,
    };
    let name = c_text(E::TYPE_NAME);
    let registered = call!(RedisModule_CreateDataType(ctx.0, name.as_ptr(), ENCODING_VERSION, &mut methods));
    if registered.is_null() {
        return Err(format!("the server does not accept the key type {}", E::TYPE_NAME));
    }
    TYPES[E::TYPE_TAG as usize].store(registered, Relaxed);
    Ok(())
}

/// The value behind Redis' pointer.
fn stored<'a, E: Entity>(value: *const c_void) -> &'a Record<E> {
    // SAFETY: Redis passes only what `Host::write`, `Host::put` or `rdb_load` of the same type gave
    // it, and keeps it until `free`.
    unsafe { &*value.cast::<Record<E>>() }
}

extern "C" fn rdb_load<E: Reacts>(io: *mut rm::RedisModuleIO, version: c_int) -> *mut c_void {
    let loaded = contain("loading a key", || {
        if version > ENCODING_VERSION {
            return Err(format!("encoding {version} is newer than this version of LTMC"));
        }
        let bytes = load_bytes(io, |bytes| bytes.to_vec())?;
        let blobs = if version >= 2 { load_blobs(io)? } else { Vec::new() };
        let stored = read_value::<E>(&bytes, blobs).map_err(|error| error.line())?;
        if is_restored() {
            check_restored(&stored)?;
        }
        Ok(stored)
    });
    let mut stored = match loaded {
        Some(Ok(stored)) => stored,
        Some(Err(text)) => {
            log_io(io, &format!("LTMC cannot load a {}: {text}", E::TYPE_NAME));
            return ptr::null_mut();
        }
        None => return ptr::null_mut(),
    };
    if let Some(fault) = stored.fault() {
        let key = key_of(io).map_or_else(String::new, |key| format!(" '{}' in database {}", key.name.show(), key.db));
        log_io(io, &format!("LTMC: the {}{key} is broken, and in quarantine: {}", E::TYPE_NAME, fault.text()));
    } else {
        contain("noting a loaded key", || {
            state::with_node(|node| {
                stored.state.loaded(node.now());
                if let Some(key) = key_of(io) {
                    crate::command::engine::replay::note_found(node, (&key).into(), &mut stored.state);
                    crate::command::engine::replay::note_value(node, (&key).into(), &stored);
                    crate::command::engine::remains::note_estate(node, &key, &stored);
                }
            });
        });
    }
    counts::count_value(&mut stored);
    Box::into_raw(Box::new(stored)).cast()
}

fn log_io(io: *mut rm::RedisModuleIO, text: &str) {
    let text = c_text(text);
    call!(RedisModule_LogIOError(io, c"warning".as_ptr(), c"%s".as_ptr(), text.as_ptr()));
}

/// Reads a value from a file or a primary. If no value can be made of an intact frame, the result
/// is a broken value: one key must not stop a server from starting.
fn read_value<E: Entity>(bytes: &[u8], blobs: Vec<Blob>) -> Result<Record<E>, Error> {
    let frame = frame::read(bytes)?;
    let read = contain("reading a key", || snapshot::decode_value::<E>(&frame, blobs.clone()));
    Ok(match read {
        Some(Ok(stored)) => stored,
        Some(Err(error)) => snapshot::broken(error.text, bytes, blobs),
        None => snapshot::broken(Error::internal().text, bytes, blobs),
    })
}

/// Whether a value comes from a client's RESTORE, so that no primary has checked it. Values from
/// files and from a primary are accepted as they are.
fn is_restored() -> bool {
    let flags = Ctx(ptr::null_mut()).flags();
    let trusted =
        [rm::REDISMODULE_CTX_FLAGS_LOADING, rm::REDISMODULE_CTX_FLAGS_ASYNC_LOADING, rm::REDISMODULE_CTX_FLAGS_SLAVE];
    trusted.into_iter().all(|flag| flags & flag == 0)
}

fn check_restored<E: Entity>(stored: &Record<E>) -> Result<(), String> {
    if let Some(fault) = stored.fault() {
        return Err(fault.text());
    }
    let checked = state::with_node(|node| crate::command::engine::replay::check_handed_in(node, stored));
    checked.unwrap_or(Ok(())).map_err(|error| error.line())
}

fn load_bytes<T>(io: *mut rm::RedisModuleIO, take: impl FnOnce(&[u8]) -> T) -> Result<T, String> {
    let mut len = 0;
    let start = call!(RedisModule_LoadStringBuffer(io, &mut len));
    check_io(io)?;
    if start.is_null() {
        return Err("the file ends too early".into());
    }
    // SAFETY: Redis says that `len` bytes start there; they are ours until freed.
    let taken = take(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) });
    call!(RedisModule_Free(start.cast::<c_void>()));
    Ok(taken)
}

fn load_blobs(io: *mut rm::RedisModuleIO) -> Result<Vec<Blob>, String> {
    let count = call!(RedisModule_LoadUnsigned(io));
    check_io(io)?;
    // One after the other: a false count reaches the end of the file without costing memory.
    (0..count).map(|_| load_bytes(io, |bytes| Blob::from(bytes))).collect()
}

fn check_io(io: *mut rm::RedisModuleIO) -> Result<(), String> {
    if call!(RedisModule_IsIOError(io)) != 0 {
        return Err("the file ends too early".into());
    }
    Ok(())
}

fn key_of(io: *mut rm::RedisModuleIO) -> Option<KeyId> {
    let name = call!(RedisModule_GetKeyNameFromIO(io));
    let db = call!(RedisModule_GetDbIdFromIO(io));
    if name.is_null() || db < 0 {
        return None;
    }
    Some(KeyId::new(db as u32, Str(name.cast_mut()).bytes()))
}

/// The result of `encode` for a value. If it panics, something has to be written nevertheless, or
/// the file could not be loaded: then that is a broken value.
fn encoded<E: Entity>(value: *const c_void, encode: impl FnOnce(&Record<E>) -> Encoded) -> Encoded {
    contain("encoding a key", || encode(stored::<E>(value))).unwrap_or_else(snapshot::encode_nothing::<E>)
}

extern "C" fn rdb_save<E: Entity>(io: *mut rm::RedisModuleIO, value: *mut c_void) {
    contain("saving a key", || {
        let Encoded { frame, blobs } = encoded::<E>(value, snapshot::encode_snapshot_beside);
        call!(RedisModule_SaveStringBuffer(io, frame.as_ptr().cast::<c_char>(), frame.len()));
        call!(RedisModule_SaveUnsigned(io, blobs.len() as u64));
        for blob in &blobs {
            call!(RedisModule_SaveStringBuffer(io, blob.as_ptr().cast::<c_char>(), blob.len()));
        }
    });
}

extern "C" fn aof_rewrite<E: Entity>(io: *mut rm::RedisModuleIO, key: *mut rm::RedisModuleString, value: *mut c_void) {
    contain("rewriting a key", || {
        let Encoded { frame, blobs } = encoded::<E>(value, snapshot::encode_rewrite);
        let mut rest = &blobs[..];
        while let Some(count) = first_part(rest) {
            let (part, others) = rest.split_at(count);
            emit_aof(io, key, &snapshot::encode_part::<E>(), part);
            rest = others;
        }
        emit_aof(io, key, &frame, rest);
    });
}

/// How many of the blobs form a part of their own; `None` if together they are not too large.
fn first_part(blobs: &[Blob]) -> Option<usize> {
    let mut bytes = 0;
    let too_many = |blob: &Blob| {
        bytes += blob.len();
        bytes > AOF_PART_BYTES
    };
    // At least one, however large it is.
    blobs.iter().position(too_many).filter(|_| blobs.len() > 1).map(|at| at.max(1))
}

fn emit_aof(io: *mut rm::RedisModuleIO, key: *mut rm::RedisModuleString, payload: &[u8], blobs: &[Blob]) {
    let (start, len) = (payload.as_ptr().cast::<c_char>(), payload.len());
    // Strings that live only during this call need no context.
    let nowhere = Ctx(ptr::null_mut());
    let strings: Vec<_> = blobs.iter().map(|blob| nowhere.new_string(blob).0).collect();
    let (first, count) = (strings.as_ptr(), strings.len());
    call!(RedisModule_EmitAOF(io, c"LTMC.APPLY".as_ptr(), c"sbv".as_ptr(), key, start, len, first, count));
    strings.into_iter().for_each(|string| nowhere.free_string(Str(string)));
}

extern "C" fn mem_usage<E: Entity>(value: *const c_void) -> usize {
    contain("measuring a key", || stored::<E>(value).memory_bytes()).unwrap_or(0)
}

extern "C" fn digest<E: Entity>(digest: *mut rm::RedisModuleDigest, value: *mut c_void) {
    contain("digesting a key", || {
        // Only ordered collections are saved, so equal states are equal bytes.
        let Encoded { frame, blobs } = encoded::<E>(value, snapshot::encode_snapshot_beside);
        for bytes in [&frame[..]].into_iter().chain(blobs.iter().map(|blob| &blob[..])) {
            call!(RedisModule_DigestAddStringBuffer(digest, bytes.as_ptr().cast::<c_char>(), bytes.len()));
        }
        call!(RedisModule_DigestEndSequence(digest));
    });
}

extern "C" fn free<E: Entity>(value: *mut c_void) {
    contain("freeing a key", || {
        // SAFETY: Redis frees each value once and forgets it.
        let stored = unsafe { Box::from_raw(value.cast::<Record<E>>()) };
        counts::forget_value(&stored);
        let pieces = stored.free_effort();
        discard(stored, pieces);
    });
}

/// Frees what consists of many pieces or bytes, of a key or of something in one.
pub fn free_large(value: Box<dyn Any + Send>) {
    // The server has a thread of its own for large values, which it asks only if a client says so,
    // or a setting. Then this may be that thread, or one of ours.
    if detached::context().is_some() && !is_short_of_memory() {
        workers::free(value);
    }
}

/// Whether the server may be evicting keys: then it waits for the memory of each.
fn is_short_of_memory() -> bool {
    memory_permille().is_some_and(|permille| permille >= 900)
}

extern "C" fn free_effort<E: Entity>(_key: *mut rm::RedisModuleString, value: *const c_void) -> usize {
    contain("measuring a key", || stored::<E>(value).free_effort()).unwrap_or(1)
}

/// COPY. Replicas run the same command, so the copy depends on nothing but the value. The new key
/// is looked at afterwards, as after a RENAME: its hints, and its TTL if it differs from the copied
/// one. A value in quarantine is not copied.
extern "C" fn copy<E: Entity>(_ctx: *mut rm::RedisModuleKeyOptCtx, value: *const c_void) -> *mut c_void {
    let stored = stored::<E>(value);
    let copied = contain("copying a key", || stored.fault().is_none().then(|| Box::new(stored.copied())));
    copied.flatten().map_or(ptr::null_mut(), |mut copied| {
        counts::count_value(&mut *copied);
        Box::into_raw(copied).cast()
    })
}

/// A value leaves its key by DEL, UNLINK, RENAME, expiry or eviction. May run in the middle of any
/// command, so it only leaves notes.
extern "C" fn unlink<E: Reacts>(ctx: *mut rm::RedisModuleKeyOptCtx, value: *const c_void) {
    contain("the end of a key", || {
        let stored = stored::<E>(value);
        let (connections, bindings) = (stored.state.connections(), stored.bindings().cloned().collect::<Vec<_>>());
        let (is_own, is_watched) = (state::is_own_deletion(), state::cares_about_deletions());
        let remains = if is_own { None } else { remains(stored, clock::now_us() / 1000, is_watched) };
        let is_noted = E::GIVES_WAY || !connections.is_empty() || !bindings.is_empty();
        if !is_noted && !is_watched && remains.is_none() {
            return;
        }
        let name = call!(RedisModule_GetKeyNameFromOptCtx(ctx));
        let db = call!(RedisModule_GetDbIdFromOptCtx(ctx));
        if name.is_null() || db < 0 {
            return;
        }
        let key = KeyId::new(db as u32, Str(name.cast_mut()).bytes());
        state::will_expire(remains.map(|remains| (key.clone(), remains)));
        if is_noted {
            state::note(Note::ValueGone(key.clone(), connections, bindings));
        }
        if is_watched {
            state::note(Note::KeyChanged(key));
        }
    });
}

thread_local! {
    /// What an AOF held for the next value: the blobs of its parts.
    static PARTS: RefCell<(Option<KeyId>, Vec<Blob>)> = const { RefCell::new((None, Vec::new())) };
}

/// Reports that something from a file or a primary cannot be applied.
pub fn payload_lost(host: &impl Host, key: Key, payload: &[u8], error: &Error) {
    host.warn(&format!("LTMC cannot apply to '{}' what came in: {}", printable(key.name), error.line()));
    if frame::is_newer(payload) && host.is_loading() {
        // A server continues after an error in its AOF. Then what a newer version has written would
        // be missing silently.
        host.warn("LTMC: this AOF needs a newer version of LTMC; the server stops");
        std::process::exit(1);
    }
}

/// Reads a framed payload and the blobs beside it. `None` if it is a part of a value.
pub fn read_payload<E: Entity>(
    host: &impl Host,
    key: Key,
    payload: &[u8],
    blobs: &[&[u8]],
) -> Result<Option<Payload<E>>, Error> {
    let frame = frame::read(payload)?;
    let blobs = blobs.iter().map(|blob| Blob::from(*blob));
    if frame.content == Content::Part {
        if !host.is_loading() {
            return Err(Error::usage("payload is a part of a value, which only a file has"));
        }
        keep_part(key.id(), blobs);
        return Ok(None);
    }
    let is_value = frame.content.is_whole() || frame.content == Content::Misplaced;
    let parts = if is_value { take_parts(&key.id()) } else { Vec::new() };
    let blobs: Vec<Blob> = parts.into_iter().chain(blobs).collect();
    if is_value && host.is_trusted() {
        let original = if frame.content == Content::Misplaced { frame.payload } else { payload };
        return read_value::<E>(original, blobs).map(|stored| Some(Payload::Snapshot(stored)));
    }
    snapshot::decode_with::<E>(&frame, blobs).map(Some)
}

fn keep_part(key: KeyId, blobs: impl Iterator<Item = Blob>) {
    PARTS.with_borrow_mut(|(owner, parts)| {
        if owner.as_ref() != Some(&key) {
            (*owner, *parts) = (Some(key), Vec::new());
        }
        parts.extend(blobs);
    });
}

fn take_parts(key: &KeyId) -> Vec<Blob> {
    let (owner, parts) = PARTS.take();
    if owner.as_ref() == Some(key) {
        parts
    } else {
        Vec::new()
    }
}

/// A framed payload as JSON of at most `bytes_max` bytes.
pub fn explain(payload: &[u8], blobs: &[&[u8]], bytes_max: usize) -> Result<String, Error> {
    let frame = frame::read(payload)?;
    let blobs = blobs.iter().map(|blob| Blob::from(*blob)).collect();
    with_type!(frame.tag, E => snapshot::explain::<E>(&frame, blobs, bytes_max), other => Err(unknown_type(other)))
}

/// The value behind Redis' pointer, to be checked.
pub fn checkable<'a>(tag: u8, value: *const c_void) -> Option<&'a dyn Checkable> {
    with_type!(tag, E => Some(stored::<E>(value)), _other => None)
}
