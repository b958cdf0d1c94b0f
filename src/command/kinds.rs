//! The types of keys, listed once for everything that depends on the type of a value.

use super::Kind;
use crate::domain::parts::Part;
use crate::domain::{Entity, Invariant, Service, Stored};

/// Runs `$body` with `$E` being the entity type of a tag, one of those that are registered, or `$else` with the tag if there is none.
macro_rules! with_type {
    ($tag:expr, $E:ident => $body:expr, $other:ident => $else:expr) => {
        $crate::command::kinds::with_type!(@ $tag, $E => $body, $other => $else,
            lock::Lock registry::Registry context::Context session::Session cache::Cache buffer::Buffer mail::Mail flow::Flow)
    };
    (@ $tag:expr, $E:ident => $body:expr, $other:ident => $else:expr, $($module:ident::$Type:ident)*) => {
        match $tag {
            $(<$crate::domain::$module::$Type as $crate::domain::Entity>::TYPE_TAG => {
                type $E = $crate::domain::$module::$Type;
                $body
            })*
            $other => $else,
        }
    };
}
pub(crate) use with_type;

/// The same with what is under a key; `$other` if that is not of ours.
macro_rules! with_kind {
    ($kind:expr, $E:ident => $body:expr, else $other:expr) => {
        match $kind {
            $crate::command::Kind::Ours(tag) => {
                $crate::command::kinds::with_type!(tag, $E => $body, _other => $other)
            }
            _ => $other,
        }
    };
}
pub(super) use with_kind;

/// Whether what is under a key gives something up when the server is short of memory, see [`Entity::GIVES_WAY`].
pub fn gives_way(kind: Kind) -> bool {
    with_kind!(kind, E => E::GIVES_WAY, else false)
}

/// A value of whatever type, to be checked.
pub trait Checkable {
    /// Redis' name of its type.
    fn type_name(&self) -> &'static str;

    /// Whether it is in quarantine.
    fn is_faulty(&self) -> bool;

    /// How long a check takes, see [`Entity::check_effort`].
    fn effort(&self) -> usize;

    /// Whether all its invariants hold.
    fn check(&self) -> Result<(), Invariant>;

    /// Whether they hold in a part of it, see [`Entity::check_part`].
    fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant>;
}

impl<E: Entity> Checkable for Stored<E> {
    fn type_name(&self) -> &'static str {
        E::TYPE_NAME
    }

    fn is_faulty(&self) -> bool {
        self.fault().is_some()
    }

    fn effort(&self) -> usize {
        self.state.check_effort()
    }

    fn check(&self) -> Result<(), Invariant> {
        Stored::check(self)
    }

    fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant> {
        Stored::check_part(self, from, room)
    }
}

/// The service of what is under a key; `None` if it is not of ours.
pub fn service_of(kind: Kind) -> Option<Service> {
    with_kind!(kind, E => Some(E::SERVICE), else None)
}
