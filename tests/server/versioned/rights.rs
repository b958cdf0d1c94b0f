//! Who may do what to sessions and contexts: rights on keys and commands.

use super::*;

/// The first word of an error, `-` for everything else.
fn outcome(reply: &Reply) -> &str {
    if reply.is_error() {
        reply.error_code()
    } else {
        "-"
    }
}

fn make(server: &Server) {
    run_all(
        server,
        &[
            "LTMC.CTX.CREATE r:c DOC {\"n\":1}",
            "LTMC.CTX.CREATE w:c DOC {\"n\":1}",
            "LTMC.SESSION.CREATE r:s STATE {\"f\":1}",
            "LTMC.SESSION.CREATE w:s STATE {\"f\":1}",
            "LTMC.REGISTER r:reg a PX 600000",
            "LTMC.CTX.CHECKPOINT w:c",
            "LTMC.SESSION.CHECKPOINT w:s",
        ],
    );
}

#[test]
fn a_right_to_read_a_key_is_enough_for_what_reads_and_for_nothing_else() {
    let server = Server::start();
    make(&server);
    let mut client = server.user("u", "+@all %R~r:* ~w:*");
    let table = [
        ("LTMC.CTX.GET r:c", "-"),
        ("LTMC.CTX.DIFF r:c 1", "-"),
        ("LTMC.CTX.BUILD r:c FOR a", "-"),
        ("LTMC.CTX.CHECKPOINTS r:c", "-"),
        ("LTMC.CTX.ROUTE r:c r:reg", "-"),
        ("LTMC.CTX.ROUTE w:c x:reg", "NOPERM"),
        ("LTMC.SESSION.GET r:s", "-"),
        ("LTMC.SESSION.INFO r:s", "-"),
        ("LTMC.SESSION.CHECKPOINTS r:s", "-"),
        ("LTMC.WATCH 2 r:s r:c SINCE 0 0 PATH /n", "-"),
        ("LTMC.WATCH 2 r:s x:c SINCE 0 0", "NOPERM"),
        ("LTMC.CTX.UPDATE r:c a SET /n 2", "NOPERM"),
        ("LTMC.CTX.CREATE r:new", "NOPERM"),
        ("LTMC.CTX.JOIN r:c a", "NOPERM"),
        ("LTMC.CTX.CHECKPOINT r:c", "NOPERM"),
        ("LTMC.CTX.ROLLBACK r:c 1", "NOPERM"),
        ("LTMC.CTX.PRUNE r:c KEEPLAST 0", "NOPERM"),
        ("LTMC.SESSION.SET r:s f 2", "NOPERM"),
        ("LTMC.SESSION.DEL r:s f", "NOPERM"),
        ("LTMC.SESSION.TOUCH r:s PX 5", "NOPERM"),
        ("LTMC.SESSION.STATUS r:s SUSPENDED", "NOPERM"),
        ("LTMC.SESSION.END r:s", "NOPERM"),
        ("LTMC.SESSION.CREATE x:s", "NOPERM"),
        // What is forked or merged is read, and the result is written.
        ("LTMC.CTX.FORK r:c w:fork", "-"),
        ("LTMC.CTX.FORK w:c r:fork", "NOPERM"),
        ("LTMC.CTX.FORK x:c w:fork2", "NOPERM"),
        ("LTMC.SESSION.FORK r:s w:sfork", "-"),
        ("LTMC.SESSION.FORK w:s r:sfork", "NOPERM"),
        ("LTMC.CTX.GENERATE w:g 2 r:c r:s", "-"),
        ("LTMC.CTX.GENERATE r:c 1 w:c", "NOPERM"),
        ("LTMC.CTX.GENERATE w:g 2 w:c x:c", "NOPERM"),
        // What belongs to a session is given back in its name.
        ("LTMC.SESSION.OWN w:s w:l w:m", "-"),
        ("LTMC.SESSION.OWN w:s r:l", "NOPERM"),
        ("LTMC.SESSION.OWN w:s w:l x:l", "NOPERM"),
        ("LTMC.SESSION.DISOWN w:s w:l", "-"),
        ("LTMC.SESSION.RESTORE w:s 1", "-"),
        ("LTMC.CTX.ROLLBACK w:c 1", "-"),
    ];
    for (line, expected) in table {
        let reply = client.run(line);
        assert_eq!(outcome(&reply), expected, "{line}: {reply:?}");
    }
    assert_eq!(server.run("EXISTS r:new r:fork r:sfork x:s w:fork2").int(), 0);
    // The same through a script and behind a fence.
    let fence = run(&server, "LTMC.LOCK w:k a PX 600000").int();
    let script = "return redis.call('LTMC.CTX.UPDATE', KEYS[1], 'a', 'SET', '/n', '2')";
    for (key, is_allowed) in [("w:c", true), ("r:c", false), ("x:c", false)] {
        let replies = [
            client.cmd(&["EVAL", script, "1", key]),
            client.run(&format!("LTMC.GUARD w:k {fence} LTMC.CTX.UPDATE {key} a SET /n 2")),
        ];
        for reply in replies {
            assert_eq!(!reply.is_error(), is_allowed, "{key}: {reply:?}");
        }
    }
}

#[test]
fn a_user_of_the_read_category_reads_all_and_changes_nothing() {
    let server = Server::start();
    // In earlier versions modules cannot put their commands into categories.
    if server.version() < (7, 2, 0) {
        return;
    }
    make(&server);
    let mut client = server.user("reader", "-@all +@read ~*");
    let before = server.dataset();
    let reads = [
        "LTMC.CTX.GET r:c",
        "LTMC.CTX.DIFF r:c 1",
        "LTMC.CTX.BUILD r:c FOR a",
        "LTMC.CTX.CHECKPOINTS r:c",
        "LTMC.CTX.ROUTE r:c r:reg",
        "LTMC.SESSION.GET r:s f",
        "LTMC.SESSION.INFO r:s",
        "LTMC.SESSION.CHECKPOINTS r:s",
        "LTMC.WATCH 1 r:s SINCE 0",
    ];
    for line in reads {
        assert_eq!(outcome(&client.run(line)), "-", "{line}");
    }
    let writes = [
        "LTMC.CTX.UPDATE w:c a SET /n 2",
        "LTMC.CTX.GENERATE w:g 1 w:c",
        "LTMC.CTX.FORK w:c w:d",
        "LTMC.SESSION.SET w:s f 2",
        "LTMC.SESSION.STATUS w:s SUSPENDED",
        "LTMC.SESSION.END w:s",
    ];
    for line in writes {
        assert_eq!(outcome(&client.run(line)), "NOPERM", "{line}");
    }
    assert_same("nothing has changed", &before, &server.dataset());
}

#[test]
fn a_user_who_is_bound_acts_as_its_own_agents_only() {
    let server = Server::start();
    make(&server);
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    let mut ada = server.user("ada", "+@all -ltmc.lock.break ~*");
    let table = [
        ("LTMC.CTX.UPDATE w:c ada SET /n 2", "-"),
        ("LTMC.CTX.UPDATE w:c ada:1 SET /n 2", "-"),
        ("LTMC.CTX.UPDATE w:c adam SET /n 2", "DENIED"),
        ("LTMC.CTX.UPDATE w:c bob SET /n 2", "DENIED"),
        ("LTMC.CTX.JOIN w:c bob", "DENIED"),
        ("LTMC.CTX.JOIN w:c ada", "-"),
        ("LTMC.CTX.LEAVE w:c bob", "DENIED"),
        ("LTMC.SESSION.JOIN w:s bob", "DENIED"),
        ("LTMC.SESSION.JOIN w:s ada:2", "-"),
        ("LTMC.CTX.CREATE w:new OWNER bob", "DENIED"),
        ("LTMC.CTX.CREATE w:new OWNER ada", "-"),
        ("LTMC.CTX.GET w:c", "-"),
    ];
    for (line, expected) in table {
        let reply = ada.run(line);
        assert_eq!(outcome(&reply), expected, "{line}: {reply:?}");
    }
}

// FOR names the owner of the new context and its author, so it is checked, too.
#[test]
fn a_user_who_is_bound_generates_for_its_own_agents_only() {
    let server = Server::start();
    make(&server);
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    let mut ada = server.user("ada", "+@all ~*");
    let generated = ada.run("LTMC.CTX.GENERATE w:g 1 w:c FOR bob");
    assert_eq!(outcome(&generated), "DENIED", "{generated:?}");
}
