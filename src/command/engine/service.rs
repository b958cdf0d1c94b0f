//! What a service tells the engine, beside what its entity decides: what follows from its changes,
//! and who is served then.
//!
//! ```text
//! commit:  plan  ->  replicate, apply, tell  ->  settle  ->  follow
//! ```
//!
//! Each service implements [`Serve`] in its `serve.rs`. The engine and the scheduler use this trait
//! and name no service. Whose is what an agent holds (`bindings`, `reactions`) is the one thing
//! that needs to know of registries.

use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::domain::entity_types::for_each_type;
use crate::domain::reactions::Reacts;
use crate::domain::{Change, Entity, Error, KeyId};

/// A service, as the engine sees it.
pub trait Serve: Reacts {
    /// Whether a look at a value may stop midway and continue there next time, see
    /// [`passes`](crate::command::node::passes).
    const PASSES: bool = false;

    /// What has to be known of a value before it changes, to do afterwards what follows.
    type Plan;

    /// The event that creates the value of a key that is not there yet, before what was decided on
    /// it; `None` if the first change creates it by itself.
    fn initial(_node: &Node) -> Option<Self::Event> {
        None
    }

    /// Before a change: collects what will follow from it. Errs if that cannot be done now, and
    /// then nothing changes.
    fn plan<H: Host>(
        node: &mut Node,
        host: &mut H,
        key: Key,
        changes: &[Change<Self::Event>],
    ) -> Result<Self::Plan, Error>;

    /// After each change: does what belongs to it and cannot wait.
    fn settle<H: Host>(_node: &mut Node, _host: &mut H, _key: Key, _plan: &mut Self::Plan) {}

    /// After that: serves clients that wait for what the change freed. It makes its own changes
    /// with [`commit_step`](super::commit::commit_step), from which nothing follows, and continues
    /// until nothing is left to do.
    fn follow<H: Host>(_node: &mut Node, _host: &mut H, _key: Key, _plan: Self::Plan) {}

    /// Before changes that another node decided, or that a file held: tells the clients that wait
    /// for what is about to happen and could not be seen afterwards.
    fn foresee<H: Host>(_node: &mut Node, _host: &mut H, _key: Key, _changes: &[Change<Self::Event>]) {}

    /// The scheduler looks at a value of this type, or at a key that a client expects to become
    /// one. With `has_changed`, something may have happened to it unnoticed, so all its waiters are
    /// looked at, too. Returns how much work that was.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> Result<usize, Error>;

    /// The same on a replica, which decides nothing.
    fn wake_on_replica<H: Host>(_node: &mut Node, _host: &mut H, _key: &KeyId) {}

    /// Takes a turn of its long work, for which it has asked
    /// [`Turns`](crate::command::node::turns::Turns).
    /// Returns how much work that was.
    fn take_turn<H: Host>(_node: &mut Node, _host: &mut H) -> usize {
        0
    }

    /// The service was switched on again, and continues where it was.
    fn switched_on(_node: &mut Node) {}

    /// Keeps at most `max` of these events, all of which can happen now.
    fn choose<H: Host>(_node: &mut Node, _host: &mut H, _key: Key, events: &mut Vec<Self::Event>, max: usize) {
        events.truncate(max);
    }
}

/// Changes a setting, see [`Node::set`], with what services do when they are switched on.
pub fn change_setting(node: &mut Node, index: usize, value: i64) {
    for service in node.set(index, value) {
        for_each_type!(E => {
            if E::SERVICE == service {
                E::switched_on(node);
            }
        });
    }
}
