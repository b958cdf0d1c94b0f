//! The wait-for graph, as far as a search has come, and its reduction.

use super::looks::Looks;
use crate::domain::limits::LOCK_SHOWN_MAX;
use crate::domain::lock::queue::LockWaiter;
use crate::domain::value::bytes::printable;
use crate::domain::Bytes;
use ahash::AHashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// An owner in the graph, in the order in which they were found: equal states give equal messages.
pub type Node = usize;

/// Something an owner waits for: at least `missing` of `owners` (an owner counts as often as it is
/// listed) have to run to their ends.
#[derive(Debug)]
pub struct Need {
    /// The wait of the owner, and which of its keys this is about.
    pub wait: Arc<LockWaiter>,
    /// The place of the key in that wait.
    pub key: usize,
    /// The waiter before it in the queue that needs this, if that is not the owner itself. Only for
    /// the message.
    pub via: Option<Arc<LockWaiter>>,
    /// The owners.
    pub owners: SmallVec<[Node; 1]>,
    /// How many of them are missing still.
    pub missing: usize,
    /// Names the grants and waiters that make this need, which have names that are never used
    /// again: while they are there, the need is.
    pub evidence: u64,
}

#[derive(Debug)]
struct Owner {
    name: Bytes,
    /// Empty for one that has not been asked yet.
    needs: Vec<Need>,
    /// How many of its needs are not met.
    unmet: usize,
    /// Who needs it, and the place of that need. The reduction takes these out.
    needed_by: Vec<(Node, usize)>,
    /// Whether it cannot run to its end, as far as is known.
    is_stuck: bool,
}

/// The owners that were found.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: AHashMap<Bytes, Node>,
    owners: Vec<Owner>,
    /// Those that can run to their ends and of whom nobody was told.
    free: Vec<Node>,
    edges: usize,
}

impl Graph {
    /// The node of an owner.
    pub fn node(&mut self, owner: &Bytes) -> Node {
        if let Some(node) = self.nodes.get(owner) {
            return *node;
        }
        let node = self.owners.len();
        self.nodes.insert(owner.clone(), node);
        let name = owner.clone();
        self.owners.push(Owner { name, needs: Vec::new(), unmet: 0, needed_by: Vec::new(), is_stuck: true });
        node
    }

    /// The name of an owner.
    pub fn name(&self, node: Node) -> &Bytes {
        &self.owners[node].name
    }

    /// How many owners there are.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// How many edges there are: each owner of each need is one.
    pub fn edges(&self) -> usize {
        self.edges
    }

    /// Whether an owner cannot run to its end. That is known after the reduction.
    pub fn is_stuck(&self, node: Node) -> bool {
        self.owners[node].is_stuck
    }

    /// The owners that cannot run to their ends.
    pub fn stuck(&self) -> Vec<Node> {
        (0..self.owners.len()).filter(|node| self.is_stuck(*node)).collect()
    }

    /// An owner was asked what it needs.
    pub fn answer(&mut self, node: Node, needs: Vec<Need>) {
        for (at, need) in needs.iter().enumerate() {
            self.edges += need.owners.len();
            need.owners.iter().for_each(|owner| self.owners[*owner].needed_by.push((node, at)));
        }
        if needs.is_empty() {
            self.free.push(node);
        }
        let owner = &mut self.owners[node];
        (owner.unmet, owner.needs) = (needs.len(), needs);
    }

    /// Takes out every owner that can run to its end. `false` if that goes on in another turn.
    pub fn reduce(&mut self, looks: &mut Looks) -> bool {
        while let Some(ended) = self.free.pop() {
            self.owners[ended].is_stuck = false;
            while let Some((node, at)) = self.owners[ended].needed_by.pop() {
                let owner = &mut self.owners[node];
                // More may end than are missing.
                let need = &mut owner.needs[at];
                let is_last = need.missing == 1;
                need.missing = need.missing.saturating_sub(1);
                if is_last {
                    owner.unmet -= 1;
                    if owner.unmet == 0 {
                        self.free.push(node);
                    }
                }
                looks.take(1);
                if looks.are_over() {
                    self.free.push(ended);
                    return false;
                }
            }
        }
        true
    }

    /// Whether an owner that is asked again needs something still that holds it up. That makes it
    /// stuck, if the others are.
    pub fn confirms(&self, node: Node, needs: &[Need]) -> bool {
        let unmet = self.owners[node].needs.iter().filter(|need| need.missing > 0);
        let unmet: ahash::AHashSet<u64> = unmet.map(|need| need.evidence).collect();
        needs.iter().any(|need| unmet.contains(&need.evidence))
    }

    /// A cycle from `start` back to itself, as `a -> key -> b -> key -> a`, or the path into one:
    /// the first of its links, and how many more there are.
    pub fn cycle(&self, start: Node) -> String {
        let mut text = printable(self.name(start));
        let (mut seen, mut at, mut links) = (vec![false; self.len()], start, 0);
        seen[start] = true;
        let link = |text: &mut String, links: &mut usize, need: &Need, owner: &Bytes| {
            *links += 1;
            if *links <= LOCK_SHOWN_MAX {
                text.push_str(&format!(" -> {} -> {}", printable(&need.wait.keys[need.key].name), printable(owner)));
            }
        };
        loop {
            let into_stuck = |(_, owner): &(&Need, Node)| self.is_stuck(*owner);
            let edges = || {
                let needs = self.owners[at].needs.iter();
                needs.flat_map(|need| need.owners.iter().map(move |owner| (need, *owner))).filter(into_stuck)
            };
            let closing = edges().find(|(_, owner)| *owner == start);
            let next = closing.or_else(|| edges().find(|(_, owner)| !seen[*owner])).or_else(|| edges().next());
            if let Some((need, owner)) = next {
                need.via.iter().for_each(|via| link(&mut text, &mut links, need, &via.request.owner));
                link(&mut text, &mut links, need, self.name(owner));
                at = owner;
            }
            if next.is_none() || std::mem::replace(&mut seen[at], true) {
                break;
            }
        }
        if links > LOCK_SHOWN_MAX {
            text.push_str(&format!(" -> ... ({} more links)", links - LOCK_SHOWN_MAX));
        }
        text
    }
}
