//! What one owner waits for. To find that out may take several turns.

use super::graph::{Graph, Need, Node};
use super::looks::Looks;
use crate::domain::lock::decide::is_covered;
use crate::domain::lock::grant::{Grant, Mode};
use crate::domain::lock::path::Path;
use crate::domain::lock::queue::{LockQueues, LockWaiter, Locks};
use crate::domain::lock::Lock;
use crate::domain::queue::rank::Rank;
use crate::domain::{Bytes, Db, Fence, KeyId, Millis};
use ahash::{AHashSet, RandomState};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

/// What a search looks at.
#[derive(Debug)]
pub struct View<'a, L> {
    /// The queues of the node.
    pub queues: &'a LockQueues,
    /// The locks.
    pub locks: &'a L,
    /// The database of the owners.
    pub db: Db,
    /// The time, unix ms.
    pub now: Millis,
}

/// How far the question has come what an owner needs.
#[derive(Debug)]
pub struct Asking {
    /// The owner.
    pub node: Node,
    /// Its waits that are left.
    waits: std::vec::IntoIter<Arc<LockWaiter>>,
    line: Option<Line>,
    needs: Needs,
}

/// The needs that were found.
#[derive(Debug, Default)]
struct Needs {
    list: Vec<Need>,
    /// The place of the present key among all keys of the owner's waits.
    place: usize,
    /// The single owners that are needed, with the places of their keys.
    single: AHashSet<(usize, Node)>,
}

impl Needs {
    /// One owner is needed.
    fn one(&mut self, line: &Line, owner: Node, via: &Member, evidence: u64) {
        if self.single.insert((self.place, owner)) {
            self.list.push(line.need(via, SmallVec::from([owner]), 1, evidence));
        }
    }
}

/// The queue of one key up to a waiter: that one and those before it that wait only for this key.
/// Those are no nodes of the graph: what keeps them out counts as the waiter's own need. Beside
/// them those that also wait for something else: they become needs, but only the nearest of them,
/// since it needs the others itself. Both keep the graph of a queue of thousands small.
#[derive(Debug)]
struct Line {
    wait: Arc<LockWaiter>,
    /// The place of the key.
    key: usize,
    members: SmallVec<[Member; 1]>,
    nodes: SmallVec<[Arc<LockWaiter>; 1]>,
    stage: Stage,
}

/// A waiter of a line.
#[derive(Debug, Clone)]
struct Member {
    waiter: Arc<LockWaiter>,
    /// Names it, and those behind it by which it is in the line.
    evidence: u64,
}

/// How far a line has been read.
#[derive(Debug)]
enum Stage {
    /// The waiters before this rank are left.
    Queue(Rank),
    /// The grants from this fence on are left.
    Grants(Fence, BTreeMap<Path, Permits>),
}

/// The holders of a full semaphore, some of which have to end before the waiters of a line go on.
#[derive(Debug)]
struct Permits {
    /// The waiter of the line that needs the most.
    member: Member,
    missing: usize,
    owners: SmallVec<[Node; 1]>,
    evidence: u64,
}

/// Of a queue before a waiter that wants all, the grants are looked at only if there are so few:
/// that waiter needs them itself. They make the cycle in the message shorter.
const FEW_GRANTS: usize = 16;
/// To ask an owner takes as long as so many looks.
const LOOKS_OF_OWNER: usize = 4;
/// To begin with a key takes as long as so many looks.
const LOOKS_OF_LINE: usize = 6;

impl Asking {
    /// Begins to ask what an owner needs.
    pub fn of<L: Locks>(view: &View<L>, graph: &Graph, node: Node, looks: &mut Looks) -> Self {
        looks.take(LOOKS_OF_OWNER);
        let waits = distinct_waits(view.queues, view.db, graph.name(node), looks);
        Self { node, waits: waits.into_iter(), line: None, needs: Needs::default() }
    }

    /// Goes on with it. The needs, or `None` if that goes on in another turn.
    pub fn go_on<L: Locks>(&mut self, view: &View<L>, graph: &mut Graph, looks: &mut Looks) -> Option<Vec<Need>> {
        loop {
            let line = match &mut self.line {
                Some(line) => line,
                None => match self.waits.next() {
                    Some(wait) => self.line.insert(Line::of(wait, 0)),
                    None => return Some(std::mem::take(&mut self.needs.list)),
                },
            };
            if !line.go_on(view, graph, &mut self.needs, looks) {
                return None;
            }
            looks.take(LOOKS_OF_LINE);
            self.needs.place += 1;
            let next = line.key + 1;
            self.line = (next < line.wait.keys.len()).then(|| Line::of(Arc::clone(&line.wait), next));
        }
    }
}

/// The waits of an owner, the last in the queues first. Of several waits for the same thing the
/// last in the queue is enough: it needs everything that the others need.
fn distinct_waits(queues: &LockQueues, db: Db, owner: &Bytes, looks: &mut Looks) -> Vec<Arc<LockWaiter>> {
    let ids = queues.of_owner(db, owner);
    looks.take(ids.len());
    let mut waits: Vec<&Arc<LockWaiter>> = ids.iter().filter_map(|id| queues.shared(*id)).collect();
    if waits.len() > 1 {
        waits.sort_unstable_by_key(|wait| std::cmp::Reverse(wait.rank));
        let mut known = AHashSet::with_capacity(waits.len());
        waits.retain(|wait| {
            let request = &wait.request;
            known.insert((&wait.keys, wait.converts, &request.path, request.mode, request.limit, request.reentrant))
        });
    }
    waits.into_iter().cloned().collect()
}

/// A name made of names.
fn evidence(names: impl Hash) -> u64 {
    RandomState::with_seeds(1, 2, 3, 4).hash_one(names)
}

impl Line {
    fn of(wait: Arc<LockWaiter>, key: usize) -> Self {
        let first = Member { evidence: evidence((wait.rank.waiter(), key)), waiter: Arc::clone(&wait) };
        let stage = Stage::Queue(wait.rank);
        Self { wait, key, members: SmallVec::from_iter([first]), nodes: SmallVec::new(), stage }
    }

    fn key(&self) -> &KeyId {
        &self.wait.keys[self.key]
    }

    fn need(&self, via: &Member, owners: SmallVec<[Node; 1]>, missing: usize, evidence: u64) -> Need {
        let is_other = via.waiter.request.owner != self.wait.request.owner;
        let via = is_other.then(|| Arc::clone(&via.waiter));
        Need { wait: Arc::clone(&self.wait), key: self.key, via, owners, missing, evidence }
    }

    /// Reads on, and notes what is needed. `false` if that goes on in another turn.
    fn go_on<L: Locks>(&mut self, view: &View<L>, graph: &mut Graph, needs: &mut Needs, looks: &mut Looks) -> bool {
        if let Stage::Queue(rank) = self.stage {
            let Some(is_behind_all) = self.read_queue(view, rank, graph, needs, looks) else { return false };
            let permits = view.locks.with(self.key(), |lock| {
                let is_left = !is_behind_all || lock.grants().len() <= FEW_GRANTS;
                is_left.then(|| self.permits(lock))
            });
            looks.take(self.members.len());
            let Some(permits) = permits else { return true };
            self.stage = Stage::Grants(0, permits);
        }
        self.read_grants(view, graph, needs, looks)
    }

    /// Reads the queue from the waiter to the front. Whether it ended at one that all the others
    /// before it keep out, too; `None` if it goes on in another turn.
    fn read_queue<L: Locks>(
        &mut self,
        view: &View<L>,
        rank: Rank,
        graph: &mut Graph,
        needs: &mut Needs,
        looks: &mut Looks,
    ) -> Option<bool> {
        let key = self.key().clone();
        for earlier in view.queues.before(&key, rank) {
            if looks.are_over() {
                return None;
            }
            self.stage = Stage::Queue(earlier.rank);
            let behind = |later: &LockWaiter| later.request.waits_behind(&earlier.request);
            let place = self.members.iter().position(|member| behind(&member.waiter));
            looks.take(1 + place.unwrap_or(self.members.len()) / 4);
            let Some(place) = place else { continue };
            looks.take(self.nodes.len() / 4);
            if self.nodes.iter().any(|node| behind(node)) {
                continue;
            }
            let later = &self.members[place];
            let evidence = evidence((later.evidence, earlier.rank.waiter()));
            let waits_once = view.queues.waits_once(earlier);
            if earlier.keys.len() == 1 && waits_once {
                self.members.push(Member { waiter: Arc::clone(earlier), evidence });
                continue;
            }
            // It stands in the queue itself, so the message needs no other between.
            needs.one(self, graph.node(&earlier.request.owner), &self.members[0], evidence);
            self.nodes.push(Arc::clone(earlier));
            if earlier.request.mode == Mode::Exclusive && earlier.request.path.is_root() && waits_once {
                return Some(true);
            }
        }
        Some(false)
    }

    /// The permits that the line needs, by path. An owner that holds what it asks for needs no
    /// further one.
    fn permits(&self, lock: &Lock) -> BTreeMap<Path, Permits> {
        let mut permits: BTreeMap<Path, Permits> = BTreeMap::new();
        for member in self.members.iter().filter(|member| member.waiter.request.mode == Mode::Shared) {
            let request = &member.waiter.request;
            let missing = lock.permits_missing(request) as usize;
            let is_more = permits.get(&request.path).is_none_or(|known| known.missing < missing);
            if missing > 0 && is_more && !is_covered(lock, request) {
                let evidence = evidence((member.evidence, missing));
                let (member, owners) = (member.clone(), SmallVec::new());
                permits.insert(request.path.clone(), Permits { member, missing, owners, evidence });
            }
        }
        permits
    }

    /// Reads the grants of the lock.
    fn read_grants<L: Locks>(
        &mut self,
        view: &View<L>,
        graph: &mut Graph,
        needs: &mut Needs,
        looks: &mut Looks,
    ) -> bool {
        let Stage::Grants(from, mut permits) = std::mem::replace(&mut self.stage, Stage::Queue(self.wait.rank)) else {
            return true;
        };
        let reached = view.locks.with(self.key(), |lock| {
            for grant in lock.grants().from(from) {
                if looks.are_over() {
                    return Some(grant.fence);
                }
                let place = self.note_grant(grant, view.now, graph, needs);
                looks.take(1 + place / 4);
                let Some(wanted) = permits.get_mut(grant.path()).filter(|_| grant.mode == Mode::Shared) else {
                    continue;
                };
                if grant.is_expired(view.now) {
                    // It keeps its permit until the key is looked at.
                    wanted.missing = wanted.missing.saturating_sub(1);
                } else {
                    wanted.owners.push(graph.node(&grant.owner));
                    wanted.evidence = wanted.evidence.wrapping_add(evidence(grant.fence));
                }
            }
            None
        });
        if let Some(fence) = reached {
            self.stage = Stage::Grants(fence, permits);
            return false;
        }
        let wanted = permits.into_values().filter(|wanted| (1..=wanted.owners.len()).contains(&wanted.missing));
        needs
            .list
            .extend(wanted.map(|wanted| self.need(&wanted.member, wanted.owners, wanted.missing, wanted.evidence)));
        true
    }

    /// Notes the holder of a grant if that keeps somebody of the line out. Returns with how many of
    /// them it was compared.
    fn note_grant(&self, grant: &Grant, now: Millis, graph: &mut Graph, needs: &mut Needs) -> usize {
        if grant.mode == Mode::Optimistic || grant.is_expired(now) {
            return 0;
        }
        let is_out = |waiter: &LockWaiter| waiter.converts != Some(grant.fence) && waiter.request.is_kept_out_by(grant);
        let Some(place) = self.members.iter().position(|member| is_out(&member.waiter)) else {
            return self.members.len();
        };
        let member = &self.members[place];
        needs.one(self, graph.node(&grant.owner), member, evidence((member.evidence, grant.fence)));
        place
    }
}
