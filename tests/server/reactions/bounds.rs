//! The list of what an agent holds: right, bounded, and rid of what is stale.

use super::*;

#[test]
fn who_gives_back_holds_nothing_any_more() {
    let server = full().start();
    register(&server, "ada");
    hold_everything(&server, "ada");
    let stamp = server.run("LTMC.LOCK.INFO stamps").get("holders").array()[0].get("fence").int();
    let job = server.run("LTMC.TASK.GET flow job").get("fence").int();
    let message = server.run("LTMC.MSG.PENDING mail ada").array()[0].get("id").int();
    for line in [
        "LTMC.UNLOCK lock ada".into(),
        "LTMC.UNLOCK tree ada PATH src/ada".into(),
        "LTMC.UNLOCK pool ada".into(),
        format!("LTMC.UNLOCK stamps ada TOKEN {stamp}"),
        "LTMC.UNLOCK many1 ada".into(),
        "LTMC.UNLOCK many2 ada".into(),
        format!("LTMC.TASK.COMPLETE flow job {job} done"),
        "LTMC.CHUNK.UNPIN buffer shared ada".into(),
        "LTMC.CHUNK.RELEASE buffer shared ada".into(),
        "LTMC.CHUNK.UNPIN buffer own ada".into(),
        format!("LTMC.MSG.ACK mail ada {message}"),
        "LTMC.MSG.LEAVE mail ada".into(),
        "LTMC.CTX.LEAVE context ada".into(),
        "LTMC.CTX.LEAVE owned ada".into(),
        "LTMC.SESSION.LEAVE session ada".into(),
        "LTMC.SESSION.LEAVE team ada".into(),
    ] {
        let reply = server.run(&line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    // The chunk that it still writes, and its claim.
    assert_eq!(holds(&server, "ada"), ["buffer", "r"]);
}

#[test]
fn an_agent_holds_something_in_so_many_keys_and_no_more() {
    let server = full().arg("ltmc.agent-holdings-max", 3).start();
    register(&server, "ada");
    register(&server, "bob");
    let lock = |key: &str| server.run(&format!("LTMC.LOCK {key} ada PX 600000 REGISTRY r"));
    for key in ["a", "b", "c"] {
        lock(key).int();
    }
    assert!(lock("a").int() > 0, "what it holds already is not one more");
    let refused = lock("d");
    assert!(refused.error_code() == "LIMIT" && refused.error().contains("agent-holdings-max"), "{refused:?}");
    let refused = server.run("LTMC.MLOCK ada 2 e f PX 600000 REGISTRY r");
    assert_eq!(refused.error_code(), "LIMIT");
    assert_eq!(server.run("EXISTS d e f").int(), 0);
    assert!(server.run("LTMC.LOCK d bob PX 600000 REGISTRY r").int() > 0, "each agent has its own");
    server.run("UNLINK b").int();
    assert!(lock("e").int() > 0, "what is gone does not count");
    assert_eq!(lock("f").error_code(), "LIMIT");
    server.run("LTMC.UNLOCK a ada ALL").int();
    assert!(lock("f").int() > 0);
}

#[test]
fn several_keys_at_once_keep_the_bound_too() {
    let server = full().arg("ltmc.agent-holdings-max", 3).start();
    register(&server, "ada");
    server.run("LTMC.LOCK a ada PX 600000 REGISTRY r").int();
    let mlock = |keys: &str| server.run(&format!("LTMC.MLOCK ada 3 {keys} PX 600000 REGISTRY r"));
    assert_eq!(mlock("b c d").error_code(), "LIMIT");
    assert_eq!(server.run("EXISTS b c d").int(), 0);
    assert_eq!(mlock("b a c").array().len(), 3, "a is not one more");
    assert_eq!(holds(&server, "ada"), ["a", "b", "c"]);
    server.run("LTMC.UNLOCK b ada").int();
    server.run("LTMC.UNLOCK c ada").int();
    let mut waiter = server.client();
    server.run("LTMC.LOCK b eve PX 600000").int();
    let line = "LTMC.MLOCK ada 2 b c PX 600000 BLOCK 0 REGISTRY r";
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| line.into());
    server.run("LTMC.LOCK d ada PX 600000 REGISTRY r").int();
    server.run("LTMC.UNLOCK b eve").int();
    assert_eq!(waiter.recv().error_code(), "LIMIT");
    assert_eq!(server.run("EXISTS b c").int(), 0, "all or nothing");
}

#[test]
fn a_bound_that_is_met_while_waiting_is_told_to_who_waits() {
    let server = full().arg("ltmc.agent-holdings-max", 1).start();
    register(&server, "ada");
    server.run("LTMC.LOCK k bob PX 600000").int();
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK k ada PX 600000 BLOCK 0 REGISTRY r".into());
    server.run("LTMC.LOCK other ada PX 600000 REGISTRY r").int();
    server.run("LTMC.UNLOCK k bob").int();
    assert_eq!(waiter.recv().error_code(), "LIMIT");
    assert_eq!(server.run("EXISTS k").int(), 0);
}
