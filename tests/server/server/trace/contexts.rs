//! Commands that a client did not send by itself: in transactions, scripts, inner calls, on
//! replicas, from files; and panics.

use super::*;

#[test]
fn commands_of_a_transaction_and_of_a_script_are_traced_one_by_one() {
    let server = start();
    let mut client = server.client();
    client.pipeline(&["MULTI", "LTMC.LOCK k a", "LTMC.LOCK k b BLOCK 0", "EXEC"]);
    let traced = traces_of(&server, "LTMC.LOCK");
    let outcomes: Vec<_> = traced.iter().map(|traced| traced.get("outcome").text().to_string()).collect();
    assert!(outcomes[0] == "nil" && outcomes[1].starts_with("integer "), "{outcomes:?}");
    assert!(traced.iter().all(|traced| traced.get("client").int() == client.id()));
    client.cmd(&["EVAL", "return redis.call('LTMC.UNLOCK', KEYS[1], 'a')", "1", "k"]).int();
    let traced = trace_of(&server, "LTMC.UNLOCK");
    assert_eq!((events(&traced), traced.get("client").int()), (vec!["k lock.released".to_string()], 0));
}

#[test]
fn a_guard_and_its_inner_command_are_traced() {
    let server = start();
    let fence = server.run("LTMC.LOCK {t}:k a").int();
    server.run(&format!("LTMC.GUARD {{t}}:k {fence} LTMC.SESSION.SET {{t}}:s f v")).int();
    let guard = trace_of(&server, "LTMC.GUARD");
    assert_eq!(guard.get("outcome").text(), "the reply of the inner command");
    assert!(events(&guard).is_empty());
    let inner = trace_of(&server, "LTMC.SESSION.SET");
    assert_eq!(events(&inner), ["{t}:s session.created"]);
    assert!(guard.get("client").int() > 0 && inner.get("client").int() == 0);
    assert!(guard.get("id").int() < inner.get("id").int());
    assert_eq!(server.run("LTMC.GUARD {t}:k 16 SET {t}:d x").error_code(), "STALE");
    assert!(trace_of(&server, "LTMC.GUARD").get("outcome").text().starts_with("STALE "));
}

#[test]
fn a_replica_traces_what_it_applies() {
    let server = start();
    let replica = server.replica();
    server.run("LTMC.LOCK k a").int();
    replica.wait_synced(&server);
    let traced = trace_of(&replica, "LTMC.APPLY");
    assert_eq!((traced.get("args").array()[0].text(), traced.get("outcome").text()), ("k", "ok"));
    assert_eq!(events(&traced), ["k lock.granted"]);
    assert!(traces_of(&server, "LTMC.APPLY").is_empty());
}

#[test]
fn what_a_file_holds_is_not_traced() {
    let mut server = Server::builder().arg("ltmc.orchestration-mode", "debug").durable().start();
    server.run("LTMC.LOCK k a PX 3600000").int();
    server.crash_and_restart();
    assert_eq!(server.run("LTMC.LOCK.INFO k").get("mode").text(), "exclusive");
    assert!(traces_of(&server, "LTMC.APPLY").is_empty());
}

#[test]
fn a_panic_is_shown_and_leaves_the_trace_in_order() {
    let server = start();
    server.run("LTMC.LOCK k a").int();
    assert!(server.run("LTMC.DEBUG PANIC k").error().contains("internal error"));
    let traced = trace_of(&server, "LTMC.DEBUG");
    assert_eq!(traced.get("args").texts(), ["PANIC", "k"]);
    assert!(traced.get("outcome").text().starts_with("ERR internal error"), "{traced:?}");
    server.run("LTMC.UNLOCK k a").int();
    assert_eq!(events(&trace_of(&server, "LTMC.UNLOCK")), ["k lock.released"]);
    server.run("LTMC.DEBUG SWEEP 1").ok();
    server.run("LTMC.LOCK k a PX 20").int();
    assert!(server.run("LTMC.LOCK k b BLOCK 0").int() > 0);
    let outcomes = traces_of(&server, "(scheduler)")
        .iter()
        .map(|round| round.get("outcome").text().to_string())
        .collect::<Vec<_>>();
    assert!(outcomes.iter().any(|outcome| outcome.starts_with("ERR internal error")), "{outcomes:?}");
    assert!(outcomes[0] == "ok", "{outcomes:?}");
}

#[test]
fn tracing_adds_nothing_to_what_is_replicated() {
    let traced = start();
    let plain = Server::builder().arg("ltmc.orchestration-mode", "full").start();
    let lines = [
        "LTMC.LOCK k a PX 3600000",
        "LTMC.UNLOCK k a",
        "LTMC.SESSION.SET s f v",
        "LTMC.CTX.CREATE c",
        "LTMC.CTX.UPDATE c ada SET /a 1",
        "LTMC.TASK.ADD f t payload",
        "LTMC.TASK.CANCEL f t",
        "LTMC.CHUNK.PUT b c data",
        "LTMC.UNLOCK k a",
        "LTMC.LOCK k",
    ];
    let names = |server: &Server| {
        let stream = replication_stream(server, || lines.iter().for_each(|line| drop(server.run(line))));
        show_stream(&stream)
            .iter()
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&traced), names(&plain));
    for line in ["LTMC.SESSION.GET s", "LTMC.CTX.GET c", "LTMC.TASK.LIST f", "LTMC.CHUNK.READ b c", "LTMC.LOCK k"] {
        let texts = |server: &Server| format!("{:?}", server.run(line));
        let digits = |text: String| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        assert_eq!(digits(texts(&traced)), digits(texts(&plain)), "{line}");
    }
}
