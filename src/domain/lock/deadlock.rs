//! Would waiting close a cycle? This is checked before a client waits; a cycle is refused.
//!
//! The wait-for graph has owners as nodes. An owner waits for the holders that keep it out (hard
//! edges) and for the waiters before it in a queue (soft edges), as in PostgreSQL's lock manager. A
//! full semaphore needs *some* of its holders to end, not all, so a plain cycle search would report
//! false deadlocks. Instead the graph is reduced (R. C. Holt, "Some Deadlock Properties of Computer
//! Systems", 1972). An owner that waits for nothing can run to its end, and so can an owner that
//! waits only for such owners. Those that are left are deadlocked. Only what can be reached from
//! the new waiter is looked at, since a new cycle has to go through it.
//!
//! An owner with several waits at once (one in each of several connections) runs only when
//! all of them end.

use super::decide::is_covered;
use super::grant::{Grant, Mode};
use super::path::Path;
use super::queue::{LockQueues, LockWaiter, Locks};
use super::Lock;
use crate::domain::limits::{GRAPH_EDGES_MAX, LOCK_SHOWN_MAX};
use crate::domain::queue::rank::{Rank, WaiterId};
use crate::domain::value::bytes::printable;
use crate::domain::{Bytes, Code, Db, Error, KeyId, Millis};
use ahash::{AHashMap, AHashSet};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// An owner in the graph, in the order in which they were found: equal states give equal messages.
type Node = usize;

/// Something an owner waits for: at least `quorum` of `owners` (an owner counts as often
/// as it is listed).
#[derive(Debug, Clone)]
struct Need {
    key: KeyId,
    owners: SmallVec<[Node; 1]>,
    quorum: usize,
    /// The owner before it in the queue that needs this, if it is not the owner itself. Only
    /// for the message.
    via: Option<Bytes>,
}

/// What an owner needs.
#[derive(Debug, Default)]
struct Needs {
    list: Vec<Need>,
    /// The single owners that are needed, with the places of their keys.
    single: AHashSet<(usize, Node)>,
}

impl Needs {
    /// Adds that one owner is needed on a key, which is the `place`th of those of this owner.
    fn one(&mut self, place: usize, key: &KeyId, owner: Node, via: Option<Bytes>) {
        if self.single.insert((place, owner)) {
            self.list.push(Need { key: key.clone(), owners: SmallVec::from([owner]), quorum: 1, via });
        }
    }
}

#[derive(Debug, Default)]
struct Graph {
    nodes: AHashMap<Bytes, Node>,
    owners: Vec<Bytes>,
    /// What each owner needs. Empty for one that has not been asked yet.
    needs: Vec<Vec<Need>>,
}

/// `Err` with the cycle if the waiter `id`, which is in the queues already, can never be served.
pub fn check(queues: &LockQueues, id: WaiterId, locks: &impl Locks, now: Millis) -> Result<(), Error> {
    let Some(waiter) = queues.waiter(id) else {
        return Ok(());
    };
    let Some(db) = waiter.keys.first().map(|key| key.db) else {
        return Ok(());
    };
    if is_needed_by_nobody(queues, waiter, locks) {
        return Ok(());
    }
    let graph = Graph::reachable(queues, db, &waiter.request.owner, locks, now);
    let stuck = graph.irreducible();
    if !stuck[START] {
        return Ok(());
    }
    Err(Error::new(Code::Deadlock, format!("waiting would close a cycle: {}", graph.cycle(&stuck))))
}

/// The owner of the new waiter is found first.
const START: Node = 0;

/// Up to this many waited-for keys are checked one by one for a grant of the new waiter.
const QUICK_KEYS_MAX: usize = 64;

/// Whether it is plain that nobody waits for the new waiter: it holds nothing that is waited for,
/// waits nowhere else and is last. Then no cycle can go through it, however long the queue is.
fn is_needed_by_nobody(queues: &LockQueues, waiter: &LockWaiter, locks: &impl Locks) -> bool {
    let owner = &waiter.request.owner;
    let holds = |key: &KeyId| locks.with(key, |lock| !lock.grants().of_owner(owner).is_empty());
    queues.keys().len() <= QUICK_KEYS_MAX
        && waiter.keys.iter().all(|key| queues.is_last(key, waiter.rank) && queues.of_owner(key.db, owner).len() == 1)
        && !queues.keys().any(holds)
}

/// The waits of an owner. Of several waits for the same thing the last in the queue is enough: it
/// needs everything that the others need.
fn distinct_waits<'a>(queues: &'a LockQueues, db: Db, owner: &Bytes) -> SmallVec<[&'a LockWaiter; 4]> {
    let mut waits: SmallVec<[&LockWaiter; 4]> =
        queues.of_owner(db, owner).iter().filter_map(|id| queues.waiter(*id)).collect();
    waits.sort_unstable_by_key(|wait| std::cmp::Reverse(wait.rank));
    let mut distinct: SmallVec<[&LockWaiter; 4]> = SmallVec::new();
    for wait in waits {
        let wants = |known: &&LockWaiter| {
            (&known.keys, &known.converts, &known.request).eq(&(&wait.keys, &wait.converts, &wait.request))
        };
        if !distinct.iter().any(wants) {
            distinct.push(wait);
        }
    }
    distinct
}

/// The waiter, with those before it that wait only for this key. Those are no nodes of the graph:
/// what keeps them out counts as the waiter's own need. Beside them those that also wait for
/// something else: they become needs, but only the nearest of them, since it needs the others
/// itself. Both keep the graph of a queue of thousands small.
fn line_before<'a>(
    queues: &'a LockQueues,
    waiter: &'a LockWaiter,
    key: &KeyId,
) -> (SmallVec<[&'a LockWaiter; 8]>, SmallVec<[&'a LockWaiter; 4]>) {
    let mut line: SmallVec<[&LockWaiter; 8]> = SmallVec::new();
    let mut nodes: SmallVec<[&LockWaiter; 4]> = SmallVec::new();
    line.push(waiter);
    for earlier in queues.before(key, waiter.rank) {
        let behind = |later: &&LockWaiter| later.request.waits_behind(&earlier.request);
        if !line.iter().any(behind) || nodes.iter().any(behind) {
            continue;
        }
        let owner = &earlier.request.owner;
        if earlier.keys.len() == 1 && queues.of_owner(key.db, owner).len() == 1 {
            line.push(earlier);
            continue;
        }
        nodes.push(earlier);
        if earlier.request.mode == Mode::Exclusive
            && earlier.request.path.is_root()
            && queues.of_owner(key.db, owner).len() == 1
        {
            break;
        }
    }
    (line, nodes)
}

fn other_owner(member: &LockWaiter, waiter: &LockWaiter) -> Option<Bytes> {
    (member.request.owner != waiter.request.owner).then(|| member.request.owner.clone())
}

fn converts(waiter: &LockWaiter, grant: &Grant) -> bool {
    waiter.converts == Some(grant.fence)
}

/// The holders of a full semaphore, some of which have to end before the waiters of a line go on.
struct Permits<'a> {
    /// The waiter of the line that needs the most.
    member: &'a LockWaiter,
    missing: usize,
    owners: SmallVec<[Node; 1]>,
}

impl<'a> Permits<'a> {
    /// The permits that a line needs, by path. An owner that holds what it asks for needs no
    /// further one.
    fn of(lock: &Lock, line: &[&'a LockWaiter]) -> BTreeMap<&'a Path, Self> {
        let mut permits: BTreeMap<&Path, Self> = BTreeMap::new();
        for member in line.iter().filter(|member| member.request.mode == Mode::Shared) {
            let missing = lock.permits_missing(&member.request) as usize;
            let path = &member.request.path;
            let is_more = permits.get(path).is_none_or(|known| known.missing < missing);
            if missing > 0 && is_more && !is_covered(lock, &member.request) {
                permits.insert(path, Self { member, missing, owners: SmallVec::new() });
            }
        }
        permits
    }
}

impl Graph {
    /// All that can be reached from `start`.
    fn reachable(queues: &LockQueues, db: Db, start: &Bytes, locks: &impl Locks, now: Millis) -> Self {
        let mut graph = Self::default();
        let mut open = vec![graph.node(start)];
        while let Some(node) = open.pop() {
            let owner = graph.owners[node].clone();
            let (mut needs, mut place, known) = (Needs::default(), 0, graph.owners.len());
            for waiter in distinct_waits(queues, db, &owner) {
                for key in &waiter.keys {
                    graph.note_needs(queues, waiter, (place, key), locks, now, &mut needs);
                    place += 1;
                }
            }
            open.extend(known..graph.owners.len());
            graph.needs[node] = needs.list;
        }
        graph
    }

    /// The node of an owner.
    fn node(&mut self, owner: &Bytes) -> Node {
        if let Some(node) = self.nodes.get(owner) {
            return *node;
        }
        let node = self.owners.len();
        self.nodes.insert(owner.clone(), node);
        self.owners.push(owner.clone());
        self.needs.push(Vec::new());
        node
    }

    /// What `waiter` needs on a key.
    fn note_needs(
        &mut self,
        queues: &LockQueues,
        waiter: &LockWaiter,
        (place, key): (usize, &KeyId),
        locks: &impl Locks,
        now: Millis,
        needs: &mut Needs,
    ) {
        let (line, nodes) = line_before(queues, waiter, key);
        nodes.iter().for_each(|earlier| needs.one(place, key, self.node(&earlier.request.owner), None));
        locks.with(key, |lock| {
            let holders = lock.grants().iter().filter(|grant| grant.mode != Mode::Optimistic && !grant.is_expired(now));
            for grant in holders {
                let kept_out =
                    line.iter().find(|member| !converts(member, grant) && member.request.is_kept_out_by(grant));
                if let Some(member) = kept_out {
                    needs.one(place, key, self.node(&grant.owner), other_owner(member, waiter));
                }
            }
            let mut permits = Permits::of(lock, &line);
            for grant in lock.grants().iter().filter(|grant| grant.mode == Mode::Shared) {
                let Some(wanted) = permits.get_mut(grant.path()) else { continue };
                match grant.is_expired(now) {
                    // It keeps its permit until the key is looked at.
                    true => wanted.missing = wanted.missing.saturating_sub(1),
                    false => wanted.owners.push(self.node(&grant.owner)),
                }
            }
            let needed = permits.into_values().filter(|wanted| (1..=wanted.owners.len()).contains(&wanted.missing));
            needs.list.extend(needed.map(|Permits { member, missing, owners }| Need {
                key: key.clone(),
                owners,
                quorum: missing,
                via: other_owner(member, waiter),
            }));
        });
    }

    /// The owners that are left when every owner that can run to its end has done so.
    fn irreducible(&self) -> Vec<bool> {
        let mut stuck = vec![true; self.owners.len()];
        let mut unmet: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut missing: Vec<Vec<usize>> =
            self.needs.iter().map(|needs| needs.iter().map(|need| need.quorum).collect()).collect();
        let mut needed_by: Vec<Vec<(Node, usize)>> = vec![Vec::new(); self.owners.len()];
        for (node, needs) in self.needs.iter().enumerate() {
            for (at, need) in needs.iter().enumerate() {
                need.owners.iter().for_each(|owner| needed_by[*owner].push((node, at)));
            }
        }
        let mut free: Vec<Node> = (0..unmet.len()).filter(|node| unmet[*node] == 0).collect();
        while let Some(ended) = free.pop() {
            stuck[ended] = false;
            for (node, at) in &needed_by[ended] {
                // More may end than are missing.
                let missing = &mut missing[*node][*at];
                let is_last = *missing == 1;
                *missing = missing.saturating_sub(1);
                if is_last {
                    unmet[*node] -= 1;
                    if unmet[*node] == 0 {
                        free.push(*node);
                    }
                }
            }
        }
        stuck
    }

    /// A cycle from the start back to itself, as `a -> key -> b -> key -> a`, or the path into one:
    /// the first of its links, and how many more there are.
    fn cycle(&self, stuck: &[bool]) -> String {
        let mut text = printable(&self.owners[START]);
        let (mut seen, mut at, mut links) = (vec![false; stuck.len()], START, 0);
        seen[START] = true;
        let link = |text: &mut String, links: &mut usize, key: &KeyId, owner: &Bytes| {
            *links += 1;
            if *links <= LOCK_SHOWN_MAX {
                text.push_str(&format!(" -> {} -> {}", printable(&key.name), printable(owner)));
            }
        };
        loop {
            let edges = self.needs[at].iter().flat_map(|need| need.owners.iter().map(move |owner| (need, *owner)));
            let into_stuck: Vec<(&Need, Node)> = edges.filter(|(_, owner)| stuck[*owner]).collect();
            let closing = into_stuck.iter().find(|(_, owner)| *owner == START);
            let next = closing.or(into_stuck.iter().find(|(_, owner)| !seen[*owner])).or(into_stuck.first());
            if let Some((need, owner)) = next {
                need.via.iter().for_each(|via| link(&mut text, &mut links, &need.key, via));
                link(&mut text, &mut links, &need.key, &self.owners[*owner]);
                at = *owner;
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

/// One edge of the wait-for graph, for `LTMC.LOCK.GRAPH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The waiting owner.
    pub waiter: Bytes,
    /// The key.
    pub key: KeyId,
    /// The owner that it waits for.
    pub waits_for: Bytes,
    /// Whether that owner holds the lock; otherwise it is earlier in the queue.
    pub holds: bool,
}

/// The wait-for graph of the node, at most [`GRAPH_EDGES_MAX`] edges and up to the first that does
/// not fit, ordered by key and place in the queue.
pub fn edges(queues: &LockQueues, locks: &impl Locks, now: Millis, mut fits: impl FnMut(&Edge) -> bool) -> Vec<Edge> {
    let mut keys: Vec<&KeyId> = queues.keys().collect();
    keys.sort();
    let (mut edges, mut is_full) = (Vec::new(), false);
    for key in keys {
        let mut before: Vec<(Rank, &LockWaiter)> = Vec::new();
        for (rank, waiter) in queues.queue(key) {
            let mut edge = |waits_for: &Bytes, holds| {
                if is_full {
                    return;
                }
                let (waiter, key) = (waiter.request.owner.clone(), key.clone());
                let edge = Edge { waiter, key, waits_for: waits_for.clone(), holds };
                is_full = edges.len() == GRAPH_EDGES_MAX || !fits(&edge);
                if !is_full {
                    edges.push(edge);
                }
            };
            locks.with(key, |lock| {
                let missing = lock.permits_missing(&waiter.request) > 0 && waiter.request.mode == Mode::Shared;
                let keeps_out = |grant: &&Grant| {
                    let permit = missing && grant.mode == Mode::Shared && grant.path() == &waiter.request.path;
                    !grant.is_expired(now)
                        && !converts(waiter, grant)
                        && (permit || waiter.request.is_kept_out_by(grant))
                };
                lock.grants().iter().filter(keeps_out).for_each(|grant| edge(&grant.owner, true));
            });
            let ahead = before.iter().filter(|(_, earlier)| waiter.request.waits_behind(&earlier.request));
            ahead.for_each(|(_, earlier)| edge(&earlier.request.owner, false));
            before.push((rank, waiter));
            if is_full {
                return edges;
            }
        }
    }
    edges
}
