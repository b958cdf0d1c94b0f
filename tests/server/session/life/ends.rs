//! The end of a session: what it owns is given back, it can be read for a while, and then it is
//! gone.

use super::*;

/// A session `s` of `a` and `b` that owns a lock, a lock with a path, a registry, and keys of other
/// types.
#[track_caller]
fn owner_of_much(server: &Server, more: &str) {
    run(server, &format!("LTMC.SESSION.CREATE s PARTICIPANTS 2 a b STATE {{\"f\":1}} {more}"));
    run(server, "LTMC.SESSION.CHECKPOINT s");
    run(server, "LTMC.REGISTER agents x CAPACITY 5 PX 60000000");
    run(server, "SET text v");
    run(server, "LTMC.SESSION.SET other f v");
    assert_eq!(run(server, "LTMC.SESSION.OWN s lock tree agents text other missing").int(), 6);
    run(server, "LTMC.LOCK lock a PX 60000000");
    run(server, "LTMC.LOCK tree b PATH left PX 60000000");
    run(server, "LTMC.LOCK tree s PATH middle PX 60000000");
    run(server, "LTMC.LOCK tree stranger PATH right PX 60000000");
    run(server, "LTMC.LOCK free a PX 60000000");
    for reference in ["s", "s", "other"] {
        run(server, &format!("LTMC.AGENT.CLAIM agents PX 60000000 REF {reference}"));
    }
}

/// What participants held of the resources is free, everything else is unchanged.
#[track_caller]
fn assert_given_back(server: &Server, how: &str) {
    wait_until(&format!("{how}: the lock is free"), || run(server, "EXISTS lock").int() == 0);
    let tree = run(server, "LTMC.LOCK.INFO tree");
    let owners: Vec<&str> = tree.get("holders").array().iter().map(|holder| holder.get("owner").text()).collect();
    assert_eq!(owners, ["stranger"], "{how}");
    assert_eq!(run(server, "EXISTS free").int(), 1, "{how}: what it does not own stays");
    assert_eq!(run(server, "LTMC.AGENT.GET agents x").get("claims").array().len(), 1, "{how}");
    assert_eq!(run(server, "GET text").text(), "v", "{how}");
    assert_eq!(fields(server, "other"), ["f=v"], "{how}");
    assert_eq!(run(server, "EXISTS missing").int(), 0, "{how}");
}

#[test]
fn whatever_ends_a_session_gives_back_what_it_owns() {
    for (how, end, clock) in [
        ("END", "LTMC.SESSION.END s", 0),
        ("END at once", "LTMC.SESSION.END s GRACE 0", 0),
        ("STATUS", "LTMC.SESSION.STATUS s terminated", 0),
        ("its time to live", "LTMC.SESSION.TOUCH s PX 500000", 600_000),
        ("its longest life", "LTMC.SESSION.TOUCH s", 2_000_001),
        ("a short time to live", "LTMC.SESSION.TOUCH s PX 20", 0),
    ] {
        let server = Server::start();
        let replica = server.replica();
        owner_of_much(&server, "MAXLIFE 2000000");
        run(&server, end);
        set_clock(&server, clock);
        assert_given_back(&server, how);
        wait_until("it has ended", || server.info_int("ltmc", "ltmc_event_session_ended") == 1);
        replica.wait_synced(&server);
        assert_same(how, &server.dataset(), &replica.dataset());
        assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    }
}

#[test]
fn who_waits_for_a_lock_of_a_session_gets_it_with_its_end() {
    let server = Server::start();
    for end in ["LTMC.SESSION.END s", "LTMC.SESSION.STATUS s terminated", "LTMC.SESSION.TOUCH s PX 1"] {
        run(&server, "FLUSHALL");
        run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 a");
        run(&server, "LTMC.SESSION.OWN s lock agents");
        let held = run(&server, "LTMC.LOCK lock a PX 60000000").int();
        run(&server, "LTMC.REGISTER agents x CAPACITY 1 PX 60000000");
        run(&server, "LTMC.AGENT.CLAIM agents PX 60000000 REF s");
        let mut waiters = server.clients(3);
        let lines = [
            "LTMC.LOCK lock b SHARED PX 60000000 BLOCK 0",
            "LTMC.LOCK lock c SHARED PX 60000000 BLOCK 0",
            "LTMC.AGENT.CLAIM agents PX 60000000 BLOCK 0",
        ];
        server.block_in_turn(&mut waiters, |n| lines[n].into());
        run(&server, end);
        assert!(waiters[0].recv().int() > held && waiters[1].recv().int() > held, "{end}");
        assert_eq!(waiters[2].recv().array()[0].text(), "x", "{end}");
    }
}

#[test]
fn what_was_given_up_or_left_is_not_taken_back() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 2 a b");
    run(&server, "LTMC.SESSION.OWN s kept given");
    run(&server, "LTMC.LOCK kept b PX 60000000");
    run(&server, "LTMC.LOCK given a PX 60000000");
    run(&server, "LTMC.SESSION.DISOWN s given");
    run(&server, "LTMC.SESSION.LEAVE s b");
    run(&server, "LTMC.SESSION.END s");
    assert_eq!(run(&server, "EXISTS kept given").int(), 2, "b takes part no more, and given is no resource");
}

/// Who holds the chunk `id`, by retaining or by pinning it.
#[track_caller]
fn chunk_holders(server: &Server, id: &str) -> Vec<String> {
    let shown = run(server, &format!("LTMC.CHUNK.INFO buffer {id}"));
    let pinned = shown.get("pins").array().iter().map(|pin| format!("pin {}", pin.get("agent").text()));
    shown.get("retained_by").array().iter().map(|agent| format!("retain {}", agent.text())).chain(pinned).collect()
}

#[test]
fn chunks_of_a_buffer_that_a_session_owns_are_let_go_with_its_end() {
    for end in ["LTMC.SESSION.END s", "LTMC.SESSION.STATUS s terminated", "LTMC.SESSION.TOUCH s PX 1"] {
        let server = Server::start();
        let replica = server.replica();
        run(&server, "CONFIG SET ltmc.sweep-batch-max 2");
        run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 2 a b");
        run(&server, "LTMC.SESSION.OWN s buffer");
        for id in ["one", "two", "kept"] {
            run(&server, &format!("LTMC.CHUNK.PUT buffer {id} data"));
            run(&server, &format!("LTMC.CHUNK.PIN buffer {id} stranger PX 60000000"));
            run(&server, &format!("LTMC.CHUNK.RETAIN buffer {id} stranger"));
        }
        for id in ["one", "two"] {
            for holder in ["a", "b", "s"] {
                run(&server, &format!("LTMC.CHUNK.PIN buffer {id} {holder} PX 60000000"));
            }
            run(&server, &format!("LTMC.CHUNK.RETAIN buffer {id} a"));
        }
        run(&server, "LTMC.CHUNK.PUT other x data");
        run(&server, "LTMC.CHUNK.PIN other x a PX 60000000");
        run(&server, end);
        let strangers = ["retain stranger", "pin stranger"];
        wait_until(end, || ["one", "two", "kept"].iter().all(|id| chunk_holders(&server, id) == strangers));
        assert_eq!(run(&server, "LTMC.CHUNK.UNPIN other x a").int(), 1, "{end}: what it does not own stays");
        replica.wait_synced(&server);
        assert_same(end, &server.dataset(), &replica.dataset());
        assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    }
}

#[test]
fn after_its_end_a_session_is_read_and_not_written() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 a STATE {\"f\":1}");
    run(&server, "LTMC.SESSION.CHECKPOINT s");
    run(&server, "LTMC.SESSION.OWN s r");
    assert_eq!(run(&server, "LTMC.SESSION.END s GRACE 500000").int(), 1);
    assert!((1..=500_000).contains(&run(&server, "PTTL s").int()));
    for line in
        ["SET s f v", "DEL s f", "JOIN s b", "TOUCH s", "TOUCH s PX 9", "OWN s r", "CHECKPOINT s", "RESTORE s 1"]
    {
        refused(&server, &format!("LTMC.SESSION.{line}"), "BADSTATE", "it is terminated");
    }
    for status in ["active", "suspended", "migrating", "recovering"] {
        refused(&server, &format!("LTMC.SESSION.STATUS s {status}"), "BADSTATE", "it is terminated");
    }
    let before = server.debug_digest();
    for line in ["END s", "END s GRACE 0", "LEAVE s a", "DISOWN s r"] {
        assert_eq!(run(&server, &format!("LTMC.SESSION.{line}")).int(), 0, "{line}");
    }
    assert_eq!(run(&server, "LTMC.SESSION.STATUS s terminated").text(), "terminated");
    assert_eq!(server.debug_digest(), before);
    assert_eq!(fields(&server, "s"), ["f=1"]);
    let shown = run(&server, "LTMC.SESSION.INFO s");
    assert_eq!(shown.get("status").text(), "terminated");
    assert_eq!((shown.get("participants").array(), shown.get("resources").array()), (&[][..], &[][..]));
    assert_eq!(run(&server, "LTMC.SESSION.CHECKPOINTS s").array().len(), 1);
    assert_eq!(run(&server, "LTMC.SESSION.FORK s again AT 1").int(), 1, "the work can go on elsewhere");
    assert_eq!(info(&server, "again", "status").text(), "active");
    set_clock(&server, 500_001 + 30_000);
    assert!(run(&server, "LTMC.SESSION.INFO s").is_nil());
    assert_eq!(run(&server, "LTMC.SESSION.SET s f v IFVERSION 0").int(), 1);
}

#[test]
fn over_a_session_that_has_ended_another_can_be_made() {
    let server = Server::start();
    for make in ["LTMC.SESSION.CREATE s STATE {\"g\":1}", "LTMC.SESSION.FORK t s"] {
        run(&server, "LTMC.SESSION.SET s f v");
        run(&server, "LTMC.SESSION.SET t g 1");
        run(&server, "LTMC.SESSION.CHECKPOINT s");
        run(&server, "LTMC.SESSION.END s");
        assert_eq!(run(&server, make).int(), 1, "{make}");
        assert_eq!(fields(&server, "s"), ["g=1"], "{make}");
        assert_eq!(run(&server, "LTMC.SESSION.CHECKPOINTS s").array(), [], "{make}");
        assert_eq!(run(&server, "PTTL s").int(), -1, "{make}: the grace is over with it");
        run(&server, "DEL s t");
    }
}

#[test]
fn a_short_grace_ends_by_real_time() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.SET s f v");
    run(&server, "LTMC.SESSION.END s GRACE 20");
    wait_until("it is gone", || run(&server, "EXISTS s").int() == 0);
}

#[test]
fn a_session_that_is_deleted_gives_nothing_back() {
    let server = Server::start();
    owner_of_much(&server, "");
    run(&server, "DEL s");
    assert_eq!(run(&server, "EXISTS lock tree free").int(), 3, "DEL is for operators, END is for sessions");
    assert_eq!(run(&server, "LTMC.AGENT.GET agents x").get("claims").array().len(), 3);
}

// Redis may be faster than the look that ends a session before its TTL is over, and a swap faster
// than the look that gives back what it owned.
#[test]
fn what_an_expired_session_owned_is_given_back_in_the_database_where_it_is_now() {
    for lines in [
        &["PEXPIRE s 1", "DEBUG SLEEP 0.01", "EXISTS s", "SWAPDB 0 1"][..],
        &["PEXPIRE s 1", "SWAPDB 0 1", "DEBUG SLEEP 0.01", "SELECT 1", "EXISTS s"],
    ] {
        let server = Server::start();
        run(&server, "DEBUG SET-ACTIVE-EXPIRE 0");
        let mut there = server.client();
        there.run("SELECT 1").ok();
        for client in [&mut server.client(), &mut there] {
            client.run("LTMC.LOCK l ada PX 600000").int();
        }
        run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 ada");
        run(&server, "LTMC.SESSION.OWN s l");
        server.client().pipeline(lines);
        wait_until("what it owned is given back", || there.run("EXISTS l").int() == 0);
        assert_eq!(run(&server, "EXISTS l").int(), 1, "nobody owned the other one");
    }
}
