//! The width of comments.

use super::{assert_none, sources, Source};

const COLUMNS_MAX: usize = 100;

/// Line and width of each comment line that is too wide. Comments behind code are the formatter's.
fn wide_comments(source: &Source) -> Vec<(usize, usize)> {
    let comments = source.lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
    let widths = comments.map(|(at, line)| (at + 1, line.chars().count()));
    widths.filter(|(_, width)| *width > COLUMNS_MAX).collect()
}

#[test]
fn comments_are_narrow() {
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let wide = wide_comments(&source).into_iter();
        wrong.extend(wide.map(|(line, width)| format!("{}:{line}: {width} columns", source.path)));
    }
    assert_none(wrong);
}

#[test]
fn wide_comments_are_found() {
    let widest = format!("    //{}", "x".repeat(COLUMNS_MAX - 6));
    let lines = [widest.clone(), widest + "x", format!("let x = 1; // {}", "x".repeat(COLUMNS_MAX))];
    let source = Source { path: "src/x.rs".into(), lines: lines.to_vec() };
    assert_eq!(wide_comments(&source), [(2, COLUMNS_MAX + 1)]);
}
