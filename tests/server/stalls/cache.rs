//! Tool caches: many answers, large arguments.

pub const SCENES: &[super::Scene] = &[
    ("cache: many answers", |stage| {
        stage.run("LTMC.CACHE.CONFIG c MAXBYTES 4000000000");
        let count = stage.max("cache-entries-max").min(300_000);
        stage.fill((0..count).map(|n| format!("LTMC.CACHE.PUT c tool {n} value DEPS 1 dep")));
        stage.dear_line(format!("CACHE.SCAN COUNT {count}"), "LTMC.CACHE.SCAN c 0 COUNT 1000000");
        stage.dear_line("CACHE.TOP", "LTMC.CACHE.TOP c LIMIT 1000");
        stage.dear_line("CACHE.STATS", "LTMC.CACHE.STATS c");
        stage.dear_line(format!("CACHE.INVALIDATE DEP SOFT of {count}"), "LTMC.CACHE.INVALIDATE c DEP 1 dep SOFT");
        stage.dear_line(format!("CACHE.CONFIG POLICY with {count}"), "LTMC.CACHE.CONFIG c POLICY LRU");
        stage.dear_line(format!("CACHE.CONFIG MAXENTRIES 1 of {count}"), "LTMC.CACHE.CONFIG c MAXENTRIES 1");
    }),
    ("cache: invalidate", |stage| {
        stage.run("LTMC.CACHE.CONFIG c MAXBYTES 4000000000");
        let count = stage.max("cache-entries-max").min(300_000);
        stage.fill((0..count).map(|n| format!("LTMC.CACHE.PUT c tool {n} value DEPS 1 dep")));
        stage.dear_line(format!("CACHE.INVALIDATE DEP of {count}"), "LTMC.CACHE.INVALIDATE c DEP 1 dep");
    }),
    ("cache: tickets", |stage| {
        let count = stage.max("cache-tickets-max");
        stage.fill((0..count).map(|n| format!("LTMC.CACHE.GET c tool {n} LEASE 3600000")));
        stage.dear_line(format!("CACHE.INVALIDATE ALL with {count} tickets"), "LTMC.CACHE.INVALIDATE c ALL");
    }),
    ("cache: large", |stage| {
        let args = format!("{{\"a\":[{}]}}", vec!["1"; 400_000].join(","));
        stage.dear("CACHE.GET with arguments of 800000 bytes", &["LTMC.CACHE.GET", "c", "tool", &args]);
        let value = super::stage::text(60_000_000);
        stage.dear("CACHE.PUT of 60000000 bytes", &["LTMC.CACHE.PUT", "c", "tool", "1", &value]);
        stage.dear("CACHE.GET of 60000000 bytes", &["LTMC.CACHE.GET", "c", "tool", "1"]);
    }),
];
