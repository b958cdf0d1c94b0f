//! `LTMC.CLUSTER`: what nodes know of each other, over the cluster bus and without one.

use crate::harness::*;

/// The row of the node on this port, if it is known.
#[track_caller]
fn find_row(rows: &Reply, port: u16) -> Option<&Reply> {
    let ending = format!(":{port}");
    rows.array().iter().find(|row| row.get("address").text().ends_with(&ending))
}

#[track_caller]
fn row_of(rows: &Reply, port: u16) -> &Reply {
    find_row(rows, port).unwrap_or_else(|| panic!("no node with port {port} in {rows:?}"))
}

/// Waits until `server` sees the node on `port` as the condition says.
#[track_caller]
fn wait_sees(server: &Server, port: u16, what: &str, is_so: impl Fn(&Reply) -> bool) {
    let mut last = Reply::Nil;
    let seen = holds_within(2 * PATIENCE, || {
        last = server.run("LTMC.CLUSTER");
        find_row(&last, port).is_some_and(&is_so)
    });
    assert!(seen, "waited in vain until port {} sees of {port}: {what}; it sees {last:?}", server.port());
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

fn is_known(row: &Reply) -> bool {
    row.get("module").int() == 1 && row.get("health").text() != "unknown"
}

/// The words of the server's name as LTMC shows them.
fn server_name(server: &Server) -> &'static str {
    if server.is_valkey() {
        "valkey"
    } else {
        "redis"
    }
}

#[test]
fn every_node_of_a_cluster_sees_all_others() {
    let cluster = Cluster::start(3);
    let replica = cluster.add_replica(0);
    let plain = cluster.join(Server::builder().without_module());
    let mut speaking: Vec<&Server> = cluster.nodes.iter().collect();
    speaking.push(&replica);
    for viewer in &speaking {
        for node in &speaking {
            wait_sees(viewer, node.port(), "that it speaks", is_known);
        }
        wait_sees(viewer, replica.port(), "that it is a replica", |row| row.get("role").text() == "replica");
        wait_sees(viewer, plain.port(), "that it can be reached", |row| row.get("link").text() == "up");
        check_rows(viewer, &speaking, &plain);
        assert_eq!(viewer.info_int("ltmc", "ltmc_cluster_peers"), 3);
        assert_eq!(viewer.info_int("ltmc", "ltmc_cluster_reports_ignored"), 0);
        assert!(viewer.info_int("ltmc", "ltmc_cluster_reports_sent") > 0);
        assert_eq!(viewer.run("LTMC.STATUS").get("cluster").int(), 1);
    }
    let row = |port| row_of(&replica.run("LTMC.CLUSTER"), port).clone();
    assert_eq!(row(replica.port()).get("primary").text(), cluster.nodes[0].node_id());
    assert!(row(cluster.nodes[0].port()).get("primary").is_nil());
}

/// What holds for the reply of any node.
#[track_caller]
fn check_rows(viewer: &Server, speaking: &[&Server], plain: &Server) {
    let rows = viewer.run("LTMC.CLUSTER");
    let ids: Vec<&str> = rows.array().iter().map(|row| row.get("id").text()).collect();
    assert_eq!(ids.len(), speaking.len() + 1, "{rows:?}");
    assert_eq!(ids[0], viewer.node_id(), "this node comes first");
    assert!(ids[1..].windows(2).all(|pair| pair[0] < pair[1]), "the others by id: {ids:?}");
    for node in speaking {
        let row = row_of(&rows, node.port());
        assert_eq!(row.get("id").text(), node.node_id());
        assert_eq!(row.get("version").text(), env!("CARGO_PKG_VERSION"));
        assert!(row.get("server").text().starts_with(server_name(node)), "{row:?}");
        assert_eq!((row.get("link").text(), row.get("mode").text()), ("up", "basic"));
        assert!(row.get("uptime_ms").int() > 0 && row.get("age_ms").int() >= 0, "{row:?}");
    }
    let row = row_of(&rows, plain.port());
    assert_eq!((row.get("module").int(), row.get("health").text()), (0, "unknown"), "{row:?}");
    assert_eq!((row.get("role").text(), row.get("link").text()), ("primary", "up"));
    for field in ["version", "server", "mode", "age_ms", "uptime_ms", "commands"] {
        assert!(row.get(field).is_nil(), "{field} of {row:?}");
    }
}

#[test]
fn the_others_see_what_changes_on_a_node() {
    let cluster = Cluster::start(2);
    let owner = cluster.owner(cluster.slot("k"));
    let (node, other) = (&cluster.nodes[owner], &cluster.nodes[1 - owner]);
    assert!(node.run("LTMC.LOCK k a PX 600000").int() > 0);
    node.run("CONFIG SET ltmc.orchestration-mode full").ok();
    assert!(node.run("LTMC.LOCK k b PX 600000").is_nil());
    assert_eq!(node.run("LTMC.LOCK k b PX").error_code(), "ERR");
    let mut waiting = node.client();
    waiting.send_line("LTMC.LOCK k b BLOCK 0");
    node.wait_blocked(1);
    wait_sees(other, node.port(), "mode and counts", |row| {
        let counts = ["commands", "errors", "waiting_clients", "panics"].map(|field| row.find(field).cloned());
        let expected = [4, 1, 1, 0].map(|count| Some(Reply::Int(count)));
        row.get("mode") == &bulk("full") && counts == expected
    });
    assert_eq!(node.run("LTMC.DEBUG PANIC").error_code(), "ERR");
    wait_sees(other, node.port(), "that it is degraded", |row| {
        row.get("health").text() == "degraded" && row.get("panics").int() == 1
    });
    assert_eq!(node.run("LTMC.STATUS").get("health").text(), "degraded");
    assert_eq!(row_of(&other.run("LTMC.CLUSTER"), other.port()).get("health").text(), "ok");
}

#[test]
fn a_failover_shows_in_the_roles() {
    let cluster = Cluster::start(3);
    let (old, viewer) = (&cluster.nodes[0], &cluster.nodes[1]);
    let new = cluster.add_replica(0);
    wait_sees(viewer, new.port(), "that it is a replica", |row| row.get("primary") == &bulk(&old.node_id()));
    assert_eq!(old.run("LTMC.STATUS").get("replicas").int(), 1);
    new.take_over();
    for server in [viewer, old, &new] {
        wait_sees(server, new.port(), "that it is the primary", |row| {
            row.get("role").text() == "primary" && row.get("primary").is_nil() && is_known(row)
        });
        wait_sees(server, old.port(), "that it is a replica", |row| {
            row.get("role").text() == "replica" && row.get("primary") == &bulk(&new.node_id()) && is_known(row)
        });
    }
}

#[test]
fn a_node_that_was_killed_is_silent_until_it_is_back() {
    let mut cluster = Cluster::start(3);
    // The number by which the clock is moved counts as a key.
    let viewer = cluster.nodes.remove(cluster.owner(cluster.slot("600000")));
    let (other, mut killed) = (cluster.nodes.remove(0), cluster.nodes.remove(0));
    let id = killed.node_id();
    for node in [&other, &killed] {
        wait_sees(&viewer, node.port(), "that it speaks", is_known);
    }
    viewer.run("CONFIG SET cluster-node-timeout 1000").ok();
    killed.kill();
    // Long after that, as the viewer believes. A node that reports is heard again at once.
    viewer.run("LTMC.DEBUG CLOCK 600000").ok();
    wait_sees(&viewer, other.port(), "that it speaks on", is_known);
    let rows = viewer.run("LTMC.CLUSTER");
    let row = row_of(&rows, killed.port());
    assert_eq!((row.get("module").int(), row.get("health").text()), (1, "unknown"), "{row:?}");
    assert!(row.get("age_ms").int() >= 590_000, "{row:?}");
    assert_eq!(row.get("mode").text(), "basic", "what it last said is still shown");
    wait_sees(&viewer, killed.port(), "that it cannot be reached", |row| row.get("link").text() != "up");

    killed.start_again();
    wait_sees(&viewer, killed.port(), "that it is back", |row| is_known(row) && row.get("link").text() == "up");
    assert_eq!(row_of(&viewer.run("LTMC.CLUSTER"), killed.port()).get("id").text(), id);
    wait_sees(&killed, viewer.port(), "that it speaks", is_known);
}

#[test]
fn a_node_that_left_the_cluster_is_forgotten() {
    let mut cluster = Cluster::start(3);
    let gone = cluster.nodes.pop().expect("three nodes");
    let viewer = &cluster.nodes[0];
    for node in [&cluster.nodes[1], &gone] {
        wait_sees(viewer, node.port(), "that it speaks", is_known);
    }
    assert_eq!(viewer.info_int("ltmc", "ltmc_cluster_peers"), 2);
    let id = gone.node_id();
    drop(gone);
    for node in &cluster.nodes {
        node.cmd(&["CLUSTER", "FORGET", &id]).ok();
    }
    assert_eq!(viewer.run("LTMC.CLUSTER").array().len(), 2);
    wait_until("its report is forgotten", || viewer.info_int("ltmc", "ltmc_cluster_peers") == 1);
}

#[test]
fn the_nodes_are_shown_in_transactions_scripts_and_both_protocols() {
    let cluster = Cluster::start(2);
    let node = &cluster.nodes[0];
    let script = "return #redis.call('LTMC.CLUSTER')";
    assert_eq!(node.cmd(&["EVAL", script, "0"]).int(), 2);
    let replies = node.client().pipeline(&["MULTI", "LTMC.CLUSTER", "LTMC.STATUS", "EXEC"]);
    assert_eq!(replies[3].array()[0].array().len(), 2);
    let flat = node.run("LTMC.CLUSTER");
    assert!(flat.array().iter().all(|row| matches!(row, Reply::Array(_))), "{flat:?}");
    let mut client = node.client();
    client.resp3();
    let maps = client.run("LTMC.CLUSTER");
    assert!(maps.array().iter().all(|row| matches!(row, Reply::Map(_))), "{maps:?}");
    let names = |rows: &Reply| -> Vec<Vec<String>> {
        let of_row = |row: &Reply| row.pairs().into_iter().map(|(name, _)| name.text().to_string()).collect();
        rows.array().iter().map(of_row).collect()
    };
    assert_eq!(names(&flat), names(&maps));
    assert_eq!(node.run("LTMC.CLUSTER now").error_code(), "ERR");
}

#[test]
fn without_cluster_a_primary_and_its_replicas_see_each_other() {
    let primary = Server::start();
    let replicas = [primary.replica(), primary.replica()];
    let rows = primary.run("LTMC.CLUSTER");
    assert_eq!(rows.array().len(), 3, "{rows:?}");
    let own = &rows.array()[0];
    assert_eq!(own.get("address").text(), format!(":{}", primary.port()));
    assert_eq!((own.get("role").text(), own.get("health").text()), ("primary", "ok"));
    assert_eq!((own.get("module").int(), own.get("age_ms").int()), (1, 0));
    assert!(own.get("id").is_nil() && own.get("server").text().starts_with(server_name(&primary)), "{own:?}");
    for replica in &replicas {
        let row = row_of(&rows, replica.port());
        assert_eq!(row.get("address").text(), format!("127.0.0.1:{}", replica.port()));
        assert_eq!((row.get("role").text(), row.get("health").text()), ("replica", "unknown"), "{row:?}");
        wait_sees(&primary, replica.port(), "that it is in sync", |row| row.get("link").text() == "up");
        assert!(row.get("module").is_nil() && row.get("mode").is_nil(), "{row:?}");

        let rows = replica.run("LTMC.CLUSTER");
        assert_eq!(rows.array().len(), 2, "{rows:?}");
        let address = format!("127.0.0.1:{}", primary.port());
        let (own, other) = (&rows.array()[0], &rows.array()[1]);
        assert_eq!((own.get("role").text(), own.get("primary").text()), ("replica", &address[..]));
        assert_eq!((other.get("role").text(), other.get("address").text()), ("primary", &address[..]));
        assert_eq!((other.get("link").text(), other.get("health").text()), ("up", "unknown"), "{other:?}");
    }
    for server in replicas.iter().chain([&primary]) {
        assert_eq!(server.info_int("ltmc", "ltmc_cluster_reports_sent"), 0);
        assert_eq!(server.run("LTMC.STATUS").get("cluster").int(), 0);
    }
}

#[test]
fn a_replica_that_lost_its_primary_says_so() {
    let primary = Server::start();
    let replica = primary.replica();
    replica.run("CONFIG SET replica-serve-stale-data no").ok();
    let port = primary.port();
    drop(primary);
    wait_sees(&replica, port, "that the link is down", |row| {
        row.get("link").text() == "down" && row.get("age_ms").is_nil()
    });
}
