//! The settings as module configs: CONFIG GET, SET and REWRITE, redis.conf and MODULE LOADEX.
//!
//! All of them are texts to the server, and the table's own parser reads them, as it does the
//! environment. So there is one set of rules, and a refusal names the setting, what was given and
//! what is allowed.

use super::api::{c_text, call, Ctx, Str};
use super::contain::contain;
use super::state;
use crate::command::engine::service::change_setting;
use crate::command::settings::SETTINGS;
use redis_module::raw as rm;
use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr;

/// Our own strings belong to no call.
const NOWHERE: Ctx = Ctx(ptr::null_mut());

thread_local! {
    /// What CONFIG GET last showed of each setting. The server copies it after the callback.
    static SHOWN: RefCell<[Option<Str>; SETTINGS.len()]> = const { RefCell::new([None; SETTINGS.len()]) };
}

/// Registers every setting of the table and takes the values of redis.conf or MODULE LOADEX. The
/// environment gives the defaults; a bad value there stops the load.
pub fn register(ctx: Ctx) -> Result<(), String> {
    for (index, row) in SETTINGS.iter().enumerate() {
        let default = match std::env::var(row.environment) {
            Ok(text) => row.parse(&text).map_err(|refusal| format!("{refusal} (from {})", row.environment))?,
            Err(_) => row.default_value(),
        };
        set(index, default);
        let (name, default) = (c_text(row.name), c_text(&row.show(default)));
        let registered = call!(RedisModule_RegisterStringConfig(
            ctx.0,
            name.as_ptr(),
            default.as_ptr(),
            rm::REDISMODULE_CONFIG_DEFAULT as c_uint,
            Some(get_text),
            Some(set_text),
            None,
            index as *mut c_void
        ));
        if registered != rm::REDISMODULE_OK as c_int {
            return Err(format!("the server does not accept the setting ltmc.{}", row.name));
        }
    }
    if call!(RedisModule_LoadConfigs(ctx.0)) != rm::REDISMODULE_OK as c_int {
        return Err("a setting named ltmc.* has a bad value; the line above names it".into());
    }
    Ok(())
}

fn set(index: usize, value: i64) {
    contain("CONFIG SET", || state::with_node(|node| change_setting(node, index, value)));
}

extern "C" fn get_text(_name: *const c_char, place: *mut c_void) -> *mut rm::RedisModuleString {
    let index = place as usize;
    let shown = contain("CONFIG GET", || {
        let value = state::with_node(|node| node.settings.at(index)).unwrap_or_default();
        let text = NOWHERE.new_string(SETTINGS[index].show(value).as_bytes());
        let before = SHOWN.with_borrow_mut(|shown| shown[index].replace(text));
        before.into_iter().for_each(|before| NOWHERE.free_string(before));
        text.0
    });
    shown.unwrap_or(ptr::null_mut())
}

extern "C" fn set_text(
    _name: *const c_char,
    text: *mut rm::RedisModuleString,
    place: *mut c_void,
    error: *mut *mut rm::RedisModuleString,
) -> c_int {
    let index = place as usize;
    let parsed = contain("CONFIG SET", || SETTINGS[index].parse(&String::from_utf8_lossy(Str(text).bytes())));
    match parsed.unwrap_or_else(|| Err("internal error".into())) {
        Ok(value) => {
            set(index, value);
            rm::REDISMODULE_OK as c_int
        }
        Err(refusal) => {
            // SAFETY: the server provides a place for the error, and frees what is stored there.
            unsafe { *error = NOWHERE.new_string(refusal.as_bytes()).0 };
            rm::REDISMODULE_ERR as c_int
        }
    }
}
