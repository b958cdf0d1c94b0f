//! Locks: many grants, many waiters, long cycles.

pub const SCENES: &[super::Scene] = &[
    ("lock: many grants", |stage| {
        let count = stage.max("lock-holders-max");
        stage.fill((0..count).map(|n| format!("LTMC.LOCK l a PATH p{n} PX 3600000")));
        stage.dear_line(format!("LOCK.INFO with {count} grants"), "LTMC.LOCK.INFO l");
        stage.dear_line(format!("UNLOCK ALL of {count} paths"), "LTMC.UNLOCK l a ALL");
        stage.fill((0..count).map(|n| format!("LTMC.LOCK l a{n} SHARED PX 3600000")));
        stage.dear_line(format!("LOCK.BREAK of {count} grants"), "LTMC.LOCK.BREAK l");
        stage.fill((0..count).map(|n| format!("LTMC.LOCK l a{n} SHARED PX 3600000")));
        stage.dear_line(format!("{count} grants expire"), "LTMC.DEBUG CLOCK 3600000");
    }),
    ("lock: deep paths, many limits", |stage| {
        let count = stage.max("lock-holders-max");
        let deep: Vec<String> = (0..59).map(|n| format!("x{n}")).collect();
        let deep = deep.join("/");
        stage.fill((0..count / 15).map(|n| format!("LTMC.LOCK l a PATH d{n}/{deep} PX 3600000")));
        stage.dear_line(format!("UNLOCK ALL of {} deep paths", count / 15), "LTMC.UNLOCK l a ALL");
        stage.fill((1..=count).map(|n| format!("LTMC.LOCK l a SHARED LIMIT {} NOREENTRANT PX 3600000", n + count)));
        stage.dear_line(format!("LOCK.BREAK of {count} limits"), "LTMC.LOCK.BREAK l");
        stage.fill((0..count).map(|n| format!("LTMC.LOCK l a{n} SHARED PX 3600000")));
        let mut waiter = stage.server.clients(1);
        stage.run("LTMC.LOCK other holder PX 3600000");
        stage.server.block_in_turn(&mut waiter, |_| "LTMC.LOCK other a0 BLOCK 0".to_string());
        stage.dear_line(format!("LOCK that waits for {count} holders"), "LTMC.LOCK l w BLOCK 10");
    }),
    ("lock: stamps", |stage| {
        let count = stage.max("lock-holders-max") - 1;
        stage.fill((0..count).map(|n| format!("LTMC.LOCK l a{n} OPTIMISTIC PX 3600000")));
        stage.dear_line(format!("LOCK beside {count} stamps"), "LTMC.LOCK l w");
        stage.dear_line(format!("UNLOCK beside {count} stamps"), "LTMC.UNLOCK l w");
    }),
    ("lock: waiters", |stage| {
        let count = 4_000;
        let mut waiters = stage.server.clients(count);
        stage.run("LTMC.LOCK l holder PX 3600000");
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK l a{n} SHARED BLOCK 0"));
        stage.dear_line(format!("LOCK.INFO with {count} waiters"), "LTMC.LOCK.INFO l");
        stage.dear_line("LOCK.GRAPH", "LTMC.LOCK.GRAPH");
        stage.dear_line(format!("UNLOCK to {count} shared waiters"), "LTMC.UNLOCK l holder");
    }),
    ("lock: a long cycle", |stage| {
        let count = 4_000;
        let mut waiters = stage.server.clients(count);
        stage.fill((0..=count).map(|n| format!("LTMC.LOCK l{n} a{n} PX 3600000")));
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK l{} a{n} BLOCK 0", n + 1));
        stage.dear_line(format!("LOCK that closes a cycle of {count}"), &format!("LTMC.LOCK l0 a{count} BLOCK 1000"));
        let keys: Vec<String> = (0..128).map(|n| format!("l{n}")).collect();
        stage.dear_line("MLOCK of 128 keys in a chain", &format!("LTMC.MLOCK new 128 {} BLOCK 10", keys.join(" ")));
        drop(waiters);
        stage.dear_line(format!("{count} waiters disconnect"), "PING");
    }),
];
