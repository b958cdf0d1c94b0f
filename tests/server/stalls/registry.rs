//! Registries: many agents, many capabilities and versions, many waiters.

use super::stage::{text, Stage};

/// Agents with all labels that they may have.
fn agents(stage: &Stage) -> usize {
    let (count, versions) = (stage.max("registry-agents-max"), stage.max("capability-versions-max"));
    let caps = |n: usize| {
        let version = n % versions;
        (0..64).map(|cap| format!("x{cap}@1.{version}")).collect::<Vec<_>>().join(" ")
    };
    stage.fill((0..count).map(|n| {
        format!("LTMC.REGISTER r agent-{n} CAPS 64 {} TAGS 2 all t{n} META {{\"n\":{n}}} PX 36000000", caps(n))
    }));
    // Each has a latency of its own.
    stage.fill((0..count).map(|n| format!("LTMC.HEARTBEAT r agent-{n} LOAD 0.{n:05}")));
    count
}

fn each(what: impl Fn(usize) -> String) -> String {
    (0..64).map(what).collect::<Vec<_>>().join(" ")
}

pub const SCENES: &[super::Scene] = &[
    ("registry: many agents", |stage| {
        let count = agents(stage);
        stage.dear_line(format!("AGENT.FIND of {count}"), "LTMC.AGENT.FIND r LIMIT 1000000");
        stage.dear_line(format!("AGENT.FIND WITHINFO of {count}"), "LTMC.AGENT.FIND r WITHINFO LIMIT 1000000");
        stage.dear_line(
            format!("AGENT.FIND SORT LOAD of {count}"),
            "LTMC.AGENT.FIND r TAGS 1 all SORT LOAD LIMIT 1000000",
        );
        stage.dear_line(
            format!("AGENT.FIND SORT RANDOM of {count}"),
            "LTMC.AGENT.FIND r TAGS 1 all SORT RANDOM LIMIT 1000000",
        );
        let ranges = each(|n| format!("x{n}@>=1.0"));
        let same = each(|n| format!("x1@>=1.{n}"));
        for (what, caps) in [
            ("64 ranges", format!("ANYCAP 64 {ranges}")),
            ("a range 64 times", format!("ANYCAP 64 {same}")),
            ("all of 64 ranges", format!("CAPS 64 {ranges}")),
            ("all and any of 64", format!("CAPS 64 {ranges} ANYCAP 64 {ranges}")),
        ] {
            stage.dear_line(
                format!("AGENT.FIND {what} over {count}"),
                &format!("LTMC.AGENT.FIND r {caps} SORT LATENCY LIMIT 1000000"),
            );
            stage.dear_line(
                format!("AGENT.CLAIM {what} over {count}"),
                &format!("LTMC.AGENT.CLAIM r PX 10000 {caps} MINFREE 2"),
            );
        }
        let excluded: Vec<String> = (0..1024).map(|n| format!("agent-{n}")).collect();
        stage.dear_line(
            "AGENT.FIND EXCLUDE 1024",
            &format!("LTMC.AGENT.FIND r EXCLUDE 1024 {} SORT LOAD LIMIT 1000000", excluded.join(" ")),
        );
        let value = format!("[{}", "[".repeat(10_000_000));
        stage.dear("AGENT.FIND META of 10 MB", &["LTMC.AGENT.FIND", "r", "META", "/n", &value]);
        stage.dear_line(format!("AGENT.LIST of {count}"), "LTMC.AGENT.LIST r");
        stage.dear_line(format!("AGENT.LIST CURSOR of {count}"), "LTMC.AGENT.LIST r CURSOR 0 COUNT 1000000");
        stage.dear_line(format!("AGENT.STATS of {count}"), "LTMC.AGENT.STATS r");
        stage.dear_line(format!("MSG.SEND CAP to {count}"), "LTMC.MSG.SEND mail a CAP x1@>=1.0 REGISTRY r hello");
        stage.dear_line(format!("MSG.SEND REGISTRY to {count}"), "LTMC.MSG.SEND mail a REGISTRY r hello");
        stage.dear_line(format!("COPY of a registry of {count}"), "COPY r copy");
    }),
    ("registry: waiters", |stage| {
        let count = stage.max("claim-waiters-max");
        let mut waiters = stage.server.clients(count);
        let caps = each(|n| format!("{}{n}", text(100)));
        let tags = each(|n| format!("{}{n}", text(100)));
        stage.run(&format!("LTMC.REGISTER r a CAPS 64 {caps} TAGS 64 {tags} CAPACITY 0 PX 36000000"));
        stage.server.block_in_turn(&mut waiters, |n| {
            format!(
                "LTMC.AGENT.CLAIM r PX 3600000 BLOCK 0 CAPS 64 {caps} ANYCAP 1 no{n} TAGS 63 {}",
                &tags[..tags.rfind(' ').unwrap_or(0)]
            )
        });
        stage.dear_line(
            format!("an agent that {count} waiters do not want"),
            &format!("LTMC.REGISTER r a CAPS 64 {caps} TAGS 64 {tags} CAPACITY 9 PX 36000000"),
        );
        stage.run(&format!("LTMC.REGISTER other a CAPS 64 {caps} TAGS 64 {tags} CAPACITY 9 PX 36000000"));
        stage.dear_line(format!("RENAME to what {count} wait for"), "RENAME other r");
        stage.leave(waiters);
        let capacity = stage.max("agent-capacity-max");
        let mut waiters = stage.server.clients(capacity.min(count));
        stage.server.block_in_turn(&mut waiters, |_| "LTMC.AGENT.CLAIM q PX 3600000 BLOCK 0".into());
        stage.dear_line(
            format!("an agent for {} waiters", waiters.len()),
            &format!("LTMC.REGISTER q a CAPACITY {capacity} PX 3600000"),
        );
    }),
    ("registry: many claims", |stage| {
        let capacity = stage.max("agent-capacity-max");
        stage.run("CONFIG SET ltmc.agent-hold-share-percent 0");
        let count = 64;
        stage.fill((0..count).map(|n| format!("LTMC.REGISTER r a{n} CAPACITY {capacity} PX 7200000")));
        let reference = text(900);
        stage.fill((0..count * capacity).map(|n| format!("LTMC.AGENT.CLAIM r PX 36000000 REF {reference}{n}")));
        stage.dear_line(format!("AGENT.GET with {capacity} claims"), "LTMC.AGENT.GET r a0");
        stage.dear_line(format!("DEREGISTER with {capacity} claims"), "LTMC.DEREGISTER r a0");
        stage.dear_line(format!("{count} agents with {capacity} claims fall silent"), "LTMC.DEBUG CLOCK 7300000");
        stage.dear_line("they die", "LTMC.DEBUG CLOCK 15000000");
    }),
    ("registry: all die", |stage| {
        let count = stage.max("registry-agents-max");
        stage.run("CONFIG SET ltmc.agent-hold-share-percent 0");
        stage.fill((0..count).map(|n| format!("LTMC.REGISTER r agent-{n} PX 600000")));
        stage.dear_line(format!("{count} agents fall silent"), "LTMC.DEBUG CLOCK 600000");
        stage.dear_line(format!("{count} agents die"), "LTMC.DEBUG CLOCK 1300000");
        stage.dear_line(format!("{count} agents are removed"), "LTMC.DEBUG CLOCK 1400000");
    }),
    ("registry: an end with much to give back", |stage| {
        stage.run("CONFIG SET ltmc.orchestration-mode full");
        let keys = stage.max("agent-holdings-max");
        stage.run("LTMC.REGISTER r a PX 36000000");
        stage.fill((0..keys).map(|n| format!("LTMC.LOCK l{n} a PX 36000000 REGISTRY r")));
        stage.dear_line(format!("LOCK beyond {keys} keys"), "LTMC.LOCK more a PX 36000000 REGISTRY r");
        stage.dear_line(format!("DEREGISTER with {keys} locks"), "LTMC.DEREGISTER r a");
        stage.run("LTMC.REGISTER r a PX 36000000");
        let pins = stage.some(20_000);
        stage.fill((0..pins).map(|n| format!("LTMC.CHUNK.PUT b c{n} x")));
        stage.fill((0..pins).map(|n| format!("LTMC.CHUNK.PIN b c{n} a PX 36000000 REGISTRY r")));
        stage.dear_line(format!("DEREGISTER with {pins} pins"), "LTMC.DEREGISTER r a");
        stage.run("LTMC.REGISTER r a PX 36000000");
        let grants = stage.max("lock-holders-max");
        stage.fill((0..grants).map(|n| format!("LTMC.LOCK big a PATH p{n} PX 36000000 REGISTRY r")));
        stage.dear_line(format!("DEREGISTER with {grants} paths"), "LTMC.DEREGISTER r a");
        stage.run("LTMC.REGISTER r a PX 36000000");
        let (locks, each) = (40, stage.some(4_000) / 40);
        stage.fill((0..locks).map(|n| format!("LTMC.LOCK w{n} a PX 36000000 REGISTRY r")));
        let mut waiters = stage.server.clients(locks * each);
        stage
            .server
            .block_in_turn(&mut waiters, |n| format!("LTMC.LOCK w{} b{n} SHARED PX 36000000 BLOCK 0", n % locks));
        stage.dear_line(format!("DEREGISTER with {locks} locks for {each} waiters each"), "LTMC.DEREGISTER r a");
        stage.run("CONFIG SET ltmc.agent-hold-share-percent 0");
        stage.fill((0..256).map(|n| format!("LTMC.REGISTER r dying-{n} PX 600000")));
        stage.fill((0..256 * 50).map(|n| format!("LTMC.LOCK d{n} dying-{} PX 36000000 REGISTRY r", n % 256)));
        stage.dear_line("256 agents with 50 locks fall silent", "LTMC.DEBUG CLOCK 600000");
        stage.dear_line("256 agents with 50 locks die", "LTMC.DEBUG CLOCK 1300000");
    }),
    ("registry: an end with tasks that hold locks", |stage| {
        stage.run("CONFIG SET ltmc.orchestration-mode full");
        let (tasks, locks) = (stage.some(2_000), 4);
        let names = |task: usize| (0..locks).map(|n| format!(" l{}", locks * task + n)).collect::<String>();
        stage.run("LTMC.REGISTER r a PX 36000000");
        stage.fill((0..tasks).map(|n| format!("LTMC.TASK.ADD f t{n} x LOCKS {locks}{}", names(n))));
        stage.fill((0..tasks.div_ceil(100)).map(|_| "LTMC.TASK.CLAIM f a COUNT 100 PX 36000000 REGISTRY r".into()));
        let count = stage.some(4_000);
        let mut waiters = stage.server.clients(count);
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK l{n} b{n} PX 36000000 BLOCK 0"));
        stage.dear_line(
            format!("DEREGISTER with {tasks} tasks of {locks} locks, {count} waiters"),
            "LTMC.DEREGISTER r a",
        );
    }),
];
