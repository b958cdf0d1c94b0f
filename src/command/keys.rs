//! Where the keys of a command stand among its arguments: as its row declares, found by the same [walk](super::walk) that the parser
//! goes by.

use super::dispatch::Cx;
use super::spec::{Access, Flags, KeysAt, Spec};
use super::walk::Walk;
use super::{Host, Key};
use crate::domain::id::printable;
use crate::domain::{Code, Error};
use smallvec::SmallVec;

/// The place of each key among the arguments, and what is done with it.
pub type Positions = SmallVec<[(usize, Access); 4]>;

/// All keys that the arguments name.
pub fn positions(spec: &'static Spec, args: &[&[u8]]) -> Positions {
    let access = |key_spec: i32| spec.keys.get(key_spec as usize).map(|keys| keys.access);
    let found = Walk::new(spec, args).keys().into_iter();
    found.filter_map(|(at, key_spec)| Some((at, access(key_spec)?))).collect()
}

/// Errs if the caller may not do with its keys what the command does. The server has asked for those whose place never changes, and for
/// all others where it knows how; so these are asked for here once more.
pub fn check_access<H: Host>(cx: &mut Cx<H>) -> Result<(), Error> {
    if !cx.spec.flags.has(Flags::GETKEYS_API) {
        return Ok(());
    }
    for (at, access) in positions(cx.spec, cx.args) {
        let is_fixed = |keys: &super::spec::KeySpec| matches!(keys.at, KeysAt::Index(place) if place as usize == at);
        let key: Key = cx.key(at);
        if !cx.spec.keys.iter().any(is_fixed) && !cx.host.may_access(key, access) {
            let text = format!("no permission to access the key '{}', which is an argument", printable(key.name));
            return Err(Error::new(Code::NoPerm, text));
        }
    }
    Ok(())
}
