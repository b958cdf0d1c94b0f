//! Runs the inner command of another one, with the rights of the client that sent it.

use super::api::{c_text, call, has, CallReply, Ctx, Str};
use super::{reply, users};
use redis_module::raw as rm;
use std::ffi::CStr;

/// Runs a command on behalf of `user` and sends its reply.
pub fn run(ctx: Ctx, inner: &[Str], user: Option<Vec<u8>>) {
    let Some((command, args)) = inner.split_first() else {
        return;
    };
    let name = c_text(&String::from_utf8_lossy(command.bytes()));
    let upper = command.bytes().to_ascii_uppercase();
    let is_script = upper.starts_with(b"EVAL") || upper.starts_with(b"FCALL");
    if is_script && !has!(RedisModule_SetContextUser) {
        // Redis added it together with checking the commands of scripts (redis#11231).
        let text =
            "NOPERM this version of the server would run the commands of a script without asking for the user's rights";
        let refusal = user.and_then(|user| refusal(ctx, &user, inner));
        return reply::write_error(ctx, refusal.as_deref().unwrap_or(text));
    }
    // Redis refuses scripts in script mode, though they are as safe here as anywhere else.
    let format = if is_script { c"v!CEM0" } else { c"v!CEMS0" };
    let mut pointers: Vec<_> = args.iter().map(|arg| arg.0).collect();
    let (start, len) = (pointers.as_mut_ptr(), pointers.len());
    let run = || call!(RedisModule_Call(ctx.0, name.as_ptr(), format.as_ptr(), start, len));
    let Some(reply) = CallReply::new(users::on_behalf_of(user.clone(), run)) else {
        return reply::write_error(ctx, "ERR the inner command could not be run");
    };
    // The server may say something else first, such as that scripts cannot run it.
    let is_refused_otherwise = reply.is_error() && !reply.text().is_some_and(|text| text.starts_with("NOPERM"));
    let refusal = user.filter(|_| is_refused_otherwise).and_then(|user| refusal(ctx, &user, inner));
    match refusal {
        Some(refusal) => reply::write_error(ctx, &refusal),
        None => reply.forward(ctx),
    }
}

/// How the server refuses a command to `user` who sends it alone. `None` if the user may run it.
fn refusal(ctx: Ctx, user: &[u8], inner: &[Str]) -> Option<String> {
    let (command, args) = inner.split_first()?;
    let name = c_text(&String::from_utf8_lossy(command.bytes()));
    let tried = dry_run(ctx, &name, c"vCED0", args.iter().map(|arg| arg.0).collect());
    let refused = tried.and_then(|tried| tried.text()).filter(|text| text.starts_with("NOPERM"));
    refused.or_else(|| refusal_of_redis_7_0(ctx, user, inner))
}

/// The same for Redis 7.0, where a dry run in a module is a format that is not understood, and
/// where `ACL DRYRUN` has other words than a refusal. Newer servers have answered before.
fn refusal_of_redis_7_0(ctx: Ctx, user: &[u8], inner: &[Str]) -> Option<String> {
    let words = [ctx.new_string(b"DRYRUN"), ctx.new_string(user)];
    let args = words.iter().chain(inner).map(|arg| arg.0).collect();
    let answer = dry_run(ctx, c"ACL", c"vE0", args);
    words.into_iter().for_each(|word| ctx.free_string(word));
    let refused = answer.filter(|answer| !answer.is_error())?.text().filter(|text| text != "OK")?;
    let what = match &refused[..] {
        text if text.ends_with("' key") => "access one of the keys used as arguments",
        text if text.ends_with("' channel") => "access one of the channels used as arguments",
        text => text.trim_start_matches("This user has no permissions to "),
    };
    Some(format!("NOPERM this user has no permissions to {what}"))
}

/// A call that runs nothing of what it is about.
fn dry_run(ctx: Ctx, name: &CStr, format: &CStr, mut args: Vec<*mut rm::RedisModuleString>) -> Option<CallReply> {
    let (start, len) = (args.as_mut_ptr(), args.len());
    CallReply::new(call!(RedisModule_Call(ctx.0, name.as_ptr(), format.as_ptr(), start, len)))
}
