//! Runs the inner command of another one, with the rights of the client that sent it.

use super::api::{c_text, call, has, CallReply, Ctx, Str};
use super::{reply, users};

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
        return reply::write_error(ctx, text);
    }
    // Redis refuses scripts in script mode, though they are as safe here as anywhere else.
    let format = if is_script { c"v!CEM0" } else { c"v!CEMS0" };
    let mut pointers: Vec<_> = args.iter().map(|arg| arg.0).collect();
    let (start, len) = (pointers.as_mut_ptr(), pointers.len());
    let run = || call!(RedisModule_Call(ctx.0, name.as_ptr(), format.as_ptr(), start, len));
    match CallReply::new(users::on_behalf_of(user, run)) {
        None => reply::write_error(ctx, "ERR the inner command could not be run"),
        Some(reply) if reply.is_denial() => {
            reply::write_error(ctx, "NOPERM the user may not run the inner command or not access its keys");
        }
        Some(reply) => reply.forward(ctx),
    }
}
