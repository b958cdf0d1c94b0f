//! Thin safe wrappers of the module API. Each calls one function of Redis. Whether a server has a
//! function is found by checking for it, never by its version.

use super::clock;
pub(crate) use super::function::{call, has};
use redis_module::raw as rm;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::ptr;

/// The context of a callback, valid until the callback returns; or the detached one, always valid.
#[derive(Debug, Clone, Copy)]
pub struct Ctx(pub *mut rm::RedisModuleCtx);

/// A string of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Str(pub *mut rm::RedisModuleString);

/// Text for a C function. It ends at a NUL byte, which C could not hold.
pub fn c_text(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// How much of `maxmemory` is used, in thousandths; `None` without one.
pub fn memory_permille() -> Option<u64> {
    let share = f64::from(call!(RedisModule_GetUsedMemoryRatio()));
    (share > 0.0).then_some((share * 1000.0) as u64)
}

impl Str {
    /// Its bytes. They are valid as long as the string, which the caller knows; all uses end
    /// within one callback.
    pub fn bytes<'a>(self) -> &'a [u8] {
        let mut len = 0;
        let start = call!(RedisModule_StringPtrLen(self.0, &mut len));
        if start.is_null() {
            return &[];
        }
        // SAFETY: Redis says that `len` bytes start there, and our code never changes strings.
        unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) }
    }
}

/// The arguments of a command, valid until its handler returns.
#[derive(Debug, Clone, Copy)]
pub struct Argv {
    start: *const *mut rm::RedisModuleString,
    len: usize,
}

impl Argv {
    /// The `len` arguments that Redis passed at `start`.
    pub fn new(start: *const *mut rm::RedisModuleString, len: c_int) -> Self {
        Self { start, len: if start.is_null() { 0 } else { len as usize } }
    }

    /// All arguments.
    pub fn strings(&self) -> &[*mut rm::RedisModuleString] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: Redis passed `len` strings at `start`, all valid until the handler returns, and
        // this lives no longer.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }

    /// The argument at `index`.
    pub fn get(&self, index: usize) -> Option<Str> {
        self.strings().get(index).map(|string| Str(*string))
    }
}

impl Ctx {
    /// A new string; freed with [`free_string`](Self::free_string).
    pub fn new_string(self, bytes: &[u8]) -> Str {
        Str(call!(RedisModule_CreateString(self.0, bytes.as_ptr().cast(), bytes.len())))
    }

    /// Frees a string that we have made.
    pub fn free_string(self, string: Str) {
        call!(RedisModule_FreeString(self.0, string.0));
    }

    /// Writes a line to the server's log. The text is an argument and not the format, so it
    /// may hold anything.
    pub fn log(self, level: &str, text: &str) {
        let (level, text) = (c_text(level), c_text(text));
        call!(RedisModule_Log(self.0, level.as_ptr(), c"%s".as_ptr(), text.as_ptr()));
    }

    /// Redis' `REDISMODULE_CTX_FLAGS_*`.
    pub fn flags(self) -> u32 {
        call!(RedisModule_GetContextFlags(self.0)) as u32
    }

    /// Redis' id of the client, 0 if there is none.
    pub fn client_id(self) -> u64 {
        call!(RedisModule_GetClientId(self.0))
    }

    /// Whether a client with this id is connected.
    pub fn knows_client(self, id: u64) -> bool {
        call!(RedisModule_GetClientInfoById(std::ptr::null_mut(), id)) == rm::REDISMODULE_OK as c_int
    }

    /// The selected database.
    pub fn db(self) -> u32 {
        call!(RedisModule_GetSelectedDb(self.0)) as u32
    }

    /// Selects a database.
    pub fn select_db(self, db: u32) {
        call!(RedisModule_SelectDb(self.0, db as c_int));
    }

    /// Sets `REDISMODULE_OPTIONS_*`.
    pub fn set_module_options(self, options: u32) {
        call!(RedisModule_SetModuleOptions(self.0, options as c_int));
    }

    /// A section of INFO.
    pub fn server_info(self, section: &str) -> ServerInfo {
        let section = c_text(section);
        ServerInfo { ctx: self, data: call!(RedisModule_GetServerInfo(self.0, section.as_ptr())) }
    }

    /// The server's version as one number, 0x00MMmmpp. Development builds have 255 in every place.
    pub fn server_version(self) -> i32 {
        if has!(RedisModule_GetServerVersion) {
            call!(RedisModule_GetServerVersion())
        } else {
            0
        }
    }

    /// Name and version of the server.
    pub fn server_version_text(self) -> String {
        let info = self.server_info("server");
        match info.text("valkey_version") {
            Some(version) => format!("valkey {version}"),
            None => format!("redis {}", info.text("redis_version").unwrap_or_default()),
        }
    }

    /// Sends a command to replicas and AOF.
    pub fn replicate(self, command: &CStr, key: Str, payload: &[u8], blobs: &[Str]) {
        let (start, len) = (payload.as_ptr().cast::<c_char>(), payload.len());
        if blobs.is_empty() {
            call!(RedisModule_Replicate(self.0, command.as_ptr(), c"sb".as_ptr(), key.0, start, len));
        } else {
            let blobs: Vec<_> = blobs.iter().map(|blob| blob.0).collect();
            let (first, count) = (blobs.as_ptr(), blobs.len());
            call!(RedisModule_Replicate(self.0, command.as_ptr(), c"sbv".as_ptr(), key.0, start, len, first, count));
        }
    }

    /// Sends what sets a key's TTL, unix ms of LTMC's time, or takes it away.
    pub fn replicate_expiry(self, key: Str, at: Option<u64>) {
        match at {
            Some(at) => {
                let at = clock::to_system(at) as i64;
                call!(RedisModule_Replicate(self.0, c"PEXPIREAT".as_ptr(), c"sl".as_ptr(), key.0, at));
            }
            None => drop(call!(RedisModule_Replicate(self.0, c"PERSIST".as_ptr(), c"s".as_ptr(), key.0))),
        }
    }

    /// Sends the running command as the client wrote it. If nobody listens, it only marks the
    /// data as changed.
    pub fn replicate_verbatim(self) {
        call!(RedisModule_ReplicateVerbatim(self.0));
    }

    /// Publishes a keyspace notification.
    pub fn notify(self, class: c_int, event: &str, key: Str) {
        // The names are short and our own, so a lock makes no allocation for them.
        let mut name = [0u8; 48];
        let len = event.len().min(name.len() - 1);
        name[..len].copy_from_slice(&event.as_bytes()[..len]);
        call!(RedisModule_NotifyKeyspaceEvent(self.0, class, name.as_ptr().cast(), key.0));
    }

    /// Tells clients that WATCH or track a key that it changed.
    pub fn signal_modified(self, key: Str) {
        call!(RedisModule_SignalModifiedKey(self.0, key.0));
    }

    /// The context for timers and everything that outlives a callback.
    pub fn detached(self) -> Ctx {
        Ctx(call!(RedisModule_GetDetachedThreadSafeContext(self.0)))
    }
}

/// Some fields of INFO.
pub struct ServerInfo {
    ctx: Ctx,
    data: *mut rm::RedisModuleServerInfoData,
}

impl ServerInfo {
    /// A field as text.
    pub fn text(&self, field: &str) -> Option<String> {
        let field = c_text(field);
        let value = call!(RedisModule_ServerInfoGetFieldC(self.data, field.as_ptr()));
        if value.is_null() {
            return None;
        }
        // SAFETY: Redis returns a NUL-terminated text that lives as long as `self.data`.
        Some(unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned())
    }

    /// A field as a number; 0 if it is not a number.
    pub fn number(&self, field: &str) -> u64 {
        self.text(field).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

impl Drop for ServerInfo {
    fn drop(&mut self) {
        call!(RedisModule_FreeServerInfo(self.ctx.0, self.data));
    }
}

/// The reply of a command that we ran. Freed when dropped.
pub struct CallReply(*mut rm::RedisModuleCallReply);

impl CallReply {
    /// Takes what `RM_Call` returned. Null means that the command was not run.
    pub fn new(reply: *mut rm::RedisModuleCallReply) -> Option<Self> {
        // Not then_some: that would first make one from null, and drop it.
        (!reply.is_null()).then(|| Self(reply))
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        call!(RedisModule_CallReplyType(self.0)) == rm::REDISMODULE_REPLY_ERROR as c_int
    }

    /// Its number, if it is one.
    pub fn integer(&self) -> Option<i64> {
        let is_integer = call!(RedisModule_CallReplyType(self.0)) == rm::REDISMODULE_REPLY_INTEGER as c_int;
        is_integer.then(|| call!(RedisModule_CallReplyInteger(self.0)))
    }

    /// The number of its elements.
    pub fn elements(&self) -> usize {
        call!(RedisModule_CallReplyLength(self.0))
    }

    /// Its text, if it is one.
    pub fn text(&self) -> Option<String> {
        text_of(self.0)
    }

    /// The text of one of its elements.
    pub fn element_text(&self, index: usize) -> Option<String> {
        let element = call!(RedisModule_CallReplyArrayElement(self.0, index));
        if element.is_null() {
            return None;
        }
        text_of(element)
    }

    /// Sends it to the client as it is.
    pub fn forward(&self, ctx: Ctx) {
        call!(RedisModule_ReplyWithCallReply(ctx.0, self.0));
    }
}

fn text_of(reply: *mut rm::RedisModuleCallReply) -> Option<String> {
    let mut len = 0;
    let start = call!(RedisModule_CallReplyStringPtr(reply, &mut len));
    if start.is_null() {
        return None;
    }
    // SAFETY: Redis says that `len` bytes start there. They live as long as the reply,
    // which is freed later.
    let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) };
    Some(String::from_utf8_lossy(bytes).into_owned())
}

impl Drop for CallReply {
    fn drop(&mut self) {
        call!(RedisModule_FreeCallReply(self.0));
    }
}

/// An opened key. Closed when dropped.
#[derive(Debug)]
pub struct OpenKey(*mut rm::RedisModuleKey);

impl OpenKey {
    /// Opens `name` in the selected database. Redis deletes it if it has expired.
    pub fn open(ctx: Ctx, name: Str, write: bool) -> Self {
        let mode = rm::REDISMODULE_READ as c_int | if write { rm::REDISMODULE_WRITE as c_int } else { 0 };
        Self(call!(RedisModule_OpenKey(ctx.0, name.0, mode)))
    }

    /// Whether there is nothing under it.
    pub fn is_empty(&self) -> bool {
        self.0.is_null() || call!(RedisModule_KeyType(self.0)) == rm::REDISMODULE_KEYTYPE_EMPTY as c_int
    }

    /// The module type under it; null if it holds something else.
    pub fn module_type(&self) -> *mut rm::RedisModuleType {
        if self.0.is_null() {
            return ptr::null_mut();
        }
        call!(RedisModule_ModuleTypeGetType(self.0))
    }

    /// The value of a module type; null if it holds something else.
    pub fn value(&self) -> *mut c_void {
        if self.0.is_null() {
            return ptr::null_mut();
        }
        call!(RedisModule_ModuleTypeGetValue(self.0))
    }

    /// Stores a value of a module type under it and frees the previous one.
    pub fn set_value(&self, module_type: *mut rm::RedisModuleType, value: *mut c_void) -> bool {
        call!(RedisModule_ModuleTypeSetValue(self.0, module_type, value)) == rm::REDISMODULE_OK as c_int
    }

    /// Deletes it.
    pub fn delete(&self) {
        call!(RedisModule_DeleteKey(self.0));
    }

    /// Its expiry, unix ms of LTMC's time.
    pub fn expiry(&self) -> Option<u64> {
        u64::try_from(call!(RedisModule_GetAbsExpire(self.0))).ok().map(clock::from_system)
    }

    /// Sets or removes its expiry, unix ms of LTMC's time.
    pub fn set_expiry(&self, at: Option<u64>) {
        match at {
            Some(at) => drop(call!(RedisModule_SetAbsExpire(self.0, clock::to_system(at) as i64))),
            None if self.expiry().is_none() => {}
            None => drop(call!(RedisModule_SetAbsExpire(self.0, rm::REDISMODULE_NO_EXPIRE as i64))),
        }
    }
}

impl Drop for OpenKey {
    fn drop(&mut self) {
        if !self.0.is_null() {
            call!(RedisModule_CloseKey(self.0));
        }
    }
}
