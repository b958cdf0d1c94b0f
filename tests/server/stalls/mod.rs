//! How long a command keeps the server from everything else.
//!
//! Each scene builds the largest thing that the settings allow and sends the dearest command to it,
//! while another client pings. `make stalls` prints the longest of those pings, on an optimised
//! module. A time is no assertion: the table is for the operating page.

mod bounded;
mod buffer;
mod cache;
mod context;
mod flow;
mod lock;
mod mail;
mod registry;
mod rest;
mod session;
mod stage;
mod waits;

use crate::harness::Server;
use stage::{Row, Stage};

/// A scene, on a server of its own.
type Scene = (&'static str, fn(&mut Stage));

fn scenes() -> Vec<Scene> {
    [flow::SCENES, context::SCENES, session::SCENES, buffer::SCENES, registry::SCENES, lock::SCENES]
        .into_iter()
        .chain([cache::SCENES, mail::SCENES, waits::SCENES])
        .chain([rest::LOCK, rest::REGISTRY, rest::CONTEXT, rest::SESSION, rest::CACHE, rest::BUFFER, rest::MAIL])
        .chain([rest::FLOW, rest::SERVER])
        .flatten()
        .copied()
        .collect()
}

/// `LTMC_STALLS` takes only scenes with that in their names.
#[test]
#[ignore = "it measures; make stalls"]
fn what_stalls_the_server() {
    let wanted = std::env::var("LTMC_STALLS").unwrap_or_default();
    let mut rows: Vec<Row> = Vec::new();
    for (name, play) in scenes().into_iter().filter(|(name, _)| name.contains(&wanted)) {
        eprintln!("{name}");
        let server = Server::builder().arg("enable-debug-command", "yes").start();
        let mut stage = Stage::new(&server);
        play(&mut stage);
        stage.rows.iter().for_each(|row| eprintln!("  {}", row.line()));
        rows.append(&mut stage.rows);
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.tick));
    println!("| command, with the largest input that the settings allow | most looks in one go, of its bound | work, ms | ping, ms | reply after, ms | reply |\n|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{}", row.line()));
}
