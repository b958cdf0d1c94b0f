//! Every link of a page leads somewhere, and no page cites a file that is not here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Longest front page, lines.
const README_LINES_MAX: usize = 250;

/// Notes that are not part of the repository. The pages hold what is needed of them.
const NOT_HERE: &[&str] = &["DESIGN", "SPEED.md", "STALLS.md", "REDIS-NOTES", "LAYOUT.md", "STYLE.md"];

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                collect(&path, found);
            }
        } else {
            let path = path.strip_prefix(top()).expect("below the top");
            found.insert(path.to_string_lossy().replace('\\', "/"));
        }
    }
}

/// The files of the repository, from its top, with `/`.
fn files() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(&top(), &mut found);
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pages() -> Vec<(String, String)> {
    let pages = files().into_iter().filter(|path| path.ends_with(".md"));
    pages.map(|path| (path.clone(), read(&path))).collect()
}

/// The lines that are not code, numbered.
fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let lines = page.lines().enumerate().filter(|(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.map(|(at, line)| (at + 1, line)).collect()
}

/// What a line links to: the targets in `](...)` outside of code.
fn links(line: &str) -> Vec<&str> {
    let parts = line.split("](").skip(1);
    parts.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).into_iter().filter(|(_, line)| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(|(_, line)| anchor(line)).collect()
}

/// Where a link of a page leads, from the top.
fn target(page: &str, link: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in Path::new(page).parent().unwrap_or(Path::new("")).join(link).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    parts.join("/")
}

/// What is wrong with a link, if anything.
fn fault(page: &str, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { page.to_string() } else { target(page, path) };
    if !top().join(&target).exists() {
        return Some(format!("there is no {target}"));
    }
    let is_there = anchor.is_empty() || anchors(&read(&target)).contains(anchor);
    (!is_there).then(|| format!("{target} has no heading #{anchor}"))
}

#[track_caller]
fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut wrong = Vec::new();
    for (path, page) in pages() {
        for (at, line) in prose(&page) {
            let faults = links(line).into_iter().filter_map(|link| fault(&path, link));
            wrong.extend(faults.map(|fault| format!("{path}:{at}: {fault}")));
        }
    }
    assert_none(wrong);
}

#[test]
fn every_page_is_reached_from_the_front_page() {
    let mut reached = BTreeSet::from(["README.md".to_string()]);
    let mut new: Vec<String> = reached.iter().cloned().collect();
    while let Some(path) = new.pop() {
        let page = read(&path);
        let all = prose(&page).into_iter().flat_map(|(_, line)| links(line)).filter(|link| !link.contains("://"));
        let found = all.map(|link| target(&path, link.split('#').next().unwrap_or("")));
        let found: Vec<String> = found.filter(|to| to.ends_with(".md") && top().join(to).is_file()).collect();
        new.extend(found.into_iter().filter(|to| reached.insert(to.clone())));
    }
    let lost = pages().into_iter().map(|(path, _)| path).filter(|path| !reached.contains(path));
    assert_none(lost.map(|path| format!("{path}: no page links to it")).collect());
}

#[test]
fn the_front_page_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines, allowed are {README_LINES_MAX}");
}

#[test]
fn nothing_cites_a_note_that_is_not_in_the_repository() {
    let mut wrong = Vec::new();
    let ours = |path: &String| path != "tests/docs/links.rs" && !path.ends_with(".bin") && path != "Cargo.lock";
    for path in files().into_iter().filter(ours) {
        let Ok(text) = fs::read_to_string(top().join(&path)) else { continue };
        for (at, line) in text.lines().enumerate() {
            let cited = NOT_HERE.iter().filter(|name| line.contains(**name));
            wrong.extend(cited.map(|name| format!("{path}:{}: cites {name}", at + 1)));
        }
    }
    assert_none(wrong);
}

/// A word in code on a page (`src/x.rs`, `tests/golden/`) that looks like a path from the top has
/// to be one.
#[test]
fn paths_that_pages_name_are_there() {
    let mut wrong = Vec::new();
    let starts = ["src/", "tests/", "scripts/", ".ci/"];
    for (path, page) in pages() {
        for (at, line) in prose(&page) {
            let words = line.split('`').skip(1).step_by(2);
            let paths = words.filter(|word| starts.iter().any(|start| word.starts_with(start)));
            let named = paths.filter(|word| !word.contains(['<', ' ', '*']));
            let missing = named.filter(|word| !top().join(word).exists());
            wrong.extend(missing.map(|word| format!("{path}:{at}: there is no {word}")));
        }
    }
    assert_none(wrong);
}

#[test]
fn the_list_of_error_words_is_that_of_the_code() {
    let quoted = |text: &str, mark: char| -> BTreeSet<String> {
        let words = text.split(mark).skip(1).step_by(2).filter(|word| !word.is_empty());
        words.filter(|word| word.chars().all(|c| c.is_ascii_uppercase())).map(String::from).collect()
    };
    let error = read("src/domain/error.rs");
    let (_, rest) = error.split_once("fn word(self)").expect("the words");
    let (arms, _) = rest.split_once("\n    }\n").expect("their end");
    let page = read("src/command/README.md");
    let (_, rest) = page.split_once("### Error words").expect("the list");
    let rows = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let listed = rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap_or(""), '`')).collect::<BTreeSet<_>>();
    assert_eq!(listed, quoted(arms, '"'));
}

/// Services whose events are named in a file of their own. The events of sessions and contexts are
/// on `versioned`'s page as `*.name`.
const WITH_EVENTS: &[&str] = &["buffer", "cache", "flow", "lock", "mail", "registry"];

#[test]
fn the_page_of_a_service_lists_its_events() {
    let is_name = |text: &&str| {
        let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
        text.split_once('.').is_some_and(|(service, event)| is_word(service) && is_word(event))
    };
    let mut wrong = Vec::new();
    for service in WITH_EVENTS {
        let (code, page) =
            (read(&format!("src/domain/{service}/event.rs")), read(&format!("src/domain/{service}/README.md")));
        let names: BTreeSet<&str> = code.split('"').skip(1).step_by(2).filter(is_name).collect();
        assert!(names.len() > 3, "{service}: {names:?}");
        let missing = names.into_iter().filter(|name| !page.contains(&format!("`{name}`")));
        wrong.extend(missing.map(|name| format!("src/domain/{service}/README.md lacks {name}")));
    }
    assert_none(wrong);
}

#[test]
fn the_checks_see_what_they_look_for() {
    assert_eq!(links("a [b](c.md#d) and [e](f)"), ["c.md#d", "f"]);
    assert_eq!(target("src/domain/README.md", "../README.md"), "src/README.md");
    assert_eq!(
        anchors("# A b\n```\n# no\n```\n## `LTMC.GUARD`, c-d"),
        ["a-b", "ltmcguard-c-d"].map(String::from).into()
    );
    assert!(fault("README.md", "nothing.md").is_some() && fault("README.md", "#nothing").is_some());
    assert!(fault("README.md", "https://example.com").is_none());
}
