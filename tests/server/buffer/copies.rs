//! COPY: the chunks are copied, those who hold them are not.

use super::durability::make_everything;
use super::*;

/// The ids of the buffer `k`.
fn ids_of_copy(server: &Server) -> Vec<String> {
    server.run("LTMC.CHUNK.LIST k").texts()
}

#[test]
fn a_buffer_with_everything_is_copied_in_every_way_and_persisted_everywhere() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    make_everything(&server);
    assert_copied(&server, "b");
    assert_copied(&server, "empty");
    let stats = run(&server, "LTMC.CHUNK.STATS b.1");
    assert_eq!((stats.get("pinned").int(), stats.get("retained").int(), stats.get("unsealed").int()), (0, 0, 1));
    assert_eq!(stats.get("physical_bytes").int(), stat(&server, "physical_bytes"), "equal contents are there once");
    assert_eq!(server.run("LTMC.CHUNK.LIST b.1"), server.run("LTMC.CHUNK.LIST b"));
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
    assert_eq!(run(&server, "LTMC.CHUNK.STATS b.1").get("physical_bytes").int(), stat(&server, "physical_bytes"));
}

#[test]
fn a_copy_is_held_by_nobody_and_is_written_for_itself() {
    let server = Server::start();
    run(&server, "LTMC.CHUNK.BUFFER b MAXBYTES 3000000 MINBYTES 3000000 RING");
    let data = content(1, 50_000);
    for id in ["pinned", "retained", "loose"] {
        put(&server, id, &data);
    }
    run(&server, &format!("LTMC.CHUNK.PIN b pinned ada PX {FAR_MS}"));
    run(&server, "LTMC.CHUNK.RETAIN b retained ada");
    run(&server, &format!("LTMC.CHUNK.ALLOC b ID open SIZE 4 AGENT ada PX {FAR_MS}"));
    run(&server, "LTMC.CHUNK.WRITE b open 0 abcd");
    let made = format!("LTMC.CHUNK.PUT b * x REQID r PX {FAR_MS}");
    let generated = run(&server, &made).array()[0].text().to_string();
    (0..3).for_each(|_| assert!(read(&server, "loose").is_some()));
    let of_ada = |key: &str| server.run(&format!("LTMC.CHUNK.LIST {key} AGENT ada")).texts();
    assert_eq!(server.run("COPY b k").int(), 1);
    assert_eq!(
        (of_ada("b"), of_ada("k")),
        (vec!["pinned".into(), "retained".into(), "open".into()], vec!["open".into()])
    );
    let shown = |key: &str, id: &str| run(&server, &format!("LTMC.CHUNK.INFO {key} {id}"));
    assert!(shown("k", "pinned").get("pins").array().is_empty() && shown("b", "pinned").get("pins").array().len() == 1);
    assert_eq!(shown("k", "loose").get("reads_1h").int(), 3, "what is read most is known of the copy, too");
    assert_eq!(run(&server, "LTMC.CHUNK.STATS k").get("max_bytes").int(), 3_000_000);
    // No agent has to be asked.
    assert_eq!(server.run("LTMC.CHUNK.FREE b pinned").error_code(), "BADSTATE");
    assert_eq!(run(&server, "LTMC.CHUNK.FREE k pinned retained").int(), 2);
    assert_eq!(ids(&server), ["pinned", "retained", "loose", "open", &generated]);
    assert_eq!(run(&server, "LTMC.CHUNK.RELEASE k loose ada").int(), 0);
    // A write to one is not a write to the other, sealed or not.
    run(&server, "LTMC.CHUNK.WRITE k loose 0 changed");
    run(&server, "LTMC.CHUNK.WRITE b retained 0 another");
    run(&server, "LTMC.CHUNK.WRITE k open 0 efgh");
    run(&server, "LTMC.CHUNK.SEAL b open");
    run(&server, "LTMC.CHUNK.SEAL k open");
    let read_in = |key: &str, id: &str| server.run(&format!("LTMC.CHUNK.READ {key} {id}")).bytes().to_vec();
    assert_eq!((read_in("b", "open"), read_in("k", "open")), (b"abcd".to_vec(), b"efgh".to_vec()));
    assert_eq!((read_in("b", "loose"), read_in("b", "pinned")), (data.clone(), data.clone()));
    assert!(read_in("k", "loose").starts_with(b"changed") && read_in("b", "retained").starts_with(b"another"));
    // A request was answered for the original only.
    assert_eq!(run(&server, &made).array()[0].text(), generated);
    assert_ne!(run(&server, &made.replace(" b ", " k ")).array()[0].text(), generated);
    // Versions grow in both.
    assert_eq!(run(&server, "LTMC.CHUNK.PUT k loose x").array()[1].int(), 3);
}

#[test]
fn what_is_only_there_because_somebody_holds_it_is_over_in_the_copy() {
    let server = Server::start();
    let replica = server.replica();
    for line in [
        "LTMC.CHUNK.PUT b kept x PX 1000",
        "LTMC.CHUNK.RETAIN b kept ada",
        "LTMC.CHUNK.PUT b pinned x PX 1000 PIN ada 5000",
        "LTMC.CHUNK.PUT b mortal x PX 60000",
        "LTMC.CHUNK.ALLOC b ID open SIZE 10 PX 60000",
    ] {
        run(&server, line);
    }
    set_clock(&server, 2_000);
    let replies = server.client().pipeline(&[
        "MULTI",
        "COPY b k",
        "LTMC.CHUNK.READ k kept",
        "LTMC.CHUNK.LIST k",
        "LTMC.CHUNK.READ b kept",
        "EXEC",
    ]);
    let [copied, over, list, kept] = replies[5].array() else { panic!("{replies:?}") };
    assert!(copied.int() == 1 && over.is_nil() && kept.text() == "x");
    assert_eq!(list.texts(), ["mortal", "open"]);
    wait_until("it is gone", || run(&server, "LTMC.CHUNK.STATS k").get("chunks").int() == 2);
    assert_eq!(ids(&server), ["kept", "pinned", "mortal", "open"]);
    set_clock(&server, 60_001);
    wait_until("the copy ends by itself, and with its last chunk", || server.run("EXISTS k").int() == 0);
    wait_until("of the original only what is held is left", || ids(&server) == ["kept"]);
    replica.wait_synced(&server);
    assert_same("the replica", &server.dataset(), &replica.dataset());
}

#[test]
fn a_buffer_that_was_full_of_what_is_held_has_room_in_the_copy() {
    let server = Server::start();
    run(&server, "LTMC.CHUNK.BUFFER b MAXBYTES 200000 MINBYTES 200000 POLICY LRU");
    for n in 0..15 {
        put(&server, &format!("p{n}"), &content(n, 10_000));
        run(&server, &format!("LTMC.CHUNK.PIN b p{n} ada PX {FAR_MS}"));
    }
    server.run("COPY b k").int();
    let large = content(99, 60_000);
    let put_into = |key: &str| server.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), key.as_bytes(), b"large", &large]);
    assert_eq!((put_into("b").error_code(), put_into("k").array()[1].int()), ("LIMIT", 1));
    assert!(ids_of_copy(&server).len() < 15 && ids(&server).len() == 15);
    assert_eq!(server.run("LTMC.REPAIR k").get("was_broken").int(), 0);
}

#[test]
fn copies_share_their_contents_in_memory_until_they_are_written() {
    let server = Server::start();
    run(&server, "LTMC.CHUNK.BUFFER b MAXBYTES 100000000 MINBYTES 100000000");
    fill(&server, 100, 100_000);
    let used = || server.info_int("memory", "used_memory");
    let before = used();
    (0..20).for_each(|n| assert_eq!(server.run(&format!("COPY b copy{n}")).int(), 1));
    let copied = used();
    assert!(copied - before < 3_000_000, "{} more bytes for 20 copies of 10000000", copied - before);
    assert!(server.run("MEMORY USAGE copy7").int() > 10_000_000, "it counts fully wherever it is held");
    for n in 0..50 {
        run(&server, &format!("LTMC.CHUNK.WRITE copy0 c{n} 0 new"));
    }
    assert!(used() - copied > 4_000_000, "what is written is the copy's own");
    server.run("UNLINK b copy0").int();
    let last = server.run("LTMC.CHUNK.READ copy19 c42");
    assert_eq!(last.bytes(), content(42, 100_000));
}
