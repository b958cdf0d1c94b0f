//! What a process knows beside its keys. None of it is durable: it starts empty after a restart,
//! and nothing is lost by that.

pub mod audit;
pub mod connections;
pub mod deferred;
pub mod holdings;
pub mod key_interest;
pub mod passes;
pub mod quarantine;
pub mod recent;
pub mod schedule;
pub mod scrub_progress;
pub mod stopwatch;
pub mod turns;
pub mod waiting;
pub mod waits;
pub mod watchers;

use super::host::Key;
use super::settings::{Setting, Settings};
use crate::domain::algorithm::splitmix::next_random;
use crate::domain::queues::Queues;
use crate::domain::reactions::Remains;
use crate::domain::value::time::Gaps;
use crate::domain::{AgentBinding, Clock, Connection, Error, KeyId, Millis, Service};
use crate::observe::{Metrics, Peers, Trace};
use audit::Audit;
use connections::ConnectionIndex;
use deferred::DeferredWork;
use holdings::HoldingsIndex;
use key_interest::KeyInterest;
use passes::Passes;
use quarantine::Quarantine;
use recent::Recent;
use schedule::Schedule;
use scrub_progress::Checks;
use std::collections::{BTreeSet, VecDeque};
use stopwatch::Stopwatch;
use turns::Turns;
use waits::Waits;
use watchers::Watchers;

/// The state of one server process.
#[derive(Debug, Default)]
pub struct Node {
    /// The time of the current command, and the source of fences.
    pub clock: Clock,
    /// How long the current command or round has been at work.
    pub stopwatch: Stopwatch,
    /// The values in force.
    pub settings: Settings,
    /// The counters.
    pub metrics: Metrics,
    /// The commands that were traced in debug mode.
    pub trace: Trace,
    /// The audit records that are not handed over yet.
    pub audit: Audit,
    /// What the other nodes of the cluster reported about themselves.
    pub peers: Peers,
    /// When which key has to be looked at, and when which wait ends.
    pub schedule: Schedule,
    /// The clients that wait.
    pub waits: Waits,
    /// What each of them waits for, in order.
    pub queues: Queues,
    /// The keys in which agents of registries hold something.
    pub holdings: HoldingsIndex,
    /// The flows that wait for locks.
    pub key_interest: KeyInterest,
    /// The clients that took a grant again, which their owner had.
    pub retaken: Recent<BTreeSet<u64>>,
    /// Incarnations that took the place of a living one, and how many heartbeats without an epoch
    /// came since: two processes may use one name.
    pub contested: Recent<u64>,
    /// How far looks have come in keys in which something has to wait.
    pub passes: Passes,
    /// The clients that watch keys.
    pub watchers: Watchers,
    /// The keys that have to hear of the end of a connection.
    pub connections: ConnectionIndex,
    /// Work that could not be done where it was noticed.
    pub deferred: VecDeque<DeferredWork>,
    /// The services with long work that goes on in turns.
    pub turns: Turns,
    /// Keys with which something is wrong.
    pub quarantine: Quarantine,
    /// How far the automatic check of all values has come.
    pub checks: Checks,
    /// Keys that the scheduler skipped, since their service is switched off.
    pub frozen: BTreeSet<KeyId>,
    /// Keys that give something up when the server is short of memory.
    pub evictable_keys: BTreeSet<KeyId>,
    /// When to ask next whether the server is short of memory, unix ms.
    pub memory_asked_at: Millis,
    /// Memory use when that was asked last, in thousandths of the maximum.
    pub memory_permille: u64,
    /// The key that the scheduler is looking at. It is still set after a panic.
    pub looking_at: Option<KeyId>,
    /// Whether this is a replica: it decides nothing.
    pub replica: bool,
    /// Since when this node decides about its keys, unix ms: since its start, its promotion, or the
    /// load of its keys.
    pub since: Millis,
    /// Spans in which this process could hear nobody.
    pub gaps: Gaps,
    /// Whether the server stopped without notice before. Values loaded from its files are told of
    /// that.
    pub recovers: bool,
    /// While an RDB is loaded: what is left of its values if Redis drops them.
    pub loading: Option<Vec<(KeyId, Remains)>>,
    /// The state of the random numbers.
    pub seed: u64,
    /// When the module was loaded, unix microseconds. It names this process in [`Connection`].
    pub boot: u64,
    /// Added to the server's clock, ms: `LTMC.DEBUG CLOCK`.
    #[cfg(feature = "test-hooks")]
    pub clock_offset_ms: i64,
    /// How much was done in one go: `LTMC.DEBUG WORK`.
    #[cfg(feature = "test-hooks")]
    pub work: crate::command::engine::work::Seen,
    /// From how many steps on a thread does it: `LTMC.DEBUG OFFLOAD`.
    #[cfg(feature = "test-hooks")]
    pub offloaded_from: Option<usize>,
    /// How many of the scheduler's next looks panic: `LTMC.DEBUG SWEEP`.
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

    /// Changes the setting with this place in the table; the server has checked its range. Returns
    /// the services that it switches on.
    pub fn set(&mut self, index: usize, value: i64) -> Vec<Service> {
        let before = self.settings.clone();
        self.settings.set_at(index, value);
        self.checks.rate_changed();
        let is_changed = |service: &&Service| before.is_enabled(**service) != self.settings.is_enabled(**service);
        let changed: Vec<Service> = Service::ALL.iter().filter(is_changed).copied().collect();
        let (on, off): (Vec<_>, Vec<_>) = changed.into_iter().partition(|service| self.settings.is_enabled(*service));
        if !off.is_empty() {
            // Clients that wait for something of these services are told.
            self.look_at_all_waited_for(|_| true);
        }
        if !on.is_empty() {
            // What was due meanwhile continues.
            std::mem::take(&mut self.frozen).into_iter().for_each(|key| self.look_at_soon(key));
        }
        on
    }

    /// Schedules a look at `key` for the next round of the scheduler.
    pub fn look_at_soon(&mut self, key: KeyId) {
        self.schedule.look_at_once(key);
    }

    /// Schedules a check whether the agents that hold something are still in this registry.
    pub fn ask_for_agents(&mut self, registry: KeyId) {
        self.holdings.recheck(&registry);
        self.look_at_soon(registry);
    }

    /// The same for all registries.
    pub fn ask_for_all_agents(&mut self) {
        self.holdings.recheck_all().into_iter().for_each(|registry| self.look_at_soon(registry));
    }

    /// Whether a client waits for `key` or watches it.
    #[inline]
    pub fn is_waited_for(&self, key: Key) -> bool {
        (!self.queues.is_empty() && self.queues.is_waited_for(&key.id())) || self.watchers.is_watched(key)
    }

    /// Whether no client waits for anything.
    pub fn is_quiet(&self) -> bool {
        self.queues.is_empty() && self.watchers.is_empty()
    }

    /// Errs if `key` is in quarantine.
    pub fn check_quarantine(&self, key: Key) -> Result<(), Error> {
        self.quarantine.check(key)
    }

    /// Counts a panic, and charges it to a service if that is known.
    pub fn count_panic(&mut self, service: Option<Service>) {
        let now = self.now();
        self.metrics.count_panic(service, now);
    }

    /// Something other than our commands deleted, renamed, flushed or created `key`.
    pub fn key_changed(&mut self, key: KeyId) {
        self.quarantine.remove(&key);
        self.key_interest.wake(&key, &mut self.schedule);
        self.holdings.doubt_key(&key);
        self.holdings.recheck(&key);
        self.look_at_soon(key);
    }

    /// The value of `key` is gone, and with it its ties to `connections` and its bindings.
    ///
    /// The command that found it expired may have taken the lock again over the same connection, so
    /// the scheduler asks the key before it cuts these ties. A replica hears of all this after the
    /// fact.
    pub fn value_gone(&mut self, key: KeyId, connections: Vec<Connection>, bindings: Vec<AgentBinding>) {
        self.holdings.doubt();
        if self.replica {
            connections.into_iter().for_each(|connection| self.connections.untie(connection, &key));
            bindings.iter().for_each(|binding| self.holdings.let_go(binding, &key));
            self.evictable_keys.remove(&key);
            // If a whole value has replaced it, that is noted anew.
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
        self.key_interest.wake_all(&mut self.schedule);
        self.look_at_all_waited_for(hit);
    }

    /// Two databases changed places. Clients stay with their database number.
    pub fn databases_swapped(&mut self, one: u32, other: u32) {
        self.schedule.swap(one, other);
        self.passes.clear();
        self.connections.swap(one, other);
        self.holdings.swap(one, other);
        for keys in [&mut self.frozen, &mut self.evictable_keys] {
            *keys = std::mem::take(keys).into_iter().map(|key| key.swapped(one, other)).collect();
        }
        self.key_interest.wake_all(&mut self.schedule);
        self.quarantine.swap(one, other);
        self.waits.swap(one, other);
        let deferred = std::mem::take(&mut self.deferred).into_iter();
        self.deferred = deferred.flat_map(|work| work.swapped(one, other)).collect();
        self.look_at_all_waited_for(|key| key.db == one || key.db == other);
    }

    /// This node has become a replica or a primary.
    pub fn role_changed(&mut self, replica: bool) {
        self.replica = replica;
        self.since = self.now();
        self.holdings.doubt();
        self.passes.clear();
        self.ask_for_all_agents();
        self.forget_foreign_connections();
    }

    /// Keys from a file or from a primary have replaced those that were there.
    pub fn keys_loaded(&mut self) {
        self.since = self.now();
        self.holdings.doubt();
        self.ask_for_all_agents();
        self.forget_foreign_connections();
        self.look_at_all_waited_for(|_| true);
    }

    /// The connections of other processes will not come back: what is tied to them ends.
    pub fn forget_foreign_connections(&mut self) {
        let is_known = |work: &DeferredWork| matches!(work, DeferredWork::ForgetForeignConnections);
        if !self.deferred.iter().any(is_known) {
            self.deferred.push_back(DeferredWork::ForgetForeignConnections);
        }
    }

    fn look_at_all_waited_for(&mut self, hit: impl Fn(&KeyId) -> bool) {
        let waited = self.queues.keys().chain(self.watchers.keys());
        let waited: Vec<KeyId> = waited.filter(|key| hit(key)).cloned().collect();
        waited.into_iter().for_each(|key| self.look_at_soon(key));
    }
}
