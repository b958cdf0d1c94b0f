//! Sessions: many fields, large fields, long histories, many resources.

use super::context::object;
use super::stage::{text, Stage};
use crate::harness::wait_until;

pub const SCENES: &[super::Scene] = &[
    ("session: many fields", |stage| {
        let fields = stage.max("session-fields-max");
        let state = object(fields, |_| r#""v""#.into());
        stage.dear(format!("SESSION.CREATE STATE of {fields} fields"), &["LTMC.SESSION.CREATE", "s", "STATE", &state]);
        stage.dear_line(format!("SESSION.GET of all {fields}"), "LTMC.SESSION.GET s");
        let names = named(stage, fields, "LTMC.SESSION.GET", None);
        stage.dear(format!("SESSION.GET of {fields} names"), &names);
        let checkpoint = stage.run("LTMC.SESSION.CHECKPOINT s").int();
        let set = named(stage, fields, "LTMC.SESSION.SET", Some("w"));
        stage.dear(format!("SESSION.SET of {fields} fields"), &set);
        stage.dear(format!("SESSION.SET of {fields} equal fields"), &set);
        stage.dear_line(format!("SESSION.RESTORE of {fields} fields"), &format!("LTMC.SESSION.RESTORE s {checkpoint}"));
        stage.dear_line("SESSION.FORK AT", &format!("LTMC.SESSION.FORK s at AT {checkpoint}"));
        stage.run("LTMC.SESSION.FORK s fork");
        stage.dear_line("the first SESSION.SET behind FORK", "LTMC.SESSION.SET fork member-1 x");
        stage.dear(format!("SESSION.DEL of {fields} fields"), &named(stage, fields, "LTMC.SESSION.DEL", None));
    }),
    ("session: long names", |stage| {
        let fields = stage.max("session-fields-max");
        let rest = text(stage.max("session-bytes-max") / fields - 20);
        let set = |value: &str| {
            let mut args = vec!["LTMC.SESSION.SET".to_string(), "s".into()];
            (0..fields).for_each(|field| args.extend([format!("{rest}{field}"), value.into()]));
            args
        };
        stage.dear(format!("SESSION.SET of {fields} long names"), &set("v"));
        let checkpoint = stage.run("LTMC.SESSION.CHECKPOINT s").int();
        stage.dear(format!("SESSION.SET of {fields} long names, again"), &set("w"));
        stage.dear_line("SESSION.RESTORE of them", &format!("LTMC.SESSION.RESTORE s {checkpoint}"));
        stage.dear_line("SESSION.GET of them", "LTMC.SESSION.GET s");
        stage.dear_line("SESSION.FORK AT of them", &format!("LTMC.SESSION.FORK s at AT {checkpoint}"));
    }),
    ("session: the longest names", |stage| {
        let names = longest_names(stage);
        let state =
            format!("{{{}}}", names.iter().map(|name| format!(r#""{name}":"v""#)).collect::<Vec<_>>().join(","));
        stage.dear(
            format!("SESSION.CREATE STATE with {} names of 1 KB", names.len()),
            &["LTMC.SESSION.CREATE", "s", "STATE", &state],
        );
        stage.dear("SESSION.SET of them", &with_values(&names, "w"));
        let checkpoint = stage.run("LTMC.SESSION.CHECKPOINT s").int();
        stage.dear("SESSION.SET of them, again", &with_values(&names, "x"));
        stage.dear("SESSION.SET of them, the same", &with_values(&names, "x"));
        stage.run("LTMC.SESSION.FORK s fork");
        stage.dear_line("the first SESSION.SET behind FORK", "LTMC.SESSION.SET fork f x");
        stage.dear_line("SESSION.RESTORE of them", &format!("LTMC.SESSION.RESTORE s {checkpoint}"));
        let delete: Vec<String> = ["LTMC.SESSION.DEL", "s"].into_iter().map(String::from).chain(names).collect();
        stage.dear("SESSION.DEL of them", &delete);
        let again: Vec<String> = longest_names(stage);
        stage.dear("SESSION.SET of them, new", &with_values(&again, "y"));
    }),
    ("session: fields that come and go", |stage| {
        let fields = stage.max("session-fields-max") - 1;
        stage.run("LTMC.SESSION.SET s f v");
        let checkpoint = stage.run("LTMC.SESSION.CHECKPOINT s PIN").int();
        // What has come and gone is part of the way back. With more, the history is full.
        for round in 0..6 {
            let names: Vec<String> = (0..fields).map(|field| format!("member-{round}-{field}")).collect();
            let delete = ["LTMC.SESSION.DEL", "s"].into_iter().map(String::from).chain(names.iter().cloned());
            stage.cmd(&with_values(&names, "v"));
            stage.cmd(&delete.collect::<Vec<_>>());
        }
        stage.dear_line(
            "SESSION.FORK AT, beyond it fields came and went",
            &format!("LTMC.SESSION.FORK s at AT {checkpoint}"),
        );
        stage.run("LTMC.SESSION.SET s f w");
        stage.dear_line(
            "SESSION.RESTORE, beyond it fields came and went",
            &format!("LTMC.SESSION.RESTORE s {checkpoint}"),
        );
        stage.dear_line("SESSION.PRUNE of it", "LTMC.SESSION.PRUNE s KEEPLAST 0");
    }),
    ("session: a long history", |stage| {
        let fields = stage.max("session-fields-max");
        stage.cmd(&named(stage, fields, "LTMC.SESSION.SET", Some("v")));
        let checkpoint = stage.run("LTMC.SESSION.CHECKPOINT s PIN").int();
        let mut versions = 1;
        while stage.run("LTMC.SESSION.CHECKPOINTS s").array().len() == 1 && versions < stage.some(300) / 3 {
            stage.cmd(&named(stage, fields, "LTMC.SESSION.SET", Some(&format!("{versions}"))));
            versions += 1;
        }
        stage.dear_line(format!("SESSION.SET IFVERSION 1 of {versions}"), "LTMC.SESSION.SET s member-1 x IFVERSION 1");
        stage.dear_line(
            format!("SESSION.FORK AT over {versions} versions"),
            &format!("LTMC.SESSION.FORK s at AT {checkpoint}"),
        );
        stage.dear_line(
            format!("SESSION.RESTORE over {versions} versions"),
            &format!("LTMC.SESSION.RESTORE s {checkpoint}"),
        );
    }),
    ("session: checkpoints", |stage| {
        let count = stage.max("checkpoints-max");
        stage.fill((0..count).map(|n| format!("LTMC.SESSION.SET s f {n}")));
        stage.fill(
            (0..count).flat_map(|n| {
                [format!("LTMC.SESSION.SET s f {n}"), format!("LTMC.SESSION.CHECKPOINT s NAME name-{n}")]
            }),
        );
        stage.dear_line(format!("SESSION.CHECKPOINTS of {count}"), "LTMC.SESSION.CHECKPOINTS s CURSOR 0 COUNT 100000");
        stage.dear_line(format!("SESSION.RESTORE the oldest of {count}"), "LTMC.SESSION.RESTORE s name-0");
        stage.dear_line(format!("SESSION.RESTORE none of {count}"), "LTMC.SESSION.RESTORE s nothing");
        stage.dear_line(format!("SESSION.PRUNE DRYRUN of {count}"), "LTMC.SESSION.PRUNE s KEEPLAST 1 DRYRUN");
        stage.dear_line(format!("SESSION.PRUNE of {count}"), "LTMC.SESSION.PRUNE s KEEPLAST 1");
    }),
    ("session: resources and participants", |stage| {
        let (count, people) = (stage.max("session-resources-max"), stage.max("participants-max"));
        let ids: Vec<String> = (0..people).map(|n| format!("agent-{n}")).collect();
        stage.run("LTMC.SESSION.SET s f v");
        stage.dear_line(
            format!("SESSION.CREATE with {people} participants"),
            &format!("LTMC.SESSION.CREATE other PARTICIPANTS {people} {}", ids.join(" ")),
        );
        let rest = text(stage.max("session-bytes-max") / count - 20);
        let own: Vec<String> = (0..count).map(|n| format!("{rest}{n}")).collect();
        let own: Vec<&str> = ["LTMC.SESSION.OWN", "s"].into_iter().chain(own.iter().map(String::as_str)).collect();
        stage.dear(format!("SESSION.OWN of {count}"), &own);
        stage.dear(format!("SESSION.OWN of {count} by another"), &[&own[..], &["AGENT", "a"]].concat());
        stage.dear_line(format!("SESSION.INFO with {count} resources"), "LTMC.SESSION.INFO s");
        stage.dear_line(format!("SESSION.END with {count} resources"), "LTMC.SESSION.END s GRACE 0");
        let is_over = |line: &str| !stage.server.run(line).is_error();
        wait_until("its resources are given back", || is_over("LTMC.SESSION.SET s f v PX 3600000"));
        stage.cmd(&own);
        stage.dear_line(format!("a session with {count} resources expires"), "LTMC.DEBUG CLOCK 3600000");
        wait_until("they are given back again", || !stage.server.run("LTMC.SESSION.SET s f v").is_error());
        stage.cmd(&own);
        let mut disown = own.clone();
        disown[0] = "LTMC.SESSION.DISOWN";
        stage.dear(format!("SESSION.DISOWN of {count}"), &disown);
    }),
    ("session: one large field", |stage| {
        let bytes = stage.max("session-bytes-max") * 9 / 10;
        let value = text(bytes);
        stage.dear(format!("SESSION.SET of {bytes} bytes"), &["LTMC.SESSION.SET", "s", "f", &value]);
        stage.dear_line(format!("SESSION.GET of {bytes} bytes"), "LTMC.SESSION.GET s f");
        let checkpoint = stage.run("LTMC.SESSION.CHECKPOINT s").int();
        stage.run("LTMC.SESSION.SET s f v");
        stage.dear_line(format!("SESSION.RESTORE of {bytes} bytes"), &format!("LTMC.SESSION.RESTORE s {checkpoint}"));
        stage
            .dear_line(format!("SESSION.FORK AT of {bytes} bytes"), &format!("LTMC.SESSION.FORK s at AT {checkpoint}"));
    }),
];

/// As many names of the greatest length as fit into a session. They differ at their ends.
fn longest_names(stage: &Stage) -> Vec<String> {
    const NAME_BYTES: usize = 1024;
    let count = stage.max("session-bytes-max") / (NAME_BYTES + 8);
    (0..count).map(|n| format!("{}{n:06}", text(NAME_BYTES - 6))).collect()
}

fn with_values(names: &[String], value: &str) -> Vec<String> {
    let pairs = names.iter().flat_map(|name| [name.clone(), value.to_string()]);
    ["LTMC.SESSION.SET", "s"].into_iter().map(String::from).chain(pairs).collect()
}

fn named(stage: &Stage, fields: usize, command: &str, value: Option<&str>) -> Vec<String> {
    let mut args = vec![command.to_string(), "s".into()];
    for field in 0..fields.min(stage.max("arguments-max") - 2) {
        args.push(format!("member-{field}"));
        args.extend(value.map(String::from));
    }
    args
}
