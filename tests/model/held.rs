//! A value of whatever type, as the server in memory holds it.

use ltmc::command::host::Arguments;
use ltmc::domain::context::Context;
use ltmc::domain::entity::checkable::Checkable;
use ltmc::domain::lock::Lock;
use ltmc::domain::reactions::{remains, Reacts, Remains};
use ltmc::domain::session::Session;
use ltmc::domain::{Connection, Entity, Fault, Millis, Record};
use std::any::Any;

/// A value of ours, whatever its type.
pub trait Held: Any + std::fmt::Debug {
    fn tag(&self) -> u8;
    fn connections(&self) -> Vec<Connection>;
    /// What its key is called in totals, and what it holds.
    fn counted(&self) -> (&'static str, Option<(&'static str, u64)>);
    fn checkable(&self) -> &dyn Checkable;
    fn fault(&self) -> Option<&Fault>;
    fn any(&self) -> &dyn Any;
    fn any_mut(&mut self) -> &mut dyn Any;
}

impl<E: Entity> Held for Record<E> {
    fn tag(&self) -> u8 {
        E::TYPE_TAG
    }
    fn connections(&self) -> Vec<Connection> {
        self.state.connections()
    }
    fn counted(&self) -> (&'static str, Option<(&'static str, u64)>) {
        (E::KEYS, E::MEMBERS.map(|name| (name, self.state.members() as u64)))
    }
    fn checkable(&self) -> &dyn Checkable {
        self
    }
    fn fault(&self) -> Option<&Fault> {
        Record::fault(self)
    }
    fn any(&self) -> &dyn Any {
        self
    }
    fn any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// What is left of a value if Redis deletes it now. Only of these types is anything.
pub fn remains_of(held: &dyn Held, now: Millis) -> Option<Remains> {
    fn of<E: Reacts>(held: &dyn Held, now: Millis) -> Option<Remains> {
        remains(held.any().downcast_ref::<Record<E>>()?, now, false)
    }
    of::<Lock>(held, now).or_else(|| of::<Session>(held, now)).or_else(|| of::<Context>(held, now))
}

/// The arguments of a command, kept for a thread.
pub struct Kept(pub Vec<Vec<u8>>);

impl Arguments for Kept {
    fn bytes(&self) -> Vec<&[u8]> {
        self.0.iter().map(Vec::as_slice).collect()
    }
}
