//! Keys that Redis has deleted by itself: the node takes in what is left of them before it decides
//! anything else. [What follows](super::remains) is left to the scheduler.

use super::auditing;
use crate::command::host::Host;
use crate::command::node::deferred::DeferredWork;
use crate::command::node::Node;
use crate::domain::reactions::{Estate, Remains};
use crate::domain::KeyId;

/// Redis has deleted `key` by itself, and its event is published. What is granted from now on is
/// kept when its estate is given back.
pub fn ended(node: &mut Node, key: KeyId, remains: Remains) {
    if let Some(event) = remains.event {
        node.metrics.count_event(event);
        auditing::expired(node, (&key).into(), event, &remains);
    }
    let has_log = remains.log.is_some_and(|log| node.watchers.keep_log(&key, log));
    let estate = remains.estate.map(|estate| Box::new(Estate { until: node.clock.next_fence(), ..estate }));
    estate.iter().for_each(|estate| node.audit.gives_back(estate.until));
    if has_log || estate.is_some() {
        node.deferred.push_back(DeferredWork::Expired { key, estate });
    }
}

/// Takes in what is left of keys that have ended since the last piece of work began.
pub fn take_in<H: Host>(node: &mut Node, host: &mut H) {
    host.take_expired().into_iter().for_each(|(key, remains)| ended(node, key, remains));
}
