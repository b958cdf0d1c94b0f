//! Writes replies in the protocol version of the client.

use super::api::{c_text, call, Ctx};
use crate::command::reply::Reply;
use crate::domain::Error;
use std::ffi::c_long;

/// Writes the reply or the error of a command.
pub fn write(ctx: Ctx, reply: &Result<Reply, Error>) {
    match reply {
        Ok(reply) => write_value(ctx, reply),
        Err(error) => write_error(ctx, &error.line()),
    }
}

/// Writes an error line. Line ends would break the protocol and become spaces; our texts have none.
pub fn write_error(ctx: Ctx, line: &str) {
    let line = c_text(&line.replace(['\r', '\n'], " "));
    call!(RedisModule_ReplyWithError(ctx.0, line.as_ptr()));
}

fn write_value(ctx: Ctx, reply: &Reply) {
    match reply {
        Reply::Nil | Reply::Called => drop(call!(RedisModule_ReplyWithNull(ctx.0))),
        Reply::Ok => drop(call!(RedisModule_ReplyWithSimpleString(ctx.0, c"OK".as_ptr()))),
        Reply::Integer(value) => drop(call!(RedisModule_ReplyWithLongLong(ctx.0, *value))),
        Reply::Text(text) => write_bytes(ctx, text.as_bytes()),
        Reply::Bytes(bytes) => write_bytes(ctx, bytes),
        Reply::Blob(blob) => write_bytes(ctx, blob),
        Reply::BlobPart(blob, part) => write_bytes(ctx, blob.get(part.clone()).unwrap_or_default()),
        Reply::Array(items) => {
            call!(RedisModule_ReplyWithArray(ctx.0, items.len() as c_long));
            items.iter().for_each(|item| write_value(ctx, item));
        }
        Reply::Pairs(pairs) => {
            call!(RedisModule_ReplyWithMap(ctx.0, pairs.len() as c_long));
            for (name, value) in pairs {
                write_value(ctx, name);
                write_value(ctx, value);
            }
        }
        Reply::Map(fields) => {
            call!(RedisModule_ReplyWithMap(ctx.0, fields.len() as c_long));
            for (name, value) in fields {
                write_bytes(ctx, name.as_bytes());
                write_value(ctx, value);
            }
        }
    }
}

fn write_bytes(ctx: Ctx, bytes: &[u8]) {
    call!(RedisModule_ReplyWithStringBuffer(ctx.0, bytes.as_ptr().cast(), bytes.len()));
}
