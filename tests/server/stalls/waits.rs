//! Watches, requests that are remembered, and waits over many keys.

use super::stage::text;

pub const SCENES: &[super::Scene] = &[
    ("waits: watches", |stage| {
        let keys = 128;
        let names: Vec<String> = (0..keys).map(|n| format!("s{n}")).collect();
        let names = names.join(" ");
        let since = vec!["0"; keys].join(" ");
        let field = text(1000);
        // The log of each key is full.
        stage.fill((0..keys).flat_map(|key| {
            let field = &field;
            (0..stage.some(1_200)).map(move |n| format!("LTMC.SESSION.SET s{key} {field} {n}"))
        }));
        stage.dear_line(format!("WATCH of {keys} full logs"), &format!("LTMC.WATCH {keys} {names} SINCE {since}"));
        let revisions: Vec<String> = (0..keys)
            .map(|n| stage.run(&format!("LTMC.SESSION.INFO s{n}")).get("revision").int().to_string())
            .collect();
        let line = format!("LTMC.WATCH {keys} {names} SINCE {} BLOCK 0", revisions.join(" "));
        let mut watchers = stage.server.clients(stage.some(300));
        stage.server.block_in_turn(&mut watchers, |_| line.clone());
        stage.dear_line("a change for 300 watchers of 128 keys", "LTMC.SESSION.SET s0 f v");
        stage.leave(watchers);
    }),
    ("waits: watchers of one key", |stage| {
        let count = stage.some(4_000);
        let field = text(1000);
        let watch = |stage: &super::Stage, key: &str| {
            stage.run(&format!("LTMC.SESSION.SET {key} f v"));
            let revision = stage.run(&format!("LTMC.SESSION.INFO {key}")).get("revision").int();
            let mut watchers = stage.server.clients(count);
            stage.server.block_in_turn(&mut watchers, |_| format!("LTMC.WATCH 1 {key} SINCE {revision} BLOCK 0"));
            watchers
        };
        let watchers = watch(stage, "a");
        stage.dear_line(format!("a change for {count} watchers"), "LTMC.SESSION.SET a f w");
        stage.leave(watchers);
        let watchers = watch(stage, "b");
        stage.dear_line(format!("the end of a key with {count} watchers"), "LTMC.SESSION.END b GRACE 0");
        stage.leave(watchers);
        let watchers = watch(stage, "c");
        let lines: Vec<String> = (0..500)
            .map(|n| format!("LTMC.SESSION.SET c {field} {n}"))
            .chain(["LTMC.SESSION.END c GRACE 0".into()])
            .collect();
        stage.dear_lines(format!("500 large changes and the end for {count} watchers"), &lines);
        stage.leave(watchers);
    }),
    ("waits: watchers of a place", |stage| {
        let count = stage.some(1_000);
        let members = stage.max("context-edits-max").min(1_990);
        let doc: Vec<String> = (0..members).map(|n| format!(r#""k{n:05}":{n}"#)).collect();
        stage.cmd(&["LTMC.CTX.CREATE", "c", "DOC", &format!("{{{}}}", doc.join(","))]);
        let mut watchers = stage.server.clients(count);
        stage.server.block_in_turn(&mut watchers, |_| "LTMC.WATCH 1 c SINCE $ PATH /n BLOCK 0".into());
        let edits: Vec<String> = (0..members).map(|n| format!("SET /k{n:05} 7{n}")).collect();
        let update = format!("LTMC.CTX.UPDATE c a {}", edits.join(" "));
        stage.dear_line(format!("CTX.UPDATE with {members} SET for {count} watchers of another place"), &update);
        stage.leave(watchers);
    }),
    ("waits: locks of many keys", |stage| {
        let (keys, count) = (128, stage.some(4_000));
        let names: Vec<String> = (0..keys).map(|n| format!("k{n}")).collect();
        let names = names.join(" ");
        let mut waiters = stage.server.clients(count);
        stage.run(&format!("LTMC.MLOCK holder {keys} {names} PX 36000000"));
        stage
            .server
            .block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k{} a{n} SHARED PX 36000000 BLOCK 0", n % keys));
        stage.dear_line(format!("UNLOCK of one of {keys} keys for {count} waiters"), "LTMC.UNLOCK k0 holder");
        stage.leave(waiters);
        let count = stage.some(1_000);
        let mut waiters = stage.server.clients(count);
        stage.run(&format!("LTMC.MLOCK other {keys} {} PX 36000000", names.replace('k', "m")));
        let many = names.replace('k', "m");
        stage
            .server
            .block_in_turn(&mut waiters, |n| format!("LTMC.MLOCK b{n} {keys} {many} SHARED PX 36000000 BLOCK 0"));
        stage.fill((1..keys).map(|n| format!("LTMC.UNLOCK m{n} other")));
        stage.dear_line(format!("UNLOCK of the last that {count} MLOCK wait for"), "LTMC.UNLOCK m0 other");
        let all_are_served = || stage.server.info_int("clients", "blocked_clients") == 0;
        crate::harness::wait_until("all of them are served", all_are_served);
        stage.dear_line(format!("MLOCK beside {count} others"), &format!("LTMC.MLOCK last {keys} {many} BLOCK 10"));
    }),
    ("waits: the ends of tasks", |stage| {
        let count = stage.some(4_000);
        stage.fill((0..count).map(|n| format!("LTMC.TASK.ADD f t{n} x")));
        let mut waiters = stage.server.clients(count);
        stage.server.block_in_turn(&mut waiters, |_| "LTMC.TASK.WAIT f BLOCK 0".into());
        stage.dear_line(format!("FLOW.CANCEL that {count} wait for"), "LTMC.FLOW.CANCEL f");
        stage.leave(waiters);
        stage.fill((0..count).map(|n| format!("LTMC.TASK.ADD g t{n} x")));
        let mut waiters = stage.server.clients(count);
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.TASK.WAIT g t{n} BLOCK 0"));
        stage.dear_line(format!("FLOW.CANCEL of {count} tasks that are waited for"), "LTMC.FLOW.CANCEL g");
    }),
    ("waits: remembered requests", |stage| {
        let id = text(250);
        stage.fill((0..stage.some(20_000)).map(|n| format!("LTMC.SESSION.SET s f {n} REQID {id}{n:06}")));
        stage.dear_line("a request beside many that are remembered", &format!("LTMC.SESSION.SET s f x REQID {id}"));
        stage.dear_line("a request when all of them are too old", "LTMC.DEBUG CLOCK 3600000");
        stage.dear_line("the next one", &format!("LTMC.SESSION.SET s f y REQID {id}y"));
    }),
];
