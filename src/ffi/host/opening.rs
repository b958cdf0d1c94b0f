//! Opening and closing keys.

use super::{Opened, RedisHost};
use crate::command::host::Key;
use crate::ffi::api::{OpenKey, Str};
use std::ptr;

impl RedisHost {
    #[inline]
    pub(super) fn open(&mut self, key: Key) -> usize {
        // Nearly always a command works on one key, the last one it used.
        match self.opened.last() {
            Some((at, last)) if last.arg == key.arg && key.arg > 0 && last.db == key.db => at,
            _ => self.find_or_open(key),
        }
    }

    fn find_or_open(&mut self, key: Key) -> usize {
        self.opened.find(key).unwrap_or_else(|| self.open_anew(key))
    }

    /// The string of a key's name, and whether it is ours and has to be freed.
    pub(super) fn name_of(&self, key: Key) -> (Str, bool) {
        let from_argv = if key.arg > 0 { self.argv.get(key.arg) } else { None };
        from_argv.map_or_else(|| (self.ctx.new_string(key.name), true), |name| (name, false))
    }

    fn open_anew(&mut self, key: Key) -> usize {
        self.select(key.db);
        let (name, own_name) = self.name_of(key);
        let key_handle = OpenKey::open(self.ctx, name, true);
        let value = key_handle.value();
        let module_type = if value.is_null() { ptr::null_mut() } else { key_handle.module_type() };
        self.opened.push(Opened { db: key.db, arg: key.arg, name, own_name, key: key_handle, value, module_type })
    }

    /// Closes the keys in use. A key that Redis may delete behind our back must not be open then.
    pub fn close_keys(&mut self) {
        for Opened { name, own_name, key, .. } in self.opened.take().rev() {
            drop(key);
            if own_name {
                self.ctx.free_string(name);
            }
        }
    }
}
