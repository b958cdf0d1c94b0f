//! A replica mends its own copies, and tells nobody.

use super::{check, digest, number, of_service, quiet, CASES};
use crate::harness::{show_stream, wait_until, ReplicationTap};

#[test]
fn a_replica_mends_its_copies_and_stays_equal() {
    let primary = quiet();
    CASES.iter().for_each(|case| case.set_up(&primary));
    let replica = primary.replica();
    replica.run("CONFIG SET replica-read-only no").ok();
    let mut tap = ReplicationTap::attach(&replica);
    CASES.iter().for_each(|case| case.break_it(&replica));
    check(&replica, 1000);
    wait_until("all are repaired", || number(&replica, "repairs") == CASES.len() as i64);
    for case in CASES {
        assert_eq!(of_service(&replica, case.service, "repairs").int(), 1, "{}", case.key);
        assert_eq!(digest(&replica, case.key), digest(&primary, case.key), "{}", case.key);
    }
    // The next write of the primary continues, and is the first that a replica of the replica hears
    // of.
    primary.run("SET marker 1").ok();
    replica.wait_synced(&primary);
    assert_eq!(show_stream(&tap.take(&replica)), ["SET marker 1"]);
    let finding = "LTMC.AGENT.FIND agents CAPS 1 go";
    assert_eq!(replica.run(finding), primary.run(finding));
    assert_eq!((number(&primary, "repairs"), number(&replica, "panics")), (0, 0));
}

#[test]
fn what_a_primary_mends_stays_equal_on_its_replica() {
    let primary = quiet();
    CASES.iter().for_each(|case| case.set_up(&primary));
    let replica = primary.replica();
    CASES.iter().for_each(|case| case.break_it(&primary));
    check(&primary, 1000);
    wait_until("all are repaired", || number(&primary, "repairs") == CASES.len() as i64);
    replica.wait_synced(&primary);
    for case in CASES {
        assert_eq!(digest(&replica, case.key), digest(&primary, case.key), "{}", case.key);
    }
    assert_eq!((number(&replica, "repairs"), number(&replica, "panics")), (0, 0));
}

#[test]
fn a_replica_leaves_quarantine_with_what_its_primary_sends() {
    let primary = quiet();
    primary.run("LTMC.LOCK k a PX 600000").int();
    let replica = primary.replica();
    replica.run("CONFIG SET replica-read-only no").ok();
    replica.run("LTMC.DEBUG BREAK k *").ok();
    check(&replica, 1000);
    wait_until("it is in quarantine", || number(&replica, "quarantined_keys") == 1);
    assert_eq!(replica.run("LTMC.LOCK.INFO k").error_code(), "QUARANTINED");
    primary.run("LTMC.REPAIR k").get("type").text();
    replica.wait_synced(&primary);
    assert_eq!(number(&replica, "quarantined_keys"), 0);
    assert_eq!(digest(&replica, "k"), digest(&primary, "k"));
}
