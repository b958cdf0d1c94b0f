//! The state of the process, and the inbox for what is noticed while it is in use.

use super::api::{memory_permille, Ctx};
use super::clock;
use super::{counts, detached, timer};
use crate::command::node::Node;
use crate::command::scheduler;
use crate::domain::queue::rank::WaiterId;
use crate::domain::{AgentBinding, Connection, KeyId};
use redis_module::raw as rm;
use std::cell::{Cell, RefCell, RefMut};

/// Something a callback noticed that must not touch the [`Node`] itself: it may run in the middle of a command.
#[derive(Debug)]
pub enum Note {
    /// A key of ours is gone, or one came into being other than by a command of ours.
    KeyChanged(KeyId),
    /// A value is gone that this process knows of: with its ties to connections and its bindings.
    ValueGone(KeyId, Vec<Connection>, Vec<AgentBinding>),
    /// A database was flushed, or all.
    Flushed(Option<u32>),
    /// Two databases changed places.
    Swapped(u32, u32),
    /// A client disconnected.
    ClientGone(u64),
    /// A waiting client is gone or was unblocked with an error.
    WaiterGone(WaiterId),
    /// This node is now a replica, or a primary.
    Role {
        /// A replica.
        replica: bool,
    },
    /// Keys were loaded from a file or from a primary.
    Loaded,
}

/// What only Redis' main thread touches. Other threads (none of ours exist) would find it empty.
struct Process {
    node: RefCell<Node>,
    inbox: RefCell<Vec<Note>>,
    /// Whether somebody could care that a key goes away: a waiter, a tie, a quarantine, a binding. Spares the usual unlock a note.
    attentive: Cell<bool>,
    /// The server has not slept yet since the module was loaded.
    is_loading: Cell<bool>,
    /// A key is being deleted by a command of ours, which knows.
    deleting: Cell<bool>,
}

thread_local! {
    static PROCESS: Process = Process {
        node: RefCell::default(),
        inbox: RefCell::default(),
        attentive: Cell::new(false),
        is_loading: Cell::new(true),
        deleting: Cell::new(false),
    };
}

/// Begins the life of the process' state.
pub fn start(ctx: Ctx) {
    PROCESS.with(|process| {
        detached::keep(ctx);
        let mut node = process.node.borrow_mut();
        let now_us = clock::now_us();
        node.boot = now_us;
        node.seed = now_us;
        node.trace.set_clock(clock::monotonic_ns);
        node.clock.set_now_us(now_us);
        node.recovers = !super::shutdown::was_orderly(ctx);
        node.role_changed(ctx.flags() & rm::REDISMODULE_CTX_FLAGS_SLAVE != 0);
    });
}

/// The server sleeps for the first time: what its files hold has been loaded.
pub fn loading_is_over() {
    PROCESS.with(|process| {
        if process.is_loading.replace(false) {
            if let Ok(mut node) = process.node.try_borrow_mut() {
                node.recovers = false;
            }
        }
    });
}

/// The server is about to sleep: if memory has become short in this tick, the scheduler runs at once.
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

/// Runs `work` with the state, at the current time, after what lies in the inbox has been taken in. `None` if the state is in use,
/// which the structure of the callbacks rules out.
pub fn with_node<T>(work: impl FnOnce(&mut Node) -> T) -> Option<T> {
    PROCESS.with(|process| {
        let mut node = process.node.try_borrow_mut().ok()?;
        set_time(&mut node);
        take_in(process, &mut node);
        let result = work(&mut node);
        take_in(process, &mut node);
        process.attentive.set(!node.is_quiet() || !node.quarantine.is_empty() || !node.holdings.is_empty());
        node.checks.has_values = counts::has_values();
        let next = scheduler::next_tick(&node);
        // Redis' timers know nothing of a clock that was moved.
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
    if process.inbox.borrow().is_empty() {
        return;
    }
    for note in process.inbox.take() {
        match note {
            Note::KeyChanged(key) => node.key_changed(key),
            Note::ValueGone(key, connections, bindings) => node.value_gone(key, connections, bindings),
            Note::Flushed(db) => node.database_flushed(db),
            Note::Swapped(one, other) => node.databases_swapped(one, other),
            Note::ClientGone(client) => scheduler::client_gone(node, client),
            Note::WaiterGone(id) => scheduler::waiter_gone(node, id),
            Note::Role { replica } => node.role_changed(replica),
            Note::Loaded => node.keys_loaded(),
        }
    }
}

/// Leaves a note; the scheduler takes it in with its next round, which comes at once.
pub fn note(note: Note) {
    PROCESS.with(|process| process.inbox.borrow_mut().push(note));
    timer::arm(Some(0));
}

/// Whether anybody could care that a key of ours goes away now.
pub fn cares_about_deletions() -> bool {
    PROCESS.with(|process| process.attentive.get() && !process.deleting.get())
}

/// Whether something is tied to the connection of `client`. A client that ends in the middle of a command of ours counts as tied.
pub fn is_tied(client: u64) -> bool {
    PROCESS.with(|process| match process.node.try_borrow() {
        Ok(node) => node.connections.has(Connection { boot: node.boot, client }),
        Err(_) => true,
    })
}

/// Runs `delete` in the knowledge that the deletion is our own.
pub fn own_deletion(delete: impl FnOnce()) {
    PROCESS.with(|process| {
        process.deleting.set(true);
        delete();
        process.deleting.set(false);
    });
}
