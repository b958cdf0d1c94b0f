//! Mailboxes: many receivers, many messages, many waiters.

pub const SCENES: &[super::Scene] = &[
    ("mail: many agents", |stage| {
        let count = stage.max("mail-agents-max");
        stage.fill((0..count).map(|n| format!("LTMC.MSG.JOIN m agent-{n}")));
        stage.dear_line(format!("MSG.AGENTS of {count}"), "LTMC.MSG.AGENTS m");
        stage.dear_line(format!("MSG.INFO of {count}"), "LTMC.MSG.INFO m");
        stage.dear_line(format!("MSG.SEND ALL to {count}"), "LTMC.MSG.SEND m a ALL hello");
        let mut args: Vec<String> = ["LTMC.MSG.SEND", "m", "a", "TO"].map(String::from).to_vec();
        args.push(count.to_string());
        args.extend((0..count).map(|n| format!("agent-{n}")));
        args.push("hello".into());
        stage.dear(format!("MSG.SEND TO {count}"), &args);
        let id = stage.run("LTMC.MSG.RECV m agent-1").array()[0].get("id").int();
        stage.dear_line(format!("MSG.GET with {count} receivers"), &format!("LTMC.MSG.GET m {id}"));
    }),
    ("mail: a full inbox", |stage| {
        let count = stage.max("mail-inbox-max");
        stage.fill((0..count).map(|_| "LTMC.MSG.SEND m a TO 1 b x PX 3600000".into()));
        stage.dear_line(format!("MSG.PENDING of {count}"), "LTMC.MSG.PENDING m b");
        stage.dear_line("MSG.RECV COUNT 1000", "LTMC.MSG.RECV m b COUNT 1000");
        stage.dear_line(format!("MSG.LEAVE with {count} messages"), "LTMC.MSG.LEAVE m b");
        stage.fill((0..count).map(|_| "LTMC.MSG.SEND m a TO 1 c x PX 3600000".into()));
        stage.dear_line(format!("{count} messages expire"), "LTMC.DEBUG CLOCK 3700000");
    }),
    ("mail: waiters", |stage| {
        let count = 4_000;
        let mut waiters = stage.server.clients(count);
        stage.fill((0..count).map(|n| format!("LTMC.MSG.JOIN m agent-{n}")));
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.MSG.RECV m agent-{n} BLOCK 0"));
        stage.dear_line(format!("MSG.SEND ALL to {count} waiters"), "LTMC.MSG.SEND m a ALL hello");
    }),
];
