//! BullMQ, if `scripts/bench-peers` has installed it, as one more way to hand out tasks: its own
//! client in Node, driven by `bullmq.mjs`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::Server;

/// How its workers are laid out.
#[derive(Clone, Copy)]
pub enum Layout {
    /// Many Workers that each do one job at a time.
    Workers,
    /// One Worker that does many jobs at a time.
    Concurrency,
}

/// BullMQ in the folder where npm has put it.
pub struct BullMq {
    folder: PathBuf,
}

impl BullMq {
    /// `None` if it is not installed.
    pub fn find() -> Option<BullMq> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
        folder.join("node_modules/bullmq").is_dir().then_some(BullMq { folder })
    }

    /// Jobs a second: added in batches over one connection, and done by this many workers.
    pub fn run(&self, server: &Server, layout: Layout, jobs: usize, workers: usize, payload: &str) -> (f64, f64) {
        let (workers, concurrency) = match layout {
            Layout::Workers => (workers, 1),
            Layout::Concurrency => (1, workers),
        };
        let numbers = [server.port().into(), jobs, workers, concurrency].map(|number| number.to_string());
        let output = Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/bullmq.mjs"))
            .arg(&self.folder)
            .args(numbers)
            .arg(payload)
            .stderr(Stdio::inherit())
            .output()
            .expect("who installs BullMQ installs node");
        assert!(output.status.success(), "bullmq.mjs ended with {}", output.status);
        let rates: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        let rate = |name: &str| rates[name].as_f64().expect("it prints both rates");
        (rate("added"), rate("done"))
    }
}
