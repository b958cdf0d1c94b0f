//! Tables of medians.

use crate::harness::Server;
use crate::load::Round;

/// The middle of some measurements: what half of the rounds reached.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 50.0)
}

/// The value that `percent` percent of the measurements do not exceed.
pub fn percentile(values: impl IntoIterator<Item = f64>, percent: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * percent / 100.0) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Prints a table: a title, the names of the columns, and rows of which the first column is text.
pub fn table(title: &str, columns: &[&str], rows: &[Vec<String>]) {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([columns[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("  {}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    println!("\n{title}");
    line(columns.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

/// Prints what candidates reached in rounds in which all of them took turns. The first is the
/// baseline. Ratios are the medians of the ratios within a round.
pub fn rates(title: &str, names: &[&str], rounds: &[Vec<Round>]) {
    let row = |at: usize| {
        let ratios = rounds[at].iter().zip(&rounds[0]).map(|(one, yardstick)| one.ops_per_s / yardstick.ops_per_s);
        vec![
            names[at].to_string(),
            format!("{:.0}", median(rounds[at].iter().map(|round| round.ops_per_s))),
            format!("{:.2}", median(ratios)),
            format!("{:.2}", median(rounds[at].iter().map(|round| round.server_us_per_op))),
        ]
    };
    let rows: Vec<_> = (0..names.len()).map(row).collect();
    table(title, &["", "per second", "ratio", "server us each"], &rows);
}

/// One line that says where this was measured.
pub fn machine(server: &Server) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(0, |count| count.get());
    let info = server.info("server");
    let version = match info.get("valkey_version") {
        Some(version) => format!("valkey {version}"),
        None => format!("redis {}", info["redis_version"]),
    };
    format!("{model}, {cores} cores shared by server and clients, {version}")
}
