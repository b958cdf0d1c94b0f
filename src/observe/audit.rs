//! The audit trail: who did what to which key, as lines of JSON that are chained by hashes.
//!
//! ```text
//! main thread:  engine/auditing  makes a record of what a command or the time changed
//!                 | handed over in batches
//! own thread:   Trail            gives each record its line and its link in the chain
//!                 |-- ring       the last lines, for LTMC.AUDIT
//!                 |-- file       appended to
//! ```
//!
//! Each line's `chain` is the SHA-256 of the previous line's `chain` and of this line without its
//! own. Whoever takes a line out or changes one has to make all later ones anew, and the last
//! `chain` that somebody else has seen gives that away. B. Schneier and J. Kelsey, "Secure Audit
//! Logs to Support Computer Forensics", ACM TISSEC 2(2), 1999, describe such chains.

pub mod last_line;
pub mod trail;

use crate::domain::algorithm::sha256::{hex, sha256};
use crate::domain::value::bytes::whole_printable;
use crate::domain::{Bytes, Db, Millis};
use serde::Serialize;
use std::borrow::Cow;
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
    /// With this number.
    Integer(i64),
}

impl Ended {
    /// The text in the trail.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Ended::Word(word) => Cow::Borrowed(word),
            Ended::Integer(number) => format!("integer {number}").into(),
        }
    }
}

/// What a command was about, beside its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The agent that acted, or that got or lost something.
    pub agent: Option<Box<[u8]>>,
    /// What in the key it was about: a path, task, tool, chunk, field.
    pub object: Option<Box<[u8]>>,
    /// The request id.
    pub reqid: Option<Box<[u8]>>,
    /// Bytes of the values that were given.
    pub bytes: u64,
}

/// A record of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number: one more than that of the record before it.
    pub n: u64,
    /// When, unix ms.
    pub at: Millis,
    /// For whom.
    pub caller: Caller,
    /// The command, or the event.
    pub command: Cow<'static, str>,
    /// What kind of thing it is.
    pub class: Class,
    /// The database.
    pub db: Db,
    /// The key.
    pub key: Option<Bytes>,
    /// What it was about.
    pub subject: Subject,
    /// The revision of the key before; `None` if there was no key.
    pub before: Option<u64>,
    /// The revision after; `None` if there is no key any more.
    pub after: Option<u64>,
    /// How it ended.
    pub ended: Ended,
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
    user: Option<String>,
    client: Option<u64>,
    addr: Option<&'a str>,
    agent: Option<String>,
    command: &'a str,
    class: &'static str,
    db: Db,
    key: Option<String>,
    object: Option<String>,
    before: Option<u64>,
    after: Option<u64>,
    outcome: Cow<'a, str>,
    us: u64,
    reqid: Option<String>,
    bytes: u64,
    cause: Option<u64>,
}

impl Record {
    /// A record without number, of something about which no more is known.
    pub fn new(at: Millis, class: Class, command: impl Into<Cow<'static, str>>, db: Db, key: Option<Bytes>) -> Self {
        Self {
            n: 0,
            at,
            caller: Caller::default(),
            command: command.into(),
            class,
            db,
            key,
            subject: Subject::default(),
            before: None,
            after: None,
            ended: Ended::Word(Cow::Borrowed("ok")),
            us: 0,
            cause: None,
        }
    }

    /// Its line without the link, from the node with this run id. A JSON object.
    pub fn unlinked(&self, node: &str) -> String {
        let text = |bytes: &Option<Box<[u8]>>| bytes.as_deref().map(whole_printable);
        let fields = Fields {
            n: self.n,
            at_ms: self.at,
            node,
            user: self.caller.user.as_deref().map(whole_printable),
            client: self.caller.client,
            addr: self.caller.addr.as_deref(),
            agent: text(&self.subject.agent),
            command: &self.command,
            class: self.class.word(),
            db: self.db,
            key: self.key.as_deref().map(whole_printable),
            object: text(&self.subject.object),
            before: self.before,
            after: self.after,
            outcome: self.ended.text(),
            us: self.us,
            reqid: text(&self.subject.reqid),
            bytes: self.subject.bytes,
            cause: self.cause,
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&fields).unwrap_or_default()
    }
}

/// The link of a line to the one before it.
pub fn link(before: &str, unlinked: &str) -> String {
    hex(&sha256(&[before.as_bytes(), unlinked.as_bytes()].concat()))
}

/// A line with its link.
pub fn linked(unlinked: &str, chain: &str) -> String {
    let open = unlinked.strip_suffix('}').unwrap_or(unlinked);
    format!("{open},\"chain\":\"{chain}\"}}")
}
