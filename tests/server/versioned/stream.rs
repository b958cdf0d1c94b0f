//! What is sent to replicas and the AOF.

use super::*;

/// The changes in a stream, as `LTMC.EXPLAIN` shows them, each with its key.
#[track_caller]
fn changes(server: &Server, stream: &Stream) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for command in stream {
        let name = command[0].to_ascii_uppercase();
        if matches!(name.as_slice(), b"MULTI" | b"EXEC") {
            continue;
        }
        assert_eq!(name, b"LTMC.APPLY", "{:?}", show_stream(std::slice::from_ref(command)));
        let shown = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &command[2]]);
        let json: Value = serde_json::from_str(shown.text()).expect("it is JSON");
        assert_eq!(json["content"], "changes", "{json}");
        let key = command[1].escape_ascii().to_string();
        all.extend(json["value"].as_array().expect("a list").iter().map(|change| (key.clone(), change.clone())));
    }
    all
}

/// The key and the kind of a change: `Born`, `Gone`, or the name of an event.
fn kind((key, change): &(String, Value)) -> String {
    if let Some(name) = change.as_str() {
        return format!("{key} {name}");
    }
    let (name, inner) = change.as_object().and_then(|fields| fields.iter().next()).expect("a change has a name");
    let event = inner.as_object().and_then(|fields| fields.keys().next());
    format!("{key} {}", if name == "Event" { event.expect("an event has a name") } else { name })
}

#[track_caller]
fn sends(server: &Server, line: &str, expected: &[&str]) {
    let mut reply = Reply::Nil;
    let stream = replication_stream(server, || reply = server.run(line));
    let kinds: Vec<String> = changes(server, &stream).iter().map(kind).collect();
    assert_eq!(kinds, expected, "{line}: {reply:?}");
}

#[test]
fn a_write_sends_its_event_and_a_read_or_a_refusal_nothing() {
    let server = Server::start();
    let s = |line: &str, expected: &[&str]| sends(&server, &line.replace("S.", "LTMC.SESSION."), expected);
    s("S.CREATE s PARTICIPANTS 1 a PX 6000000", &["s Born", "s Created"]);
    s("S.CREATE s", &[]);
    s("S.SET s a 1 b 2", &["s Changed"]);
    s("S.SET s a 1 IFVERSION 1", &[]);
    s("S.GET s", &[]);
    s("S.INFO s", &[]);
    s("S.DEL s none", &[]);
    s("S.DEL s a", &["s Changed"]);
    s("S.JOIN s b ROLE r", &["s Joined"]);
    s("S.JOIN s b ROLE r", &[]);
    s("S.LEAVE s b", &["s Left"]);
    s("S.LEAVE s b", &[]);
    s("S.OWN s l m", &["s Owned"]);
    s("S.OWN s l", &[]);
    s("S.DISOWN s m none", &["s Disowned"]);
    s("S.DISOWN s m", &[]);
    s("S.TOUCH s PX 7000000", &["s Touched"]);
    s("S.TOUCH none PX 5", &[]);
    s("S.CHECKPOINT s", &["s Checkpointed"]);
    s("S.RESTORE s 1", &[]);
    s("S.SET s b 2", &[]);
    s("S.SET s b 2 REQID r", &["s Answered"]);
    s("S.SET s b 3", &["s Changed"]);
    s("S.RESTORE s 1", &["s Restored"]);
    s("S.RESTORE s 7", &[]);
    s("S.PRUNE s KEEPLAST 0 DRYRUN", &[]);
    s("S.FORK s t", &["t Born", "t Created"]);
    s("S.PRUNE s KEEPLAST 0", &["s Pruned"]);
    s("S.PRUNE s KEEPLAST 0", &[]);
    s("S.STATUS s SUSPENDED", &["s StatusChanged"]);
    s("S.STATUS s SUSPENDED", &[]);
    s("S.STATUS s", &[]);
    s("S.SET u f v", &["u Born", "u Created"]);
    s("S.DEL u f", &["u Changed", "u Gone"]);
    server.run("LTMC.LOCK l a PX 6000000").int();
    let stream = replication_stream(&server, || drop(run(&server, "LTMC.SESSION.END s")));
    assert_eq!(show_stream(&stream)[0], "MULTI", "what an end gives back goes with it");
    let kinds: Vec<String> = changes(&server, &stream).iter().map(kind).collect();
    assert_eq!(kinds, ["s Ending", "s Returned", "l Ended", "l Gone"]);
    s("S.END s", &[]);
    s("S.END t GRACE 0", &["t Ended", "t Gone"]);
    let c = |line: &str, expected: &[&str]| sends(&server, &line.replace("C.", "LTMC.CTX."), expected);
    c("C.CREATE c DOC {\"a\":1}", &["c Born", "c Created"]);
    c("C.UPDATE c x SET /a 1", &[]);
    c("C.UPDATE c x SET /a 3", &["c Changed"]);
    c("C.UPDATE c x SET /a 2 IFVERSION 1", &[]);
    c("C.UPDATE c x SET /a 2 PATCH [{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]", &[]);
    c("C.GET c", &[]);
    c("C.GET c AT 1", &[]);
    c("C.DIFF c 1", &[]);
    c("C.BUILD c FOR x", &[]);
    c("C.CHECKPOINT c NAME n", &["c Checkpointed"]);
    c("C.RESTORE c n", &[]);
    c("C.UPDATE c x SET /a 4", &["c Changed"]);
    c("C.RESTORE c n", &["c Restored"]);
    c("C.GENERATE d 1 c", &["d Born", "d Created"]);
    c("C.GENERATE d 1 c", &[]);
    c("C.UPDATE made x IFVERSION 0 SET /a 4", &["made Born", "made Created"]);
    c("C.GENERATE made 1 c", &["made Changed"]);
    c("C.JOIN c x", &["c Joined"]);
    c("C.PRUNE c KEEPLAST 0", &["c Pruned"]);
}

#[test]
fn an_update_sends_its_edits_and_not_the_document() {
    let server = Server::start();
    let large = format!("{{\"text\":\"{}\",\"n\":{{\"m\":1}},\"list\":[1,2,3]}}", "x".repeat(100_000));
    server.cmd(&["LTMC.CTX.CREATE", "c", "DOC", &large]).int();
    server.cmd(&["LTMC.CTX.CHECKPOINT", "c"]).int();
    let table = [
        ("INCRBY /n/m 0.5", r#"[{"Put":{"path":"/n/m","value":1.5}}]"#),
        ("SET /n/k [] DEL /n/m", r#"[{"Put":{"path":"/n/k","value":[]}},{"Drop":{"path":"/n/m"}}]"#),
        ("APPEND /list \"ü\"", r#"[{"Insert":{"path":"/list/3","value":"ü"}}]"#),
        ("DEL /list/0", r#"[{"Remove":{"path":"/list/0"}}]"#),
    ];
    for (ops, expected) in table {
        let stream = replication_stream(&server, || drop(run(&server, &format!("LTMC.CTX.UPDATE c me {ops}"))));
        let bytes: usize = stream[0].iter().map(Vec::len).sum();
        assert!(stream.len() == 1 && bytes < 500, "{ops}: {bytes} bytes");
        let all = changes(&server, &stream);
        let edits = &all[0].1["Event"]["Changed"]["change"];
        assert_eq!(*edits, serde_json::from_str::<Value>(expected).expect("JSON"), "{ops}: {edits}");
    }
    // The same for a field of a session. A rollback to a large state is sent as a number.
    server.cmd(&["LTMC.SESSION.SET", "s", "large", &large, "small", "1"]).int();
    let lines = [
        "LTMC.SESSION.CHECKPOINT s",
        "LTMC.SESSION.SET s small 2",
        "LTMC.SESSION.DEL s large",
        "LTMC.SESSION.RESTORE s 1",
        "LTMC.CTX.ROLLBACK c 1",
    ];
    for line in lines {
        let stream = replication_stream(&server, || drop(run(&server, line)));
        let bytes: usize = stream.iter().flatten().map(Vec::len).sum();
        assert!(bytes < 500, "{line}: {bytes} bytes");
    }
    assert_eq!(field(&server, "s", "large").map(|text| text.len()), Some(large.len()));
}

#[test]
fn transactions_and_scripts_send_what_they_do_as_one() {
    let server = Server::start();
    let stream = replication_stream(&server, || {
        let lines =
            ["MULTI", "LTMC.CTX.CREATE c", "SET k v", "LTMC.CTX.UPDATE c a SET /a 1", "LTMC.SESSION.SET s f v", "EXEC"];
        server.client().pipeline(&lines);
    });
    let heads: Vec<String> =
        show_stream(&stream).iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(heads, ["MULTI", "LTMC.APPLY c", "SET k", "LTMC.APPLY c", "LTMC.APPLY s", "EXEC"]);
    let script =
        "redis.call('LTMC.CTX.UPDATE', 'c', 'a', 'SET', '/a', '2') redis.call('LTMC.SESSION.SET', 's', 'f', 'w')";
    let stream = replication_stream(&server, || drop(server.cmd(&["EVAL", script, "2", "c", "s"])));
    assert_eq!(stream.len(), 4, "{:?}", show_stream(&stream));
}

#[test]
fn the_end_by_time_of_a_session_that_owns_something_is_sent() {
    let server = Server::start();
    run_all(
        &server,
        &["LTMC.SESSION.CREATE s PARTICIPANTS 1 a PX 60000", "LTMC.SESSION.OWN s l", "LTMC.LOCK l a PX 6000000"],
    );
    let mut tap = ReplicationTap::attach(&server);
    set_clock(&server, 60_001);
    wait_until("the lock is free", || server.run("EXISTS s l").int() == 0);
    let kinds: Vec<String> = changes(&server, &tap.take(&server)).iter().map(kind).collect();
    assert_eq!(kinds, ["s Ending", "s Returned", "s Gone", "l Ended", "l Gone"]);
}
