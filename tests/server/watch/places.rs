//! Watching across reloads, restarts, replicas, failovers and moving slots.

use super::*;

/// Makes some history in `r`. Returns what a watcher knows of it, and what it does not know yet.
#[track_caller]
fn history(server: &Server) -> (i64, Vec<Value>) {
    register(server, "a", "CAPACITY 4");
    register(server, "b", "");
    let known = revision(server, "r");
    server.run("LTMC.HEARTBEAT r a STATUS BUSY").int();
    server.run("LTMC.HEARTBEAT r b HEALTH DEGRADED REASON heat").int();
    server.run("LTMC.AGENT.CLAIM r PX 600000 REF job").array();
    (known, only_news(&server.run(&format!("LTMC.WATCH 1 r SINCE {known}"))).1)
}

/// A watcher that knows the revision `known` continues here as if nothing had happened, and new
/// events follow.
#[track_caller]
fn goes_on(server: &Server, known: i64, missed: &[Value]) {
    let (now, told) = only_news(&server.run(&format!("LTMC.WATCH 1 r SINCE {known} BLOCK 0")));
    assert_eq!(told, missed);
    let mut watcher = watcher_of(server, &format!("1 r SINCE {now}"));
    register(server, "late", "");
    let (next, told) = only_news(&watcher.recv());
    assert_eq!((next, &told[0]["agent"]), (now + 1, &Value::from("late")));
}

#[test]
fn a_watcher_goes_on_after_a_restart() {
    for is_crash in [false, true] {
        let spec = if is_crash { Server::builder().durable() } else { Server::builder() };
        let mut server = spec.start();
        let (known, missed) = history(&server);
        assert_eq!(missed.len(), 3);
        let mut waiting = watcher(&server);
        if is_crash {
            server.crash_and_restart();
        } else {
            server.restart();
        }
        waiting.wait_closed();
        goes_on(&server, known, &missed);
    }
}

#[test]
fn the_log_survives_every_copy_and_reload() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    let (known, missed) = history(&server);
    assert_persisted_everywhere(&server, &[&replica]);
    goes_on(&server, known, &missed);
    let all = story(&server);
    replica.wait_synced(&server);
    assert_eq!(story(&replica), all);
    server.rewrite_aof();
    server.run("DEBUG LOADAOF").ok();
    assert_eq!(story(&server), all);
    assert_eq!(revision(&server, "r"), revision(&replica, "r"));
}

#[test]
fn a_reload_of_older_data_is_told() {
    let server = Server::start();
    register(&server, "a", "");
    server.run("SAVE").ok();
    let saved = revision(&server, "r");
    register(&server, "b", "");
    let mut watcher = watcher(&server);
    server.run("DEBUG RELOAD NOSAVE").ok();
    assert_eq!(compacted(&watcher.recv().array()[0]), (saved, saved));
}

#[test]
fn a_replica_can_be_watched_as_well() {
    let primary = Server::start();
    let replica = primary.replica();
    // Before the key exists, on the key, and on several.
    let mut early = watcher(&replica);
    register(&primary, "a", "");
    assert_eq!(names_in(&early.recv()), ["agent.registered"]);
    let mut watchers = [watcher(&replica), watcher_of(&replica, "2 q r SINCE $ $")];
    let lines = ["MULTI", "LTMC.HEARTBEAT r a STATUS BUSY", "LTMC.REGISTER r b PX 600000", "EXEC"];
    primary.client().pipeline(&lines);
    let told = watchers.each_mut().map(|watcher| {
        let reply = watcher.recv();
        news(reply.array().last().expect("r is the last"))
    });
    // The changes of a transaction arrive together here, too, or one after the other.
    assert_eq!(told[0].1[0]["event"], "agent.status");
    assert_eq!(told[0], told[1]);
    replica.wait_synced(&primary);
    assert_eq!(story(&replica), story(&primary));

    let mut watcher = watcher(&replica);
    let mut client = replica.client();
    assert!(client.run("LTMC.WATCH 1 r SINCE $ BLOCK 10").is_nil(), "limits hold there, too");
    primary.run("LTMC.HEARTBEAT r a LOAD 0.5").int();
    set_clock(&primary, TTL_MS / 2 + 1);
    primary.run("LTMC.HEARTBEAT r a LOAD 0.6").int();
    primary.run("LTMC.HEARTBEAT r b").int();
    replica.wait_synced(&primary);
    assert_eq!(watcher.recv_within(1), None, "heartbeats are no news");
    set_clock(&primary, 2 * TTL_MS);
    assert_eq!(only_news(&watcher.recv()).1[0]["event"], "agent.suspected");
}

#[test]
fn watchers_of_a_replica_are_told_of_the_end_of_a_key() {
    let primary = Server::start();
    let replica = primary.replica();
    register(&primary, "a", "");
    replica.wait_synced(&primary);
    let mut farewell = watcher(&replica);
    primary.run("LTMC.DEREGISTER r a").int();
    assert_eq!(names_in(&farewell.recv()), ["agent.deregistered"]);
    for line in ["DEL r", "FLUSHALL", "RENAME r elsewhere", "SWAPDB 0 1", "SET r v"] {
        register(&primary, "a", "");
        replica.wait_synced(&primary);
        let mut watcher = watcher(&replica);
        primary.run(line);
        let reply = watcher.recv();
        if line == "SET r v" {
            assert_eq!(reply.error_code(), "WRONGTYPE");
        } else {
            assert_eq!(compacted(&reply.array()[0]), (0, 0), "{line}");
        }
        primary.run("FLUSHALL").ok();
        replica.wait_synced(&primary);
    }
    assert_idle(&replica);
}

#[test]
fn a_watcher_of_a_replica_stays_through_its_promotion() {
    let mut primary = Server::start();
    let replica = primary.replica();
    let (known, missed) = history(&primary);
    replica.wait_synced(&primary);
    let mut stayed = watcher(&replica);
    primary.kill();
    replica.promote();
    goes_on(&replica, known, &missed);
    // Where the server disconnects its waiting clients at a change of role, this fits.
    match stayed.recv_or_end() {
        Some(reply @ Reply::Array(_)) => assert_eq!(only_news(&reply).1[0]["agent"], "late"),
        Some(reply) => assert_eq!(reply.error_code(), "UNBLOCKED"),
        None => {}
    }
    assert_idle(&replica);
}

#[test]
fn watchers_of_a_primary_that_becomes_a_replica_are_sent_away_and_can_come_back() {
    let primary = Server::start();
    let server = Server::start();
    register(&server, "a", "");
    let known = revision(&server, "r");
    let mut watcher = watcher(&server);
    register(&primary, "z", "");
    server.follow(&primary);
    if let Some(reply) = watcher.recv_or_end() {
        assert_eq!(reply.error_code(), "UNBLOCKED");
    }
    assert_idle(&server);
    // What it knew is not part of this key's life.
    let reply = server.run(&format!("LTMC.WATCH 1 r SINCE {known} BLOCK 0"));
    assert_eq!(compacted(&reply.array()[0]).0, revision(&primary, "r"));
    let mut again = super::watcher(&server);
    register(&primary, "y", "");
    assert_eq!(only_news(&again.recv()).1[0]["agent"], "y");
}

#[test]
fn a_slot_that_moves_takes_its_watchers_along() {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}");
    let from = cluster.owner(slot);
    let to = 1 - from;
    let (old, new) = (&cluster.nodes[from], &cluster.nodes[to]);
    assert_eq!(old.run("LTMC.WATCH 2 {t}:r {other}:r SINCE 0 0").error_code(), "CROSSSLOT");
    assert_eq!(new.run("LTMC.WATCH 2 {t}:r {t}:q SINCE 0 0").error_code(), "MOVED");
    old.run(&format!("LTMC.REGISTER {{t}}:r a PX {TTL_MS}")).int();
    let known = revision(old, "{t}:r");
    let requests = ["1 {t}:r SINCE $", "2 {t}:q {t}:r SINCE $ $", "1 {t}:none SINCE 0"];
    let mut watchers: Vec<Client> = requests.iter().map(|what| watcher_of(old, what)).collect();
    cluster.migrate_slot(slot, from, to);
    for watcher in &mut watchers[..2] {
        let reply = watcher.recv();
        assert_eq!(reply.error(), format!("MOVED {slot} 127.0.0.1:{}", new.port()));
    }
    assert_eq!(watchers[2].recv().error_code(), "MOVED", "though there was nothing to move");
    assert_idle(old);
    let mut again = watcher_of(new, &format!("2 {{t}}:r {{t}}:q SINCE {known} 0"));
    new.run("LTMC.HEARTBEAT {t}:r a STATUS BUSY").int();
    let reply = again.recv();
    assert_eq!(news(&reply.array()[0]).0, known + 1);
}

#[test]
fn the_end_of_a_key_in_an_open_slot_is_told_when_the_slot_stays() {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}");
    let from = cluster.owner(slot);
    let node = &cluster.nodes[from];
    node.run(&format!("LTMC.REGISTER {{t}}:r a PX {TTL_MS}")).int();
    let mut watcher = watcher_of(node, "1 {t}:r SINCE $");
    cluster.begin_migration(slot, from, 1 - from);
    assert_eq!(node.run("DEL {t}:r").int(), 1);
    let sweeps = node.info_int("ltmc", "ltmc_swept_keys");
    wait_until("the scheduler has looked", || node.info_int("ltmc", "ltmc_swept_keys") > sweeps);
    for node in &cluster.nodes {
        node.run(&format!("CLUSTER SETSLOT {slot} STABLE")).ok();
    }
    let told = watcher.recv_within(3000).expect("the watcher is told");
    assert_eq!(compacted(&told.array()[0]), (0, 0));
}

#[test]
fn a_replica_in_a_cluster_can_be_watched_by_who_says_readonly() {
    let cluster = Cluster::start(1);
    let primary = &cluster.nodes[0];
    let replica = cluster.add_replica(0);
    register(primary, "a", "");
    replica.wait_synced(primary);
    let mut client = replica.client();
    assert_eq!(client.run("LTMC.WATCH 1 r SINCE 0").error_code(), "MOVED");
    client.run("READONLY").ok();
    assert_eq!(names_in(&client.run("LTMC.WATCH 1 r SINCE 0")), ["agent.registered"]);
    let limited = client.run("LTMC.WATCH 1 none SINCE 0 BLOCK 30");
    assert!(limited.is_nil(), "it waits until its limit: {limited:?}");
    client.send_line("LTMC.WATCH 1 r SINCE $ BLOCK 0");
    replica.wait_blocked(1);
    register(primary, "b", "");
    assert_eq!(names_in(&client.recv()), ["agent.registered"]);
}
