//! What all services share that clients wait for: how a wait begins, which clients are answered
//! together, and how a wait ends.

use super::commit::commit_changes;
use super::cx::{Cx, Outcome};
use super::entity_types::with_key_type;
use super::round::Round;
use super::service::Serve;
use crate::command::host::{Host, Key};
use crate::command::node::deferred::DeferredWork;
use crate::command::node::waits::{Principal, UndeliveredGrant};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::queue::rank::WaiterId;
use crate::domain::queues::Queues;
use crate::domain::{Change, Error, Fence, KeyId, Millis, Service};
use smallvec::smallvec;

/// A wait that is to begin.
#[derive(Debug)]
pub struct NewWait {
    /// The service that the client waits for.
    pub service: Service,
    /// The key that it waits for.
    pub key: KeyId,
    /// How many clients wait for the same already.
    pub waiting: usize,
    /// The setting that bounds them.
    pub max: Setting,
    /// What one more is, for the error.
    pub what: &'static str,
    /// How long the wait may take, ms; 0 without limit.
    pub block_ms: Millis,
    /// The registered agent that it is for.
    pub principal: Option<Principal>,
}

/// Begins a wait. `stand` puts the client into its queue.
pub fn wait<H: Host>(
    cx: &mut Cx<H>,
    wait: NewWait,
    stand: impl FnOnce(&mut Queues, WaiterId),
) -> Result<Outcome, Error> {
    let max = cx.node.settings.get(wait.max);
    if wait.waiting as u64 >= max {
        return Err(Error::limit(wait.max.row().name, wait.what, max));
    }
    let id = cx.node.waits.next_id();
    stand(&mut cx.node.queues, id);
    cx.node.begin_wait(id, wait.service, smallvec![wait.key], wait.block_ms, wait.principal, cx.host);
    Ok(Outcome::Waits)
}

/// Answers all clients that wait with the same request, sent again. If there is only one and it is
/// gone, its grant is taken back.
pub fn serve_retries<H: Host>(
    node: &mut Node,
    host: &mut H,
    retries: Vec<WaiterId>,
    grant: UndeliveredGrant,
    reply: &Reply,
) {
    match retries[..] {
        [only] => node.serve_wait(only, grant, reply.clone(), host),
        _ => retries
            .into_iter()
            .for_each(|retry| node.serve_wait(retry, UndeliveredGrant::default(), reply.clone(), host)),
    }
}

/// Answers clients that wait for something that has come, or that can never come: as many as a
/// round has room for. The others have left their queues, too, and are told in the next rounds of
/// the scheduler. A replica has none.
pub fn tell<H: Host>(
    node: &mut Node,
    host: &mut H,
    round: &mut Round,
    clients: Vec<WaiterId>,
    answer: Result<Reply, Error>,
) {
    let mut clients = clients.into_iter();
    while node.replica || !round.is_over() {
        let Some(id) = clients.next() else { return };
        match &answer {
            Ok(reply) => {
                round.sends(reply);
                node.serve_wait(id, UndeliveredGrant::default(), reply.clone(), host);
            }
            Err(error) => {
                round.serves(1);
                node.refuse_wait(id, error.clone(), host);
            }
        }
    }
    let left: Vec<WaiterId> = clients.collect();
    if !left.is_empty() {
        left.iter().for_each(|id| node.leave_queues(*id));
        node.deferred.push_back(DeferredWork::Tell { clients: left, answer });
    }
}

/// Takes back grants whose clients were gone before they were told. A retry of the request begins
/// anew.
pub fn take_back<H: Host>(node: &mut Node, host: &mut H, undelivered: UndeliveredGrant) {
    let UndeliveredGrant { grants, request_id } = undelivered;
    for (key, fence) in grants {
        let key: Key = (&key).into();
        with_key_type!(host.key_type(key), E => take_back_one::<E, H>(node, host, key, fence, request_id.as_ref()), else ());
    }
}

fn take_back_one<E: Serve, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    fence: Fence,
    request_id: Option<&RequestId>,
) {
    let at = node.now();
    let stored = host.read::<E>(key).ok().flatten();
    let Some(event) = stored.and_then(|stored| stored.state.taken_back(fence, at)) else { return };
    node.metrics.of_mut(E::SERVICE).taken_back += 1;
    let forgotten =
        request_id.map(|request| Change::Forgotten { owner: request.owner.clone(), id: request.id.clone() });
    let mut changes: Vec<_> = [Change::Event(event)].into_iter().chain(forgotten).collect();
    // The key was just read as of this type. If something that belongs to it has moved away since,
    // the lease ends the grant.
    commit_changes::<E, H>(node, host, key, &mut changes).ok();
}

/// Ends all waits for a service on this key: it can serve nobody there any more.
pub fn refuse<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, service: Service, error: &Error) {
    if node.queues.waits_for(service, key) {
        tell(node, host, &mut Round::of(node), node.queues.waiters(service, key), Err(error.clone()));
    }
}

/// Ends all waits on this key: nobody can be served on it any more.
pub fn refuse_all<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, error: &Error) {
    Service::ALL.iter().for_each(|service| refuse(node, host, key, *service, error));
    tell(node, host, &mut Round::of(node), node.watchers.of(key), Err(error.clone()));
}

/// Ends the waits on this key whose service was switched off.
pub fn refuse_disabled<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    if node.queues.is_empty() {
        return;
    }
    for service in Service::ALL {
        if let Err(error) = node.settings.check_enabled(*service) {
            refuse(node, host, key, *service, &error);
        }
    }
}
