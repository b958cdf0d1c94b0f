//! Bindings survive reloads, restarts and failover.

use super::*;

#[test]
fn bonds_survive_every_copy_and_reload() {
    let server = full().durable().start();
    let replica = server.replica();
    register(&server, "ada");
    register(&server, "bob");
    hold_everything(&server, "ada");
    server.run("LTMC.LOCK pool bob SHARED PX 600000000 REGISTRY r").int();
    replica.wait_synced(&server);
    assert_eq!(holds(&replica, "ada"), HELD);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn whoever_loads_it_knows_what_an_agent_holds() {
    for way in ["restart", "crash", "reload", "rewrite", "plain aof", "failover"] {
        let mut server = full().durable().start();
        register(&server, "ada");
        hold_everything(&server, "ada");
        let server = match way {
            "restart" => {
                server.restart();
                server
            }
            "crash" => {
                server.crash_and_restart();
                server
            }
            "reload" => {
                server.debug_reload();
                server
            }
            "rewrite" | "plain aof" => {
                if way == "plain aof" {
                    server.run("CONFIG SET aof-use-rdb-preamble no").ok();
                }
                server.rewrite_aof();
                server.crash_and_restart();
                server
            }
            _ => {
                let replica = server.replica();
                replica.wait_synced(&server);
                server.kill();
                replica.promote();
                replica
            }
        };
        assert_eq!(holds(&server, "ada"), HELD, "{way}");
        assert_eq!(found(&server, "ada"), FOUND, "{way}");
        server.run("LTMC.DEREGISTER r ada").int();
        assert_eq!(found(&server, "ada"), [""; 0], "{way}");
    }
}

#[test]
fn a_replica_follows_and_decides_nothing_itself() {
    let mut server = full().start();
    let replica = server.replica();
    register_for(&server, "ada", 60_000);
    hold_everything(&server, "ada");
    replica.wait_synced(&server);
    assert_eq!(found(&replica, "ada"), FOUND);
    end(&server, "silence");
    replica.wait_synced(&server);
    assert_eq!(found(&replica, "ada"), [""; 0]);
    assert_same("the replica", &server.dataset(), &replica.dataset());
    assert_eq!(replica.info_int("ltmc", "ltmc_reactions"), 0);
    server.kill();
    replica.promote();
    assert_eq!(found(&replica, "ada"), [""; 0]);
}

#[test]
fn a_replica_that_gets_a_whole_value_in_place_of_another_knows_whose_it_is() {
    let mut server = full().start();
    let replica = server.replica();
    register(&server, "ada");
    server.run("LTMC.LOCK lock ada PX 600000000 REGISTRY r").int();
    // What a panic may have left half done is sent as a whole.
    assert!(server.run("LTMC.DEBUG PANIC lock").is_error());
    server.run("LTMC.LOCK other ada PX 600000000 REGISTRY r").int();
    replica.wait_synced(&server);
    wait_until("it is known", || holds(&replica, "ada") == ["lock", "other"]);
    server.kill();
    replica.promote();
    replica.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(replica.run("EXISTS lock other").int(), 0);
}

#[test]
fn an_agent_that_dies_after_a_failover_leaves_nothing_either() {
    let mut server = full().start();
    let replica = server.replica();
    register_for(&server, "ada", 60_000);
    register_for(&server, "bob", LONG_MS);
    hold_everything(&server, "ada");
    replica.wait_synced(&server);
    server.kill();
    replica.promote();
    let mut waiter = replica.client();
    let line = format!("LTMC.LOCK lock bob PX {LONG_MS} BLOCK 0 REGISTRY r");
    replica.block_in_turn(std::slice::from_mut(&mut waiter), |_| line.clone());
    // First there is one TTL of grace.
    end(&replica, "silence");
    assert!(waiter.recv().int() > 0);
    assert_eq!(holds(&replica, "bob"), ["lock"]);
    replica.run("LTMC.UNLOCK lock bob").int();
    assert_eq!(found(&replica, "ada"), [""; 0]);
}

#[test]
fn it_can_be_read_from_an_aof_for_whom_something_is_held() {
    let server = full().start();
    let epoch = register(&server, "ada");
    let mut tap = ReplicationTap::attach(&server);
    server.run("LTMC.LOCK lock ada PX 600000 REGISTRY r").int();
    let stream = tap.take(&server);
    let applied = stream.iter().find(|command| command[0] == b"LTMC.APPLY").expect("an event");
    let shown = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &applied[2]]).text().to_string();
    assert!(shown.contains("\"Bound\"") && shown.contains(&epoch.to_string()), "{shown}");
}
