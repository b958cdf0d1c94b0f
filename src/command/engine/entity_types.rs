//! The types of keys, for code that depends on the type of a value.

use crate::command::host::KeyType;
use crate::domain::{Entity, Service};

/// `$body` with the entity type of what is under a key; `$other` if that is not of ours.
macro_rules! with_key_type {
    ($kind:expr, $E:ident => $body:expr, else $other:expr) => {
        match $kind {
            $crate::command::host::KeyType::Ours(tag) => {
                $crate::domain::entity_types::with_type!(tag, $E => $body, _other => $other)
            }
            _ => $other,
        }
    };
}
pub(crate) use with_key_type;

/// Whether what is under a key gives something up when the server is short of memory, see
/// [`Entity::GIVES_WAY`].
pub fn gives_way(kind: KeyType) -> bool {
    with_key_type!(kind, E => E::GIVES_WAY, else false)
}

/// The service of what is under a key; `None` if it is not of ours.
pub fn service_of(kind: KeyType) -> Option<Service> {
    with_key_type!(kind, E => Some(E::SERVICE), else None)
}
