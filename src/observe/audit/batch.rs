//! Records as the event loop makes them. Their texts stand one after the other, so that a record
//! costs the event loop no memory of its own. The trail's thread makes whole records of them.

use super::{Caller, Class, Ended, Record, Subject};
use crate::domain::{Db, Millis};
use smallvec::SmallVec;

/// How much of each argument is kept, bytes. Ids and paths are not longer.
const ARG_BYTES_MAX: usize = 1024;
/// How many arguments are kept. What a command is about stands among the first.
const ARGS_MAX: usize = 64;
/// How much of a text is kept, bytes: of a key's name, or of what a change was about.
const TEXT_BYTES_MAX: usize = 1024;
/// A batch that has grown to so many bytes is not used again.
const REUSED_BYTES_MAX: usize = 1024 * 1024;

/// Says what a command was about, from its arguments.
pub trait Describes: Sync + std::fmt::Debug {
    /// What it was about.
    fn subject<'a>(&'static self, args: &KeptArgs<'a>) -> Subject<'a>;
}

/// The arguments of a command, as far as they are kept.
#[derive(Debug)]
pub struct KeptArgs<'a> {
    /// The beginnings of the first arguments.
    pub kept: SmallVec<[&'a [u8]; 16]>,
    /// How long each of these was.
    pub lens: SmallVec<[u64; 16]>,
    /// Bytes of the arguments that are not kept.
    pub beyond: u64,
}

/// A text of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    from: u32,
    to: u32,
}

/// A record whose texts stand in the batch.
#[derive(Debug)]
pub struct Draft {
    /// As in [`Record`].
    pub n: u64,
    /// As in [`Record`].
    pub at: Millis,
    /// The caller, by its place in the batch; `None` for the server itself.
    pub caller: Option<u32>,
    /// As in [`Record`].
    pub command: &'static str,
    /// As in [`Record`].
    pub class: Class,
    /// As in [`Record`].
    pub db: Db,
    /// As in [`Record`].
    pub key: Option<Span>,
    /// The arguments of the command, and who knows what they are about.
    pub args: Option<(&'static dyn Describes, Span)>,
    /// The agent, unless the arguments name one.
    pub agent: Option<Span>,
    /// The object, unless the arguments name one.
    pub object: Option<Span>,
    /// The request id, unless the arguments have one.
    pub reqid: Option<Span>,
    /// Bytes of the values that the arguments do not have.
    pub bytes: u64,
    /// As in [`Record`].
    pub before: Option<u64>,
    /// As in [`Record`].
    pub after: Option<u64>,
    /// As in [`Record`].
    pub ended: Ended,
    /// As in [`Record`].
    pub us: u64,
    /// As in [`Record`].
    pub cause: Option<u64>,
}

impl Draft {
    /// A record without number, of something about which no more is known.
    pub fn new(at: Millis, class: Class, command: &'static str, db: Db, key: Option<Span>) -> Self {
        Self {
            n: 0,
            at,
            caller: None,
            command,
            class,
            db,
            key,
            args: None,
            agent: None,
            object: None,
            reqid: None,
            bytes: 0,
            before: None,
            after: None,
            ended: Ended::OK,
            us: 0,
            cause: None,
        }
    }
}

/// Records that go to the trail together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records.
    pub drafts: Vec<Draft>,
    callers: Vec<Caller>,
    bytes: Vec<u8>,
}

impl Batch {
    /// The number of records.
    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// The bytes of its texts.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Keeps a text, or its beginning.
    pub fn keep(&mut self, text: &[u8]) -> Span {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&text[..text.len().min(TEXT_BYTES_MAX)]);
        self.since(from)
    }

    /// A text.
    pub fn text(&self, span: Span) -> &[u8] {
        &self.bytes[span.from as usize..span.to as usize]
    }

    /// Whether a text is the one that was kept as this.
    pub fn is(&self, span: Span, text: &[u8]) -> bool {
        self.text(span) == &text[..text.len().min(TEXT_BYTES_MAX)]
    }

    /// Keeps the arguments of a command, each behind its length.
    pub fn keep_args(&mut self, args: &[&[u8]]) -> Span {
        let (from, (first, beyond)) = (self.bytes.len(), args.split_at(args.len().min(ARGS_MAX)));
        let beyond: u64 = beyond.iter().map(|arg| arg.len() as u64).sum();
        self.bytes.extend_from_slice(&beyond.to_le_bytes());
        for arg in first {
            self.bytes.extend_from_slice(&(arg.len() as u64).to_le_bytes());
            self.bytes.extend_from_slice(&arg[..arg.len().min(ARG_BYTES_MAX)]);
        }
        self.since(from)
    }

    fn since(&self, from: usize) -> Span {
        Span { from: from as u32, to: self.bytes.len() as u32 }
    }

    /// The last caller, with its place.
    pub fn last_caller(&self) -> Option<(&Caller, u32)> {
        self.callers.last().map(|caller| (caller, self.callers.len() as u32 - 1))
    }

    /// Keeps a caller.
    pub fn keep_caller(&mut self, caller: Caller) -> u32 {
        self.callers.push(caller);
        self.callers.len() as u32 - 1
    }

    /// Keeps a whole record.
    pub fn push(&mut self, record: &Record) {
        let caller = match self.last_caller() {
            Some((last, at)) if last == record.caller => at,
            _ => self.keep_caller(record.caller.clone()),
        };
        let mut keep = |text: Option<&[u8]>| text.map(|text| self.keep(text));
        let subject = &record.subject;
        let draft = Draft {
            n: record.n,
            at: record.at,
            caller: Some(caller),
            command: record.command,
            class: record.class,
            db: record.db,
            key: keep(record.key),
            args: None,
            agent: keep(subject.agent),
            object: keep(subject.object),
            reqid: keep(subject.reqid),
            bytes: subject.bytes,
            before: record.before,
            after: record.after,
            ended: record.ended.clone(),
            us: record.us,
            cause: record.cause,
        };
        self.drafts.push(draft);
    }

    /// The records as whole ones, from the first on or from the last.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = Record<'_>> {
        self.drafts.iter().map(|draft| self.whole(draft))
    }

    /// Forgets everything. The memory stays for the next records.
    pub fn clear(&mut self) {
        self.drafts.clear();
        self.callers.clear();
        self.bytes.clear();
        if self.bytes.capacity() > REUSED_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }

    fn whole<'a>(&'a self, draft: &'a Draft) -> Record<'a> {
        let text = |span: Option<Span>| span.map(|span| self.text(span));
        let subject = draft.args.map(|(of, span)| of.subject(&self.args(span))).unwrap_or_default();
        Record {
            n: draft.n,
            at: draft.at,
            caller: draft.caller.map_or(&Caller::SERVER, |at| &self.callers[at as usize]),
            command: draft.command,
            class: draft.class,
            db: draft.db,
            key: text(draft.key),
            subject: Subject {
                agent: subject.agent.or(text(draft.agent)),
                object: subject.object.or(text(draft.object)),
                reqid: subject.reqid.or(text(draft.reqid)),
                bytes: subject.bytes + draft.bytes,
            },
            before: draft.before,
            after: draft.after,
            ended: &draft.ended,
            us: draft.us,
            cause: draft.cause,
        }
    }

    /// Reads what [`keep_args`](Self::keep_args) has written.
    fn args(&self, span: Span) -> KeptArgs<'_> {
        let mut rest = self.text(span);
        let number = |rest: &mut &[u8]| {
            let (number, behind) = rest.split_first_chunk::<8>()?;
            *rest = behind;
            Some(u64::from_le_bytes(*number))
        };
        let beyond = number(&mut rest).unwrap_or_default();
        let (mut kept, mut lens) = (SmallVec::new(), SmallVec::new());
        while let Some(len) = number(&mut rest) {
            let (arg, behind) = rest.split_at((len as usize).min(ARG_BYTES_MAX).min(rest.len()));
            kept.push(arg);
            lens.push(len);
            rest = behind;
        }
        KeptArgs { kept, lens, beyond }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Second;

    impl Describes for Second {
        fn subject<'a>(&'static self, args: &KeptArgs<'a>) -> Subject<'a> {
            let bytes = args.lens.iter().sum::<u64>() + args.beyond;
            Subject { agent: args.kept.get(1).copied(), bytes, ..Subject::default() }
        }
    }

    #[test]
    fn texts_come_out_as_they_were_kept_up_to_their_bounds() {
        let (long, many) = (vec![7; 5000], vec![&b"x"[..]; 70]);
        let mut batch = Batch::default();
        for (n, args) in
            [vec![&b"k"[..], b"", &long], vec![&b"k"[..], &long, b"\0"], many.clone(), vec![]].iter().enumerate()
        {
            let (key, span) = (batch.keep(&long), batch.keep_args(args));
            let draft =
                Draft { n: n as u64, args: Some((&Second, span)), ..Draft::new(1, Class::Write, "C", 0, Some(key)) };
            batch.drafts.push(draft);
        }
        let records: Vec<_> = batch.records().collect();
        let seen: Vec<_> =
            records.iter().map(|record| (record.n, record.subject.agent, record.subject.bytes)).collect();
        let agents: [Option<&[u8]>; 4] = [Some(b""), Some(&long[..ARG_BYTES_MAX]), Some(b"x"), None];
        assert_eq!(seen, [(0, agents[0], 5001), (1, agents[1], 5002), (2, agents[2], 70), (3, agents[3], 0)]);
        assert!(records.iter().all(|record| record.key == Some(&long[..TEXT_BYTES_MAX])));
        let mut copy = Batch::default();
        records.iter().for_each(|record| copy.push(record));
        assert!(copy.records().eq(records));
        batch.clear();
        assert!(batch.is_empty() && batch.bytes() == 0);
    }

    #[test]
    fn what_the_arguments_do_not_name_is_taken_from_the_change() {
        let mut batch = Batch::default();
        let span = batch.keep_args(&[b"one"]);
        let (agent, object) = (batch.keep(b"ada"), batch.keep(b"t1"));
        let (one, two) = (Caller { client: Some(1), ..Caller::default() }, Caller::default());
        let caller = batch.keep_caller(one.clone());
        assert_eq!(batch.last_caller(), Some((&one, 0)));
        batch.keep_caller(two);
        let draft = Draft {
            caller: Some(caller),
            args: Some((&Second, span)),
            agent: Some(agent),
            object: Some(object),
            ..Draft::new(1, Class::Write, "C", 0, None)
        };
        batch.drafts.push(draft);
        let record = batch.records().next().expect("one record");
        assert_eq!((record.subject.agent, record.subject.object), (Some(&b"ada"[..]), Some(&b"t1"[..])));
        assert_eq!(record.caller, &one);
    }
}
