//! Flows and tasks.

use crate::flow::{add, claimed, fence_of, info, shown, state, work};
use crate::harness::*;
use crate::waiting::set_clock;

/// A client that waits for the end of the task `t`.
fn waits_for_t(server: &Server) -> Client {
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| "LTMC.TASK.WAIT f t BLOCK 0".to_string());
    client
}

#[test]
fn who_waits_for_a_task_hears_its_end_though_it_is_not_kept() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f KEEP 0 KEEPDEAD 0").ok();
    add(&server, "t", "");
    let replica = server.replica();
    for node in [&server, &replica] {
        assert!(node.run("LTMC.TASK.WAIT f t").is_nil());
    }
    let mut clients = [waits_for_t(&server), waits_for_t(&replica)];
    let fence = fence_of(&server, "t");
    server.run(&format!("LTMC.TASK.COMPLETE f t {fence} done")).ok();
    for client in &mut clients {
        let end = client.recv();
        assert_eq!(
            (end.get("state").text(), end.get("result").text(), end.get("agent").text()),
            ("succeeded", "done", "w")
        );
    }
    let late = server.run("LTMC.TASK.WAIT f t BLOCK 0");
    assert_eq!(late.error_code(), "NOTASK");
    assert!(late.error().contains("succeeded"), "{late:?}");
}

#[test]
fn a_repeated_request_has_its_answer_though_its_task_is_not_kept() {
    let server = Server::builder().durable().start();
    server.run("LTMC.FLOW.CREATE f KEEP 0 KEEPDEAD 0").ok();
    for task in ["a", "b", "c", "d"] {
        add(&server, task, "RETRIES 0");
    }
    let replica = server.replica();
    let a = fence_of(&server, "a");
    let both: Vec<Reply> = (0..2).map(|_| server.run(&format!("LTMC.TASK.COMPLETE f a {a} done NEXT"))).collect();
    assert_eq!(both[0], both[1], "the same next task");
    let (task, b) = claimed(&both[0]);
    assert_eq!(task, "b");
    for _ in 0..2 {
        assert_eq!(server.run(&format!("LTMC.TASK.FAIL f b {b} broken")).text(), "DEAD");
    }
    let c = fence_of(&server, "c");
    server.run("LTMC.TASK.CANCEL f c").int();
    for _ in 0..2 {
        assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f c {c}")).text(), "CANCEL");
    }
    for _ in 0..2 {
        assert_eq!(server.run(&format!("LTMC.TASK.FAIL f c {c} stopped")).text(), "CANCELLED");
    }
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f c {c}")).text(), "CANCEL");
    assert_eq!(server.run("LTMC.TASK.CANCEL f c").int(), 0);
    // Another request is no repetition.
    for (line, code) in [
        (format!("LTMC.TASK.COMPLETE f a {a} other"), "BADSTATE"),
        (format!("LTMC.TASK.COMPLETE f a {b} done"), "STALE"),
        (format!("LTMC.TASK.COMPLETE f b {b} done"), "STALE"),
        (format!("LTMC.TASK.HEARTBEAT f a {a}"), "STALE"),
        ("LTMC.TASK.COMPLETE f nobody 2 done".into(), "NOTASK"),
    ] {
        assert_eq!(server.run(&line).error_code(), code, "{line}");
    }
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
    server.run(&format!("LTMC.TASK.COMPLETE f a {a} done")).ok();
}

#[test]
fn a_forgotten_task_is_not_taken_for_a_new_one_of_its_name() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f KEEP 0 KEEPDEAD 0").ok();
    add(&server, "t", "");
    let first = fence_of(&server, "t");
    server.run(&format!("LTMC.TASK.COMPLETE f t {first} done NEXT")).array();
    add(&server, "t", "");
    add(&server, "u", "");
    let (_, second) = claimed(&server.run("LTMC.TASK.CLAIM f other"));
    // The answer of the first one, and nothing is claimed in the name of the second one's worker.
    assert!(server.run(&format!("LTMC.TASK.COMPLETE f t {first} done NEXT")).array().is_empty());
    assert_eq!((state(&server, "t").as_str(), state(&server, "u").as_str()), ("running", "ready"));
    server.run(&format!("LTMC.TASK.COMPLETE f t {second} done")).ok();
}

#[test]
fn a_graph_keeps_payloads_as_they_are_written() {
    let server = Server::start();
    let payload = r#"{"b":1,"a":[1.0,123456789012345678901]}"#;
    let spec = format!(r#"{{"tasks":[{{"id":"t","payload":{payload}}}, {{"payload": "a \"text\"" ,"id":"u"}}]}}"#);
    server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", &spec]).ok();
    assert_eq!(shown(&server, "t").get("payload").text(), payload);
    assert_eq!(shown(&server, "u").get("payload").text(), "a \"text\"");
    assert_eq!(server.run("LTMC.TASK.CLAIM f w").array()[0].get("payload").text(), payload);
}

#[test]
fn a_star_in_a_graph_is_a_new_name_as_it_is_in_a_command() {
    let server = Server::start();
    server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", r#"{"tasks":[{"id":"*"},{"id":"a"},{"id":"*"}]}"#]).ok();
    let last = server.run("LTMC.TASK.ADD f * p").text().to_string();
    let names = server.run("LTMC.TASK.LIST f").texts();
    assert_eq!((names.len(), names[1].as_str(), &names[3]), (4, "a", &last));
    let number = |name: &String| name.parse::<u64>().expect("a number");
    assert!(number(&names[0]) < number(&names[2]) && number(&names[2]) < number(&last), "{names:?}");
}

#[test]
fn successes_do_not_push_out_a_dead_task() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f KEEP 100").ok();
    add(&server, "poison", "RETRIES 0");
    let fence = fence_of(&server, "poison");
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL f poison {fence} broken")).text(), "DEAD");
    add(&server, "skipped", "AFTER 1 poison");
    for n in 0..150 {
        add(&server, &format!("t{n}"), "");
        work(&server);
    }
    assert_eq!((info(&server, "tasks"), state(&server, "poison").as_str()), (101, "dead"));
    assert!(shown(&server, "skipped").is_nil(), "it goes with what has succeeded");
    assert_eq!(server.run("LTMC.TASK.REQUEUE f poison").int(), 1);
    assert_eq!(state(&server, "poison"), "ready");
}

#[test]
fn dead_tasks_and_others_have_bounds_of_their_own_in_number_and_age() {
    let server = Server::builder().durable().start();
    server.run("LTMC.FLOW.CREATE f KEEP 2 KEEPDEAD 1 MAXAGE 60000").ok();
    server.run("LTMC.FLOW.CREATE g KEEP 5 MAXAGE 1 KEEPDEAD 5 MAXAGE 0").ok();
    let replica = server.replica();
    for n in 0..4 {
        for flow in ["f", "g"] {
            for (task, dead) in [(format!("d{n}"), true), (format!("s{n}"), false)] {
                server.run(&format!("LTMC.TASK.ADD {flow} {task} p RETRIES 0")).text();
                let (_, fence) = claimed(&server.run(&format!("LTMC.TASK.CLAIM {flow} w")));
                if dead {
                    server.run(&format!("LTMC.TASK.FAIL {flow} {task} {fence} no")).text();
                } else {
                    server.run(&format!("LTMC.TASK.COMPLETE {flow} {task} {fence} done")).ok();
                }
            }
        }
    }
    let listed = |flow: &str| server.run(&format!("LTMC.TASK.LIST {flow}")).texts();
    assert_eq!(listed("f"), ["s2", "d3", "s3"]);
    wait_until("what is too old is gone", || listed("g") == ["d0", "d1", "d2", "d3"]);
    set_clock(&server, 60_001);
    wait_until("the dead one is too old as well", || listed("f") == ["s2", "s3"]);
    let shown = server.run("LTMC.FLOW.INFO f");
    let bounds = ["keep", "keep_dead", "keep_dead_ms"].map(|name| shown.get(name).int());
    assert_eq!((bounds, shown.get("keep_ms").is_nil()), ([2, 1, 60_000], true));
    let error = server.run("LTMC.FLOW.CREATE h KEEP 2 MAXAGE x");
    assert!(error.error().contains("MAXAGE is 'x'"), "{error:?}");
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn a_failing_worker_does_not_use_up_all_attempts_at_once() {
    let server = Server::start();
    add(&server, "t", "");
    let fence = fence_of(&server, "t");
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL f t {fence} no-disk")).text(), "RETRY");
    let why = shown(&server, "t").get("why").text().to_string();
    let words: Vec<&str> = why.split(' ').collect();
    let left = words[1].parse::<i64>().expect("a number");
    assert!((1..=1000).contains(&left), "{why}");
    assert!(
        why.starts_with("waits ") && why.contains(" ms for its next attempt after a failure of attempt 1"),
        "{why}"
    );
    assert!(server.run("LTMC.TASK.CLAIM f w").array().is_empty());
    // A lost lease has taken its time, and a task may say that it does not pause.
    set_clock(&server, 1_001);
    wait_until("it is ready", || state(&server, "t") == "ready");
    server.run("LTMC.TASK.CLAIM f w PX 1000").array();
    set_clock(&server, 2_500);
    wait_until("it is ready at once", || state(&server, "t") == "ready");
    server.run("LTMC.TASK.CANCEL f t").int();
    add(&server, "u", "BACKOFF FIXED 0");
    let fence = fence_of(&server, "u");
    server.run(&format!("LTMC.TASK.FAIL f u {fence} x")).text();
    assert_eq!(state(&server, "u"), "ready");
    server.run("CONFIG SET ltmc.task-backoff-ms 0").ok();
    add(&server, "v", "PRIORITY 1000");
    let fence = fence_of(&server, "v");
    server.run(&format!("LTMC.TASK.FAIL f v {fence} x")).text();
    assert_eq!(state(&server, "v"), "ready");
}

#[test]
fn a_flow_counts_what_is_there_and_all_that_was_apart() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f KEEP 1").ok();
    for n in 0..3 {
        add(&server, &format!("t{n}"), "");
        work(&server);
    }
    add(&server, "open", "");
    let counts = ["tasks", "ready", "succeeded", "total_succeeded", "total_added", "total_dead", "progress"];
    assert_eq!(counts.map(|field| info(&server, field)), [2, 1, 1, 3, 4, 0, 75]);
}

#[test]
fn a_wait_for_work_that_does_not_come_ends_with_an_empty_list() {
    let server = Server::start();
    add(&server, "t", "");
    let fence = fence_of(&server, "t");
    let none = Reply::Array(Vec::new());
    for line in [
        "LTMC.TASK.CLAIM f w".into(),
        "LTMC.TASK.CLAIM f w BLOCK 20".into(),
        format!("LTMC.TASK.COMPLETE f t {fence} r NEXT BLOCK 20"),
        "LTMC.MSG.RECV m bob".into(),
        "LTMC.MSG.RECV m bob BLOCK 20".into(),
        "EVAL return(redis.call('LTMC.TASK.CLAIM','f','w','BLOCK','20')) 0".into(),
    ] {
        assert_eq!(server.run(&line), none, "{line}");
    }
}
