//! Pages that are made from the sources. Each is compared with what it should be; `make docs`
//! writes those that differ.

#![cfg(not(feature = "module"))]

#[path = "../model/held.rs"]
mod held;
#[path = "../model/host.rs"]
#[allow(dead_code)] // only a table of some host is needed here
mod host;
mod links;
#[path = "../model/original.rs"]
#[allow(dead_code)] // only a table of some host is needed here
mod original;
mod reference;
mod roles;
mod settings;
mod work;

use std::fs;
use std::path::PathBuf;

/// Set by `make docs`.
const WRITES: &str = "LTMC_DOCS_WRITE";

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file that is made from the sources as a whole.
#[track_caller]
pub fn whole(path: &str, made: &str) {
    let there = fs::read_to_string(file(path)).unwrap_or_default();
    if there == made {
        return;
    }
    if std::env::var_os(WRITES).is_some() {
        fs::write(file(path), made).expect(path);
        return println!("{path} is up to date now");
    }
    let first = there.lines().zip(made.lines()).position(|(there, made)| there != made);
    let line = first.unwrap_or_else(|| there.lines().count().min(made.lines().count()));
    let shown = |text: &str| text.lines().nth(line).unwrap_or("(its end)").to_string();
    panic!(
        "{path} is old from line {}: run make docs\n  is:     {}\n  should: {}",
        line + 1,
        shown(&there),
        shown(made)
    );
}

/// A part of a file, between the lines `<!-- name: made by make docs -->` and `<!-- end of name
/// -->`. Where `#` begins a comment, it precedes them.
#[track_caller]
pub fn section(path: &str, name: &str, made: &str) {
    let there = fs::read_to_string(file(path)).expect(path);
    let (first, last) = (format!("<!-- {name}: made by make docs -->\n"), format!("<!-- end of {name} -->\n"));
    let start = there.find(&first).unwrap_or_else(|| panic!("{path} lacks the line {first}")) + first.len();
    let end = start + there[start..].find(&last).unwrap_or_else(|| panic!("{path} lacks the line {last}"));
    let end = there[..end].rfind('\n').map_or(0, |at| at + 1);
    whole(path, &format!("{}\n{}\n\n{}", &there[..start], made.trim_end(), &there[end..]));
}
