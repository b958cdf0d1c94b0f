//! A wait that could never end is refused before it begins.

use super::*;

/// A connection for each owner, named by its place.
struct Team {
    server: Server,
    members: Vec<Client>,
}

impl Team {
    fn of(count: usize) -> Team {
        let server = Server::start();
        let members = server.clients(count);
        Team { server, members }
    }

    /// `member` takes `key`, which it can have.
    #[track_caller]
    fn takes(&mut self, member: usize, key: &str, how: &str) -> i64 {
        self.members[member].run(&format!("LTMC.LOCK {key} o{member} PX 600000 {how}")).int()
    }

    /// `member` begins to wait for `key`.
    #[track_caller]
    fn waits(&mut self, member: usize, key: &str, how: &str) {
        self.begins(member, &format!("LTMC.LOCK {key} o{member} PX 600000 BLOCK 0 {how}"));
    }

    #[track_caller]
    fn begins(&mut self, member: usize, line: &str) {
        self.server.block_in_turn(std::slice::from_mut(&mut self.members[member]), |_| line.into());
    }

    /// `member` tries to wait for `key` and is refused. Returns the error.
    #[track_caller]
    fn is_refused(&mut self, member: usize, key: &str, how: &str) -> String {
        self.refusal(member, &format!("LTMC.LOCK {key} o{member} PX 600000 BLOCK 0 {how}"))
    }

    #[track_caller]
    fn refusal(&mut self, member: usize, line: &str) -> String {
        let before = waiting(&self.server);
        let reply = self.members[member].run(line);
        assert_eq!(reply.error_code(), "DEADLOCK", "{reply:?}");
        assert_eq!(waiting(&self.server), before, "whoever is refused leaves no trace in the queue");
        reply.error().to_string()
    }

    #[track_caller]
    fn is_served(&mut self, member: usize) {
        self.members[member].recv().int();
    }

    #[track_caller]
    fn releases(&mut self, member: usize, key: &str) {
        assert_eq!(self.members[member].run(&format!("LTMC.UNLOCK {key} o{member}")).int(), 1);
    }
}

#[test]
fn a_cycle_of_two_owners_is_refused_and_shown() {
    let mut team = Team::of(2);
    team.takes(0, "x", "");
    team.takes(1, "y", "");
    team.waits(0, "y", "");
    let text = team.is_refused(1, "x", "");
    assert!(text.contains("o1 -> x -> o0 -> y -> o1"), "{text}");
    assert_eq!(team.server.info_int("ltmc", "ltmc_lock_deadlocks"), 1);
    assert!(team.server.run("LTMC.LOCK x o1").is_nil(), "without BLOCK nobody waits, so nothing is refused");
    team.releases(1, "y");
    team.is_served(0);
    assert_idle(&team.server);
}

#[test]
fn a_cycle_of_three_owners_is_refused_and_shown() {
    let mut team = Team::of(3);
    for (member, key) in ["x", "y", "z"].iter().enumerate() {
        team.takes(member, key, "");
    }
    team.waits(0, "y", "");
    team.waits(1, "z", "");
    let text = team.is_refused(2, "x", "");
    assert!(text.contains("o2 -> x -> o0 -> y -> o1 -> z -> o2"), "{text}");
    team.releases(2, "z");
    team.is_served(1);
    team.releases(1, "y");
    team.is_served(0);
}

#[test]
fn a_chain_without_a_cycle_is_not_refused() {
    let mut team = Team::of(4);
    for (member, key) in ["a", "b", "c"].iter().enumerate() {
        team.takes(member, key, "");
    }
    team.waits(0, "b", "");
    team.waits(1, "c", "");
    team.waits(3, "a", "");
    team.releases(2, "c");
    team.is_served(1);
    team.releases(1, "b");
    team.is_served(0);
    team.releases(0, "a");
    team.is_served(3);
    assert_idle(&team.server);
}

#[test]
fn two_readers_cannot_both_wait_to_become_the_writer() {
    let mut team = Team::of(2);
    let first = team.takes(0, "x", "SHARED");
    let second = team.takes(1, "x", "SHARED");
    team.begins(0, &format!("LTMC.LOCK.CONVERT x o0 TOKEN {first} EXCLUSIVE BLOCK 0"));
    let text = team.refusal(1, &format!("LTMC.LOCK.CONVERT x o1 TOKEN {second} EXCLUSIVE BLOCK 0"));
    assert!(text.contains("o1 -> x -> o0 -> x -> o1"), "{text}");
    team.releases(1, "x");
    team.is_served(0);
    assert_eq!(team.server.run("LTMC.LOCK.INFO x").get("mode").text(), "exclusive");
}

#[test]
fn a_plain_request_for_more_by_two_readers_is_refused_too() {
    let mut team = Team::of(2);
    team.takes(0, "x", "SHARED");
    team.takes(1, "x", "SHARED");
    team.waits(0, "x", "EXCLUSIVE");
    team.is_refused(1, "x", "EXCLUSIVE");
    team.releases(1, "x");
    team.is_served(0);
}

#[test]
fn who_is_not_reentrant_may_not_wait_for_itself() {
    let mut team = Team::of(1);
    team.takes(0, "x", "");
    let text = team.is_refused(0, "x", "NOREENTRANT");
    assert!(text.contains("o0 -> x -> o0"), "{text}");
    team.releases(0, "x");
    team.takes(0, "x", "NOREENTRANT");
}

#[test]
fn a_semaphore_is_no_deadlock_while_one_holder_can_run() {
    let mut team = Team::of(4);
    team.takes(0, "sem", "SHARED LIMIT 2");
    team.takes(1, "sem", "SHARED LIMIT 2");
    team.takes(2, "x", "");
    // o0 waits for o2, which waits for a permit. That is a cycle, but o1 can end and give one back.
    team.waits(0, "x", "");
    team.waits(2, "sem", "SHARED LIMIT 2");
    team.releases(1, "sem");
    team.is_served(2);
    team.releases(2, "x");
    team.is_served(0);
    assert_idle(&team.server);
}

#[test]
fn a_semaphore_is_a_deadlock_when_all_holders_are_stuck() {
    let mut team = Team::of(4);
    team.takes(0, "sem", "SHARED LIMIT 2");
    team.takes(1, "sem", "SHARED LIMIT 2");
    team.takes(2, "x", "");
    team.waits(0, "x", "");
    team.waits(1, "x", "");
    let text = team.is_refused(2, "sem", "SHARED LIMIT 2");
    assert!(text.contains("o2 -> sem -> "), "{text}");
    team.releases(2, "x");
    team.is_served(0);
}

#[test]
fn the_last_free_permit_holder_may_not_begin_to_wait() {
    let mut team = Team::of(3);
    team.takes(0, "sem", "SHARED LIMIT 2");
    team.takes(1, "sem", "SHARED LIMIT 2");
    team.takes(2, "x", "");
    team.waits(0, "x", "");
    team.waits(2, "sem", "SHARED LIMIT 2");
    team.is_refused(1, "x", "");
    team.releases(1, "sem");
    team.is_served(2);
}

#[test]
fn a_cycle_by_the_order_of_the_queue_only_is_resolved_by_going_first() {
    let mut team = Team::of(3);
    team.takes(0, "x", "SHARED");
    team.takes(1, "y", "");
    // o1 waits to write x and holds y. o2 reads x beside o0, but stands behind o1, for which it
    // would wait while o1 waits for y...
    team.waits(1, "x", "EXCLUSIVE");
    team.waits(2, "y", "");
    // ... and o0, which holds x, wants to read x on another path. Behind o1 it would deadlock, in
    // front of it it fits.
    assert!(team.members[0].run("LTMC.LOCK x o0 SHARED PATH sub PX 600000 BLOCK 0").int() > 0);
    team.releases(0, "x");
    assert_eq!(team.members[0].run("LTMC.UNLOCK x o0 PATH sub").int(), 1);
    team.is_served(1);
    team.releases(1, "y");
    team.is_served(2);
    assert_idle(&team.server);
}

#[test]
fn who_holds_what_the_first_in_the_queue_needs_goes_before_it() {
    let mut team = Team::of(3);
    team.takes(0, "x", "SHARED");
    team.takes(1, "y", "");
    // o2 waits for y and to write x. o1, which holds y, wants to read x: behind o2 it would wait
    // for ever.
    team.begins(2, "LTMC.MLOCK o2 2 y x BLOCK 0");
    assert!(team.members[1].run("LTMC.LOCK x o1 SHARED PX 600000 BLOCK 0").int() > 0);
    for (member, key) in [(1, "x"), (1, "y"), (0, "x")] {
        team.releases(member, key);
    }
    assert_eq!(team.members[2].recv().ints().len(), 2);
}

#[test]
fn a_wait_for_several_locks_is_part_of_cycles() {
    let mut team = Team::of(3);
    team.takes(0, "x", "");
    team.takes(1, "y", "");
    team.begins(0, "LTMC.MLOCK o0 2 free y BLOCK 0");
    team.refusal(1, "LTMC.MLOCK o1 2 other x BLOCK 0");
    // Nothing that the others wait for is held, so a third owner finds it free.
    assert!(team.members[2].run("LTMC.LOCK other o2").int() > 0);
    team.releases(1, "y");
    assert_eq!(team.members[0].recv().ints().len(), 2);
}

#[test]
fn an_owner_with_two_connections_waits_with_both() {
    let mut team = Team::of(3);
    team.takes(0, "x", "");
    team.takes(1, "y", "");
    // o0 waits for y over another connection than the one it holds x with.
    team.begins(2, "LTMC.LOCK y o0 PX 600000 BLOCK 0");
    let text = team.is_refused(1, "x", "");
    assert!(text.contains("o1 -> x -> o0 -> y -> o1"), "{text}");
    // It can still act over the first one.
    team.releases(0, "x");
    assert!(team.takes(1, "x", "") > 0);
    team.releases(1, "y");
    team.is_served(2);
}

#[test]
fn a_wait_that_becomes_a_cycle_by_a_later_lock_of_its_owner_is_refused_then() {
    let mut team = Team::of(3);
    team.takes(1, "y", "");
    team.begins(2, "LTMC.LOCK y o0 PX 600000 BLOCK 0");
    team.takes(0, "x", "");
    // Only now o1 cannot wait for x any more: o0 waits for y.
    team.is_refused(1, "x", "");

    let mut team = Team::of(4);
    team.takes(1, "y", "");
    team.takes(3, "x", "SHARED");
    team.begins(2, "LTMC.LOCK y o0 PX 600000 BLOCK 0");
    team.waits(1, "x", "EXCLUSIVE");
    // By its priority o0 precedes o1 and shares x with o3. Now o0 waits for o1 and o1 for o0, and
    // the older wait ends.
    team.takes(0, "x", "SHARED PRIORITY 1000");
    assert_eq!(team.members[2].recv().error_code(), "DEADLOCK");
    team.releases(0, "x");
    team.releases(3, "x");
    team.is_served(1);
    assert_idle(&team.server);
}

#[test]
fn a_wait_with_a_time_limit_is_refused_as_well() {
    let mut team = Team::of(2);
    team.takes(0, "x", "");
    team.takes(1, "y", "");
    team.waits(0, "y", "");
    team.refusal(1, "LTMC.LOCK x o1 BLOCK 600000");
}

#[test]
fn a_lease_that_is_over_closes_no_cycle() {
    let mut team = Team::of(2);
    team.takes(0, "x", "");
    let fence = team.takes(1, "y", "");
    team.waits(0, "y", "");
    assert_eq!(team.members[1].run(&format!("LTMC.LOCK.RENEW y o1 TOKEN {fence} PX 1")).int(), 1);
    team.is_served(0);
    team.waits(1, "x", "");
    team.releases(0, "x");
    team.is_served(1);
}

#[test]
fn paths_close_cycles_only_where_they_overlap() {
    let mut team = Team::of(2);
    team.takes(0, "r", "PATH src");
    team.takes(1, "r", "PATH docs");
    team.waits(0, "r", "PATH docs/a");
    assert!(team.takes(1, "r", "PATH tests") > 0);
    team.is_refused(1, "r", "PATH src/db");
    assert_eq!(team.members[1].run("LTMC.UNLOCK r o1 PATH docs").int(), 1);
    team.is_served(0);
}

#[test]
fn the_graph_shows_holders_and_the_queue() {
    let mut team = Team::of(3);
    assert_eq!(team.server.run("LTMC.LOCK.GRAPH").array().len(), 0);
    team.takes(0, "x", "");
    team.waits(1, "x", "");
    team.waits(2, "x", "SHARED");
    let graph = team.server.run("LTMC.LOCK.GRAPH");
    let field = |edge: &Reply, name: &str| edge.get(name).text().to_string();
    let shown: Vec<[String; 4]> =
        graph.array().iter().map(|edge| ["waiter", "key", "waits_for", "kind"].map(|name| field(edge, name))).collect();
    assert_eq!(shown, [["o1", "x", "o0", "holder"], ["o2", "x", "o0", "holder"], ["o2", "x", "o1", "queue"],]);
    assert_eq!(graph.array()[0].get("db").int(), 0);
    team.releases(0, "x");
    team.is_served(1);
    assert_eq!(owners(&team.server, "x", "waiters"), ["o2"]);
    assert_eq!(team.server.run("LTMC.LOCK.GRAPH").array().len(), 1);
}
