//! Side-by-side measurements on one server in one run: `make bench`, `make bench BENCH='--quick
//! locks'`.
//!
//! The words are parts of the names of the benches to run; `--quick` takes a tenth of the time. The
//! numbers are medians over rounds in which all candidates take turns. On a machine with few cores
//! the ratios tell more than the numbers.
//!
//! Instruction counts repeat exactly, unlike times. Valgrind counts them, on a release build, with
//! any client as load:
//!
//! ```text
//! valgrind --tool=callgrind --callgrind-out-file=out \
//!   redis-server --port 7777 --save '' --loadmodule target/release/libltmc.so &
//! callgrind_control -z; (commands); callgrind_control -d; callgrind_annotate out.1
//! ```

mod bullmq;
mod cache;
mod chunks;
mod flows;
#[path = "../server/harness/mod.rs"]
mod harness;
mod load;
mod mail;
mod memory;
mod registry;
mod report;
mod throughput;
mod versioned;
mod waiting;

use std::time::Duration;

/// How much to measure.
pub struct Options {
    quick: bool,
    names: Vec<String>,
}

impl Options {
    /// A number for a full run or for a quick one.
    pub fn of(&self, full: usize, quick: usize) -> usize {
        if self.quick {
            quick
        } else {
            full
        }
    }

    /// The rounds that count.
    pub fn rounds(&self) -> usize {
        self.of(9, 3)
    }

    /// Length of one round of one candidate.
    pub fn round_time(&self) -> Duration {
        Duration::from_millis(self.of(400, 100) as u64)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }
}

type Bench = (&'static str, fn(&Options));

const BENCHES: [Bench; 23] = [
    ("locks-pairs", throughput::lock_pairs),
    ("locks-audited", throughput::audited_lock_pairs),
    ("locks-check-renew", throughput::single_commands),
    ("locks-hand-off", waiting::hand_off),
    ("locks-herd", waiting::herd),
    ("locks-memory", memory::per_lock),
    ("registry-heartbeat", registry::heartbeats),
    ("registry-find", registry::finds),
    ("registry-claim", registry::claims),
    ("registry-memory", memory::per_agent),
    ("session", versioned::fields),
    ("context-update", versioned::documents),
    ("checkpoint-memory", versioned::checkpoints),
    ("cache-answers", cache::answers),
    ("cache-flight", cache::single_flight),
    ("cache-policies", cache::policies),
    ("cache-memory", cache::memory),
    ("mail-passing", mail::passing),
    ("mail-hand-off", mail::hand_off),
    ("chunks", chunks::values_and_ranges),
    ("memcached", chunks::beside_memcached),
    ("flow-queues", flows::queues),
    ("flow-memory", flows::memory),
];

fn main() {
    let mut options = Options { quick: false, names: Vec::new() };
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--quick" => options.quick = true,
            // cargo adds it.
            "--bench" => {}
            name => options.names.push(name.to_string()),
        }
    }
    let chosen: Vec<&Bench> = BENCHES.iter().filter(|(name, _)| options.wants(name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        eprintln!("nothing to run: the benches are {}", names.join(", "));
        std::process::exit(2);
    }
    println!("{}", report::machine(&harness::Server::start()));
    for (_, run) in chosen {
        run(&options);
    }
}
