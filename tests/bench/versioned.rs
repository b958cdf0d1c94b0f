//! Sessions and contexts against what teams build today from hashes, strings and scripts, on the
//! same server.
//!
//! The peers keep the newest state only: no versions, no history, no checkpoints. Where a context
//! prevents lost updates, they use WATCH or a version beside the document.

use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::harness::{Client, Reply, Server};
use crate::load::{check_replies_on, cpu_us, roomy, Load, Workload};
use crate::registry::fill;
use crate::report::{median, percentile, table};
use crate::throughput::compare_over;
use crate::Options;

const SESSIONS: usize = 1_000;
const FIELDS: usize = 20;
const VALUE_BYTES: [usize; 2] = [100, 1_000];

fn session(index: usize) -> String {
    format!("session:{index:04}")
}

/// One field written and read, against a hash. The history is full: each new version drops one.
pub fn fields(options: &Options) {
    let names: Vec<String> = (0..SESSIONS).map(session).collect();
    let pace = (options.of(7, 3), Duration::from_millis(options.of(250, 80) as u64));
    for bytes in VALUE_BYTES {
        let native = roomy().start();
        let native_set = set_and_fill(&native, "HSET", "HSET", bytes, "0");
        let server = roomy().start();
        let set = set_and_fill(&server, "LTMC.SESSION.SET", "LTMC.SESSION.SET", bytes, "*");
        let short = roomy().start();
        short.run("CONFIG SET ltmc.history-versions-max 10").ok();
        let set_short = set_and_fill(&short, "LTMC.SESSION.SET, 10 versions kept", "LTMC.SESSION.SET", bytes, "*");
        fill_history(&server, &set, &names, 1_000);
        fill_history(&short, &set_short, &names, 10);
        let title = format!("one field set, {bytes} bytes, commands a second");
        compare_over(&title, &[(&native, &native_set), (&server, &set), (&short, &set_short)], &names, pace);

        let get = |name: &'static str| Workload::new(name).line(&format!("{name} {{key}} {{{}}}", any_field()), 2);
        let (native_get, get) = (get("HGET"), get("LTMC.SESSION.GET"));
        check_replies_on(&mut native.client(), &native_get, &names[0], &["*"]);
        check_replies_on(&mut server.client(), &get, &names[0], &["*"]);
        let title = format!("one field read, {bytes} bytes, commands a second");
        compare_over(&title, &[(&native, &native_get), (&server, &get)], &names, pace);
    }
}

fn any_field() -> String {
    (0..FIELDS).map(|field| format!("field-{field:02}")).collect::<Vec<_>>().join("|")
}

/// Gives every session or hash all of its fields. The workload sets one of them.
fn set_and_fill(server: &Server, name: &'static str, command: &str, bytes: usize, reply: &str) -> Workload {
    let value = |letter: &str| letter.repeat(bytes);
    let mut client = server.client();
    fill(&mut client, SESSIONS, |index| {
        let pairs: Vec<String> = (0..FIELDS).map(|field| format!("field-{field:02} {}", value("v"))).collect();
        vec![format!("{command} {} {}", session(index), pairs.join(" "))]
    });
    let values = ["a", "b", "c", "d"].map(value).join("|");
    let set = Workload::new(name).line(&format!("{command} {{key}} {{{}}} {{{values}}}", any_field()), 1);
    check_replies_on(&mut client, &set, &session(0), &[reply]);
    set
}

/// Sets fields until every session has this many versions to go back to.
fn fill_history(server: &Server, set: &Workload, names: &[String], versions: i64) {
    let mut load = Load::over(server, 8, names.iter().cloned());
    let questions: Vec<String> = names.iter().map(|name| format!("LTMC.SESSION.INFO {name}")).collect();
    let mut client = server.client();
    while client.pipeline(&questions).iter().any(|info| info.get("history_versions").int() < versions) {
        load.run(server, set, 100, Duration::from_millis(250));
    }
}

/// Sizes of documents.
const DOC_BYTES: [usize; 3] = [1_000, 100_000, 1_000_000];
/// Connections that bring the server to its limit, each with its own document.
const WRITERS: usize = 4;
/// What an update changes, in the middle of the document.
const STATES: [&str; 2] = ["open", "done"];

/// Two versions of a document, the plan of a team: what has to be done, by whom, and what is known
/// of it.
fn document(bytes: usize) -> (Value, usize) {
    let task = |index: usize| {
        json!({
            "id": format!("task-{index:05}"), "state": "open", "title": format!("Review the changes of module {index}"),
            "priority": index % 5, "agent": format!("agent-{:03}", index % 50), "after": [index / 2, index / 3],
            "estimate": {"hours": 2.5, "confidence": 0.8},
            "notes": [{"by": "agent-007", "text": "The tests of the parser fail on big-endian machines."}],
        })
    };
    let each = task(0).to_string().len() + 1;
    let count = (bytes / each).max(2);
    let tasks: Vec<Value> = (0..count).map(task).collect();
    let doc = json!({
        "goal": "Release 2.0", "progress": {"phase": "build", "note": ""}, "log": [],
        "agents": {"agent-007": {"role": "reviewer", "load": 0.25}}, "plan": {"tasks": tasks},
    });
    (doc, count / 2)
}

/// Something that is done again and again.
type Doer = Box<dyn FnMut() + Send>;

/// The results of some doers.
struct Measured {
    ops_per_s: f64,
    server_us_per_op: f64,
    waits_us: Vec<f64>,
}

/// Lets all doers repeat their work, each on its own thread.
fn measure(server: &Server, doers: &mut [Doer], time: Duration) -> Measured {
    let (cpu, started) = (cpu_us(server.pid()), Instant::now());
    let repeat = |doer: &mut Doer| {
        let mut waits_us = Vec::new();
        while started.elapsed() < time {
            let begun = Instant::now();
            doer();
            waits_us.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        waits_us
    };
    let waits_us: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = doers.iter_mut().map(|doer| scope.spawn(|| repeat(doer))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a doer does not panic")).collect()
    });
    let seconds = started.elapsed().as_secs_f64();
    let server_us_per_op = (cpu_us(server.pid()) - cpu) / waits_us.len() as f64;
    Measured { ops_per_s: waits_us.len() as f64 / seconds, server_us_per_op, waits_us }
}

/// Measures all candidates in turn. One doer alone shows how long each takes, all of them show how
/// many come a second.
fn compare(title: &str, server: &Server, candidates: &mut [(&str, Vec<Doer>)], options: &Options) {
    let (rounds, time) = (options.of(4, 2), Duration::from_millis(options.of(180, 100) as u64));
    let mut results: Vec<Vec<(Measured, Measured)>> = candidates.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for ((_, doers), results) in candidates.iter_mut().zip(&mut results) {
            let result = (measure(server, &mut doers[..1], time), measure(server, doers, time));
            if round > 0 {
                results.push(result);
            }
        }
    }
    let row = |at: usize| {
        let waits_us = || results[at].iter().flat_map(|(alone, _)| alone.waits_us.iter().copied());
        let ratios = results[at].iter().zip(&results[0]).map(|((_, one), (_, first))| one.ops_per_s / first.ops_per_s);
        vec![
            candidates[at].0.to_string(),
            format!("{:.0}", median(waits_us())),
            format!("{:.0}", percentile(waits_us(), 99.0)),
            format!("{:.0}", median(results[at].iter().map(|(_, all)| all.ops_per_s))),
            format!("{:.2}", median(ratios)),
            format!("{:.1}", median(results[at].iter().map(|(_, all)| all.server_us_per_op))),
        ]
    };
    let rows: Vec<_> = (0..candidates.len()).map(row).collect();
    table(title, &["", "p50 us", "p99 us", "per second", "ratio", "server us each"], &rows);
}

/// A document that is one text, and a number beside it. KEYS: both. ARGV: the expected version, the
/// value, the path to it.
const UPDATE_SCRIPT: &str = "\
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return redis.error_reply('CONFLICT') end \
local doc = cjson.decode(redis.call('GET', KEYS[1])) \
local at = doc \
for i = 3, #ARGV - 1 do at = at[tonumber(ARGV[i]) or ARGV[i]] end \
at[ARGV[#ARGV]] = ARGV[2] \
redis.call('SET', KEYS[1], cjson.encode(doc)) \
return redis.call('INCR', KEYS[2])";

/// One small member of a document changed, and documents read.
pub fn documents(options: &Options) {
    for bytes in DOC_BYTES {
        let server = roomy().start();
        let (doc, task) = document(bytes);
        for writer in 0..WRITERS {
            fill_documents(&server, writer, &doc.to_string());
        }
        let path = format!("/plan/tasks/{task}/state");
        let all = |make: &dyn Fn(Client, usize) -> Doer| {
            (0..WRITERS).map(|writer| make(server.client(), writer)).collect::<Vec<Doer>>()
        };
        let script = server.cmd(&["SCRIPT", "LOAD", UPDATE_SCRIPT]).text().to_string();
        let mut candidates = [
            ("WATCH, GET, change, MULTI, SET, EXEC", all(&|client, writer| by_watch(client, writer, &path))),
            ("script: cjson", all(&|client, writer| by_script(client, writer, &script, task))),
            ("LTMC.CTX.UPDATE IFVERSION SET", all(&|client, writer| by_update(client, writer, &path))),
            ("LTMC.CTX.UPDATE IFVERSION MERGE, elsewhere", all(&|client, writer| by_merge(client, writer))),
        ];
        compare(
            &format!("one member changed, documents of {bytes} bytes ({WRITERS} clients with one each)"),
            &server,
            &mut candidates,
            options,
        );
        let readers = |line: &dyn Fn(usize) -> String| all(&|client, writer| by_reading(client, &line(writer)));
        let mut candidates = [
            ("GET", readers(&|writer| format!("GET text:{writer}"))),
            ("LTMC.CTX.GET", readers(&|writer| format!("LTMC.CTX.GET ctx:{writer}"))),
            ("LTMC.CTX.GET PATH 1", readers(&|writer| format!("LTMC.CTX.GET ctx:{writer} PATH 1 {path}"))),
            // A merge patch replaces arrays as a whole, so its size depends on where the change
            // was.
            ("LTMC.CTX.DIFF of 10 versions, in an object", readers(&|writer| last_changes(&server, "merged", writer))),
            ("LTMC.CTX.DIFF of 10 versions, in the array", readers(&|writer| last_changes(&server, "ctx", writer))),
        ];
        let title = format!("read, documents of {bytes} bytes ({WRITERS} clients)");
        compare(&title, &server, &mut candidates, options);
    }
}

fn last_changes(server: &Server, prefix: &str, writer: usize) -> String {
    let context = format!("{prefix}:{writer}");
    let version = server.run(&format!("LTMC.CTX.GET {context} PATH 1 /goal")).get("version").int();
    format!("LTMC.CTX.DIFF {context} {}", version - 10)
}

fn fill_documents(server: &Server, writer: usize, text: &str) {
    for prefix in ["text", "scripted"] {
        server.cmd(&["SET", &format!("{prefix}:{writer}"), text]).ok();
    }
    server.run(&format!("SET version:{writer} 1")).ok();
    for prefix in ["ctx", "merged"] {
        assert_eq!(server.cmd(&["LTMC.CTX.CREATE", &format!("{prefix}:{writer}"), "DOC", text]).int(), 1);
    }
}

/// A client that has only strings: it reads the text, changes it, and writes all of it if no other
/// client did.
fn by_watch(mut client: Client, writer: usize, path: &str) -> Doer {
    let (key, path) = (format!("text:{writer}"), path.to_string());
    let mut turn = 0;
    Box::new(move || {
        let replies = client.pipeline(&[format!("WATCH {key}"), format!("GET {key}")]);
        let mut doc: Value = serde_json::from_slice(replies[1].bytes()).expect("it was written as JSON");
        turn += 1;
        *doc.pointer_mut(&path).expect("the member is there") = Value::from(STATES[turn % 2]);
        let (text, key_bytes) = (doc.to_string(), key.len());
        let set = format!("*3\r\n$3\r\nSET\r\n${key_bytes}\r\n{key}\r\n${}\r\n{text}\r\n", text.len());
        client.send_raw(format!("*1\r\n$5\r\nMULTI\r\n{set}*1\r\n$4\r\nEXEC\r\n").as_bytes());
        let [_, _, last] = [client.recv(), client.recv(), client.recv()];
        assert!(matches!(last, Reply::Array(_)), "nobody else writes this text: {last:?}");
    })
}

fn by_script(mut client: Client, writer: usize, script: &str, task: usize) -> Doer {
    // Lua counts from 1.
    let (script, task) = (script.to_string(), (task + 1).to_string());
    let (key, beside) = (format!("scripted:{writer}"), format!("version:{writer}"));
    let mut version = 1;
    Box::new(move || {
        let (expected, state) = (version.to_string(), STATES[version as usize % 2]);
        let args = ["EVALSHA", &script, "2", &key, &beside, &expected, state, "plan", "tasks", &task, "state"];
        version = next_version(client.cmd(&args), version);
    })
}

fn by_update(mut client: Client, writer: usize, path: &str) -> Doer {
    let (key, path) = (format!("ctx:{writer}"), path.to_string());
    let mut version = 1;
    Box::new(move || {
        let (expected, state) = (version.to_string(), format!("\"{}\"", STATES[version as usize % 2]));
        let args = ["LTMC.CTX.UPDATE", &key, "agent-1", "IFVERSION", &expected, "SET", &path, &state];
        version = next_version(client.cmd(&args), version);
    })
}

fn by_merge(mut client: Client, writer: usize) -> Doer {
    let key = format!("merged:{writer}");
    let mut version = 1;
    Box::new(move || {
        let patch = format!(r#"{{"progress":{{"note":"step {version}"}}}}"#);
        let args = ["LTMC.CTX.UPDATE", &key, "agent-1", "IFVERSION", &version.to_string(), "MERGE", &patch];
        version = next_version(client.cmd(&args), version);
    })
}

fn next_version(reply: Reply, version: i64) -> i64 {
    assert!(matches!(reply, Reply::Int(next) if next == version + 1), "after version {version}: {reply:?}");
    version + 1
}

fn by_reading(mut client: Client, line: &str) -> Doer {
    let line = line.to_string();
    Box::new(move || {
        let reply = client.run(&line);
        assert!(!reply.is_error() && !reply.is_nil(), "{line}: {reply:?}");
    })
}

/// Checkpoints made of one key.
const CHECKPOINTS: usize = 10_000;
const STATE_BYTES: usize = 1_000_000;
const STEP_BYTES: usize = 100;

/// What is done on a key before each checkpoint: something is added and something is replaced, each
/// of this size.
fn session_step(index: usize) -> Vec<String> {
    let value = format!("{index:0>STEP_BYTES$}");
    let args = ["LTMC.SESSION.SET", "state", &format!("step-{index:05}"), &value, "progress", &value];
    args.map(String::from).to_vec()
}

fn context_step(index: usize) -> Vec<String> {
    let value = format!("\"{index:0>STEP_BYTES$}\"");
    let args = ["LTMC.CTX.UPDATE", "state", "agent-1", "APPEND", "/log", &value, "SET", "/progress/note", &value];
    args.map(String::from).to_vec()
}

/// What thousands of checkpoints of a growing state weigh and how long they take, against a copy
/// each.
pub fn checkpoints(options: &Options) {
    let count = options.of(CHECKPOINTS, CHECKPOINTS / 10);
    let fields: Vec<String> =
        (0..STATE_BYTES / 1_000).flat_map(|index| [format!("field-{index:04}"), "v".repeat(990)]).collect();
    let session: Vec<String> =
        ["LTMC.SESSION.SET", "state"].map(String::from).into_iter().chain(fields.clone()).collect();
    let hash: Vec<String> = ["HSET", "native"].map(String::from).into_iter().chain(fields).collect();
    let doc = document(STATE_BYTES).0.to_string();
    let context = ["LTMC.CTX.CREATE", "state", "DOC", &doc].map(String::from).to_vec();
    let string = ["SET", "native", &doc].map(String::from).to_vec();
    let runs = [
        ("LTMC.SESSION", checkpoint_run("SESSION", &session, &hash, session_step, count)),
        ("LTMC.CTX", checkpoint_run("CTX", &context, &string, context_step, count)),
    ];
    let mb = |bytes: f64| format!("{:.2}", bytes / 1e6);
    let weight = |(name, run): &(&str, Run)| {
        let least = run.state_bytes + run.change_bytes;
        vec![
            name.to_string(),
            mb(run.used_bytes),
            mb(run.usage_bytes),
            mb(run.state_bytes),
            mb(run.change_bytes),
            format!("{:.2}", run.used_bytes / least),
            mb(run.copy_bytes * count as f64),
        ]
    };
    let columns = ["", "used_memory", "MEMORY USAGE", "state now", "changes", "used/(both)", "a native COPY each"];
    let title =
        format!("MB of {count} checkpoints of 1 MB that grows, 2 values of {STEP_BYTES} bytes changed before each");
    table(&title, &columns, &runs.each_ref().map(weight));
    let time = |(name, run): &(&str, Run)| {
        let mut cells = vec![name.to_string()];
        cells.extend(run.us.map(|us| if us.is_nan() { "-".to_string() } else { format!("{us:.0}") }));
        cells
    };
    let columns = [
        "",
        "change p50",
        "checkpoint p50",
        "checkpoint p99",
        "COPY",
        "FORK AT 1",
        "GET AT 2",
        "restore 1",
        "prune all",
    ];
    table(&format!("us each, round trips, after {count} checkpoints"), &columns, &runs.each_ref().map(time));
}

/// The result of a run of checkpoints.
struct Run {
    used_bytes: f64,
    usage_bytes: f64,
    state_bytes: f64,
    change_bytes: f64,
    copy_bytes: f64,
    us: [f64; 8],
}

fn timed(client: &mut Client, args: &[String]) -> f64 {
    let begun = Instant::now();
    let reply = client.cmd(args);
    let us = begun.elapsed().as_secs_f64() * 1e6;
    assert!(!reply.is_error() && !reply.is_nil(), "{:?}: {reply:?}", &args[..2]);
    us
}

fn checkpoint_run(
    kind: &str,
    first: &[String],
    native: &[String],
    step: fn(usize) -> Vec<String>,
    count: usize,
) -> Run {
    let server = roomy().arg("latency-tracking", "no").start();
    let mut client = server.client();
    let used = || server.info_int("memory", "used_memory") as f64;
    let line = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    // This also brings the buffers of the connection to the size that they keep.
    timed(&mut client, native);
    let before = used();
    let copy_us = timed(&mut client, &line("COPY native copied"));
    let copy_bytes = used() - before;
    timed(&mut client, &line("DEL copied"));
    let before = used();
    timed(&mut client, first);
    let (mut changes, mut marks, mut change_bytes) = (Vec::new(), Vec::new(), 0);
    for index in 0..count {
        let args = step(index);
        change_bytes += args[2..].iter().filter(|arg| arg.len() > 10).map(String::len).sum::<usize>();
        changes.push(timed(&mut client, &args));
        marks.push(timed(&mut client, &line(&format!("LTMC.{kind}.CHECKPOINT state"))));
    }
    let (used_bytes, usage) = (used() - before, client.run("MEMORY USAGE state").int());
    let fork = timed(&mut client, &line(&format!("LTMC.{kind}.FORK state forked AT 1")));
    let (whole, restore) = match kind {
        "SESSION" => ("LTMC.SESSION.GET state", "LTMC.SESSION.RESTORE state 1"),
        _ => ("LTMC.CTX.GET state", "LTMC.CTX.ROLLBACK state 1"),
    };
    let state_bytes = match client.run(whole) {
        Reply::Array(pairs) if kind == "SESSION" => pairs.iter().map(|text| text.bytes().len()).sum(),
        map => map.get("doc").bytes().len(),
    };
    // An earlier state of a session can only be read by a fork.
    let get_at = if kind == "SESSION" { f64::NAN } else { timed(&mut client, &line("LTMC.CTX.GET state AT 2")) };
    let restore = timed(&mut client, &line(restore));
    let prune = timed(&mut client, &line(&format!("LTMC.{kind}.PRUNE state KEEPLAST 0")));
    let p50 = |waits: &[f64]| median(waits.iter().copied());
    let mark_p99 = percentile(marks.iter().copied(), 99.0);
    Run {
        used_bytes,
        usage_bytes: usage as f64,
        state_bytes: state_bytes as f64,
        change_bytes: change_bytes as f64,
        copy_bytes,
        us: [p50(&changes), p50(&marks), mark_p99, copy_us, fork, get_at, restore, prune],
    }
}
