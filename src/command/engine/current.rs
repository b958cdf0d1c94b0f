//! The value that a command decides on: the value of its key or, if the key is not there yet, the
//! value that its first change would find.

use super::service::Serve;
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::domain::{Error, Record};
use std::ops::Deref;

/// The current value of a key.
pub enum Current<'a, E: Serve> {
    /// It is there.
    Existing(&'a Record<E>),
    /// It is not there yet.
    Initial {
        /// What creates it, before anything that is decided on it.
        first: Option<E::Event>,
        /// What it is then.
        value: E,
    },
}

/// The value of a key, or the initial one, see [`Serve::initial`].
pub fn current<'a, E: Serve, H: Host>(node: &Node, host: &'a mut H, key: Key) -> Result<Current<'a, E>, Error> {
    Ok(match host.read::<E>(key)? {
        // What a client restored may be as empty as a value that has not begun.
        Some(record) if !record.is_empty() => Current::Existing(record),
        _ => Current::initial(node),
    })
}

impl<E: Serve> Current<'_, E> {
    fn initial(node: &Node) -> Self {
        let (first, mut value) = (E::initial(node), E::default());
        if let Some(first) = &first {
            value.apply(first);
        }
        Current::Initial { first, value }
    }

    /// What has to happen before anything that was decided on the value.
    pub fn first(self) -> Option<E::Event> {
        match self {
            Current::Existing(_) => None,
            Current::Initial { first, .. } => first,
        }
    }
}

impl<E: Serve> Deref for Current<'_, E> {
    type Target = E;

    fn deref(&self) -> &E {
        match self {
            Current::Existing(record) => &record.state,
            Current::Initial { value, .. } => value,
        }
    }
}
