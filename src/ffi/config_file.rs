//! Names in the configuration that no setting has. Redis stops then, and 7.0 does not say which
//! name it is.

use super::api::Ctx;
use crate::command::settings::misspelled::misspelled;
use std::fs;

/// Files that include each other are read to this depth.
const DEPTH_MAX: usize = 8;

/// Logs each unknown `ltmc.` name of the configuration file, of the files that it includes, and of
/// the command line, with the nearest known name.
pub fn warn_of_unknown_names(ctx: Ctx) {
    let path = ctx.server_info("server").text("config_file").unwrap_or_default();
    let file = if path.is_empty() { String::new() } else { read(&path, 0) };
    for unknown in misspelled(&format!("{file}\n{}", command_line())) {
        let text = format!("no setting is called ltmc.{}; the nearest is ltmc.{}", unknown.name, unknown.nearest);
        ctx.log("warning", &text);
    }
}

/// A configuration file with those that it includes. What cannot be read is left out: Redis has
/// said so before.
fn read(path: &str, depth: usize) -> String {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    let included = |line: &str| {
        let mut words = line.split_whitespace();
        let is_include = words.next().is_some_and(|word| word.eq_ignore_ascii_case("include"));
        words.next().filter(|_| is_include).map(|path| path.trim_matches('"').to_string())
    };
    if depth < DEPTH_MAX {
        let paths: Vec<String> = text.lines().filter_map(included).collect();
        paths.iter().for_each(|path| text.push_str(&format!("\n{}", read(path, depth + 1))));
    }
    text
}

/// The options of the command line, one a line.
fn command_line() -> String {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let options = arguments.filter_map(|argument| argument.strip_prefix("--").map(String::from));
    options.collect::<Vec<_>>().join("\n")
}
