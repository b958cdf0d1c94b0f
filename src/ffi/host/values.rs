//! The values behind opened keys.

use super::RedisHost;
use crate::domain::entity::expiry::Expiry;
use crate::domain::{Code, Entity, Error, Record};
use crate::ffi::{counts, types};

impl RedisHost {
    /// The value of an opened key, even if it is in quarantine.
    pub(super) fn value<E: Entity>(&self, at: usize) -> Result<Option<*mut Record<E>>, Error> {
        let opened = &self.opened[at];
        if !opened.value.is_null() && opened.module_type == types::of::<E>() {
            return Ok(Some(opened.value.cast::<Record<E>>()));
        }
        if opened.value.is_null() && opened.key.is_empty() {
            Ok(None)
        } else {
            Err(Error::wrong_type())
        }
    }

    /// The same; created if there is none.
    pub(super) fn value_or_new<E: Entity>(&mut self, at: usize) -> Result<*mut Record<E>, Error> {
        match self.value::<E>(at)? {
            Some(value) => Ok(value),
            None => self.set_value::<E>(at, Record::default()),
        }
    }

    /// The value, if it may be used.
    pub(super) fn usable<E: Entity>(&self, at: usize) -> Result<Option<*mut Record<E>>, Error> {
        let Some(value) = self.value::<E>(at)? else { return Ok(None) };
        // SAFETY: the value lives as long as its key is open and nobody deletes it; the
        // reference ends here.
        match unsafe { &*value }.fault() {
            None => Ok(Some(value)),
            Some(fault) => Err(fault.error(self.opened[at].name.bytes())),
        }
    }

    /// Puts a value in the place of another, under the same TTL.
    pub(super) fn replace_value<E: Entity>(&mut self, at: usize, stored: Record<E>) -> Result<(), Error> {
        self.value::<E>(at)?;
        // Redis takes the TTL away with the old value.
        let expires_at = self.opened[at].key.expiry();
        self.set_value(at, stored)?;
        self.set_expiry(at, expires_at.map_or(Expiry::Keeps, Expiry::At));
        Ok(())
    }

    /// Has the TTL of an opened key become what a change says.
    pub(super) fn set_expiry(&self, at: usize, expiry: Expiry) {
        let key = &self.opened[at].key;
        match expiry {
            Expiry::Keeps => {}
            Expiry::At(end) => key.set_expiry(Some(end)),
            Expiry::Never => key.set_expiry(None),
        }
    }

    /// Stores a value under an opened key and frees the previous one.
    pub(super) fn set_value<E: Entity>(&mut self, at: usize, stored: Record<E>) -> Result<*mut Record<E>, Error> {
        let value = Box::into_raw(Box::new(stored));
        let opened = &mut self.opened[at];
        if !opened.key.set_value(types::of::<E>(), value.cast()) {
            // SAFETY: Redis did not take it, so we still own it.
            drop(unsafe { Box::from_raw(value) });
            return Err(Error::new(Code::Err, "the server did not accept the value"));
        }
        // SAFETY: it was made above, and nobody else refers to it yet.
        counts::count_value(unsafe { &mut *value });
        (opened.value, opened.module_type) = (value.cast(), types::of::<E>());
        Ok(value)
    }
}
