//! The thread that writes the audit trail, and what the event loop shares with it.
//! [`crate::observe::audit`] says what the trail is.
//!
//! The event loop appends its records to a queue, a batch in each tick. The thread sleeps until it
//! is told of them. It alone writes; a file is opened by the event loop, so that a refusal can be
//! answered.
//!
//! Lock order: [`TRAIL`], then [`QUEUE`]. The event loop takes the second for the time of an
//! append, and the first only for `LTMC.AUDIT` and settings. The thread holds the first while it
//! makes some lines, and never while it writes.

pub mod callers;
mod file;

use super::api::Ctx;
use super::contain::contain;
use crate::command::node::audit::Audit;
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::{Code, Error};
use crate::observe::audit::batch::Batch;
use crate::observe::audit::trail::Trail;
use crate::observe::audit::Figures;
use file::TrailFile;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many records may be in the queue.
const QUEUE_MAX: usize = 16_384;
/// The event loop makes no more lines at a time.
const LINES_MAX: usize = 1024;
/// A batch of so many records is handed over before the end of the tick. The thread makes no more
/// lines without a pause in which others may have the trail.
const BATCH: usize = 256;
/// So do the texts of a batch, bytes.
const BATCH_BYTES: usize = 512 * 1024;
/// How many empty batches are kept for the next records.
const SPARE_MAX: usize = 2;
/// How many bytes may wait: of the records in the queue, and of lines for the file.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long the thread stays ready after its work. Meanwhile it need not be woken, which costs the
/// event loop a system call.
const LINGER: Duration = Duration::from_millis(2);
/// So much memory is kept for the next lines, bytes.
const LINES_BYTES: usize = 1024 * 1024;
/// How soon to write again to a file that refused.
const RETRY: Duration = Duration::from_millis(500);
/// How long a change of files waits for the file before.
const SWITCH: Duration = Duration::from_secs(1);
/// How long a shutdown waits for the file.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// What goes to the thread, in its order.
enum Item {
    Records(Batch),
    /// From here on the lines go elsewhere.
    Switch(Box<Switch>),
}

/// Another file, or none. A trail that it holds goes on where its chain ends.
struct Switch {
    file: Option<TrailFile>,
    chain: Option<String>,
}

struct Queue {
    items: VecDeque<Item>,
    /// How many of them are switches.
    switches: usize,
    /// Batches to be filled again.
    spare: Vec<Batch>,
    /// Whether the thread sleeps until it is told.
    is_asleep: bool,
    /// Whether the event loop has made lines that are to be written.
    has_lines: bool,
    /// Whether the thread runs.
    is_started: bool,
    /// How many records and switches were handed over, and how many of them are done with.
    handed: u64,
    done: u64,
}

static TRAIL: Mutex<Option<Trail>> = Mutex::new(None);
static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    items: VecDeque::new(),
    switches: 0,
    spare: Vec::new(),
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

/// The records in the queue, and the bytes of their texts.
static QUEUED: AtomicUsize = AtomicUsize::new(0);
static QUEUED_BYTES: AtomicUsize = AtomicUsize::new(0);
static UNWRITTEN_BYTES: AtomicUsize = AtomicUsize::new(0);
static IS_FAILING: AtomicBool = AtomicBool::new(false);
static FAILURES: AtomicU64 = AtomicU64::new(0);

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
    is_beyond(1)
}

/// Whether not even what goes on while nothing more can be taken is recorded.
pub fn is_overfull() -> bool {
    is_beyond(2)
}

fn is_beyond(times: usize) -> bool {
    let has = |count: &AtomicUsize, max: usize| count.load(Relaxed) >= times * max;
    has(&QUEUED, QUEUE_MAX) || has(&QUEUED_BYTES, BYTES_MAX) || has(&UNWRITTEN_BYTES, BYTES_MAX)
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
            let file = Some(TrailFile::unopened(Path::new(&path)));
            hand_over_switch(Switch { file, chain: None });
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
    if !has_begun() {
        return Ok(());
    }
    hand_over_records(&mut node.audit);
    let (file, last) = match path {
        "" => (None, None),
        path => {
            // It may be the file that is written now.
            wait_until_done(SWITCH);
            TrailFile::open(Path::new(path)).map(|(file, last)| (Some(file), last))?
        }
    };
    if let Some(last) = &last {
        node.audit.next = last.n + 1;
    }
    hand_over_switch(Switch { file, chain: last.map(|last| last.chain) });
    Ok(())
}

/// Opens the file of the settings anew: it was moved away.
pub fn rotate(audit: &mut Audit, path: &str) -> Result<(), Error> {
    if path.is_empty() {
        return Err(Error::new(Code::BadState, "there is no file of the audit trail: ltmc.audit-file is empty"));
    }
    let refused = |error: io::Error| Error::new(Code::Err, error.to_string());
    let file = TrailFile::reopen(Path::new(path)).map_err(refused)?;
    hand_over_records(audit);
    hand_over_switch(Switch { file: Some(file), chain: None });
    Ok(())
}

/// Whether a batch has to be handed over before the end of the tick.
#[inline]
pub fn is_long(batch: &Batch) -> bool {
    batch.len() >= BATCH || batch.bytes() >= BATCH_BYTES
}

/// Hands over what the node has recorded, unless a command is at it.
pub fn hand_over_records(audit: &mut Audit) {
    if audit.batch.is_empty() || !audit.is_complete() {
        return;
    }
    let mut queue = lock(&QUEUE);
    let batch = audit.take(queue.spare.pop().unwrap_or_default());
    QUEUED.fetch_add(batch.len(), Relaxed);
    QUEUED_BYTES.fetch_add(batch.bytes(), Relaxed);
    queue.handed += batch.len() as u64;
    hand_over(&mut queue, Item::Records(batch));
}

fn hand_over_switch(switch: Switch) {
    let mut queue = lock(&QUEUE);
    queue.switches += 1;
    queue.handed += 1;
    hand_over(&mut queue, Item::Switch(Box::new(switch)));
}

fn hand_over(queue: &mut Queue, item: Item) {
    queue.items.push_back(item);
    if !queue.is_started {
        let thread = std::thread::Builder::new().name("ltmc-audit".into());
        queue.is_started = thread.spawn(|| contain("the thread of the audit trail", run)).is_ok();
    }
    if queue.is_asleep {
        WAKE.notify_one();
    }
}

/// The server shuts down: waits until everything is written.
pub fn finish(ctx: Ctx) {
    let missing = wait_until_done(SHUTDOWN);
    if missing > 0 {
        ctx.log("warning", &format!("LTMC: the last {missing} records of the audit trail are not written"));
    }
}

/// Waits until everything is written, and no longer than `limit`, and not for a file that refuses.
/// Returns how much is left.
fn wait_until_done(limit: Duration) -> u64 {
    let deadline = Instant::now() + limit;
    let mut queue = lock(&QUEUE);
    WAKE.notify_one();
    while queue.done < queue.handed && queue.is_started && !IS_FAILING.load(Relaxed) {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
        queue = DONE.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    queue.handed - queue.done
}

/// Keeps so many records from now on.
pub fn keep(ring_max: usize) {
    lock(&TRAIL).iter_mut().for_each(|trail| trail.keep(ring_max));
}

/// Lends the trail with what was handed over. If the thread is far behind, the newest may still
/// be missing.
pub fn with_trail<T>(audit: &mut Audit, work: impl FnOnce(&mut Trail) -> T) -> T {
    hand_over_records(audit);
    let mut trail = lock(&TRAIL);
    let trail = trail.get_or_insert_default();
    make_lines(trail, LINES_MAX);
    if trail.unwritten_bytes() > 0 {
        lock(&QUEUE).has_lines = true;
        WAKE.notify_one();
    }
    work(trail)
}

/// Makes lines of about `max` records of the queue, up to the next switch of files.
fn make_lines(trail: &mut Trail, max: usize) {
    let mut made = 0;
    while made < max {
        let Some(mut batch) = take_batch() else { break };
        QUEUED.fetch_sub(batch.len(), Relaxed);
        QUEUED_BYTES.fetch_sub(batch.bytes(), Relaxed);
        batch.records().for_each(|record| trail.push(&record));
        made += batch.len();
        batch.clear();
        let spare = &mut lock(&QUEUE).spare;
        if spare.len() < SPARE_MAX {
            spare.push(batch);
        }
    }
    UNWRITTEN_BYTES.store(trail.unwritten_bytes(), Relaxed);
}

/// Takes a batch that comes next.
fn take_batch() -> Option<Batch> {
    match take_next(&mut lock(&QUEUE), |item| matches!(item, Item::Records(_)))? {
        Item::Records(batch) => Some(batch),
        Item::Switch(_) => None,
    }
}

/// Takes the next item if it is of the kind.
fn take_next(queue: &mut Queue, is_it: impl FnOnce(&Item) -> bool) -> Option<Item> {
    queue.items.front().is_some_and(is_it).then(|| queue.items.pop_front()).flatten()
}

/// What the thread does.
fn run() {
    let mut file: Option<TrailFile> = None;
    loop {
        let handed = wait();
        let Some(mut lines) = take_lines() else { continue };
        let written = append(file.as_mut(), &mut lines);
        let is_written = written.is_ok();
        finish_write(lines, written);
        if let Some(next) = take_switch() {
            switch(&next, file.as_mut());
            file = next.file;
        }
        let mut queue = lock(&QUEUE);
        if is_written && queue.items.is_empty() {
            queue.done = handed;
            DONE.notify_all();
        }
    }
}

/// Sleeps until there is something to do. While the file refuses, it is tried again after a pause.
/// Returns how much has been handed over.
fn wait() -> u64 {
    let mut queue = lock(&QUEUE);
    let paused_until = IS_FAILING.load(Relaxed).then(|| Instant::now() + RETRY);
    if queue.items.is_empty() && !queue.has_lines {
        queue = WAKE.wait_timeout(queue, LINGER).unwrap_or_else(PoisonError::into_inner).0;
    }
    loop {
        let pause = paused_until.map(|until| until.saturating_duration_since(Instant::now()));
        let is_due = match pause {
            Some(pause) => pause.is_zero(),
            None => !queue.items.is_empty() || queue.has_lines,
        };
        if is_due || queue.switches > 0 {
            (queue.is_asleep, queue.has_lines) = (false, false);
            return queue.handed;
        }
        queue.is_asleep = true;
        queue = match pause {
            Some(pause) => WAKE.wait_timeout(queue, pause).unwrap_or_else(PoisonError::into_inner).0,
            None => WAKE.wait(queue).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Makes some lines and takes all that are to be written. While the file refuses, the queue is left
/// to fill up, unless another file is to come.
fn take_lines() -> Option<Vec<u8>> {
    let mut trail = lock(&TRAIL);
    let trail = trail.as_mut()?;
    let is_left = IS_FAILING.load(Relaxed) && lock(&QUEUE).switches == 0;
    make_lines(trail, if is_left { 0 } else { BATCH });
    Some(trail.take_unwritten())
}

/// Takes a switch that comes next.
fn take_switch() -> Option<Switch> {
    let mut queue = lock(&QUEUE);
    match take_next(&mut queue, |item| matches!(item, Item::Switch(_)))? {
        Item::Switch(switch) => {
            queue.switches -= 1;
            Some(*switch)
        }
        Item::Records(_) => None,
    }
}

/// From here on the lines go to another file. What the one before refuses goes into the next, if
/// that has no trail of its own.
fn switch(next: &Switch, before: Option<&mut TrailFile>) {
    let mut lines = {
        let mut trail = lock(&TRAIL);
        let Some(trail) = trail.as_mut() else { return };
        // The event loop may have made lines since the last write.
        let lines = trail.take_unwritten();
        trail.has_file(next.file.is_some(), next.chain.as_deref());
        lines
    };
    let written = match before {
        Some(file) => append(Some(&mut *file), &mut lines).and_then(|()| file.sync()),
        None => Ok(()),
    };
    if let Err(error) = written {
        let goes_on = next.file.is_some() && next.chain.is_none();
        let fate = if goes_on { "go into the next one" } else { "are lost" };
        let bytes = lines.len();
        log(&format!("LTMC: the last file of the audit trail is left, {bytes} bytes for it {fate}: {error}"));
        lock(&TRAIL).iter_mut().filter(|_| goes_on).for_each(|trail| trail.give_back(lines.clone()));
    }
    UNWRITTEN_BYTES.store(lock(&TRAIL).as_ref().map_or(0, Trail::unwritten_bytes), Relaxed);
    let is_open = next.file.as_ref().is_none_or(TrailFile::is_open);
    IS_FAILING.store(!is_open, Relaxed);
    lock(&QUEUE).has_lines = true;
}

fn append(file: Option<&mut TrailFile>, lines: &mut Vec<u8>) -> io::Result<()> {
    match file {
        Some(file) if !lines.is_empty() => file.append(lines),
        _ => Ok(()),
    }
}

/// Takes note of how a write ended. Lines that the file has refused are written later.
fn finish_write(mut lines: Vec<u8>, written: io::Result<()>) {
    if let Some(trail) = lock(&TRAIL).as_mut() {
        if written.is_ok() {
            lines.clear();
            lines.shrink_to(LINES_BYTES);
        }
        trail.give_back(lines);
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
