//! Everything over TLS, with certificates of clients: what `scripts/tls` starts, and more of it.

use crate::harness::*;
use redis::{cmd, RedisResult, Value};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

fn tls_server() -> (Server, Arc<Certificates>) {
    let certificates = Certificates::make();
    (Server::builder().tls(&certificates).start(), certificates)
}

/// redis-cli, or a script that passes these options on to it.
fn run_cli(program: &Path, server: &Server, options: &[String], command: &[&str]) -> Output {
    let mut cli = Command::new(program);
    cli.args(options).args(["-p", &server.port().to_string()]).args(command);
    cli.output().unwrap_or_else(|e| panic!("cannot run {}: {e}", program.display()))
}

/// Both texts of a program.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

#[test]
fn redis_cli_runs_commands_and_the_demo() {
    let (server, certificates) = tls_server();
    let options = certificates.cli_options(Some(&certificates));
    let granted = run_cli(Path::new("redis-cli"), &server, &options, &["LTMC.LOCK", "k", "a", "PX", "600000"]);
    assert!(granted.status.success() && said(&granted).trim().parse::<u64>().is_ok(), "{}", said(&granted));
    assert_eq!(said(&run_cli(Path::new("redis-cli"), &server, &options, &["LTMC.UNLOCK", "k", "a"])).trim(), "1");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let demo = run_cli(&demo, &server, &options, &[]);
    assert!(demo.status.success() && said(&demo).contains("Did the invariants hold?"), "{}", said(&demo));
}

#[test]
fn the_redis_crate_locks_waits_and_speaks_resp3() {
    let (server, _certificates) = tls_server();
    let mut a = server.redis_at(&format!("{}?protocol=resp3", server.url()));
    let mut b = server.redis();
    let fence: u64 = cmd("LTMC.LOCK").arg(&["k", "a", "PX", "600000"]).query(&mut a).unwrap();
    let info: Value = cmd("LTMC.LOCK.INFO").arg("k").query(&mut a).unwrap();
    assert!(matches!(info, Value::Map(_)), "{info:?}");
    let waiter = thread::spawn(move || cmd("LTMC.LOCK").arg(&["k", "b", "BLOCK", "0"]).query::<u64>(&mut b));
    server.wait_blocked(1);
    assert!(cmd("LTMC.UNLOCK").arg(&["k", "a"]).query::<bool>(&mut a).unwrap());
    assert!(waiter.join().expect("the thread does not panic").unwrap() > fence);
}

#[test]
fn only_clients_with_a_certificate_of_the_ca_are_served() {
    let (server, ours) = tls_server();
    let theirs = Certificates::make();
    let ask = |shown: Option<&Certificates>| -> (Output, RedisResult<String>) {
        let client = redis::Client::build_with_tls(server.url(), ours.for_redis(shown)).unwrap();
        let pong = client.get_connection().and_then(|mut connection| cmd("PING").query(&mut connection));
        (run_cli(Path::new("redis-cli"), &server, &ours.cli_options(shown), &["PING"]), pong)
    };
    let (cli, redis) = ask(Some(&ours));
    assert_eq!((said(&cli).trim(), redis.unwrap().as_str()), ("PONG", "PONG"));
    for (who, shown) in [("without a certificate", None), ("with one of another CA", Some(&*theirs))] {
        let (cli, redis) = ask(shown);
        assert!(!cli.status.success() && !said(&cli).contains("PONG"), "redis-cli {who}: {}", said(&cli));
        assert!(redis.is_err(), "the redis crate {who}: {redis:?}");
    }
    server.wait_log("peer did not return a certificate");
    server.wait_log("certificate verify failed");
}

#[test]
fn who_does_not_speak_tls_is_not_served() {
    let (server, _certificates) = tls_server();
    let mut plain = Client::try_connect(server.port()).expect("it listens");
    assert!(!plain.try_send_line("PING") || plain.recv_or_end().is_none(), "PING was answered");
    assert_eq!(server.cmd(&["CONFIG", "GET", "port"]).get("port").text(), "0");
}

#[test]
fn a_replica_gets_what_its_primary_decided() {
    let (primary, _certificates) = tls_server();
    let replica = primary.replica();
    let mut line = primary.clients(2);
    let first = line[0].run("LTMC.LOCK k a PX 600000").int();
    line[1].send_line("LTMC.LOCK k b PX 600000 BLOCK 0");
    primary.wait_blocked(1);
    run(&primary, "LTMC.UNLOCK k a");
    let handed_over = line[1].recv().int();
    assert!(handed_over > first);
    replica.wait_synced(&primary);
    let holder = |server: &Server| server.run("LTMC.LOCK.INFO k").get("holders").array()[0].get("fence").int();
    assert_eq!((holder(&primary), holder(&replica)), (handed_over, handed_over));
    assert_same("over TLS", &primary.dataset(), &replica.dataset());
}

#[test]
fn nodes_of_a_cluster_tell_each_other_of_themselves() {
    let certificates = Certificates::make();
    let cluster = Cluster::start_with(3, Server::builder().tls(&certificates));
    for viewer in &cluster.nodes {
        wait_until("all three nodes have told of themselves", || {
            let rows = viewer.run("LTMC.CLUSTER");
            let told = |row: &&Reply| row.get("module").int() == 1 && row.get("health").text() != "unknown";
            rows.array().iter().filter(told).count() == 3
        });
        assert_eq!(viewer.info_int("ltmc", "ltmc_cluster_peers"), 2);
    }
    let key = "{team}:repo";
    let fence = cluster.node_of(key).run(&format!("LTMC.LOCK {key} a PX 600000")).int();
    // Nodes send the keys of a slot that moves to each other by MIGRATE.
    let slot = cluster.slot(key);
    let from = cluster.owner(slot);
    cluster.migrate_slot(slot, from, (from + 1) % 3);
    assert_eq!(cluster.node_of(key).run(&format!("LTMC.LOCK.CHECK {key} {fence}")).int(), 1);
}
