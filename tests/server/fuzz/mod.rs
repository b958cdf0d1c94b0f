//! A fuzzer of whole servers. Nothing that a client sends, and nothing that is restored, can crash,
//! hang or exhaust one, and whatever was taken is the same on a replica and after a reload.
//!
//! Each seed has a primary and a replica of its own. Commands are made from the command table, well
//! formed and spoilt; dumps and payloads are forged under right checksums, and used if they are
//! taken. A finding prints the seed and the last commands. Replies and so the schedule depend on
//! time, too: a seed leads close to what it found, and the commands say the rest.
//!
//! `LTMC_FUZZ_SEED` replays one seed, `LTMC_FUZZ_MINUTES` takes further seeds for so long, and with
//! `LTMC_FUZZ_VALGRIND` the servers run under valgrind.

#[path = "../../model/damage.rs"]
mod damage;
mod forgery;
mod grammar;
mod hostile;
mod journal;
#[allow(dead_code)] // The schedules of the model use more of it.
#[path = "../../model/prng.rs"]
mod prng;
mod run;
mod tour;
mod verdict;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::*;
use journal::Totals;
use run::Run;

/// How long the run within `make test` takes, and its comparisons at the end.
const SHORT: Duration = Duration::from_secs(12);
const BATCHES_OF_A_SEED: u64 = 40;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn has_valgrind() -> bool {
    std::env::var_os("LTMC_FUZZ_VALGRIND").is_some_and(|value| !value.is_empty())
}

fn spec() -> Builder {
    if has_valgrind() {
        Server::builder().under_valgrind()
    } else {
        Server::builder()
    }
}

#[test]
fn no_input_crashes_hangs_or_exhausts_a_server() {
    expect_forged_values();
    if let Some(seed) = number("LTMC_FUZZ_SEED") {
        return Run::start(seed, spec()).batches(BATCHES_OF_A_SEED, || false).report(1);
    }
    let limit = number("LTMC_FUZZ_MINUTES").map_or(SHORT, |minutes| Duration::from_secs(60 * minutes));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (started, first) = (Instant::now(), now.as_millis() as u64);
    let (mut seed, mut totals) = (first, Totals::default());
    while seed == first || started.elapsed() < limit {
        println!("LTMC_FUZZ_SEED={seed}");
        totals.add(&Run::start(seed, spec()).batches(BATCHES_OF_A_SEED, || started.elapsed() > limit));
        seed += 1;
    }
    totals.report(seed - first);
}

#[test]
fn the_tour_goes_to_every_command() {
    let missing = |name: &&String| !tour::LINES.iter().any(|line| tour::parts(line).1.split(' ').next() == Some(name));
    assert_eq!(reference().keys().filter(missing).collect::<Vec<_>>(), [""; 0]);
    Run::start(1, spec()).tour();
}

#[test]
fn forged_dumps_reach_the_decoders() {
    const TRIES: usize = 200;
    let server = Server::builder().arg("rdbcompression", "no").start();
    run(&server, "LTMC.LOCK k a META text PX 600000");
    let dump = server.run("DUMP k").bytes().to_vec();
    let mut rng = prng::Prng::new(1);
    let mut restore = || {
        let forged = forgery::forge_dump(&mut rng, &dump);
        server.cmd(&[b"RESTORE".as_slice(), b"copy", b"0", &forged, b"REPLACE"])
    };
    let refused = (0..TRIES).filter(|_| restore().is_error()).count();
    let by_us = server.log().matches("LTMC cannot load a ltmc-lock").count();
    assert!(refused < TRIES - 10 && by_us > TRIES / 3, "{refused} refused, {by_us} of them by us");
}

#[test]
#[should_panic(expected = "a panic was contained")]
fn a_contained_panic_is_a_finding() {
    let server = Server::start();
    assert!(server.run("LTMC.DEBUG PANIC").is_error());
    verdict::check(&server);
}
