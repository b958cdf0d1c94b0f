//! Bounds of what one command can be made to do.

use super::*;

#[test]
fn bounds_of_what_one_command_does_name_their_settings() {
    let server = Server::start();
    let long = "x".repeat(1025);
    server.run("LTMC.SESSION.SET s f v").int();
    (1..=2).for_each(|id| assert_eq!(server.run("LTMC.SESSION.CHECKPOINT s").int(), id));
    server.run("LTMC.CTX.CREATE c OWNER a DOC {\"f\":1}").int();
    (1..=2).for_each(|id| assert_eq!(server.run("LTMC.CTX.CHECKPOINT c").int(), id));
    server.run("LTMC.REGISTER r a CAPS 3 x@1 x@2 y CAPACITY 5").int();
    for (setting, value) in [
        ("checkpoints-max", 2),
        ("mail-payload-bytes-max", 1024),
        ("cache-answer-bytes-max", 1024),
        ("cache-args-bytes-max", 1024),
        ("capability-versions-max", 2),
        ("agent-capacity-max", 5),
    ] {
        server.run(&format!("CONFIG SET ltmc.{setting} {value}")).ok();
    }
    for (setting, line) in [
        ("checkpoints-max", "LTMC.SESSION.CHECKPOINT s".to_string()),
        ("checkpoints-max", "LTMC.CTX.CHECKPOINT c NAME n PIN".to_string()),
        ("mail-payload-bytes-max", format!("LTMC.MSG.SEND m a TO 1 b {long}")),
        ("cache-answer-bytes-max", format!("LTMC.CACHE.PUT t tool 1 {long}")),
        ("cache-args-bytes-max", format!("LTMC.CACHE.PUT t tool {long} v RAW")),
        ("cache-args-bytes-max", format!("LTMC.CACHE.GET t tool \"{long}\"")),
        ("capability-versions-max", "LTMC.REGISTER r b CAPS 1 x@3".to_string()),
        ("capability-versions-max", "LTMC.REGISTER r b CAPS 4 y@1 y@2 y@3 x@2".to_string()),
        ("agent-capacity-max", "LTMC.REGISTER r b CAPACITY 6".to_string()),
    ] {
        refused_by(&server, setting, &line);
    }
    let most = &long[..1024];
    for line in [
        "LTMC.REGISTER r b CAPS 4 x@1.0 x@2 y@1 y@2 CAPACITY 5".to_string(),
        "LTMC.REGISTER r c CAPS 1 x".to_string(),
        format!("LTMC.MSG.SEND m a TO 1 b {most}"),
        format!("LTMC.CACHE.PUT t tool {most} {most} RAW"),
    ] {
        assert!(!server.run(&line).is_error(), "{line}: what is within its bounds goes on");
    }
}

#[test]
fn the_values_and_the_edits_of_a_context_are_limits_that_are_named() {
    let server = Server::start();
    // The object and its list are values, too.
    let doc = |values: usize| format!(r#"{{"list":[{}]}}"#, vec!["1"; values - 2].join(","));
    refused_by(&server, "context-values-max", &format!("LTMC.CTX.CREATE c DOC {}", doc(10_001)));
    server.run(&format!("LTMC.CTX.CREATE c DOC {}", doc(10_000))).int();
    refused_by(&server, "context-values-max", "LTMC.CTX.UPDATE c a APPEND /list 1");
    // What an update brings counts together, also what it only compares.
    let test = format!(r#" PATCH [{{"op":"test","path":"","value":{}}}]"#, doc(10_000 - 4));
    server.run(&format!("LTMC.CTX.CREATE tested DOC {}", doc(10_000 - 4))).int();
    assert_eq!(server.run(&format!("LTMC.CTX.UPDATE tested a{test}")).int(), 1);
    refused_by(&server, "context-values-max", &format!("LTMC.CTX.UPDATE tested a SET /n 1{test}"));
    assert_eq!(server.run("LTMC.CTX.GET tested PATH 1 /n").get("version").int(), 1, "nothing is done");
    server.run("CONFIG SET ltmc.context-values-max 100").ok();
    refused_by(&server, "context-values-max", &format!("LTMC.CTX.UPDATE c a REPLACE {}", doc(101)));
    server.run("CONFIG SET ltmc.context-edits-max 10").ok();
    server.run("LTMC.CTX.CREATE few").int();
    let increments = |count: usize| format!("LTMC.CTX.UPDATE few a{}", " INCRBY /n 1".repeat(count));
    assert_eq!(server.run(&increments(10)).int(), 2);
    refused_by(&server, "context-edits-max", &increments(11));
    let members: Vec<String> = (0..11).map(|n| format!(r#""m{n}":{n}"#)).collect();
    refused_by(&server, "context-edits-max", &format!("LTMC.CTX.UPDATE few a MERGE {{{}}}", members.join(",")));
    assert_eq!(server.run(&format!("LTMC.CTX.UPDATE few a REPLACE {{{}}}", members.join(","))).int(), 3);
}
