//! Locks on parts of a resource: a path is a subtree. Paths above and below it are affected, those
//! beside it are not.

use super::*;

/// Whether one owner can have `requested` (mode and path) while another holds `held`.
#[track_caller]
fn fits(server: &Server, held: (&str, &str), requested: (&str, &str)) -> bool {
    let line = |owner: &str, (mode, path): (&str, &str)| {
        let words = ["LTMC.LOCK", "k", owner, mode, "PATH", path].map(str::to_string);
        server.cmd(&words)
    };
    server.run("FLUSHALL").ok();
    line("holder", held).int();
    let reply = line("other", requested);
    assert!(reply.is_nil() || reply.int() > 0, "{held:?} {requested:?}: {reply:?}");
    !reply.is_nil()
}

#[test]
fn only_ancestors_and_descendants_are_affected() {
    let server = Server::start();
    let related = [("src", "src"), ("src", "src/db"), ("src/db", "src"), ("", "src"), ("src/a/b", "")];
    let apart = [("src/a", "src/b"), ("src", "docs"), ("src/db", "src/dbx"), ("a/b/c", "a/b/d")];
    for held in ["EXCLUSIVE", "SHARED"] {
        for requested in ["EXCLUSIVE", "SHARED"] {
            let together = held == "SHARED" && requested == "SHARED";
            for (one, other) in related {
                assert_eq!(
                    fits(&server, (held, one), (requested, other)),
                    together,
                    "{held} {one:?} beside {requested} {other:?}"
                );
            }
            for (one, other) in apart {
                assert!(fits(&server, (held, one), (requested, other)), "{held} {one:?} beside {requested} {other:?}");
            }
        }
    }
}

#[test]
fn slashes_at_the_ends_do_not_count() {
    let server = Server::start();
    for (one, other) in [("/src/", "src"), ("/", ""), ("src//", "src")] {
        assert!(!fits(&server, ("EXCLUSIVE", one), ("EXCLUSIVE", other)), "{one} {other}");
    }
}

#[test]
fn a_writer_of_the_whole_waits_for_everyone_below() {
    let server = Server::start();
    for number in 0..100 {
        server.run(&format!("LTMC.LOCK k a{number} PATH dir{}/file{number}", number % 7)).int();
    }
    let mut whole = server.client();
    whole.send_line("LTMC.LOCK k whole BLOCK 0");
    server.wait_blocked(1);
    assert!(server.run("LTMC.LOCK k late PATH elsewhere").is_nil(), "who comes later stands behind the waiting writer");
    for number in 0..100 {
        let path = format!("dir{}/file{number}", number % 7);
        assert_eq!(whole.recv_within(0), None);
        assert_eq!(server.run(&format!("LTMC.UNLOCK k a{number} PATH {path}")).int(), 1);
    }
    assert!(whole.recv().int() > 0);
    assert!(server.run("LTMC.LOCK k late PATH elsewhere").is_nil());
    assert_eq!(server.run("LTMC.UNLOCK k whole").int(), 1);
    assert_eq!(server.run("EXISTS k").int(), 0);
}

#[test]
fn an_owner_does_not_stand_in_its_own_way() {
    let server = Server::start();
    let tree = server.run("LTMC.LOCK k a PATH src").int();
    let inner = server.run("LTMC.LOCK k a PATH src/db").int();
    let whole = server.run("LTMC.LOCK k a").int();
    assert!(tree < inner && inner < whole, "each path is a grant of its own");
    assert!(server.run("LTMC.LOCK k b SHARED PATH docs").is_nil());
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1, "without PATH it is about the whole");
    assert!(server.run("LTMC.LOCK k b SHARED PATH docs").int() > 0);
    assert!(server.run("LTMC.LOCK k b SHARED PATH src/x").is_nil());
    assert_eq!(server.run("LTMC.UNLOCK k a PATH src").int(), 1);
    assert!(server.run("LTMC.LOCK k b SHARED PATH src/x").int() > 0);
    assert!(server.run("LTMC.LOCK k b SHARED PATH src/db").is_nil());
}

#[test]
fn the_same_path_again_is_one_level_more() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PATH src").int();
    assert_eq!(server.run("LTMC.LOCK k a PATH /src/").int(), fence);
    assert_eq!(server.run("LTMC.UNLOCK k a PATH src").int(), 1);
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1);
    assert_eq!(server.run("LTMC.UNLOCK k a PATH src").int(), 1);
    assert_eq!(server.run("LTMC.UNLOCK k a PATH src").int(), 0);
}

#[test]
fn unlocking_names_a_path_or_all_of_them() {
    let server = Server::start();
    for path in ["a", "b", "c"] {
        server.run(&format!("LTMC.LOCK k me PATH {path}")).int();
        server.run(&format!("LTMC.LOCK k me PATH {path}")).int();
    }
    server.run("LTMC.LOCK k you PATH d").int();
    assert_eq!(server.run("LTMC.UNLOCK k me PATH d").error_code(), "NOTOWNER");
    assert_eq!(server.run("LTMC.UNLOCK k me PATH nowhere").int(), 0);
    assert_eq!(server.run("LTMC.UNLOCK k me PATH a ALL").int(), 1);
    let paths = || -> Vec<String> {
        let info = server.run("LTMC.LOCK.INFO k");
        let holders = info.get("holders").array();
        holders.iter().map(|held| held.get("path").text().to_string()).collect()
    };
    assert_eq!(paths(), ["b", "c", "d"]);
    assert_eq!(server.run("LTMC.UNLOCK k me ALL").int(), 1);
    assert_eq!(paths(), ["d"]);
}

#[test]
fn a_token_may_be_given_together_with_its_path() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PATH src/db").int();
    for (path, all) in [("src", ""), ("docs", "ALL"), ("/", "")] {
        let elsewhere = server.run(&format!("LTMC.UNLOCK k a TOKEN {fence} PATH {path} {all}"));
        assert!(elsewhere.error().contains("but the fence") && elsewhere.error().contains("'src/db'"), "{elsewhere:?}");
    }
    let stale = server.run(&format!("LTMC.UNLOCK k a PATH src/db TOKEN {}", fence - 1));
    assert_eq!(stale.error_code(), "STALE");
    assert_eq!(server.run(&format!("LTMC.UNLOCK k a PATH src/db/ TOKEN {fence}")).int(), 1);
    let stamp = server.run("LTMC.LOCK k a OPTIMISTIC PATH src/db").int();
    assert_eq!(server.run(&format!("LTMC.UNLOCK k a TOKEN {stamp} PATH src/db ALL")).int(), 1);
    assert_eq!(server.run("EXISTS k").int(), 0);
}

#[test]
fn paths_are_counted_separately_by_their_limits() {
    let server = Server::start();
    for owner in ["a", "b"] {
        assert!(server.run(&format!("LTMC.LOCK k {owner} SHARED LIMIT 2 PATH gpu/0")).int() > 0);
    }
    assert!(server.run("LTMC.LOCK k c SHARED LIMIT 2 PATH gpu/0").is_nil());
    assert!(server.run("LTMC.LOCK k c SHARED LIMIT 2 PATH gpu/1").int() > 0);
}

#[test]
fn a_waiter_for_one_path_does_not_hold_up_another() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PATH src").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK k b PATH src BLOCK 0");
    server.wait_blocked(1);
    assert!(server.run("LTMC.LOCK k c PATH docs").int() > 0);
    assert_eq!(server.run("LTMC.UNLOCK k c PATH docs").int(), 1);
    assert_eq!(waiting.recv_within(0), None);
    assert_eq!(server.run("LTMC.UNLOCK k a PATH src").int(), 1);
    assert!(waiting.recv().int() > 0);
}

#[test]
fn path_locks_survive_a_reload() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PATH src/db PX 600000").int();
    server.debug_reload();
    assert!(server.run("LTMC.LOCK k b PATH src").is_nil());
    assert!(server.run("LTMC.LOCK k b PATH src/ui").int() > 0);
}

#[test]
fn a_path_that_looks_like_a_pattern_is_refused_with_a_hint_and_what_is_held_so_is_given_back() {
    let server = Server::start();
    for bad in ["*", "src/*", "src/?.rs", "a/**/b", "src\\db"] {
        let error = server.cmd(&["LTMC.LOCK", "k", "ada", "PATH", bad]);
        assert_eq!(error.error_code(), "ERR", "{bad}");
        assert!(error.error().contains("a path is a name and no pattern"), "{error:?}");
        assert_eq!(server.run("EXISTS k").int(), 0);
        // A lock of that name may be there from before: unlocking it is no misuse.
        assert_eq!(server.cmd(&["LTMC.UNLOCK", "k", "ada", "PATH", bad]).int(), 0, "{bad}");
    }
    assert!(server.run("LTMC.LOCK k ada PATH src/[a]").int() > 0);
}
