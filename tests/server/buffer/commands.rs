//! What the commands of chunk buffers do.

use super::*;

#[test]
fn a_chunk_is_filled_in_parts_and_nobody_reads_it_before_it_is_sealed() {
    let server = Server::start();
    assert_eq!(run(&server, "LTMC.CHUNK.ALLOC b ID a SIZE 10 AGENT ada META {\"k\":1}").text(), "a");
    assert_eq!(run(&server, "LTMC.CHUNK.WRITE b a 2 xyz").int(), 2);
    assert_eq!(read(&server, "a"), None);
    assert!(server.run("LTMC.CHUNK.MGET b a").array()[0].is_nil());
    assert_eq!(info(&server, "a").get("state").text(), "unsealed");
    assert_eq!(run(&server, "LTMC.CHUNK.SEAL b a").int(), 2);
    assert_eq!(read(&server, "a").as_deref(), Some(b"\0\0xyz\0\0\0\0\0".as_slice()));
    let shown = info(&server, "a");
    assert_eq!((shown.get("state").text(), shown.get("owner").text()), ("sealed", "ada"));
    assert_eq!((shown.get("bytes").int(), shown.get("meta").text()), (10, "{\"k\":1}"));
    assert!(shown.get("ends_at_ms").is_nil(), "the lease is over, and no time to live was given");
    assert_eq!(run(&server, "LTMC.CHUNK.SEAL b a").int(), 2, "once more changes nothing");
    let named = run(&server, "LTMC.CHUNK.ALLOC b SIZE 0").text().to_string();
    run(&server, &format!("LTMC.CHUNK.SEAL b {named}"));
    assert_eq!(read(&server, &named).as_deref(), Some(b"".as_slice()));
}

#[test]
fn a_range_gives_what_there_is_and_nothing_is_written_past_the_end() {
    let server = Server::start();
    put(&server, "a", b"0123456789");
    let part =
        |offset: u64, length: u64| run(&server, &format!("LTMC.CHUNK.READ b a {offset} {length}")).bytes().to_vec();
    assert_eq!((part(0, 3), part(7, 3), part(8, 100)), (b"012".to_vec(), b"789".to_vec(), b"89".to_vec()));
    assert_eq!((part(10, 1), part(500, 1), part(3, 0)), (Vec::new(), Vec::new(), Vec::new()));
    assert_eq!(run(&server, "LTMC.CHUNK.WRITE b a 8 xy").int(), 2);
    for line in ["LTMC.CHUNK.WRITE b a 9 xy", "LTMC.CHUNK.WRITE b a 11 x", "LTMC.CHUNK.WRITE b a 536870912 x"] {
        let refused = server.run(line);
        assert!(refused.error_code() == "ERR" && refused.error().contains("10 bytes"), "{refused:?}");
    }
    assert_eq!(read(&server, "a").as_deref(), Some(b"01234567xy".as_slice()));
}

#[test]
fn each_content_has_a_version_and_an_old_one_does_not_win() {
    let server = Server::start();
    run(&server, "LTMC.CHUNK.BUFFER b");
    assert_eq!(put(&server, "a", b"one"), 1);
    assert_eq!(run(&server, "LTMC.CHUNK.PUT b a two IFVERSION 1").array()[1].int(), 2);
    let refused = server.run("LTMC.CHUNK.PUT b a three IFVERSION 1");
    assert_eq!(refused.error(), "CONFLICT version 1 is not current, the current one is 2");
    assert_eq!(server.run("LTMC.CHUNK.WRITE b a 0 x IFVERSION 1").error_code(), "CONFLICT");
    assert_eq!(run(&server, "LTMC.CHUNK.WRITE b a 0 x IFVERSION 2").int(), 3);
    assert_eq!(server.run("LTMC.CHUNK.PUT b a y IFVERSION 0").error_code(), "CONFLICT", "it is there");
    assert_eq!(read(&server, "a").as_deref(), Some(b"xwo".as_slice()));
    // A later chunk of the same name is not mistaken for the earlier one.
    assert_eq!(run(&server, "LTMC.CHUNK.FREE b a").int(), 1);
    assert_eq!(run(&server, "LTMC.CHUNK.PUT b a anew IFVERSION 0").array()[1].int(), 4);
    assert_eq!(server.run("LTMC.CHUNK.ALLOC b ID a SIZE 5").error_code(), "CONFLICT");
}

#[test]
fn a_request_that_is_sent_again_is_answered_as_before_and_done_once() {
    let server = Server::start();
    let once = |line: &str| {
        let (first, again) = (run(&server, line), run(&server, line));
        assert_eq!(first, again, "{line}");
        first
    };
    let id = once("LTMC.CHUNK.PUT b * data REQID r1").array()[0].text().to_string();
    assert_eq!(ids(&server), [id]);
    once("LTMC.CHUNK.ALLOC b SIZE 5 AGENT ada REQID r1");
    assert_eq!(ids(&server).len(), 2);
    once("LTMC.CHUNK.PUT b a data PIN ada 60000 REQID r1x");
    assert_eq!((info(&server, "a").get("version").int(), ids(&server).len()), (1, 3));
    let other = run(&server, "LTMC.CHUNK.PUT b * data REQID r2");
    assert_ne!(other.array()[0].text(), ids(&server)[0]);
}

#[test]
fn equal_contents_are_there_once_and_found_by_their_hash() {
    let server = Server::start();
    let data = vec![b'x'; 100_000];
    put(&server, "a", &data);
    let alone = server.info_int("memory", "used_memory");
    for n in 0..50 {
        put(&server, &format!("a{n}"), &data);
    }
    assert!(server.info_int("memory", "used_memory") - alone < 100_000, "fifty more cost less than one");
    let stats = run(&server, "LTMC.CHUNK.STATS b");
    assert_eq!((stats.get("logical_bytes").int(), stats.get("physical_bytes").int()), (5_100_000, 100_000));
    assert_eq!(stats.get("ratio").text(), "51.000");
    // The XXH64 of a text, as every implementation computes it.
    put(&server, "known", b"Nobody inspects the spammish repetition");
    assert_eq!(info(&server, "known").get("hash").text(), "fbcea83c8a378bf1");
    let have = run(&server, "LTMC.CHUNK.HAVE b 3 FBCEA83C8A378BF1 0000000000000000 ef46db3751d8e999");
    assert_eq!(have.array()[0].text(), "known");
    assert!(have.array()[1].is_nil() && have.array()[2].is_nil());
    // An allocated and sealed chunk is matched with its equal, too.
    run(&server, "LTMC.CHUNK.ALLOC b ID parts SIZE 100000");
    server.cmd(&[b"LTMC.CHUNK.WRITE".as_slice(), b"b", b"parts", b"0", &data]).int();
    assert_eq!(stat(&server, "physical_bytes"), 200_039);
    run(&server, "LTMC.CHUNK.SEAL b parts");
    assert_eq!((stat(&server, "physical_bytes"), info(&server, "parts").get("shared").int()), (100_039, 1));
}

#[test]
fn a_write_to_a_shared_content_changes_one_chunk_and_is_shared_again_when_it_rests() {
    let server = Server::start();
    let data = vec![b'x'; 10_000];
    ["a", "b", "c"].into_iter().for_each(|id| {
        put(&server, id, &data);
    });
    assert_eq!(stat(&server, "physical_bytes"), 10_000);
    run(&server, "LTMC.CHUNK.WRITE b b 5000 y");
    assert_eq!(stat(&server, "physical_bytes"), 20_000);
    assert!(read(&server, "a") == read(&server, "c") && read(&server, "a").as_deref() == Some(&data[..]));
    assert_eq!(read(&server, "b").expect("it is there")[5000], b'y');
    assert!(info(&server, "b").get("hash").is_nil(), "it is not known while it is written");
    run(&server, "LTMC.CHUNK.WRITE b b 5000 x");
    wait_until("it is found to be equal again", || stat(&server, "physical_bytes") == 10_000);
    assert_eq!(info(&server, "b").get("version").int(), 3);
    run(&server, "LTMC.CHUNK.WRITE b c 0 z");
    run(&server, "LTMC.CHUNK.SEAL b c");
    assert!(!info(&server, "c").get("hash").is_nil(), "sealing again does it at once");
}

#[test]
fn chunks_are_listed_by_agent_and_described_by_json() {
    let server = Server::start();
    (0..5).for_each(|n| {
        put(&server, &format!("c{n}"), b"x");
    });
    run(&server, "LTMC.CHUNK.ALLOC b ID mine SIZE 1 AGENT ada");
    run(&server, "LTMC.CHUNK.RETAIN b c1 ada");
    run(&server, "LTMC.CHUNK.PIN b c3 ada PX 60000");
    run(&server, "LTMC.CHUNK.PIN b c3 bob EX 60");
    assert_eq!(ids(&server), ["c0", "c1", "c2", "c3", "c4", "mine"]);
    assert_eq!(run(&server, "LTMC.CHUNK.LIST b LIMIT 2 3").texts(), ["c2", "c3", "c4"]);
    assert_eq!(run(&server, "LTMC.CHUNK.LIST b AGENT ada").texts(), ["c1", "c3", "mine"]);
    assert_eq!(run(&server, "LTMC.CHUNK.LIST b AGENT ada LIMIT 1 1").texts(), ["c3"]);
    run(&server, "LTMC.CHUNK.UNPIN b c3 ada");
    assert_eq!(run(&server, "LTMC.CHUNK.LIST b AGENT ada").texts(), ["c1", "mine"]);
    let agents = run(&server, "LTMC.CHUNK.STATS b").get("agents").array().to_vec();
    let held: Vec<_> = agents.iter().map(|agent| (agent.get("agent").text(), agent.get("chunks").int())).collect();
    assert_eq!(held, [("ada", 2), ("bob", 1)]);
    assert!(server.run("LTMC.CHUNK.META b c0").is_nil());
    run(&server, "LTMC.CHUNK.META b c0 {\"lang\":\"de\"}").ok();
    assert_eq!(run(&server, "LTMC.CHUNK.META b c0").text(), "{\"lang\":\"de\"}");
    assert_eq!(info(&server, "c0").get("version").int(), 1, "metadata are no content");
    run(&server, "LTMC.CHUNK.META b c0 null").ok();
    assert!(server.run("LTMC.CHUNK.META b c0").is_nil());
    assert!(server.run("LTMC.CHUNK.META b c0 {").error().contains("JSON"));
}

#[test]
fn what_is_read_most_is_popular_on_the_node_that_is_asked() {
    let server = Server::start();
    let replica = server.replica();
    (0..20).for_each(|n| {
        put(&server, &format!("c{n}"), b"x");
    });
    for n in 0..20 {
        (0..n).for_each(|_| drop(read(&server, &format!("c{n}"))));
    }
    let most = run(&server, "LTMC.CHUNK.POPULAR b LIMIT 3");
    let pairs: Vec<_> = most.array().iter().map(|pair| (pair.array()[0].text(), pair.array()[1].int())).collect();
    assert_eq!(pairs, [("c19", 19), ("c18", 18), ("c17", 17)]);
    assert_eq!(run(&server, "LTMC.CHUNK.POPULAR b").array().len(), 10);
    assert_eq!(info(&server, "c7").get("reads_24h").int(), 7);
    run(&server, "LTMC.CHUNK.FREE b c19");
    set_clock(&server, 3_600_000);
    assert!(server.run("LTMC.CHUNK.POPULAR b WINDOW 1h").array().is_empty());
    assert_eq!(run(&server, "LTMC.CHUNK.POPULAR b WINDOW 4H LIMIT 1").array()[0].array()[0].text(), "c18");
    replica.wait_synced(&server);
    assert!(replica.run("LTMC.CHUNK.POPULAR b WINDOW 24H").array().is_empty(), "nobody has read there");
    replica.run("LTMC.CHUNK.READ b c3");
    assert_eq!(run(&replica, "LTMC.CHUNK.POPULAR b").array()[0].array()[0].text(), "c3");
    let stats = run(&server, "LTMC.CHUNK.STATS b");
    assert_eq!((stats.get("hits").int(), stats.get("misses").int()), (190, 0));
}

#[test]
fn what_happens_to_a_buffer_is_notified_and_can_be_watched() {
    let server = Server::builder().arg("notify-keyspace-events", "Kd").start();
    let mut listener = server.client();
    listener.run("SUBSCRIBE __keyspace@0__:b");
    let expected = [
        ("LTMC.CHUNK.BUFFER b MAXBYTES 1000000 MINBYTES 1000000", "buffer.configured"),
        ("LTMC.CHUNK.PUT b a data PIN ada 50000", "chunk.put"),
        ("LTMC.CHUNK.ALLOC b ID n SIZE 4", "chunk.allocated"),
        ("LTMC.CHUNK.WRITE b n 1 xy", "chunk.written"),
        ("LTMC.CHUNK.SEAL b n", "chunk.sealed"),
        ("LTMC.CHUNK.RETAIN b n bob", "chunk.retained"),
        ("LTMC.CHUNK.RELEASE b n bob", "chunk.released"),
        ("LTMC.CHUNK.PIN b n bob PX 50000", "chunk.pinned"),
        ("LTMC.CHUNK.UNPIN b n bob", "chunk.unpinned"),
        ("LTMC.CHUNK.META b n [1]", "chunk.described"),
        ("LTMC.CHUNK.FREE b n", "chunk.freed"),
    ];
    for (line, event) in expected {
        run(&server, line);
        let message = listener.recv();
        assert_eq!(message.array()[2].text(), event, "{line}");
    }
    run(&server, "LTMC.CHUNK.RESIZE b MAXBYTES 500000");
    let told = story(&server);
    let names: Vec<&str> = told.iter().map(|(name, _)| &**name).collect();
    let all: Vec<&str> =
        expected.iter().map(|(_, event)| *event).chain(["buffer.configured", "buffer.resized"]).collect();
    assert_eq!(names, all);
    assert_eq!((&told[1].1["chunk"], &told[1].1["bytes"]), (&"a".into(), &4.into()));
    assert_eq!((&told[12].1["size_bytes"], &told[12].1["why"]), (&500_000.into(), &"asked".into()));
    let mut watcher = server.client();
    server.block_in_turn(std::slice::from_mut(&mut watcher), |_| "LTMC.WATCH 1 b SINCE $ BLOCK 0".to_string());
    put(&server, "later", b"x");
    assert!(format!("{:?}", watcher.recv()).contains("chunk.put"));
}

#[test]
fn a_buffer_that_a_write_made_goes_with_its_last_chunk_and_one_that_was_made_stays() {
    let server = Server::start();
    put(&server, "a", b"x");
    assert_eq!(run(&server, "TYPE b").text(), "ltmcchunk");
    assert_eq!(run(&server, "LTMC.CHUNK.FREE b a none a").int(), 1);
    assert_eq!(server.run("EXISTS b").int(), 0);
    run(&server, "LTMC.CHUNK.BUFFER b POLICY LRU");
    put(&server, "a", b"x");
    run(&server, "LTMC.CHUNK.FREE b a");
    assert_eq!((server.run("EXISTS b").int(), stat(&server, "chunks")), (1, 0));
    assert_eq!(run(&server, "LTMC.CHUNK.STATS b").get("policy").text(), "LRU");
    run(&server, "LTMC.CHUNK.BUFFER b RING");
    assert_eq!(run(&server, "LTMC.CHUNK.STATS b").get("policy").text(), "RING");
    assert_eq!(run(&server, "DEL b").int(), 1);
}

#[test]
fn commands_of_chunks_work_in_transactions_scripts_and_resp3() {
    let server = Server::start();
    let mut client = server.client();
    client.run("MULTI").ok();
    for line in
        ["LTMC.CHUNK.ALLOC b ID a SIZE 3", "LTMC.CHUNK.WRITE b a 0 abc", "LTMC.CHUNK.SEAL b a", "LTMC.CHUNK.READ b a"]
    {
        client.run(line);
    }
    let replies = client.run("EXEC");
    assert_eq!(replies.array()[3].text(), "abc");
    let script = "local made = redis.call('LTMC.CHUNK.PUT', KEYS[1], '*', ARGV[1]) return redis.call('LTMC.CHUNK.READ', KEYS[1], made[1], 1, 2)";
    assert_eq!(server.cmd(&["EVAL", script, "1", "b", "text"]).text(), "ex");
    client.resp3();
    let stats = client.run("LTMC.CHUNK.STATS b");
    assert_eq!((stats.get("chunks").int(), stats.get("unsealed").int()), (2, 0));
    // A write changes a watched key, a read does not.
    client.run("WATCH b").ok();
    read(&server, "a");
    client.run("MULTI").ok();
    client.run("PING");
    assert!(!client.run("EXEC").is_nil());
    client.run("WATCH b").ok();
    run(&server, "LTMC.CHUNK.RETAIN b a ada");
    client.run("MULTI").ok();
    client.run("PING");
    assert!(client.run("EXEC").is_nil());
}
