//! Real clients under each role: each may send what it sends of itself. The server notes every
//! refusal in its `ACL LOG`, so a role has all that it needs if that stays empty.

use super::*;
use redis::{cmd, RedisResult};
use std::path::Path;
use std::process::Command;
use std::thread;

/// A command of each role on a key of the team.
const WORK: [(&str, &str); 5] = [
    ("agent", "LTMC.LOCK KEY me"),
    ("coordinator", "LTMC.CHUNK.BUFFER KEY"),
    ("observer", "LTMC.LOCK.INFO KEY"),
    ("operator", "LTMC.LOCK.BREAK KEY"),
    ("auditor", "LTMC.STATUS"),
];

fn assert_nothing_refused(server: &Server, of: &str) {
    let log = server.run("ACL LOG");
    assert!(log.array().is_empty(), "{of}: {log:?}");
}

fn command(line: &str, key: &str) -> redis::Cmd {
    let words = line.split(' ').map(|word| if word == "KEY" { key } else { word });
    words.fold(redis::Cmd::new(), |mut command, word| command.arg(word).clone())
}

#[test]
fn the_redis_crate_works_in_a_pool_under_each_role() {
    let server = Server::start();
    add_users(&server);
    for protocol in ["", "?protocol=resp3"] {
        for (role, line) in WORK {
            let url = format!("redis://{role}:change-me@127.0.0.1:{}/1{protocol}", server.port());
            let client = redis::Client::open(url).expect("a url");
            let work = |number: usize| -> RedisResult<()> {
                let mut connection = client.get_connection()?;
                let () = command(line, &format!("{{team}}:{role}{number}")).query(&mut connection)?;
                let () = cmd("CLIENT").arg("SETNAME").arg("pool").query(&mut connection)?;
                let pair = redis::pipe().atomic().cmd("PING").cmd("LTMC.STATUS").clone();
                pair.exec(&mut connection)
            };
            thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|number| scope.spawn(move || work(number))).collect();
                threads.into_iter().for_each(|thread| thread.join().expect("no panic").expect(role));
            });
            assert_nothing_refused(&server, role);
        }
    }
}

#[test]
fn the_redis_crate_works_in_a_cluster_under_each_role() {
    let cluster = Cluster::start(3);
    cluster.nodes.iter().for_each(add_users);
    let urls = || cluster.nodes.iter().map(|node| format!("redis://127.0.0.1:{}", node.port()));
    for (role, line) in WORK {
        let builder = redis::cluster::ClusterClient::builder(urls().take(1));
        let client = builder.username(role).password("change-me").build().expect("a client");
        let mut connection = client.get_connection().expect(role);
        for team in ["team", "team}:other{"] {
            let () = command(line, &format!("{{{team}}}:{role}")).query(&mut connection).expect(role);
        }
        cluster.nodes.iter().for_each(|node| assert_nothing_refused(node, role));
    }
}

/// Runs a program that connects as each role: to a server, and to a cluster.
fn run_program(program: &str, script: &str) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let server = Server::start();
    let cluster = Cluster::start(3);
    let all: Vec<&Server> = cluster.nodes.iter().chain([&server]).collect();
    all.iter().for_each(|server| add_users(server));
    let work = WORK.iter().map(|(role, line)| format!("{role} {line}"));
    let ports = [&server, &cluster.nodes[0]].map(|server| server.port().to_string());
    let output = Command::new(program)
        .arg(top.join("tests/server/security").join(script))
        .arg(top.join("target/clients"))
        .args(ports)
        .args(work)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; scripts/test-clients installs what is needed"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{script}: {said}");
    assert!(!said.contains("NOPERM"), "{script}: {said}");
    all.iter().for_each(|server| assert_nothing_refused(server, script));
}

#[test]
#[ignore = "needs redis-py: make test-clients"]
fn redis_py_works_in_pools_and_clusters_under_each_role() {
    run_program("python3", "redis_py.py");
}

#[test]
#[ignore = "needs ioredis: make test-clients"]
fn ioredis_works_alone_and_in_clusters_under_each_role() {
    run_program("node", "ioredis.mjs");
}
