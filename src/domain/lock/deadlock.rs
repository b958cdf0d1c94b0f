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

use super::decide::{is_covered, Request};
use super::grant::{Grant, Mode};
use super::path::Path;
use super::queue::{LockQueues, LockWaiter, Locks};
use super::Lock;
use crate::domain::limits::GRAPH_EDGES_MAX;
use crate::domain::queue::rank::{Rank, WaiterId};
use crate::domain::value::bytes::printable;
use crate::domain::{Bytes, Code, Db, Error, KeyId, Millis};
use ahash::{AHashMap, AHashSet};
use smallvec::SmallVec;

/// Something an owner waits for: at least `quorum` of `owners` (an owner counts as often
/// as it is listed).
#[derive(Debug, Clone)]
struct Need {
    key: KeyId,
    owners: Vec<Bytes>,
    quorum: usize,
    /// The owner before it in the queue that needs this, if it is not the owner itself. Only
    /// for the message.
    via: Option<Bytes>,
}

impl Need {
    fn is_same(&self, other: &Need) -> bool {
        (&self.key, &self.owners, self.quorum) == (&other.key, &other.owners, other.quorum)
    }
}

#[derive(Debug, Default)]
struct Graph {
    needs: AHashMap<Bytes, Vec<Need>>,
    /// The nodes in the order in which they were found, so that equal states give equal messages.
    found: Vec<Bytes>,
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
    let graph = reachable(queues, db, &waiter.request.owner, locks, now);
    let stuck = graph.irreducible();
    if !stuck.contains(&waiter.request.owner) {
        return Ok(());
    }
    Err(Error::new(
        Code::Deadlock,
        format!("waiting would close a cycle: {}", graph.cycle(&waiter.request.owner, &stuck)),
    ))
}

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

fn reachable(queues: &LockQueues, db: Db, start: &Bytes, locks: &impl Locks, now: Millis) -> Graph {
    let mut graph = Graph::default();
    let mut open = vec![start.clone()];
    while let Some(owner) = open.pop() {
        if graph.needs.contains_key(&owner) {
            continue;
        }
        let mut needs = Vec::new();
        for waiter in distinct_waits(queues, db, &owner) {
            for key in &waiter.keys {
                needs_on(queues, waiter, key, locks, now, &mut needs);
            }
        }
        open.extend(needs.iter().flat_map(|need| need.owners.iter().cloned()));
        graph.found.push(owner.clone());
        graph.needs.insert(owner, needs);
    }
    graph
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

/// What `waiter` needs on `key`.
fn needs_on(
    queues: &LockQueues,
    waiter: &LockWaiter,
    key: &KeyId,
    locks: &impl Locks,
    now: Millis,
    needs: &mut Vec<Need>,
) {
    let line = line_before(queues, waiter, key, needs);
    locks.with(key, |lock| {
        let holders = lock.grants().iter().filter(|grant| grant.mode != Mode::Optimistic && !grant.is_expired(now));
        for grant in holders {
            let kept_out = line.iter().find(|member| !converts(member, grant) && member.request.is_kept_out_by(grant));
            if let Some(member) = kept_out {
                push_new(
                    needs,
                    Need {
                        key: key.clone(),
                        owners: vec![grant.owner.clone()],
                        quorum: 1,
                        via: other_owner(member, waiter),
                    },
                );
            }
        }
        let mut seen: SmallVec<[(&Path, u32); 4]> = SmallVec::new();
        for member in &line {
            let wanted = (&member.request.path, member.request.limit);
            if seen.contains(&wanted) {
                continue;
            }
            if let Some(need) = permits(lock, &member.request, key, now) {
                seen.push(wanted);
                push_new(needs, Need { via: other_owner(member, waiter), ..need });
            }
        }
    });
}

/// The waiter, with those before it that wait only for this key. Those are no nodes of the graph:
/// what keeps them out counts as the waiter's own need. Those that also wait for something else
/// become needs, but only the nearest of them, since it needs the others itself. Both keep the
/// graph of a queue of thousands small.
fn line_before<'a>(
    queues: &'a LockQueues,
    waiter: &'a LockWaiter,
    key: &KeyId,
    needs: &mut Vec<Need>,
) -> SmallVec<[&'a LockWaiter; 8]> {
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
        push_new(needs, Need { key: key.clone(), owners: vec![owner.clone()], quorum: 1, via: None });
        nodes.push(earlier);
        if earlier.request.mode == Mode::Exclusive
            && earlier.request.path.is_root()
            && queues.of_owner(key.db, owner).len() == 1
        {
            break;
        }
    }
    line
}

fn push_new(needs: &mut Vec<Need>, need: Need) {
    if !needs.iter().any(|known| known.is_same(&need)) {
        needs.push(need);
    }
}

fn other_owner(member: &LockWaiter, waiter: &LockWaiter) -> Option<Bytes> {
    (member.request.owner != waiter.request.owner).then(|| member.request.owner.clone())
}

fn converts(waiter: &LockWaiter, grant: &Grant) -> bool {
    waiter.converts == Some(grant.fence)
}

/// The holders of a full semaphore, some of which have to end. An owner that holds what it asks for
/// needs no further permit.
fn permits(lock: &Lock, request: &Request, key: &KeyId, now: Millis) -> Option<Need> {
    if request.mode != Mode::Shared || is_covered(lock, request) {
        return None;
    }
    let missing = lock.permits_missing(request) as usize;
    if missing == 0 {
        return None;
    }
    let sharing = |grant: &&Grant| grant.mode == Mode::Shared && grant.path() == &request.path;
    let (expired, live): (Vec<&Grant>, Vec<&Grant>) =
        lock.grants().iter().filter(sharing).partition(|grant| grant.is_expired(now));
    let owners: Vec<Bytes> = live.into_iter().map(|grant| grant.owner.clone()).collect();
    // Expired grants keep their permits until the key is looked at.
    let quorum = missing.saturating_sub(expired.len());
    (quorum > 0 && quorum <= owners.len()).then(|| Need { key: key.clone(), owners, quorum, via: None })
}

impl Graph {
    /// The owners that are left when every owner that can run to its end has done so.
    fn irreducible(&self) -> AHashSet<Bytes> {
        let mut stuck: AHashSet<Bytes> =
            self.found.iter().filter(|owner| !self.needs[*owner].is_empty()).cloned().collect();
        loop {
            let before = stuck.len();
            // The last found first: in a long queue that is the front, and one round is enough.
            for owner in self.found.iter().rev() {
                let met =
                    |need: &Need| need.owners.iter().filter(|other| !stuck.contains(*other)).count() >= need.quorum;
                if self.needs[owner].iter().all(met) {
                    stuck.remove(owner);
                }
            }
            if stuck.len() == before {
                return stuck;
            }
        }
    }

    /// A cycle from `start` back to itself, as `a -> key -> b -> key -> a`, or the path into one.
    fn cycle(&self, start: &Bytes, stuck: &AHashSet<Bytes>) -> String {
        let mut text = printable(start);
        let mut seen = vec![start.clone()];
        let mut at = start.clone();
        loop {
            let edges = self.needs[&at].iter().flat_map(|need| need.owners.iter().map(move |owner| (need, owner)));
            let into_stuck: Vec<_> = edges.filter(|(_, owner)| stuck.contains(*owner)).collect();
            let closing = into_stuck.iter().find(|(_, owner)| *owner == start);
            let Some((need, owner)) =
                closing.or(into_stuck.iter().find(|(_, owner)| !seen.contains(owner))).or(into_stuck.first())
            else {
                return text;
            };
            let key = &need.key;
            if let Some(via) = &need.via {
                text.push_str(&format!(" -> {} -> {}", printable(&key.name), printable(via)));
            }
            text.push_str(&format!(" -> {} -> {}", printable(&key.name), printable(owner)));
            if seen.contains(owner) {
                return text;
            }
            seen.push((*owner).clone());
            at = (*owner).clone();
        }
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
