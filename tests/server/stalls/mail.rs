//! Mailboxes: many receivers, many messages, many waiters.

use super::stage::text;

pub const SCENES: &[super::Scene] = &[
    ("mail: many agents", |stage| {
        let count = stage.max("mail-agents-max");
        stage.fill((0..count).map(|n| format!("LTMC.MSG.JOIN m agent-{n}")));
        stage.dear_line(format!("MSG.AGENTS of {count}"), "LTMC.MSG.AGENTS m CURSOR 0 COUNT 100000");
        stage.dear_line(format!("MSG.INFO of {count}"), "LTMC.MSG.INFO m");
        stage.dear_line(format!("MSG.SEND ALL to {count}"), "LTMC.MSG.SEND m a ALL hello");
        let to: Vec<String> = (0..count).rev().map(|n| format!("agent-{n}")).collect();
        let to = to.join(" ");
        stage.dear_line(format!("MSG.SEND TO {count}"), &format!("LTMC.MSG.SEND m a TO {count} {to} hello"));
        stage.dear_line(format!("MSG.SEND TO {count} new"), &format!("LTMC.MSG.SEND new a TO {count} {to} hello"));
        let id = stage.run("LTMC.MSG.RECV m agent-1").array()[0].get("id").int();
        stage.dear_line(format!("MSG.GET with {count} receivers"), &format!("LTMC.MSG.GET m {id}"));
        stage.fill((0..200).map(|_| "LTMC.MSG.SEND m a ALL hello PX 3600000".into()));
        stage.dear_line(format!("200 messages to {count} expire"), "LTMC.DEBUG CLOCK 3600000");
    }),
    ("mail: a full inbox", |stage| {
        let count = stage.max("mail-inbox-max");
        let fill = |stage: &super::Stage, agent: &str| {
            stage.fill((0..count).map(|_| format!("LTMC.MSG.SEND m a TO 1 {agent} x PX 3600000")));
        };
        fill(stage, "b");
        stage.dear_line(format!("MSG.PENDING of {count}"), "LTMC.MSG.PENDING m b");
        stage.dear_line("MSG.RECV COUNT 1000", "LTMC.MSG.RECV m b COUNT 1000 PX 3600000");
        stage.dear_line("MSG.PENDING CURSOR of 1000", "LTMC.MSG.PENDING m b CURSOR 0 COUNT 1000000");
        stage.dear_line(format!("MSG.LEAVE with {count} messages"), "LTMC.MSG.LEAVE m b");
        fill(stage, "c");
        stage.dear_line(format!("{count} messages expire"), "LTMC.DEBUG CLOCK 3600000");
        for n in 0..10 {
            stage.fill((0..1000).map(|_| format!("LTMC.MSG.SEND m a TO 1 d{n} x")));
            stage.run(&format!("LTMC.MSG.RECV m d{n} COUNT 1000 PX 3600000"));
        }
        stage.dear_line("10 leases of 1000 messages end", "LTMC.DEBUG CLOCK 7200000");
        fill(stage, "e");
        let mut ids = Vec::new();
        while ids.len() < count {
            let got = stage.run("LTMC.MSG.RECV m e COUNT 1000 PX 3600000");
            ids.extend(got.array().iter().map(|message| message.get("id").int().to_string()));
        }
        stage.dear_line(format!("MSG.ACK of {count}"), &format!("LTMC.MSG.ACK m e {}", ids.join(" ")));
    }),
    ("mail: an agent dies", |stage| {
        let count = stage.max("mail-inbox-max");
        stage.run("CONFIG SET ltmc.orchestration-mode full");
        stage.run("LTMC.REGISTER r b PX 3600000");
        stage.fill((0..count).map(|_| "LTMC.MSG.SEND m a TO 1 b x".into()));
        (0..count / 1000).for_each(|_| drop(stage.run("LTMC.MSG.RECV m b COUNT 1000 PX 3600000 REGISTRY r")));
        stage.dear_line(format!("DEREGISTER of an agent with {count} messages"), "LTMC.DEREGISTER r b");
    }),
    ("mail: large messages", |stage| {
        let payload = text(stage.max("mail-payload-bytes-max"));
        let bytes = payload.len();
        stage.dear(format!("MSG.SEND of {bytes} bytes"), &["LTMC.MSG.SEND", "m", "a", "TO", "1", "b", &payload]);
        (0..8).for_each(|_| drop(stage.cmd(&["LTMC.MSG.SEND", "m", "a", "TO", "1", "b", &payload])));
        stage.dear_line(format!("MSG.RECV COUNT 1000 of {bytes} bytes"), "LTMC.MSG.RECV m b COUNT 1000");
    }),
    ("mail: waiters", |stage| {
        let count = stage.some(4_000).min(stage.max("mail-agents-max"));
        let mut waiters = stage.server.clients(count);
        stage.fill((0..count).map(|n| format!("LTMC.MSG.JOIN m agent-{n}")));
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.MSG.RECV m agent-{n} BLOCK 0"));
        stage.dear_line(format!("MSG.SEND ALL to {count} waiters"), "LTMC.MSG.SEND m a ALL hello");
        let mut waiters = stage.server.clients(100);
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.MSG.RECV l agent-{n} BLOCK 0"));
        let payload = text(1 << 20);
        stage.dear("MSG.SEND ALL of 1 MiB to 100 waiters", &["LTMC.MSG.SEND", "l", "a", "ALL", &payload]);
    }),
];
