//! What `LTMC.CLUSTER` says of nodes that reported, that did not, and that fell silent.

use crate::server::Server;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::host::Member;
use ltmc::command::host::{replication_members, Link};
use ltmc::command::reply::Reply;
use ltmc::domain::node_report::{NodeId, Report};
use std::collections::BTreeMap;

fn id(letter: u8) -> NodeId {
    [letter; 40]
}

fn member(letter: u8) -> Member {
    Member { id: Some(id(letter)), address: format!("10.0.0.1:{letter}"), ..Member::default() }
}

/// The rows of the reply, each by the names of its fields.
fn shown(server: &mut Server) -> Vec<BTreeMap<String, Reply>> {
    let Outcome::Reply(Reply::Array(rows)) = server.run(1, "LTMC.CLUSTER") else {
        panic!("no list");
    };
    let fields = |row| match row {
        Reply::Map(fields) => fields.into_iter().map(|(name, value)| (name.into_owned(), value)).collect(),
        other => panic!("no map: {other:?}"),
    };
    rows.into_iter().map(fields).collect()
}

fn text(text: &'static str) -> Reply {
    Reply::text(text)
}

fn report(mode: &str) -> Report {
    Report {
        version: "9.9.9".into(),
        role: "replica".into(),
        mode: mode.into(),
        health: "ok".into(),
        ..Report::default()
    }
}

#[test]
fn nodes_are_shown_as_far_as_they_told_of_themselves() {
    let mut server = Server::new();
    let myself = Member { is_self: true, ..member(b'c') };
    server.host.members = vec![member(b'd'), member(b'b'), myself, member(b'a')];
    let now = server.host.now;
    server.node.peers.hear(id(b'a'), report("full"), now - 400);
    server.node.peers.hear(id(b'b'), report("debug"), now - 60_000);
    let rows = shown(&mut server);
    let of = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    let ids = [b'c', b'a', b'b', b'd'].map(|letter| Reply::text(String::from_utf8_lossy(&id(letter)).into_owned()));
    assert_eq!(of("id"), ids, "this node first, then by id");
    assert_eq!(of("health"), [text("ok"), text("ok"), text("unknown"), text("unknown")]);
    assert_eq!(of("mode"), [text("basic"), text("full"), text("debug"), Reply::Nil]);
    assert_eq!(of("age_ms"), [Reply::Integer(0), Reply::Integer(400), Reply::Integer(60_000), Reply::Nil]);
    assert_eq!(of("module"), [1, 1, 1, 0].map(Reply::Integer));
    // A silent node may have changed its role, so here the cluster's word counts.
    assert_eq!(of("role"), [text("primary"), text("replica"), text("primary"), text("primary")]);
    assert_eq!(of("commands")[3], Reply::Nil);
    assert_eq!(rows[0].len(), rows[3].len());
}

#[test]
fn the_health_of_this_node_is_degraded_by_a_panic() {
    let mut server = Server::new();
    server.host.members = vec![Member { is_self: true, ..member(b'a') }];
    (0..2).for_each(|_| server.node.count_panic(None));
    let rows = shown(&mut server);
    assert_eq!((&rows[0]["health"], &rows[0]["panics"]), (&text("degraded"), &Reply::Integer(2)));
}

/// What a server with these lines in INFO knows of other nodes.
fn members(lines: &[(&str, &str)]) -> Vec<Member> {
    let lines: BTreeMap<&str, &str> = lines.iter().copied().collect();
    replication_members(6379, |field| lines.get(field).map(|value| value.to_string()))
}

#[test]
fn a_primary_without_cluster_knows_its_replicas() {
    let found = members(&[
        ("slave0", "ip=10.0.0.2,port=7000,state=online,offset=56,lag=1"),
        ("slave1", "ip=fe80::1,port=7001,state=wait_bgsave,offset=0,lag=0"),
        ("slave2", "nonsense"),
    ]);
    let myself = Member { address: ":6379".into(), is_self: true, ..Member::default() };
    let replica = |address: &str, link, age_ms| Member {
        address: address.into(),
        is_replica: true,
        primary: ":6379".into(),
        link,
        age_ms,
        ..Member::default()
    };
    let replicas = [replica("10.0.0.2:7000", Link::Up, Some(1000)), replica("fe80::1:7001", Link::Syncing, None)];
    assert_eq!(found, [&[myself], &replicas[..]].concat());
}

#[test]
fn a_replica_without_cluster_knows_its_primary() {
    let primary = [("master_host", "10.0.0.1"), ("master_port", "6379")];
    let with = |more: &[(&'static str, &'static str)]| {
        let found = members(&[&primary[..], more].concat());
        assert_eq!(found.len(), 2);
        assert!(found[0].is_self && found[0].is_replica && !found[1].is_replica);
        assert_eq!((&found[0].primary, &found[1].address), (&"10.0.0.1:6379".into(), &"10.0.0.1:6379".into()));
        (found[1].link, found[1].age_ms)
    };
    assert_eq!(with(&[("master_link_status", "up"), ("master_last_io_seconds_ago", "3")]), (Link::Up, Some(3000)));
    let down = [("master_link_status", "down"), ("master_last_io_seconds_ago", "-1")];
    assert_eq!(with(&down), (Link::Down, None));
    assert_eq!(with(&[down[0], ("master_sync_in_progress", "1")]), (Link::Syncing, None));
}
