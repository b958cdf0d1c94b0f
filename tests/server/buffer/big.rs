//! Many megabytes in chunks of 64 KB: on a replica and through every file.

use super::*;
use std::time::Instant;

const CHUNK: usize = 64 * 1024;

/// Fills a buffer with this many bytes and takes it through everything that copies it.
fn large_buffer(bytes: u64) {
    let started = Instant::now();
    let say = |what: &str| println!("{:6.1} s: {what}", started.elapsed().as_secs_f64());
    let count = bytes / CHUNK as u64;
    let mut primary = Server::builder().durable().arg("client-output-buffer-limit", "replica 0 0 0").start();
    let replica = primary.replica();
    let room = bytes + bytes / 8;
    run(&primary, &format!("LTMC.CHUNK.BUFFER b MAXBYTES {room} MINBYTES {room} POLICY NONE"));
    fill(&primary, count, CHUNK);
    say("filled");
    let taken = run(&primary, "MEMORY USAGE b").int() as f64 / bytes as f64;
    assert!(taken < 1.02, "MEMORY USAGE is {taken} times what is in it");
    let check = |server: &Server, way: &str| {
        assert_eq!(stat(server, "chunks") as u64, count, "{way}");
        for n in (0..count).step_by(count as usize / 64) {
            assert!(read(server, &format!("c{n}")) == Some(content(n, CHUNK)), "{way}: chunk {n}");
        }
        say(way);
    };
    wait_for(&primary, &replica);
    check(&replica, "live replica");
    let digest = |server: &Server| slow(server, "DEBUG DIGEST-VALUE b").array()[0].text().to_string();
    let before = digest(&primary);
    assert_eq!(digest(&replica), before);
    slow(&primary, "DEBUG LOADAOF").ok();
    check(&primary, "AOF as it was written");
    slow(&primary, "DEBUG RELOAD").ok();
    check(&primary, "RDB");
    slow(&primary, "CONFIG SET aof-use-rdb-preamble no").ok();
    rewrite(&primary);
    slow(&primary, "DEBUG LOADAOF").ok();
    check(&primary, "AOF of commands");
    assert_eq!(digest(&primary), before);
    let late = Server::builder().start();
    late.run(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).ok();
    wait_for(&primary, &late);
    check(&late, "replica that joins later");
    primary.kill();
    let freed = Instant::now();
    run(&replica, "REPLICAOF NO ONE");
    run(&replica, "UNLINK b");
    assert!(freed.elapsed().as_secs_f64() < 1.0, "UNLINK took {:?}", freed.elapsed());
    say("freed");
}

/// The reply of a command that may take long.
fn slow(server: &Server, line: &str) -> Reply {
    let mut client = server.client();
    client.send_line(line);
    client.recv_within(600_000).unwrap_or_else(|| panic!("{line} takes more than ten minutes"))
}

fn rewrite(server: &Server) {
    let before = server.info_int("persistence", "aof_rewrites");
    assert!(!server.run("BGREWRITEAOF").is_error());
    let done = || {
        let info = server.info("persistence");
        info["aof_rewrite_in_progress"] == "0" && server.info_int("persistence", "aof_rewrites") > before
    };
    assert!(holds_within(PATIENCE * 30, done), "the AOF is not rewritten");
}

fn wait_for(primary: &Server, replica: &Server) {
    let synced = || {
        let info = replica.info("replication");
        info["master_link_status"] == "up"
            && info.get("slave_repl_offset") == primary.info("replication").get("master_repl_offset")
    };
    assert!(holds_within(PATIENCE * 30, synced), "the replica does not follow");
}

#[test]
fn sixty_four_megabytes_in_chunks_go_through_every_way() {
    large_buffer(64 << 20);
}

/// Takes minutes and several gigabytes of memory and disk: `cargo test --features test-hooks --test
/// server -- --ignored gigabyte --nocapture`.
#[test]
#[ignore = "takes minutes and gigabytes"]
fn a_gigabyte_in_chunks_goes_through_every_way() {
    large_buffer(1 << 30);
}
