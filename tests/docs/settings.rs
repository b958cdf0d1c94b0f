//! `redis.conf.example` and the page of the settings are made from their table. Other pages and the
//! code name only settings that exist.

use crate::{file, section};
use ltmc::command::settings::{Row, SettingType, SETTINGS};
use std::fs;
use std::path::Path;

/// Longest line of text in redis.conf.example.
const LINE_MAX: usize = 100;

/// The rows in their groups, in the order of the table.
fn groups() -> impl Iterator<Item = &'static [Row]> {
    SETTINGS.chunk_by(|one, next| one.group == next.group)
}

/// The allowed values. Of words, the default comes first.
fn range(row: &Row) -> String {
    match row.kind {
        SettingType::Number { min, max, .. } => format!("{min} to {max}"),
        SettingType::Word(words) => words.join(", "),
        SettingType::Path => "a path".into(),
        SettingType::Switch { default: true } => "yes, no".into(),
        SettingType::Switch { default: false } => "no, yes".into(),
    }
}

fn default(row: &Row) -> String {
    Some(row.show(row.default_value())).filter(|shown| !shown.is_empty()).unwrap_or_else(|| "\"\"".into())
}

/// What a setting does, and what more of it costs.
fn text(row: &Row) -> String {
    row.costs.map_or_else(|| row.text.into(), |costs| format!("{} A higher value costs {costs}.", row.text))
}

/// The text in comment lines.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("the first line");
        if line.len() + 1 + word.len() > LINE_MAX {
            lines.push(format!("# {word}"));
        } else {
            *line += &format!(" {word}");
        }
    }
    lines.join("\n")
}

#[test]
fn the_example_configuration_has_all_settings() {
    let mut made = String::new();
    for group in groups() {
        made += &format!("# --- {} ---\n\n", group[0].group);
        for row in group {
            let unit = match row.kind {
                SettingType::Number { unit, .. } => unit,
                SettingType::Path => "path",
                SettingType::Word(_) | SettingType::Switch { .. } => "word",
            };
            let (text, name, default, range) = (comment(&text(row)), row.name, default(row), range(row));
            made += &format!(
                "{text}\n# Default: {default}. Unit: {unit}. Range: {range}. Environment: {}.\n",
                row.environment
            );
            made += &format!("# ltmc.{name} {default}\n\n");
        }
    }
    section("redis.conf.example", "settings", &made);
}

/// A number of bytes in the largest unit that divides it, unless that is bytes.
fn in_binary_unit(bytes: i64) -> Option<String> {
    let units = ["TiB", "GiB", "MiB", "KiB"].into_iter().zip([40, 30, 20, 10]);
    let mut fitting = units.filter(|(_, shift)| bytes > 0 && bytes % (1 << shift) == 0);
    fitting.next().map(|(unit, shift)| format!("{} {unit}", bytes >> shift))
}

/// The default of a number. Bytes are shown in a larger unit, too.
fn shown_number(row: &Row) -> String {
    let shown = match row.kind {
        SettingType::Number { unit: "bytes", default, .. } => in_binary_unit(default),
        _ => None,
    };
    default(row) + &shown.map_or_else(String::new, |shown| format!(" ({shown})"))
}

fn table_row(row: &Row) -> String {
    let (range, default) = (range(row), default(row));
    let (values, default) = match row.kind {
        SettingType::Number { unit, .. } => (format!("{range} {unit}"), shown_number(row)),
        SettingType::Path => (range, format!("`{default}`")),
        _ => (format!("`{}`", range.replace(", ", "`, `")), format!("`{default}`")),
    };
    let text = text(row).replace('|', "\\|");
    format!("| `ltmc.{}` | {text} | {values} | {default} | `{}` |\n", row.name, row.environment)
}

#[test]
fn the_page_of_the_settings_has_all_of_them() {
    let mut made = String::new();
    for group in groups() {
        let head = "| setting | what it does | values | default | environment |\n|---|---|---|---|---|\n";
        let rows: String = group.iter().map(table_row).collect();
        made += &format!("## {}\n\n{head}{rows}\n", group[0].group);
    }
    section("src/command/settings/README.md", "settings", &made);
}

#[test]
fn the_page_of_the_operator_has_what_higher_bounds_cost() {
    let mut made = String::from("| setting | default | what a higher value costs |\n|---|---|---|\n");
    for (row, costs) in SETTINGS.iter().filter_map(|row| Some((row, row.costs?))) {
        let SettingType::Number { unit, .. } = row.kind else { panic!("{} is no bound", row.name) };
        made += &format!("| `ltmc.{}` | {} {unit} | {costs} |\n", row.name, shown_number(row));
    }
    section("scripts/README.md", "bounds", &made);
}

#[test]
fn a_group_of_settings_stands_together_and_texts_are_sentences() {
    let mut titles: Vec<&str> = groups().map(|group| group[0].group).collect();
    titles.sort_unstable();
    let count = titles.len();
    titles.dedup();
    assert_eq!(titles.len(), count, "a group is split: {titles:?}");
    for row in SETTINGS {
        assert!(row.text.ends_with('.') && !row.text.contains("  "), "{}: {}", row.name, row.text);
        assert!(row.text.starts_with(|c: char| c.is_ascii_uppercase()), "{}: {}", row.name, row.text);
    }
}

/// Path and text of each file below a folder whose name has this ending.
fn texts(folder: &Path, ending: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            texts(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push((path.display().to_string(), fs::read_to_string(&path).expect("a text")));
        }
    }
}

/// The names that follow `prefix` in a text.
fn named<'a>(text: &'a str, prefix: &'a str, is_name: fn(char) -> bool) -> impl Iterator<Item = &'a str> {
    text.split(prefix).skip(1).map(move |rest| rest.split(|c| !is_name(c)).next().unwrap_or_default())
}

#[test]
fn every_setting_is_read_somewhere() {
    let mut sources = Vec::new();
    texts(&file("src"), ".rs", &mut sources);
    let is_ident = |c: char| c.is_alphanumeric();
    let is_table = |path: &str| path.ends_with("settings/table.rs");
    let read = sources.iter().filter(|(path, _)| !is_table(path));
    let read: Vec<&str> = read.flat_map(|(_, text)| named(text, "Setting::", is_ident)).collect();
    for row in SETTINGS {
        assert!(read.contains(&format!("{:?}", row.setting).as_str()), "nothing reads ltmc.{}", row.name);
    }
}

#[test]
fn code_and_pages_name_only_settings_that_exist() {
    let (mut sources, mut pages) = (Vec::new(), Vec::new());
    texts(&file("src"), ".rs", &mut sources);
    texts(&file("."), ".md", &mut pages);
    let is_kebab = |c: char| c.is_ascii_lowercase() || c == '-';
    let is_setting = |name: &str| SETTINGS.iter().any(|row| row.name == name);
    for (path, text) in &sources {
        named(text, "Error::limit(\"", is_kebab).for_each(|name| assert!(is_setting(name), "{path}: {name}"));
    }
    for (path, text) in pages.iter().chain(&sources) {
        // Without a hyphen it is a command in lower case.
        let names = named(text, "ltmc.", is_kebab).filter(|name| name.contains('-'));
        names.for_each(|name| assert!(is_setting(name), "{path}: ltmc.{name}"));
    }
}
