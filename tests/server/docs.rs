//! What the reference and redis.conf.example say is what the loaded module does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::Server;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A setting as redis.conf.example describes it.
#[derive(Debug, PartialEq)]
struct Documented {
    default: String,
    unit: String,
    range: String,
    environment: String,
    /// The value after `# ltmc.name`.
    shown: String,
}

/// The settings of redis.conf.example: a line of facts, then the setting commented out.
fn documented_settings() -> BTreeMap<String, Documented> {
    let text = read("redis.conf.example");
    let lines: Vec<&str> = text.lines().collect();
    let mut settings = BTreeMap::new();
    for pair in lines.windows(2) {
        let Some((name, shown)) = pair[1].strip_prefix("# ltmc.").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let fact = |word: &str| {
            let rest = pair[0].split(&format!("{word}: ")).nth(1);
            let value = rest.and_then(|rest| rest.split('.').next());
            value.unwrap_or_else(|| panic!("no {word} above ltmc.{name}")).to_string()
        };
        let setting = Documented {
            default: fact("Default"),
            unit: fact("Unit"),
            range: fact("Range"),
            environment: fact("Environment"),
            shown: shown.to_string(),
        };
        assert!(settings.insert(format!("ltmc.{name}"), setting).is_none(), "ltmc.{name} is there twice");
    }
    settings
}

/// The test of the reference has the table without the module. This one asks a server what the
/// module registered.
#[test]
fn the_reference_has_the_commands_of_the_module() {
    let server = Server::start();
    let mut names = server.run("COMMAND LIST FILTERBY MODULE ltmc").texts();
    names.iter_mut().for_each(|name| *name = name.to_ascii_uppercase());
    // It exists in test builds only.
    names.retain(|name| name != "LTMC.DEBUG");
    names.sort();
    let reference: serde_json::Value =
        serde_json::from_str(&read("src/command/services/reference.json")).expect("the reference is JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_string();
    let commands = reference.as_array().expect("a list");
    let mut listed: Vec<String> = commands.iter().map(|command| text(&command["name"])).collect();
    listed.sort();
    assert_eq!(listed, names);
    for command in commands {
        let name = text(&command["name"]);
        let docs = server.cmd(&["COMMAND", "DOCS", &name]);
        let doc = &docs.array()[1];
        let summary = doc.get("summary").text().to_string();
        assert!(summary.starts_with(&format!("{} Reply: ", text(&command["summary"]))), "{name}: {summary}");
        assert_eq!(doc.get("complexity").text(), text(&command["complexity"]), "{name}");
        assert_eq!(doc.get("since").text(), text(&command["since"]), "{name}");
    }
}

#[test]
fn the_reference_writes_syntax_as_error_messages_do() {
    let server = Server::start();
    let reference = read("src/command/services/README.md");
    for line in [
        "LTMC.LOCK key owner NONSENSE",
        "LTMC.UNLOCK key owner NONSENSE",
        "LTMC.MLOCK owner 1 key NONSENSE",
        "LTMC.REGISTER registry agent NONSENSE",
        "LTMC.AGENT.CLAIM registry PX 1 NONSENSE",
        "LTMC.WATCH 1 key SINCE 0 NONSENSE",
        "LTMC.MSG.SEND mail from ALL payload NONSENSE",
        "LTMC.MSG.RECV mail agent NONSENSE",
    ] {
        let reply = server.run(line);
        let (_, syntax) = reply.error().split_once("syntax: ").expect("a syntax error shows the syntax");
        assert!(reference.contains(&format!("\n{syntax}\n")), "the reference lacks: {syntax}");
    }
}

#[test]
fn the_example_configuration_has_every_setting_and_no_other() {
    let server = Server::start();
    let reply = server.run("CONFIG GET ltmc.*");
    let real: BTreeMap<String, String> =
        reply.pairs().into_iter().map(|(name, value)| (name.text().to_string(), value.text().to_string())).collect();
    let documented: BTreeMap<String, String> = documented_settings()
        .into_iter()
        .inspect(|(name, setting)| assert_eq!(setting.shown, setting.default, "{name}"))
        .map(|(name, setting)| (name, setting.default.trim_matches('"').to_string()))
        .collect();
    assert_eq!(real, documented);
}

#[test]
fn the_example_configuration_gives_the_ranges_that_the_server_enforces() {
    let server = Server::start();
    for (name, setting) in documented_settings() {
        let set = |value: &str| server.cmd(&["CONFIG", "SET", &name, value]);
        let refused = |value: &str| assert!(set(value).is_error(), "{name} takes {value}");
        if let Some((least, most)) = setting.range.split_once(" to ") {
            set(least).ok();
            set(most).ok();
            let number = |text: &str| text.parse::<i64>().expect("a range of whole numbers");
            refused(&(number(least) - 1).to_string());
            refused(&(number(most) + 1).to_string());
            let unit_is_in_name = name.ends_with("-ms");
            assert_eq!(unit_is_in_name, setting.unit == "ms", "the unit of {name}");
        } else if setting.unit == "path" {
            ["some.file", ""].into_iter().for_each(|path| set(path).ok());
            refused("no/such/folder/some.file");
        } else {
            assert_eq!(setting.unit, "word", "{name}");
            setting.range.split(", ").for_each(|word| set(word).ok());
            refused("nonsense");
        }
    }
}

#[test]
fn the_example_configuration_names_the_environment_variables() {
    let other = |setting: &Documented| match setting.range.split_once(" to ") {
        Some((_, most)) => most.to_string(),
        None if setting.unit == "path" => "some.file".to_string(),
        None => setting.range.split(", ").last().unwrap_or_default().to_string(),
    };
    let settings = documented_settings();
    let builder = settings
        .values()
        .fold(Server::builder(), |builder, setting| builder.env(&setting.environment, &other(setting)));
    let server = builder.start();
    for (name, setting) in &settings {
        let value = server.cmd(&["CONFIG", "GET", name]).get(name).text().to_string();
        assert_eq!(value, other(setting), "{name} by {}", setting.environment);
    }
}

#[test]
fn a_server_starts_from_the_example_configuration() {
    let text = read("redis.conf.example");
    // The harness has its own line for the module.
    let active =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("loadmodule"));
    let settings = text.lines().filter_map(|line| line.strip_prefix("# ltmc."));
    let lines = active.map(str::to_string).chain(settings.map(|line| format!("ltmc.{line}")));
    let builder = lines.fold(Server::builder(), |builder, line| {
        let (name, value) = line.split_once(' ').expect("a name and a value");
        builder.arg(name, value)
    });
    let server = builder.start();
    assert!(server.run("LTMC.LOCK key me").int() > 0);
    assert!(!server.log().contains("may evict"));
}
