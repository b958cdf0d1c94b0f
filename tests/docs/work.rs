//! The bounds on the work of commands, which the command table declares.

use crate::reference::specs;
use crate::section;
use ltmc::command::engine::roles::Roles;
use ltmc::command::engine::spec::Spec;
use ltmc::command::engine::work::{of_command, words};
use ltmc::command::settings::Settings;

/// With the default settings no command of an agent has more looks in one go.
const LOOKS_MAX: u64 = 80_000;

/// The page lists what may have more than so many looks:
const LISTED_FROM: u64 = 40_000;

/// What agents may run, with its looks, the most first.
fn of_agents() -> Vec<(u64, &'static Spec)> {
    let settings = Settings::default();
    let specs = specs().filter(|spec| spec.roles.has(Roles::AGENT));
    let mut all: Vec<_> = specs.map(|spec| (of_command(spec.work, &settings), spec)).collect();
    all.sort_by_key(|(looks, spec)| (std::cmp::Reverse(*looks), spec.name));
    all
}

#[test]
fn the_operating_page_has_what_takes_long() {
    let mut made = String::from("| command | looks | for what |\n|---|---|---|\n");
    for (looks, spec) in of_agents().into_iter().filter(|(looks, _)| *looks > LISTED_FROM) {
        made += &format!("| `{}` | {looks} | {} |\n", spec.name, words(spec.work));
    }
    section("scripts/README.md", "work", &made);
}

#[test]
fn what_an_agent_may_run_is_bounded() {
    let mut beyond: Vec<_> = of_agents().into_iter().map(|(looks, spec)| (looks, spec.name)).collect();
    beyond.retain(|(looks, _)| *looks > LOOKS_MAX);
    assert!(beyond.is_empty(), "{beyond:?}");
}
