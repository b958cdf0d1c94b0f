//! What each command answers on a key that is not there is declared in the table, and it is so.

use crate::harness::*;
use serde_json::Value;

/// Values with a form of their own, by the name of the argument.
const FORMS: &[(&str, &str)] = &[
    ("args", "{}"),
    ("cursor", "0"),
    ("hash", "0123456789abcdef"),
    ("json", "{}"),
    ("offset", "0"),
    ("revision", "0"),
    ("status", "active"),
];

/// How each answer that depends on the arguments is asked for.
const CASES: &[(&str, &str)] = &[
    ("with IFVERSION 0", "LTMC.CTX.UPDATE none x IFVERSION 0 SET /a 1"),
    ("without IFVERSION 0", "LTMC.CTX.UPDATE none x SET /a 1"),
    ("without TOKEN", "LTMC.UNLOCK none x"),
    ("with TOKEN", "LTMC.UNLOCK none x TOKEN 1"),
    ("for one field", "LTMC.SESSION.GET none x"),
    ("for several", "LTMC.SESSION.GET none x y"),
    ("without fields", "LTMC.SESSION.GET none"),
    ("without a status", "LTMC.SESSION.STATUS none"),
    ("with a status", "LTMC.SESSION.STATUS none active"),
    ("without PEEK", "LTMC.CACHE.GET none x {}"),
    ("with PEEK", "LTMC.CACHE.GET none x {} PEEK"),
    ("without TICKET", "LTMC.CACHE.PUT none x {} x"),
    ("with TICKET", "LTMC.CACHE.PUT none x {} x TICKET 1"),
    ("without json", "LTMC.CHUNK.META none x"),
    ("with json", "LTMC.CHUNK.META none x {}"),
    ("without BLOCK", "LTMC.WATCH 1 none SINCE 0"),
    ("with BLOCK", "LTMC.WATCH 1 none SINCE 0 BLOCK 10"),
    ("with TO", "LTMC.MSG.SEND none x TO 1 y x"),
    ("with CAP or ALL", "LTMC.MSG.SEND none x ALL x"),
    ("with REPLYTO alone", "LTMC.MSG.SEND none x REPLYTO 1 x"),
];

fn text<'a>(of: &'a Value, field: &str) -> Option<&'a str> {
    of[field].as_str()
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

/// The shortest way to write an argument. Keys are called `none`, or `other` if they are not the
/// first.
fn shortest(arg: &Value) -> Vec<String> {
    let name = text(arg, "name").unwrap_or_default();
    let form = FORMS.iter().find(|(known, _)| *known == name).map_or("x", |(_, form)| form);
    let value = match text(arg, "type").expect("a type") {
        "word" => Vec::new(),
        "one of" => list(&arg["arguments"]).iter().map(shortest).min_by_key(Vec::len).unwrap_or_default(),
        "block" => list(&arg["arguments"]).iter().flat_map(shortest).collect(),
        "integer" if form == "x" => vec!["1".into()],
        "key" => vec![if arg["key"] == 0 { "none" } else { "other" }.into()],
        _ => vec![form.into()],
    };
    text(arg, "token").map(String::from).into_iter().chain(value).collect()
}

/// The lines that are answered so.
fn lines(command: &Value, answer: &Value) -> Vec<String> {
    let name = text(command, "name").expect("a name");
    if let Some(when) = text(answer, "when") {
        let known = CASES.iter().find(|(case, line)| *case == when && line.split(' ').next() == Some(name));
        return vec![known.unwrap_or_else(|| panic!("no line of {name} {when}")).1.to_string()];
    }
    let needed = list(&command["arguments"]).iter().filter(|arg| arg["optional"] != true);
    let words: Vec<String> = [name.to_string()].into_iter().chain(needed.flat_map(shortest)).collect();
    let line = words.join(" ");
    let takes = |option: &str| text(command, "syntax").is_some_and(|syntax| syntax.contains(option));
    let waits = Some(format!("{line} BLOCK 10")).filter(|_| takes("[BLOCK ms]") && answer["answer"] != "error");
    let pages = Some(format!("{line} CURSOR 0")).filter(|_| takes("CURSOR cursor"));
    [line].into_iter().chain(waits).chain(pages).collect()
}

fn is_empty(reply: &Reply) -> bool {
    match reply.array() {
        [cursor, page] => cursor.text() == "0" && page.array().is_empty(),
        all => all.is_empty(),
    }
}

/// Whether a reply is this JSON; of a map only these fields.
fn is_json(reply: &Reply, json: &Value) -> bool {
    match json {
        Value::Array(all) => {
            reply.array().len() == all.len() && reply.array().iter().zip(all).all(|(one, json)| is_json(one, json))
        }
        Value::Object(fields) => fields.iter().all(|(name, json)| is_json(reply.get(name), json)),
        Value::String(text) => reply.text() == text,
        other => other.as_i64() == Some(reply.int()),
    }
}

#[track_caller]
fn check(line: &str, reply: &Reply, answer: &Value) {
    let is_it = match text(answer, "answer").expect("an answer") {
        "error" => reply.is_error() && Some(reply.error_code()) == text(answer, "code"),
        _ if reply.is_error() => false,
        "nil" => reply.is_nil(),
        "nils" => !reply.array().is_empty() && reply.array().iter().all(Reply::is_nil),
        "empty" => is_empty(reply),
        "zero" => *reply == Reply::Int(0),
        "reply" => is_json(reply, &serde_json::from_str(text(answer, "reply").expect("a reply")).expect("JSON")),
        "made" => !reply.is_nil(),
        other => panic!("{line}: {other}"),
    };
    assert!(is_it, "{line}: {reply:?} is not {answer}");
}

#[test]
fn what_every_command_answers_on_a_key_that_is_not_there_is_as_declared() {
    let server = Server::start();
    let stream = replication_stream(&server, || assert_eq!(server.run("LTMC.SESSION.SET s f v").int(), 1));
    let payload = &stream[0][2];
    let reference: Value =
        serde_json::from_str(include_str!("../../../src/command/services/reference.json")).expect("JSON");
    for command in list(&reference) {
        let answers = list(&command["missing"]);
        assert_eq!(answers.is_empty(), list(&command["keys"]).is_empty(), "{command}");
        for answer in answers {
            for line in lines(command, answer) {
                server.run("FLUSHALL").ok();
                let mut words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                if line.starts_with("LTMC.APPLY") {
                    words[2] = payload;
                }
                let reply = server.cmd(&words);
                check(&line, &reply, answer);
                let made = if answer["answer"] == "made" { ["none"].as_slice() } else { &[] };
                assert_eq!(server.run("KEYS *").texts(), made, "{line}");
            }
        }
    }
}

#[test]
fn a_claim_or_receive_that_waited_in_vain_is_an_empty_list_as_one_that_did_not_wait() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE flow").ok();
    server.run("LTMC.MSG.JOIN mail a").int();
    for of in ["none", "there"] {
        let (flow, mail) = if of == "none" { ("none", "none") } else { ("flow", "mail") };
        for line in [format!("LTMC.TASK.CLAIM {flow} w"), format!("LTMC.MSG.RECV {mail} a")] {
            for block in ["", " BLOCK 10"] {
                assert_eq!(server.run(&format!("{line}{block}")).array(), [], "{line}{block}");
            }
        }
    }
}
