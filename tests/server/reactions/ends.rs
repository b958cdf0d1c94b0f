//! Everything is given back, once, in one step.

use super::*;

#[test]
fn nothing_is_held_by_an_agent_that_is_gone() {
    for how in ENDS {
        let server = full().start();
        register_for(&server, "ada", 60_000);
        hold_everything(&server, "ada");
        assert_eq!(found(&server, "ada"), FOUND);
        end(&server, how);
        assert_eq!(found(&server, "ada"), [""; 0], "{how}");
        if how != "LTMC.DEREGISTER r ada" {
            assert_eq!(holds(&server, "ada"), [""; 0], "{how}");
        }
        assert_eq!(server.run("EXISTS lock tree pool many1 many2").int(), 0);
        assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
        assert_eq!(server.info_int("ltmc", "ltmc_reactions"), HELD.len() as i64);
    }
}

#[test]
fn what_others_hold_stays_theirs() {
    let server = full().start();
    register(&server, "ada");
    register(&server, "bob");
    prepare(&server, "ada");
    for line in wants("ada").into_iter().chain([
        "LTMC.LOCK tree bob PATH doc PX 600000 REGISTRY r".into(),
        "LTMC.LOCK pool bob SHARED PX 600000 REGISTRY r".into(),
        "LTMC.LOCK pool eve SHARED PX 600000".into(),
        "LTMC.CHUNK.PIN buffer shared bob PX 600000 REGISTRY r".into(),
        "LTMC.MSG.JOIN mail bob REGISTRY r".into(),
        "LTMC.CTX.JOIN context bob REGISTRY r".into(),
        "LTMC.SESSION.JOIN session bob".into(),
    ]) {
        assert!(!server.run(&line).is_error(), "{line}");
    }
    server.run("LTMC.DEREGISTER r ada").int();
    let owners = |key: &str| {
        let info = server.run(&format!("LTMC.LOCK.INFO {key}"));
        let holders = info.get("holders").array().iter();
        holders.map(|holder| holder.get("owner").text().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(owners("tree"), ["bob"]);
    assert_eq!(owners("pool"), ["bob", "eve"]);
    assert_eq!(holds(&server, "bob"), ["buffer", "context", "mail", "pool", "tree"]);
    let participants = |line: &str| server.run(line).get("participants").array().len();
    assert_eq!((participants("LTMC.CTX.GET context"), participants("LTMC.SESSION.INFO session")), (1, 1));
    server.run("LTMC.DEREGISTER r bob").int();
    assert_eq!(owners("pool"), ["eve"], "who named no registry is nobody's agent");
    assert_eq!(server.run("EXISTS tree").int(), 0);
    assert_eq!(participants("LTMC.SESSION.INFO session"), 1);
}

#[test]
fn it_is_one_transaction_and_happens_once() {
    let server = full().start();
    register(&server, "ada");
    hold_everything(&server, "ada");
    let mut tap = ReplicationTap::attach(&server);
    server.run("LTMC.DEREGISTER r ada").int();
    server.run("LTMC.DEREGISTER r ada").int();
    let stream = tap.take(&server);
    let names: Vec<String> = stream.iter().map(|command| String::from_utf8_lossy(&command[0]).to_uppercase()).collect();
    assert_eq!(names.first().map(String::as_str), Some("MULTI"), "{names:?}");
    assert_eq!(names.last().map(String::as_str), Some("EXEC"), "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "MULTI").count(), 1);
    // Keys that end by it need no command of their own: the end of the last grant deletes the key
    // on the replica, too.
    let mut keys: Vec<String> = stream
        .iter()
        .filter(|command| command[0] == b"LTMC.APPLY")
        .map(|command| String::from_utf8_lossy(&command[1]).into_owned())
        .collect();
    keys.sort();
    assert_eq!(keys, HELD);
    assert_eq!(server.info_int("ltmc", "ltmc_event_lock_agentgone"), 6);
    assert_eq!(server.info_int("ltmc", "ltmc_event_task_failed"), 1);
}

#[test]
fn a_new_incarnation_is_not_robbed() {
    let server = full().start();
    let first = register(&server, "ada");
    server.run("LTMC.LOCK a ada PX 600000 REGISTRY r").int();
    let second = register(&server, "ada");
    assert!(second > first);
    let fence = server.run("LTMC.LOCK a ada PX 600000 REGISTRY r").int();
    server.run("LTMC.LOCK b ada PX 600000 REGISTRY r").int();
    assert_eq!(server.run(&format!("LTMC.HEARTBEAT r ada EPOCH {first}")).error_code(), "STALE");
    assert_eq!(server.run(&format!("LTMC.DEREGISTER r ada EPOCH {first}")).error_code(), "STALE");
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK a {fence}")).int(), 1);
    assert_eq!(holds(&server, "ada"), ["a", "b"]);
}

#[test]
fn no_message_is_lost_by_a_death() {
    let server = full().arg("ltmc.mail-deliveries-max", 2).start();
    register(&server, "ada");
    for n in 1..=3 {
        server.run(&format!("LTMC.MSG.SEND mail boss TO 1 ada m{n}")).int();
    }
    let receive = || {
        let reply = server.run("LTMC.MSG.RECV mail ada COUNT 2 PX 600000 REGISTRY r");
        reply.array().iter().map(|message| message.get("payload").text().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(receive(), ["m1", "m2"]);
    register(&server, "ada");
    assert_eq!(receive(), ["m1", "m2"], "the next incarnation has them");
    server.run("LTMC.DEREGISTER r ada").int();
    register(&server, "ada");
    assert_eq!(receive(), ["m3"], "what is received too often is a dead letter");
    assert_eq!(server.run("LTMC.MSG.DEAD mail").array().len(), 2);
}

#[test]
fn a_session_that_has_ended_is_left_alone() {
    let server = full().start();
    register(&server, "ada");
    server.run("LTMC.SESSION.CREATE s PARTICIPANTS 1 ada REGISTRY r").int();
    server.run("LTMC.SESSION.END s GRACE 600000");
    server.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(server.run("LTMC.SESSION.INFO s").get("status").text(), "terminated");
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

#[test]
fn hundreds_of_keys_go_back_at_once() {
    let server = full().start();
    register(&server, "ada");
    let mut client = server.client();
    let lines: Vec<String> = (0..200).map(|n| format!("LTMC.LOCK k{n} ada PX 600000 REGISTRY r")).collect();
    assert!(client.pipeline(&lines).iter().all(|reply| reply.int() > 0));
    assert_eq!(holds(&server, "ada").len(), 200);
    client.run("MULTI").ok();
    client.run("LTMC.DEREGISTER r ada");
    client.run("DBSIZE");
    assert_eq!(client.run("EXEC").array()[1].int(), 0);
}

#[test]
fn very_many_pieces_go_back_in_parts() {
    let server = full().start();
    register(&server, "ada");
    register(&server, "bob");
    let mut client = server.client();
    let lines: Vec<String> = (0..25_000)
        .flat_map(|n| [format!("LTMC.CHUNK.PUT b c{n} x"), format!("LTMC.CHUNK.RETAIN b c{n} ada REGISTRY r")])
        .collect();
    for part in lines.chunks(1000) {
        assert!(client.pipeline(part).iter().all(|reply| !reply.is_error()));
    }
    let mut client = server.client();
    client.run("MULTI").ok();
    client.run("LTMC.REGISTER r ada PX 600000000");
    client.run("LTMC.CHUNK.PIN b c1 ada PX 600000000 REGISTRY r");
    let replies = client.run("EXEC");
    assert_eq!(replies.array()[1].error_code(), "BADSTATE", "the new incarnation gets nothing of the old one");
    wait_until("all of it is back", || server.run("LTMC.CHUNK.STATS b").get("retained").int() == 0);
}

#[test]
fn a_hundred_thousand_keys_go_back_in_parts_without_stalling_the_server() {
    let server = full().arg("ltmc.agent-holdings-max", 100_000).start();
    register(&server, "ada");
    let mut client = server.client();
    let lines: Vec<String> = (0..100_000).map(|n| format!("LTMC.LOCK k{n} ada PX 600000000 REGISTRY r")).collect();
    for part in lines.chunks(1000) {
        assert!(client.pipeline(part).iter().all(|reply| reply.int() > 0));
    }
    // All of them are looked at, since one might be stale.
    assert_eq!(server.run("LTMC.LOCK more ada REGISTRY r").error_code(), "LIMIT");
    client.run("MULTI").ok();
    client.run("LTMC.DEREGISTER r ada");
    client.run("DBSIZE");
    assert_eq!(client.run("EXEC").array()[1].int(), 99_800, "others have their turn before all is back");
    wait_until("all of it is back", || server.run("DBSIZE").int() == 0);
}
