//! What a service brings to the engine.

use super::commit::commit_changes;
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::command::services::flow::serve as flow_serve;
use crate::command::services::lock::serve as lock_serve;
use crate::command::services::mail::serve as mail_serve;
use crate::command::services::registry::serve as registry_serve;
use crate::domain::buffer::Buffer;
use crate::domain::cache::Cache;
use crate::domain::context::Context;
use crate::domain::flow::{Flow, FlowEvent};
use crate::domain::lock::Lock;
use crate::domain::mail::Mail;
use crate::domain::registry::Registry;
use crate::domain::session::Session;
use crate::domain::{Change, Entity, Error};

/// What happens to a value of type `E`, in order.
type Changes<E> = Vec<Change<<E as Entity>::Event>>;

/// How a service applies changes and serves those who wait for what they free.
pub trait Follows: Entity {
    /// Leaves at most `max` of the events, such as can happen now.
    fn choose<H: Host>(_node: &mut Node, _host: &mut H, _key: Key, events: &mut Vec<Self::Event>, max: usize) {
        events.truncate(max);
    }

    /// Applies changes that were decided, and serves whoever waits for what they free.
    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, mut changes: Changes<Self>) -> Result<(), Error> {
        commit_changes::<Self, H>(node, host, key, &mut changes)
    }
}

impl Follows for Lock {
    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, mut changes: Changes<Self>) -> Result<(), Error> {
        commit_changes::<Self, H>(node, host, key, &mut changes)?;
        lock_serve::serve_waiting(node, host, key);
        Ok(())
    }
}

impl Follows for Registry {
    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: Changes<Self>) -> Result<(), Error> {
        registry_serve::commit_all(node, host, key, changes)
    }
}

impl Follows for Mail {
    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: Changes<Self>) -> Result<(), Error> {
        mail_serve::commit(node, host, key, changes)
    }
}

impl Follows for Flow {
    fn choose<H: Host>(node: &mut Node, host: &mut H, key: Key, events: &mut Vec<FlowEvent>, max: usize) {
        if host.is_clustered() {
            // Others each time, so that those whose locks may be on another node keep no other one waiting for good.
            let first = node.random() % events.len().max(1) as u64;
            events.rotate_left(first as usize);
        }
        events.truncate(max);
        flow_serve::leave_out_moving(host, key, events);
    }

    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: Changes<Self>) -> Result<(), Error> {
        flow_serve::change(node, host, key, changes)
    }
}

impl Follows for Buffer {}

impl Follows for Context {}

impl Follows for Session {}

impl Follows for Cache {}
