//! Tool caches: many answers, many labels, many waiters, large arguments.

use super::stage::{text, Stage};

/// How many labels an answer has at most.
const LABELS: usize = 128;

fn labels(kind: &str) -> String {
    (0..LABELS).map(|n| format!("{kind}-{n}")).collect::<Vec<_>>().join(" ")
}

fn answers(stage: &Stage) -> usize {
    let count = stage.max("cache-entries-max");
    stage.fill((0..count).map(|n| format!("LTMC.CACHE.PUT c tool {n} value DEPS 1 dep")));
    count
}

pub const SCENES: &[super::Scene] = &[
    ("cache: many answers", |stage| {
        let count = answers(stage);
        stage.dear_line(format!("CACHE.SCAN COUNT {count}"), "LTMC.CACHE.SCAN c 0 COUNT 1000000");
        stage.fill((0..stage.some(20_000)).map(|n| format!("LTMC.CACHE.PEEK c tool {}", n % count)));
        stage.dear_line("CACHE.TOP", "LTMC.CACHE.TOP c LIMIT 1000");
        stage.dear_line("CACHE.STATS", "LTMC.CACHE.STATS c");
        stage.dear_line(format!("CACHE.INVALIDATE DEP SOFT of {count}"), "LTMC.CACHE.INVALIDATE c DEP 1 dep SOFT");
        stage.dear_line(format!("CACHE.INVALIDATE DEP of {count}"), "LTMC.CACHE.INVALIDATE c DEP 1 dep");
        let count = answers(stage);
        stage.dear_line(format!("CACHE.CONFIG MAXENTRIES 1 of {count}"), "LTMC.CACHE.CONFIG c MAXENTRIES 1");
    }),
    ("cache: many labels", |stage| {
        let (deps, tags) = (labels("dep"), labels("tag"));
        let put = |n: usize| format!("LTMC.CACHE.PUT c tool {n} v DEPS {LABELS} {deps} TAGS {LABELS} {tags}");
        let count = stage.max("cache-entries-max");
        stage.fill((0..count).map(put));
        let kept = stage.run("LTMC.CACHE.STATS c").get("entries").int();
        stage.dear_line(format!("CACHE.PUT with {LABELS} labels twice"), &put(count));
        stage.dear_line(
            format!("CACHE.INVALIDATE TAG SOFT of {LABELS} labels of {kept}"),
            &format!("LTMC.CACHE.INVALIDATE c TAG {LABELS} {tags} SOFT"),
        );
        stage.dear_line(
            format!("CACHE.INVALIDATE DEP SOFT of {LABELS} labels of {kept}"),
            &format!("LTMC.CACHE.INVALIDATE c DEP {LABELS} {deps} SOFT"),
        );
        stage.dear_line(
            format!("CACHE.INVALIDATE DEP of {LABELS} labels of {kept}"),
            &format!("LTMC.CACHE.INVALIDATE c DEP {LABELS} {deps}"),
        );
    }),
    ("cache: many invalidations", |stage| {
        let count = stage.max("cache-entries-max");
        stage.fill((0..count).map(|n| format!("LTMC.CACHE.PUT c tool {n} v DEPS 3 dep all d{}", n % 200)));
        let mut client = stage.server.client();
        let lines: Vec<String> = (0..200).map(|n| format!("LTMC.CACHE.INVALIDATE c DEP 1 d{n} SOFT")).collect();
        client.pipeline(&lines);
        stage.dear_line("CACHE.INVALIDATE DEP behind 200 others", "LTMC.CACHE.INVALIDATE c DEP 2 dep all");
    }),
    ("cache: tickets", |stage| {
        let count = stage.max("cache-tickets-max");
        stage.fill((0..count).map(|n| format!("LTMC.CACHE.GET c tool {n} LEASE 3600000")));
        stage.dear_line(format!("CACHE.INVALIDATE ALL with {count} tickets"), "LTMC.CACHE.INVALIDATE c ALL");
        stage.fill((0..count).map(|n| format!("LTMC.CACHE.GET c tool {n} LEASE 3600000 AGENT a")));
        let agents = labels("dep");
        stage.dear_line(
            format!("CACHE.INVALIDATE DEP of {LABELS} with {count} tickets"),
            &format!("LTMC.CACHE.INVALIDATE c DEP {LABELS} {agents}"),
        );
        stage.dear_line(format!("{count} tickets expire"), "LTMC.DEBUG CLOCK 3600000");
    }),
    ("cache: waiters", |stage| {
        let (count, bytes) = (stage.some(2_000), 1 << 20);
        stage.run("LTMC.CACHE.GET c tool 1 LEASE 3600000");
        let mut waiters = stage.server.clients(count);
        stage.server.block_in_turn(&mut waiters, |_| "LTMC.CACHE.GET c tool 1 BLOCK 0".into());
        stage.dear_line(format!("CACHE.PUT to {count} waiters"), "LTMC.CACHE.PUT c tool 1 v");
        let mut waiters = stage.server.clients(100);
        stage.run("LTMC.CACHE.GET c tool 2 LEASE 3600000");
        stage.server.block_in_turn(&mut waiters, |_| "LTMC.CACHE.GET c tool 2 BLOCK 0".into());
        let value = text(bytes);
        stage.dear(format!("CACHE.PUT of {bytes} bytes to 100 waiters"), &["LTMC.CACHE.PUT", "c", "tool", "2", &value]);
        let mut waiters = stage.server.clients(count);
        (0..count).for_each(|n| drop(stage.run(&format!("LTMC.CACHE.GET c tool w{n} LEASE 3600000 RAW"))));
        stage.server.block_in_turn(&mut waiters, |n| format!("LTMC.CACHE.GET c tool w{n} RAW BLOCK 0"));
        stage.dear_line(format!("CACHE.INVALIDATE ALL with {count} waiters"), "LTMC.CACHE.INVALIDATE c ALL");
    }),
    ("cache: large", |stage| {
        let bytes = stage.max("cache-args-bytes-max");
        let args = format!("{{\"a\":[{}]}}", vec!["1"; (bytes - 10) / 2].join(","));
        stage.dear(format!("CACHE.GET with a list of {bytes} bytes"), &["LTMC.CACHE.GET", "c", "tool", &args]);
        let members: Vec<String> = (0..bytes / 12).map(|n| format!("\"{:05}\":1e2", (n * 7919) % 99_991)).collect();
        let args = format!("{{{}}}", members.join(","));
        stage.dear(
            format!("CACHE.GET with an object of {bytes} bytes"),
            &["LTMC.CACHE.GET", "c", "tool", &args[..args.len()]],
        );
        let args = format!("\"{}\"", "\\u00e9".repeat((bytes - 2) / 6));
        stage.dear(format!("CACHE.GET with a text of {bytes} bytes"), &["LTMC.CACHE.GET", "c", "tool", &args]);
        let args = format!("[{}]", vec!["1e2"; (bytes - 2) / 4].join(","));
        stage.dear(format!("CACHE.GET with numbers of {bytes} bytes"), &["LTMC.CACHE.GET", "c", "tool", &args]);
        let deep = 60;
        let args = format!("{}{}{}", "[".repeat(deep), vec!["1.5"; bytes / 5].join(","), "]".repeat(deep));
        stage.dear(format!("CACHE.GET with nested lists of {bytes} bytes"), &["LTMC.CACHE.GET", "c", "tool", &args]);
        let value = text(stage.max("cache-answer-bytes-max"));
        let bytes = value.len();
        stage.fill((0..stage.some(9_000)).map(|n| format!("LTMC.CACHE.PUT c small {n} {}", text(7_000))));
        stage.dear(format!("CACHE.PUT of {bytes} bytes"), &["LTMC.CACHE.PUT", "c", "tool", "1", &value]);
        stage.dear_line(format!("CACHE.GET of {bytes} bytes"), "LTMC.CACHE.GET c tool 1");
    }),
];
