//! The last reports of the other nodes of a Redis Cluster, and how often nodes send them.
//!
//! A lost message costs nothing: the next one contains everything.

use crate::domain::limits::PEERS_MAX;
use crate::domain::node_report::{NodeId, Report};
use crate::domain::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// How often a node of a small cluster sends its report.
const INTERVAL_MS: Millis = 1000;
/// Reports a second that a node of a large cluster receives.
const REPORTS_PER_SECOND_MAX: Millis = 100;
/// After this many missing reports a node counts as silent.
const MISSED_MAX: Millis = 5;

/// How often a node of a cluster with `nodes` nodes sends its report.
///
/// Every node sends to every other one. The header of the bus takes 2.2 kB of each message, most of
/// it the sender's map of slots, and the report 0.1 kB. Up to 100 nodes that is one message a
/// second to each: with 3 nodes 5 kB/s into and out of each. In a larger cluster the interval grows
/// with the number of nodes, so that no node sends or receives more than 100 reports or 240 kB a
/// second: with 1,000 nodes each sends its report every 10 seconds. Redis' own pings and pongs take
/// ten times as much there: at least two for each other node in half a `cluster-node-timeout` (15
/// s), each with a tenth of all nodes in it.
pub fn interval_ms(nodes: usize) -> Millis {
    let others = nodes.saturating_sub(1) as Millis;
    INTERVAL_MS.max(others * 1000 / REPORTS_PER_SECOND_MAX)
}

/// The last report of a node, and when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The report.
    pub report: Report,
    /// When it came, by the clock of this node, unix ms.
    pub heard_at: Millis,
}

impl Peer {
    /// How old the report is.
    pub fn age_ms(&self, now: Millis) -> Millis {
        now.saturating_sub(self.heard_at)
    }

    /// Whether several reports in a row are missing, in a cluster of this size.
    pub fn is_silent(&self, now: Millis, nodes: usize) -> bool {
        self.age_ms(now) > MISSED_MAX * interval_ms(nodes)
    }
}

/// The other nodes that were heard.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    heard: BTreeMap<NodeId, Peer>,
    /// Reports sent, each to all other nodes.
    pub sent: u64,
    /// Reports received.
    pub received: u64,
    /// Messages that were no reports, or came from more nodes than are kept.
    pub ignored: u64,
}

impl Peers {
    /// A report arrived.
    pub fn hear(&mut self, id: NodeId, report: Report, now: Millis) {
        if self.heard.len() >= PEERS_MAX && !self.heard.contains_key(&id) {
            self.ignored += 1;
            return;
        }
        self.received += 1;
        self.heard.insert(id, Peer { report, heard_at: now });
    }

    /// The last report of a node.
    pub fn get(&self, id: &NodeId) -> Option<&Peer> {
        self.heard.get(id)
    }

    /// The number of nodes that were heard.
    pub fn len(&self) -> usize {
        self.heard.len()
    }

    /// Whether none was heard.
    pub fn is_empty(&self) -> bool {
        self.heard.is_empty()
    }

    /// Forgets nodes that are no longer in the cluster.
    pub fn keep(&mut self, members: &BTreeSet<NodeId>) {
        self.heard.retain(|id, _| members.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> NodeId {
        let text = format!("{number:040x}");
        std::array::from_fn(|at| text.as_bytes()[at])
    }

    #[test]
    fn no_node_receives_more_than_a_hundred_reports_a_second() {
        assert_eq!((interval_ms(0), interval_ms(3), interval_ms(101)), (1000, 1000, 1000));
        assert_eq!((interval_ms(201), interval_ms(1000)), (2000, 9990));
        for nodes in 1..2000 {
            assert!((nodes as u64 - 1) * 1000 <= 100 * interval_ms(nodes), "{nodes}");
        }
    }

    #[test]
    fn a_node_is_silent_after_several_reports_that_did_not_come() {
        let peer = Peer { report: Report::default(), heard_at: 10_000 };
        assert!(!peer.is_silent(15_000, 3) && peer.is_silent(15_001, 3));
        assert!(!peer.is_silent(15_001, 1000) && peer.is_silent(60_000, 1000));
        assert_eq!(peer.age_ms(9_000), 0, "a clock that was set back makes nobody silent");
    }

    #[test]
    fn the_last_report_counts_and_who_left_is_forgotten() {
        let mut peers = Peers::default();
        let report = |commands| Report { commands, ..Report::default() };
        peers.hear(id(1), report(1), 10);
        peers.hear(id(2), report(2), 10);
        peers.hear(id(1), report(3), 20);
        assert_eq!(peers.get(&id(1)), Some(&Peer { report: report(3), heard_at: 20 }));
        peers.keep(&BTreeSet::from([id(2), id(3)]));
        assert_eq!((peers.get(&id(1)), peers.len()), (None, 1));
        assert_eq!((peers.received, peers.ignored), (3, 0));
    }

    #[test]
    fn no_more_nodes_are_kept_than_allowed() {
        let mut peers = Peers::default();
        for number in 0..PEERS_MAX + 5 {
            peers.hear(id(number), Report::default(), 1);
        }
        assert_eq!((peers.len(), peers.ignored), (PEERS_MAX, 5));
        peers.hear(id(0), Report::default(), 2);
        assert_eq!(peers.get(&id(0)).map(|peer| peer.heard_at), Some(2), "who is known is heard on");
    }
}
