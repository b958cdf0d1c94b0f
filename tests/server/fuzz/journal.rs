//! What a run did: the last commands, to be printed if it finds something, and the totals.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::harness::{reference, Reply};

/// About as many as there are between two comparisons.
const LINES_KEPT: usize = 3000;
const BYTES_SHOWN: usize = 120;
const ARGS_SHOWN: usize = 24;
/// Of what is replicated the name and the key are enough to see where it goes.
const REPLICATED_ARGS_SHOWN: usize = 3;

/// How much was tried.
#[derive(Default)]
pub struct Totals {
    pub commands: u64,
    pub errors: u64,
    pub spoilt: u64,
    pub waits: u64,
    pub scripts: u64,
    pub transactions: u64,
    pub restores: u64,
    pub restores_taken: u64,
    pub applies: u64,
    pub applies_taken: u64,
    pub reloads: u64,
    pub comparisons: u64,
    pub slowest: (Duration, String),
    /// The commands that did not only fail.
    worked: BTreeSet<Vec<u8>>,
}

impl Totals {
    /// Prints all that is known, and which commands of the table did nothing but fail: of those the
    /// run says little.
    pub fn report(&self, seeds: u64) {
        let Self { commands, errors, spoilt, waits, scripts, transactions, .. } = self;
        println!("{seeds} seeds: {commands} commands, {errors} of them refused and {spoilt} spoilt,");
        println!("{waits} waits, {scripts} scripts, {transactions} transactions;");
        println!("{} forged dumps restored, {} taken;", self.restores, self.restores_taken);
        println!("{} forged payloads applied, {} taken;", self.applies, self.applies_taken);
        println!(
            "{} comparisons, {} reloads; the slowest command took {:?}",
            self.comparisons, self.reloads, self.slowest
        );
        let failed = reference().keys().filter(|name| !self.worked.contains(name.as_bytes()));
        println!("only failed: {}", failed.map(String::as_str).collect::<Vec<_>>().join(" "));
    }

    pub fn add(&mut self, other: &Totals) {
        self.commands += other.commands;
        self.errors += other.errors;
        self.spoilt += other.spoilt;
        self.waits += other.waits;
        self.scripts += other.scripts;
        self.transactions += other.transactions;
        self.restores += other.restores;
        self.restores_taken += other.restores_taken;
        self.applies += other.applies;
        self.applies_taken += other.applies_taken;
        self.reloads += other.reloads;
        self.comparisons += other.comparisons;
        self.worked.extend(other.worked.iter().cloned());
        if other.slowest.0 > self.slowest.0 {
            self.slowest.clone_from(&other.slowest);
        }
    }
}

/// The diary of one seed. It is printed when a test fails around it.
pub struct Journal {
    seed: u64,
    pub step: u64,
    lines: VecDeque<String>,
    pub totals: Totals,
}

impl Journal {
    pub fn new(seed: u64) -> Self {
        Self { seed, step: 0, lines: VecDeque::new(), totals: Totals::default() }
    }

    pub fn note(&mut self, client: usize, args: &[Vec<u8>]) {
        self.totals.commands += 1;
        self.keep(format!("step {} client {client}: {}", self.step, shown(args)));
    }

    /// This went to replicas in the batch that has ended.
    pub fn replicated(&mut self, args: &[Vec<u8>]) {
        self.keep(format!("replicated: {}", shown(&args[..args.len().min(REPLICATED_ARGS_SHOWN)])));
    }

    fn keep(&mut self, line: String) {
        self.lines.push_back(line);
        if self.lines.len() > LINES_KEPT {
            self.lines.pop_front();
        }
    }

    /// A reply came after this time.
    pub fn took(&mut self, args: &[Vec<u8>], reply: &Reply, time: Duration) {
        self.totals.errors += u64::from(reply.is_error());
        if !reply.is_error() && args[0].starts_with(b"LTMC.") {
            self.totals.worked.insert(args[0].clone());
        }
        if time > self.totals.slowest.0 {
            self.totals.slowest = (time, shown(args));
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines: Vec<&str> = self.lines.iter().map(String::as_str).collect();
            eprintln!("the last commands:\n{}", lines.join("\n"));
            eprintln!("found at step {}; again: LTMC_FUZZ_SEED={}", self.step, self.seed);
        }
    }
}

fn shown(args: &[Vec<u8>]) -> String {
    let show = |arg: &Vec<u8>| match arg.len() {
        0 => "''".to_string(),
        1..=BYTES_SHOWN => arg.escape_ascii().to_string(),
        length => format!("{}...({length} bytes)", arg[..BYTES_SHOWN].escape_ascii()),
    };
    let mut words: Vec<String> = args.iter().take(ARGS_SHOWN).map(show).collect();
    if args.len() > ARGS_SHOWN {
        words.push(format!("...({} arguments)", args.len()));
    }
    words.join(" ")
}
