//! Sessions on replicas, and after a failover.

use super::*;
use crate::waiting::set_clock;

#[test]
fn a_replica_that_takes_over_goes_on_with_the_work() {
    let mut primary = safe().start();
    make_all(&primary);
    let replica = primary.replica();
    run(&primary, "LTMC.SESSION.SET a n 3");
    replica.wait_synced(&primary);
    assert_eq!(statuses(&replica), AS_BEFORE);
    primary.kill();
    assert_eq!(statuses(&replica), AS_BEFORE);
    replica.promote();
    assert_eq!(statuses(&replica), AS_BEFORE);
    assert_eq!(run(&replica, "LTMC.SESSION.SET a n 4").int(), 4);
    assert_eq!(changes(&replica), 0, "nobody was found");
}

#[test]
fn replicas_learn_what_was_found_after_the_crash_of_their_primary() {
    let mut primary = safe().start();
    make_all(&primary);
    let replica = primary.replica();
    primary.crash_and_restart();
    wait_until("both were found", || changes(&primary) == 2);
    wait_until("the replica knows", || statuses(&replica) == AFTER_A_CRASH);
    replica.wait_synced(&primary);
    assert_same("the replica", &primary.dataset(), &replica.dataset());
    run(&primary, "LTMC.SESSION.STATUS a active");
    replica.wait_synced(&primary);
    assert_eq!(status(&replica, "a"), "active");
}

#[test]
fn a_replica_that_restarts_has_the_statuses_of_its_primary() {
    for (how, crash) in [("restart", false), ("crash", true)] {
        let primary = safe().start();
        make_all(&primary);
        let mut replica = primary.replica();
        // Until its first AOF is written, a replica refuses to stop.
        wait_until("the AOF is there", || replica.info_int("persistence", "aof_rewrite_in_progress") == 0);
        if crash {
            replica.kill();
        } else {
            replica.stop();
        }
        run(&primary, "LTMC.SESSION.SET a n 3");
        replica.start_again();
        replica.wait_synced(&primary);
        // A replica does not treat what it loads from its own file as found after a crash.
        assert_eq!(statuses(&replica), AS_BEFORE, "{how}");
        assert_same(how, &primary.dataset(), &replica.dataset());
    }
}

#[test]
fn a_replica_that_crashed_before_it_takes_over_stops_nobody_at_work() {
    let primary = safe().start();
    make_all(&primary);
    let mut replica = primary.replica();
    wait_until("the AOF is there", || replica.info_int("persistence", "aof_rewrite_in_progress") == 0);
    replica.crash_and_restart();
    replica.wait_synced(&primary);
    replica.promote();
    set_clock(&replica, 1000);
    for n in 4..100 {
        run(&replica, &format!("LTMC.SESSION.SET a n {n}"));
    }
    // The same as above.
    assert_eq!(changes(&replica), 0, "nobody was found");
    assert_eq!(statuses(&replica), AS_BEFORE);
}

#[test]
fn a_primary_that_comes_back_as_a_replica_takes_over_the_statuses_of_the_new_one() {
    let mut primary = safe().start();
    make_all(&primary);
    let replica = primary.replica();
    primary.kill();
    replica.promote();
    primary.append_config(&format!("replicaof 127.0.0.1 {}", replica.port()));
    primary.start_again();
    primary.wait_synced(&replica);
    run(&replica, "LTMC.SESSION.SET m n 9");
    primary.wait_synced(&replica);
    assert_eq!(statuses(&replica), AS_BEFORE);
    // The same as above.
    assert_eq!(statuses(&primary), AS_BEFORE);
}
