//! Registers the table, and runs each command: the entry point of every client request.

use super::api::{c_text, call, has, Argv, Ctx, Str};
use super::contain::contain;
use super::host::RedisHost;
use super::offload::Prepared;
use super::{blocking, docs, offload, reply, state};
use crate::command::engine::cx::Command;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::job::Job;
use crate::command::engine::spec::{Flags, Spec};
use crate::command::engine::{dispatch, keys};
use crate::command::host::Arguments;
use crate::command::reply::Reply;
use crate::command::table::Table;
use crate::domain::{Code, Db, Error, KeyId};
use redis_module::raw as rm;
use smallvec::SmallVec;
use std::ffi::{c_int, c_void};

type Handler = extern "C" fn(*mut rm::RedisModuleCtx, *mut *mut rm::RedisModuleString, c_int) -> c_int;

/// Redis passes a handler no data of its own, so each row of the table needs its own function.
macro_rules! handlers {
    ($($row:literal)*) => { [$(handle::<$row> as Handler),*] };
}

const HANDLERS: [Handler; 128] = handlers!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127);

const COMMANDS: &[Command<RedisHost>] = Table::<RedisHost>::COMMANDS;

const _: () = assert!(COMMANDS.len() <= HANDLERS.len(), "add rows to `handlers!`");

/// Registers all commands with their documentation, and the ACL category `ltmc` if the
/// server supports it.
pub fn register(ctx: Ctx) -> Result<(), String> {
    let own_category = has!(RedisModule_AddACLCategory)
        && call!(RedisModule_AddACLCategory(ctx.0, c"ltmc".as_ptr())) == rm::REDISMODULE_OK as c_int;
    for (command, handler) in COMMANDS.iter().zip(HANDLERS) {
        register_one(ctx, command.spec, handler, own_category)?;
    }
    Ok(())
}

fn register_one(ctx: Ctx, spec: &'static Spec, handler: Handler, own_category: bool) -> Result<(), String> {
    let ok = rm::REDISMODULE_OK as c_int;
    let name = c_text(spec.name);
    let flags = c_text(&spec.flags.names());
    // The key positions of this call are the old, simple form. SetCommandInfo replaces them
    // by the key specs.
    if call!(RedisModule_CreateCommand(ctx.0, name.as_ptr(), Some(handler), flags.as_ptr(), 0, 0, 0)) != ok {
        return Err(format!("the server does not accept the command {}", spec.name));
    }
    let command = call!(RedisModule_GetCommand(ctx.0, name.as_ptr()));
    docs::set(command, spec)?;
    if has!(RedisModule_SetCommandACLCategories) {
        let categories = c_text(&format!("{}{}", spec.categories, if own_category { " ltmc" } else { "" }));
        if call!(RedisModule_SetCommandACLCategories(command, categories.as_ptr())) != ok {
            return Err(format!(
                "the server does not accept the ACL categories '{}' of {}",
                spec.categories, spec.name
            ));
        }
    }
    Ok(())
}

extern "C" fn handle<const ROW: usize>(
    ctx: *mut rm::RedisModuleCtx,
    argv: *mut *mut rm::RedisModuleString,
    argc: c_int,
) -> c_int {
    if let Some(command) = COMMANDS.get(ROW) {
        contain(command.spec.name, || run(Ctx(ctx), command, Argv::new(argv, argc)));
    }
    rm::REDISMODULE_OK as c_int
}

fn run(ctx: Ctx, command: &'static Command<RedisHost>, argv: Argv) {
    if command.spec.flags.has(Flags::GETKEYS_API) && call!(RedisModule_IsKeysPositionRequest(ctx.0)) != 0 {
        return report_keys(ctx, command.spec, argv);
    }
    let args: SmallVec<[&[u8]; 16]> = argv.strings().iter().map(|arg| Str(*arg).bytes()).collect();
    let mut host = RedisHost::for_command(ctx, argv, command.spec.is_verbatim);
    let ran = contain(command.spec.name, || {
        state::with_node(|node| {
            let mut cx = Cx::new(&mut *node, &mut host, command.spec, &args, ctx.db());
            let outcome = dispatch::run(command, &mut cx);
            host.finish();
            crate::command::engine::tracing::end(node, &mut host, &outcome);
            outcome
        })
    });
    match ran {
        Some(Some(Ok(Outcome::Reply(Reply::Called)))) => host.run_inner(),
        Some(Some(Ok(Outcome::Reply(value)))) => reply::write(ctx, &Ok(value)),
        Some(Some(Ok(Outcome::Waits))) => {}
        Some(Some(Ok(Outcome::Offloaded(job)))) => offload(ctx, command, &mut host, job),
        Some(Some(Err(error))) => reply::write(ctx, &Err(error)),
        Some(None) => {
            reply::write(ctx, &Err(Error::new(Code::Err, "internal error: the module is busy with another call")))
        }
        None => after_panic(ctx, command.spec, &args, host),
    }
}

/// A thread goes on with the command.
fn offload(ctx: Ctx, command: &'static Command<RedisHost>, host: &mut RedisHost, job: Job) {
    let waiter = state::with_node(|node| {
        node.metrics.offloaded += 1;
        node.waits.next_id()
    });
    let Some(waiter) = waiter else { return };
    match job {
        Job::Answer(make) => offload::answer(ctx, make),
        Job::Prepare(make) => {
            let (args, origin) = (host.held(), host.origin());
            let prepared = Prepared { waiter, command, args, origin, product: Err(Error::internal()) };
            offload::prepare(ctx, prepared, make);
        }
    }
}

/// A command that a thread has prepared runs again, in a round of the scheduler.
pub fn run_prepared(ctx: Ctx, prepared: Prepared) {
    let Prepared { waiter, command, args: held, origin, product } = prepared;
    let (strings, args, db) = (held.strings(), held.bytes(), origin.db);
    let mut host = RedisHost::for_prepared(ctx, &strings, origin);
    let ran = contain(command.spec.name, || {
        state::with_node(|node| {
            let mut cx = Cx::new(&mut *node, &mut host, command.spec, &args, db);
            cx.prepared = Some(product);
            let outcome = dispatch::run(command, &mut cx);
            host.finish();
            crate::command::engine::tracing::end(node, &mut host, &outcome);
            outcome
        })
    });
    let answer = match ran {
        Some(Some(Ok(Outcome::Reply(reply)))) => Ok(reply),
        Some(Some(Err(error))) => Err(error),
        // It is made for its client once, and never waits.
        Some(_) => Err(Error::internal()),
        None => {
            recover(&mut host, command.spec, &args, db);
            Err(Error::internal())
        }
    };
    blocking::answer(waiter, answer);
}

/// The command panicked.
fn after_panic(ctx: Ctx, spec: &'static Spec, args: &[&[u8]], mut host: RedisHost) {
    recover(&mut host, spec, args, ctx.db());
    if host.blocked().is_none() {
        reply::write(ctx, &Err(Error::internal()));
    }
}

fn recover(host: &mut RedisHost, spec: &'static Spec, args: &[&[u8]], db: Db) {
    let keys = keys::positions(spec, args).into_iter().filter_map(|(at, _)| args.get(at));
    host.recover(spec.service, keys.map(|name| KeyId::new(db, name)).collect());
}

fn report(ctx: Ctx, keys: keys::Positions, offset: usize) {
    for (at, access) in keys {
        call!(RedisModule_KeyAtPosWithFlags(ctx.0, (at + offset) as c_int, docs::access_flags(access) as c_int));
    }
}

/// COMMAND GETKEYS, ACL and Redis Cluster ask where the keys are: those of the row, and those of
/// the inner command.
fn report_keys(ctx: Ctx, spec: &'static Spec, argv: Argv) {
    let args: Vec<&[u8]> = argv.strings().iter().map(|arg| Str(*arg).bytes()).collect();
    report(ctx, keys::positions(spec, &args), 0);
    let inner_at = spec.args.len() - 1;
    if !spec.flags.has(Flags::WRAPS) || args.len() <= inner_at {
        return;
    }
    if let Some(own) = Table::<RedisHost>::find(args[inner_at]) {
        // Redis 7.0 does not look at all key specs of a module's command.
        return report(ctx, keys::positions(own.spec, &args[inner_at..]), inner_at);
    }
    let mut inner: Vec<_> = argv.strings()[inner_at..].to_vec();
    let mut count = 0;
    let keys = call!(RedisModule_GetCommandKeys(ctx.0, inner.as_mut_ptr(), inner.len() as c_int, &mut count));
    if keys.is_null() {
        return;
    }
    // SAFETY: Redis returns `count` positions that are ours until freed.
    let positions = unsafe { std::slice::from_raw_parts(keys, count as usize) };
    for at in positions {
        // What the command does with it is not known here. The check happens in the inner call,
        // which has the caller's rights.
        call!(RedisModule_KeyAtPosWithFlags(ctx.0, *at + inner_at as c_int, 0));
    }
    call!(RedisModule_Free(keys.cast::<c_void>()));
}
