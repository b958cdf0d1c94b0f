//! Does anybody listen to what is replicated? If not, the payload need not be built; it is the most
//! expensive part of a lock.
//!
//! Redis itself drops what a module replicates at the end of the command if there is no AOF, no
//! replication backlog and no replica (`alsoPropagate` asks `shouldPropagate`). Skipping the
//! payload in exactly that state loses nothing, provided that we never assume the state after it
//! has ended. The proof that we do not:
//!
//! 1. A new listener first gets the data as a snapshot of the moment from which on it listens. A
//!    forked child makes the snapshot: for a full sync with disk or without, for an AOF that is
//!    switched on, for a slot that is exported. Redis reports the fork in the parent, before the
//!    parent runs the next command. What was decided before the fork is in the snapshot; for what
//!    is decided after it, the state is checked again.
//! 2. A partial resync needs a backlog. A backlog is created by a replica's first sync (then 1.
//!    holds), by a sync as a replica (a change of role is reported), or when loaded data names a
//!    replication id (the end of loading is reported). It outlives its replicas, and we count it as
//!    a listener as long as it exists.
//! 3. The state is checked at load. A fork that is no plain RDB save, of a kind this file does not
//!    know, ends skipping for good.
//!
//! The tests go through every one of these transitions with a client that writes meanwhile.

use super::api::Ctx;
use redis_module::raw as rm;
use std::cell::Cell;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unknown,
    Nobody,
    Somebody,
    /// A fork of an unknown kind happened: never skip again.
    Always,
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Unknown) };
}

/// Whether anybody listens now.
pub fn are_there(ctx: Ctx) -> bool {
    if STATE.get() == State::Unknown {
        STATE.set(ask(ctx));
    }
    STATE.get() != State::Nobody
}

/// Whether anybody listened at the last write; for INFO, which must not ask INFO.
pub fn known() -> bool {
    STATE.get() != State::Nobody
}

/// Something happened that may change the answer: it is checked again before the next write.
pub fn may_have_changed() {
    if STATE.get() != State::Always {
        STATE.set(State::Unknown);
    }
}

/// A child was forked. Checked at once, while its purpose is known.
pub fn forked(ctx: Ctx) {
    if STATE.get() == State::Always {
        return;
    }
    let child = ctx.server_info("persistence");
    let known = child.number("rdb_bgsave_in_progress") + child.number("aof_rewrite_in_progress") > 0;
    STATE.set(if known { ask(ctx) } else { State::Always });
}

fn ask(ctx: Ctx) -> State {
    let replication = ctx.server_info("replication");
    let aof = ctx.flags() & rm::REDISMODULE_CTX_FLAGS_AOF != 0;
    let anybody = aof || replication.number("repl_backlog_active") > 0 || replication.number("connected_slaves") > 0;
    if anybody {
        State::Somebody
    } else {
        State::Nobody
    }
}
