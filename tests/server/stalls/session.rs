//! Sessions: many fields, large fields.

use super::context::object;
use super::stage::text;

pub const SCENES: &[super::Scene] = &[
    ("session: many fields", |stage| {
        let fields = stage.max("session-fields-max").min(500_000);
        let state = object(fields, |_| r#""v""#.into());
        stage.dear(format!("SESSION.CREATE STATE of {fields} fields"), &["LTMC.SESSION.CREATE", "s", "STATE", &state]);
        stage.dear_line(format!("SESSION.GET of all {fields}"), "LTMC.SESSION.GET s");
        let checkpoint = stage.run("LTMC.SESSION.CHECKPOINT s").int();
        let set = named(fields, "LTMC.SESSION.SET", Some("w"));
        stage.dear(format!("SESSION.SET of {fields} fields"), &set);
        stage.dear_line(format!("SESSION.RESTORE of {fields} fields"), &format!("LTMC.SESSION.RESTORE s {checkpoint}"));
        stage.dear_line("SESSION.FORK AT", &format!("LTMC.SESSION.FORK s at AT {checkpoint}"));
        stage.run("LTMC.SESSION.FORK s fork");
        stage.dear_line("the first SESSION.SET behind FORK", "LTMC.SESSION.SET fork member-1 x");
        stage.dear(format!("SESSION.DEL of {fields} fields"), &named(fields, "LTMC.SESSION.DEL", None));
    }),
    ("session: one large field", |stage| {
        let bytes = stage.max("session-bytes-max") * 9 / 10;
        let value = text(bytes);
        stage.dear(format!("SESSION.SET of {bytes} bytes"), &["LTMC.SESSION.SET", "s", "f", &value]);
        stage.dear_line(format!("SESSION.GET of {bytes} bytes"), "LTMC.SESSION.GET s f");
    }),
];

fn named(fields: usize, command: &str, value: Option<&str>) -> Vec<String> {
    let mut args = vec![command.to_string(), "s".into()];
    for field in 0..fields {
        args.push(format!("member-{field}"));
        args.extend(value.map(String::from));
    }
    args
}
