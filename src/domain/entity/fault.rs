//! Broken values: their quarantine belongs to the value, and goes where the value goes.
//!
//! A file or a primary may hold a value whose frame is whole and whose content breaks a rule or
//! cannot be read. One key must not cost a server its start. So such a value is kept as the bytes
//! that it was found as, and is saved, sent and digested as these bytes. A value that is found
//! broken in memory stays as it is.

use crate::domain::algorithm::allocator::allocated;
use crate::domain::value::bytes::printable;
use crate::domain::{Blob, Code, Error, Invariant};

/// What was saved of a value and cannot be made a value of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The frame.
    pub frame: Box<[u8]>,
    /// What stood beside it.
    pub blobs: Box<[Blob]>,
}

impl Original {
    fn heap_bytes(&self) -> usize {
        let blobs: usize = self.blobs.iter().map(Blob::heap_bytes).sum();
        allocated(self.frame.len()) + allocated(size_of_val(&*self.blobs)) + blobs
    }
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There were so many internal errors while something was done to it.
    Panics(u8),
    /// It breaks a rule, and nothing is left to make it anew from.
    Broken(Invariant),
}

/// Why nobody may use a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub reason: Reason,
    /// What it was found as, if that is not a value.
    pub original: Option<Original>,
    /// How many changes were meant for it since.
    pub dropped: u64,
}

impl Fault {
    /// Of a value as it is in memory.
    pub fn new(reason: Reason) -> Self {
        Self { reason, original: None, dropped: 0 }
    }

    /// Of what is no value.
    pub fn found(reason: impl Into<String>, original: Original) -> Self {
        Self { original: Some(original), ..Self::new(Reason::Broken(Invariant(reason.into()))) }
    }

    /// Whether no change can be made to the value: it is broken, and not only under suspicion.
    pub fn is_broken(&self) -> bool {
        matches!(self.reason, Reason::Broken(_))
    }

    /// What is wrong, in words.
    pub fn text(&self) -> String {
        match &self.reason {
            Reason::Panics(panics) => format!("{panics} internal errors"),
            Reason::Broken(broken) => broken.0.clone(),
        }
    }

    /// What a client is told who wants to use the value of `key`.
    pub fn error(&self, key: &[u8]) -> Error {
        let name = printable(key);
        let text = match &self.reason {
            Reason::Panics(panics) => {
                format!("{panics} internal errors on the key '{name}'; DEL it or try LTMC.REPAIR")
            }
            Reason::Broken(broken) => format!("the key '{name}' is broken ({}); DEL it or try LTMC.REPAIR", broken.0),
        };
        Error::new(Code::Quarantined, text)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let text = match &self.reason {
            Reason::Broken(Invariant(text)) => allocated(text.capacity()),
            Reason::Panics(_) => 0,
        };
        text + self.original.as_ref().map_or(0, Original::heap_bytes)
    }
}
