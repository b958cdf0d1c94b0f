//! The state of the process, and the inbox for notes that arrive while it is in use.

use super::api::{memory_permille, Ctx};
use super::clock;
use super::{audit, counts, detached, timer};
use crate::command::engine::endings;
use crate::command::node::stopwatch::Stopwatch;
use crate::command::node::Node;
use crate::command::scheduler;
use crate::domain::queue::rank::WaiterId;
use crate::domain::reactions::Remains;
use crate::domain::{AgentBinding, Connection, KeyId};
use redis_module::raw as rm;
use std::cell::{Cell, RefCell, RefMut};

/// A note from a callback that must not touch the [`Node`] itself, since it may run in the
/// middle of a command.
#[derive(Debug)]
pub enum Note {
    /// A key of ours was removed, or created other than by a command of ours.
    KeyChanged(KeyId),
    /// A value that this process knows of was removed: with its connections and its bindings.
    ValueGone(KeyId, Vec<Connection>, Vec<AgentBinding>),
    /// A database was flushed, or all.
    Flushed(Option<u32>),
    /// A client disconnected.
    ClientGone(u64),
    /// A waiting client left or was unblocked with an error.
    WaiterGone(WaiterId),
    /// This node is now a replica, or a primary.
    Role {
        /// A replica.
        replica: bool,
    },
    /// Keys were loaded from a file or from a primary.
    Loaded,
}

/// What only Redis' main thread touches. The thread of the audit trail would find it empty.
struct Process {
    node: RefCell<Node>,
    inbox: RefCell<Vec<Note>>,
    /// Whether the removal of a key may matter: to a waiter, a connection, a quarantine, a binding.
    /// Saves the usual unlock a note.
    attentive: Cell<bool>,
    /// The server has not slept since the module was loaded.
    is_loading: Cell<bool>,
    /// A command of ours is deleting a key, and knows it.
    deleting: Cell<bool>,
    /// What is left of the value that left its key last. Redis says next if that key has expired.
    last_remains: RefCell<Option<(KeyId, Remains)>>,
    /// What is left of values that Redis has deleted by itself.
    expired: RefCell<Vec<(KeyId, Remains)>>,
}

thread_local! {
    static PROCESS: Process = Process {
        node: RefCell::default(),
        inbox: RefCell::default(),
        attentive: Cell::new(false),
        is_loading: Cell::new(true),
        deleting: Cell::new(false),
        last_remains: RefCell::new(None),
        expired: RefCell::default(),
    };
}

/// Creates the state of the process.
pub fn start(ctx: Ctx) {
    PROCESS.with(|process| {
        detached::keep(ctx);
        let mut node = process.node.borrow_mut();
        let now_us = clock::now_us();
        node.boot = now_us;
        node.seed = now_us;
        node.trace.set_clock(clock::monotonic_ns);
        node.stopwatch = Stopwatch::of(clock::monotonic_us);
        node.clock.set_now_us(now_us);
        node.recovers = !super::shutdown::was_orderly(ctx);
        node.role_changed(ctx.flags() & rm::REDISMODULE_CTX_FLAGS_SLAVE != 0);
    });
}

/// The server sleeps for the first time: its files have been loaded.
pub fn loading_has_ended() {
    PROCESS.with(|process| {
        if process.is_loading.replace(false) {
            if let Ok(mut node) = process.node.try_borrow_mut() {
                node.recovers = false;
            }
        }
    });
}

/// Hands over what was recorded in this tick for the audit trail.
pub fn hand_over_audit() {
    PROCESS.with(|process| {
        if let Ok(mut node) = process.node.try_borrow_mut() {
            audit::hand_over_records(&mut node.audit);
        }
    });
}

/// The server is about to sleep. If memory has become short in this tick, the
/// scheduler runs at once.
pub fn look_at_memory() {
    PROCESS.with(|process| {
        let Ok(mut node) = process.node.try_borrow_mut() else { return };
        if node.evictable_keys.is_empty() {
            return;
        }
        if memory_permille()
            .is_some_and(|permille| crate::command::scheduler::memory_pressure::memory_is_taken(&mut node, permille))
        {
            timer::arm(Some(0));
        }
    });
}

/// Runs `work` with the state at the current time, after the notes in the inbox were handled.
/// `None` if the state is in use, which the structure of the callbacks rules out.
pub fn with_node<T>(work: impl FnOnce(&mut Node) -> T) -> Option<T> {
    PROCESS.with(|process| {
        let mut node = process.node.try_borrow_mut().ok()?;
        set_time(&mut node);
        node.stopwatch.start(clock::asked_us());
        node.audit.is_full = audit::is_full();
        node.audit.drops = node.audit.is_full && (!node.settings.audit_blocks() || audit::is_overfull());
        take_in(process, &mut node);
        let result = work(&mut node);
        take_in(process, &mut node);
        if audit::is_long(&node.audit.batch) {
            audit::hand_over_records(&mut node.audit);
        }
        process.attentive.set(!node.is_quiet() || !node.quarantine.is_empty() || !node.holdings.is_empty());
        node.checks.has_values = counts::has_values();
        let next = scheduler::next_tick(&node);
        // Redis' timers do not follow a clock that was moved.
        #[cfg(feature = "test-hooks")]
        let next = next.map(|when| when.saturating_add_signed(-node.clock_offset_ms));
        timer::arm(next);
        Some(result)
    })
}

fn set_time(node: &mut Node) {
    let now = clock::now_us();
    #[cfg(feature = "test-hooks")]
    let now = now.saturating_add_signed(node.clock_offset_ms * 1000);
    node.clock.set_now_us(now);
    node.gaps = clock::gaps();
}

fn take_in(process: &Process, node: &mut RefMut<Node>) {
    for (key, remains) in process.expired.take() {
        endings::ended(node, key, remains);
    }
    if process.inbox.borrow().is_empty() {
        return;
    }
    for note in process.inbox.take() {
        match note {
            Note::KeyChanged(key) => node.key_changed(key),
            Note::ValueGone(key, connections, bindings) => node.value_gone(key, connections, bindings),
            Note::Flushed(db) => node.database_flushed(db),
            Note::ClientGone(client) => scheduler::client_gone(node, client),
            Note::WaiterGone(id) => scheduler::waiter_gone(node, id),
            Note::Role { replica } => node.role_changed(replica),
            Note::Loaded => node.keys_loaded(),
        }
    }
}

/// Leaves a note. The scheduler handles it in its next round, which comes at once.
pub fn note(note: Note) {
    PROCESS.with(|process| process.inbox.borrow_mut().push(note));
    timer::arm(Some(0));
}

/// Whether the removal of a key of ours may matter now.
pub fn cares_about_deletions() -> bool {
    PROCESS.with(|process| process.attentive.get() && !process.deleting.get())
}

/// Whether a command of ours is deleting a key.
pub fn is_own_deletion() -> bool {
    PROCESS.with(|process| process.deleting.get())
}

/// A value leaves its key, and this is left of it. Redis says next if the key has expired.
pub fn will_expire(remains: Option<(KeyId, Remains)>) {
    PROCESS.with(|process| *process.last_remains.borrow_mut() = remains);
}

/// A key has expired, or was evicted. Returns what its end is called.
pub fn has_expired(name: &[u8], db: u32) -> Option<&'static str> {
    let last = PROCESS.with(|process| process.last_remains.take());
    let (key, remains) = last.filter(|(key, _)| key.db == db && &*key.name == name)?;
    let event = remains.event;
    PROCESS.with(|process| process.expired.borrow_mut().push((key, remains)));
    timer::arm(Some(0));
    event
}

/// What is left of values that Redis has deleted by itself. It is taken in before anything else is
/// decided.
pub fn take_expired() -> Vec<(KeyId, Remains)> {
    PROCESS.with(|process| process.expired.take())
}

/// Whether something is tied to the connection of `client`. A client that ends in the middle of a
/// command of ours counts as tied.
pub fn is_tied(client: u64) -> bool {
    PROCESS.with(|process| match process.node.try_borrow() {
        Ok(node) => node.connections.has(Connection { boot: node.boot, client }),
        Err(_) => true,
    })
}

/// Runs `delete` and marks the deletion as our own.
pub fn own_deletion(delete: impl FnOnce()) {
    PROCESS.with(|process| {
        process.deleting.set(true);
        delete();
        process.deleting.set(false);
    });
}
