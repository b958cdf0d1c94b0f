//! The requests that an entity has granted and remembers, so that a retried write happens only
//! once (`REQID id`).

use crate::domain::limits::{ID_BYTES_MAX, REQUESTS_MAX};
use crate::domain::{Bytes, Fence};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The key under which a request is remembered: the id that the client chose, scoped to its owner.
pub fn request_key(owner: &[u8], id: &[u8]) -> Bytes {
    let owner_bytes = (owner.len() as u16).to_be_bytes();
    Bytes::from(&[&owner_bytes[..], owner, id].concat()[..])
}

/// The longest [`request_key`].
pub const REQUEST_KEY_BYTES_MAX: usize = 2 + 2 * ID_BYTES_MAX;

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

/// The last [`REQUESTS_MAX`] requests, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests(VecDeque<(Bytes, Answer)>);

impl Requests {
    /// The reply to request `id`, while it is remembered.
    pub fn answer(&self, id: &[u8]) -> Option<&Answer> {
        self.0.iter().find(|(known, _)| known[..] == *id).map(|(_, answer)| answer)
    }

    /// Remembers the reply to request `id`. Forgets the oldest request if there are too many.
    pub fn remember(&mut self, id: &Bytes, answer: &Answer) {
        if self.answer(id).is_some() {
            return;
        }
        if self.0.len() == REQUESTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id.clone(), answer.clone()));
    }

    /// Forgets request `id`.
    pub fn forget(&mut self, id: &[u8]) {
        self.0.retain(|(known, _)| known[..] != *id);
    }

    /// The number of remembered requests.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no request is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        let texts: usize = self.0.iter().map(|(id, answer)| id.heap_bytes() + answer.heap_bytes()).sum();
        self.0.capacity() * std::mem::size_of::<(Bytes, Answer)>() + texts
    }
}

impl Answer {
    fn heap_bytes(&self) -> usize {
        match self {
            Answer::Integer(_) => 0,
            Answer::Bytes(bytes) | Answer::Claim { agent: bytes, .. } | Answer::Versioned { id: bytes, .. } => {
                bytes.heap_bytes()
            }
            Answer::Fences(fences) => size_of_val(&**fences),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_request_is_forgotten_first() {
        let mut requests = Requests::default();
        for n in 0..=REQUESTS_MAX {
            requests.remember(&Bytes::from(format!("r{n}").as_str()), &Answer::Integer(n as i64));
        }
        assert_eq!(requests.len(), REQUESTS_MAX);
        assert_eq!(requests.answer(b"r0"), None);
        assert_eq!(requests.answer(b"r1"), Some(&Answer::Integer(1)));
    }

    #[test]
    fn the_first_answer_stays() {
        let mut requests = Requests::default();
        let id = Bytes::from("r");
        requests.remember(&id, &Answer::Integer(1));
        requests.remember(&id, &Answer::Integer(2));
        assert_eq!(requests.answer(b"r"), Some(&Answer::Integer(1)));
    }
}
