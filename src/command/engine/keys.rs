//! Where the keys of a command stand among its arguments: as its row declares, found by the same
//! [walk](crate::command::engine::walk) that the parser follows.

use super::spec::{KeysAt, Spec};
use super::walk::Walk;
use crate::command::host::Access;
use smallvec::SmallVec;

/// The place of each key among the arguments, and how the command accesses it.
pub type Positions = SmallVec<[(usize, Access); 4]>;

/// All keys that the arguments name.
pub fn positions(spec: &'static Spec, args: &[&[u8]]) -> Positions {
    let access = |key_spec: i32| spec.keys.get(key_spec as usize).map(|keys| keys.access);
    let found = Walk::new(spec, args).keys().into_iter();
    found.filter_map(|(at, key_spec)| Some((at, access(key_spec)?))).collect()
}

/// Whether the place of such keys depends on the other arguments.
pub fn is_searched(keys: KeysAt) -> bool {
    !matches!(keys, KeysAt::Index(_) | KeysAt::CountAt(_))
}

/// Whether there may be such keys. It is a quick test, since nearly all commands come without.
pub fn may_be_named(keys: KeysAt, args: &[&[u8]]) -> bool {
    let has = |word: &str| args.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    match keys {
        KeysAt::Index(_) | KeysAt::CountAt(_) => false,
        KeysAt::From(_) => true,
        KeysAt::AfterWord(word, _) | KeysAt::CountAfter(word, _) => has(word),
        KeysAt::Behind(lists) => lists.iter().filter_map(|words| words.last()).any(|(_, word)| has(word)),
    }
}
