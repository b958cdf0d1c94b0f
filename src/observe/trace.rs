//! The trace of debug mode: what each command did, how long each of its stages took, what followed
//! from it, and who was woken.
//!
//! One stopwatch runs through a command: [`Trace::at`] ends a stage and begins the next, so the
//! stages add up to the whole. Outside debug mode no trace is open, and each mark costs one branch.
//! The cost of tracing itself is not counted.

use crate::domain::algorithm::room::GiveBack;
use crate::domain::limits::{
    TRACE_ARGS_MAX, TRACE_ARG_BYTES_MAX, TRACE_BYTES_MAX, TRACE_EVENTS_MAX, TRACE_TEXT_BYTES_MAX, TRACE_WOKEN_MAX,
};
use crate::domain::{Change, Db, Event, KeyId, Millis};
use std::collections::VecDeque;
use std::fmt::{self, Write};

/// The name of a traced round of the scheduler.
pub const SCHEDULER: &str = "(scheduler)";

/// The stages of a command. All but the first and the last may come several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The checks of every command: arity, switches, role.
    Check,
    /// The handler reads its arguments and decides.
    Decide,
    /// Events are encoded for replicas and the AOF.
    Replicate,
    /// Events change the value.
    Apply,
    /// Subscribers and counters are updated.
    Notify,
    /// Waiting clients are served.
    Wake,
    /// The encoded events are handed to the server, and keys are closed.
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
    /// The elements that are kept.
    pub kept: Vec<T>,
    /// How many are not kept.
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
    /// The name of its notification, if it has one, and its content.
    pub text: Box<str>,
    /// Whether it is a follow-up: it is about a key that the command did not name, a client that
    /// waited, or what an agent that is gone had held.
    pub is_follow_up: bool,
}

/// A command or a round of the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Grows with each trace.
    pub id: u64,
    /// When it began, unix ms.
    pub at: Millis,
    /// The server's id of the client; 0 for the scheduler, and for scripts and inner calls.
    pub client: u64,
    /// The database.
    pub db: Db,
    /// The command, or [`SCHEDULER`].
    pub name: &'static str,
    /// Its arguments, or the key that the round looked at.
    pub args: Vec<Box<[u8]>>,
    /// How it ended.
    pub outcome: Box<str>,
    /// The events.
    pub events: First<Happened>,
    /// The woken clients, each with a key that it waited for.
    pub woken: First<(u64, Box<[u8]>)>,
    spent_ns: [u64; Stage::ALL.len()],
}

impl Traced {
    /// How long a stage took, microseconds.
    pub fn stage_us(&self, stage: Stage) -> u64 {
        self.spent_ns[stage as usize] / 1000
    }

    /// How long it took, microseconds.
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

/// The beginning of a trace.
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
    /// The stage to return to.
    pub stage: Stage,
    /// Whether it is a follow-up of what the command was for.
    pub follows: bool,
}

/// A trace in progress.
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
            // Deferred work is about the key that it changes first.
            self.keys.push(KeyId::new(db, key));
            (self.traced.db, self.traced.args) = (db, vec![cut(key)]);
        }
        let is_named = self.keys.iter().any(|named| named.db == db && named.name[..] == *key);
        let is_follow_up = !is_named || self.base.follows;
        self.traced.events.push(TRACE_EVENTS_MAX, || Happened { key: cut(key), text: text_of(event), is_follow_up });
    }
}

/// The traces of a node, and the one in progress.
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
    /// Sets the clock that it measures by: monotonic nanoseconds.
    pub fn set_clock(&mut self, clock: fn() -> u64) {
        self.clock = clock;
    }

    /// Whether a trace is in progress.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Begins the trace of a command. One that was never ended is dropped.
    pub fn begin(&mut self, beginning: Beginning) {
        self.open_at(Stage::Check, beginning);
    }

    /// Begins the trace of a round of the scheduler that looks at `key`. Without a key, it is about
    /// the first key that the round changes.
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

    /// A change was made: returns to what went on before it.
    #[inline]
    pub fn back(&mut self) {
        if let Some(open) = &self.open {
            self.mark(open.base.stage);
        }
    }

    /// Something else goes on from here. Returns what went on before, to be set again.
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

    /// Records an event of a key.
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

    /// Records a woken client that waited for a key. A watcher may be woken more than once.
    pub fn woken(&mut self, client: u64, key: &[u8]) {
        if let Some(open) = &mut self.open {
            let (woken, pair) = (&mut open.traced.woken, (client, cut(key)));
            if !woken.kept.contains(&pair) {
                woken.push(TRACE_WOKEN_MAX, || pair);
            }
        }
    }

    /// Ends the trace. At most `max` traces are kept.
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

    /// Ends the trace of a round of the scheduler. It is kept if the round has changed anything.
    pub fn end_round(&mut self, max: usize) -> Option<&Traced> {
        if self.open.as_ref().is_some_and(|open| open.traced.events.count() == 0) {
            self.open = None;
        }
        self.end("ok", max)
    }

    /// Drops the oldest until there are at most `max`, and not too many bytes.
    pub fn keep(&mut self, max: usize) {
        while self.ring.len() > max || (self.bytes > TRACE_BYTES_MAX && self.ring.len() > 1) {
            self.bytes -= self.ring.pop_front().map_or(0, |oldest| oldest.bytes());
        }
        self.ring.give_back_room();
    }

    /// The kept traces, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Traced> {
        self.ring.iter().rev()
    }

    /// The number of kept traces.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Drops all of them.
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
    // An error means that the text is long enough, and ends writing what may be large.
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
