//! Two nodes of a cluster, and one slot that moves between them key by key and back. Whatever
//! happens meanwhile: no key is created on one node while it is on the other, running tasks hold
//! their locks, and ended tasks give all of them back.

use crate::driver::{run_all, History};
use crate::held::Held;
use crate::host::Value;
use crate::prng::Prng;
use crate::server::Server;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::domain::flow::Flow;
use ltmc::domain::lock::Lock;
use ltmc::domain::session::Session;
use ltmc::domain::{Code, Entity, Error, Fence, KeyId, Record};
use std::collections::BTreeSet;

const LOCKS: [&str; 3] = ["l0", "l1", "l2"];
const WORKERS: [&str; 2] = ["w0", "w1"];
/// Leases that end within a schedule, and one that does not, ms.
const LEASES_MS: [u64; 3] = [150, 700, 31_536_000_000];

fn id(key: &str) -> KeyId {
    KeyId::new(0, key.as_bytes())
}

/// A key on its way, with its copy on a replica.
type Moving = ((Value, Option<u64>), Option<Box<dyn Held>>);

struct World {
    nodes: [Server; 2],
    /// The node that owns the slot.
    owner: usize,
    is_open: bool,
    rng: Prng,
    history: History,
    tasks: u64,
    /// Locks that were taken by hand: where, and under which fence.
    by_hand: BTreeSet<(String, Fence)>,
    /// The resources of the session.
    owned: BTreeSet<String>,
    refused: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            nodes: [Server::new(), Server::new()],
            owner: 0,
            is_open: false,
            rng: Prng::new(seed),
            history: History::default(),
            tasks: 0,
            by_hand: BTreeSet::new(),
            owned: BTreeSet::new(),
            refused: 0,
        };
        world.history.seed = seed;
        world
    }

    fn now(&self) -> u64 {
        self.nodes[0].host.now
    }

    fn has(&self, at: usize, key: &str) -> bool {
        self.nodes[at].host.keys.contains_key(&id(key))
    }

    /// The node that runs a client's command on `key`: while the slot is open, the client is sent
    /// on if the key is not there.
    fn place_of(&self, key: &str) -> usize {
        match self.is_open && !self.has(self.owner, key) {
            true => 1 - self.owner,
            false => self.owner,
        }
    }

    fn run(&mut self, key: &str, line: &str) -> Result<Outcome, Error> {
        // The nodes share only the time. A later grant has a larger fence.
        self.nodes.iter_mut().for_each(|node| node.pass_ms(1));
        let at = self.place_of(key);
        self.history.note(format!("node {at}: {line}"));
        let before = self.shown(at);
        let outcome = self.nodes[at].try_run(1, line);
        if let Some(error) = outcome.as_ref().err().filter(|error| error.code == Code::TryAgain) {
            assert!(self.is_open, "{error} while the slot is at rest");
            assert!(self.shown(at) == before, "something has changed");
            self.refused += 1;
        }
        self.settle();
        outcome
    }

    /// All that a node has, without keys whose TTL has run out.
    fn shown(&mut self, at: usize) -> String {
        let host = &mut self.nodes[at].host;
        let keys: Vec<KeyId> = host.keys.keys().cloned().collect();
        keys.iter().for_each(|key| host.expire_if_needed(key));
        format!("{:?}", host.keys)
    }

    /// Does everything that is due. What has to wait for the slot must not keep the scheduler busy.
    fn settle(&mut self) {
        self.nodes.iter_mut().for_each(Server::settle);
    }

    fn pass_ms(&mut self, ms: u64) {
        self.history.note(format!("{ms} ms pass"));
        let end = self.now() + ms;
        while self.now() < end {
            let next = (self.now() + 20).min(end);
            self.nodes.iter_mut().for_each(|node| node.set_ms(next));
            self.settle();
        }
    }

    /// MIGRATE of one key.
    fn move_key(&mut self, key: &KeyId, from: usize) {
        self.history.note(format!("{key:?} leaves node {from}"));
        let node = &mut self.nodes[from];
        node.host.expire_if_needed(key);
        let Some(value) = node.host.keys.remove(key) else { return };
        let moving: Moving = (value, node.host.replica.remove(key));
        let connections = match &moving.0 .0 {
            Value::Ours(held) => held.connections(),
            Value::Foreign => Vec::new(),
        };
        node.node.value_gone(key.clone(), connections, Vec::new());
        node.node.key_changed(key.clone());
        let node = &mut self.nodes[1 - from];
        assert!(node.host.keys.insert(key.clone(), moving.0).is_none(), "{key:?} is on both nodes");
        node.host.replica.extend(moving.1.map(|copy| (key.clone(), copy)));
        node.node.key_changed(key.clone());
        self.settle();
    }

    fn open(&mut self, is_open: bool) {
        self.is_open = is_open;
        self.nodes.iter_mut().for_each(|node| node.host.is_slot_open = is_open);
    }

    /// Moves all keys to one node, which then owns the slot.
    fn close(&mut self, owner: usize) {
        let rest: Vec<KeyId> = self.nodes[1 - owner].host.keys.keys().cloned().collect();
        rest.iter().for_each(|key| self.move_key(key, 1 - owner));
        self.history.note(format!("the slot is at rest on node {owner}"));
        self.owner = owner;
        self.open(false);
        self.pass_ms(200);
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..3 if self.is_open => {
                let from = if self.rng.percent(70) { self.owner } else { 1 - self.owner };
                let keys: Vec<KeyId> = self.nodes[from].host.keys.keys().cloned().collect();
                if !keys.is_empty() {
                    let key = self.rng.pick(&keys).clone();
                    self.move_key(&key, from);
                }
            }
            3 if self.is_open => {
                let owner = self.rng.below(2) as usize;
                self.close(owner);
                self.check_at_rest();
            }
            0..4 => self.open(true),
            4..6 => {
                let ms = 1 + self.rng.below(300);
                self.pass_ms(ms);
            }
            6..8 => self.lock(),
            8..10 if !self.is_open => self.add(),
            8..13 => self.claim(),
            13..17 => self.go_on(),
            _ => self.session(),
        }
        self.check();
    }

    fn lock(&mut self) {
        let lock = *self.rng.pick(&LOCKS);
        if self.rng.percent(40) {
            self.run(lock, &format!("LTMC.UNLOCK {lock} ada ALL")).ok();
        } else if let Ok(Outcome::Reply(Reply::Integer(fence))) =
            self.run(lock, &format!("LTMC.LOCK {lock} ada NOREENTRANT PX {}", LEASES_MS[2]))
        {
            self.by_hand.insert((lock.into(), fence as Fence));
        }
    }

    /// Only while the slot is not moving: in an open slot the server demands all keys that a
    /// command names.
    fn add(&mut self) {
        self.tasks += 1;
        let locks = [LOCKS[self.rng.below(3) as usize], LOCKS[self.rng.below(3) as usize]];
        let line = format!("LTMC.TASK.ADD f t{} p RETRIES 1 LOCKS 2 {} {}", self.tasks, locks[0], locks[1]);
        self.run("f", &line).ok();
    }

    fn claim(&mut self) {
        let (worker, lease_ms) = (*self.rng.pick(&WORKERS), *self.rng.pick(&LEASES_MS));
        self.run("f", &format!("LTMC.TASK.CLAIM f {worker} COUNT 2 PX {lease_ms}")).ok();
    }

    /// A running task continues or ends.
    fn go_on(&mut self) {
        let running: Vec<(String, Fence)> = self.runs().into_iter().map(|run| (run.task, run.fence)).collect();
        if running.is_empty() {
            return;
        }
        let (task, fence) = self.rng.pick(&running).clone();
        let line = match self.rng.below(6) {
            0..2 => format!("LTMC.TASK.COMPLETE f {task} {fence} r"),
            2 => format!("LTMC.TASK.COMPLETE f {task} {fence} r NEXT"),
            3 => format!("LTMC.TASK.FAIL f {task} {fence} r"),
            4 => format!("LTMC.TASK.CANCEL f {task}"),
            _ => format!("LTMC.TASK.HEARTBEAT f {task} {fence}"),
        };
        self.run("f", &line).ok();
    }

    fn session(&mut self) {
        match self.rng.below(4) {
            0 => drop(self.run("s", "LTMC.SESSION.CREATE s PARTICIPANTS 1 ada")),
            1 if !self.is_open => {
                let lock = *self.rng.pick(&LOCKS);
                if self.run("s", &format!("LTMC.SESSION.OWN s {lock}")).is_ok() {
                    self.owned.insert(lock.into());
                }
            }
            2 => {
                if let Ok(Outcome::Reply(Reply::Integer(1))) = self.run("s", "LTMC.SESSION.END s GRACE 0") {
                    // A later lock is not taken back with it, so it no longer counts as owned.
                    let owned = std::mem::take(&mut self.owned);
                    self.by_hand.retain(|(lock, _)| !owned.contains(lock));
                }
            }
            _ => {}
        }
    }

    fn find<E: Entity>(&self, key: &str) -> Option<&Record<E>> {
        self.nodes.iter().find_map(|node| node.host.peek::<E>(&id(key)))
    }

    fn runs(&self) -> Vec<Running> {
        let Some(flow) = self.find::<Flow>("f") else { return Vec::new() };
        let running = flow.state.tasks().filter_map(|task| Some((task, task.run()?)));
        let show = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        running
            .map(|(task, run)| Running {
                task: show(&task.id),
                fence: run.fence,
                is_over: run.ends_at <= self.now(),
                locks: task.needs.locks.iter().map(|lock| show(lock)).zip(run.locks.iter().copied()).collect(),
            })
            .collect()
    }

    fn check(&self) {
        let [one, other] = self.nodes.each_ref().map(|node| node.host.keys.keys().collect::<BTreeSet<_>>());
        assert!(one.is_disjoint(&other), "{:?} are on both nodes", one.intersection(&other).collect::<Vec<_>>());
        let (runs, now) = (self.runs(), self.now());
        for (lock, fence) in runs.iter().filter(|run| !run.is_over).flat_map(|run| &run.locks) {
            let holds = self.find::<Lock>(lock).is_some_and(|stored| stored.state.is_current(*fence, now));
            assert!(holds, "a task runs without its lock {lock}");
        }
        let owing = self.find::<Session>("s").filter(|stored| stored.state.owes().is_some());
        for lock in LOCKS {
            let Some(stored) = self.find::<Lock>(lock) else { continue };
            for grant in stored.state.grants().iter().filter(|grant| !grant.is_expired(now)) {
                let held = (lock.to_string(), grant.fence);
                let is_known = self.by_hand.contains(&held) || runs.iter().any(|run| run.locks.contains(&held));
                let is_owed =
                    owing.is_some_and(|stored| stored.state.resources().keys().any(|name| **name == *lock.as_bytes()));
                assert!(is_known || is_owed, "{held:?} is held for nobody");
            }
        }
    }

    /// Some time after the slot has come to rest, nothing waits for it any more.
    fn check_at_rest(&self) {
        let owes = self.find::<Session>("s").is_some_and(|stored| stored.state.owes().is_some());
        assert!(!owes, "the session still owes something");
        assert!(self.runs().iter().all(|run| !run.is_over), "an attempt goes on beyond its lease");
    }
}

/// An attempt.
struct Running {
    task: String,
    fence: Fence,
    is_over: bool,
    locks: Vec<(String, Fence)>,
}

#[test]
fn no_lock_is_granted_or_forgotten_while_it_is_on_another_node() {
    let refused = std::cell::Cell::new(0);
    run_all(30_000, 1_000, |seed, steps| {
        let mut world = World::new(seed);
        (0..steps).for_each(|_| world.step());
        refused.set(refused.get() + world.refused);
    });
    assert!(refused.get() > 0, "nobody was told to try again");
}

#[test]
fn a_worker_that_waits_gets_its_task_when_the_slot_has_come_to_rest() {
    let mut server = Server::new();
    server.run(1, "LTMC.TASK.ADD f t p LOCKS 1 l");
    server.run(1, "LTMC.TASK.ADD f held p LOCKS 1 other");
    server.run(1, "LTMC.LOCK other bob");
    server.host.is_slot_open = true;
    assert_eq!(server.run(1, "LTMC.TASK.CLAIM f ada"), Outcome::Reply(Reply::Array(Vec::new())));
    let Outcome::Reply(Reply::Map(shown)) = server.run(1, "LTMC.TASK.GET f t") else { panic!("no map") };
    let why = shown.into_iter().find(|(name, _)| name == "why").map(|(_, why)| why);
    assert_eq!(why, Some(Reply::text("the lock l may be on another node")));
    server.waits(2, "LTMC.TASK.CLAIM f ada BLOCK 0");
    server.pass_ms(5_000);
    server.settle();
    assert!(server.answers().is_empty(), "nobody is served while the lock may be elsewhere");
    server.host.is_slot_open = false;
    server.pass_ms(101);
    server.settle();
    let answers = server.answers();
    assert!(matches!(&answers[..], [Ok(Reply::Array(tasks))] if tasks.len() == 1), "{answers:?}");
}

#[test]
fn a_lease_that_ends_while_the_slot_moves_is_waited_for_without_haste() {
    let mut server = Server::new();
    server.run(1, "LTMC.TASK.ADD f t p LOCKS 1 l");
    server.run(1, "LTMC.TASK.CLAIM f ada PX 1000");
    server.run(1, "LTMC.LOCK.BREAK l");
    server.host.is_slot_open = true;
    server.pass_ms(2_000);
    let looks = server.node.metrics.swept_keys;
    for _ in 0..10 {
        server.settle();
        server.pass_ms(100);
    }
    let looks = server.node.metrics.swept_keys - looks;
    assert!((5..=30).contains(&looks), "{looks} looks in a second");
    assert_eq!(server.host.peek::<Flow>(&id("f")).expect("it is there").state.index().running(), 1);
    // Something happens to the key, so it is looked at at once. What was postponed stays postponed.
    server.run(1, "LTMC.TASK.ADD f another p");
    server.settle();
    server.host.is_slot_open = false;
    server.pass_ms(101);
    server.settle();
    assert_eq!(server.host.peek::<Flow>(&id("f")).expect("it is there").state.index().running(), 0);
}

/// More than one round of the scheduler handles.
const CROWD: usize = 600;

/// A flow with many expired leases. Their locks are gone, so nobody knows where they are while the
/// slot moves.
fn crowd() -> Server {
    let mut server = Server::new();
    for nth in 0..CROWD {
        server.run(1, &format!("LTMC.TASK.ADD f a{nth} p RETRIES 0 LOCKS 1 l{nth}"));
    }
    // One claim takes no more than 512 locks.
    (0..2).for_each(|_| drop(server.run(1, &format!("LTMC.TASK.CLAIM f ada COUNT {} PX 1000", CROWD / 2))));
    (0..CROWD).for_each(|nth| drop(server.run(1, &format!("LTMC.LOCK.BREAK l{nth}"))));
    server
}

fn running(server: &Server) -> usize {
    server.host.peek::<Flow>(&id("f")).expect("it is there").state.index().running()
}

/// Lets as much time pass as the scheduler may need to go through all of them once.
fn pass(server: &mut Server) {
    for _ in 0..20 {
        server.pass_ms(10);
        server.settle();
    }
}

#[test]
fn what_has_to_wait_keeps_nothing_else_from_being_decided() {
    let mut server = crowd();
    server.run(1, "LTMC.TASK.ADD f free p");
    server.run(1, "LTMC.TASK.CLAIM f ada PX 1100");
    server.run(1, "LTMC.TASK.ADD f late p DELAY 1200");
    server.host.is_slot_open = true;
    server.waits(2, "LTMC.TASK.CLAIM f bob COUNT 1 BLOCK 0");
    server.waits(3, "LTMC.TASK.CLAIM f eve COUNT 1 BLOCK 0");
    server.pass_ms(2_000);
    server.settle();
    pass(&mut server);
    assert_eq!(server.answers().len(), 2, "what can be decided is for those who wait");
    assert_eq!(running(&server), CROWD + 2);
    // This continues, and the scheduler rests in between.
    for nth in 0..3 {
        server.run(1, &format!("LTMC.TASK.ADD f later{nth} p DELAY 100"));
        server.pass_ms(150);
        server.waits(4, "LTMC.TASK.CLAIM f eve BLOCK 0");
        pass(&mut server);
        assert_eq!(server.answers().len(), 1);
    }
    let looks = server.node.metrics.swept_keys;
    (0..5).for_each(|_| pass(&mut server));
    let looks = server.node.metrics.swept_keys - looks;
    assert!((15..=60).contains(&looks), "{looks} looks in a second");
    server.host.is_slot_open = false;
    pass(&mut server);
    assert_eq!(running(&server), 5, "at rest all of it is decided");
}

#[test]
fn a_flow_is_cancelled_even_if_attempts_in_it_have_to_wait() {
    let mut server = crowd();
    for nth in 0..2 * CROWD {
        server.run(1, &format!("LTMC.TASK.ADD f b{nth} p"));
    }
    server.host.is_slot_open = true;
    server.pass_ms(2_000);
    pass(&mut server);
    server.run(1, "LTMC.FLOW.CANCEL f");
    pass(&mut server);
    let flow = &server.host.peek::<Flow>(&id("f")).expect("it is there").state;
    assert_eq!((flow.index().open(), flow.has_begun()), (CROWD, false), "only those that have to wait are left");
}

#[test]
fn a_session_gives_back_what_is_here_even_if_much_that_it_owes_has_to_wait() {
    let mut server = Server::new();
    server.run(1, "LTMC.SESSION.CREATE s PARTICIPANTS 1 ada");
    for nth in 0..CROWD {
        server.run(1, &format!("LTMC.SESSION.OWN s l{nth}"));
    }
    for lock in ["near", "zone"] {
        server.run(1, &format!("LTMC.SESSION.OWN s {lock}"));
        server.run(1, &format!("LTMC.LOCK {lock} ada"));
    }
    server.host.is_slot_open = true;
    server.run(1, "LTMC.SESSION.END s GRACE 50");
    pass(&mut server);
    assert!(server.host.peek::<Lock>(&id("near")).is_none() && server.host.peek::<Lock>(&id("zone")).is_none());
    let session = |server: &Server| server.host.peek::<Session>(&id("s")).map(|stored| stored.state.resources().len());
    assert_eq!(session(&server), Some(CROWD));
    let looks = server.node.metrics.swept_keys;
    (0..5).for_each(|_| pass(&mut server));
    let looks = server.node.metrics.swept_keys - looks;
    assert!((15..=60).contains(&looks), "{looks} looks in a second");
    // Its grace has passed. It is shown as long as it still owes something.
    assert_eq!(server.run(1, "LTMC.SESSION.STATUS s"), Outcome::Reply(Reply::text("terminated")));
    assert!(matches!(server.run(1, "LTMC.SESSION.INFO s"), Outcome::Reply(Reply::Map(_))));
    assert_eq!(server.run(1, "LTMC.SESSION.GET s f"), Outcome::Reply(Reply::Nil));
    server.host.is_slot_open = false;
    pass(&mut server);
    assert_eq!(session(&server), None, "at rest all of it is given back");
    assert_eq!(server.run(1, "LTMC.SESSION.STATUS s"), Outcome::Reply(Reply::Nil));
}

#[test]
fn an_agent_that_is_gone_loses_what_can_be_given_back_even_if_much_has_to_wait() {
    let mut server = Server::new();
    server.run(1, "LTMC.REGISTER r ada PX 600000");
    for nth in 0..CROWD {
        server.run(1, &format!("LTMC.TASK.ADD f a{nth} p LOCKS 1 l{nth}"));
    }
    server.run(1, "LTMC.TASK.ADD f free p PRIORITY 0");
    for count in [CROWD / 2, CROWD / 2 + 1] {
        server.run(1, &format!("LTMC.TASK.CLAIM f ada REGISTRY r COUNT {count} PX 600000"));
    }
    (0..CROWD).for_each(|nth| drop(server.run(1, &format!("LTMC.LOCK.BREAK l{nth}"))));
    assert_eq!(running(&server), CROWD + 1);
    server.host.is_slot_open = true;
    server.run(1, "LTMC.DEREGISTER r ada");
    for _ in 0..3 {
        server.pass_ms(1_000);
        server.settle();
    }
    assert_eq!(running(&server), CROWD);
    server.host.is_slot_open = false;
    server.pass_ms(1_000);
    server.settle();
    assert_eq!(running(&server), 0);
}
