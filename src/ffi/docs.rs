//! Tells Redis what the table says about a command: arity, key specs, and everything that
//! COMMAND DOCS shows.

use super::api::{c_text, call};
use crate::command::engine::spec::{Arg, ArgKind, Flags, KeySpec, KeysAt, Spec};
use crate::command::host::Access;
use redis_module::raw as rm;
use std::ffi::{c_char, c_int, CString};
use std::ptr;

static VERSION: rm::RedisModuleCommandInfoVersion = rm::RedisModuleCommandInfoVersion {
    version: 1,
    sizeof_historyentry: std::mem::size_of::<rm::RedisModuleCommandHistoryEntry>(),
    sizeof_keyspec: std::mem::size_of::<rm::RedisModuleCommandKeySpec>(),
    sizeof_arg: std::mem::size_of::<rm::RedisModuleCommandArg>(),
};

/// Keeps the texts and lists alive until Redis has copied them.
#[derive(Default)]
struct Arena {
    texts: Vec<CString>,
    args: Vec<Vec<rm::RedisModuleCommandArg>>,
}

impl Arena {
    fn text(&mut self, text: &str) -> *const c_char {
        self.texts.push(c_text(text));
        // The heap part of a CString stays where it is when the list grows.
        self.texts.last().map_or(ptr::null(), |text| text.as_ptr())
    }

    fn args(&mut self, args: &[Arg]) -> *mut rm::RedisModuleCommandArg {
        if args.is_empty() {
            return ptr::null_mut();
        }
        let mut list: Vec<_> = args.iter().map(|arg| self.arg(arg)).collect();
        list.push(end_of_args());
        self.args.push(list);
        self.args.last_mut().map_or(ptr::null_mut(), |list| list.as_mut_ptr())
    }

    fn arg(&mut self, arg: &Arg) -> rm::RedisModuleCommandArg {
        let (kind, inner) = match arg.kind {
            ArgKind::Key => (rm::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY, ptr::null_mut()),
            ArgKind::String => (rm::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING, ptr::null_mut()),
            ArgKind::Integer => (rm::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER, ptr::null_mut()),
            ArgKind::Word => (rm::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN, ptr::null_mut()),
            ArgKind::OneOf(args) => (rm::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF, self.args(args)),
            ArgKind::Block(args) => (rm::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK, self.args(args)),
        };
        let mut flags = rm::REDISMODULE_CMD_ARG_NONE;
        if arg.optional {
            flags |= rm::REDISMODULE_CMD_ARG_OPTIONAL;
        }
        if arg.multiple {
            flags |= rm::REDISMODULE_CMD_ARG_MULTIPLE;
        }
        rm::RedisModuleCommandArg {
            name: self.text(arg.name),
            type_: kind,
            key_spec_index: arg.key_spec,
            token: arg.token.map_or(ptr::null(), |token| self.text(token)),
            summary: ptr::null(),
            since: ptr::null(),
            flags: flags as c_int,
            deprecated_since: ptr::null(),
            subargs: inner,
            display_text: ptr::null(),
        }
    }

    fn after_word(
        &mut self,
        word: &str,
        startfrom: c_int,
    ) -> (rm::RedisModuleKeySpecBeginSearchType, rm::RedisModuleCommandKeySpec__bindgen_ty_1) {
        let keyword = self.text(word);
        (
            rm::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_KEYWORD,
            rm::RedisModuleCommandKeySpec__bindgen_ty_1 {
                keyword: rm::RedisModuleCommandKeySpec__bindgen_ty_1__bindgen_ty_2 { keyword, startfrom },
            },
        )
    }

    fn key_spec(&mut self, spec: &KeySpec) -> rm::RedisModuleCommandKeySpec {
        let (begin_search_type, bs) = match spec.at {
            KeysAt::Index(pos) | KeysAt::From(pos) | KeysAt::CountAt(pos) => (
                rm::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX,
                rm::RedisModuleCommandKeySpec__bindgen_ty_1 {
                    index: rm::RedisModuleCommandKeySpec__bindgen_ty_1__bindgen_ty_1 { pos },
                },
            ),
            KeysAt::AfterWord(word, from) | KeysAt::CountAfter(word, from) => self.after_word(word, from),
            KeysAt::Behind(lists) => {
                let first = lists.iter().filter_map(|words| words.last()).min().copied();
                let (from, word) = first.unwrap_or((1, ""));
                self.after_word(word, from)
            }
        };
        let (find_keys_type, fk) = match spec.at {
            KeysAt::CountAt(_) | KeysAt::CountAfter(..) => (
                rm::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_KEYNUM,
                rm::RedisModuleCommandKeySpec__bindgen_ty_2 {
                    keynum: rm::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_2 {
                        keynumidx: 0,
                        firstkey: 1,
                        keystep: 1,
                    },
                },
            ),
            _ => (
                rm::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE,
                rm::RedisModuleCommandKeySpec__bindgen_ty_2 {
                    range: rm::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_1 {
                        // Counted from the first key; -1 is the last argument.
                        lastkey: if matches!(spec.at, KeysAt::From(_)) { -1 } else { 0 },
                        keystep: 1,
                        limit: 0,
                    },
                },
            ),
        };
        // Redis takes the first argument that equals the word, which may be a value. So Redis has
        // to ask the command itself. Its ACL does that only if the spec is marked incomplete.
        let incomplete = match spec.at {
            KeysAt::Index(_) | KeysAt::CountAt(_) => 0,
            // Options may follow the keys.
            KeysAt::From(_) | KeysAt::AfterWord(..) | KeysAt::CountAfter(..) | KeysAt::Behind(_) => {
                rm::REDISMODULE_CMD_KEY_INCOMPLETE
            }
        };
        rm::RedisModuleCommandKeySpec {
            notes: ptr::null(),
            flags: u64::from(access_flags(spec.access) | incomplete),
            begin_search_type,
            bs,
            find_keys_type,
            fk,
        }
    }
}

/// The access as Redis' key spec flags.
pub fn access_flags(access: Access) -> u32 {
    match access {
        Access::Read => rm::REDISMODULE_CMD_KEY_RO | rm::REDISMODULE_CMD_KEY_ACCESS,
        Access::Update => rm::REDISMODULE_CMD_KEY_RW | rm::REDISMODULE_CMD_KEY_ACCESS | rm::REDISMODULE_CMD_KEY_UPDATE,
        Access::Delete => rm::REDISMODULE_CMD_KEY_RW | rm::REDISMODULE_CMD_KEY_DELETE,
    }
}

/// The access as Redis' ACL permissions.
pub fn permission_flags(access: Access) -> u32 {
    let permissions = rm::REDISMODULE_CMD_KEY_ACCESS
        | rm::REDISMODULE_CMD_KEY_INSERT
        | rm::REDISMODULE_CMD_KEY_UPDATE
        | rm::REDISMODULE_CMD_KEY_DELETE;
    access_flags(access) & permissions
}

/// A list of arguments ends with one that is all zero.
fn end_of_args() -> rm::RedisModuleCommandArg {
    // SAFETY: the struct is plain C data, numbers and pointers, for which zero is valid.
    unsafe { std::mem::zeroed() }
}

fn end_of_key_specs() -> rm::RedisModuleCommandKeySpec {
    // SAFETY: as above.
    unsafe { std::mem::zeroed() }
}

/// Gives Redis the documentation of `command`.
pub fn set(command: *mut rm::RedisModuleCommand, spec: &'static Spec) -> Result<(), String> {
    let mut arena = Arena::default();
    let mut key_specs: Vec<_> = spec.keys.iter().map(|keys| arena.key_spec(keys)).collect();
    if spec.flags.has(Flags::WRAPS) {
        // There are more keys than the specs say, so Redis has to ask the command itself.
        key_specs.iter_mut().for_each(|keys| keys.flags |= u64::from(rm::REDISMODULE_CMD_KEY_INCOMPLETE));
    }
    key_specs.push(end_of_key_specs());
    let info = rm::RedisModuleCommandInfo {
        version: &VERSION,
        // COMMAND DOCS has no field for the reply, which a reader needs next.
        summary: arena.text(&format!("{} Reply: {}.", spec.summary, spec.reply.text())),
        complexity: arena.text(spec.complexity),
        since: arena.text(spec.since),
        history: ptr::null_mut(),
        tips: ptr::null(),
        arity: spec.arity,
        key_specs: key_specs.as_mut_ptr(),
        args: arena.args(spec.args),
    };
    if call!(RedisModule_SetCommandInfo(command, &info)) != rm::REDISMODULE_OK as c_int {
        return Err(format!("the server does not accept the documentation of {}", spec.name));
    }
    Ok(())
}
