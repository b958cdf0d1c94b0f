//! The audit trail: who did what to which key, as lines of JSON that are chained by hashes.
//!
//! ```text
//! main thread:  engine/auditing  makes a draft of what a command or the time changed
//!                 | Batch        handed over once in each tick of the event loop
//! own thread:   Trail            gives each record its line and its link in the chain
//!                 |-- ring       the last lines, for LTMC.AUDIT
//!                 |-- file       appended to
//! ```
//!
//! Each line's `chain` is the SHA-256 of the previous line's `chain` and of this line without its
//! own. Whoever takes a line out or changes one has to make all later ones anew, and the last
//! `chain` that somebody else has seen gives that away. B. Schneier and J. Kelsey, "Secure Audit
//! Logs to Support Computer Forensics", ACM TISSEC 2(2), 1999, describe such chains.

pub mod batch;
pub mod last_line;
pub mod trail;

use crate::domain::algorithm::sha256::{hex, sha256};
use crate::domain::value::bytes::whole_printable;
use crate::domain::{Db, Millis};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

/// The figures of the thread that writes the trail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records that are no lines yet.
    pub queued: u64,
    /// Bytes of lines that are not in the file yet.
    pub unwritten_bytes: u64,
    /// Whether the file refuses lines.
    pub is_failing: bool,
    /// How often it did.
    pub failures: u64,
}

/// What kind of thing a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A command that only reads.
    Read,
    /// A command that changes a key.
    Write,
    /// A command of an operator.
    Admin,
    /// A command that was refused since the caller may not do it, or no longer.
    Denied,
    /// A setting was changed.
    Config,
    /// What followed from something else, or what time brought.
    Reaction,
}

impl Class {
    /// All words, in the order of the variants.
    pub const WORDS: [&'static str; 6] = ["read", "write", "admin", "denied", "config", "reaction"];

    /// All classes.
    pub const ALL: [Class; 6] =
        [Class::Read, Class::Write, Class::Admin, Class::Denied, Class::Config, Class::Reaction];

    /// The word in the trail.
    pub const fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// For whom a command ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The ACL user; `None` for the server itself.
    pub user: Option<Arc<[u8]>>,
    /// The server's id of the client.
    pub client: Option<u64>,
    /// Its address.
    pub addr: Option<Arc<str>>,
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With this text: a kind of reply, or the first word of an error.
    Word(Cow<'static, str>),
    /// With a reply of this kind, and its size or number.
    Counted(&'static str, i64),
}

impl Caller {
    /// The server itself.
    pub const SERVER: Self = Caller { user: None, client: None, addr: None };
}

impl Ended {
    /// All is well.
    pub const OK: Self = Ended::Word(Cow::Borrowed("ok"));
}

/// The text in the trail.
impl Display for Ended {
    fn fmt(&self, to: &mut Formatter) -> fmt::Result {
        match self {
            Ended::Word(word) => to.write_str(word),
            Ended::Counted(kind, number) => write!(to, "{kind} {number}"),
        }
    }
}

impl Serialize for Ended {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a command was about, beside its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The agent that acted, or that got or lost something.
    pub agent: Option<&'a [u8]>,
    /// What in the key it was about: a path, task, tool, chunk, field.
    pub object: Option<&'a [u8]>,
    /// The request id.
    pub reqid: Option<&'a [u8]>,
    /// Bytes of the values that were given.
    pub bytes: u64,
}

/// A record of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number: one more than that of the record before it.
    pub n: u64,
    /// When, unix ms.
    pub at: Millis,
    /// For whom.
    pub caller: &'a Caller,
    /// The command, or the event.
    pub command: &'static str,
    /// What kind of thing it is.
    pub class: Class,
    /// The database.
    pub db: Db,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// What it was about.
    pub subject: Subject<'a>,
    /// The revision of the key before; `None` if there was no key.
    pub before: Option<u64>,
    /// The revision after; `None` if there is no key any more.
    pub after: Option<u64>,
    /// How it ended.
    pub ended: &'a Ended,
    /// How long the command took, microseconds.
    pub us: u64,
    /// The number of the record that it follows from.
    pub cause: Option<u64>,
}

/// The fields of a line, in their order.
#[derive(Serialize)]
struct Fields<'a> {
    n: u64,
    at_ms: Millis,
    node: &'a str,
    user: Option<Cow<'a, str>>,
    client: Option<u64>,
    addr: Option<&'a str>,
    agent: Option<Cow<'a, str>>,
    command: &'a str,
    class: &'static str,
    db: Db,
    key: Option<Cow<'a, str>>,
    object: Option<Cow<'a, str>>,
    before: Option<u64>,
    after: Option<u64>,
    outcome: &'a Ended,
    us: u64,
    reqid: Option<Cow<'a, str>>,
    bytes: u64,
    cause: Option<u64>,
}

impl Record<'_> {
    /// Appends its line without the link, from the node with this run id: a JSON object.
    pub fn write(&self, node: &str, to: &mut Vec<u8>) {
        let text = |bytes: Option<_>| bytes.map(whole_printable);
        let fields = Fields {
            n: self.n,
            at_ms: self.at,
            node,
            user: text(self.caller.user.as_deref()),
            client: self.caller.client,
            addr: self.caller.addr.as_deref(),
            agent: text(self.subject.agent),
            command: self.command,
            class: self.class.word(),
            db: self.db,
            key: text(self.key),
            object: text(self.subject.object),
            before: self.before,
            after: self.after,
            outcome: self.ended,
            us: self.us,
            reqid: text(self.subject.reqid),
            bytes: self.subject.bytes,
            cause: self.cause,
        };
        // Texts and numbers can always be written.
        let _ = serde_json::to_writer(to, &fields);
    }
}

/// The link of a line to the one before it, for `to`. `linked` is the link of that one, and then
/// the line without its own.
pub fn link(linked: &[u8], to: &mut String) {
    to.clear();
    to.extend(hex(sha256(linked)));
}

/// Appends a line with its link.
pub fn write_linked(unlinked: &[u8], chain: &str, to: &mut Vec<u8>) {
    to.extend_from_slice(unlinked.strip_suffix(b"}").unwrap_or(unlinked));
    [",\"chain\":\"", chain, "\"}\n"].iter().for_each(|part| to.extend_from_slice(part.as_bytes()));
}
