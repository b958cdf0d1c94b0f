//! A value of whatever type, as a check sees it.

use super::invariant::Invariant;
use super::partial_check::Part;
use super::record::Record;
use super::Entity;

/// A value of any type that can be checked.
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

impl<E: Entity> Checkable for Record<E> {
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
        Record::check(self)
    }

    fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant> {
        Record::check_part(self, from, room)
    }
}
