//! Flows: many tasks, long chains, many edges.

use super::stage::Stage;

pub const SCENES: &[super::Scene] = &[
    ("flow: SPEC with all tasks", |stage| {
        let count = spec_tasks(stage);
        let all = spec(count, |_| String::new());
        stage.dear(format!("FLOW.CREATE SPEC of {count} tasks"), &["LTMC.FLOW.CREATE", "flow", "SPEC", &all]);
        let room = (stage.max("flow-spec-bytes-max") - all.len()) / count;
        let payload = super::stage::text(room.saturating_sub(16));
        let long = spec(count, |_| format!(r#","payload":"{payload}""#));
        stage.dear(format!("FLOW.CREATE SPEC of {} bytes", long.len()), &["LTMC.FLOW.CREATE", "long", "SPEC", &long]);
        let edges = stage.max("flow-spec-edges-max");
        let each = edges / count;
        let after = |task: usize| {
            let names: Vec<String> = (task.saturating_sub(each)..task).rev().map(|no| format!(r#""{no}""#)).collect();
            format!(r#","after":[{}]"#, names.join(","))
        };
        let full = spec(count, after);
        stage.dear(format!("FLOW.CREATE SPEC with {edges} edges"), &["LTMC.FLOW.CREATE", "full", "SPEC", &full]);
        stage.dear_line("FLOW.GRAPH of it", "LTMC.FLOW.GRAPH full");
        stage.dear_line("FLOW.INFO of it", "LTMC.FLOW.INFO full");
        let backwards: Vec<String> = (0..count).rev().map(|task| task_json(task, &after(task))).collect();
        let backwards = format!(r#"{{"tasks":[{}]}}"#, backwards.join(","));
        stage.dear("FLOW.CREATE SPEC backwards", &["LTMC.FLOW.CREATE", "backwards", "SPEC", &backwards]);
    }),
    ("flow: all tasks", |stage| {
        let count = stage.max("flow-tasks-max");
        stage.fill((0..count).map(|task| format!("LTMC.TASK.ADD flow {task} x")));
        listed(stage, count);
        stage.dear_line(format!("FLOW.CANCEL of {count} tasks"), "LTMC.FLOW.CANCEL flow");
        stage.dear_line(format!("DEL of a flow of {count} tasks"), "DEL flow");
    }),
    ("flow: chain", |stage| {
        let count = raised(stage, 200_000);
        let spec = spec(count, |task| if task > 0 { format!(r#","after":["{}"]"#, task - 1) } else { String::new() });
        stage.dear(format!("FLOW.CREATE SPEC, a chain of {count}"), &["LTMC.FLOW.CREATE", "flow", "SPEC", &spec]);
        stage.dear_line(format!("TASK.CANCEL CASCADE along a chain of {count}"), "LTMC.TASK.CANCEL flow 0 CASCADE");
        stage.dear_line(format!("TASK.REQUEUE CASCADE along a chain of {count}"), "LTMC.TASK.REQUEUE flow 0 CASCADE");
    }),
    ("flow: star", |stage| {
        let count = raised(stage, 200_000);
        let spec = spec(count, |task| if task > 0 { r#","after":["0"]"#.to_string() } else { String::new() });
        stage.dear(format!("FLOW.CREATE SPEC, a star of {count}"), &["LTMC.FLOW.CREATE", "flow", "SPEC", &spec]);
        complete(stage, "0", format!("TASK.COMPLETE before {count}"));
    }),
    ("flow: dense", |stage| {
        let (layer, layers) = (stage.some(2_000), 2);
        raise(stage, layer * layers, layer * layer);
        let all: Vec<String> = (0..layer).map(|task| format!(r#""{task}""#)).collect();
        let after = format!(r#","after":[{}]"#, all.join(","));
        let spec = spec(layer * layers, |task| if task >= layer { after.clone() } else { String::new() });
        let edges = layer * layer;
        stage.dear(format!("FLOW.CREATE SPEC with {edges} edges"), &["LTMC.FLOW.CREATE", "flow", "SPEC", &spec]);
        stage.dear_line(format!("FLOW.INFO with {edges} edges"), "LTMC.FLOW.INFO flow");
        stage.dear_line(format!("FLOW.GRAPH with {edges} edges"), "LTMC.FLOW.GRAPH flow");
        stage.dear_line(format!("TASK.CANCEL CASCADE with {edges} edges"), "LTMC.TASK.CANCEL flow 0 CASCADE");
        stage.dear_line(format!("TASK.REQUEUE CASCADE with {edges} edges"), "LTMC.TASK.REQUEUE flow 0 CASCADE");
        stage.dear_line(format!("FLOW.CANCEL with {edges} edges"), "LTMC.FLOW.CANCEL flow");
    }),
    ("flow: TASK.ADD behind many", |stage| {
        let count = stage.some(100_000).min(stage.max("flow-tasks-max") - 1);
        stage.fill((0..count).map(|task| format!("LTMC.TASK.ADD flow {task} x")));
        let mut args: Vec<String> = ["LTMC.TASK.ADD", "flow", "last", "x", "AFTER"].map(String::from).to_vec();
        args.push(count.to_string());
        args.extend((0..count).map(|task| task.to_string()));
        stage.dear(format!("TASK.ADD AFTER {count}"), &args);
        let count = stage.some(10_000);
        args[5] = count.to_string();
        args.truncate(6 + count);
        stage.dear(format!("TASK.ADD AFTER {count}"), &args);
        stage.dear_line("TASK.GET of it", "LTMC.TASK.GET flow last");
        stage.dear_line("TASK.CANCEL of it", "LTMC.TASK.CANCEL flow last");
        stage.dear_line("TASK.REQUEUE of it", "LTMC.TASK.REQUEUE flow last");
        stage.dear_line("FLOW.CANCEL of it", "LTMC.FLOW.CANCEL flow");
    }),
    ("flow: capabilities", |stage| {
        let count = stage.max("flow-caps-max");
        stage.fill((0..count).map(|task| format!("LTMC.TASK.ADD flow {task} x CAPS 1 cap-{task}")));
        let caps: Vec<String> = (0..64).map(|cap| format!("none-{cap}")).collect();
        stage.dear_line(
            format!("TASK.CLAIM with 64 capabilities, {count} sets"),
            &format!("LTMC.TASK.CLAIM flow a CAPS 64 {}", caps.join(" ")),
        );
        let pairs = (0..64).flat_map(|one| (0..one).map(move |two| format!("none-{two} none-{one}")));
        let pairs: Vec<String> = pairs.take(count).collect();
        stage.fill(pairs.iter().enumerate().map(|(no, two)| format!("LTMC.TASK.ADD pairs {no} x CAPS 2 {two}")));
        stage.dear_line(
            format!("TASK.CLAIM COUNT 1000 of {} sets", pairs.len()),
            &format!("LTMC.TASK.CLAIM pairs a COUNT 1000 CAPS 64 {}", caps.join(" ")),
        );
    }),
    ("flow: workers of many kinds", |stage| {
        // Nobody can do any of it, and each finds that out late.
        let (sets, kinds) = (stage.max("flow-caps-max").min(1_000) - 2, stage.some(1_000));
        let caps = |version: &dyn Fn(usize) -> String| -> String {
            (0..63).map(|at| format!(" {}{at:02}{}", super::stage::text(100), version(at))).collect()
        };
        stage.fill((0..sets).map(|n| {
            let wanted = caps(&|at| format!("@>={}", 1 + ((n >> (at % 10)) & 1)));
            format!("LTMC.TASK.ADD f t{n} p CAPS 64{wanted} z@>=9")
        }));
        let mut waiters = stage.server.clients(kinds);
        let able = caps(&|_| "@5".into());
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.TASK.CLAIM f w{n} CAPS 64{able} z@1.{n} BLOCK 0"));
        stage.dear_line(format!("TASK.ADD beside {kinds} kinds of workers"), "LTMC.TASK.ADD f new p CAPS 1 other");
        stage
            .dear_line("TASK.ADD that one of them can do", &format!("LTMC.TASK.ADD f last p CAPS 1 z@1.{}", kinds - 1));
        stage.leave(waiters);
    }),
    ("flow: payload", |stage| {
        let bytes = stage.max("task-payload-bytes-max");
        let payload = super::stage::text(bytes);
        stage.dear(format!("TASK.ADD of {bytes} bytes"), &["LTMC.TASK.ADD", "flow", "t", &payload]);
        stage.dear_line(format!("TASK.CLAIM of {bytes} bytes"), "LTMC.TASK.CLAIM flow a");
        (0..4).for_each(|task| drop(stage.cmd(&["LTMC.TASK.ADD", "flow", &task.to_string(), &payload])));
        stage.dear_line(format!("TASK.CLAIM COUNT 4 of {bytes} bytes each"), "LTMC.TASK.CLAIM flow a COUNT 4");
    }),
    ("flow: delayed", |stage| {
        let count = stage.some(100_000).min(stage.max("flow-tasks-max"));
        stage.fill((0..count).map(|task| format!("LTMC.TASK.ADD flow {task} x DELAY 3600000")));
        stage.dear_line(format!("{count} delayed tasks are due"), "LTMC.DEBUG CLOCK 3600000");
    }),
];

/// How many tasks a SPEC may have.
fn spec_tasks(stage: &Stage) -> usize {
    stage.max("flow-spec-tasks-max").min(stage.max("flow-tasks-max"))
}

/// Lets a SPEC have so many tasks and as many edges, as far as a flow may. Returns how many.
fn raised(stage: &Stage, tasks: usize) -> usize {
    let tasks = stage.some(tasks).min(stage.max("flow-tasks-max"));
    raise(stage, tasks, tasks);
    tasks
}

/// Lets a SPEC have so many tasks and edges, which the default does not, so that there is such a
/// flow soon.
fn raise(stage: &Stage, tasks: usize, edges: usize) {
    stage.run(&format!("CONFIG SET ltmc.flow-spec-tasks-max {tasks} ltmc.flow-spec-edges-max {edges}"));
    stage.run("CONFIG SET ltmc.flow-spec-bytes-max 67108864");
}

fn task_json(task: usize, more: &str) -> String {
    format!(r#"{{"id":"{task}"{more}}}"#)
}

/// A SPEC of so many tasks.
fn spec(count: usize, more: impl Fn(usize) -> String) -> String {
    let tasks: Vec<String> = (0..count).map(|task| task_json(task, &more(task))).collect();
    format!(r#"{{"tasks":[{}]}}"#, tasks.join(","))
}

fn listed(stage: &mut Stage, count: usize) {
    stage.dear_line(format!("TASK.LIST of {count}"), "LTMC.TASK.LIST flow");
    stage.dear_line(format!("TASK.LIST STATE dead, none of {count}"), "LTMC.TASK.LIST flow STATE dead");
    stage.dear_line(format!("TASK.LIST CURSOR of {count}"), "LTMC.TASK.LIST flow CURSOR 0 COUNT 1000000");
    stage.dear_line(format!("FLOW.INFO of {count}"), "LTMC.FLOW.INFO flow");
    stage.dear_line("TASK.CLAIM COUNT 1000", "LTMC.TASK.CLAIM flow a COUNT 1000");
}

fn complete(stage: &mut Stage, task: &str, what: String) {
    let claimed = stage.run("LTMC.TASK.CLAIM flow a");
    let fence = claimed.array()[0].get("fence").int();
    stage.dear_line(what, &format!("LTMC.TASK.COMPLETE flow {task} {fence} done"));
}
