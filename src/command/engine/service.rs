//! What a service brings to the engine, beside what its entity decides: what follows from its changes, and who is served then.
//!
//! ```text
//! commit:  plan  ->  replicate, apply, tell  ->  settle  ->  follow
//! ```
//!
//! Each service implements [`Serve`] in its `serve.rs`. The engine and the scheduler go through it and name no service.

use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::domain::reactions::Reacts;
use crate::domain::{Change, Error, KeyId};

/// A service, as the engine sees it.
pub trait Serve: Reacts {
    /// Whether a look at a value may stop on its way and go on there next time, see [`passes`](crate::command::node::passes).
    const PASSES: bool = false;

    /// What has to be known of a value before it changes, so that what follows can be done afterwards.
    type Plan;

    /// The event that makes a value of a key that is not there yet, before what was decided on it;
    /// `None` if the first change makes one by itself.
    fn initial(_node: &Node) -> Option<Self::Event> {
        None
    }

    /// Before a change: what will follow from it. Errs if that cannot be done now, and then nothing changes.
    fn plan<H: Host>(
        node: &mut Node,
        host: &mut H,
        key: Key,
        changes: &[Change<Self::Event>],
    ) -> Result<Self::Plan, Error>;

    /// After each change: what belongs to it and cannot wait.
    fn settle<H: Host>(_node: &mut Node, _host: &mut H, _key: Key, _plan: &mut Self::Plan) {}

    /// After it: whoever waits for what it freed is served. Changes that this makes itself are made with
    /// [`commit_step`](super::commit::commit_step), for which nothing follows: it goes on until nothing is left to do.
    fn follow<H: Host>(_node: &mut Node, _host: &mut H, _key: Key, _plan: Self::Plan) {}

    /// The scheduler looks at a value of this type, or at a key that somebody expects to become one. `has_changed`: something may have happened
    /// to it that nobody told us of, so that all who wait for it are looked at, too. Says how much work it was.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> Result<usize, Error>;

    /// The same on a replica, which decides nothing.
    fn wake_on_replica<H: Host>(_node: &mut Node, _host: &mut H, _key: &KeyId) {}

    /// Leaves at most `max` of these events, such as can happen now.
    fn choose<H: Host>(_node: &mut Node, _host: &mut H, _key: Key, events: &mut Vec<Self::Event>, max: usize) {
        events.truncate(max);
    }
}
