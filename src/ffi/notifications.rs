//! Would anybody receive a keyspace notification? Publishing one that nobody receives costs a
//! tenth of a lock.
//!
//! Clients can receive it if `notify-keyspace-events` has the class and K or E; other modules can,
//! too. The setting is read again whenever the server reports that it was changed. With any other
//! module loaded, everything is published.

use super::api::{call, CallReply, Ctx};
use redis_module::raw as rm;
use std::cell::Cell;
use std::ffi::c_int;

#[derive(Clone, Copy)]
struct Classes {
    generic: bool,
    module: bool,
}

thread_local! {
    static WANTED: Cell<Option<Classes>> = const { Cell::new(None) };
}

/// Whether anybody may receive notifications of this class.
pub fn are_wanted(ctx: Ctx, class: c_int) -> bool {
    let wanted = WANTED.get().unwrap_or_else(|| {
        let answer = ask(ctx);
        WANTED.set(Some(answer));
        answer
    });
    if class == rm::REDISMODULE_NOTIFY_GENERIC {
        wanted.generic
    } else {
        wanted.module
    }
}

/// Settings or modules changed: checked again before the next notification.
pub fn may_have_changed() {
    WANTED.set(None);
}

fn ask(ctx: Ctx) -> Classes {
    let everything = Classes { generic: true, module: true };
    let modules = call!(RedisModule_Call(ctx.0, c"MODULE".as_ptr(), c"c".as_ptr(), c"LIST".as_ptr()));
    let config = c"notify-keyspace-events".as_ptr();
    let setting = call!(RedisModule_Call(ctx.0, c"CONFIG".as_ptr(), c"cc".as_ptr(), c"GET".as_ptr(), config));
    let alone = CallReply::new(modules).is_some_and(|modules| modules.elements() == 1);
    let classes = CallReply::new(setting).and_then(|setting| setting.element_text(1));
    let Some(classes) = classes.filter(|_| alone) else { return everything };
    let published = classes.contains(['K', 'E']);
    let has = |class| published && classes.contains([class, 'A']);
    Classes { generic: has('g'), module: has('d') }
}
