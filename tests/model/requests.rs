//! What a key remembers of requests with `REQID`, in all models.

/// How many requests of one owner are remembered.
const OF_OWNER: usize = 64;
/// How long, ms.
const AGE_MS: u64 = 600_000;

/// A request with `REQID`.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Owner and id, with a slash between them.
    pub name: String,
    /// What is asked for, without `BLOCK`.
    pub what: String,
}

impl Asked {
    pub fn new(owner: &str, id: &str, what: String) -> Self {
        Self { name: format!("{owner}/{id}"), what }
    }

    /// Whether the other one has the same name, and is another request.
    pub fn excludes(&self, other: &Self) -> bool {
        self.name == other.name && self.what != other.what
    }

    fn owner(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// What was asked, when, and the answer; the oldest first.
#[derive(Debug, Clone)]
pub struct Memory<A>(Vec<(Asked, u64, A)>);

impl<A> Default for Memory<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: Clone> Memory<A> {
    /// The answer to the same request; an error if it was another one.
    pub fn find(&self, asked: &Asked, now: u64) -> Option<Result<A, ()>> {
        let known = self.0.iter().find(|(known, at, _)| known.name == asked.name && at + AGE_MS > now);
        known.map(|(known, _, answer)| if known.excludes(asked) { Err(()) } else { Ok(answer.clone()) })
    }

    pub fn remember(&mut self, asked: &Asked, now: u64, answer: A) {
        self.0.retain(|(known, at, _)| known.name != asked.name && at + AGE_MS > now);
        let of_owner = self.0.iter().filter(|(known, ..)| known.owner() == asked.owner()).count();
        if of_owner == OF_OWNER && !asked.owner().is_empty() {
            let oldest = self.0.iter().position(|(known, ..)| known.owner() == asked.owner());
            self.0.remove(oldest.expect("there are many"));
        }
        self.0.push((asked.clone(), now, answer));
    }

    pub fn forget(&mut self, name: &str) {
        self.0.retain(|(known, ..)| known.name != name);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
