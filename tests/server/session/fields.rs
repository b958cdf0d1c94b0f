//! The fields of sessions: what is set and read, versions and conflicts, checkpoints, forks, and
//! sessions as keys of Redis.

use crate::harness::*;
use crate::waiting::set_clock;

mod checkpoints;
mod keys;

/// Runs a line that must be accepted. Its reply may be nil.
#[track_caller]
pub fn run(server: &Server, line: &str) -> Reply {
    let reply = server.run(line);
    assert!(!reply.is_error(), "{line}: {reply:?}");
    reply
}

/// All fields of a session, as `field=value` in the order of their names.
#[track_caller]
pub fn fields(server: &Server, key: &str) -> Vec<String> {
    let all = run(server, &format!("LTMC.SESSION.GET {key}"));
    all.pairs().iter().map(|(field, value)| format!("{}={}", field.text(), value.text())).collect()
}

/// A field of the INFO of a session.
#[track_caller]
pub fn info(server: &Server, key: &str, member: &str) -> Reply {
    run(server, &format!("LTMC.SESSION.INFO {key}")).get(member).clone()
}

/// Runs a line that must be refused with this code and a text that contains `part`. It must change
/// nothing.
#[track_caller]
pub fn refused(server: &Server, line: &str, code: &str, part: &str) {
    let before = server.debug_digest();
    let reply = server.run(line);
    let line = &line[..line.len().min(100)];
    assert!(reply.is_error(), "{line} was accepted: {reply:?}");
    assert_eq!(reply.error_code(), code, "{line}: {reply:?}");
    assert!(reply.error().contains(part), "{line}: no {part:?} in {reply:?}");
    assert_eq!(server.debug_digest(), before, "{line} changed something");
}

#[test]
fn set_makes_a_session_and_each_set_a_version() {
    let server = Server::start();
    assert_eq!(run(&server, "LTMC.SESSION.SET s b 1 a 2").int(), 1);
    assert_eq!(run(&server, "LTMC.SESSION.SET s b 3").int(), 2);
    assert_eq!(run(&server, "LTMC.SESSION.SET s b 3").int(), 2, "the same value is no version");
    assert_eq!(run(&server, "LTMC.SESSION.SET s c 1 c 2 c 3").int(), 3, "the last of several values counts");
    assert_eq!(fields(&server, "s"), ["a=2", "b=3", "c=3"]);
    assert_eq!(run(&server, "LTMC.SESSION.SET s c 1 a 2 c 3").int(), 3, "and makes no version if it is there");
    assert_eq!(info(&server, "s", "version").int(), 3);
    assert_eq!(info(&server, "s", "fields").int(), 3);
    assert_eq!(info(&server, "s", "bytes").int(), 6);
    assert_eq!(info(&server, "s", "status").text(), "active");
}

#[test]
fn get_answers_one_field_several_or_all() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.SET s a 1 b 2");
    assert_eq!(run(&server, "LTMC.SESSION.GET s a").text(), "1");
    assert!(run(&server, "LTMC.SESSION.GET s none").is_nil());
    let several = run(&server, "LTMC.SESSION.GET s b none a");
    let several: Vec<Option<&str>> = several.array().iter().map(|one| (!one.is_nil()).then(|| one.text())).collect();
    assert_eq!(several, [Some("2"), None, Some("1")]);
    assert!(run(&server, "LTMC.SESSION.GET none a").is_nil());
    assert!(run(&server, "LTMC.SESSION.GET none a b").array().iter().all(Reply::is_nil));
    for line in ["LTMC.SESSION.GET none", "LTMC.SESSION.INFO none", "LTMC.SESSION.STATUS none"] {
        assert!(run(&server, line).is_nil(), "{line}");
    }
    assert_eq!(run(&server, "LTMC.SESSION.CHECKPOINTS none").array(), []);
    assert_eq!(run(&server, "LTMC.SESSION.PRUNE none KEEPLAST 0").array(), []);
    for line in ["DEL none f", "TOUCH none PX 5", "END none", "LEAVE none a", "DISOWN none r"] {
        assert_eq!(run(&server, &format!("LTMC.SESSION.{line}")).int(), 0, "{line}");
    }
    for line in ["JOIN none a", "OWN none r", "CHECKPOINT none", "RESTORE none 1"] {
        refused(&server, &format!("LTMC.SESSION.{line}"), "NOSESSION", "there is no session 'none'");
    }
    for line in ["FORK none t", "STATUS none active"] {
        refused(&server, &format!("LTMC.SESSION.{line}"), "NOSESSION", "'none'");
    }
    assert_eq!(run(&server, "DBSIZE").int(), 1);
}

#[test]
fn fields_may_be_called_like_options() {
    let server = Server::start();
    assert_eq!(run(&server, "LTMC.SESSION.SET s PX 5").int(), 1);
    assert_eq!(run(&server, "LTMC.SESSION.SET s ifversion 7 a 1 EX 9 b 2").int(), 2);
    assert_eq!(fields(&server, "s"), ["EX=9", "PX=5", "a=1", "b=2", "ifversion=7"]);
    assert_eq!(run(&server, "PTTL s").int(), -1, "none of them was an option");
    assert_eq!(run(&server, "LTMC.SESSION.SET s IFVERSION 8 IFVERSION 2").int(), 3);
    refused(&server, "LTMC.SESSION.SET s PX 5 IFVERSION 2", "CONFLICT", "the current one is 3");
    assert_eq!(run(&server, "LTMC.SESSION.GET s IFVERSION").text(), "8");
    assert_eq!(run(&server, "LTMC.SESSION.SET s f v px 600000 ifversion 3").int(), 4);
    assert!((1..=600_000).contains(&run(&server, "PTTL s").int()));
    assert_eq!(run(&server, "LTMC.SESSION.SET s f v IFVERSION 4 EX 1000").int(), 4);
    assert!((600_001..=1_000_000).contains(&run(&server, "PTTL s").int()));
    assert_eq!(run(&server, "LTMC.SESSION.DEL s PX EX IFVERSION").int(), 3);
    assert_eq!(fields(&server, "s"), ["a=1", "b=2", "f=v", "ifversion=7"]);
}

#[test]
fn names_and_values_are_any_bytes() {
    let server = Server::start();
    let name: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let longest = vec![0; 1024];
    for (field, value) in [(&name, &b""[..]), (&longest, &name), (&b"large".to_vec(), &large), (&vec![0], &longest)] {
        server.cmd(&[b"LTMC.SESSION.SET".as_slice(), b"s", field, value]).int();
        assert_eq!(server.cmd(&[b"LTMC.SESSION.GET".as_slice(), b"s", field]).bytes(), value);
    }
    let before = server.debug_digest();
    server.debug_reload();
    assert_eq!(server.debug_digest(), before);
    assert_eq!(server.cmd(&["LTMC.SESSION.GET", "s", "large"]).bytes(), large);
    let all = run(&server, "LTMC.SESSION.GET s");
    let names: Vec<&[u8]> = all.pairs().iter().map(|(field, _)| field.bytes()).collect();
    assert!(names.is_sorted() && names.len() == 4, "in the order of their bytes");
    let gone = server.cmd(&[b"LTMC.SESSION.DEL".as_slice(), b"s", &name, &name, b"none", &[0]]);
    assert_eq!(gone.int(), 2, "each counts once");
}

#[test]
fn delete_is_a_version_only_if_it_deletes_something() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.SET s a 1 b 2 c 3");
    assert_eq!(run(&server, "LTMC.SESSION.DEL s none").int(), 0);
    assert_eq!(info(&server, "s", "version").int(), 1);
    assert_eq!(run(&server, "LTMC.SESSION.DEL s a none b a").int(), 2);
    assert_eq!(info(&server, "s", "version").int(), 2);
    assert_eq!(fields(&server, "s"), ["c=3"]);
}

#[test]
fn ifversion_lets_only_one_of_two_writers_through() {
    let server = Server::start();
    refused(
        &server,
        "LTMC.SESSION.SET s f v IFVERSION 1",
        "CONFLICT",
        "version 1 is not current, the current one is 0",
    );
    assert_eq!(run(&server, "LTMC.SESSION.SET s f v IFVERSION 0").int(), 1);
    refused(&server, "LTMC.SESSION.SET s f w IFVERSION 0", "CONFLICT", "the current one is 1");
    assert_eq!(run(&server, "LTMC.SESSION.SET s g v IFVERSION 1").int(), 2);
    assert_eq!(run(&server, "LTMC.SESSION.SET s h v f 2").int(), 3);
    assert_eq!(run(&server, "LTMC.SESSION.DEL s g").int(), 1);
    for (version, changed) in [(1, "\"f\", \"g\", \"h\""), (2, "\"f\", \"g\", \"h\""), (3, "\"g\"")] {
        let text = format!("the current one is 4; changed since: {changed}");
        let line = format!("LTMC.SESSION.SET s f late IFVERSION {version}");
        refused(&server, &line, "CONFLICT", &text);
        assert!(server.run(&line).error().ends_with(&text));
    }
    let future = server.run("LTMC.SESSION.SET s f late IFVERSION 9223372036854775807");
    assert_eq!(future.error(), "CONFLICT version 9223372036854775807 is not current, the current one is 4");
}

#[test]
fn a_conflict_names_at_most_32_fields_as_json() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.SET s f v");
    server.cmd(&[b"LTMC.SESSION.SET".as_slice(), b"s", "a\"\r\n\u{e9}".as_bytes(), b"v"]).int();
    let text = server.run("LTMC.SESSION.SET s f w IFVERSION 1").error().to_string();
    let names = text.split_once("changed since: ").expect("it is known").1;
    let names: Vec<String> = serde_json::from_str(&format!("[{names}]")).expect("the names are JSON");
    assert_eq!(names, ["a\"\r\n\u{e9}"]);
    for n in 0..40 {
        run(&server, &format!("LTMC.SESSION.SET s field{n:02} v"));
    }
    let text = server.run("LTMC.SESSION.SET s f w IFVERSION 2").error().to_string();
    assert_eq!(text.matches("\"field").count(), 32, "{text}");
    assert!(text.ends_with("\"field31\", ..."), "{text}");
}

#[test]
fn create_takes_state_metadata_and_participants() {
    let server = Server::start();
    let state = r#"{"text":"x y","number":1.50,"big":18446744073709551615,"list":[1,{"b":2,"a":null}],"nul":null,"yes":true,"":"#;
    let with_empty = format!("{state}1}}");
    assert!(server.cmd(&["LTMC.SESSION.CREATE", "s", "STATE", &with_empty]).error().contains("field is 0 bytes long"));
    let state = format!("{}}}", state.strip_suffix(",\"\":").expect("the empty name is the last"));
    let meta = r#"{ "tags": ["eu"] }"#;
    let words = ["LTMC.SESSION.CREATE", "s", "meta", meta, "participants", "3", "b", "a", "b", "state", &state];
    assert_eq!(server.cmd(&words).int(), 1);
    assert_eq!(
        fields(&server, "s"),
        ["big=18446744073709551615", "list=[1,{\"a\":null,\"b\":2}]", "nul=null", "number=1.5", "text=x y", "yes=true"]
    );
    let shown = run(&server, "LTMC.SESSION.INFO s");
    assert_eq!(shown.get("meta").text(), meta, "as it was given");
    let participants = shown.get("participants").array();
    assert_eq!(participants.len(), 2);
    assert_eq!((participants[0].get("agent").text(), participants[1].get("agent").text()), ("a", "b"));
    assert!(participants[0].get("role").is_nil() && participants[0].get("since_at_ms").int() > 0);
    assert!(shown.get("owner").is_nil() && shown.get("ttl_ms").is_nil() && shown.get("ends_at_ms").is_nil());
    refused(&server, "LTMC.SESSION.CREATE s", "CONFLICT", "the session 's' exists, its version is 1");
    run(&server, "LTMC.SESSION.SET t f v");
    refused(&server, "LTMC.SESSION.CREATE t STATE {}", "CONFLICT", "'t' exists");
    for meta in ["null", ""] {
        server.cmd(&["LTMC.SESSION.CREATE", &format!("m{meta}"), "META", meta, "PARTICIPANTS", "0"]).int();
        assert!(info(&server, &format!("m{meta}"), "meta").is_nil());
    }
}

#[test]
fn a_session_that_set_has_made_goes_with_the_last_of_what_it_has() {
    let server = Server::start();
    for (more, last) in [
        (None, "DEL s f"),
        (Some(("JOIN s a", "LEAVE s a")), "DEL s f"),
        (Some(("OWN s r", "DISOWN s r")), "DEL s f"),
        (Some(("CHECKPOINT s", "PRUNE s KEEPLAST 0")), "DEL s f"),
        (Some(("JOIN s a", "DEL s f")), "LEAVE s a"),
        (Some(("OWN s r", "DEL s f")), "DISOWN s r"),
        (Some(("CHECKPOINT s", "DEL s f")), "PRUNE s KEEPLAST 0"),
    ] {
        assert_eq!(run(&server, "LTMC.SESSION.SET s f v").int(), 1, "it begins anew");
        if let Some((one, other)) = more {
            run(&server, &format!("LTMC.SESSION.{one}"));
            run(&server, &format!("LTMC.SESSION.{other}"));
        }
        assert_eq!(run(&server, "EXISTS s").int(), 1, "before {last}");
        run(&server, &format!("LTMC.SESSION.{last}"));
        assert_eq!(run(&server, "EXISTS s").int(), 0, "{more:?} {last}");
    }
    for made in ["LTMC.SESSION.CREATE s STATE {\"f\":1}", "LTMC.SESSION.FORK t s"] {
        run(&server, "LTMC.SESSION.SET t f v");
        run(&server, made);
        assert_eq!(run(&server, "LTMC.SESSION.DEL s f").int(), 1);
        assert_eq!(fields(&server, "s"), Vec::<String>::new(), "{made}: it stays without fields");
        assert_eq!(run(&server, "LTMC.SESSION.SET s f v IFVERSION 2").int(), 3);
        run(&server, "DEL s t");
    }
}

#[test]
fn how_many_bytes_a_session_has_is_not_lied_about_by_naming_a_field_twice() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.session-bytes-max 1024");
    run(&server, &format!("LTMC.SESSION.SET s a {}", "x".repeat(900)));
    // The old value of a field is subtracted once, however often the field is named.
    let line = format!("LTMC.SESSION.SET s {} b {}", ["a y"; 30].join(" "), "x".repeat(10_000));
    refused(&server, &line, "LIMIT", "ltmc.session-bytes-max");
}
