//! What a host sends: changes for replicas and the AOF, and notifications.

use super::{RedisHost, Unsent};
use crate::command::host::Key;
use crate::domain::{Blob, Db};
use crate::ffi::api::Str;
use crate::ffi::notifications;
use crate::snapshot::Encoded;
use smallvec::SmallVec;
use std::ffi::c_int;

impl RedisHost {
    pub(super) fn publish(&self, class: c_int, event: &str, name: Str) {
        if notifications::are_wanted(self.ctx, class) {
            self.ctx.notify(class, event, name);
        }
    }

    /// Sends everything unsent and closes all keys: the end of every callback that used a host.
    pub fn finish(&mut self) {
        self.send();
        self.go_home();
        if std::mem::take(&mut self.changed) {
            // LTMC.APPLY is replicated as it came. Any other command gets here only if nobody
            // listens; then this only marks the data as changed.
            self.ctx.replicate_verbatim();
        }
    }

    /// Closes all keys and sends everything unsent.
    pub(super) fn send(&mut self) {
        self.close_keys();
        if self.unsent.is_empty() {
            return;
        }
        for Unsent { db, name, own_name, writer } in self.unsent.take() {
            self.select(db);
            self.replicate_apply(name, writer.finish());
            if own_name {
                self.ctx.free_string(name);
            }
        }
    }

    /// Before an inner command that looks up keys: it may delete an expired one, and that has to
    /// follow what was decided before.
    pub(super) fn let_go_of_keys(&mut self, db: Db) {
        self.send();
        self.select(db);
    }

    /// Forgets what is unsent of a key.
    pub(super) fn drop_unsent(&mut self, key: Key) {
        let Some(stale) = self.unsent.find(key) else { return };
        for (at, unsent) in self.unsent.take().enumerate() {
            if at != stale {
                self.unsent.push(unsent);
            } else if unsent.own_name {
                self.ctx.free_string(unsent.name);
            }
        }
    }

    /// Sends an LTMC.APPLY. What came in as an argument goes out as that argument.
    pub(super) fn replicate_apply(&self, name: Str, Encoded { frame, blobs }: Encoded) {
        let taken = |blob: &Blob| self.taken.iter().find(|(known, _)| known.is_same(blob)).map(|(_, arg)| *arg);
        let strings: SmallVec<[(Str, bool); 2]> = blobs
            .iter()
            .map(|blob| taken(blob).map_or_else(|| (self.ctx.new_string(blob), true), |arg| (arg, false)))
            .collect();
        let arguments: SmallVec<[Str; 2]> = strings.iter().map(|(string, _)| *string).collect();
        self.ctx.replicate(c"LTMC.APPLY", name, &frame, &arguments);
        strings.into_iter().filter(|(_, is_own)| *is_own).for_each(|(string, _)| self.ctx.free_string(string));
    }

    pub(super) fn go_home(&mut self) {
        if !self.is_scheduler {
            self.select(self.home);
        }
    }
}
