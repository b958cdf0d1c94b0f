//! The index of what an agent holds: right, bounded, and rid of what is stale.

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
fn what_ends_without_its_holder_is_held_no_more() {
    let server = full().start();
    for agent in ["ada", "bob"] {
        register(&server, agent);
    }
    for line in [
        "LTMC.REGISTER r worker CAPS 1 tool CAPACITY 5 PX 600000000",
        "LTMC.AGENT.CLAIM r PX 600000 CAPS 1 tool REF ada REGISTRY r",
        "LTMC.AGENT.CLAIM r PX 600000 CAPS 1 tool REF bob REGISTRY r",
        "LTMC.MSG.SEND mail boss TO 2 ada bob text PX 1000",
        "LTMC.MSG.SEND mail boss TO 1 eve text",
        "LTMC.MSG.RECV mail ada PX 600000 REGISTRY r",
        "LTMC.MSG.RECV mail bob PX 600000 REGISTRY r",
        "LTMC.CHUNK.PUT buffer stays data",
        "LTMC.CHUNK.PUT buffer chunk data PX 1000",
        "LTMC.CHUNK.PIN buffer chunk ada PX 1000 REGISTRY r",
        "LTMC.CHUNK.ALLOC buffer ID draft SIZE 10 AGENT bob PX 1000 REGISTRY r",
    ] {
        assert!(!server.run(line).is_error(), "{line}");
    }
    for agent in ["ada", "bob"] {
        assert_eq!(holds(&server, agent), ["buffer", "mail", "r"]);
    }
    server.run("LTMC.DEREGISTER r worker").int();
    for agent in ["ada", "bob"] {
        assert_eq!(holds(&server, agent), ["buffer", "mail"], "the claim ended with its agent");
    }
    set_clock(&server, 2000);
    for agent in ["ada", "bob"] {
        wait_until("message and chunk are over", || holds(&server, agent).is_empty());
    }
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
