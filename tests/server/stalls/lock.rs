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
        let count = stage.some(4_000);
        let mut waiters = stage.server.clients(count);
        stage.run("LTMC.LOCK l holder PX 3600000");
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK l a{n} SHARED BLOCK 0"));
        stage.dear_line(format!("LOCK.INFO with {count} waiters"), "LTMC.LOCK.INFO l");
        stage.dear_line("LOCK.GRAPH", "LTMC.LOCK.GRAPH");
        stage.dear_line(format!("UNLOCK to {count} shared waiters"), "LTMC.UNLOCK l holder");
    }),
    ("lock: a long cycle", |stage| {
        let count = stage.some(4_000);
        let mut waiters = stage.server.clients(count);
        stage.fill((0..=count).map(|n| format!("LTMC.LOCK l{n} a{n} PX 3600000")));
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK l{} a{n} BLOCK 0", n + 1));
        stage.dear_line(format!("LOCK that closes a cycle of {count}"), &format!("LTMC.LOCK l0 a{count} BLOCK 1000"));
        let keys: Vec<String> = (0..128.min(count)).map(|n| format!("l{n}")).collect();
        stage.dear_line("MLOCK of 128 keys in a chain", &format!("LTMC.MLOCK new 128 {} BLOCK 10", keys.join(" ")));
        drop(waiters);
        stage.dear_line(format!("{count} waiters disconnect"), "PING");
    }),
    ("lock: waiters on deep paths", |stage| {
        let (holders, count) = (300.min(stage.max("lock-holders-max") * 4 / 64), stage.some(3_000));
        let path = |n: usize| (0..62).map(|at| format!("s{at}/")).collect::<String>() + &format!("p{n}");
        stage.fill((0..holders).map(|n| format!("LTMC.LOCK l h{n} PATH {} PX 3600000", path(n))));
        let mut waiters = stage.server.clients(count);
        stage
            .server
            .block_in_turn(&mut waiters, |n| format!("LTMC.LOCK l w{n} PATH {} PX 3600000 BLOCK 0", path(n % holders)));
        stage.dear_line(
            format!("UNLOCK of a deep path beside {count} waiters"),
            &format!("LTMC.UNLOCK l h0 PATH {}", path(0)),
        );
    }),
    ("lock: crowds", |stage| {
        // Each search looks at 12,800 grants, and goes on in turns.
        let (keys, crowd, count) = (128, 100, stage.some(300));
        stage.fill((0..keys * crowd).map(|n| format!("LTMC.LOCK k{} h{} SHARED PX 3600000", n / crowd, n % crowd)));
        stage.fill((0..count).map(|n| format!("LTMC.LOCK common w{n} SHARED PX 3600000")));
        let mut needy = stage.server.clients(1);
        stage.server.block_in_turn(&mut needy, |_| "LTMC.LOCK common needy BLOCK 0".into());
        let names: Vec<String> = (0..keys).map(|n| format!("k{n}")).collect();
        let mut waiters = stage.server.clients(count);
        let names = names.join(" ");
        waiters
            .iter_mut()
            .enumerate()
            .for_each(|(n, waiter)| waiter.send_line(&format!("LTMC.MLOCK w{n} {keys} {names} BLOCK 0")));
        stage.server.wait_blocked(count + 1);
        stage.dear_line(
            format!("MLOCK of {keys} locks with {crowd} grants, beside {count}"),
            &format!("LTMC.MLOCK last {keys} {names} BLOCK 10"),
        );
        stage.dear_line("LOCK.GRAPH of them", "LTMC.LOCK.GRAPH");
    }),
];
