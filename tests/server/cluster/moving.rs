//! Slots that move while tasks, sessions and waiting clients need keys that no argument of a
//! command names. Such a key may be on the other node.

use crate::harness::*;
use crate::lock::unlock;
use crate::waiting::*;

const TRY_AGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";
/// A lease that does not end in a test.
const PX: &str = "PX 600000";

/// Two nodes, and a slot that moves from one to the other.
struct Move {
    cluster: Cluster,
    slot: u16,
    from: usize,
}

impl Move {
    #[track_caller]
    fn prepare() -> Move {
        let cluster = Cluster::start(2);
        let slot = cluster.slot("{t}");
        let from = cluster.owner(slot);
        Move { cluster, slot, from }
    }

    fn source(&self) -> &Server {
        &self.cluster.nodes[self.from]
    }

    fn target(&self) -> &Server {
        &self.cluster.nodes[1 - self.from]
    }

    fn begin(&self) {
        self.cluster.begin_migration(self.slot, self.from, 1 - self.from);
    }

    /// Moves one key.
    #[track_caller]
    fn key(&self, key: &str) {
        let port = self.target().port().to_string();
        self.source().cmd(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).ok();
    }

    /// Moves the remaining keys. Then the slot is at rest.
    fn finish(&self) {
        self.cluster.move_keys(self.slot, self.from, 1 - self.from);
        self.cluster.finish_migration(self.slot, 1 - self.from);
    }

    /// The slot stays where it was.
    fn call_off(&self) {
        for node in &self.cluster.nodes {
            node.run(&format!("CLUSTER SETSLOT {} STABLE", self.slot)).ok();
        }
    }

    /// A delay of at least this much. The number counts as a key, so it has to be one of the
    /// target's.
    #[track_caller]
    fn advance_clock_of_target(&self, ms: i64) {
        let is_there = |ms: &i64| self.cluster.owner(self.cluster.slot(&ms.to_string())) == 1 - self.from;
        set_clock(self.target(), (ms..).find(is_there).expect("every second number"));
    }

    /// What the target tells a client that was sent there from the source.
    #[track_caller]
    fn asking(&self, line: &str) -> Reply {
        let mut client = self.target().client();
        client.run("ASKING").ok();
        client.run(line)
    }
}

#[track_caller]
fn holders(server: &Server, lock: &str) -> Vec<String> {
    crate::lock::owners(server, lock, "holders")
}

/// The fence of a claim of the only task of `{t}:f`, whose lock is `{t}:l`.
#[track_caller]
fn claim(server: &Server, more: &str) -> i64 {
    server.run("LTMC.TASK.ADD {t}:f a p LOCKS 1 {t}:l").text();
    server.run(&format!("LTMC.TASK.CLAIM {{t}}:f ada {more}")).array()[0].get("fence").int()
}

#[test]
fn a_claim_does_not_grant_a_lock_that_is_held_on_the_source() {
    let on = Move::prepare();
    on.source().run("LTMC.TASK.ADD {t}:f a p LOCKS 1 {t}:l").text();
    on.source().run("LTMC.TASK.ADD {t}:f free p PRIORITY 0").text();
    on.source().run(&format!("LTMC.LOCK {{t}}:l bob {PX}")).int();
    on.begin();
    on.key("{t}:f");
    let claimed = on.asking("LTMC.TASK.CLAIM {t}:f ada COUNT 5");
    assert_eq!(claimed.array().len(), 1, "{claimed:?}");
    assert_eq!(claimed.array()[0].get("task").text(), "free", "it is passed over like one whose lock is held");
    let why = on.asking("LTMC.TASK.GET {t}:f a");
    assert_eq!(why.get("why").text(), "the lock {t}:l may be on another node");
    assert_eq!(holders(on.source(), "{t}:l"), ["bob"]);
    on.finish();
    assert_eq!(holders(on.target(), "{t}:l"), ["bob"]);
    assert_eq!(on.target().run("LTMC.TASK.GET {t}:f a").get("why").text(), "the lock {t}:l is held");
    assert_eq!(unlock(on.target(), "{t}:l", "bob"), 1);
    assert_eq!(on.target().run("LTMC.TASK.CLAIM {t}:f ada").array().len(), 1);
}

#[test]
fn a_claim_does_not_grant_a_lock_that_is_held_on_the_target() {
    let on = Move::prepare();
    on.source().run("LTMC.TASK.ADD {t}:f a p LOCKS 1 {t}:l").text();
    on.source().run(&format!("LTMC.LOCK {{t}}:l bob {PX}")).int();
    on.begin();
    on.key("{t}:l");
    assert_eq!(on.source().run("LTMC.TASK.CLAIM {t}:f ada").array(), []);
    // Nor one that was created there: the source sends away every client that asks for it.
    assert_eq!(on.asking("LTMC.UNLOCK {t}:l bob").int(), 1);
    assert_eq!(on.source().run(&format!("LTMC.LOCK {{t}}:l eve {PX}")).error_code(), "ASK");
    on.asking(&format!("LTMC.LOCK {{t}}:l eve {PX}")).int();
    assert_eq!(on.source().run("LTMC.TASK.CLAIM {t}:f ada").array(), []);
    on.finish();
    assert_eq!(holders(on.target(), "{t}:l"), ["eve"]);
    assert_eq!(on.target().run("LTMC.TASK.CLAIM {t}:f ada").array(), []);
}

#[test]
fn who_waits_for_a_task_gets_it_when_its_lock_has_been_found_to_be_free() {
    let on = Move::prepare();
    on.source().run("LTMC.TASK.ADD {t}:f a p LOCKS 1 {t}:l").text();
    on.begin();
    let mut waiter = on.source().client();
    on.source().block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.TASK.CLAIM {t}:f ada BLOCK 0".into());
    let sweeps = on.source().info_int("ltmc", "ltmc_swept_keys");
    wait_until("it is looked at again and again", || on.source().info_int("ltmc", "ltmc_swept_keys") > sweeps + 3);
    assert_eq!(waiting(on.source()), 1);
    on.call_off();
    assert_eq!(waiter.recv().array().len(), 1);
    assert_eq!(holders(on.source(), "{t}:l"), ["ada"]);
}

#[test]
fn workers_whose_locks_have_not_moved_with_their_flow_are_told_to_try_again() {
    let lines = |fence: i64| {
        [
            format!("LTMC.TASK.HEARTBEAT {{t}}:f a {fence}"),
            format!("LTMC.TASK.FAIL {{t}}:f a {fence} x RETRY"),
            format!("LTMC.TASK.COMPLETE {{t}}:f a {fence} r NEXT"),
            format!("LTMC.TASK.COMPLETE {{t}}:f a {fence} r"),
        ]
    };
    // The flow moves first.
    let on = Move::prepare();
    let fence = claim(on.source(), PX);
    on.begin();
    on.key("{t}:f");
    let before = on.target().debug_digest();
    for line in lines(fence) {
        assert_eq!(on.asking(&line).error(), TRY_AGAIN, "{line}");
    }
    assert_eq!(on.target().debug_digest(), before);
    on.key("{t}:l");
    on.asking(&format!("LTMC.TASK.HEARTBEAT {{t}}:f a {fence} PROGRESS 50")).ok();
    on.finish();
    assert_eq!(holders(on.target(), "{t}:l"), ["ada"]);
    on.target().run(&lines(fence)[3]).ok();
    assert_eq!(holders(on.target(), "{t}:l"), [""; 0]);

    // The lock moves first.
    let on = Move::prepare();
    let fence = claim(on.source(), PX);
    on.begin();
    on.key("{t}:l");
    for line in lines(fence) {
        assert_eq!(on.source().run(&line).error(), TRY_AGAIN, "{line}");
    }
    let mut client = on.source().client();
    client.run("MULTI").ok();
    client.run(&lines(fence)[3]).text();
    assert_eq!(client.run("EXEC").array()[0].error(), TRY_AGAIN);
    assert_eq!(on.source().run("LTMC.TASK.CANCEL {t}:f a").int(), 1, "a worker that is asked to stop keeps its locks");
    assert_eq!(on.source().run(&lines(fence)[1]).error(), TRY_AGAIN);
    on.finish();
    assert_eq!(holders(on.target(), "{t}:l"), ["ada"]);
    assert_eq!(on.target().run(&lines(fence)[1]).text(), "CANCELLED");
    assert_eq!(holders(on.target(), "{t}:l"), [""; 0]);
}

#[test]
fn a_lock_of_an_attempt_that_is_gone_for_good_holds_nobody_up_when_the_slot_is_at_rest() {
    let on = Move::prepare();
    let fence = claim(on.source(), PX);
    assert_eq!(on.source().run("LTMC.LOCK.BREAK {t}:l").int(), 1);
    on.begin();
    let complete = format!("LTMC.TASK.COMPLETE {{t}}:f a {fence} r");
    assert_eq!(on.source().run(&complete).error(), TRY_AGAIN, "nobody can know that it is gone");
    on.finish();
    on.target().run(&complete).ok();
}

#[test]
fn an_attempt_whose_lease_ends_while_its_lock_is_elsewhere_ends_when_both_are_together() {
    let on = Move::prepare();
    claim(on.source(), PX);
    on.begin();
    on.key("{t}:f");
    on.advance_clock_of_target(600_001);
    let sweeps = on.target().info_int("ltmc", "ltmc_swept_keys");
    wait_until("the lease is found to be over", || on.target().info_int("ltmc", "ltmc_swept_keys") > sweeps + 3);
    assert_eq!(on.asking("LTMC.TASK.GET {t}:f a").get("state").text(), "running");
    assert_eq!(holders(on.source(), "{t}:l"), ["ada"]);
    on.finish();
    wait_until("the attempt is over", || on.target().run("LTMC.TASK.GET {t}:f a").get("state").text() == "ready");
    assert_eq!(holders(on.target(), "{t}:l"), [""; 0]);
}

#[test]
fn a_crowd_of_attempts_whose_locks_are_elsewhere_stops_nothing_else_in_their_flow() {
    let on = Move::prepare();
    let source = on.source();
    for n in 0..300 {
        source.run(&format!("LTMC.TASK.ADD {{t}}:f a{n} p LOCKS 1 {{t}}:l{n}")).text();
    }
    assert_eq!(source.run("LTMC.TASK.CLAIM {t}:f ada COUNT 300 PX 2000").array().len(), 300);
    source.run("LTMC.TASK.ADD {t}:f free p").text();
    assert_eq!(source.run("LTMC.TASK.CLAIM {t}:f ada PX 2100").array().len(), 1);
    on.begin();
    (0..300).for_each(|n| on.key(&format!("{{t}}:l{n}")));
    let mut waiter = source.client();
    source.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.TASK.CLAIM {t}:f eve BLOCK 0".into());
    assert_eq!(waiter.recv().array()[0].get("task").text(), "free");
    assert_eq!(source.run("LTMC.FLOW.INFO {t}:f").get("running").int(), 301);
    on.call_off();
    wait_until("all are over", || source.run("LTMC.FLOW.INFO {t}:f").get("running").int() == 1);
}

/// A session that has ended on one node while a lock of it was on the other one.
fn ends_apart(first: &str) {
    let on = Move::prepare();
    on.source().run("LTMC.SESSION.CREATE {t}:s PARTICIPANTS 1 ada").int();
    on.source().run("LTMC.SESSION.OWN {t}:s {t}:l {t}:near {t}:gone").int();
    for lock in ["{t}:l", "{t}:near"] {
        on.source().run(&format!("LTMC.LOCK {lock} ada {PX}")).int();
    }
    on.begin();
    on.key(first);
    if first == "{t}:s" {
        on.key("{t}:near");
        assert_eq!(on.asking("LTMC.SESSION.END {t}:s").int(), 1);
        assert_eq!(on.asking("LTMC.LOCK.INFO {t}:near"), Reply::Nil, "what is here is given back at once");
        assert_eq!(holders(on.source(), "{t}:l"), ["ada"]);
    } else {
        assert_eq!(on.source().run("LTMC.SESSION.END {t}:s").int(), 1);
        assert_eq!(on.asking("LTMC.LOCK.INFO {t}:l").get("holders").array().len(), 1);
        let session = on.source().run("LTMC.SESSION.INFO {t}:s");
        assert_eq!(session.get("resources").array().len(), 2, "{session:?}");
        assert_eq!(session.get("status").text(), "terminated");
    }
    let swept = |node: &Server| node.info_int("ltmc", "ltmc_swept_keys");
    let owing = if first == "{t}:s" { on.target() } else { on.source() };
    let before = swept(owing);
    wait_until("it is asked again", || swept(owing) > before + 1);
    on.finish();
    let owed = || on.target().run("LTMC.SESSION.INFO {t}:s").get("resources").array().len();
    wait_until("nothing is owed any more", || owed() == 0);
    assert_eq!(on.target().run("EXISTS {t}:l {t}:near {t}:gone").int(), 0);
    for node in &on.cluster.nodes {
        assert_eq!(node.info_int("ltmc", "ltmc_panics"), 0);
    }
    let (before, start) = (swept(on.target()), std::time::Instant::now());
    wait_until("a while has passed", || start.elapsed().as_millis() > 500);
    assert!(swept(on.target()) < before + 5, "nothing is left to be looked at");
}

#[test]
fn a_session_shows_what_it_owes_when_its_grace_is_over() {
    let on = Move::prepare();
    let source = on.source();
    source.run("LTMC.SESSION.CREATE {t}:s PARTICIPANTS 1 ada").int();
    source.run("LTMC.SESSION.OWN {t}:s {t}:l").int();
    source.run(&format!("LTMC.LOCK {{t}}:l ada {PX}")).int();
    on.begin();
    on.key("{t}:l");
    assert_eq!(source.run("LTMC.SESSION.END {t}:s GRACE 1").int(), 1);
    // BADSTATE while the grace lasts.
    wait_until("its grace is over", || !source.run("LTMC.SESSION.TOUCH {t}:s").is_error());
    assert_eq!(source.run("LTMC.SESSION.TOUCH {t}:s").int(), 0);
    let session = source.run("LTMC.SESSION.INFO {t}:s");
    assert_eq!(session.get("resources").texts(), ["{t}:l"]);
    assert_eq!(source.run("LTMC.SESSION.STATUS {t}:s").text(), "terminated");
    assert_eq!(source.run("LTMC.SESSION.END {t}:s").int(), 0);
    on.finish();
    wait_until("it is gone", || on.target().run("EXISTS {t}:s {t}:l").int() == 0);
}

#[test]
fn a_session_goes_on_owing_a_lock_that_has_moved_ahead() {
    ends_apart("{t}:l");
}

#[test]
fn a_session_that_moves_ahead_takes_along_what_it_owes() {
    ends_apart("{t}:s");
}

#[test]
fn who_waits_as_an_agent_of_a_registry_that_has_moved_is_told_to_try_again_and_not_that_it_is_dead() {
    let on = Move::prepare();
    let source = on.source();
    source.run("CONFIG SET ltmc.orchestration-mode full").ok();
    source.run(&format!("LTMC.REGISTER {{t}}:agents ada {PX}")).int();
    let fence = claim(source, &format!("CAPS 0 REGISTRY {{t}}:agents {PX}"));
    source.run("LTMC.TASK.ADD {t}:f b p").text();
    source.run(&format!("LTMC.LOCK {{t}}:m bob {PX}")).int();
    // Mailboxes, and registries that are claimed from, that exist.
    source.run("LTMC.MSG.SEND {t}:mail bob TO 1 eve x").int();
    source.run(&format!("LTMC.REGISTER {{t}}:pool tool CAPACITY 1 {PX}")).int();
    let busy = source.run(&format!("LTMC.AGENT.CLAIM {{t}}:pool {PX}")).array()[1].int();
    let mut waiters = source.clients(4);
    let lines = [
        "LTMC.LOCK {t}:m ada REGISTRY {t}:agents BLOCK 0",
        "LTMC.MSG.RECV {t}:mail ada REGISTRY {t}:agents BLOCK 0",
        "LTMC.AGENT.CLAIM {t}:pool PX 1000 REF ada REGISTRY {t}:agents BLOCK 0",
        "LTMC.TASK.CLAIM {t}:f ada CAPS 1 x REGISTRY {t}:agents BLOCK 0",
    ];
    source.run("LTMC.FLOW.PAUSE {t}:f").int();
    source.block_in_turn(&mut waiters, |n| lines[n].into());
    on.begin();
    on.key("{t}:agents");
    assert_eq!(unlock(source, "{t}:m", "bob"), 1);
    source.run("LTMC.MSG.SEND {t}:mail bob TO 1 ada x").int();
    assert_eq!(source.run(&format!("LTMC.AGENT.RELEASE {{t}}:pool {busy}")).int(), 1);
    source.run("LTMC.FLOW.RESUME {t}:f").int();
    for (waiter, line) in waiters.iter_mut().zip(lines) {
        assert_eq!(waiter.recv().error(), TRY_AGAIN, "{line}");
    }
    let next = source.run(&format!("LTMC.TASK.COMPLETE {{t}}:f a {fence} r NEXT"));
    assert_eq!(next.error(), TRY_AGAIN);
    assert_eq!(source.run("LTMC.TASK.GET {t}:f a").get("state").text(), "running", "nothing has changed");
    on.finish();
    let target = on.target();
    let again = target.run("LTMC.TASK.CLAIM {t}:f ada REGISTRY {t}:agents");
    assert_eq!(again.array()[0].get("task").text(), "b");
}

#[test]
fn who_waits_for_several_locks_is_not_given_one_that_has_moved() {
    let on = Move::prepare();
    on.source().run(&format!("LTMC.LOCK {{t}}:j bob {PX}")).int();
    on.source().run(&format!("LTMC.LOCK {{t}}:k bob {PX}")).int();
    let mut waiter = on.source().client();
    on.source().block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.MLOCK ada 2 {t}:j {t}:k BLOCK 0".into());
    on.begin();
    on.key("{t}:k");
    assert_eq!(unlock(on.source(), "{t}:j", "bob"), 1);
    assert_eq!(waiter.recv().error(), TRY_AGAIN);
    on.finish();
    assert_eq!(holders(on.target(), "{t}:k"), ["bob"]);
    assert_eq!(holders(on.target(), "{t}:j"), [""; 0]);
}

#[test]
fn who_watches_several_keys_is_not_told_that_one_is_gone_that_has_moved() {
    let on = Move::prepare();
    for key in ["{t}:a", "{t}:b"] {
        on.source().run(&format!("LTMC.SESSION.SET {key} f v")).int();
    }
    let mut watcher = on.source().client();
    on.source()
        .block_in_turn(std::slice::from_mut(&mut watcher), |_| "LTMC.WATCH 2 {t}:a {t}:b SINCE $ $ BLOCK 0".into());
    on.begin();
    on.key("{t}:b");
    on.source().run("LTMC.SESSION.SET {t}:a f w").int();
    assert_eq!(watcher.recv_within(300), None);
    on.finish();
    assert_eq!(watcher.recv().error_code(), "MOVED");
    assert_idle(on.source());
}

#[test]
fn what_an_agent_held_that_is_gone_goes_back_even_if_its_lock_moved_ahead() {
    let on = Move::prepare();
    for node in &on.cluster.nodes {
        node.run("CONFIG SET ltmc.orchestration-mode full").ok();
    }
    for agent in ["ada", "eve"] {
        on.source().run(&format!("LTMC.REGISTER {{t}}:agents {agent} {PX}")).int();
    }
    claim(on.source(), &format!("CAPS 0 REGISTRY {{t}}:agents {PX}"));
    on.begin();
    on.key("{t}:l");
    assert_eq!(on.source().run("LTMC.DEREGISTER {t}:agents ada").int(), 1);
    let state = |node: &Server| node.run("LTMC.TASK.GET {t}:f a").get("state").text().to_string();
    assert_eq!(state(on.source()), "running", "its lock cannot be given back yet");
    on.finish();
    wait_until("the task is for others", || state(on.target()) == "ready");
    assert_eq!(holders(on.target(), "{t}:l"), [""; 0]);
}
