//! The trace of debug mode: what each command did, how long each stage of it took, what followed from it, and who was woken.
//!
//! One stopwatch runs through a command: [`Trace::at`] closes the stage before and opens the next, so the stages add up to the whole.
//! Outside of debug mode nothing is open, and each mark costs one branch. What tracing itself takes is not counted.

use crate::domain::limits::{
    TRACE_ARGS_MAX, TRACE_ARG_BYTES_MAX, TRACE_BYTES_MAX, TRACE_EVENTS_MAX, TRACE_TEXT_BYTES_MAX, TRACE_WOKEN_MAX,
};
use crate::domain::{Change, Db, Event, KeyId, Millis};
use std::collections::VecDeque;
use std::fmt::{self, Write};

/// The name under which a round of the scheduler is traced.
pub const SCHEDULER: &str = "(scheduler)";

/// What a command goes through. Those between the first and the last may come several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// What is checked for every command: arity, switches, role.
    Check,
    /// The handler: reads its arguments and decides.
    Decide,
    /// Events are written down for replicas and the AOF.
    Replicate,
    /// Events change the value.
    Apply,
    /// Subscribers and counters are told.
    Notify,
    /// Those who wait are served.
    Wake,
    /// What was written down is handed to the server, and keys are closed.
    Send,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Stage; 7] =
        [Stage::Check, Stage::Decide, Stage::Replicate, Stage::Apply, Stage::Notify, Stage::Wake, Stage::Send];

    /// The name in the reply.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Check => "check",
            Stage::Decide => "decide",
            Stage::Replicate => "replicate",
            Stage::Apply => "apply",
            Stage::Notify => "notify",
            Stage::Wake => "wake",
            Stage::Send => "send",
        }
    }
}

/// A list that keeps its first elements and counts the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct First<T> {
    /// Those that are kept.
    pub kept: Vec<T>,
    /// How many are not.
    pub beyond: u64,
}

impl<T> First<T> {
    fn push(&mut self, max: usize, make: impl FnOnce() -> T) {
        if self.kept.len() < max {
            self.kept.push(make());
        } else {
            self.beyond += 1;
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.kept.len() as u64 + self.beyond
    }
}

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Happened {
    /// Its key.
    pub key: Box<[u8]>,
    /// The name of its notification, if it has one, and what is in it.
    pub text: Box<str>,
    /// Nobody asked the command for it: it is about a key that the command did not name, about somebody who waited, or about what an agent
    /// held that is gone.
    pub is_follow_up: bool,
}

/// A command or a round of the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Grows with each.
    pub id: u64,
    /// When it began, unix ms.
    pub at: Millis,
    /// The server's id of the client; 0 for the scheduler, and for scripts and inner calls.
    pub client: u64,
    /// The database.
    pub db: Db,
    /// The command, or [`SCHEDULER`].
    pub name: &'static str,
    /// Its arguments, or the key that was looked at.
    pub args: Vec<Box<[u8]>>,
    /// How it ended.
    pub outcome: Box<str>,
    /// What happened.
    pub events: First<Happened>,
    /// Who was woken: clients, each with a key that it waited for.
    pub woken: First<(u64, Box<[u8]>)>,
    spent_ns: [u64; Stage::ALL.len()],
}

impl Traced {
    /// How long a stage took, microseconds.
    pub fn stage_us(&self, stage: Stage) -> u64 {
        self.spent_ns[stage as usize] / 1000
    }

    /// How long all of it took, microseconds.
    pub fn total_us(&self) -> u64 {
        self.spent_ns.iter().sum::<u64>() / 1000
    }

    fn bytes(&self) -> usize {
        let args = self.args.iter().map(|arg| size_of::<Box<[u8]>>() + arg.len()).sum::<usize>();
        let event = |event: &Happened| size_of::<Happened>() + event.key.len() + event.text.len();
        let events = self.events.kept.iter().map(event).sum::<usize>();
        let woken = self.woken.kept.iter().map(|(_, key)| size_of::<(u64, Box<[u8]>)>() + key.len()).sum::<usize>();
        size_of::<Self>() + args + self.outcome.len() + events + woken
    }
}

/// What a trace begins with.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// Now, unix ms.
    pub at: Millis,
    /// The server's id of the client; 0 if it has no connection.
    pub client: u64,
    /// The database.
    pub db: Db,
    /// The command.
    pub name: &'static str,
    /// Its arguments without the name.
    pub args: &'a [&'a [u8]],
    /// The keys that it names.
    pub keys: Vec<KeyId>,
}

/// What goes on between changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// The stage that one comes back to.
    pub stage: Stage,
    /// Whether it follows from what the command was for.
    pub follows: bool,
}

/// A trace that is being written.
#[derive(Debug)]
struct Open {
    traced: Traced,
    /// The keys that it is about.
    keys: Vec<KeyId>,
    stage: Stage,
    base: Base,
    /// When the stage began.
    since_ns: u64,
}

impl Open {
    fn at(&mut self, stage: Stage, now_ns: u64) {
        self.traced.spent_ns[self.stage as usize] += now_ns.saturating_sub(self.since_ns);
        (self.stage, self.since_ns) = (stage, now_ns);
    }

    fn is_round(&self) -> bool {
        self.traced.name == SCHEDULER
    }

    fn happened<V: Event>(&mut self, db: Db, key: &[u8], event: &V) {
        if self.keys.is_empty() && self.is_round() {
            // A chore is about what it changes first.
            self.keys.push(KeyId::new(db, key));
            (self.traced.db, self.traced.args) = (db, vec![cut(key)]);
        }
        let is_named = self.keys.iter().any(|named| named.db == db && named.name[..] == *key);
        let is_follow_up = !is_named || self.base.follows;
        self.traced.events.push(TRACE_EVENTS_MAX, || Happened { key: cut(key), text: text_of(event), is_follow_up });
    }
}

/// The traces of a node, and the one that is being written.
#[derive(Debug)]
pub struct Trace {
    open: Option<Box<Open>>,
    ring: VecDeque<Traced>,
    bytes: usize,
    last_id: u64,
    clock: fn() -> u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { open: None, ring: VecDeque::new(), bytes: 0, last_id: 0, clock: || 0 }
    }
}

impl Trace {
    /// Gives it the clock that it measures by: nanoseconds that never go back.
    pub fn set_clock(&mut self, clock: fn() -> u64) {
        self.clock = clock;
    }

    /// Whether a trace is being written.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Begins the trace of a command. One that never ended is forgotten.
    pub fn begin(&mut self, beginning: Beginning) {
        self.open_at(Stage::Check, beginning);
    }

    /// Begins the trace of a round of the scheduler, which looks at `key`; without one it is about the first key that it changes.
    pub fn begin_round(&mut self, at: Millis, key: Option<&KeyId>) {
        let names: Vec<&[u8]> = key.iter().map(|key| &key.name[..]).collect();
        let (db, keys) = (key.map_or(0, |key| key.db), key.into_iter().cloned().collect());
        self.open_at(Stage::Decide, Beginning { at, client: 0, db, name: SCHEDULER, args: &names, keys });
    }

    fn open_at(&mut self, stage: Stage, beginning: Beginning) {
        let Beginning { at, client, db, name, args, keys } = beginning;
        let traced = Traced {
            id: 0,
            at,
            client,
            db,
            name,
            args: cut_args(args),
            outcome: "".into(),
            events: First::default(),
            woken: First::default(),
            spent_ns: [0; Stage::ALL.len()],
        };
        let base = Base { stage: Stage::Decide, follows: false };
        let open = Open { traced, keys, stage, base, since_ns: (self.clock)() };
        self.open = Some(Box::new(open));
    }

    /// The next stage begins.
    #[inline]
    pub fn at(&mut self, stage: Stage) {
        if self.is_open() {
            self.mark(stage);
        }
    }

    /// A change is made: what goes on is what went on before it.
    #[inline]
    pub fn back(&mut self) {
        if let Some(open) = &self.open {
            self.mark(open.base.stage);
        }
    }

    /// Something else goes on from here. What did is returned, to be set again.
    #[inline]
    pub fn rebase(&mut self, base: Base) -> Base {
        if !self.is_open() {
            return base;
        }
        self.mark(base.stage);
        self.open.as_mut().map_or(base, |open| std::mem::replace(&mut open.base, base))
    }

    #[cold]
    fn mark(&mut self, stage: Stage) {
        if let Some(open) = &mut self.open {
            open.at(stage, (self.clock)());
        }
    }

    /// Something happened to a key.
    #[inline]
    pub fn events<V: Event>(&mut self, db: Db, key: &[u8], changes: &[Change<V>]) {
        if self.is_open() {
            self.note(db, key, changes);
        }
    }

    #[cold]
    fn note<V: Event>(&mut self, db: Db, key: &[u8], changes: &[Change<V>]) {
        let Some(open) = &mut self.open else { return };
        open.at(open.stage, (self.clock)());
        changes.iter().filter_map(Change::event).for_each(|event| open.happened(db, key, event));
        open.since_ns = (self.clock)();
    }

    /// A client was woken that waited for a key. Who watches it may be told of it more than once.
    pub fn woken(&mut self, client: u64, key: &[u8]) {
        if let Some(open) = &mut self.open {
            let (woken, pair) = (&mut open.traced.woken, (client, cut(key)));
            if !woken.kept.contains(&pair) {
                woken.push(TRACE_WOKEN_MAX, || pair);
            }
        }
    }

    /// Ends the trace; of all at most `max` are kept.
    pub fn end(&mut self, outcome: &str, max: usize) -> Option<&Traced> {
        let mut open = self.open.take()?;
        open.at(Stage::Send, (self.clock)());
        self.last_id += 1;
        let mut text = Cut::default();
        text.write_str(outcome.lines().next().unwrap_or_default()).ok();
        let traced = Traced { id: self.last_id, outcome: text.finish(), ..open.traced };
        self.bytes += traced.bytes();
        self.ring.push_back(traced);
        self.keep(max);
        self.ring.back()
    }

    /// Ends the trace of a round of the scheduler. It is kept if anything happened.
    pub fn end_round(&mut self, max: usize) -> Option<&Traced> {
        if self.open.as_ref().is_some_and(|open| open.traced.events.count() == 0) {
            self.open = None;
        }
        self.end("ok", max)
    }

    /// Forgets the oldest until there are at most `max`, and not too many bytes.
    pub fn keep(&mut self, max: usize) {
        while self.ring.len() > max || (self.bytes > TRACE_BYTES_MAX && self.ring.len() > 1) {
            self.bytes -= self.ring.pop_front().map_or(0, |oldest| oldest.bytes());
        }
    }

    /// What is kept, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Traced> {
        self.ring.iter().rev()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Forgets all of them.
    pub fn reset(&mut self) {
        (self.ring, self.bytes) = (VecDeque::new(), 0);
    }
}

/// Bytes as SLOWLOG shows them: the first ones, and how many more there are.
fn cut(bytes: &[u8]) -> Box<[u8]> {
    match bytes.len().checked_sub(TRACE_ARG_BYTES_MAX) {
        None | Some(0) => bytes.into(),
        Some(more) => [&bytes[..TRACE_ARG_BYTES_MAX], format!("... ({more} more bytes)").as_bytes()].concat().into(),
    }
}

fn cut_args(args: &[&[u8]]) -> Vec<Box<[u8]>> {
    if args.len() <= TRACE_ARGS_MAX {
        return args.iter().map(|arg| cut(arg)).collect();
    }
    let (first, more) = args.split_at(TRACE_ARGS_MAX - 1);
    let note = format!("... ({} more arguments)", more.len());
    first.iter().map(|arg| cut(arg)).chain([note.into_bytes().into()]).collect()
}

fn text_of<V: Event>(event: &V) -> Box<str> {
    let mut text = Cut::default();
    // An error says that it is long enough, and ends the writing of what may be large.
    let _ = match event.name() {
        Some(name) => write!(text, "{name} {event:?}"),
        None => write!(text, "{event:?}"),
    };
    text.finish()
}

/// The beginning of a text.
#[derive(Default)]
struct Cut {
    text: String,
    is_cut: bool,
}

impl Cut {
    fn finish(mut self) -> Box<str> {
        if self.is_cut {
            self.text.push_str("...");
        }
        self.text.into()
    }
}

impl Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = TRACE_TEXT_BYTES_MAX - self.text.len();
        if !self.is_cut && more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        if !self.is_cut {
            let end = (0..=room).rev().find(|at| more.is_char_boundary(*at)).unwrap_or(0);
            self.text.push_str(&more[..end]);
            self.is_cut = true;
        }
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests;
