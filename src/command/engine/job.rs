//! What a thread does for a command, and how much work something is.

use crate::command::reply::{Reply, Size};
use crate::domain::Error;
use std::any::Any;
use std::fmt;

/// What a thread has made for a command.
pub type Product = Result<Box<dyn Any + Send>, Error>;

/// What a thread does for a command. It ends with an error if it panics.
pub enum Job {
    /// Makes the reply.
    Answer(Box<dyn FnOnce() -> Result<Reply, Error> + Send>),
    /// Makes something with which the command runs again.
    Prepare(Box<dyn FnOnce() -> Product + Send>),
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Job::Answer(_) => "Answer",
            Job::Prepare(_) => "Prepare",
        })
    }
}

/// How much work something is. A step takes about half a microsecond: it makes, reads or writes
/// one value of a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steps(pub usize);

/// A thread takes over what has at least so many steps, about a millisecond.
pub const OFFLOADED_FROM: Steps = Steps(2_000);
/// Where a client cannot wait, what has more steps than this is refused. They take about 10 ms.
pub const AT_ONCE_MAX: Steps = Steps(20_000);

impl Steps {
    /// Reading or writing JSON of so many bytes.
    pub fn of_json(bytes: usize) -> Self {
        Self(bytes / 64)
    }

    /// Copying so many bytes into new memory.
    pub fn of_copy(bytes: usize) -> Self {
        Self(bytes / 1024)
    }

    /// Making and writing a reply of this size.
    pub fn of_reply(size: Size) -> Self {
        Self(size.elements).and(Self::of_copy(size.text_bytes))
    }

    /// Writing a reply of this size that is made.
    pub fn of_sending(size: Size) -> Self {
        Self(size.elements / 8).and(Self::of_copy(size.text_bytes))
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}
