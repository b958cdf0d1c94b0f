//! Checkpoints, ways back to them, forks, and how much of the past is kept.

use super::*;

/// The numbers of the checkpoints of a session.
#[track_caller]
fn ids(server: &Server, key: &str) -> Vec<i64> {
    let all = run(server, &format!("LTMC.SESSION.CHECKPOINTS {key}"));
    all.array().iter().map(|one| one.get("id").int()).collect()
}

#[test]
fn a_checkpoint_is_found_by_number_and_by_its_newest_name() {
    let server = Server::start();
    for (n, name) in [(1, "NAME same"), (2, ""), (3, "PIN NAME same"), (4, "NAME x2")] {
        run(&server, &format!("LTMC.SESSION.SET s n {n}"));
        assert_eq!(run(&server, &format!("LTMC.SESSION.CHECKPOINT s {name}")).int(), n);
    }
    let all = run(&server, "LTMC.SESSION.CHECKPOINTS s");
    let shown: Vec<(i64, i64, i64)> = all
        .array()
        .iter()
        .map(|one| (one.get("id").int(), one.get("version").int(), one.get("pinned").int()))
        .collect();
    assert_eq!(shown, [(1, 1, 0), (2, 2, 0), (3, 3, 1), (4, 4, 0)]);
    assert_eq!(all.array()[0].get("name").text(), "same");
    assert!(all.array()[1].get("name").is_nil() && all.array()[1].get("at_ms").int() > 0);
    assert_eq!(info(&server, "s", "checkpoints").int(), 4);
    assert_eq!(info(&server, "s", "last_checkpoint").get("name").text(), "x2");
    run(&server, "LTMC.SESSION.SET s n 5");
    for (turn, (checkpoint, n)) in [("same", "3"), ("1", "1"), ("2", "2"), ("4", "4")].into_iter().enumerate() {
        let line = format!("LTMC.SESSION.RESTORE s {checkpoint}");
        assert_eq!(run(&server, &line).int(), 6 + turn as i64, "a restore is a new version");
        assert_eq!(fields(&server, "s"), [format!("n={n}")], "{line}");
    }
    refused(&server, "LTMC.SESSION.RESTORE s none", "ERR", "there is no checkpoint 'none'");
    refused(&server, "LTMC.SESSION.RESTORE s 5", "ERR", "there is no checkpoint '5'");
    refused(&server, "LTMC.SESSION.RESTORE s 1 IFVERSION 8", "CONFLICT", "the current one is 9; changed since: \"n\"");
    assert_eq!(run(&server, "LTMC.SESSION.RESTORE s 1 IFVERSION 9").int(), 10);
}

#[test]
fn no_name_finds_no_checkpoint() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.SET s n 1");
    run(&server, "LTMC.SESSION.CHECKPOINT s");
    // An empty name must not find a checkpoint without a name.
    assert_eq!(server.cmd(&["LTMC.SESSION.RESTORE", "s", ""]).error_code(), "ERR");
}

#[test]
fn a_restore_brings_back_what_was_deleted_and_can_itself_be_undone() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.SET s a 1 b 1");
    run(&server, "LTMC.SESSION.CHECKPOINT s NAME old");
    run(&server, "LTMC.SESSION.DEL s a");
    run(&server, "LTMC.SESSION.SET s c 1");
    run(&server, "LTMC.SESSION.CHECKPOINT s NAME new");
    run(&server, "LTMC.SESSION.JOIN s agent");
    run(&server, "LTMC.SESSION.RESTORE s old");
    assert_eq!(fields(&server, "s"), ["a=1", "b=1"]);
    assert_eq!(info(&server, "s", "participants").array().len(), 1, "only the state goes back");
    run(&server, "LTMC.SESSION.RESTORE s new");
    assert_eq!(fields(&server, "s"), ["b=1", "c=1"]);
    let conflict = server.run("LTMC.SESSION.SET s a 2 IFVERSION 3").error().to_string();
    assert!(conflict.ends_with("changed since: \"a\", \"c\""), "a restore is a change of fields: {conflict}");
    let empty = run(&server, "LTMC.SESSION.CREATE e").int();
    run(&server, "LTMC.SESSION.CHECKPOINT e");
    run(&server, "LTMC.SESSION.SET e f v");
    assert_eq!(run(&server, "LTMC.SESSION.RESTORE e 1").int(), empty + 2);
    assert_eq!(fields(&server, "e"), Vec::<String>::new());
}

#[test]
fn a_fork_is_a_session_of_its_own() {
    let server = Server::start();
    run(
        &server,
        "LTMC.SESSION.CREATE s PARTICIPANTS 2 a b META {\"m\":1} PX 600000 SLIDING MAXLIFE 900000 STATE {\"n\":1}",
    );
    run(&server, "LTMC.SESSION.CHECKPOINT s NAME first PIN");
    run(&server, "LTMC.SESSION.SET s n 2 m 2");
    run(&server, "LTMC.SESSION.OWN s lock");
    assert_eq!(run(&server, "LTMC.SESSION.FORK s now").int(), 2);
    assert_eq!(run(&server, "LTMC.SESSION.FORK s then AT first").int(), 1, "it begins with the version that it is of");
    assert_eq!(run(&server, "LTMC.SESSION.FORK s number at 1").int(), 1);
    assert_eq!(
        (fields(&server, "now"), fields(&server, "then")),
        (vec!["m=2".into(), "n=2".into()], vec!["n=1".into()])
    );
    let shown = run(&server, "LTMC.SESSION.INFO then");
    for (member, value) in [("ttl_ms", 600_000), ("sliding", 1), ("checkpoints", 0), ("history_versions", 0)] {
        assert_eq!(shown.get(member).int(), value, "{member}");
    }
    assert_eq!(shown.get("participants").array().len(), 2);
    assert_eq!(shown.get("resources").array(), [], "what is owned is owned by one");
    assert_eq!(shown.get("meta").text(), "{\"m\":1}");
    assert_eq!(shown.get("status").text(), "active");
    refused(&server, "LTMC.SESSION.FORK s now", "CONFLICT", "the session 'now' exists, its version is 2");
    refused(&server, "LTMC.SESSION.FORK s s", "ERR", "the same key");
    refused(&server, "LTMC.SESSION.FORK s new AT 2", "ERR", "there is no checkpoint '2'");
    refused(&server, "LTMC.SESSION.RESTORE then first", "ERR", "there is no checkpoint");
    let before = fields(&server, "then");
    for line in [
        "LTMC.SESSION.SET s n 3",
        "LTMC.SESSION.PRUNE s KEEPLAST 0",
        "LTMC.SESSION.LEAVE s a",
        "LTMC.SESSION.END s GRACE 0",
    ] {
        run(&server, line);
        assert_eq!(fields(&server, "then"), before, "{line}");
    }
    assert_eq!(info(&server, "then", "participants").array().len(), 2);
    assert_eq!(run(&server, "LTMC.SESSION.SET then n 9 IFVERSION 1").int(), 2);
    assert_eq!(fields(&server, "number"), ["n=1"]);
    assert_eq!(run(&server, "LTMC.SESSION.END now").int(), 1);
    assert_eq!(run(&server, "LTMC.SESSION.FORK then now").int(), 2, "what has ended is in nobody's way");
}

/// A prune is first tried, then done, and removes these.
#[track_caller]
fn prunes(server: &Server, options: &str, gone: &[i64], left: &[i64]) {
    let before = server.debug_digest();
    assert_eq!(run(server, &format!("LTMC.SESSION.PRUNE s DRYRUN {options}")).ints(), gone, "{options}");
    assert_eq!(server.debug_digest(), before, "{options}: a dry run changes nothing");
    assert_eq!(run(server, &format!("LTMC.SESSION.PRUNE s {options}")).ints(), gone, "{options}");
    assert_eq!(ids(server, "s"), left, "{options}");
}

#[test]
fn prune_keeps_the_newest_the_young_and_the_pinned() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.history-versions-max 1");
    for n in 1..=8 {
        set_clock(&server, n * 100_000);
        run(&server, &format!("LTMC.SESSION.SET s n {n}"));
        run(&server, &format!("LTMC.SESSION.CHECKPOINT s {}", if n % 4 == 2 { "PIN" } else { "" }));
    }
    // Ages are 700, 600, ... 0 seconds; 2 and 6 are pinned.
    prunes(&server, "KEEPLAST 9", &[], &[1, 2, 3, 4, 5, 6, 7, 8]);
    prunes(&server, "KEEPLAST 1 MAXAGE 650000", &[1], &[2, 3, 4, 5, 6, 7, 8]);
    prunes(&server, "KEEPLAST 4 MAXAGE 0", &[3], &[2, 4, 5, 6, 7, 8]);
    prunes(&server, "KEEPLAST 0 MAXAGE 350000", &[4], &[2, 5, 6, 7, 8]);
    run(&server, "LTMC.SESSION.RESTORE s 2");
    assert_eq!(fields(&server, "s"), ["n=2"], "what lies between may go, the way stays");
    prunes(&server, "KEEPLAST 2", &[5], &[2, 6, 7, 8]);
    prunes(&server, "KEEPLAST 0", &[7, 8], &[2, 6]);
    prunes(&server, "KEEPLAST 0", &[], &[2, 6]);
    run(&server, "LTMC.SESSION.RESTORE s 6");
    assert_eq!(fields(&server, "s"), ["n=6"]);
    assert_eq!(run(&server, "LTMC.SESSION.CHECKPOINT s").int(), 9, "no number is given twice");
}

#[test]
fn only_the_newest_versions_are_kept_besides_the_checkpoints() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.history-versions-max 3");
    run(&server, "LTMC.SESSION.SET s n 0");
    run(&server, "LTMC.SESSION.CHECKPOINT s");
    for n in 1..=20 {
        run(&server, &format!("LTMC.SESSION.SET s n {n} f{n} v"));
    }
    assert_eq!(info(&server, "s", "history_versions").int(), 3);
    let known = server.run("LTMC.SESSION.SET s n late IFVERSION 18").error().to_string();
    assert!(known.ends_with("changed since: \"f18\", \"f19\", \"f20\", \"n\""), "{known}");
    let unknown = server.run("LTMC.SESSION.SET s n late IFVERSION 10").error().to_string();
    assert!(unknown.ends_with("the current one is 21"), "{unknown}");
    run(&server, "LTMC.SESSION.RESTORE s 1");
    assert_eq!(fields(&server, "s"), ["n=0"]);
}

#[test]
fn pinned_checkpoints_that_need_all_the_history_stop_writes_and_others_go_before() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.history-bytes-max 4096");
    let long = |n: usize| format!("LTMC.SESSION.SET s f {}{n}", "x".repeat(1500));
    run(&server, &long(0));
    for n in 1..=6 {
        run(&server, "LTMC.SESSION.CHECKPOINT s");
        run(&server, &long(n));
    }
    let left = ids(&server, "s");
    assert!(left.len() < 6 && left.last() == Some(&6), "the oldest have gone: {left:?}");
    assert!(info(&server, "s", "history_bytes").int() <= 4096);
    let mut writes = 0;
    let refusal = loop {
        let replies = ["LTMC.SESSION.CHECKPOINT s PIN", &long(writes)].map(|line| server.run(line));
        if let Some(refusal) = replies.into_iter().find(Reply::is_error) {
            break refusal;
        }
        writes += 1;
        assert!(writes < 10, "nothing stops it");
    };
    assert_eq!(refusal.error_code(), "LIMIT");
    assert!(refusal.error().contains("ltmc.history-bytes-max"), "{refusal:?}");
    assert!(writes >= 2);
    refused(&server, &long(99), "LIMIT", "pinned checkpoints need");
    assert_eq!(run(&server, "LTMC.SESSION.GET s f").text().len(), 1501, "it can be read all the same");
}

#[test]
fn no_way_of_writing_passes_the_bound_of_history() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.history-bytes-max 4096");
    for n in 0..2 {
        run(&server, &format!("LTMC.SESSION.SET s f {}{n}", "x".repeat(1500)));
        run(&server, "LTMC.SESSION.CHECKPOINT s PIN");
    }
    for n in 0..40 {
        server.run(&format!("LTMC.SESSION.RESTORE s {}", 1 + n % 2));
        server.run("LTMC.SESSION.CHECKPOINT s PIN");
    }
    // One write may exceed the bound, not forty.
    let bytes = info(&server, "s", "history_bytes").int();
    assert!(bytes < 2 * 4096, "{bytes}");
    for line in ["DEL s f", "CHECKPOINT s", "CHECKPOINT s PIN", "RESTORE s 1", "SET s f v"] {
        refused(&server, &format!("LTMC.SESSION.{line}"), "LIMIT", "ltmc.history-bytes-max");
    }
    assert_eq!(run(&server, "LTMC.SESSION.DEL s none").int(), 0, "nothing has to be remembered");
}

#[test]
fn checkpoints_themselves_count_in_the_history_and_go_before_others_are_refused() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.history-bytes-max 4096");
    run(&server, "LTMC.SESSION.SET s f v");
    let name = "x".repeat(200);
    // Nothing changes, and still what is remembered is bounded.
    for n in 1..=40 {
        assert_eq!(run(&server, &format!("LTMC.SESSION.CHECKPOINT s NAME {name}{n}")).int(), n);
        assert!(info(&server, "s", "history_bytes").int() <= 4096);
    }
    let left = ids(&server, "s");
    assert!((5..20).contains(&left.len()) && left.last() == Some(&40), "the oldest have gone: {left:?}");
    let mut pinned = 0;
    while !server.run(&format!("LTMC.SESSION.CHECKPOINT s PIN NAME {name}")).is_error() {
        pinned += 1;
        assert!(pinned < 40, "nothing stops it");
    }
    assert!(pinned > 5 && ids(&server, "s").len() == pinned, "no loose one is left");
    refused(&server, "LTMC.SESSION.CHECKPOINT s", "LIMIT", "pinned checkpoints need");
}
