//! Replicas and nodes of a cluster.

use super::*;

#[test]
fn a_replica_reads_decides_nothing_and_goes_on_when_it_is_promoted() {
    let mut primary = Server::start();
    let replica = primary.replica();
    run(&primary, "LTMC.CHUNK.BUFFER b");
    run(&primary, "LTMC.CHUNK.PUT b mortal x PX 60000");
    run(&primary, "LTMC.CHUNK.PUT b held x PX 60000 PIN ada 60000");
    run(&primary, "LTMC.CHUNK.ALLOC b ID open SIZE 5 PX 60000");
    put(&primary, "plain", b"text");
    replica.wait_synced(&primary);
    assert_eq!(read(&replica, "plain").as_deref(), Some(b"text".as_slice()));
    let before = primary.dataset();
    replica.run("CONFIG SET replica-read-only no").ok();
    set_clock(&replica, 60_001);
    for line in [
        "LTMC.CHUNK.PUT b a x",
        "LTMC.CHUNK.WRITE b plain 0 x",
        "LTMC.CHUNK.SEAL b open",
        "LTMC.CHUNK.FREE b plain",
        "LTMC.CHUNK.RETAIN b plain ada",
        "LTMC.CHUNK.BUFFER b RING",
        "LTMC.CHUNK.ALLOC b SIZE 5",
    ] {
        assert_eq!(replica.run(line).error_code(), "READONLY", "{line}");
    }
    assert_eq!(ids(&replica), ["plain"], "it shows what is over as over");
    assert!(read(&replica, "mortal").is_none() && read(&replica, "held").is_none());
    assert_same("and does nothing about it", &before, &replica.dataset());
    primary.kill();
    replica.promote();
    wait_until("the new primary does", || stat(&replica, "chunks") == 1);
    assert_eq!(put(&replica, "a", b"x"), 2, "above the versions of what is gone");
}

#[test]
fn a_buffer_moves_with_its_slot() {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}:b");
    let from = cluster.owner(slot);
    let mut client = cluster.client_of("{t}:b");
    let data = content(3, 200_000);
    client.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), b"{t}:b", b"a", &data, b"PIN", b"ada", b"600000"]).array();
    let other = cluster.client_of("{t}:b").run("LTMC.CHUNK.LIST {t}:b").texts();
    cluster.migrate_slot(slot, from, 1 - from);
    let moved = client.run("LTMC.CHUNK.READ {t}:b a");
    assert_eq!(moved.error_code(), "MOVED");
    let mut client = cluster.client_of("{t}:b");
    assert_eq!(client.run("LTMC.CHUNK.LIST {t}:b").texts(), other);
    assert_eq!(client.run("LTMC.CHUNK.READ {t}:b a").bytes(), &data[..]);
    assert_eq!(client.run("LTMC.CHUNK.FREE {t}:b a").error_code(), "BADSTATE");
    assert_eq!(client.run("LTMC.CHUNK.UNPIN {t}:b a ada").int(), 1);
}
