//! Broken values. Their quarantine is part of the value and moves with it.
//!
//! A file or a primary may hold a value whose frame is intact, but whose content breaks a rule or
//! cannot be read. One key must not stop a server from starting. So such a value is kept as the
//! bytes it was found as, and these bytes are saved, sent and digested. A value found broken in
//! memory stays as it is.

use crate::domain::algorithm::allocator::allocated;
use crate::domain::value::bytes::printable;
use crate::domain::{Blob, Code, Error, Invariant};

/// The saved form of a value that cannot be decoded into a valid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The frame.
    pub frame: Box<[u8]>,
    /// The blobs beside it.
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
    /// This many internal errors happened while the value was used.
    Panics(u8),
    /// It breaks a rule, and nothing is left to rebuild it from.
    Broken(Invariant),
}

/// Why nobody may use a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub reason: Reason,
    /// The saved form, if no value could be made of it.
    pub original: Option<Original>,
    /// The number of changes meant for it that were dropped.
    pub dropped: u64,
}

impl Fault {
    /// The fault of a value in memory.
    pub fn new(reason: Reason) -> Self {
        Self { reason, original: None, dropped: 0 }
    }

    /// The fault of saved bytes that are no value.
    pub fn found(reason: impl Into<String>, original: Original) -> Self {
        Self { original: Some(original), ..Self::new(Reason::Broken(Invariant(reason.into()))) }
    }

    /// Whether no change can be made to the value: it is broken, not only suspected.
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

    /// The error for a client that uses the value of `key`.
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
