//! What a host keeps of each key that it works on.

use crate::command::host::Key;
use crate::domain::Db;
use crate::ffi::api::{OpenKey, Str};
use crate::ffi::by_key::OfKey;
use crate::snapshot::ChangesWriter;
use redis_module::raw as rm;
use std::ffi::c_void;

/// A key in use.
pub struct Opened {
    pub db: Db,
    /// The argument of the command that names it; 0 if none does.
    pub arg: usize,
    pub name: Str,
    /// Whether the name is our own string, which has to be freed.
    pub own_name: bool,
    pub key: OpenKey,
    /// The value, if it is of a module type.
    pub value: *mut c_void,
    pub module_type: *mut rm::RedisModuleType,
}

impl OfKey for Opened {
    fn key(&self) -> Key<'_> {
        Key { db: self.db, name: self.name.bytes(), arg: self.arg }
    }
}

/// Changes of a key that have not been sent.
pub struct Unsent {
    pub db: Db,
    pub name: Str,
    pub own_name: bool,
    pub writer: ChangesWriter,
}

impl OfKey for Unsent {
    fn key(&self) -> Key<'_> {
        Key { db: self.db, name: self.name.bytes(), arg: 0 }
    }
}
