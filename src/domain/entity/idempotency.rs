//! The requests that an entity has answered and remembers, so that a retried write happens only
//! once (`REQID id`).
//!
//! A request is known by whose it is and by its id. Its digest tells a retry from another request
//! under the same id. What is forgotten is decided with each answer that is remembered, and is a
//! part of that event: whoever applies it needs no clock and no settings.

use crate::domain::algorithm::allocator::allocated;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::limits::{
    ID_BYTES_MAX, REQUESTS_END, REQUESTS_FORGOTTEN_MAX, REQUEST_OWNERS_SHARE, TASK_CLAIMS_MAX,
};
use crate::domain::{Bytes, Error, Fence, Invariant, Millis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// A request with `REQID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestId {
    /// Who asks; empty if the command names nobody. Then the id belongs to the key.
    pub owner: Bytes,
    /// The id that the client chose.
    pub id: Bytes,
    /// The digest of the command and its arguments.
    pub digest: u64,
}

impl RequestId {
    /// The same request of this owner.
    #[must_use]
    pub fn of(self, owner: &[u8]) -> Self {
        Self { owner: Bytes::from(owner), ..self }
    }

    /// Whether it has the owner and the id of the other one.
    pub fn has_name_of(&self, other: &Self) -> bool {
        self.owner == other.owner && self.id == other.id
    }

    /// Errs if another request has its name.
    pub fn check_same(&self, known: &Self) -> Result<(), Error> {
        if !self.has_name_of(known) || self.digest == known.digest {
            return Ok(());
        }
        let text = format!(
            "the REQID '{}' was used with other arguments; a retry repeats the command and all its arguments but BLOCK",
            self.id.show()
        );
        Err(Error::usage(text))
    }
}

/// The reply to a remembered request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A number: a fence, an epoch, a version.
    Integer(i64),
    /// Bytes: an id.
    Bytes(Bytes),
    /// An agent and the fence of the claim on it.
    Claim {
        /// The agent.
        agent: Bytes,
        /// The claim.
        fence: Fence,
    },
    /// An id and its current version.
    Versioned {
        /// Its id.
        id: Bytes,
        /// Its version.
        version: u64,
    },
    /// The fences of task claims.
    Fences(Box<[Fence]>),
}

impl Answer {
    fn text(&self) -> Option<&Bytes> {
        match self {
            Answer::Integer(_) | Answer::Fences(_) => None,
            Answer::Bytes(bytes) | Answer::Claim { agent: bytes, .. } | Answer::Versioned { id: bytes, .. } => {
                Some(bytes)
            }
        }
    }

    fn fences(&self) -> &[Fence] {
        match self {
            Answer::Fences(fences) => fences,
            _ => &[],
        }
    }

    fn heap_bytes(&self) -> usize {
        self.text().map_or(0, |text| allocated(text.heap_bytes())) + allocated(size_of_val(self.fences()))
    }
}

/// A remembered request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The request.
    pub request: RequestId,
    /// What it was answered.
    pub answer: Answer,
    /// When, unix ms.
    pub at: Millis,
}

impl Remembered {
    fn is_within_bounds(&self) -> bool {
        self.request.owner.len() <= ID_BYTES_MAX
            && (1..=ID_BYTES_MAX).contains(&self.request.id.len())
            && self.answer.text().is_none_or(|text| text.len() <= ID_BYTES_MAX)
            && self.answer.fences().len() <= TASK_CLAIMS_MAX
    }

    /// Bytes of it in the memory.
    fn bytes(&self) -> usize {
        const COUNTERS_BYTES: usize = 2 * size_of::<usize>();
        let texts = [&self.request.owner, &self.request.id].map(|text| allocated(text.heap_bytes()));
        allocated(COUNTERS_BYTES + size_of::<Entry>()) + texts.iter().sum::<usize>() + self.answer.heap_bytes()
    }
}

/// A request was answered, and is remembered from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// What is remembered.
    pub what: Remembered,
    /// What is forgotten for it.
    pub forgets: Forgets,
}

impl Answered {
    /// Errs if it is out of bounds.
    pub fn admit(&self) -> Result<(), Error> {
        let at_once = self.forgets.own.max(self.forgets.oldest) as usize;
        if self.what.is_within_bounds() && at_once <= REQUESTS_FORGOTTEN_MAX {
            return Ok(());
        }
        Err(Error::usage("payload holds a request id that is out of bounds"))
    }
}

/// How many requests are forgotten for one that is remembered: first those of the same owner, then
/// the oldest of all that are left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgets {
    /// The oldest of its owner.
    pub own: u32,
    /// The oldest of all owners.
    pub oldest: u32,
}

/// How much a key remembers.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// So many requests of each owner.
    pub of_owner: usize,
    /// For this time, ms.
    pub age_ms: Millis,
}

impl Bounds {
    /// So many requests of all owners.
    fn of_all(&self) -> usize {
        self.of_owner.saturating_mul(REQUEST_OWNERS_SHARE)
    }

    /// Whether a request that was answered at `at` is remembered no longer.
    pub fn is_over(&self, at: Millis, now: Millis) -> bool {
        at.saturating_add(self.age_ms) <= now
    }
}

#[derive(Debug)]
struct Entry {
    /// Grows with each request.
    order: u64,
    what: Remembered,
}

impl Entry {
    fn name(&self) -> (&[u8], &[u8]) {
        (&self.what.request.owner, &self.what.request.id)
    }
}

/// The requests that a key remembers.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    /// Oldest first.
    line: VecDeque<Arc<Entry>>,
    /// The same, by owner and id.
    names: Vec<Arc<Entry>>,
    next_order: u64,
    bytes: usize,
}

impl Requests {
    /// What is remembered under the owner and the id of a request, which may be another request.
    pub fn get(&self, request: &RequestId) -> Option<&Remembered> {
        self.place(&request.owner, &request.id).ok().map(|at| &self.names[at].what)
    }

    fn place(&self, owner: &[u8], id: &[u8]) -> Result<usize, usize> {
        self.names.binary_search_by(|entry| entry.name().cmp(&(owner, id)))
    }

    /// The places in `names` of all that an owner asked for.
    fn places_of(&self, owner: &[u8]) -> Range<usize> {
        let begin = self.names.partition_point(|entry| entry.name().0 < owner);
        begin..begin + self.names[begin..].partition_point(|entry| entry.name().0 == owner)
    }

    /// The oldest of the owner of a request, without that request. No more than `max`.
    fn oldest_of(&self, request: &RequestId, max: usize) -> SmallVec<[u64; 8]> {
        if max == 0 {
            return SmallVec::new();
        }
        let others = self.names[self.places_of(&request.owner)].iter();
        let others = others.filter(|entry| !entry.what.request.has_name_of(request));
        let mut orders: SmallVec<[u64; 8]> = others.map(|entry| entry.order).collect();
        orders.sort_unstable();
        orders.truncate(max);
        orders
    }

    /// What is to be forgotten if `request` is remembered at `now`. It is bounded, so a lowered
    /// bound takes effect little by little.
    pub fn forgets(&self, request: &RequestId, bounds: &Bounds, now: Millis) -> Forgets {
        let is_known = usize::from(self.get(request).is_some());
        let owned = self.places_of(&request.owner).len() - is_known;
        // Whoever shares the ids of the key itself shares the bound of all.
        let own_max = if request.owner.is_empty() { usize::MAX } else { bounds.of_owner };
        let own = self.oldest_of(request, (owned + 1).saturating_sub(own_max).min(REQUESTS_FORGOTTEN_MAX));
        let left = self.line.len() - is_known - own.len();
        let is_left = |entry: &&Arc<Entry>| {
            !own.contains(&entry.order) && (is_known == 0 || !entry.what.request.has_name_of(request))
        };
        let surplus = (left + 1).saturating_sub(bounds.of_all());
        let rest = self.line.iter().filter(is_left).take(REQUESTS_FORGOTTEN_MAX).enumerate();
        let over = rest.take_while(|(no, entry)| *no < surplus || bounds.is_over(entry.what.at, now));
        Forgets { own: own.len() as u32, oldest: over.count() as u32 }
    }

    /// Remembers an answer, in place of an older one under the same name, and forgets what is to be
    /// forgotten for it.
    pub fn remember(&mut self, answered: &Answered) {
        let request = &answered.what.request;
        self.forget(&request.owner, &request.id);
        for order in self.oldest_of(request, answered.forgets.own as usize) {
            if let Ok(at) = self.line.binary_search_by_key(&order, |entry| entry.order) {
                self.remove(at);
            }
        }
        for _ in 0..(answered.forgets.oldest as usize).min(self.line.len()) {
            self.remove(0);
        }
        self.push(answered.what.clone());
    }

    fn push(&mut self, what: Remembered) {
        self.bytes += what.bytes();
        let entry = Arc::new(Entry { order: self.next_order, what });
        self.next_order += 1;
        let (Ok(at) | Err(at)) = self.place(entry.name().0, entry.name().1);
        self.names.insert(at, entry.clone());
        self.line.push_back(entry);
    }

    /// Forgets a request.
    pub fn forget(&mut self, owner: &[u8], id: &[u8]) {
        let Ok(at) = self.place(owner, id) else { return };
        let order = self.names[at].order;
        if let Ok(at) = self.line.binary_search_by_key(&order, |entry| entry.order) {
            self.remove(at);
        }
    }

    /// Forgets what stands at this place in the line.
    fn remove(&mut self, at: usize) {
        let Some(entry) = self.line.remove(at) else { return };
        if let Ok(at) = self.place(entry.name().0, entry.name().1) {
            self.names.remove(at);
        }
        self.bytes -= entry.what.bytes();
        self.line.give_back_room();
        self.names.give_back_room();
    }

    /// The number of remembered requests.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether no request is remembered.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let room = |places: usize| allocated(places * size_of::<Arc<Entry>>());
        room(self.line.capacity()) + room(self.names.capacity()) + self.bytes
    }

    /// Rebuilds what is derived.
    pub fn rebuild(&mut self) {
        let all: Vec<Remembered> = self.line.iter().map(|entry| entry.what.clone()).collect();
        *self = Self::from(all);
    }

    /// Whether the invariants hold.
    pub fn check(&self) -> Result<(), Invariant> {
        let is_in_line = |entry: &Arc<Entry>| {
            let at = self.line.binary_search_by_key(&entry.order, |known| known.order);
            at.is_ok_and(|at| Arc::ptr_eq(&self.line[at], entry))
        };
        let is_ordered = self.line.iter().is_sorted_by(|one, next| one.order < next.order)
            && self.line.back().is_none_or(|last| last.order < self.next_order);
        let bytes: usize = self.line.iter().map(|entry| entry.what.bytes()).sum();
        let broken = match () {
            () if self.len() > REQUESTS_END => "more requests are remembered than allowed",
            () if !self.line.iter().all(|entry| entry.what.is_within_bounds()) => {
                "a remembered request is out of bounds"
            }
            () if !is_ordered => "the remembered requests are not in the order in which they came",
            () if !self.names.is_sorted_by(|one, next| one.name() < next.name()) => "two remembered requests are one",
            () if self.names.len() != self.len() || !self.names.iter().all(is_in_line) => {
                "the remembered requests and their names differ"
            }
            () if bytes != self.bytes => "the counted bytes of the remembered requests differ from them",
            () => return Ok(()),
        };
        Err(Invariant(broken.into()))
    }
}

impl From<Vec<Remembered>> for Requests {
    /// In the order in which they were remembered. It does not look for two that are one: that
    /// is for `check`.
    fn from(all: Vec<Remembered>) -> Self {
        let (next_order, bytes) = (all.len() as u64, all.iter().map(Remembered::bytes).sum());
        let line: VecDeque<_> = (0..).zip(all).map(|(order, what)| Arc::new(Entry { order, what })).collect();
        let mut names: Vec<_> = line.iter().cloned().collect();
        names.sort_by(|one, other| one.name().cmp(&other.name()));
        Self { line, names, next_order, bytes }
    }
}

impl Serialize for Requests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.line.iter().map(|entry| &entry.what))
    }
}

impl<'de> Deserialize<'de> for Requests {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { of_owner: 3, age_ms: 1000 };

    fn request(owner: &str, id: &str, digest: u64) -> RequestId {
        RequestId { owner: Bytes::from(owner), id: Bytes::from(id), digest }
    }

    impl Requests {
        fn ask(&mut self, owner: &str, id: &str, at: Millis, bounds: &Bounds) -> Forgets {
            let request = request(owner, id, 1);
            let forgets = self.forgets(&request, bounds, at);
            let answered = Answered { what: Remembered { request, answer: Answer::Integer(at as i64), at }, forgets };
            assert_eq!(answered.admit(), Ok(()));
            self.remember(&answered);
            assert_eq!(self.check(), Ok(()), "after {owner} {id}");
            forgets
        }

        fn knows(&self, owner: &str, id: &str) -> bool {
            self.get(&request(owner, id, 0)).is_some()
        }
    }

    #[test]
    fn each_owner_has_a_bound_of_its_own() {
        let mut requests = Requests::default();
        requests.ask("ada", "first", 1, &BOUNDS);
        for n in 0..50 {
            requests.ask(&format!("other{n}"), "x", 2, &BOUNDS);
        }
        for id in ["second", "third"] {
            assert_eq!(requests.ask("ada", id, 3, &BOUNDS), Forgets::default());
        }
        assert!(requests.knows("ada", "first"), "others do not count");
        assert_eq!(requests.ask("ada", "fourth", 4, &BOUNDS), Forgets { own: 1, oldest: 0 });
        assert!(!requests.knows("ada", "first") && requests.knows("ada", "second") && requests.knows("other0", "x"));
    }

    #[test]
    fn ids_of_the_key_itself_share_the_bound_of_all() {
        let mut requests = Requests::default();
        for n in 0..300 {
            requests.ask("", &format!("r{n}"), 1, &BOUNDS);
        }
        assert!(requests.knows("", "r0"));
        assert_eq!(requests.ask("", "one more", 2, &BOUNDS), Forgets { own: 0, oldest: 1 });
        assert!(!requests.knows("", "r0") && requests.knows("", "r1") && requests.len() == 300);
    }

    #[test]
    fn what_is_too_old_goes_little_by_little() {
        let mut requests = Requests::default();
        for n in 0..50 {
            requests.ask("", &format!("r{n}"), 1, &BOUNDS);
        }
        assert_eq!(requests.ask("", "young", 1000, &BOUNDS), Forgets::default());
        let sixteen = Forgets { own: 0, oldest: 16 };
        assert_eq!(["a", "b", "c", "d"].map(|id| requests.ask("", id, 1001, &BOUNDS).oldest), [16, 16, 16, 2]);
        assert_eq!(requests.len(), 5);
        assert_eq!(sixteen.oldest as usize, REQUESTS_FORGOTTEN_MAX);
        assert!(requests.line.capacity() < 40, "room is given back");
    }

    #[test]
    fn a_lowered_bound_takes_effect_little_by_little() {
        let (mut requests, wide) = (Requests::default(), Bounds { of_owner: 40, age_ms: 1000 });
        for n in 0..40 {
            requests.ask("ada", &format!("r{n}"), 1, &wide);
        }
        let own = ["a", "b", "c", "d"].map(|id| requests.ask("ada", id, 2, &BOUNDS).own);
        assert_eq!((own, requests.len()), ([16, 16, 8, 1], 3));
    }

    #[test]
    fn the_same_name_is_remembered_once() {
        let mut requests = Requests::default();
        requests.ask("ada", "r", 1, &BOUNDS);
        requests.ask("ada", "s", 1, &BOUNDS);
        assert_eq!(requests.ask("ada", "r", 2000, &BOUNDS), Forgets { own: 0, oldest: 1 });
        assert_eq!(requests.get(&request("ada", "r", 0)).map(|known| known.at), Some(2000));
        assert!(!requests.knows("ada", "s") && requests.len() == 1);
        requests.forget(b"ada", b"r");
        assert!(requests.is_empty() && requests.check().is_ok() && requests.bytes == 0);
    }

    #[test]
    fn owner_and_id_are_told_apart() {
        let mut requests = Requests::default();
        requests.ask("ab", "c", 1, &BOUNDS);
        assert!(!requests.knows("a", "bc") && !requests.knows("", "abc") && requests.knows("ab", "c"));
    }

    #[test]
    fn another_request_under_a_known_name_is_refused() {
        let known = request("ada", "r", 1);
        assert!(request("ada", "r", 1).check_same(&known).is_ok() && request("bob", "r", 2).check_same(&known).is_ok());
        let error = request("ada", "r", 2).check_same(&known).unwrap_err();
        assert!(error.text.starts_with("the REQID 'r' was used with other arguments"), "{error}");
    }

    #[test]
    fn what_breaks_a_rule_is_found() {
        let what = |id: &str| Remembered { request: request("ada", id, 1), answer: Answer::Integer(1), at: 1 };
        assert!(Requests::from(vec![what("r"), what("s")]).check().is_ok());
        assert!(Requests::from(vec![what("r"), what("r")]).check().is_err());
        assert!(Requests::from(vec![what("")]).check().is_err());
        assert!(Requests::from(vec![what(&"r".repeat(ID_BYTES_MAX + 1))]).check().is_err());
        let mut miscounted = Requests::from(vec![what("r")]);
        miscounted.bytes += 1;
        assert!(miscounted.check().is_err());
        miscounted.rebuild();
        assert!(miscounted.check().is_ok());
    }
}
