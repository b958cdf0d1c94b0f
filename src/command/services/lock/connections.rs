//! Over which connections a grant was taken: two processes that use one owner name share a lock
//! without knowing it, and `LTMC.LOCK.INFO` shows that. The connection that took it first stands in
//! the grant; the node remembers those that took it again.

use crate::command::host::Host;
use crate::command::node::Node;
use crate::domain::lock::{Grant, LockEvent};
use std::collections::BTreeSet;

/// How many connections are remembered of one grant.
const CONNECTIONS_MAX: usize = 64;

/// Notes what `client` brings about.
#[inline]
pub fn note<H: Host>(node: &mut Node, host: &H, event: &LockEvent, client: u64) {
    let retaken = &mut node.retaken;
    match event {
        LockEvent::Reentered { fence, .. } => match retaken.get_mut(*fence) {
            Some(clients) => add(host, clients, client),
            None => retaken.insert(*fence, BTreeSet::from([client])),
        },
        LockEvent::Converted { fence, new_fence, .. } => {
            let clients = retaken.remove(*fence);
            clients.into_iter().for_each(|clients| retaken.insert(*new_fence, clients));
        }
        _ => {}
    }
}

/// Those that are gone make room.
fn add<H: Host>(host: &H, clients: &mut BTreeSet<u64>, client: u64) {
    if clients.len() >= CONNECTIONS_MAX && !clients.contains(&client) {
        clients.retain(|known| host.is_connected(*known));
    }
    if clients.len() < CONNECTIONS_MAX {
        clients.insert(client);
    }
}

/// The clients that took a grant, as far as this node knows them, each once.
pub fn clients_of<'a>(node: &'a Node, grant: &Grant) -> impl Iterator<Item = u64> + 'a {
    let first = grant.client;
    let others = node.retaken.get(grant.fence).into_iter().flatten().copied();
    [first].into_iter().chain(others.filter(move |client| *client != first))
}
