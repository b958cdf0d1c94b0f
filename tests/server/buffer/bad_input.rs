//! What is refused, how, and that it changes nothing.

use super::*;
use crate::bad_input::{all_refusals, Refusals, FIXED, OPEN, SYNTAX};

/// A server with a buffer, a lock and a text that must not change.
fn with_data() -> Server {
    let server = Server::start();
    put(&server, "a", b"0123456789");
    run(&server, "LTMC.CHUNK.ALLOC b ID open SIZE 5 PX 6000000");
    server.run("SET text x").ok();
    server.run("LTMC.LOCK lock b PX 600000").int();
    server
}

const OF: Refusals = Refusals {
    with_data,
    names: &["LTMC.CHUNK"],
    key: "b",
    others: &["text", "lock"],
    least: &[
        ("LTMC.CHUNK.ALLOC @ SIZE 5", SYNTAX),
        ("LTMC.CHUNK.BUFFER @", SYNTAX),
        ("LTMC.CHUNK.FREE @ a", OPEN),
        ("LTMC.CHUNK.HAVE @ 1 0000000000000000", SYNTAX),
        ("LTMC.CHUNK.INFO @ a", FIXED),
        ("LTMC.CHUNK.LIST @", SYNTAX),
        ("LTMC.CHUNK.META @ a", OPEN),
        ("LTMC.CHUNK.MGET @ a", OPEN),
        ("LTMC.CHUNK.PIN @ a ada PX 5", SYNTAX),
        ("LTMC.CHUNK.POPULAR @", SYNTAX),
        ("LTMC.CHUNK.PUT @ a x", SYNTAX),
        ("LTMC.CHUNK.READ @ a", OPEN),
        ("LTMC.CHUNK.RELEASE @ a ada", FIXED),
        ("LTMC.CHUNK.RESIZE @ MAXBYTES 50000", FIXED),
        ("LTMC.CHUNK.RETAIN @ a ada", SYNTAX),
        ("LTMC.CHUNK.SEAL @ open", SYNTAX),
        ("LTMC.CHUNK.STATS @", FIXED),
        ("LTMC.CHUNK.UNPIN @ a ada", FIXED),
        ("LTMC.CHUNK.WRITE @ open 0 x", SYNTAX),
    ],
    options: &[
        ("LTMC.CHUNK.ALLOC b SIZE 5", "PX 5|EX 5|AGENT ada|ID i"),
        ("LTMC.CHUNK.PUT b a x", "PX 5|EX 5|PIN ada 5|META 1"),
        ("LTMC.CHUNK.SEAL b open", "PX 5|EX 5"),
    ],
    numbers: &[
        ("LTMC.CHUNK.ALLOC b SIZE #", "SIZE", 0, 536_870_912),
        ("LTMC.CHUNK.ALLOC b SIZE 5 PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.CHUNK.PIN b a ada PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.CHUNK.PIN b a ada EX #", "EX", 1, 3_153_600_000),
    ],
    texts: &[
        ("LTMC.CHUNK.PUT b # x", "", 1, 256),
        ("LTMC.CHUNK.RETAIN b a #", "", 1, 256),
        ("LTMC.CHUNK.PIN b a # PX 5", "", 1, 256),
        ("LTMC.CHUNK.UNPIN b a #", "", 1, 256),
    ],
};

all_refusals!(OF);

#[test]
fn misuse_is_named_and_changes_nothing() {
    let server = Server::start();
    put(&server, "a", b"0123456789");
    run(&server, "LTMC.CHUNK.ALLOC b ID open SIZE 5");
    server.run("SET text x").ok();
    let long = "x".repeat(257);
    let before = server.dataset();
    let table = [
        ("LTMC.CHUNK.PUT text a x", "WRONGTYPE", ""),
        ("LTMC.CHUNK.READ text a", "WRONGTYPE", ""),
        ("LTMC.CHUNK.STATS text", "WRONGTYPE", ""),
        ("LTMC.CHUNK.WRITE none a 0 x", "NOBUFFER", "'none'"),
        ("LTMC.CHUNK.SEAL none a", "NOBUFFER", "'none'"),
        ("LTMC.CHUNK.RESIZE none MAXBYTES 5", "NOBUFFER", "'none'"),
        ("LTMC.CHUNK.WRITE b none 0 x", "NOCHUNK", "'none'"),
        ("LTMC.CHUNK.SEAL b none", "NOCHUNK", "'none'"),
        ("LTMC.CHUNK.RETAIN b none ada", "NOCHUNK", "'none'"),
        ("LTMC.CHUNK.PIN b none ada PX 5", "NOCHUNK", "'none'"),
        ("LTMC.CHUNK.META b none {}", "NOCHUNK", "'none'"),
        ("LTMC.CHUNK.PUT b open x", "BADSTATE", "unsealed"),
        ("LTMC.CHUNK.RETAIN b open ada", "BADSTATE", "unsealed"),
        ("LTMC.CHUNK.PIN b open ada PX 5", "BADSTATE", "unsealed"),
        ("LTMC.CHUNK.ALLOC b ID x", "ERR", "SIZE"),
        ("LTMC.CHUNK.ALLOC b SIZE -1", "ERR", "SIZE"),
        ("LTMC.CHUNK.ALLOC b SIZE 536870913", "ERR", "SIZE"),
        ("LTMC.CHUNK.ALLOC b SIZE 5 PX 5 EX 5", "ERR", "exclude"),
        ("LTMC.CHUNK.ALLOC b SIZE 5 PX 0", "ERR", "PX"),
        ("LTMC.CHUNK.PUT b x x PIN ada", "ERR", "PIN"),
        ("LTMC.CHUNK.PUT b x x META {", "ERR", "META"),
        ("LTMC.CHUNK.PUT b x x NONSENSE", "ERR", "NONSENSE"),
        ("LTMC.CHUNK.READ b a 1", "ERR", "length"),
        ("LTMC.CHUNK.READ b a -1 5", "ERR", "offset"),
        ("LTMC.CHUNK.PIN b a ada PX 0", "ERR", "PX"),
        ("LTMC.CHUNK.PIN b a ada FOR 5", "ERR", "FOR"),
        ("LTMC.CHUNK.PIN b a ada PX 5 EX 5", "ERR", "PX and EX exclude each other"),
        ("LTMC.CHUNK.PIN b a ada REGISTRY r", "ERR", "PX ms (or EX s) is missing"),
        ("LTMC.CHUNK.HAVE b 1 xyz", "ERR", "hash"),
        ("LTMC.CHUNK.HAVE b 2 0000000000000000", "ERR", "only 1"),
        ("LTMC.CHUNK.POPULAR b WINDOW 2H", "ERR", "1H, 4H, 24H"),
        ("LTMC.CHUNK.BUFFER b MAXBYTES 0", "ERR", "MAXBYTES"),
        ("LTMC.CHUNK.BUFFER b MAXBYTES 5 MINBYTES 6", "ERR", "MINBYTES"),
        ("LTMC.CHUNK.BUFFER b POLICY LFU", "ERR", "POLICY"),
        ("LTMC.CHUNK.BUFFER b POLICY LRU RING", "ERR", "exclude"),
        ("LTMC.CHUNK.RESIZE b MAXBYTES none", "ERR", "MAXBYTES"),
        ("LTMC.CHUNK.RESIZE b MINBYTES 5", "ERR", "MINBYTES"),
    ];
    for (line, code, part) in table {
        let reply = server.run(line);
        assert!(reply.is_error() && reply.error_code() == code && reply.error().contains(part), "{line}: {reply:?}");
    }
    for line in [format!("LTMC.CHUNK.PUT b {long} x"), format!("LTMC.CHUNK.RETAIN b a {long}")] {
        assert!(server.run(&line).error().contains("257 bytes"), "{line}");
    }
    assert_same("nothing has changed", &before, &server.dataset());
}

#[test]
fn what_is_not_there_is_nothing_and_no_error() {
    let server = Server::start();
    for line in ["LTMC.CHUNK.READ b a", "LTMC.CHUNK.INFO b a", "LTMC.CHUNK.STATS b", "LTMC.CHUNK.META b a"] {
        assert!(server.run(line).is_nil(), "{line}");
    }
    for line in ["LTMC.CHUNK.LIST b", "LTMC.CHUNK.POPULAR b"] {
        assert!(server.run(line).array().is_empty(), "{line}");
    }
    for line in ["LTMC.CHUNK.FREE b a", "LTMC.CHUNK.RELEASE b a ada", "LTMC.CHUNK.UNPIN b a ada"] {
        assert_eq!(server.run(line).int(), 0, "{line}");
    }
    assert!(server.run("LTMC.CHUNK.MGET b a c").array().iter().all(Reply::is_nil));
    assert!(server.run("LTMC.CHUNK.HAVE b 1 0000000000000000").array()[0].is_nil());
    assert_eq!(server.run("EXISTS b").int(), 0);
}

#[test]
fn limits_name_their_settings() {
    let server = Server::start();
    let set = |setting: &str, value: u64| server.run(&format!("CONFIG SET ltmc.{setting} {value}")).ok();
    set("chunk-bytes-max", 10);
    for line in ["LTMC.CHUNK.PUT b a 01234567890", "LTMC.CHUNK.ALLOC b SIZE 11"] {
        let refused = server.run(line);
        assert!(
            refused.error().starts_with("LIMIT") && refused.error().contains("ltmc.chunk-bytes-max"),
            "{refused:?}"
        );
    }
    assert_eq!(server.run("EXISTS b").int(), 0, "no buffer was made for it");
    set("buffer-chunks-max", 2);
    put(&server, "a", b"x");
    put(&server, "c", b"x");
    assert!(server.run("LTMC.CHUNK.PUT b d x").error().contains("ltmc.buffer-chunks-max"));
    put(&server, "a", b"y");
    set("chunk-holders-max", 1);
    run(&server, "LTMC.CHUNK.RETAIN b a ada");
    assert_eq!(run(&server, "LTMC.CHUNK.RETAIN b a ada").int(), 0);
    for line in ["LTMC.CHUNK.RETAIN b a bob", "LTMC.CHUNK.PIN b a bob PX 5", "LTMC.CHUNK.PUT b a z PIN bob 5"] {
        assert!(server.run(line).error().contains("ltmc.chunk-holders-max"), "{line}");
    }
    // The default of a new buffer.
    set("buffer-bytes-max", 100_000);
    run(&server, "LTMC.CHUNK.BUFFER other");
    let stats = run(&server, "LTMC.CHUNK.STATS other");
    assert_eq!((stats.get("max_bytes").int(), stats.get("min_bytes").int()), (100_000, 100_000));
    set("buffer-bytes-min", 1000);
    run(&server, "LTMC.CHUNK.BUFFER third");
    assert_eq!(run(&server, "LTMC.CHUNK.STATS third").get("size_bytes").int(), 1000);
    set("chunk-bytes-max", 1000);
    set("chunk-lease-ms", 777_777);
    run(&server, "LTMC.CHUNK.ALLOC third ID l SIZE 5");
    let shown = run(&server, "LTMC.CHUNK.INFO third l");
    assert_eq!(shown.get("ends_at_ms").int() - shown.get("created_at_ms").int(), 777_777);
}

#[test]
fn bound_users_hold_chunks_under_their_own_names_only_and_readers_read() {
    let server = Server::start();
    put(&server, "a", b"x");
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    server.run("ACL SETUSER ada on >p +@all -ltmc.lock.break ~b").ok();
    server.run("ACL SETUSER reader on >p +@all %R~b").ok();
    let (mut ada, mut reader) = (server.client(), server.client());
    ada.auth("ada", "p");
    reader.auth("reader", "p");
    for line in [
        "LTMC.CHUNK.RETAIN b a bob",
        "LTMC.CHUNK.RELEASE b a bob",
        "LTMC.CHUNK.PIN b a bob PX 5",
        "LTMC.CHUNK.UNPIN b a bob",
        "LTMC.CHUNK.ALLOC b SIZE 5 AGENT bob",
        "LTMC.CHUNK.PUT b x x PIN bob 5",
    ] {
        assert_eq!(ada.run(line).error_code(), "DENIED", "{line}");
        let own = ada.run(&line.replace("bob", "ada:1"));
        assert!(!own.is_error(), "{line}: {own:?}");
    }
    for line in ["LTMC.CHUNK.READ b a", "LTMC.CHUNK.MGET b a", "LTMC.CHUNK.STATS b", "LTMC.CHUNK.POPULAR b"] {
        assert!(!reader.run(line).is_error(), "{line}");
    }
    for line in ["LTMC.CHUNK.PUT b a x", "LTMC.CHUNK.FREE b a", "LTMC.CHUNK.META b a []", "LTMC.CHUNK.BUFFER b"] {
        assert_eq!(reader.run(line).error_code(), "NOPERM", "{line}");
    }
}

#[test]
fn a_payload_that_does_not_fit_is_refused_and_the_buffer_stays_as_it_is() {
    let server = Server::start();
    put(&server, "a", &content(1, 2000));
    let stream = replication_stream(&server, || {
        put(&server, "c", &content(2, 2000));
    });
    let (payload, blob) = (stream[0][2].clone(), stream[0][3].clone());
    let before = server.dataset();
    let other = vec![b'!'; blob.len()];
    let apply = |key: &str, blobs: &[&[u8]]| {
        let mut words = vec![b"LTMC.APPLY".as_slice(), key.as_bytes(), &payload];
        words.extend(blobs);
        server.cmd(&words)
    };
    // Without its blob, with another, with too much, and on a missing buffer.
    for (key, blobs) in
        [("b", vec![]), ("b", vec![&other[..]]), ("b", vec![&blob[..1999]]), ("b", vec![&blob[..], &blob[..]])]
    {
        let refused = apply(key, &blobs);
        assert!(refused.is_error(), "{refused:?}");
        assert_same("refused", &before, &server.dataset());
    }
    assert!(apply("new", &[&blob]).error().contains("does not fit"));
    assert_eq!(server.run("EXISTS new").int(), 0);
    apply("b", &[&blob]).ok();
    let repaired = run(&server, "LTMC.REPAIR b");
    assert_eq!((repaired.get("type").text(), repaired.get("was_broken").int()), ("ltmcchunk", 0));
    assert_eq!(read(&server, "c"), Some(content(2, 2000)));
}
