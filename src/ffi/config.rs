//! The settings as module configs: CONFIG GET, SET and REWRITE, redis.conf and MODULE LOADEX.

use super::api::{c_text, call, Ctx};
use super::contain::contain;
use super::state;
use crate::command::settings::{Kind, SETTINGS, SWITCH_WORDS};
use redis_module::raw as rm;
use std::ffi::{c_char, c_int, c_longlong, c_uint, c_void, CStr};

/// Registers every setting of the table and takes the values that redis.conf or MODULE LOADEX give. The environment gives the
/// defaults; a bad value there stops the load.
pub fn register(ctx: Ctx) -> Result<(), String> {
    for (index, row) in SETTINGS.iter().enumerate() {
        let default = match std::env::var(row.environment) {
            Ok(text) => row.parse(&text)?,
            Err(_) => row.default_value(),
        };
        set(index, default);
        let name = c_text(row.name);
        let place = index as *mut c_void;
        let flags = rm::REDISMODULE_CONFIG_DEFAULT as c_uint;
        let registered = match row.kind {
            Kind::Integer { min, max, .. } => call!(RedisModule_RegisterNumericConfig(
                ctx.0,
                name.as_ptr(),
                default,
                flags,
                min,
                max,
                Some(get_number),
                Some(set_number),
                None,
                place
            )),
            Kind::Word(words) => {
                let words: Vec<(&str, i64)> = words.iter().copied().zip(0..).collect();
                register_words(ctx, &name, default, &words, place)
            }
            Kind::Switch { .. } => register_words(ctx, &name, default, SWITCH_WORDS, place),
        };
        if registered != rm::REDISMODULE_OK as c_int {
            return Err(format!("the server does not accept the setting ltmc.{}", row.name));
        }
    }
    if call!(RedisModule_LoadConfigs(ctx.0)) != rm::REDISMODULE_OK as c_int {
        return Err("a setting named ltmc.* has a bad value; the line above names it".into());
    }
    Ok(())
}

/// A setting that is one of several words, each with its value. Of two words for one value the first is shown.
fn register_words(ctx: Ctx, name: &CStr, default: i64, words: &[(&str, i64)], place: *mut c_void) -> c_int {
    let texts: Vec<_> = words.iter().map(|(word, _)| c_text(word)).collect();
    let mut names: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
    let values: Vec<c_int> = words.iter().map(|(_, value)| *value as c_int).collect();
    call!(RedisModule_RegisterEnumConfig(
        ctx.0,
        name.as_ptr(),
        default as c_int,
        rm::REDISMODULE_CONFIG_DEFAULT as c_uint,
        names.as_mut_ptr(),
        values.as_ptr(),
        words.len() as c_int,
        Some(get_word),
        Some(set_word),
        None,
        place
    ))
}

fn get(index: usize) -> i64 {
    contain("CONFIG GET", || state::with_node(|node| node.settings.at(index))).flatten().unwrap_or(0)
}

fn set(index: usize, value: i64) {
    contain("CONFIG SET", || state::with_node(|node| node.set(index, value)));
}

extern "C" fn get_number(_name: *const c_char, place: *mut c_void) -> c_longlong {
    get(place as usize)
}

extern "C" fn set_number(
    _name: *const c_char,
    value: c_longlong,
    place: *mut c_void,
    _error: *mut *mut rm::RedisModuleString,
) -> c_int {
    set(place as usize, value);
    rm::REDISMODULE_OK as c_int
}

extern "C" fn get_word(_name: *const c_char, place: *mut c_void) -> c_int {
    get(place as usize) as c_int
}

extern "C" fn set_word(
    _name: *const c_char,
    value: c_int,
    place: *mut c_void,
    _error: *mut *mut rm::RedisModuleString,
) -> c_int {
    set(place as usize, i64::from(value));
    rm::REDISMODULE_OK as c_int
}
