//! A search for a cycle through one waiter, in as many turns as it takes.

use super::asking::{Asking, View};
use super::graph::{Graph, Need, Node};
use super::looks::Looks;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::lock::queue::{LockQueues, Locks};
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Code, Error, Millis};
use ahash::AHashMap;
use std::collections::VecDeque;

/// Most edges of a graph that is searched. They take about ten MB.
pub const EDGES_MAX: usize = 100_000;

/// The owner of the waiter is found first.
const START: Node = 0;

/// How far a search has come.
///
/// Between two turns others come, go and are served, so what was seen of the graph may never have
/// been true at one time. But a deadlock stays, unless a lease or a wait ends. So a search that
/// took several turns asks the owners that seem stuck once more. Grants and waits have names that
/// are never used again: what is there both times was there all the time between, and at the moment
/// between the two rounds of questions it was all there at once. (Cf. the stable properties of
/// K. M. Chandy and L. Lamport, "Distributed Snapshots", 1985.) If something has changed, the
/// search begins anew.
#[derive(Debug)]
pub struct Search {
    waiter: WaiterId,
    may_go_first: bool,
    graph: Graph,
    asking: Option<Asking>,
    phase: Phase,
    /// Whether this is not its first turn.
    in_turns: bool,
}

#[derive(Debug)]
enum Phase {
    /// These were found and not asked yet.
    Reach(Vec<Node>),
    /// Those that can run to their ends are taken out.
    Reduce,
    /// These seem stuck and have to be asked again.
    Confirm(Vec<Node>),
}

/// What a turn has come to.
#[derive(Debug)]
pub enum Found {
    /// No cycle.
    Nothing,
    /// The waiter can never be served, or the graph has more than [`EDGES_MAX`] edges.
    Refused(Error),
    /// Another turn is needed.
    GoesOn,
}

impl Search {
    /// A search that begins. It may find that a wait which has just begun has to go before others.
    pub fn of(waiter: WaiterId, may_go_first: bool) -> Self {
        let phase = Phase::Reach(Vec::new());
        Self { waiter, may_go_first, graph: Graph::default(), asking: None, phase, in_turns: false }
    }

    /// The waiter.
    pub fn waiter(&self) -> WaiterId {
        self.waiter
    }

    /// Whether the waiter has just begun to wait, and may go before others if that closes no cycle.
    pub fn may_go_first(&self) -> bool {
        self.may_go_first
    }

    /// Nothing has happened since it stopped.
    pub fn is_still_the_same_turn(&mut self) {
        self.in_turns = false;
    }

    /// Takes a turn.
    pub fn go_on(&mut self, queues: &LockQueues, locks: &impl Locks, now: Millis, looks: &mut Looks) -> Found {
        let Some(waiter) = queues.waiter(self.waiter) else { return Found::Nothing };
        let Some(db) = waiter.keys.first().map(|key| key.db) else { return Found::Nothing };
        let view = View { queues, locks, db, now };
        if self.graph.len() == 0 {
            self.phase = Phase::Reach(vec![self.graph.node(&waiter.request.owner)]);
        }
        loop {
            if let Some(found) = self.step(&view, looks) {
                return found;
            }
            if looks.are_over() {
                self.in_turns = true;
                return Found::GoesOn;
            }
        }
    }

    /// Asks one owner, or takes those out that can run to their ends. What that has come to, if it
    /// is the end.
    fn step(&mut self, view: &View<impl Locks>, looks: &mut Looks) -> Option<Found> {
        let next = match &mut self.phase {
            Phase::Reduce => {
                if self.graph.reduce(looks) {
                    if !self.graph.is_stuck(START) {
                        return Some(Found::Nothing);
                    }
                    let to_confirm = if self.in_turns { self.graph.stuck() } else { Vec::new() };
                    looks.take(self.graph.len() / 16);
                    self.phase = Phase::Confirm(to_confirm);
                }
                return None;
            }
            _ if self.asking.is_some() => None,
            Phase::Reach(open) | Phase::Confirm(open) => open.pop(),
        };
        if let Some(node) = next {
            self.asking = Some(Asking::of(view, &self.graph, node, looks));
        }
        let Some(asking) = &mut self.asking else { return self.end_phase() };
        let (node, known) = (asking.node, self.graph.len());
        let needs = asking.go_on(view, &mut self.graph, looks);
        if let Phase::Reach(open) = &mut self.phase {
            open.extend(known..self.graph.len());
        }
        if let Some(needs) = needs {
            self.asking = None;
            return self.answered(node, needs);
        }
        None
    }

    /// All were asked.
    fn end_phase(&mut self) -> Option<Found> {
        if matches!(self.phase, Phase::Confirm(_)) {
            let text = format!("waiting would close a cycle: {}", self.graph.cycle(START));
            return Some(Found::Refused(Error::new(Code::Deadlock, text)));
        }
        self.phase = Phase::Reduce;
        None
    }

    /// An owner has been asked.
    fn answered(&mut self, node: Node, needs: Vec<Need>) -> Option<Found> {
        if let Phase::Confirm(_) = self.phase {
            if !self.graph.confirms(node, &needs) {
                *self = Self::of(self.waiter, self.may_go_first);
                return Some(Found::GoesOn);
            }
            return None;
        }
        self.graph.answer(node, needs);
        (self.graph.edges() > EDGES_MAX).then(|| {
            let text = format!(
                "to see whether waiting would close a cycle takes more than {EDGES_MAX} edges of the wait-for graph, \
                 which are allowed"
            );
            Found::Refused(Error::new(Code::Limit, text))
        })
    }
}

/// The searches that go on in turns, one after the other: only one of them has a graph.
#[derive(Debug)]
pub struct Searches {
    looks_max: usize,
    present: Option<Box<Search>>,
    left: VecDeque<WaiterId>,
    /// Those that are left, and whether they may go first.
    known: AHashMap<WaiterId, bool>,
    /// What commands have looked at since then, unix ms.
    spent: (Millis, usize),
}

/// Most looks of commands that begin to wait, or serve who waits, at one moment: some ms.
pub const LOOKS_MAX: usize = 10_000;

/// So long commands that begin to wait share their looks, ms: those of clients that the server
/// hears in one go.
const SPAN_MS: Millis = 10;

impl Default for Searches {
    fn default() -> Self {
        let (present, left, known) = (None, VecDeque::new(), AHashMap::new());
        Self { looks_max: LOOKS_MAX, present, left, known, spent: (0, 0) }
    }
}

impl Searches {
    /// How many searches go on.
    pub fn len(&self) -> usize {
        usize::from(self.present.is_some()) + self.left.len()
    }

    /// Whether no search goes on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A search goes on in turns, from its beginning if another has its turn. If one for this
    /// waiter goes on, it is followed by this.
    pub fn add(&mut self, search: Box<Search>) {
        if self.is_empty() {
            self.present = Some(search);
        } else if self.known.insert(search.waiter(), search.may_go_first()).is_none() {
            self.left.push_back(search.waiter());
        }
    }

    /// Commands have so many looks together, instead of [`LOOKS_MAX`]: what is compared with a
    /// model that knows no turns has all it needs.
    pub fn allow(&mut self, looks_max: usize) {
        self.looks_max = looks_max;
    }

    /// How many looks are left to commands at this moment.
    pub fn room(&self, now: Millis) -> usize {
        let (since, spent) = self.spent;
        self.looks_max - if now.abs_diff(since) < SPAN_MS { spent.min(self.looks_max) } else { 0 }
    }

    /// Takes a turn of a search in the command that begins it, with so many of these looks.
    pub fn try_now(
        &mut self,
        search: &mut Search,
        queues: &LockQueues,
        locks: &impl Locks,
        now: Millis,
        max: usize,
    ) -> Found {
        let mut looks = Looks::of(max);
        let found = search.go_on(queues, locks, now, &mut looks);
        let taken = max - looks.left();
        match now.abs_diff(self.spent.0) < SPAN_MS {
            true => self.spent.1 = self.spent.1.saturating_add(taken),
            false => self.spent = (now, taken),
        }
        found
    }

    /// The search that has its turn.
    fn take_next(&mut self) -> Option<Box<Search>> {
        if let Some(present) = self.present.take() {
            return Some(present);
        }
        let id = self.left.pop_front()?;
        let may_go_first = self.known.remove(&id).unwrap_or(false);
        self.left.give_back_room();
        self.known.give_back_room();
        Some(Box::new(Search::of(id, may_go_first)))
    }

    /// Takes a turn of a search. If it has ended, it and what was found.
    pub fn go_on(
        &mut self,
        queues: &LockQueues,
        locks: &impl Locks,
        now: Millis,
        looks: &mut Looks,
    ) -> Option<(Box<Search>, Found)> {
        let mut search = self.take_next()?;
        match search.go_on(queues, locks, now, looks) {
            Found::GoesOn => {
                self.present = Some(search);
                None
            }
            found => Some((search, found)),
        }
    }
}
