//! How large one reply may be: `ltmc.reply-bytes-max`. A reply that must be whole is refused, a
//! single value is always returned. [`shorter`] has the replies that may be cut.

use crate::harness::*;

mod shorter;

/// The smallest bound.
const BOUND: usize = 65_536;
/// What each value counts besides its bytes.
const ELEMENT: usize = 16;

/// A server whose replies have the smallest bound.
fn server() -> Server {
    let server = Server::start();
    bound(&server, BOUND);
    server
}

/// Changes the bound while the server runs.
#[track_caller]
fn bound(server: &Server, bytes: usize) {
    server.run(&format!("CONFIG SET ltmc.reply-bytes-max {bytes}")).ok();
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Runs a command that must be accepted.
#[track_caller]
fn run<A: AsRef<[u8]>>(server: &Server, args: &[A]) -> Reply {
    let reply = server.cmd(args);
    assert!(!reply.is_error(), "{reply:?}");
    reply
}

/// Runs a line that must be refused for the size of its reply, and changes nothing.
#[track_caller]
fn refused(server: &Server, line: &str) {
    let before = server.debug_digest();
    let reply = server.run(line);
    assert_eq!(reply.error_code(), "LIMIT", "{}", &line[..line.len().min(100)]);
    for part in ["a reply with ", "at least ", "(setting ltmc.reply-bytes-max)"] {
        assert!(reply.error().contains(part), "{reply:?}");
    }
    assert_eq!(server.debug_digest(), before);
}

/// Runs a line that names something twice.
#[track_caller]
fn repeated(server: &Server, line: &str, text: &str) {
    let reply = server.run(line);
    assert_eq!((reply.error_code(), reply.error()), ("ERR", format!("ERR {text}").as_str()), "{line}");
}

#[test]
fn several_values_of_a_document_are_refused_together_and_one_is_always_answered() {
    let server = server();
    let document = format!(r#"{{"a":{{"b":{{"c":"{}"}}}},"d":1}}"#, text(2 * BOUND));
    run(&server, &["LTMC.CTX.CREATE", "c", "DOC", &document]);
    assert_eq!(server.run("LTMC.CTX.GET c").get("doc").text(), document, "the whole document is one value");
    for path in ["/a", "/a/b/c"] {
        let doc = run(&server, &["LTMC.CTX.GET", "c", "PATH", "1", path]);
        assert!(doc.get("doc").bytes().len() > 2 * BOUND);
    }
    refused(&server, "LTMC.CTX.GET c PATH 2 /a /a/b");
    refused(&server, "LTMC.CTX.GET c PATH 3 /d /a/b/c /a");
    run(&server, &["LTMC.CTX.UPDATE", "c", "ann", "SET", "/d", "2"]);
    refused(&server, "LTMC.CTX.GET c AT 1 PATH 2 /a /a/b");
    bound(&server, 8 * BOUND);
    assert!(server.run("LTMC.CTX.GET c PATH 2 /a /a/b").get("doc").bytes().len() > 4 * BOUND);
}

#[test]
fn a_path_a_field_and_a_chunk_are_asked_for_once() {
    let server = server();
    run(&server, &["LTMC.CTX.CREATE", "c", "DOC", r#"{"a":1}"#]);
    server.run("LTMC.SESSION.SET s f 1 g 2").int();
    server.run("LTMC.CHUNK.PUT b i data");
    let paths = vec!["#"; 1024].join(" ");
    let empty =
        |line: String| server.cmd(&line.split(' ').map(|arg| if arg == "#" { "" } else { arg }).collect::<Vec<_>>());
    for line in [format!("LTMC.CTX.GET c PATH 1024 {paths}"), format!("LTMC.CTX.BUILD c FOR ann PATH 1024 {paths}")] {
        let reply = empty(line);
        assert_eq!(reply.error(), "ERR path '' is given twice");
    }
    repeated(&server, "LTMC.CTX.GET c PATH 3 /a /b /a", "path '/a' is given twice");
    repeated(&server, "LTMC.CTX.BUILD c FOR ann BUDGET 9 PATH 2 /a /a", "path '/a' is given twice");
    repeated(&server, &format!("LTMC.SESSION.GET s{}", " f".repeat(200)), "field 'f' is given twice");
    repeated(&server, "LTMC.SESSION.GET none g f g", "field 'g' is given twice");
    repeated(&server, &format!("LTMC.CHUNK.MGET b{}", " i".repeat(200)), "id 'i' is given twice");
    assert_eq!(server.run("LTMC.CHUNK.STATS b").get("hits").int(), 0, "no use was noted");
    assert_eq!(server.run("LTMC.SESSION.GET s f g").texts(), ["1", "2"]);
}

#[test]
fn fields_are_answered_up_to_the_last_byte_of_the_bound() {
    let server = server();
    let half = BOUND / 2 - ELEMENT;
    run(&server, &["LTMC.SESSION.SET", "s", "f", &text(half), "g", &text(half), "h", "", "big", &text(2 * BOUND)]);
    assert_eq!(server.run("LTMC.SESSION.GET s f g").texts(), [text(half), text(half)]);
    refused(&server, "LTMC.SESSION.GET s f g h");
    refused(&server, "LTMC.SESSION.GET s f big");
    refused(&server, "LTMC.SESSION.GET s");
    assert_eq!(server.run("LTMC.SESSION.GET s big").bytes().len(), 2 * BOUND, "one field is always answered");
    run(&server, &["LTMC.SESSION.SET", "s", "g", &text(half + 1)]);
    refused(&server, "LTMC.SESSION.GET s f g");
    bound(&server, BOUND + 1);
    assert_eq!(server.run("LTMC.SESSION.GET s f g").texts(), [text(half), text(half + 1)]);
    // All of them come with their names.
    let all = 2 * half + 1 + 2 * BOUND + "f".len() + "g".len() + "h".len() + "big".len() + 8 * ELEMENT;
    bound(&server, all - 1);
    refused(&server, "LTMC.SESSION.GET s");
    bound(&server, all);
    assert_eq!(server.run("LTMC.SESSION.GET s").pairs().len(), 4);
    bound(&server, BOUND);
    run(&server, &["LTMC.SESSION.SET", "one", "big", &text(2 * BOUND)]);
    assert_eq!(server.run("LTMC.SESSION.GET one").pairs().len(), 1, "all fields are one");
}

#[test]
fn chunks_are_answered_together_or_not_at_all() {
    let server = server();
    let half = BOUND / 2 - ELEMENT;
    run(&server, &["LTMC.CHUNK.PUT", "b", "i", &text(half)]);
    run(&server, &["LTMC.CHUNK.PUT", "b", "j", &text(half)]);
    run(&server, &["LTMC.CHUNK.PUT", "b", "big", &text(2 * BOUND)]);
    assert_eq!(server.run("LTMC.CHUNK.MGET b i j").texts(), [text(half), text(half)]);
    let hits = server.run("LTMC.CHUNK.STATS b").get("hits").int();
    refused(&server, "LTMC.CHUNK.MGET b i j none");
    refused(&server, "LTMC.CHUNK.MGET b i big");
    assert_eq!(server.run("LTMC.CHUNK.STATS b").get("hits").int(), hits, "what was not answered was not used");
    assert_eq!(server.run("LTMC.CHUNK.MGET b big").array()[0].bytes().len(), 2 * BOUND);
    assert_eq!(server.run("LTMC.CHUNK.READ b big").bytes().len(), 2 * BOUND);
}

#[test]
fn a_graph_and_a_payload_are_not_written_longer_than_a_reply_may_be() {
    let server = server();
    let ids: Vec<String> = (0..100).map(|n| format!("task-{n:03}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let count = n.to_string();
        let after: Vec<&str> = ids[..n].iter().map(String::as_str).collect();
        let after = if n == 0 { Vec::new() } else { [&["AFTER", count.as_str()], &after[..]].concat() };
        run(&server, &[&["LTMC.TASK.ADD", "f", id, "p"], &after[..]].concat());
    }
    for line in ["LTMC.FLOW.GRAPH f", "LTMC.FLOW.GRAPH f MERMAID"] {
        let reply = server.run(line);
        assert_eq!(reply.error_code(), "LIMIT", "{line}");
        assert!(reply.error().contains("the graph of this flow") && reply.error().contains("ltmc.reply-bytes-max"));
    }
    bound(&server, 4 * BOUND);
    assert_eq!(server.run("LTMC.FLOW.GRAPH f").text().matches(" -> ").count(), 100 * 99 / 2);
    bound(&server, BOUND);
    for (setting, max) in [("arguments-max", "24000"), ("session-fields-max", "8000")] {
        run(&server, &["CONFIG", "SET", &format!("ltmc.{setting}"), max]);
    }
    let stream = replication_stream(&server, || {
        let fields = (0..8_000).flat_map(|n| [format!("f{n}"), "1".to_string()]);
        run(&server, &["LTMC.SESSION.SET", "s"].map(String::from).into_iter().chain(fields).collect::<Vec<_>>());
    });
    let explained = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &stream[0][2]]);
    assert_eq!(explained.error_code(), "LIMIT");
    assert!(explained.error().contains("ltmc.reply-bytes-max"), "{explained:?}");
    bound(&server, 16 * BOUND);
    assert!(server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &stream[0][2]]).bytes().len() > BOUND);
}

#[test]
fn a_part_is_not_chosen_from_more_pieces_than_one_call_should_look_at() {
    let server = server();
    let members: Vec<String> = (0..1_000).map(|n| format!(r#""{}-{n:03}":{n}"#, text(100))).collect();
    let document = format!("{{{}}}", members.join(","));
    run(&server, &["LTMC.CTX.CREATE", "c", "DOC", &document]);
    let reply = server.run("LTMC.CTX.BUILD c FOR ann BUDGET 100");
    assert_eq!(reply.error_code(), "LIMIT");
    assert!(reply.error().contains("paths") && reply.error().contains("ltmc.reply-bytes-max"), "{reply:?}");
    let whole = server.run("LTMC.CTX.BUILD c FOR ann");
    assert_eq!(whole.get("doc").text(), document, "without a budget nothing is chosen");
    bound(&server, 4 * BOUND);
    let built = server.run("LTMC.CTX.BUILD c FOR ann BUDGET 1000");
    assert!(built.get("bytes").int() <= 1000);
    assert_eq!(built.get("left_out_count").int() as usize, 1_000 - built.get("doc").text().matches(':').count());
    assert_eq!(built.get("left_out").array().len(), 2, "a quarter of the budget is for the paths");
}

/// A short text can be a large value: an object of one member takes a hundred times its bytes.
#[test]
fn what_a_call_brings_takes_no_more_memory_than_one_call_may() {
    let larger = |builder: Builder, name: &str| builder.arg(&format!("ltmc.{name}"), 16 << 20);
    let server = ["context-bytes-max", "context-values-max", "session-bytes-max"]
        .into_iter()
        .fold(Server::builder(), larger)
        .start();
    let list = |bytes: usize| format!("[{}]", vec!["{\"\":0}"; bytes / 7].join(","));
    let heavy = list(12_000_000);
    let peak = || server.info_int("memory", "used_memory_peak") / (1024 * 1024);
    let before = peak();
    let refused = |words: &[&str]| {
        let reply = server.cmd(words);
        assert_eq!(reply.error_code(), "LIMIT", "{}: {reply:?}", words[0]);
        let is_said = ["bytes of memory", "that hold"].iter().any(|why| reply.error().contains(why));
        assert!(is_said, "{}: {reply:?}", words[0]);
    };
    refused(&["LTMC.CTX.CREATE", "c", "DOC", &heavy]);
    refused(&["LTMC.SESSION.CREATE", "s", "STATE", &format!("{{\"f\":{heavy}}}")]);
    let long = server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", &heavy]);
    assert!(long.error().contains("(setting ltmc.flow-spec-bytes-max)"), "{long:?}");
    server.run("LTMC.CTX.CREATE c").int();
    let half = list(6_500_000);
    refused(&["LTMC.CTX.UPDATE", "c", "a", "SET", "/a", &half, "SET", "/b", &half]);
    server.cmd(&["LTMC.SESSION.SET", "s", "one", &half, "two", &half]).int();
    server.run("CONFIG SET ltmc.context-bytes-max 4194304").ok();
    refused(&["LTMC.CTX.GENERATE", "d", "1", "s"]);
    server.run("CONFIG SET ltmc.context-bytes-max 16777216").ok();
    assert_eq!(server.run("EXISTS c s d f").int(), 2);
    assert!(peak() - before < 300, "{before} to {} MB", peak());
    // A value that is large as text, and little larger in memory, is accepted.
    let text = format!("{{\"text\":\"{}\"}}", "a,[{:".repeat(2_000_000));
    assert_eq!(server.cmd(&["LTMC.CTX.CREATE", "large", "DOC", &text]).int(), 1);
}
