//! The settings as module configs: CONFIG GET, SET and REWRITE, redis.conf and MODULE LOADEX.
//!
//! All of them are texts to the server, and the table's own parser reads them, as it does the
//! environment. So there is one set of rules, and a refusal names the setting, what was given and
//! what is allowed.

use super::api::{c_text, call, Ctx, Str};
use super::contain::contain;
use super::{audit, state, workers};
use crate::command::engine::auditing;
use crate::command::engine::service::change_setting;
use crate::command::settings::policies::AuditLevel;
use crate::command::settings::{Setting, SettingType, SETTINGS};
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
            Ok(text) => text,
            Err(_) => row.show(row.default_value()),
        };
        let value = row.parse(&default).map_err(|refusal| format!("{refusal} (from {})", row.environment))?;
        set(index, value);
        let default = if let SettingType::Path = row.kind { default } else { row.show(value) };
        let (name, default) = (c_text(row.name), c_text(&default));
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

/// Sets a setting to a value as CONFIG SET has it, and records that.
fn set_shown(index: usize, text: &str) -> Result<(), String> {
    let value = SETTINGS[index].parse(text)?;
    let done = state::with_node(|node| {
        let (before, had_trail) = (node.settings.show(index), node.settings.audit_level() > AuditLevel::Off);
        if node.settings.text_at(index).is_some_and(|before| before != text) {
            audit::set_file(node, text)?;
            node.settings.set_audit_file(text);
        }
        change_setting(node, index, value);
        workers::want(node.settings.get(Setting::WorkerThreads));
        audit::keep(node.settings.get(Setting::AuditRingMax) as usize);
        let after = node.settings.show(index);
        if before != after && audit::has_begun() {
            auditing::setting_changed(node, SETTINGS[index].name, &before, &after, had_trail);
        }
        Ok(())
    });
    done.unwrap_or(Ok(()))
}

extern "C" fn get_text(_name: *const c_char, place: *mut c_void) -> *mut rm::RedisModuleString {
    let index = place as usize;
    let shown = contain("CONFIG GET", || {
        let shown = state::with_node(|node| node.settings.show(index)).unwrap_or_default();
        let text = NOWHERE.new_string(shown.as_bytes());
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
    let done = contain("CONFIG SET", || set_shown(index, &String::from_utf8_lossy(Str(text).bytes())));
    match done.unwrap_or_else(|| Err("internal error".into())) {
        Ok(()) => rm::REDISMODULE_OK as c_int,
        Err(refusal) => {
            // SAFETY: the server provides a place for the error, and frees what is stored there.
            unsafe { *error = NOWHERE.new_string(refusal.as_bytes()).0 };
            rm::REDISMODULE_ERR as c_int
        }
    }
}
