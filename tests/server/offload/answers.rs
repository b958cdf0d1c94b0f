//! Replies that threads make: what happens to the key meanwhile.

use super::{begun, fill, offload, with_session, READ};
use crate::harness::*;
use crate::waiting::assert_idle;

#[test]
fn whatever_happens_to_the_key_the_reply_is_of_the_moment_it_began() {
    let happens = [
        "DEL {t}:s",
        "UNLINK {t}:s",
        "FLUSHALL",
        "FLUSHALL ASYNC",
        "RENAME {t}:s {t}:other",
        "SET {t}:s text",
        "SWAPDB 0 1",
        "LTMC.SESSION.END {t}:s GRACE 0",
        "PEXPIRE {t}:s 0",
        "DEBUG RELOAD",
        "BGSAVE",
    ];
    for line in happens {
        let server = with_session();
        offload(&server, 200);
        let mut client = begun(&server, READ);
        let reply = server.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        assert_eq!(client.recv().texts(), ["one", "1", "two", "2"], "{line}");
        assert_idle(&server);
    }
}

#[test]
fn a_write_beside_a_reader_reaches_the_replica_and_the_file() {
    let server = Server::builder().durable().start();
    fill(&server);
    let replica = server.replica();
    offload(&server, 100);
    let mut clients: Vec<Client> = (0..5).map(|_| begun(&server, READ)).collect();
    (0..50).for_each(|n| drop(server.run(&format!("LTMC.SESSION.SET {{t}}:s one {n} field-{n} x"))));
    clients.iter_mut().for_each(|client| assert_eq!(client.recv().texts(), ["one", "1", "two", "2"]));
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn large_contents_of_chunks_are_sent_by_threads() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.chunk-bytes-max 16777216").ok();
    server.run("CONFIG SET ltmc.reply-bytes-max 67108864").ok();
    let data = |n: u8| vec![n; 4 << 20];
    for n in 1..=3 {
        let put = server.cmd(&[b"LTMC.CHUNK.PUT" as &[u8], b"b", &[b'0' + n], &data(n)]);
        assert!(!put.is_error(), "{put:?}");
    }
    server.run("LTMC.DEBUG OFFLOAD 2000 100").ok();
    let mut client = begun(&server, "LTMC.CHUNK.MGET b 1 2 none 3");
    client.send_line("LTMC.CHUNK.READ b 2 1 4194302");
    client.send_line("LTMC.CHUNK.READ b 2 1 2");
    server.run("LTMC.CHUNK.FREE b 1 2 3");
    let reply = client.recv();
    let [one, two, none, three] = reply.array() else { panic!("four values") };
    assert!(one.bytes() == data(1) && two.bytes() == data(2) && none.is_nil() && three.bytes() == data(3));
    // These began after it was gone.
    assert!(client.recv().is_nil() && client.recv().is_nil());
    assert_idle(&server);
}

#[test]
fn a_long_reply_of_any_command_is_sent_by_a_thread() {
    let server = Server::start();
    let value = vec![b'v'; 4 << 20];
    let put = server.cmd(&[b"LTMC.CACHE.PUT" as &[u8], b"c", b"tool", b"{}", &value]);
    assert!(!put.is_error(), "{put:?}");
    let get = |client: &mut Client| client.cmd(&["LTMC.CACHE.GET", "c", "tool", "{}"]);
    let mut client = server.client();
    let reply = get(&mut client);
    assert!(reply.get("value").bytes() == value);
    assert_eq!(server.info_int("ltmc", "ltmc_offloaded"), 1);
    // It is sent at once where the client cannot wait.
    client.run("MULTI").ok();
    get(&mut client);
    let replies = client.run("EXEC");
    assert!(replies.array()[0].get("value").bytes() == value);
    assert_eq!(server.info_int("ltmc", "ltmc_offloaded"), 1);
}

#[test]
fn a_trail_of_everything_has_them() {
    let server = with_session();
    server.run("CONFIG SET ltmc.audit all").ok();
    offload(&server, 0);
    server.run(READ);
    let trail = server.run("LTMC.AUDIT GET");
    let found =
        trail.array().iter().find(|record| record.get("command").text() == "LTMC.SESSION.GET").expect("a record");
    assert_eq!([found.get("outcome").text(), found.get("class").text()], ["offloaded", "read"]);
}

#[test]
fn contexts_are_read_as_at_once() {
    let server = Server::start();
    server.run(r#"LTMC.CTX.CREATE c OWNER ada DOC {"a":{"b":[1,2,{"c":3}]},"t":"text"} META {"weights":{"/a":9}}"#);
    (0..5).for_each(|n| {
        drop(server.run(&format!("LTMC.CTX.UPDATE c ada SET /n {n} APPEND /a/b {n} MERGE {{\"t\":null}}")))
    });
    let lines = [
        "LTMC.CTX.GET c",
        "LTMC.CTX.GET c AT 1",
        "LTMC.CTX.GET c AT 99",
        "LTMC.CTX.GET c PATH 3 /a/b /n /none",
        "LTMC.CTX.GET none",
        "LTMC.CTX.DIFF c 1",
        "LTMC.CTX.DIFF c 4 PATH /a",
        "LTMC.CTX.DIFF c 6",
        "LTMC.CTX.DIFF c 77",
        "LTMC.CTX.BUILD c FOR ada",
        "LTMC.CTX.BUILD c FOR ada BUDGET 20",
        "LTMC.CTX.BUILD c FOR bob PATH 2 /a /n",
    ];
    let at_once = lines.map(|line| server.run(line));
    offload(&server, 0);
    for (line, at_once) in lines.iter().zip(at_once) {
        assert_eq!(server.run(line), at_once, "{line}");
    }
    // One that is changed meanwhile, in its latest version and in the one that is asked for.
    offload(&server, 200);
    let mut clients = [lines[0], lines[1], lines[5], lines[10]].map(|line| begun(&server, line));
    let before = Reply::Int(6);
    server.run(r#"LTMC.CTX.UPDATE c ada REPLACE {"new":1}"#);
    server.run("LTMC.CTX.UPDATE c ada SET /x 1");
    let [now, first, changed, part] = clients.each_mut().map(Client::recv);
    assert_eq!(now.get("version"), &before);
    assert!(now.get("doc").text().contains(r#""n":4"#) && first.get("doc").text().contains("text"));
    assert!(changed.text().contains(r#""t":null"#) && part.get("version") == &before);
    assert_idle(&server);
}
