//! Which keys the server sees in our commands, and what follows from that for users.

use super::*;

/// Commands with the keys that are found in them.
const KEYS: &[(&str, &str)] = &[
    ("LTMC.LOCK k a", "k"),
    ("LTMC.LOCK k a SHARED PX 5", "k"),
    ("LTMC.LOCK k a PX 5 REGISTRY r", "k r"),
    ("LTMC.LOCK k a registry r PX 5", "k r"),
    ("LTMC.UNLOCK k a", "k"),
    ("LTMC.LOCK.RENEW k a TOKEN 2 PX 5", "k"),
    ("LTMC.LOCK.CONVERT k a TOKEN 2 SHARED", "k"),
    ("LTMC.LOCK.CHECK k 2", "k"),
    ("LTMC.LOCK.INFO k", "k"),
    ("LTMC.MLOCK a 2 x y", "x y"),
    ("LTMC.MLOCK a 2 x y EXCLUSIVE REGISTRY r", "x y r"),
    ("LTMC.LOCK.BREAK k", "k"),
    ("LTMC.REGISTER k a CAPS 2 x y", "k"),
    ("LTMC.DEREGISTER k a", "k"),
    ("LTMC.HEARTBEAT k a STATUS IDLE", "k"),
    ("LTMC.AGENT.GET k a", "k"),
    ("LTMC.AGENT.LIST k", "k"),
    ("LTMC.AGENT.FIND k CAPS 1 x", "k"),
    ("LTMC.AGENT.CLAIM k PX 5 REF x", "k"),
    ("LTMC.AGENT.RELEASE k 2", "k"),
    ("LTMC.AGENT.STATS k", "k"),
    ("LTMC.SESSION.CREATE k PARTICIPANTS 1 x STATE {}", "k"),
    ("LTMC.SESSION.SET k f v PX 5", "k"),
    ("LTMC.SESSION.GET k f g", "k"),
    ("LTMC.SESSION.DEL k f g", "k"),
    ("LTMC.SESSION.INFO k", "k"),
    ("LTMC.SESSION.STATUS k active", "k"),
    ("LTMC.SESSION.JOIN k a", "k"),
    ("LTMC.SESSION.LEAVE k a", "k"),
    ("LTMC.SESSION.TOUCH k PX 5", "k"),
    ("LTMC.SESSION.OWN k x", "k x"),
    ("LTMC.SESSION.OWN k x y z", "k x y z"),
    ("LTMC.SESSION.DISOWN k x y", "k x y"),
    ("LTMC.SESSION.CHECKPOINT k NAME n", "k"),
    ("LTMC.SESSION.CHECKPOINTS k", "k"),
    ("LTMC.SESSION.RESTORE k 1", "k"),
    ("LTMC.SESSION.FORK k x AT 1", "k x"),
    ("LTMC.SESSION.PRUNE k KEEPLAST 1", "k"),
    ("LTMC.SESSION.END k GRACE 5", "k"),
    ("LTMC.CTX.CREATE k OWNER a DOC {}", "k"),
    ("LTMC.CTX.JOIN k a", "k"),
    ("LTMC.CTX.LEAVE k a", "k"),
    ("LTMC.CTX.UPDATE k a SET /x 1", "k"),
    ("LTMC.CTX.GET k PATH 1 /x", "k"),
    ("LTMC.CTX.DIFF k 1 PATH /x", "k"),
    ("LTMC.CTX.GENERATE k 1 x", "k x"),
    ("LTMC.CTX.GENERATE k 2 x y BUDGET 5 FOR a TAGS 1 t", "k x y"),
    ("LTMC.CTX.BUILD k FOR a BUDGET 5", "k"),
    ("LTMC.CTX.ROUTE k r CAPS 1 x", "k r"),
    ("LTMC.CTX.CHECKPOINT k PIN", "k"),
    ("LTMC.CTX.CHECKPOINTS k", "k"),
    ("LTMC.CTX.RESTORE k 1", "k"),
    ("LTMC.CTX.ROLLBACK k 1", "k"),
    ("LTMC.CTX.FORK k x", "k x"),
    ("LTMC.CTX.PRUNE k KEEPLAST 0 DRYRUN", "k"),
    ("LTMC.MSG.SEND k a TO 2 b c x PX 5", "k"),
    ("LTMC.MSG.SEND k a TO 1 REGISTRY CAP REGISTRY 5", "k"),
    ("LTMC.MSG.SEND k a ALL registry PX 5", "k"),
    ("LTMC.MSG.SEND k a REPLYTO 5 registry", "k"),
    ("LTMC.MSG.SEND k a cap go registry r x", "k r"),
    ("LTMC.MSG.SEND k a REGISTRY r REGISTRY", "k r"),
    ("LTMC.MSG.RECV k a COUNT 5 BLOCK 0", "k"),
    ("LTMC.MSG.ACK k a 5 6", "k"),
    ("LTMC.MSG.NACK k a 5 DEAD", "k"),
    ("LTMC.MSG.EXTEND k a 5 PX 5", "k"),
    ("LTMC.MSG.REQUEUE k a 5", "k"),
    ("LTMC.MSG.JOIN k a", "k"),
    ("LTMC.MSG.LEAVE k a", "k"),
    ("LTMC.MSG.PENDING k a LIMIT 0 5", "k"),
    ("LTMC.MSG.DEAD k", "k"),
    ("LTMC.MSG.GET k 5", "k"),
    ("LTMC.MSG.AGENTS k", "k"),
    ("LTMC.MSG.INFO k", "k"),
    ("LTMC.GUARD k 5 LTMC.MSG.SEND m a CAP go REGISTRY r x", "k m r"),
    ("LTMC.CHUNK.PIN k a b PX 5 REGISTRY r", "k r"),
    ("LTMC.CHUNK.PIN k a b REGISTRY r PX 5", "k r"),
    ("LTMC.WATCH 1 k SINCE $", "k"),
    ("LTMC.WATCH 2 x y SINCE 0 $ COUNT 5 BLOCK 1", "x y"),
    ("LTMC.GUARD k 5 LTMC.AGENT.CLAIM r PX 5", "k r"),
    ("LTMC.GUARD k 5 MSET a 1 b 2", "k a b"),
    ("LTMC.GUARD k 5 GET doc", "k doc"),
    ("LTMC.GUARD k 5 PING", "k"),
    ("LTMC.GUARD k 5 LTMC.MLOCK me 2 x y", "k x y"),
    ("LTMC.GUARD k 5 LTMC.SESSION.OWN s x y", "k s x y"),
    ("LTMC.GUARD k 5 LTMC.CTX.GENERATE d 2 x y", "k d x y"),
    ("LTMC.APPLY k payload", "k"),
    ("LTMC.REPAIR k", "k"),
    ("LTMC.DEBUG PANIC k", "k"),
];

/// What a reader may do.
const READS: &[&str] = &[
    "LTMC.AGENT.GET k a",
    "LTMC.AGENT.LIST k",
    "LTMC.AGENT.FIND k",
    "LTMC.AGENT.STATS k",
    "LTMC.SESSION.GET s",
    "LTMC.SESSION.INFO s",
    "LTMC.SESSION.CHECKPOINTS s",
    "LTMC.CTX.GET c",
    "LTMC.CTX.BUILD c FOR a BUDGET 1000",
    "LTMC.CTX.CHECKPOINTS c",
    "LTMC.WATCH 1 k SINCE 0",
    "LTMC.MSG.AGENTS m",
    "LTMC.MSG.INFO m",
];

/// What a reader may not do.
const WRITES: &[&str] = &[
    "LTMC.REGISTER k b",
    "LTMC.DEREGISTER k a",
    "LTMC.HEARTBEAT k a",
    "LTMC.AGENT.CLAIM k PX 5",
    "LTMC.AGENT.RELEASE k 2",
    "LTMC.SESSION.CREATE t",
    "LTMC.SESSION.SET s f v",
    "LTMC.SESSION.DEL s f",
    "LTMC.SESSION.JOIN s a",
    "LTMC.SESSION.LEAVE s a",
    "LTMC.SESSION.TOUCH s",
    "LTMC.SESSION.OWN s k",
    "LTMC.SESSION.DISOWN s k",
    "LTMC.SESSION.STATUS s suspended",
    "LTMC.SESSION.CHECKPOINT s",
    "LTMC.SESSION.RESTORE s 1",
    "LTMC.SESSION.FORK s t",
    "LTMC.SESSION.PRUNE s KEEPLAST 0",
    "LTMC.SESSION.END s",
    "LTMC.CTX.CREATE t",
    "LTMC.CTX.UPDATE c a SET /f 2",
    "LTMC.CTX.JOIN c a",
    "LTMC.CTX.LEAVE c a",
    "LTMC.CTX.GENERATE t 1 c",
    "LTMC.CTX.CHECKPOINT c",
    "LTMC.CTX.RESTORE c 1",
    "LTMC.CTX.ROLLBACK c 1",
    "LTMC.CTX.FORK c t",
    "LTMC.CTX.PRUNE c KEEPLAST 0",
    "LTMC.MSG.SEND m a ALL x",
    "LTMC.MSG.RECV m b",
    "LTMC.MSG.ACK m b 5",
    "LTMC.MSG.NACK m b 5",
    "LTMC.MSG.EXTEND m b 5 PX 5",
    "LTMC.MSG.REQUEUE m b 5",
    "LTMC.MSG.JOIN m b",
    "LTMC.MSG.LEAVE m b",
];

#[test]
fn the_keys_of_every_command_are_found() {
    let server = Server::start();
    for (line, keys) in KEYS {
        let mut found = words(&server.run(&format!("COMMAND GETKEYS {line}")));
        let mut expected: Vec<&str> = keys.split(' ').collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{line}");
    }
    for line in ["LTMC.STATUS", "LTMC.CLUSTER", "LTMC.HEALTH", "LTMC.LOCK.GRAPH", "LTMC.EXPLAIN payload"] {
        assert!(server.run(&format!("COMMAND GETKEYS {line}")).is_error(), "{line}");
    }
    for line in [
        "LTMC.MLOCK a 99 x",
        "LTMC.MLOCK a -1 x",
        "LTMC.CTX.GENERATE d 99 x",
        "LTMC.CTX.GENERATE d -1 x",
        "LTMC.CTX.GENERATE d x x",
        "LTMC.WATCH 99 x SINCE 0",
        "LTMC.WATCH -1 x SINCE 0",
        "LTMC.WATCH x x SINCE 0",
        "LTMC.GUARD k 5 NOSUCHCOMMAND",
    ] {
        server.run(&format!("COMMAND GETKEYS {line}"));
    }
    server.run("PING");
}

#[test]
fn key_patterns_hold_for_every_key_of_a_command() {
    let server = Server::start();
    server.run("ACL SETUSER agent on >p ~a:* +@all").ok();
    let fence = server.run("LTMC.LOCK a:lock agent PX 600000").int();
    let outside = server.run("LTMC.LOCK b:lock agent PX 600000").int();
    server.run("LTMC.SESSION.CREATE a:session").int();
    server.run("LTMC.CTX.CREATE a:context").int();
    server.run("LTMC.SESSION.CREATE b:session").int();
    server.run("LTMC.CTX.CREATE b:context").int();
    let mut agent = server.client();
    agent.auth("agent", "p");
    for line in [
        "LTMC.LOCK b agent",
        "LTMC.LOCK.INFO b:lock",
        "LTMC.MLOCK agent 2 a:1 b:1",
        "LTMC.LOCK a:1 agent REGISTRY b:agents",
        "LTMC.REGISTER b:agents agent",
        "LTMC.DEREGISTER b:agents agent",
        "LTMC.HEARTBEAT b:agents agent",
        "LTMC.AGENT.GET b:agents agent",
        "LTMC.AGENT.LIST b:agents",
        "LTMC.AGENT.FIND b:agents",
        "LTMC.AGENT.CLAIM b:agents PX 5",
        "LTMC.AGENT.RELEASE b:agents 2",
        "LTMC.AGENT.STATS b:agents",
        "LTMC.SESSION.SET b:session f v",
        "LTMC.SESSION.GET b:session",
        "LTMC.SESSION.INFO b:session",
        "LTMC.SESSION.OWN b:session a:lock",
        "LTMC.SESSION.OWN a:session b:lock",
        "LTMC.SESSION.OWN a:session a:lock b:lock",
        "LTMC.SESSION.DISOWN a:session a:lock b:lock",
        "LTMC.SESSION.FORK a:session b:fork",
        "LTMC.SESSION.FORK b:session a:fork",
        "LTMC.SESSION.END b:session",
        "LTMC.CTX.UPDATE b:context agent SET /x 1",
        "LTMC.CTX.GET b:context",
        "LTMC.CTX.FORK b:context a:fork",
        "LTMC.CTX.GENERATE b:made 1 a:context",
        "LTMC.CTX.GENERATE a:made 1 b:context",
        "LTMC.CTX.GENERATE a:made 2 a:context b:session",
        "LTMC.CTX.ROUTE a:context b:agents",
        "LTMC.CTX.ROUTE b:context a:agents",
        "LTMC.MSG.SEND b:mail agent ALL x",
        "LTMC.MSG.SEND a:mail agent CAP go REGISTRY b:agents x",
        "LTMC.MSG.SEND b:mail agent REGISTRY a:agents x",
        "LTMC.MSG.RECV b:mail agent",
        "LTMC.MSG.INFO b:mail",
        "LTMC.WATCH 1 b:agents SINCE 0",
        "LTMC.WATCH 2 a:agents b:agents SINCE 0 0",
        "LTMC.WATCH 2 a:agents b:agents SINCE 0 0 BLOCK 0",
        &format!("LTMC.LOCK.CHECK b:lock {outside}"),
        &format!("LTMC.GUARD a:lock {fence} SET b:doc text"),
        &format!("LTMC.GUARD b:lock {outside} SET a:doc text"),
        &format!("LTMC.GUARD a:lock {fence} LTMC.LOCK b:1 agent"),
    ] {
        assert_eq!(agent.run(line).error_code(), "NOPERM", "{line}");
    }
    assert!(agent.run("LTMC.LOCK a:1 agent").int() > 0);
    assert_eq!(agent.run("LTMC.MLOCK agent 2 a:2 a:3").array().len(), 2);
    agent.run(&format!("LTMC.GUARD a:lock {fence} SET a:doc text")).ok();
    assert!(agent.run("LTMC.REGISTER a:agents agent").int() > 0);
    assert_eq!(agent.run("LTMC.AGENT.CLAIM a:agents PX 5").array()[0].text(), "agent");
    assert_eq!(agent.run("LTMC.WATCH 2 a:agents a:none SINCE 0 0").array().len(), 2);
    assert_eq!(agent.run("LTMC.SESSION.OWN a:session a:lock a:agents").int(), 2);
    assert_eq!(agent.run("LTMC.SESSION.FORK a:session a:fork").int(), 1);
    assert_eq!(agent.run("LTMC.CTX.GENERATE a:made 2 a:context a:session").int(), 1);
    assert_eq!(server.run("EXISTS b b:1 b:doc b:agents b:fork b:made").int(), 0);
}

#[test]
fn who_may_only_read_keys_changes_nothing() {
    let server = Server::start();
    server.run("LTMC.REGISTER k a").int();
    server.run("LTMC.SESSION.CREATE s STATE {\"f\":1}").int();
    server.run("LTMC.SESSION.CHECKPOINT s").int();
    server.run("LTMC.CTX.CREATE c DOC {\"f\":1}").int();
    server.run("LTMC.CTX.CHECKPOINT c").int();
    server.run("LTMC.MSG.SEND m a TO 1 b x").int();
    // Rights over keys, and rights over commands where modules can name categories.
    let mut users = vec!["ACL SETUSER reader on >p resetkeys %R~* +@all"];
    if !command_info(&server, "ltmc.agent.get").array()[6].array().is_empty() {
        users.push("ACL SETUSER reader on >p resetkeys ~* -@all +@read");
    }
    for user in users {
        server.run(user).ok();
        let mut reader = server.client();
        reader.auth("reader", "p");
        for line in READS {
            assert!(!reader.run(line).array().is_empty(), "{line} by {user}");
        }
        for line in WRITES {
            assert_eq!(reader.run(line).error_code(), "NOPERM", "{line} by {user}");
        }
    }
}

#[test]
fn a_guard_gives_no_rights_that_the_caller_has_not() {
    let server = Server::start();
    server.run("ACL SETUSER agent on >p ~* +@all -set -ltmc.lock.break").ok();
    let fence = server.run("LTMC.LOCK k agent PX 600000").int();
    let mut agent = server.client();
    agent.auth("agent", "p");
    for inner in ["SET doc text", "LTMC.LOCK.BREAK k"] {
        let reply = agent.run(&format!("LTMC.GUARD k {fence} {inner}"));
        assert_eq!(reply.error_code(), "NOPERM", "{inner}: {reply:?}");
    }
    assert_eq!(agent.run(&format!("LTMC.GUARD k {fence} INCR n")).int(), 1);
    assert_eq!(server.run("EXISTS doc").int(), 0);
}

/// Values that look like options, with the keys that are found all the same.
const DISGUISED: &[(&str, &str)] = &[
    ("LTMC.TASK.ADD f t p GROUP LOCKS LOCKS 1 secret", "f secret"),
    ("LTMC.TASK.ADD f t p group locks locks 1 secret", "f secret"),
    ("LTMC.TASK.ADD f t p REQID LOCKS LOCKS 2 s1 s2", "f s1 s2"),
    ("LTMC.TASK.ADD f t p AFTER 1 LOCKS CAPS 2 LOCKS 1 LOCKS 1 secret", "f secret"),
    ("LTMC.TASK.ADD f LOCKS LOCKS", "f"),
    ("LTMC.TASK.ADD f t p LOCKS 1 LOCKS GROUP 5", "f LOCKS"),
    ("LTMC.FLOW.CREATE f REQID LOCKS LOCKS 1 secret", "f secret"),
    ("LTMC.FLOW.CREATE f SPEC LOCKS LOCKS 1 secret", "f secret"),
    ("LTMC.TASK.CLAIM f w CAPS 2 REGISTRY x REGISTRY secret", "f secret"),
    ("LTMC.TASK.CLAIM f REGISTRY CAPS 1 registry REGISTRY secret", "f secret"),
    ("LTMC.AGENT.CLAIM r PX 5 EXCLUDE 2 REGISTRY x REF bob REGISTRY secret", "r secret"),
    ("LTMC.AGENT.CLAIM r PX 5 META REGISTRY x REF REGISTRY REGISTRY secret", "r secret"),
    ("LTMC.SESSION.CREATE s PARTICIPANTS 2 REGISTRY x REGISTRY secret", "s secret"),
    ("LTMC.SESSION.CREATE s META REGISTRY STATE REGISTRY REGISTRY secret", "s secret"),
    ("LTMC.SESSION.JOIN s a ROLE REGISTRY REGISTRY secret", "s secret"),
    ("LTMC.CTX.CREATE c OWNER REGISTRY META REGISTRY REGISTRY secret", "c secret"),
    ("LTMC.CTX.JOIN c REGISTRY ROLE REGISTRY REGISTRY secret", "c secret"),
    ("LTMC.LOCK l ada PATH REGISTRY REGISTRY secret", "l secret"),
    ("LTMC.LOCK l ada META REGISTRY", "l"),
    ("LTMC.MLOCK ada 2 REGISTRY x REQID REGISTRY REGISTRY secret", "REGISTRY x secret"),
    ("LTMC.CHUNK.ALLOC b SIZE 5 ID REGISTRY AGENT REGISTRY REGISTRY secret", "b secret"),
    ("LTMC.CHUNK.PUT b REGISTRY REGISTRY PIN REGISTRY 5 REGISTRY secret", "b secret"),
    ("LTMC.CHUNK.RETAIN b REGISTRY REGISTRY REGISTRY secret", "b secret"),
    ("LTMC.CHUNK.PIN b REGISTRY REGISTRY REGISTRY secret PX 5", "b secret"),
    ("LTMC.MSG.RECV m REGISTRY REGISTRY secret", "m secret"),
    ("LTMC.MSG.JOIN m REGISTRY REGISTRY secret", "m secret"),
    ("LTMC.MSG.SEND m REGISTRY REGISTRY secret REGISTRY", "m secret"),
    ("LTMC.MSG.SEND m a TO 2 REGISTRY x REGISTRY", "m"),
    ("LTMC.TASK.GET f REGISTRY REGISTRY secret", "f secret"),
    ("LTMC.SESSION.OWN s k AGENT ada", "s k"),
    ("LTMC.SESSION.OWN s AGENT k AGENT ada", "s AGENT k"),
    ("LTMC.SESSION.OWN s k AGENT x AGENT y", "s k AGENT x"),
    ("LTMC.SESSION.OWN s AGENT AGENT AGENT", "s AGENT"),
    ("LTMC.SESSION.DISOWN s k agent ada", "s k"),
    ("LTMC.SESSION.OWN s AGENT k", "s"),
    ("LTMC.GUARD l 5 LTMC.TASK.ADD f t p GROUP LOCKS LOCKS 1 secret", "l f secret"),
];

#[test]
fn no_key_hides_behind_a_value_that_looks_like_an_option() {
    let server = Server::start();
    server.run("ACL SETUSER agent on >p ~* +@all").ok();
    for (line, keys) in DISGUISED {
        let keys: Vec<&str> = keys.split(' ').collect();
        assert_eq!(words(&server.run(&format!("COMMAND GETKEYS {line}"))), keys, "{line}");
        for hidden in &keys {
            let allowed =
                keys.iter().filter(|key| *key != hidden).map(|key| format!("~{key}")).collect::<Vec<_>>().join(" ");
            server.run(&format!("ACL SETUSER agent on >p resetkeys {allowed} +@all")).ok();
            let mut agent = server.client();
            agent.auth("agent", "p");
            assert_eq!(agent.run(line).error_code(), "NOPERM", "{line} without {hidden}");
            // Scripts and transactions are no way around it.
            let script =
                [&["EVAL", "return redis.call(unpack(ARGV))", "0"], &line.split(' ').collect::<Vec<_>>()[..]].concat();
            let reply = agent.cmd(&script);
            assert!(reply.is_error() && !reply.error().contains("internal"), "{line} in a script: {reply:?}");
        }
    }
    assert_eq!(server.run("DBSIZE").int(), 0, "nothing was made");
}

#[test]
fn a_lock_that_a_user_may_not_name_is_not_given_by_a_claim() {
    let server = Server::start();
    let mut agent = server.user("agent", "~sess:* +@all");
    for line in [
        "LTMC.TASK.ADD sess:f t0 p LOCKS 1 secret:lock",
        "LTMC.TASK.ADD sess:f t1 p GROUP LOCKS LOCKS 1 secret:lock",
        "LTMC.TASK.ADD sess:f t1 p REQID LOCKS LOCKS 1 secret:lock",
        "LTMC.FLOW.CREATE sess:g REQID LOCKS LOCKS 1 secret:lock",
    ] {
        assert_eq!(agent.run(line).error_code(), "NOPERM", "{line}");
    }
    agent.run("LTMC.TASK.ADD sess:f t2 p GROUP LOCKS LOCKS 1 sess:lock").text();
    assert_eq!(agent.run("LTMC.TASK.CLAIM sess:f ada COUNT 5").array().len(), 1);
    assert_eq!(server.run("EXISTS secret:lock sess:lock").int(), 1);
}
