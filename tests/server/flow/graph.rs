//! Tasks that come after others: SPEC, ON, cascades, requeueing, pictures, the outlook.

use super::*;

#[track_caller]
fn create(server: &Server, spec: &str) {
    server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", spec]).ok();
}

/// a -> b, c -> d, all by SPEC.
fn diamond() -> Server {
    let server = Server::start();
    create(
        &server,
        r#"{"tasks":[{"id":"d","after":["b","c"],"payload":{"x":1}},{"id":"b","after":["a"]},{"id":"c","after":["a"],"priority":3},{"id":"a","payload":"start"}]}"#,
    );
    server
}

#[track_caller]
fn fail(server: &Server, task: &str) {
    let fence = fence_of(server, task);
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL f {task} {fence} no DEAD")).text(), "DEAD");
}

#[test]
fn a_graph_runs_in_its_order() {
    let server = diamond();
    assert_eq!(server.run("LTMC.TASK.LIST f").texts(), ["a", "b", "c", "d"]);
    assert_eq!((why(&server, "b"), why(&server, "d")), ("waits for a".into(), "waits for b, c".into()));
    assert_eq!(shown(&server, "d").get("payload").text(), r#"{"x":1}"#);
    let order: Vec<String> = (0..2).map(|_| work(&server)).collect();
    assert_eq!(order, ["a", "c"]);
    assert_eq!(why(&server, "d"), "waits for b");
    assert_eq!((work(&server), work(&server)), ("b".into(), "d".into()));
    let info = server.run("LTMC.FLOW.INFO f");
    assert_eq!((info.get("state").text(), info.get("progress").int()), ("succeeded", 100));
}

#[test]
fn a_spec_is_taken_whole_or_not_at_all() {
    let server = Server::start();
    for (spec, part) in [
        (
            r#"{"tasks":[{"id":"a","after":["b"]},{"id":"b","after":["a"]}]}"#,
            "cycle: 'a' comes after 'b' comes after 'a'",
        ),
        (r#"{"tasks":[{"id":"a"},{"id":"a"}]}"#, "'a' twice"),
        (r#"{"tasks":[{"id":"a","after":["z"]}]}"#, "'z', which is not among"),
        (r#"{"tasks":[{"id":"a"},{"id":"b","caps":["@"]}]}"#, "capability is '@'"),
    ] {
        let reply = server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", spec]);
        assert!(reply.error().contains(part), "{reply:?}");
        assert_eq!(server.run("EXISTS f").int(), 0);
    }
    create(&server, r#"{"tasks":[]}"#);
    let again = server.run("LTMC.FLOW.CREATE f");
    assert_eq!(again.error_code(), "BADSTATE");
}

#[test]
fn what_comes_after_a_failure_depends_on_what_it_waits_for() {
    let server = Server::start();
    for task in ["a", "b"] {
        add(&server, task, "");
    }
    for (task, on) in [("s", "SUCCESS"), ("d", "DONE"), ("y", "ANY")] {
        add(&server, task, &format!("AFTER 2 a b ON {on}"));
    }
    add(&server, "below", "AFTER 1 s");
    add(&server, "last", "AFTER 2 below d ON DONE");
    fail(&server, "a");
    assert_eq!(state(&server, "s"), "skipped");
    assert_eq!(why(&server, "s"), "skipped: 'a' is dead");
    assert_eq!((state(&server, "below"), why(&server, "below")), ("skipped".into(), "skipped: 's' is skipped".into()));
    assert_eq!((state(&server, "d"), state(&server, "y")), ("waiting".into(), "waiting".into()));
    work(&server);
    assert_eq!((state(&server, "d"), state(&server, "y")), ("ready".into(), "ready".into()));
    let mut order = vec![work(&server), work(&server), work(&server)];
    order.sort();
    assert_eq!(order, ["d", "last", "y"]);
    let info = server.run("LTMC.FLOW.INFO f");
    assert_eq!((info.get("state").text(), info.get("skipped").int()), ("failed", 2));
}

#[test]
fn any_runs_at_the_first_success_and_is_skipped_when_none_can_come() {
    let server = Server::start();
    for task in ["a", "b", "c"] {
        add(&server, task, "");
    }
    add(&server, "first", "AFTER 2 a b ON ANY");
    add(&server, "never", "AFTER 1 c ON ANY");
    work(&server);
    assert_eq!(state(&server, "first"), "ready");
    fail(&server, "b");
    assert_eq!(state(&server, "first"), "ready", "what ends later does not matter");
    fail_any(&server, "c");
    assert_eq!(why(&server, "never"), "skipped: nothing that it waited for succeeded, 'c' was the last");
}

/// Fails `task`, however many others are handed out before it.
#[track_caller]
fn fail_any(server: &Server, task: &str) {
    loop {
        let (claimed, fence) = claim(server, "w", "");
        if claimed == task {
            server.run(&format!("LTMC.TASK.FAIL f {task} {fence} no DEAD")).text();
            return;
        }
        complete(server, &claimed, fence);
    }
}

#[test]
fn a_task_added_after_what_has_ended_knows_at_once() {
    let server = Server::start();
    add(&server, "a", "");
    add(&server, "b", "");
    work(&server);
    fail(&server, "b");
    add(&server, "c", "AFTER 1 a");
    add(&server, "d", "AFTER 2 a b");
    add(&server, "e", "AFTER 2 a b ON DONE");
    assert_eq!(["c", "d", "e"].map(|task| state(&server, task)), ["ready", "skipped", "ready"]);
    let reply = server.run("LTMC.TASK.ADD f g p AFTER 1 nobody");
    assert_eq!(reply.error_code(), "NOTASK");
    assert_eq!(server.run("LTMC.TASK.ADD f a p").error_code(), "BADSTATE", "the name is taken");
}

#[test]
fn a_cancelled_task_skips_what_comes_after_and_cascade_cancels_it() {
    let server = diamond();
    assert_eq!(server.run("LTMC.TASK.CANCEL f b").int(), 1);
    assert_eq!(server.run("LTMC.TASK.CANCEL f b").int(), 0);
    assert_eq!(["a", "b", "c", "d"].map(|task| state(&server, task)), ["ready", "cancelled", "waiting", "skipped"]);
    let server = diamond();
    add(&server, "e", "AFTER 1 d ON DONE");
    assert_eq!(server.run("LTMC.TASK.CANCEL f a CASCADE").int(), 1);
    for task in ["a", "b", "c", "d", "e"] {
        assert_eq!(state(&server, task), "cancelled");
    }
    assert_eq!(why(&server, "c"), "cancelled: with 'a'");
}

#[test]
fn a_requeued_task_brings_back_what_fell_with_it() {
    let server = diamond();
    add(&server, "e", "AFTER 1 d ON DONE");
    fail(&server, "a");
    assert_eq!(state(&server, "d"), "skipped");
    let refused = server.run("LTMC.TASK.REQUEUE f d");
    assert_eq!(refused.error_code(), "BADSTATE");
    assert!(refused.error().contains("after b, c: requeue that first"), "{refused:?}");
    assert_eq!(server.run("LTMC.TASK.REQUEUE f a CASCADE").int(), 4, "a, b, c, d; e was not skipped");
    assert_eq!(state(&server, "a"), "ready");
    let mut order: Vec<String> = (0..5).map(|_| work(&server)).collect();
    order.retain(|task| task != "e");
    assert_eq!(order, ["a", "c", "b", "d"]);
    assert_eq!(server.run("LTMC.TASK.REQUEUE f a").error_code(), "BADSTATE", "it has succeeded");
    assert_eq!(server.run("LTMC.FLOW.INFO f").get("state").text(), "succeeded");
}

#[test]
fn a_signal_lets_a_task_go_on_with_what_came_with_it() {
    let server = Server::start();
    add(&server, "a", "");
    add(&server, "ask", "AFTER 1 a WAITSIGNAL");
    add(&server, "early", "AFTER 1 a WAITSIGNAL");
    assert_eq!(server.run("LTMC.TASK.SIGNAL f early yes").int(), 1);
    work(&server);
    assert_eq!((state(&server, "ask"), why(&server, "ask")), ("held".into(), "waits for a signal".into()));
    let got = server.run("LTMC.TASK.CLAIM f w");
    assert_eq!((got.array()[0].get("task").text(), got.array()[0].get("signal").text()), ("early", "yes"));
    assert_eq!(server.run("LTMC.TASK.SIGNAL f ask").int(), 1);
    assert_eq!(server.run("LTMC.TASK.SIGNAL f ask other").int(), 0);
    let got = server.run("LTMC.TASK.CLAIM f w");
    assert_eq!((got.array()[0].get("task").text(), got.array()[0].get("signal").text()), ("ask", ""));
    assert_eq!(server.run("LTMC.TASK.SIGNAL f a").error_code(), "BADSTATE");
}

#[test]
fn a_paused_flow_hands_nothing_out_and_lets_what_runs_go_on() {
    let server = Server::start();
    add(&server, "a", "");
    add(&server, "b", "");
    let fence = fence_of(&server, "a");
    assert_eq!((server.run("LTMC.FLOW.PAUSE f").int(), server.run("LTMC.FLOW.PAUSE f").int()), (1, 0));
    assert!(is_idle(&server, ""));
    assert_eq!(why(&server, "b"), "the flow is paused");
    complete(&server, "a", fence);
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.TASK.CLAIM f w BLOCK 0".into());
    assert_eq!((server.run("LTMC.FLOW.RESUME f").int(), server.run("LTMC.FLOW.RESUME f").int()), (1, 0));
    assert_eq!(claimed(&waiter.recv()).0, "b");
    assert_eq!(server.run("LTMC.FLOW.PAUSE none").error_code(), "NOFLOW");
}

#[test]
fn a_flow_is_drawn_with_its_states() {
    let server = diamond();
    add(&server, "\"q\"", "AFTER 1 d");
    work(&server);
    let dot = server.run("LTMC.FLOW.GRAPH f");
    let text = dot.text();
    for part in [
        "digraph flow {",
        "t1 [label=\"a\\nsucceeded\", fillcolor=\"#c8f0c8\"];",
        "t1 -> t2;",
        "t3 -> t4;",
        "label=\"\\\"q\\\"\\nwaiting\"",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert_eq!(server.run("LTMC.FLOW.GRAPH f DOT"), dot);
    let mermaid = server.run("LTMC.FLOW.GRAPH f MERMAID");
    for part in ["flowchart LR", "t2[\"b<br/>ready\"]:::ready", "t2 --> t4", "#quot;q#quot;", "classDef dead"] {
        assert!(mermaid.text().contains(part), "no {part} in {}", mermaid.text());
    }
    assert!(server.run("LTMC.FLOW.GRAPH none").is_nil());
}

#[test]
fn the_outlook_names_the_critical_path_and_estimates_by_what_was_measured() {
    let server = Server::start();
    for (task, after) in [("a", ""), ("b", "AFTER 1 a"), ("c", "AFTER 1 b"), ("x", ""), ("y", "AFTER 1 x")] {
        add(&server, task, after);
    }
    let info = server.run("LTMC.FLOW.INFO f");
    assert_eq!(info.get("critical_path").texts(), ["a", "b", "c"]);
    assert!(info.get("left_ms").is_nil() && info.get("mean_ms").is_nil(), "nothing was measured yet");
    let fence = fence_of(&server, "a");
    crate::waiting::set_clock(&server, 4_000);
    complete(&server, "a", fence);
    let info = server.run("LTMC.FLOW.INFO f");
    let mean = info.get("mean_ms").int();
    assert!((4_000..5_000).contains(&mean), "{mean}");
    assert_eq!(info.get("critical_path").array().len(), 2);
    assert_eq!(info.get("critical_ms").int(), 2 * mean);
    assert_eq!(info.get("left_ms").int(), 4 * mean, "one worker, four tasks");
    assert_eq!(info.get("waiting").int(), 2);
}

#[test]
fn a_flow_with_a_time_to_live_is_gone_after_it() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f PX 30").ok();
    add(&server, "a", "");
    assert!((1..=30).contains(&server.run("PTTL f").int()));
    wait_until("it is gone", || server.run("EXISTS f").int() == 0);
}

#[test]
fn watchers_are_told_of_everything() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f").ok();
    add(&server, "a", "");
    add(&server, "b", "AFTER 1 a");
    fail(&server, "a");
    let told = server.run("LTMC.WATCH 1 f SINCE 0");
    let events = told.array()[0].array()[1].texts();
    let names: Vec<String> = events.iter().map(|event| name_of(event)).collect();
    let expected = ["flow.created", "task.added", "task.added", "task.claimed", "task.dead", "task.skipped"];
    assert_eq!(names, expected);
    assert!(events[2].contains(r#""task":"b","after":["a"]"#), "{}", events[2]);
    assert!(events[4].contains(r#""cause":"failed","reason":"no""#), "{}", events[4]);
    let mut watcher = server.client();
    server.block_in_turn(std::slice::from_mut(&mut watcher), |_| "LTMC.WATCH 1 f SINCE $ BLOCK 0".into());
    add(&server, "c", "");
    assert!(watcher.recv().array()[0].array()[1].texts()[0].contains("task.added"));
}

/// The name of an event.
fn name_of(event: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(event).expect("JSON");
    value["event"].as_str().expect("a name").to_string()
}
