//! A small cluster on this machine.

use std::collections::BTreeMap;

use super::client::Client;
use super::reply::Reply;
use super::server::{parse_info, Builder, Server};
use super::wait_until;

const SLOTS: usize = 16_384;
/// Long enough that a busy machine does not look like a dead node.
const NODE_TIMEOUT_MS: u32 = 5_000;

/// Primaries that share the slots evenly, in order. Each is a [`Server`] like any other.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// Starts `count` primaries with the module and waits until all of them serve.
    #[track_caller]
    pub fn start(count: usize) -> Cluster {
        Cluster::start_with(count, Server::builder())
    }

    /// The same with other servers.
    #[track_caller]
    pub fn start_with(count: usize, spec: Builder) -> Cluster {
        let start = |_| clustered(spec.clone()).start();
        let cluster = Cluster { nodes: (0..count).map(start).collect() };
        for (index, node) in cluster.nodes.iter().enumerate() {
            let (first, last) = (index * SLOTS / count, (index + 1) * SLOTS / count - 1);
            node.cmd(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).ok();
            // Nodes that claim the same epoch for their slots would first have to find that out.
            node.cmd(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).ok();
        }
        for node in &cluster.nodes[1..] {
            node.meet(&cluster.nodes[0]);
        }
        for node in &cluster.nodes {
            node.wait_cluster_ok(count);
        }
        cluster
    }

    /// The slot of a key.
    #[track_caller]
    pub fn slot(&self, key: &str) -> u16 {
        self.nodes[0].cmd(&["CLUSTER", "KEYSLOT", key]).int() as u16
    }

    /// The index of the node that holds a slot.
    #[track_caller]
    pub fn owner(&self, slot: u16) -> usize {
        let ranges = self.nodes[0].cmd(&["CLUSTER", "SLOTS"]);
        let holds = |range: &&Reply| (range.array()[0].int()..=range.array()[1].int()).contains(&slot.into());
        let range = ranges.array().iter().find(holds).unwrap_or_else(|| panic!("nobody holds slot {slot}"));
        let port = range.array()[2].array()[1].int();
        let index = self.nodes.iter().position(|node| i64::from(node.port()) == port);
        index.unwrap_or_else(|| panic!("slot {slot} is held by port {port}, which is none of the primaries"))
    }

    /// The node that a key lives on.
    #[track_caller]
    pub fn node_of(&self, key: &str) -> &Server {
        &self.nodes[self.owner(self.slot(key))]
    }

    /// A connection to the node that a key lives on.
    #[track_caller]
    pub fn client_of(&self, key: &str) -> Client {
        self.node_of(key).client()
    }

    /// Opens a slot for its move: the source sends clients on for keys it does not have, the target
    /// takes them with `ASKING`.
    #[track_caller]
    pub fn begin_migration(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        target.set_slot(slot, "IMPORTING", &source.node_id());
        source.set_slot(slot, "MIGRATING", &target.node_id());
    }

    /// Moves the keys of an open slot.
    #[track_caller]
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) {
        let source = &self.nodes[from];
        let port = self.nodes[to].port().to_string();
        loop {
            let keys = source.cmd(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "100"]);
            if keys.array().is_empty() {
                return;
            }
            let mut command: Vec<&[u8]> = vec![b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"", b"0", b"5000", b"KEYS"];
            command.extend(keys.array().iter().map(|key| key.bytes()));
            source.cmd(&command).ok();
        }
    }

    /// Gives an open slot to its new node, and waits until every node knows.
    #[track_caller]
    pub fn finish_migration(&self, slot: u16, to: usize) {
        let id = self.nodes[to].node_id();
        // The new owner first: the slot is never without one.
        self.nodes[to].set_slot(slot, "NODE", &id);
        for node in &self.nodes {
            node.set_slot(slot, "NODE", &id);
        }
        wait_until("the slot has moved", || self.owner(slot) == to);
    }

    /// Moves a slot with all its keys.
    #[track_caller]
    pub fn migrate_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_migration(slot, from, to);
        self.move_keys(slot, from, to);
        self.finish_migration(slot, to);
    }

    /// Starts one more node, without slots, and waits until all primaries see it.
    #[track_caller]
    pub fn join(&self, spec: Builder) -> Server {
        let known = |of: &Server| of.cluster_info()["cluster_known_nodes"].parse::<usize>().expect("a number");
        let count = known(&self.nodes[0]) + 1;
        let node = clustered(spec).start();
        node.meet(&self.nodes[0]);
        for known in self.nodes.iter().chain([&node]) {
            known.wait_cluster_ok(count);
        }
        node
    }

    /// Starts a replica of one primary and waits until all nodes agree on both, as an election
    /// needs.
    #[track_caller]
    pub fn add_replica(&self, of: usize) -> Server {
        let primary = &self.nodes[of];
        let replica = primary.spec().start();
        replica.meet(primary);
        let (id, primary_id) = (replica.node_id(), primary.node_id());
        // Refused until the handshake with that node has ended.
        wait_until("the replica knows its primary", || !replica.cmd(&["CLUSTER", "REPLICATE", &primary_id]).is_error());
        replica.wait_cluster_ok(self.nodes.len() + 1);
        for node in self.nodes.iter().chain([&replica]) {
            wait_until("all nodes agree on the replica and its primary", || {
                let follows = node.node_field(&id, NodeField::Primary).is_some_and(|found| found == primary_id);
                // A vote with an older epoch would be denied.
                let epoch = |of: &Server| of.node_field(&primary_id, NodeField::ConfigEpoch);
                follows && epoch(node) == epoch(primary)
            });
        }
        replica.wait_synced(primary);
        replica
    }
}

/// The fields of a line of CLUSTER NODES.
#[derive(Clone, Copy)]
enum NodeField {
    Primary = 3,
    ConfigEpoch = 6,
    Link = 7,
}

fn clustered(spec: Builder) -> Builder {
    spec.arg("cluster-enabled", "yes").arg("cluster-node-timeout", NODE_TIMEOUT_MS)
}

impl Server {
    /// The id of this cluster node.
    #[track_caller]
    pub fn node_id(&self) -> String {
        self.cmd(&["CLUSTER", "MYID"]).text().to_string()
    }

    /// Waits until this node serves and is connected to all the others.
    #[track_caller]
    fn wait_cluster_ok(&self, nodes: usize) {
        wait_until("the node serves and sees the whole cluster", || {
            let lines = self.cmd(&["CLUSTER", "NODES"]);
            let links = lines.text().lines().filter_map(|line| line.split(' ').nth(NodeField::Link as usize));
            let connected = links.filter(|link| *link == "connected").count();
            self.cluster_info()["cluster_state"] == "ok" && connected == nodes
        });
    }

    /// Makes this cluster replica take over from its primary in an orderly way, and waits until it
    /// serves.
    #[track_caller]
    pub fn take_over(&self) {
        self.cmd(&["CLUSTER", "FAILOVER"]).ok();
        wait_until("the replica has taken over", || {
            self.info("replication")["role"] == "master" && self.cluster_info()["cluster_state"] == "ok"
        });
    }

    /// What this node believes about another one.
    #[track_caller]
    fn node_field(&self, id: &str, field: NodeField) -> Option<String> {
        let nodes = self.cmd(&["CLUSTER", "NODES"]);
        let line = nodes.text().lines().find(|line| line.starts_with(id))?;
        line.split(' ').nth(field as usize).map(str::to_string)
    }

    #[track_caller]
    fn cluster_info(&self) -> BTreeMap<String, String> {
        parse_info(self.cmd(&["CLUSTER", "INFO"]).text())
    }

    #[track_caller]
    fn meet(&self, other: &Server) {
        let bus_port = other.cmd(&["CONFIG", "GET", "cluster-port"]).get("cluster-port").text().to_string();
        self.cmd(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), &bus_port]).ok();
    }

    #[track_caller]
    fn set_slot(&self, slot: u16, state: &str, node: &str) {
        self.cmd(&["CLUSTER", "SETSLOT", &slot.to_string(), state, node]).ok();
    }
}
