//! Registries: many agents, many capabilities and versions.

use super::stage::Stage;

fn agents(stage: &Stage) -> usize {
    stage.max("registry-agents-max").min(300_000)
}

pub const SCENES: &[super::Scene] = &[
    ("registry: many agents", |stage| {
        let count = agents(stage);
        stage.fill((0..count).map(|n| format!("LTMC.REGISTER r agent-{n} CAPS 2 all x@1.{n} PX 3600000")));
        stage.dear_line(format!("AGENT.FIND of {count}"), "LTMC.AGENT.FIND r LIMIT 1000000");
        stage.dear_line(format!("AGENT.FIND WITHINFO of {count}"), "LTMC.AGENT.FIND r WITHINFO LIMIT 1000000");
        stage.dear_line(
            format!("AGENT.FIND SORT RANDOM of {count}"),
            "LTMC.AGENT.FIND r CAPS 1 all SORT RANDOM LIMIT 1000000",
        );
        let different: Vec<String> = (0..64).map(|n| format!("x@>=1.{n}")).collect();
        stage.dear_line(
            format!("AGENT.FIND ANYCAP of 64 over {count} versions"),
            &format!("LTMC.AGENT.FIND r ANYCAP 64 {}", different.join(" ")),
        );
        stage.dear_line(
            format!("AGENT.CLAIM ANYCAP of 64 over {count} versions"),
            &format!("LTMC.AGENT.CLAIM r PX 10000 ANYCAP 64 {}", different.join(" ")),
        );
        stage.dear_line(format!("AGENT.LIST of {count}"), "LTMC.AGENT.LIST r");
        stage.dear_line(format!("AGENT.LIST CURSOR of {count}"), "LTMC.AGENT.LIST r CURSOR 0 COUNT 1000000");
        stage.dear_line(format!("AGENT.STATS of {count}"), "LTMC.AGENT.STATS r");
        stage.dear_line(format!("MSG.SEND CAP to {count}"), "LTMC.MSG.SEND mail a CAP all REGISTRY r hello");
        stage.dear_line(format!("COPY of a registry of {count}"), "COPY r copy");
    }),
    ("registry: all die", |stage| {
        let count = agents(stage);
        stage.run("CONFIG SET ltmc.agent-hold-share-percent 0");
        stage.fill((0..count).map(|n| format!("LTMC.REGISTER r agent-{n} PX 600000")));
        stage.dear_line(format!("{count} agents fall silent"), "LTMC.DEBUG CLOCK 600000");
        stage.dear_line(format!("{count} agents die"), "LTMC.DEBUG CLOCK 1300000");
        stage.dear_line(format!("{count} agents are removed"), "LTMC.DEBUG CLOCK 1400000");
    }),
];
