//! What a process knows beside its keys. None of it is durable: after a restart it starts empty, and nothing is lost by that.

pub mod connections;
pub mod deferred;
pub mod holdings;
pub mod lock_interest;
pub mod passes;
pub mod quarantine;
pub mod schedule;
pub mod scrub_progress;
pub mod waiting;
pub mod waits;
pub mod watchers;

use super::host::Key;
use super::settings::{Setting, Settings};
use crate::domain::algorithm::splitmix::next_random;
use crate::domain::queues::Queues;
use crate::domain::value::time::Gaps;
use crate::domain::{AgentBinding, Clock, Connection, Error, KeyId, Millis, Service};
use crate::observe::{Metrics, Peers, Trace};
use connections::ConnectionIndex;
use deferred::DeferredWork;
use holdings::HoldingsIndex;
use lock_interest::LockInterest;
use passes::Passes;
use quarantine::Quarantine;
use schedule::Schedule;
use scrub_progress::Checks;
use std::collections::{BTreeSet, VecDeque};
use waits::Waits;
use watchers::Watchers;

/// The state of one server process.
#[derive(Debug, Default)]
pub struct Node {
    /// The time of the current command, and the source of fences.
    pub clock: Clock,
    /// The values in force.
    pub settings: Settings,
    /// The counters.
    pub metrics: Metrics,
    /// What was traced in debug mode.
    pub trace: Trace,
    /// What the other nodes of the cluster told of themselves.
    pub peers: Peers,
    /// What is due when.
    pub schedule: Schedule,
    /// Who waits.
    pub waits: Waits,
    /// Who waits for what.
    pub queues: Queues,
    /// In which keys agents of registries hold something.
    pub holdings: HoldingsIndex,
    /// Flows that wait for locks.
    pub lock_interest: LockInterest,
    /// How far one has come in keys of which something has to wait.
    pub passes: Passes,
    /// Who watches which keys.
    pub watchers: Watchers,
    /// Which keys have to hear of the end of a connection.
    pub connections: ConnectionIndex,
    /// What could not be done where it was noticed.
    pub deferred: VecDeque<DeferredWork>,
    /// Keys with which something is wrong.
    pub quarantine: Quarantine,
    /// How far the automatic check of all values has come.
    pub checks: Checks,
    /// Keys of services that are switched off, which the scheduler would have looked at.
    pub frozen: BTreeSet<KeyId>,
    /// Keys that give something up when the server is short of memory.
    pub evictable_keys: BTreeSet<KeyId>,
    /// When it is asked next whether it is, unix ms.
    pub memory_asked_at: Millis,
    /// How much of its memory was taken when that was asked last, in thousandths.
    pub memory_permille: u64,
    /// The key that the scheduler is looking at; still there after a panic.
    pub looking_at: Option<KeyId>,
    /// Whether this is a replica: it decides nothing.
    pub replica: bool,
    /// Since when this node decides about the keys it has, unix ms: it was started, promoted, or its keys were loaded.
    pub since: Millis,
    /// When it could hear nobody, though it ran.
    pub gaps: Gaps,
    /// Whether the server stopped without notice before: what is loaded from its files has to be told.
    pub recovers: bool,
    /// Where random choices come from.
    pub seed: u64,
    /// When the module was loaded, unix microseconds; names this process in [`Connection`].
    pub boot: u64,
    /// Added to the server's clock, ms: `LTMC.DEBUG CLOCK`.
    #[cfg(feature = "test-hooks")]
    pub clock_offset_ms: i64,
    /// So often the scheduler panics at its next looks: `LTMC.DEBUG SWEEP`.
    #[cfg(feature = "test-hooks")]
    pub panics_due: u64,
}

impl Node {
    /// The time of the current command, unix ms.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// A random number.
    pub fn random(&mut self) -> u64 {
        next_random(&mut self.seed)
    }

    /// The mode in force, in a word.
    pub fn mode_word(&self) -> &'static str {
        let mode = Setting::OrchestrationMode;
        mode.row().word(self.settings.get(mode) as i64).unwrap_or_default()
    }

    /// How long the module has been loaded.
    pub fn uptime_ms(&self) -> Millis {
        self.now().saturating_sub(self.boot / 1000)
    }

    /// Changes the setting with this place in the table; the server has checked its range.
    pub fn set(&mut self, index: usize, value: i64) {
        let before = self.settings.clone();
        self.settings.set_at(index, value);
        self.checks.rate_changed();
        for service in Service::ALL {
            match (before.is_enabled(*service), self.settings.is_enabled(*service)) {
                // Whoever waits for something of it is told.
                (true, false) => self.look_at_all_waited_for(|_| true),
                (false, true) => self.thaw(*service),
                _ => {}
            }
        }
    }

    /// A service is switched on again: it goes on where it was. Agents could not be heard of meanwhile, and tasks not have their locks.
    fn thaw(&mut self, service: Service) {
        std::mem::take(&mut self.frozen).into_iter().for_each(|key| self.look_at_soon(key));
        match service {
            Service::Registry => self.since = self.now(),
            Service::Lock => self.lock_interest.wake_all(&mut self.schedule),
            _ => {}
        }
    }

    /// Has `key` looked at in the next round of the scheduler.
    pub fn look_at_soon(&mut self, key: KeyId) {
        self.schedule.look_at(key, 0);
    }

    /// Has it asked soon whether the agents of a registry who hold something are still there.
    pub fn ask_for_agents(&mut self, registry: KeyId) {
        self.holdings.recheck(&registry);
        self.look_at_soon(registry);
    }

    /// The same of all registries.
    pub fn ask_for_all_agents(&mut self) {
        self.holdings.recheck_all().into_iter().for_each(|registry| self.look_at_soon(registry));
    }

    /// Whether somebody waits for `key`.
    #[inline]
    pub fn is_waited_for(&self, key: Key) -> bool {
        (!self.queues.is_empty() && self.queues.is_waited_for(&key.id())) || self.watchers.is_watched(key)
    }

    /// Whether nobody waits for anything.
    pub fn is_quiet(&self) -> bool {
        self.queues.is_empty() && self.watchers.is_empty()
    }

    /// Errs if `key` is in quarantine.
    pub fn check_quarantine(&self, key: Key) -> Result<(), Error> {
        self.quarantine.check(key)
    }

    /// Counts a panic, of a service if it is known of which.
    pub fn count_panic(&mut self, service: Option<Service>) {
        let now = self.now();
        self.metrics.count_panic(service, now);
    }

    /// A key was deleted, renamed, flushed or came into being by other means than our commands.
    pub fn key_changed(&mut self, key: KeyId) {
        self.quarantine.remove(&key);
        self.lock_interest.wake(&key, &mut self.schedule);
        self.holdings.recheck(&key);
        self.look_at_soon(key);
    }

    /// The value of `key` is gone, and with it its ties to `connections` and its bindings. The very command that found it expired may have taken
    /// the lock anew over the same connection, so the scheduler asks the key first. A replica only learns of it after the fact.
    pub fn value_gone(&mut self, key: KeyId, connections: Vec<Connection>, bindings: Vec<AgentBinding>) {
        if self.replica {
            connections.into_iter().for_each(|connection| self.connections.untie(connection, &key));
            bindings.iter().for_each(|binding| self.holdings.let_go(binding, &key));
            self.evictable_keys.remove(&key);
            // What stands there now, if a whole value came in its place, is noted anew.
            self.look_at_soon(key);
        } else {
            self.deferred.push_back(DeferredWork::ValueGone { key, connections, bindings });
        }
    }

    /// All keys of a database are gone.
    pub fn database_flushed(&mut self, db: Option<u32>) {
        let hit = |key: &KeyId| db.is_none_or(|db| key.db == db);
        self.quarantine.retain(|key| !hit(key));
        self.connections.retain(|key| !hit(key));
        self.holdings.retain(|key| !hit(key));
        self.frozen.retain(|key| !hit(key));
        self.passes.clear();
        self.evictable_keys.retain(|key| !hit(key));
        self.lock_interest.wake_all(&mut self.schedule);
        self.look_at_all_waited_for(hit);
    }

    /// Two databases changed places. Clients stay with the number of theirs.
    pub fn databases_swapped(&mut self, one: u32, other: u32) {
        self.schedule.swap(one, other);
        self.passes.clear();
        self.connections.swap(one, other);
        self.holdings.swap(one, other);
        for keys in [&mut self.frozen, &mut self.evictable_keys] {
            *keys = std::mem::take(keys).into_iter().map(|key| key.swapped(one, other)).collect();
        }
        self.lock_interest.wake_all(&mut self.schedule);
        self.quarantine.swap(one, other);
        self.look_at_all_waited_for(|key| key.db == one || key.db == other);
    }

    /// This node is now a replica, or a primary.
    pub fn role_changed(&mut self, replica: bool) {
        self.replica = replica;
        self.since = self.now();
        self.passes.clear();
        self.ask_for_all_agents();
        self.forget_foreign_connections();
    }

    /// Keys came from a file or from a primary in place of those that were there.
    pub fn keys_loaded(&mut self) {
        self.since = self.now();
        self.ask_for_all_agents();
        self.forget_foreign_connections();
        self.look_at_all_waited_for(|_| true);
    }

    /// The connections of other processes are gone for good: what is tied to them ends.
    pub fn forget_foreign_connections(&mut self) {
        if !self.deferred.contains(&DeferredWork::ForgetForeignConnections) {
            self.deferred.push_back(DeferredWork::ForgetForeignConnections);
        }
    }

    fn look_at_all_waited_for(&mut self, hit: impl Fn(&KeyId) -> bool) {
        let waited = self.queues.keys().chain(self.watchers.keys());
        let waited: Vec<KeyId> = waited.filter(|key| hit(key)).cloned().collect();
        waited.into_iter().for_each(|key| self.look_at_soon(key));
    }
}
