//! The walk over all keys of all databases, a few at a time.
//!
//! Redis passes each key as it is, so looking at it is no use of it: nothing expires, and no clock
//! of the eviction moves. A server that holds many other values has many keys to skip. The number
//! of keys in one step is bounded, so that a step takes less than a millisecond.

use super::api::{call, Ctx, Str};
use super::contain::contain;
use super::types;
use crate::command::host::Walked;
use crate::domain::entity::checkable::Checkable;
use crate::domain::{Db, KeyId};
use redis_module::raw as rm;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};

/// Most keys that one step visits, whatever they hold, unless more values than this are requested.
const KEYS_MAX: u64 = 500;
/// Most places in Redis' tables that one step visits, unless as above. Most places are empty if
/// much was deleted.
const PLACES_MAX: u64 = 2_000;
/// A step ends when its values have this weight in total.
const ELEMENTS_MAX: usize = 10_000;

/// Called with each value of ours. Returns its weight.
pub type Visit<'a> = dyn FnMut(&KeyId, &dyn Checkable) -> usize + 'a;

struct Walk {
    cursor: *mut rm::RedisModuleScanCursor,
    db: Db,
}

thread_local! {
    static WALK: RefCell<Walk> = RefCell::new(Walk { cursor: call!(RedisModule_ScanCursorCreate()), db: 0 });
}

struct Visitor<'a, 'b> {
    visit: &'a mut Visit<'b>,
    db: Db,
    keys: u64,
    walked: Walked,
}

/// Continues where the last step ended.
pub fn step(ctx: Ctx, values_max: u64, visit: &mut Visit) -> Walked {
    let mut visitor = Visitor { visit, db: 0, keys: 0, walked: Walked::default() };
    WALK.with_borrow_mut(|walk| {
        let mut places = 0;
        while places < PLACES_MAX.max(2 * values_max)
            && visitor.keys < KEYS_MAX.max(2 * values_max)
            && visitor.walked.values < values_max
            && visitor.walked.elements < ELEMENTS_MAX
            && visitor.walked.panicked.is_empty()
        {
            places += 1;
            if call!(RedisModule_SelectDb(ctx.0, walk.db as c_int)) != rm::REDISMODULE_OK as c_int {
                (walk.db, visitor.walked.is_round_end) = (0, true);
                return;
            }
            visitor.db = walk.db;
            let data: *mut c_void = (&raw mut visitor).cast();
            let has_more = call!(RedisModule_DbSize(ctx.0)) > 0
                && call!(RedisModule_Scan(ctx.0, walk.cursor, Some(pass), data)) != 0;
            if !has_more {
                call!(RedisModule_ScanCursorRestart(walk.cursor));
                walk.db += 1;
            }
        }
    });
    visitor.walked
}

extern "C" fn pass(
    _ctx: *mut rm::RedisModuleCtx,
    name: *mut rm::RedisModuleString,
    key: *mut rm::RedisModuleKey,
    data: *mut c_void,
) {
    contain("the walk over all keys", || {
        // SAFETY: `step` passed its visitor, which lives until `RedisModule_Scan` returns and is
        // not used elsewhere meanwhile.
        let Some(visitor) = (unsafe { data.cast::<Visitor>().as_mut() }) else { return };
        visitor.keys += 1;
        if key.is_null() {
            return;
        }
        let tag = types::tag_of(call!(RedisModule_ModuleTypeGetType(key)));
        let value = tag.and_then(|tag| types::checkable(tag, call!(RedisModule_ModuleTypeGetValue(key))));
        let Some(value) = value else { return };
        let key = KeyId::new(visitor.db, Str(name).bytes());
        visitor.walked.values += 1;
        match contain("the check of a key", || (visitor.visit)(&key, value)) {
            Some(elements) => visitor.walked.elements += elements,
            None => visitor.walked.panicked.push(key),
        }
    });
}
