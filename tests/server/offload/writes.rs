//! Writes that threads prepare.

use super::{begun, fill, offload, with_session, WRITE};
use crate::harness::*;
use crate::waiting::assert_idle;

#[test]
fn a_prepared_write_takes_effect_at_once_and_everywhere() {
    let server = Server::builder().durable().start();
    fill(&server);
    let replica = server.replica();
    offload(&server, 200);
    let mut client = begun(&server, WRITE);
    assert_eq!(server.run("EXISTS {t}:new"), Reply::Int(0), "nothing is there before");
    assert_eq!(client.recv(), Reply::Int(1));
    assert_eq!(server.run("LTMC.SESSION.INFO {t}:new").get("fields").int(), 1);
    // In another database, too.
    let mut other = server.client();
    other.run("SELECT 3").ok();
    assert_eq!(other.run(WRITE), Reply::Int(1));
    assert_eq!(other.run("EXISTS {t}:new"), Reply::Int(1));
    assert_persisted_everywhere(&server, &[&replica]);
    assert_idle(&server);
}

#[test]
fn it_decides_when_it_is_prepared() {
    let server = with_session();
    offload(&server, 200);
    let mut client = begun(&server, WRITE);
    let mut later = begun(&server, WRITE);
    assert_eq!(client.recv(), Reply::Int(1));
    assert_eq!(later.recv().error_code(), "CONFLICT");
    server.run("SET {t}:text x").ok();
    let mut wrong = begun(&server, r#"LTMC.SESSION.CREATE {t}:late STATE {"a":1}"#);
    server.run("SET {t}:late x").ok();
    assert_eq!(wrong.recv().error_code(), "WRONGTYPE");
    // A retry is answered what the first one was.
    let line = r#"LTMC.SESSION.CREATE {t}:once STATE {"a":1} REQID r"#;
    let (mut one, mut other) = (begun(&server, line), begun(&server, line));
    assert_eq!((one.recv(), other.recv()), (Reply::Int(1), Reply::Int(1)));
    assert_idle(&server);
}

#[test]
fn what_is_wrong_with_it_is_told_and_nothing_changes() {
    let server = with_session();
    let lines = [
        "LTMC.SESSION.CREATE {t}:new STATE [1]",
        "LTMC.SESSION.CREATE {t}:new STATE {",
        r#"LTMC.SESSION.CREATE {t}:new STATE {"":1}"#,
        r#"LTMC.SESSION.CREATE {t}:new STATE {"a":1} PX 0"#,
        r#"LTMC.SESSION.CREATE {t}:new STATE {"a":1} STATE {}"#,
    ];
    let at_once = lines.map(|line| server.run(line));
    offload(&server, 0);
    for (line, at_once) in lines.iter().zip(at_once) {
        assert!(at_once.is_error(), "{line}");
        assert_eq!(server.run(line), at_once, "{line}");
    }
    assert_eq!(server.run("EXISTS {t}:new"), Reply::Int(0));
    assert_idle(&server);
}

#[test]
fn rights_that_are_gone_meanwhile_count() {
    let server = with_session();
    let mut client = server.user("agent", "on nopass ~* +@all");
    offload(&server, 300);
    client.send_line(WRITE);
    server.wait_blocked(1);
    server.run("ACL SETUSER agent -LTMC.SESSION.CREATE").ok();
    let reply = client.recv();
    assert_eq!(reply.error(), "NOPERM the user may no longer run this LTMC.SESSION.CREATE");
    assert_eq!(server.run("EXISTS {t}:new"), Reply::Int(0));
    server.run("ACL SETUSER agent +LTMC.SESSION.CREATE").ok();
    client.send_line("LTMC.CTX.GENERATE {t}:g 1 {t}:s");
    server.wait_blocked(1);
    server.run("ACL SETUSER agent resetkeys ~{t}:g").ok();
    assert_eq!(client.recv().error_code(), "NOPERM", "a key in its arguments");
    server.run("ACL SETUSER agent ~*").ok();
    client.send_line(WRITE);
    server.wait_blocked(1);
    server.run("CONFIG SET ltmc.session-state-enabled no").ok();
    assert_eq!(client.recv().error_code(), "DISABLED");
}

#[test]
fn while_clients_are_paused_it_waits() {
    let server = with_session();
    offload(&server, 100);
    let mut client = begun(&server, WRITE);
    server.run("CLIENT PAUSE 700 WRITE").ok();
    assert!(client.recv_within(400).is_none());
    assert_eq!(client.recv(), Reply::Int(1));
    assert_idle(&server);
}

#[test]
fn the_trail_has_it_once_with_its_user() {
    let server = with_session();
    server.run("CONFIG SET ltmc.audit write").ok();
    offload(&server, 0);
    let mut client = server.user("agent", "on nopass ~* +@all");
    assert_eq!(client.run(WRITE), Reply::Int(1));
    let trail = server.run("LTMC.AUDIT GET");
    let is_it = |record: &&Reply| record.get("command").text() == "LTMC.SESSION.CREATE";
    let found: Vec<&Reply> = trail.array().iter().filter(is_it).collect();
    let [record] = found[..] else { panic!("{trail:?}") };
    assert_eq!([record.get("user").text(), record.get("outcome").text()], ["agent", "integer 1"]);
    assert_eq!(record.get("client").int(), client.id());
}

#[test]
fn where_its_key_went_it_is_sent() {
    let cluster = Cluster::start(2);
    let (slot, key) = (cluster.slot("{t}"), "{t}:new");
    let from = cluster.owner(slot);
    let server = cluster.node_of(key);
    offload(server, 400);
    let mut client = begun(server, WRITE);
    cluster.migrate_slot(slot, from, 1 - from);
    assert_eq!(client.recv().error_code(), "MOVED");
    assert_idle(server);
}

/// Runs lines on keys with this prefix. Each line has `KEY` in the place of it.
fn run_on(server: &Server, prefix: &str, lines: &[&str]) -> Vec<Reply> {
    lines.iter().map(|line| server.run(&line.replace("KEY", prefix))).collect()
}

#[test]
fn contexts_are_written_as_at_once() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    let lines = [
        r#"LTMC.CTX.CREATE {t}:KEY:a OWNER ada DOC {"b":1,"a":[1,{"x":"y"}]} REQID r"#,
        r#"LTMC.CTX.CREATE {t}:KEY:a OWNER ada DOC {"b":1,"a":[1,{"x":"y"}]} REQID r"#,
        r#"LTMC.CTX.CREATE {t}:KEY:a DOC {}"#,
        r#"LTMC.CTX.CREATE {t}:KEY:bad DOC {"#,
        r#"LTMC.CTX.UPDATE {t}:KEY:a ada MERGE {"b":null,"c":2} APPEND /a 7 INCRBY /c 5 IFVERSION 1 REQID u"#,
        r#"LTMC.CTX.UPDATE {t}:KEY:a ada MERGE {"b":null,"c":2} APPEND /a 7 INCRBY /c 5 IFVERSION 1 REQID u"#,
        r#"LTMC.CTX.UPDATE {t}:KEY:a ada IFVERSION 1 SET /c 1"#,
        r#"LTMC.CTX.UPDATE {t}:KEY:a ada PATCH [{"op":"move","from":"/a/0","path":"/z"}]"#,
        r#"LTMC.CTX.UPDATE {t}:KEY:a ada PATCH [{"op":"nothing"}]"#,
        r#"LTMC.CTX.UPDATE {t}:KEY:a ada SET /c"#,
        r#"LTMC.CTX.UPDATE {t}:KEY:none ada SET /c 1"#,
        r#"LTMC.CTX.UPDATE {t}:KEY:made ada SET /c 1 IFVERSION 0"#,
        r#"LTMC.SESSION.CREATE {t}:KEY:s STATE {"one":1,"two":{"x":[1]},"three":"text"}"#,
        r#"LTMC.CTX.GENERATE {t}:KEY:g 3 {t}:KEY:a {t}:KEY:s {t}:KEY:made FOR ada"#,
        r#"LTMC.CTX.GENERATE {t}:KEY:g 2 {t}:KEY:a {t}:KEY:s BUDGET 30 FOR ada"#,
        r#"LTMC.CTX.GENERATE {t}:KEY:g 1 {t}:KEY:none"#,
    ];
    let at_once = run_on(&server, "one", &lines);
    offload(&server, 0);
    let prepared = run_on(&server, "two", &lines);
    for ((line, one), two) in lines.iter().zip(at_once).zip(prepared) {
        assert_eq!(format!("{one:?}").replace(":one:", ":two:"), format!("{two:?}"), "{line}");
    }
    for key in ["a", "s", "g", "made"] {
        let [one, two] = ["one", "two"].map(|prefix| match key {
            "s" => server.run(&format!("LTMC.SESSION.GET {{t}}:{prefix}:s")),
            key => server.run(&format!("LTMC.CTX.GET {{t}}:{prefix}:{key}")).get("doc").clone(),
        });
        assert_eq!(one, two, "{key}");
    }
    assert_persisted_everywhere(&server, &[&replica]);
    assert_idle(&server);
}

#[test]
fn flows_are_created_as_at_once() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    let graph = r#"{"tasks":[{"id":"late","after":["a","b"],"delay":5000,"deadline":90000},{"id":"a","payload":[1,"x"]},{"id":"*","locks":["{t}:l"]},{"id":"b","after":["a"]},{"id":"*"}]}"#;
    let lines = [
        &format!("LTMC.FLOW.CREATE {{t}}:KEY:a SPEC {graph} LOCKS 1 {{t}}:l REQID r MAXACTIVE 2"),
        &format!("LTMC.FLOW.CREATE {{t}}:KEY:a SPEC {graph} LOCKS 1 {{t}}:l REQID r MAXACTIVE 2"),
        &format!("LTMC.FLOW.CREATE {{t}}:KEY:a SPEC {graph} LOCKS 1 {{t}}:l"),
        &format!("LTMC.FLOW.CREATE {{t}}:KEY:other SPEC {graph}"),
        r#"LTMC.FLOW.CREATE {t}:KEY:other SPEC {"tasks":[{"id":"a","after":["*"]},{"id":"*"}]}"#,
        r#"LTMC.FLOW.CREATE {t}:KEY:other SPEC {"tasks":[{"id":"a","after":["b"]},{"id":"b","after":["a"]}]}"#,
        r#"LTMC.FLOW.CREATE {t}:KEY:other SPEC {"tasks":[{"id":"a"},{"id":"a"}]}"#,
        "LTMC.FLOW.CREATE {t}:KEY:other SPEC {",
        r#"LTMC.FLOW.CREATE {t}:KEY:other SPEC {"tasks":[]} KEEP x"#,
        r#"LTMC.FLOW.CREATE {t}:KEY:none SPEC {"tasks":[]}"#,
    ];
    let at_once = run_on(&server, "one", &lines);
    offload(&server, 20);
    let prepared = run_on(&server, "two", &lines);
    for ((line, one), two) in lines.iter().zip(at_once).zip(prepared) {
        assert_eq!(format!("{one:?}").replace(":one:", ":two:"), format!("{two:?}"), "{line}");
    }
    let now = server.run("TIME").texts()[0].parse::<i64>().expect("seconds") * 1_000;
    for prefix in ["one", "two"] {
        let flow = format!("{{t}}:{prefix}:a");
        let listed = server.run(&format!("LTMC.TASK.LIST {flow}"));
        let names = listed.texts();
        assert_eq!([0, 2, 3].map(|at| &names[at][..]), ["a", "b", "late"], "each behind its parents");
        let [one, other] = [1, 4].map(|at| names[at].parse::<u64>().expect("a name of its own"));
        assert!(one < other);
        let late = server.run(&format!("LTMC.TASK.GET {flow} late"));
        let deadline = late.get("deadline_at_ms").int();
        assert!((80_000..=91_000).contains(&(deadline - now)), "{late:?}");
    }
    assert_persisted_everywhere(&server, &[&replica]);
    assert_idle(&server);
}
