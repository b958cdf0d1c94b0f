//! The thread that writes the audit trail, and what the event loop shares with it.
//! [`crate::observe::audit`] says what the trail is.
//!
//! The event loop appends records to a queue. The thread sleeps until it is told, at the end of a
//! tick of the event loop, that the queue has something. It alone writes; a file is opened by the
//! event loop, so that a refusal can be answered.
//!
//! Lock order: [`TRAIL`], then [`QUEUE`]. The event loop takes the second for the time of an
//! append, and the first only for `LTMC.AUDIT` and settings. The thread holds the first while it
//! makes some lines, and never while it writes.

mod callers;
mod file;

pub use callers::caller;

use super::api::Ctx;
use super::contain::contain;
use crate::command::node::audit::Handed;
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::{Code, Error};
use crate::observe::audit::trail::Trail;
use crate::observe::audit::Figures;
use file::TrailFile;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many records may be in the queue.
const QUEUE_MAX: usize = 16_384;
/// With so many the thread is told before the end of the tick.
const QUEUE_LONG: usize = 1024;
/// How many records become lines without a pause in which others may have the trail.
const BATCH: usize = 256;
/// How many bytes of lines may wait for the file.
const UNWRITTEN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How soon to write again to a file that refused.
const RETRY: Duration = Duration::from_millis(500);
/// How long a shutdown waits for the file.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// What goes to the thread.
struct Queue {
    records: VecDeque<Handed>,
    /// Another file, or none.
    switch: Option<Switch>,
    /// Whether the thread sleeps until it is told.
    is_asleep: bool,
    /// Whether the event loop has made lines that are to be written.
    has_lines: bool,
    /// Whether the thread runs.
    is_started: bool,
    /// How many records were handed over, and how many of them are done with.
    handed: u64,
    done: u64,
}

/// From here on the lines go to another file.
struct Switch {
    /// What still belongs into the file before.
    lines: String,
    file: Option<TrailFile>,
}

static TRAIL: Mutex<Option<Trail>> = Mutex::new(None);
static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    records: VecDeque::new(),
    switch: None,
    is_asleep: false,
    has_lines: false,
    is_started: false,
    handed: 0,
    done: 0,
});
/// The queue has something.
static WAKE: Condvar = Condvar::new();
/// The thread is done with something.
static DONE: Condvar = Condvar::new();

static QUEUED: AtomicUsize = AtomicUsize::new(0);
static UNWRITTEN_BYTES: AtomicUsize = AtomicUsize::new(0);
static IS_FAILING: AtomicBool = AtomicBool::new(false);
static FAILURES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether the event loop has handed something over since the thread was told.
    static HAS_HANDED: Cell<bool> = const { Cell::new(false) };
}

/// A panic elsewhere leaves a trail that can go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The figures of the trail now.
pub fn figures() -> Figures {
    Figures {
        queued: QUEUED.load(Relaxed) as u64,
        unwritten_bytes: UNWRITTEN_BYTES.load(Relaxed) as u64,
        is_failing: IS_FAILING.load(Relaxed),
        failures: FAILURES.load(Relaxed),
    }
}

/// Whether nothing more can be taken.
pub fn is_full() -> bool {
    QUEUED.load(Relaxed) >= QUEUE_MAX || UNWRITTEN_BYTES.load(Relaxed) >= UNWRITTEN_BYTES_MAX
}

/// Whether not even what goes on while nothing more can be taken is recorded.
pub fn is_overfull() -> bool {
    QUEUED.load(Relaxed) >= 2 * QUEUE_MAX || UNWRITTEN_BYTES.load(Relaxed) >= 2 * UNWRITTEN_BYTES_MAX
}

/// Begins the trail of this process, in the file of the settings. Errs if that cannot be used.
pub fn start(ctx: Ctx, node: &mut Node) -> Result<(), String> {
    let run_id = ctx.server_info("server").text("run_id").unwrap_or_default();
    *lock(&TRAIL) = Some(Trail::new(run_id, node.settings.get(Setting::AuditRingMax) as usize));
    let path = node.settings.audit_file().to_string();
    if path.is_empty() {
        return Ok(());
    }
    match set_file(node, &path) {
        Err(refusal) if !node.settings.audit_blocks() => {
            // Nothing is held up by it, and LTMC.HEALTH shows it.
            IS_FAILING.store(true, Relaxed);
            FAILURES.fetch_add(1, Relaxed);
            ctx.log("warning", &format!("LTMC: ltmc.audit-file: {refusal}"));
            Ok(())
        }
        set => set.map_err(|refusal| format!("ltmc.audit-file: {refusal}")),
    }
}

/// Whether the trail of this process has begun: the settings of the start are read.
pub fn has_begun() -> bool {
    lock(&TRAIL).is_some()
}

/// Has the lines go to this file from now on, or to none. A trail that it holds goes on. Before
/// the trail begins, a file is only noted in the settings.
pub fn set_file(node: &mut Node, path: &str) -> Result<(), String> {
    if lock(&TRAIL).is_none() {
        return Ok(());
    }
    let (file, last) = match path {
        "" => (None, None),
        path => TrailFile::open(Path::new(path)).map(|(file, last)| (Some(file), last))?,
    };
    if let Some(last) = &last {
        node.audit.next = last.n + 1;
    }
    switch(file, last.map(|last| last.chain).as_deref());
    Ok(())
}

/// Opens the file of the settings anew: it was moved away.
pub fn rotate(node_file: &str) -> Result<(), Error> {
    if node_file.is_empty() {
        return Err(Error::new(Code::BadState, "there is no file of the audit trail: ltmc.audit-file is empty"));
    }
    let refused = |error| Error::new(Code::Err, format!("the file {node_file} cannot be opened: {error}"));
    let file = TrailFile::reopen(Path::new(node_file)).map_err(refused)?;
    switch(Some(file), None);
    Ok(())
}

fn switch(file: Option<TrailFile>, chain: Option<&str>) {
    let mut trail = lock(&TRAIL);
    let Some(trail) = trail.as_mut() else { return };
    make_lines(trail, usize::MAX);
    let mut lines = trail.take_unwritten();
    trail.has_file(file.is_some(), chain);
    let mut queue = lock(&QUEUE);
    // A switch that was not made yet passes on what belongs before it.
    let mut before = queue.switch.take().map(|before| before.lines).unwrap_or_default();
    before.push_str(&std::mem::take(&mut lines));
    queue.switch = Some(Switch { lines: before, file });
    start_thread(&mut queue);
    WAKE.notify_one();
}

/// Hands over what the node has recorded.
pub fn hand_over(node: &mut Node) {
    let records = std::mem::take(&mut node.audit.records);
    let mut queue = lock(&QUEUE);
    queue.handed += records.len() as u64;
    queue.records.extend(records);
    QUEUED.store(queue.records.len(), Relaxed);
    start_thread(&mut queue);
    if queue.records.len() >= QUEUE_LONG && queue.is_asleep {
        WAKE.notify_one();
    }
    HAS_HANDED.set(true);
}

/// The event loop is about to sleep: the thread is told what there is.
pub fn before_sleep() {
    if HAS_HANDED.replace(false) && lock(&QUEUE).is_asleep {
        WAKE.notify_one();
    }
}

/// The server shuts down: waits until everything is written.
pub fn finish(ctx: Ctx) {
    let deadline = Instant::now() + SHUTDOWN;
    let mut queue = lock(&QUEUE);
    WAKE.notify_one();
    while queue.done < queue.handed || queue.switch.is_some() {
        let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|_| queue.is_started) else {
            let missing = queue.handed - queue.done;
            return ctx.log("warning", &format!("LTMC: the last {missing} records of the audit trail are not written"));
        };
        queue = DONE.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Keeps so many records from now on.
pub fn keep(ring_max: usize) {
    lock(&TRAIL).iter_mut().for_each(|trail| trail.keep(ring_max));
}

/// Lends the trail, with everything that was handed over.
pub fn with_trail<T>(work: impl FnOnce(&mut Trail) -> T) -> T {
    let mut trail = lock(&TRAIL);
    let trail = trail.get_or_insert_default();
    make_lines(trail, usize::MAX);
    if trail.unwritten_bytes() > 0 {
        lock(&QUEUE).has_lines = true;
        WAKE.notify_one();
    }
    work(trail)
}

/// Makes lines of at most `max` records of the queue. Returns whether those were all.
fn make_lines(trail: &mut Trail, max: usize) -> bool {
    let (records, is_all) = {
        let mut queue = lock(&QUEUE);
        let count = queue.records.len().min(max);
        let records: Vec<Handed> = queue.records.drain(..count).collect();
        QUEUED.store(queue.records.len(), Relaxed);
        (records, queue.records.is_empty())
    };
    records.into_iter().for_each(|handed| trail.push(handed.finish()));
    UNWRITTEN_BYTES.store(trail.unwritten_bytes(), Relaxed);
    is_all
}

fn start_thread(queue: &mut Queue) {
    if !queue.is_started {
        let thread = std::thread::Builder::new().name("ltmc-audit".into());
        queue.is_started = thread.spawn(|| contain("the thread of the audit trail", run)).is_ok();
    }
}

/// What the thread does.
fn run() {
    let mut file: Option<TrailFile> = None;
    loop {
        let (switch, handed) = wait();
        if let Some(switch) = switch {
            let last =
                append(file.as_mut(), &switch.lines).and_then(|()| file.as_ref().map_or(Ok(()), TrailFile::sync));
            if let Err(error) = last {
                let bytes = switch.lines.len();
                log(&format!("LTMC: {bytes} bytes of the audit trail could not be written to its last file: {error}"));
            }
            file = switch.file;
        }
        let Some((lines, is_all)) = take_lines() else { continue };
        let written = append(file.as_mut(), &lines);
        if written.is_ok() && is_all {
            lock(&QUEUE).done = handed;
            DONE.notify_all();
        }
        finish_write(lines, written);
    }
}

/// Sleeps until there is something to do. While the file refuses, it is tried again after a pause.
fn wait() -> (Option<Switch>, u64) {
    let mut queue = lock(&QUEUE);
    let paused_until = IS_FAILING.load(Relaxed).then(|| Instant::now() + RETRY);
    loop {
        let pause = paused_until.map(|until| until.saturating_duration_since(Instant::now()));
        let is_due = match pause {
            Some(pause) => pause.is_zero(),
            None => !queue.records.is_empty() || queue.has_lines,
        };
        if is_due || queue.switch.is_some() {
            (queue.is_asleep, queue.has_lines) = (false, false);
            return (queue.switch.take(), queue.handed);
        }
        queue.is_asleep = true;
        queue = match pause {
            Some(pause) => WAKE.wait_timeout(queue, pause).unwrap_or_else(PoisonError::into_inner).0,
            None => WAKE.wait(queue).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Makes some lines and takes all that are to be written. Also says whether the queue is empty.
/// While the file refuses, the queue is left to fill up.
fn take_lines() -> Option<(String, bool)> {
    let mut trail = lock(&TRAIL);
    let trail = trail.as_mut()?;
    let is_all = make_lines(trail, if IS_FAILING.load(Relaxed) { 0 } else { BATCH });
    Some((trail.take_unwritten(), is_all))
}

fn append(file: Option<&mut TrailFile>, lines: &str) -> io::Result<()> {
    match file {
        Some(file) if !lines.is_empty() => file.append(lines),
        _ => Ok(()),
    }
}

/// Takes note of how a write ended. Lines that the file has refused are written later.
fn finish_write(lines: String, written: io::Result<()>) {
    if let Some(trail) = lock(&TRAIL).as_mut() {
        if written.is_err() {
            trail.give_back(lines);
        }
        UNWRITTEN_BYTES.store(trail.unwritten_bytes(), Relaxed);
    }
    let was_failing = IS_FAILING.swap(written.is_err(), Relaxed);
    match written {
        Err(error) => {
            FAILURES.fetch_add(1, Relaxed);
            if !was_failing {
                log(&format!("LTMC: the file of the audit trail refuses lines, they wait: {error}"));
            }
        }
        Ok(()) if was_failing => log("LTMC: the file of the audit trail takes lines again"),
        Ok(()) => {}
    }
}

/// The server's log takes lines from any thread.
fn log(text: &str) {
    Ctx(std::ptr::null_mut()).log("warning", text);
}
