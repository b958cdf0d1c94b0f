//! A host whose command a thread prepares.

use super::RedisHost;
use crate::command::host::Host;
use crate::ffi::api::{Argv, Ctx};
use crate::ffi::held::{HeldArgs, Origin};
use redis_module::raw as rm;
use std::ffi::c_int;
use std::sync::Arc;

impl RedisHost {
    /// For a command that a thread has prepared, in a round of the scheduler. `strings` are its
    /// arguments.
    pub fn for_prepared(ctx: Ctx, strings: &[*mut rm::RedisModuleString], origin: Origin) -> Self {
        let argv = Argv::new(strings.as_ptr(), strings.len() as c_int);
        let mut host = Self::new(ctx, argv, false, 0, true);
        host.origin = Some(origin);
        host
    }

    /// For whom the command runs, should it run again.
    pub fn origin(&self) -> Origin {
        let (client, connection, user) = (self.client(), self.connection(), self.user());
        Origin { client, connection, user, caller: self.caller(), db: self.db }
    }

    /// The arguments, held beyond the command.
    pub fn held(&mut self) -> Arc<HeldArgs> {
        let argv = self.argv;
        self.held.get_or_insert_with(|| Arc::new(HeldArgs::new(argv))).clone()
    }
}
