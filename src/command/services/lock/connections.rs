//! Over which connections a grant was taken: two processes that use one owner name share a lock
//! without knowing it, and `LTMC.LOCK.INFO` shows that. The connection that took it first stands in
//! the grant; the node remembers those that took it again.

use crate::command::node::Node;
use crate::domain::lock::{Grant, LockEvent};
use std::collections::BTreeSet;

/// How many connections are remembered of one grant.
const CONNECTIONS_MAX: usize = 64;

/// Notes what `client` brings about.
#[inline]
pub fn note(node: &mut Node, event: &LockEvent, client: u64) {
    let retaken = &mut node.retaken;
    match event {
        LockEvent::Reentered { fence, .. } => match retaken.get_mut(*fence) {
            Some(clients) if clients.len() >= CONNECTIONS_MAX => {}
            Some(clients) => drop(clients.insert(client)),
            None => retaken.insert(*fence, BTreeSet::from([client])),
        },
        LockEvent::Converted { fence, new_fence, .. } => {
            let clients = retaken.remove(*fence);
            clients.into_iter().for_each(|clients| retaken.insert(*new_fence, clients));
        }
        _ => {}
    }
}

/// The clients that took a grant, as far as this node knows them, each once.
pub fn clients_of<'a>(node: &'a Node, grant: &Grant) -> impl Iterator<Item = u64> + 'a {
    let first = grant.client;
    let others = node.retaken.get(grant.fence).into_iter().flatten().copied();
    [first].into_iter().chain(others.filter(move |client| *client != first))
}
