//! What survives, and what replicas and files get.

use super::*;

/// Everything that can happen to a buffer. None of it ends during a test.
pub fn make_everything(server: &Server) {
    run(server, "LTMC.CHUNK.BUFFER b MAXBYTES 3000000 MINBYTES 3000000 POLICY LRU");
    for n in 0..20 {
        put(server, &format!("c{n}"), &content(n / 3, [0, 10, 512, 513, 5000, 100_000][n as usize % 6]));
    }
    let far = [
        format!("LTMC.CHUNK.PUT b mortal x PX {FAR_MS} META {{\"k\":1}}"),
        format!("LTMC.CHUNK.PUT b pinned x PIN ada {FAR_MS}"),
        format!("LTMC.CHUNK.PIN b pinned bob PX {FAR_MS}"),
        format!("LTMC.CHUNK.ALLOC b ID open SIZE 70000 AGENT ada PX {FAR_MS} META [1]"),
        "LTMC.CHUNK.WRITE b open 100 text".to_string(),
        format!("LTMC.CHUNK.ALLOC b ID filled SIZE 3000 AGENT ada REQID r1 PX {FAR_MS}"),
        "LTMC.CHUNK.WRITE b filled 1000 abc".to_string(),
        format!("LTMC.CHUNK.SEAL b filled PX {FAR_MS}"),
        "LTMC.CHUNK.PUT b * generated REQID r2".to_string(),
        "LTMC.CHUNK.RETAIN b c4 ada".to_string(),
        "LTMC.CHUNK.RETAIN b c4 an-agent-with-a-long-name".to_string(),
        "LTMC.CHUNK.RETAIN b c5 ada".to_string(),
        "LTMC.CHUNK.RELEASE b c5 ada".to_string(),
        "LTMC.CHUNK.UNPIN b pinned bob".to_string(),
        "LTMC.CHUNK.META b c1 {\"a\":[1,2,3]}".to_string(),
        "LTMC.CHUNK.WRITE b c4 17 shared-before".to_string(),
        "LTMC.CHUNK.SEAL b c4".to_string(),
        "LTMC.CHUNK.PUT b c3 another IFVERSION 1".to_string(),
        "LTMC.CHUNK.FREE b c6 c7".to_string(),
    ];
    far.iter().for_each(|line| drop(run(server, line)));
    // Some chunks are evicted, and the bounds change.
    for n in 0..40 {
        put(server, &format!("big{n}"), &content(100 + n, 100_000));
    }
    assert!(stat(server, "evicted") > 5);
    run(server, "LTMC.CHUNK.BUFFER b MAXBYTES 4000000 MINBYTES 1000000");
    server.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), b"b", b"\xff\x00\r\n", b"\x80\x00 any"]).array();
    run(server, "LTMC.CHUNK.BUFFER empty RING");
    wait_until("what was written rests", || !info(server, "c4").get("hash").is_nil());
}

/// What is read of all chunks, and what is known of them apart from their use.
fn readable(server: &Server) -> Vec<String> {
    let mut seen = Vec::new();
    for id in server.run("LTMC.CHUNK.LIST b").array() {
        let of = |word: &str| server.cmd(&[word.as_bytes(), b"b", id.bytes()]);
        let info = of("LTMC.CHUNK.INFO");
        let known = info.pairs().into_iter().filter(|(name, _)| !name.text().starts_with("reads_"));
        seen.push(format!("{:?} {:?}", known.collect::<Vec<_>>(), of("LTMC.CHUNK.READ")));
    }
    seen.push(format!("{:?}", story(server)));
    seen
}

#[test]
fn everything_that_can_happen_to_a_buffer_is_persisted_everywhere() {
    let mut primary = Server::builder().durable().start();
    let replica = primary.replica();
    make_everything(&primary);
    let seen = readable(&primary);
    replica.wait_synced(&primary);
    assert_eq!(readable(&replica), seen, "live replica");
    assert_persisted_everywhere(&primary, &[&replica]);
    assert_eq!(readable(&primary), seen, "what was reloaded");
    let physical = stat(&replica, "physical_bytes");
    assert_eq!(stat(&primary, "physical_bytes"), physical, "equal contents are there once, however they came");
    let before = primary.dataset();
    primary.kill();
    replica.promote();
    assert_same("promoted replica", &before, &replica.dataset());
    // It continues: retries are known, versions grow, and what is held stays.
    let again = format!("LTMC.CHUNK.ALLOC b ID filled SIZE 3000 AGENT ada REQID r1 PX {FAR_MS}");
    assert_eq!(run(&replica, &again).text(), "filled");
    assert_eq!(put(&replica, "c3", b"more"), 3);
    assert_eq!(replica.run("LTMC.CHUNK.FREE b pinned").error_code(), "BADSTATE");
}

/// The words of what a command sends, without `MULTI` and `EXEC`.
fn sent(server: &Server, words: &[&[u8]]) -> Vec<Vec<Vec<u8>>> {
    let stream = replication_stream(server, || assert!(!server.cmd(words).is_error()));
    stream.into_iter().filter(|command| command.len() > 1).collect()
}

#[test]
fn a_write_sends_what_it_writes_a_put_sends_its_bytes_beside_the_event_and_a_read_sends_nothing() {
    let server = Server::start();
    let data = content(7, 100_000);
    let sent_put = sent(&server, &[b"LTMC.CHUNK.PUT", b"b", b"a", &data]);
    let last = sent_put.last().expect("something");
    assert!(last[2].len() < 200 && last[3] == data, "{} bytes of payload", last[2].len());
    let explained = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &last[2], &last[3]]);
    assert!(explained.text().contains("\"Put\"") && explained.text().contains("100000 bytes"), "{explained:?}");
    let written = sent(&server, &[b"LTMC.CHUNK.WRITE", b"b", b"a", b"50000", b"a few bytes"]);
    assert_eq!(written.len(), 1);
    assert!(written[0].iter().map(Vec::len).sum::<usize>() < 200, "the range, not the chunk");
    wait_until("it rests", || !info(&server, "a").get("hash").is_nil());
    for line in [
        "LTMC.CHUNK.READ b a",
        "LTMC.CHUNK.READ b none",
        "LTMC.CHUNK.MGET b a none",
        "LTMC.CHUNK.HAVE b 1 0000000000000000",
        "LTMC.CHUNK.POPULAR b",
        "LTMC.CHUNK.STATS b",
        "LTMC.CHUNK.INFO b a",
        "LTMC.CHUNK.LIST b",
        "LTMC.CHUNK.META b a",
        "LTMC.CHUNK.RELEASE b a nobody",
        "LTMC.CHUNK.FREE b none",
        "LTMC.CHUNK.SEAL b a",
        "LTMC.CHUNK.PUT b a x IFVERSION 99",
    ] {
        let stream = replication_stream(&server, || drop(server.run(line)));
        assert!(stream.is_empty(), "{line}: {:?}", show_stream(&stream));
    }
}

#[test]
fn what_the_scheduler_ends_and_evicts_reaches_the_replica() {
    let server = Server::start();
    let replica = server.replica();
    run(&server, "LTMC.CHUNK.BUFFER b MAXBYTES 10000000 MINBYTES 10000000 POLICY LRU");
    fill(&server, 100, 10_000);
    run(&server, "LTMC.CHUNK.PUT b mortal x PX 60000");
    run(&server, "LTMC.CHUNK.ALLOC b ID open SIZE 10 PX 60000");
    run(&server, "LTMC.CHUNK.PIN b c99 ada PX 60000");
    set_clock(&server, 60_001);
    run(&server, "LTMC.CHUNK.RESIZE b MAXBYTES 300000");
    wait_until("all of it is done", || stat(&server, "used_bytes") <= 300_000 && stat(&server, "pinned") == 0);
    wait_until("the replica has heard of it", || {
        replica.wait_synced(&server);
        server.dataset() == replica.dataset()
    });
    assert_eq!(ids(&server), replica.run("LTMC.CHUNK.LIST b").texts());
    assert!(ids(&server).len() < 40);
}
