//! How long sessions live, who takes part in them, what they own, and how they end.

use super::fields::{fields, info, refused, run};
use crate::harness::*;
use crate::waiting::set_clock;

mod batches;
mod ends;

#[test]
fn every_change_of_status_is_allowed_or_refused_by_the_table() {
    let server = Server::start();
    for (from, allowed) in [
        ("active", &["suspended", "migrating", "terminated"][..]),
        ("suspended", &["active", "migrating", "terminated"]),
        ("migrating", &["active", "suspended", "terminated"]),
        ("terminated", &[]),
    ] {
        for to in ["active", "suspended", "migrating", "recovering", "terminated"] {
            run(&server, "DEL s");
            run(&server, "LTMC.SESSION.CREATE s");
            assert_eq!(run(&server, &format!("LTMC.SESSION.STATUS s {from}")).text(), from);
            let line = format!("LTMC.SESSION.STATUS s {}", to.to_uppercase());
            if from == to || allowed.contains(&to) {
                assert_eq!(run(&server, &line).text(), to, "from {from}");
                assert_eq!(run(&server, "LTMC.SESSION.STATUS s").text(), to);
                assert_eq!(info(&server, "s", "status").text(), to);
                assert_eq!(info(&server, "s", "version").int(), 1, "a status is no version");
            } else {
                refused(&server, &line, "BADSTATE", &format!("it is {from} and cannot become {to}"));
            }
        }
    }
    refused(&server, "LTMC.SESSION.STATUS s gone", "ERR", "status is 'gone', allowed are ACTIVE, SUSPENDED, MIGRATING");
}

#[test]
fn what_is_put_aside_can_be_read_and_written() {
    let server = Server::start();
    for status in ["suspended", "migrating"] {
        run(&server, "DEL s");
        run(&server, "LTMC.SESSION.CREATE s");
        run(&server, &format!("LTMC.SESSION.STATUS s {status}"));
        assert_eq!(run(&server, "LTMC.SESSION.SET s f v").int(), 2);
        assert_eq!(run(&server, "LTMC.SESSION.CHECKPOINT s").int(), 1);
        assert_eq!(run(&server, "LTMC.SESSION.JOIN s a").int(), 1);
        assert_eq!(run(&server, "LTMC.SESSION.STATUS s").text(), status, "no write resumes it");
        assert_eq!(fields(&server, "s"), ["f=v"]);
    }
}

/// The participants as `agent:role`.
#[track_caller]
fn participants(server: &Server) -> Vec<String> {
    let shown = info(server, "s", "participants");
    let text = |one: &Reply, name: &str| one.get(name).clone();
    let show = |one: &Reply| {
        let role = text(one, "role");
        format!("{}:{}", text(one, "agent").text(), if role.is_nil() { "" } else { role.text() })
    };
    shown.array().iter().map(show).collect()
}

#[test]
fn participants_join_with_roles_and_leave() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 z");
    for (line, reply, left) in [
        ("JOIN s b ROLE writer", 1, "b:writer z:"),
        ("JOIN s a", 1, "a: b:writer z:"),
        ("JOIN s b", 0, "a: b:writer z:"),
        ("JOIN s b role reader", 0, "a: b:reader z:"),
        ("JOIN s a ROLE x", 0, "a:x b:reader z:"),
        ("LEAVE s none", 0, "a:x b:reader z:"),
        ("LEAVE s z", 1, "a:x b:reader"),
        ("LEAVE s z", 0, "a:x b:reader"),
        ("JOIN s z", 1, "a:x b:reader z:"),
    ] {
        assert_eq!(run(&server, &format!("LTMC.SESSION.{line}")).int(), reply, "{line}");
        assert_eq!(participants(&server).join(" "), left, "{line}");
    }
    assert_eq!(server.cmd(&["LTMC.SESSION.JOIN", "s", "a", "ROLE", ""]).int(), 0);
    assert_eq!(participants(&server)[0], "a:", "an empty role is none");
    let since = |at: usize| info(&server, "s", "participants").array()[at].get("since_at_ms").int();
    let first = since(1);
    set_clock(&server, 50_000);
    run(&server, "LTMC.SESSION.JOIN s b ROLE late");
    assert_eq!(since(1), first, "another role is no new beginning");
    assert_eq!(info(&server, "s", "version").int(), 1, "who takes part is no version");
}

#[test]
fn so_many_take_part_and_no_more() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.participants-max 2");
    run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 2 a b");
    refused(&server, "LTMC.SESSION.JOIN s c", "LIMIT", "ltmc.participants-max");
    assert_eq!(run(&server, "LTMC.SESSION.JOIN s a ROLE x").int(), 0);
    assert_eq!(run(&server, "LTMC.SESSION.LEAVE s b").int(), 1);
    assert_eq!(run(&server, "LTMC.SESSION.JOIN s c").int(), 1);
    assert_eq!(run(&server, "LTMC.SESSION.CREATE t PARTICIPANTS 3 a a b").int(), 1, "each counts once");
}

#[test]
fn users_join_and_leave_only_as_themselves_if_agents_are_bound() {
    let server = Server::start();
    run(&server, "ACL SETUSER ada on nopass ~* +@all -ltmc.lock.break");
    run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 bob");
    run(&server, "CONFIG SET ltmc.bind-agent-to-user yes");
    let mut ada = server.client();
    ada.auth("ada", "x");
    for line in ["JOIN s bob", "JOIN s adam", "LEAVE s bob", "LEAVE s none"] {
        assert_eq!(ada.run(&format!("LTMC.SESSION.{line}")).error_code(), "DENIED", "{line}");
    }
    for line in ["JOIN s ada", "JOIN s ada:1 ROLE x", "LEAVE s ada"] {
        assert_eq!(ada.run(&format!("LTMC.SESSION.{line}")).int(), 1, "{line}");
    }
    assert_eq!(participants(&server), ["ada:1:x", "bob:"]);
}

/// When the session ends, by what INFO says, from the module's time 0 on.
#[track_caller]
fn ends_after(server: &Server, started: i64) -> i64 {
    info(server, "s", "ends_at_ms").int() - started
}

/// Whether a duration is about this long. The time that the test itself takes is added.
#[track_caller]
fn assert_about(what: &str, found: i64, expected: i64) {
    assert!((expected..expected + 30_000).contains(&found), "{what}: {found} instead of {expected}");
}

#[test]
fn a_life_is_renewed_by_writes_if_it_slides_and_by_touch_in_any_case() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.CREATE s SLIDING PX 600000 MAXLIFE 2100000 STATE {\"f\":1,\"g\":1}");
    let started = info(&server, "s", "created_at_ms").int();
    assert_eq!(ends_after(&server, started), 600_000);
    let writes = [
        "LTMC.SESSION.SET s f v",
        "LTMC.SESSION.DEL s g",
        "LTMC.SESSION.CHECKPOINT s",
        "LTMC.SESSION.RESTORE s 1",
        "LTMC.SESSION.JOIN s a",
        "LTMC.SESSION.STATUS s suspended",
        "LTMC.SESSION.LEAVE s a",
        "LTMC.SESSION.OWN s l",
        "LTMC.SESSION.DISOWN s l",
        "LTMC.SESSION.PRUNE s KEEPLAST 0",
        "LTMC.SESSION.TOUCH s",
    ];
    for (turn, line) in writes.into_iter().enumerate() {
        let now = (turn as i64 + 1) * 100_000;
        set_clock(&server, now);
        let before = ends_after(&server, started);
        for read in ["GET s", "INFO s", "STATUS s", "CHECKPOINTS s"] {
            run(&server, &format!("LTMC.SESSION.{read}"));
        }
        assert_eq!(ends_after(&server, started), before, "no read renews it");
        run(&server, line);
        assert_about(line, ends_after(&server, started), now + 600_000);
    }
    set_clock(&server, 1_600_000);
    run(&server, "LTMC.SESSION.TOUCH s");
    assert_eq!(ends_after(&server, started), 2_100_000, "MAXLIFE is the end whatever happens");
    set_clock(&server, 2_099_000 - 60_000);
    assert_eq!(run(&server, "LTMC.SESSION.TOUCH s EX 9999").int(), 1);
    assert_eq!(fields(&server, "s"), ["f=v"]);
    set_clock(&server, 2_100_001);
    assert!(server.run("LTMC.SESSION.INFO s").is_nil());
}

#[test]
fn a_life_that_does_not_slide_ends_though_it_is_written() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.CREATE s EX 600");
    let started = info(&server, "s", "created_at_ms").int();
    set_clock(&server, 100_000);
    run(&server, "LTMC.SESSION.SET s f v");
    assert_eq!(ends_after(&server, started), 600_000);
    run(&server, "LTMC.SESSION.TOUCH s");
    assert_about("TOUCH", ends_after(&server, started), 700_000);
    run(&server, "LTMC.SESSION.SET s f v PX 50000");
    assert_about("SET PX", ends_after(&server, started), 150_000);
    assert_eq!(info(&server, "s", "ttl_ms").int(), 50_000);
    run(&server, "LTMC.SESSION.TOUCH s PX 200000");
    assert_about("TOUCH PX", ends_after(&server, started), 300_000);
    set_clock(&server, 400_000);
    for (line, nothing) in [("GET s f", true), ("INFO s", true), ("STATUS s", true)] {
        assert_eq!(server.run(&format!("LTMC.SESSION.{line}")).is_nil(), nothing, "{line}");
    }
    for line in ["DEL s f", "TOUCH s", "END s", "LEAVE s a", "DISOWN s r"] {
        assert_eq!(run(&server, &format!("LTMC.SESSION.{line}")).int(), 0, "{line}");
    }
    assert_eq!(run(&server, "LTMC.SESSION.PRUNE s KEEPLAST 0").array(), []);
    for line in ["JOIN s a", "CHECKPOINT s", "FORK s t", "STATUS s active", "OWN s r"] {
        let reply = server.run(&format!("LTMC.SESSION.{line}"));
        assert_eq!(reply.error_code(), "NOSESSION", "{line}: {reply:?}");
    }
    assert_eq!(run(&server, "LTMC.SESSION.SET s g v IFVERSION 0").int(), 1, "it begins anew");
    assert_eq!(fields(&server, "s"), ["g=v"]);
    assert_eq!(run(&server, "PTTL s").int(), -1);
}

#[test]
fn redis_knows_the_life_of_a_session() {
    let server = Server::start();
    for (make, most) in [
        ("LTMC.SESSION.SET s f v PX 600000", 600_000),
        ("LTMC.SESSION.CREATE s EX 500", 500_000),
        ("LTMC.SESSION.CREATE s MAXLIFE 400000", 400_000),
        ("LTMC.SESSION.CREATE s MAXLIFE 400000 PX 500000", 400_000),
        ("LTMC.SESSION.CREATE s MAXLIFE 500000 PX 400000 SLIDING", 400_000),
    ] {
        run(&server, make);
        let left = run(&server, "PTTL s").int();
        assert!((most - 30_000..=most).contains(&left), "{make}: {left}");
        assert_eq!(run(&server, "LTMC.SESSION.INFO s").get("ends_at_ms").int(), run(&server, "PEXPIRETIME s").int());
        run(&server, "DEL s");
    }
    run(&server, "LTMC.SESSION.CREATE s");
    assert_eq!(run(&server, "PTTL s").int(), -1);
    assert_eq!(run(&server, "LTMC.SESSION.TOUCH s").int(), 1, "there is nothing to renew");
    assert_eq!(run(&server, "PTTL s").int(), -1);
    for line in ["LTMC.SESSION.TOUCH s PX 30", "LTMC.SESSION.SET t f v PX 30", "LTMC.SESSION.CREATE u MAXLIFE 30"] {
        run(&server, line);
    }
    wait_until("all are gone by real time", || run(&server, "DBSIZE").int() == 0);
}

#[test]
fn what_is_owned_is_counted_once_and_given_up() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.session-resources-max 3");
    run(&server, "LTMC.SESSION.CREATE s");
    for (line, reply, left) in [
        ("OWN s b a b", 2, "a b"),
        ("OWN s a c", 1, "a b c"),
        ("OWN s c", 0, "a b c"),
        ("DISOWN s none", 0, "a b c"),
        ("DISOWN s b b none c", 2, "a"),
        ("DISOWN s a", 1, ""),
    ] {
        assert_eq!(run(&server, &format!("LTMC.SESSION.{line}")).int(), reply, "{line}");
        assert_eq!(info(&server, "s", "resources").texts().join(" "), left, "{line}");
    }
    run(&server, "LTMC.SESSION.OWN s a b c");
    refused(&server, "LTMC.SESSION.OWN s d", "LIMIT", "ltmc.session-resources-max");
    refused(&server, "LTMC.SESSION.OWN s a s", "ERR", "a session cannot own itself");
    assert_eq!(run(&server, "EXISTS a b c").int(), 0, "to be owned a key needs not exist");
}

#[test]
fn in_a_cluster_a_session_owns_and_forks_only_in_its_own_slot() {
    let cluster = Cluster::start(2);
    let node = cluster.node_of("{t}:s");
    let mut client = node.client();
    assert_eq!(client.run("LTMC.SESSION.CREATE {t}:s PARTICIPANTS 1 a").int(), 1);
    for line in [
        "LTMC.SESSION.OWN {t}:s {other}:lock",
        "LTMC.SESSION.OWN {t}:s {t}:lock {other}:lock",
        "LTMC.SESSION.DISOWN {t}:s {t}:lock {other}:lock",
        "LTMC.SESSION.FORK {t}:s {other}:s",
    ] {
        assert_eq!(client.run(line).error_code(), "CROSSSLOT", "{line}");
    }
    let slot = cluster.slot("{t}:s");
    let elsewhere =
        (0..100).map(|n| format!("k{n}")).find(|key| cluster.owner(cluster.slot(key)) != cluster.owner(slot));
    let elsewhere = elsewhere.expect("there are two nodes");
    assert_eq!(client.run(&format!("LTMC.SESSION.SET {elsewhere} f v")).error_code(), "MOVED");
    assert_eq!(client.run("LTMC.SESSION.OWN {t}:s {t}:lock {t}:agents").int(), 2);
    assert_eq!(client.run("LTMC.SESSION.FORK {t}:s {t}:fork").int(), 1);
    assert!(client.run("LTMC.LOCK {t}:lock a PX 600000").int() > 0);
    let mut waiter = node.client();
    node.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK {t}:lock b PX 600000 BLOCK 0".into());
    assert_eq!(client.run("LTMC.SESSION.END {t}:s").int(), 1);
    assert!(waiter.recv().int() > 0);
}
