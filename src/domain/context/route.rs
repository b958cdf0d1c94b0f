//! Which agents know a context: what makes one agent a better choice than another for work on it.

use super::touches::recency;
use super::Context;
use crate::domain::json::Pointer;
use crate::domain::Bytes;
use std::collections::BTreeMap;

/// The knowledge of a participant that has touched nothing, thousandths.
const JOINED: u64 = 200;

/// How well agents know a place of a context, thousandths: how recently they touched it, or that
/// they participate at all.
pub type Knowledge = BTreeMap<Bytes, u64>;

/// How well each agent knows `path`.
pub fn knowledge(context: &Context, path: &Pointer) -> Knowledge {
    let mut knowledge: Knowledge = context.participants().keys().map(|agent| (agent.clone(), JOINED)).collect();
    for (agent, version) in context.state().touches().around(path).flat_map(|touch| &touch.by) {
        let known = knowledge.entry(agent.clone()).or_default();
        *known = (*known).max(recency(*version, context.version()));
    }
    knowledge
}
