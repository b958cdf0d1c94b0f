//! Does anybody listen to what is replicated? If not, building the payload can be spared; it is the dearest part of a lock.
//!
//! Redis itself drops what a module replicates at the end of the command if there is no AOF, no replication backlog and no replica
//! (`alsoPropagate` asks `shouldPropagate`). Nothing is lost by sparing the payload in exactly that state, provided that we never
//! believe in it when it is over. The proof that we do not:
//!
//! 1. Who comes to listen gets the data first, as a snapshot of the moment from which on it listens. A snapshot is made by a forked
//!    child: for a full sync with disk or without, for an AOF that is switched on, for a slot that is exported. Redis reports the
//!    fork in the parent, before the parent runs the next command. What was decided before the fork is in the snapshot; what is
//!    decided after it finds the state asked anew.
//! 2. A partial resync needs a backlog. A backlog comes into being with a replica's first sync (then 1. holds), by a sync as a replica (a change of role
//!    is reported), or when data is loaded that names a replication id (the end of loading is reported). It outlives its replicas,
//!    and as long as it is there we count it as a listener.
//! 3. At load the state is asked. A fork that is no plain RDB save, of a kind this file does not know, switches sparing off for good.
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
    /// A fork of an unknown kind happened: never spare again.
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

/// Whether anybody was known to listen at the last write; for INFO, which must not ask INFO.
pub fn known() -> bool {
    STATE.get() != State::Nobody
}

/// Something happened after which the answer may be another one: it is asked again before the next write.
pub fn may_have_changed() {
    if STATE.get() != State::Always {
        STATE.set(State::Unknown);
    }
}

/// A child was forked; asked at once, while it is known what it is for.
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
