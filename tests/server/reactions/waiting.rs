//! Clients that wait for what an agent held, and agents that die while they wait.

use super::*;
use crate::waiting::assert_idle;

#[test]
fn who_waits_is_served_in_the_same_step() {
    for how in ENDS {
        let server = full().start();
        register_for(&server, "ada", 60_000);
        register(&server, "bob");
        hold_everything(&server, "ada");
        let lines = [
            format!("LTMC.LOCK lock bob PX {LONG_MS} BLOCK 0 REGISTRY r"),
            format!("LTMC.MLOCK bob 2 many1 many2 PX {LONG_MS} BLOCK 0 REGISTRY r"),
            format!("LTMC.TASK.CLAIM flow bob PX {LONG_MS} BLOCK 0 REGISTRY r"),
        ];
        let mut waiters = server.clients(lines.len());
        server.block_in_turn(&mut waiters, |n| lines[n].clone());
        end(&server, how);
        assert!(waiters[0].recv().int() > 0);
        assert_eq!(waiters[1].recv().array().len(), 2);
        assert_eq!(waiters[2].recv().array()[0].get("task").text(), "job");
        assert_eq!(holds(&server, "bob"), ["flow", "lock", "many1", "many2"]);
        assert_idle(&server);
    }
}

#[test]
fn claims_of_the_dead_go_to_who_waits() {
    let server = full().start();
    register(&server, "ada");
    register(&server, "bob");
    server.run(&format!("LTMC.REGISTER r worker CAPS 1 tool CAPACITY 1 PX {LONG_MS}")).int();
    server.run(&format!("LTMC.AGENT.CLAIM r PX {LONG_MS} CAPS 1 tool REF ada REGISTRY r"));
    let mut waiter = server.client();
    let line = format!("LTMC.AGENT.CLAIM r PX {LONG_MS} CAPS 1 tool REF bob REGISTRY r BLOCK 0");
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| line.clone());
    server.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(waiter.recv().array()[0].text(), "worker");
    assert_eq!(holds(&server, "bob"), ["r"]);
}

#[test]
fn who_dies_while_it_waits_gets_nothing() {
    let server = full().start();
    register(&server, "ada");
    register(&server, "bob");
    prepare(&server, "ada");
    server.run("LTMC.LOCK lock bob PX 600000 REGISTRY r").int();
    server.run("LTMC.LOCK many2 bob PX 600000 REGISTRY r").int();
    server.run("LTMC.MSG.JOIN mail eve").int();
    let lines = [
        "LTMC.LOCK lock ada PX 600000 BLOCK 0 REGISTRY r",
        "LTMC.MLOCK ada 2 many1 many2 PX 600000 BLOCK 0 REGISTRY r",
        "LTMC.AGENT.CLAIM r PX 600000 CAPS 1 none REF ada REGISTRY r BLOCK 0",
        "LTMC.MSG.RECV empty ada BLOCK 0 REGISTRY r",
    ];
    let mut waiters = server.clients(lines.len());
    server.block_in_turn(&mut waiters, |n| lines[n].into());
    server.run("LTMC.DEREGISTER r ada").int();
    server.run("LTMC.DEREGISTER r bob").int();
    server.run(&format!("LTMC.REGISTER r late CAPS 1 none PX {LONG_MS}")).int();
    server.run("LTMC.MSG.SEND empty boss TO 1 ada hello").int();
    for (line, waiter) in lines.iter().zip(&mut waiters) {
        assert_eq!(waiter.recv().error_code(), "NOAGENT", "{line}");
    }
    assert_eq!(server.run("EXISTS lock many1 many2").int(), 0);
    assert_eq!(server.run("LTMC.AGENT.STATS r").get("claims").int(), 0);
    assert_idle(&server);
}

#[test]
fn it_works_in_transactions_and_scripts() {
    let server = full().start();
    register(&server, "ada");
    let mut client = server.client();
    client.run("MULTI").ok();
    client.run("LTMC.LOCK a ada PX 600000 REGISTRY r");
    client.run("LTMC.DEREGISTER r ada");
    client.run("LTMC.LOCK b ada PX 600000 REGISTRY r");
    let replies = client.run("EXEC");
    assert!(replies.array()[0].int() > 0);
    assert_eq!(replies.array()[2].error_code(), "NOAGENT");
    assert_eq!(server.run("EXISTS a b").int(), 0);
    register(&server, "ada");
    let script = "redis.call('LTMC.LOCK', KEYS[1], 'ada', 'REGISTRY', KEYS[2]); return redis.call('LTMC.DEREGISTER', KEYS[2], 'ada')";
    assert_eq!(server.cmd(&["EVAL", script, "2", "a", "r"]).int(), 1);
    assert_eq!(server.run("EXISTS a").int(), 0);
}

#[test]
fn a_thousand_agents_that_die_at_once_leave_nothing_behind() {
    let server = full().arg("ltmc.agent-hold-share-percent", 0).start();
    let mut client = server.client();
    let lines: Vec<String> = (0..1000).map(|n| format!("LTMC.REGISTER r a{n} PX 60000")).collect();
    assert!(client.pipeline(&lines).iter().all(|reply| reply.int() > 0));
    let lines: Vec<String> = (0..1000)
        .flat_map(|n| {
            let own = format!("LTMC.LOCK k{n} a{n} PX 600000 REGISTRY r");
            [
                own,
                format!("LTMC.LOCK pool a{n} SHARED PX 600000 REGISTRY r"),
                format!("LTMC.MSG.JOIN mail a{n} REGISTRY r"),
            ]
        })
        .collect();
    assert!(client.pipeline(&lines).iter().all(|reply| reply.int() > 0));
    set_clock(&server, 60_001);
    wait_until("all are suspect", || server.info_int("ltmc", "ltmc_event_agent_suspected") == 1000);
    set_clock(&server, 120_003);
    wait_until("all are dead", || server.info_int("ltmc", "ltmc_event_agent_died") == 1000);
    wait_until("nothing is held", || server.run("DBSIZE").int() == 1);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}
