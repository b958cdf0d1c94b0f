//! The size of files and functions.

use super::{assert_none, sources, Source};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];
/// Functions that may be longer (`file:function`), each with its reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// Name, first line and number of lines of each function, as rustfmt lays them out.
pub(super) fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, code) in source.code() {
        let indent = code.len() - code.trim_start().len();
        let words: Vec<&str> = code.trim_start().split(' ').collect();
        let Some(fn_at) = words.iter().position(|word| *word == "fn") else {
            continue;
        };
        let is_head = words[..fn_at]
            .iter()
            .all(|word| word.starts_with("pub") || matches!(*word, "const" | "extern" | "\"C\"" | "unsafe" | "async"));
        if !is_head || words.len() == fn_at + 1 {
            continue;
        }
        let name = words[fn_at + 1].split(['(', '<']).next().unwrap_or("").to_string();
        let close = format!("{}}}", " ".repeat(indent));
        let ends = |line: &String| *line == close || (line.ends_with(';') && line.find(|c| c != ' ') == Some(indent));
        let one_line = code.trim_end().ends_with(['}', ';']);
        let rest = if one_line { Some(0) } else { source.lines[at + 1..].iter().position(ends).map(|n| n + 1) };
        found.push((name, at + 1, rest.unwrap_or(source.lines.len() - at) + 1));
    }
    found
}

#[test]
fn files_and_functions_stay_short() {
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let lines = source.lines.len();
        if lines > FILE_LINES_MAX && !LONG_FILES.iter().any(|(path, _)| *path == source.path) {
            wrong.push(format!("{}: {lines} lines", source.path));
        }
        for (name, line, length) in functions(&source) {
            let known = format!("{}:{name}", source.path);
            if length > FUNCTION_LINES_MAX && !LONG_FUNCTIONS.iter().any(|(path, _)| *path == known) {
                wrong.push(format!("{}:{line}: {name} has {length} lines", source.path));
            }
        }
    }
    assert_none(wrong);
}
