//! A bounded run of every target, with what is saved today, damaged, and with what looks like
//! arguments. `LTMC_FUZZ_SEED=n` replays one, `LTMC_FUZZ_ROUNDS=n` runs longer.

#[path = "../../model/damage.rs"]
mod damage;
#[path = "../../model/prng.rs"]
mod prng;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::host::MemoryHost;
use crate::targets;
use damage::damage;
use ltmc::command::table::Table;
use ltmc::domain::buffer::Buffer;
use ltmc::domain::cache::Cache;
use ltmc::domain::context::Context;
use ltmc::domain::flow::Flow;
use ltmc::domain::lock::Lock;
use ltmc::domain::mail::Mail;
use ltmc::domain::registry::Registry;
use ltmc::domain::session::Session;
use ltmc::domain::Entity;
use prng::Prng;

/// How often each target is called with each kind of sample.
const ROUNDS: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_millis() as u64);
    let seed = number("LTMC_FUZZ_SEED").unwrap_or_else(now);
    println!("LTMC_FUZZ_SEED={seed}");
    seed
}

/// The payloads of the golden files of a type, each behind the byte that chooses its content.
fn samples<E: Entity>() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1");
    let entries = std::fs::read_dir(folder).expect("the golden files");
    let files = entries.map(|entry| std::fs::read(entry.expect("an entry").path()).expect("a file"));
    let ours = files.filter(|bytes| bytes.starts_with(b"LT\x01") && bytes[4] == E::TYPE_TAG);
    let content = |byte| [0, 1, 0, 3, 2, 4].get(usize::from(byte)).copied().unwrap_or(5);
    ours.map(|bytes| [&[content(bytes[3])], &bytes[9..bytes.len() - 4]].concat()).collect()
}

/// Runs a target on damaged samples, each behind a byte of any value if the target takes one.
fn run(seed: u64, samples: &[Vec<u8>], is_chosen: bool, target: fn(&[u8])) {
    assert!(!samples.is_empty());
    let mut rng = Prng::new(seed);
    for _ in 0..number("LTMC_FUZZ_ROUNDS").unwrap_or(ROUNDS) {
        let mut bytes = rng.pick(samples).clone();
        if !rng.percent(10) {
            damage(&mut rng, &mut bytes);
        }
        if is_chosen {
            bytes.insert(0, rng.next() as u8);
        }
        target(&bytes);
    }
}

fn run_type<E: Entity + Clone>(seed: u64) {
    let samples = samples::<E>();
    run(seed, &samples, false, targets::decode::<E>);
    run(seed, &samples, true, targets::load::<E>);
    run(seed, &samples, true, targets::explain);
    run(seed, &samples, false, targets::frame);
}

#[test]
fn decoders_take_any_bytes() {
    let seed = seed();
    run_type::<Lock>(seed);
    run_type::<Registry>(seed);
    run_type::<Context>(seed);
    run_type::<Session>(seed);
    run_type::<Cache>(seed);
    run_type::<Buffer>(seed);
    run_type::<Mail>(seed);
    run_type::<Flow>(seed);
}

#[test]
fn json_is_any_text() {
    let texts = [
        r#"{"a":{"b":[1,2.5e3,"\u00e9"]},"c":null}"#,
        r#"[{"op":"add","path":"/a/-","value":{"b":[1]}},{"op":"move","from":"/a","path":"/b"}]"#,
        "/a/~0b/~1c/0",
        "[[[[[[[[1]]]]]]]]",
    ];
    run(seed(), &texts.map(|text| text.as_bytes().to_vec()), false, targets::json);
}

#[test]
fn edits_of_any_document_are_undone() {
    let seed = seed();
    let mut rng = Prng::new(seed);
    let paths = ["", "/a", "/a/b", "/a/b/0", "/a/b/-", "/c", "/l/1"];
    let values = ["1", "-2.5", r#""x""#, r#"{"b":[1,2]}"#, "[1]", "null", r#"[{"op":"remove","path":"/a"}]"#];
    let sample = |rng: &mut Prng| {
        let mut text = r#"{"a":{"b":[1,2]},"l":[1,2,3],"c":5}"#.to_string();
        (0..1 + rng.below(5)).for_each(|_| text += &format!("\0{}\0{}", rng.pick(&paths), rng.pick(&values)));
        text.into_bytes()
    };
    let samples: Vec<Vec<u8>> = (0..100).map(|_| sample(&mut rng)).collect();
    run(seed, &samples, false, targets::edits);
}

#[test]
fn commands_take_any_arguments() {
    let seed = seed();
    let mut rng = Prng::new(seed);
    let values = ["k", "a", "1", "2", "0", "", "1000", "x", "{}", "/a", "18446744073709551615", "-1", "0.5"];
    let commands = Table::<MemoryHost>::COMMANDS;
    let line = |rng: &mut Prng| {
        let at = rng.below(commands.len() as u64) as usize;
        let words: Vec<&str> = commands[at].spec.option_words().collect();
        let mut line = vec![at as u8];
        for place in 0..rng.below(10) {
            line.extend((place > 0).then_some(0));
            let is_option = place > 1 && rng.percent(40) && !words.is_empty();
            line.extend_from_slice(if is_option { rng.pick(&words).as_bytes() } else { rng.pick(&values).as_bytes() });
        }
        line
    };
    let samples: Vec<Vec<u8>> =
        (0..200).map(|_| (0..8).map(|_| line(&mut rng)).collect::<Vec<_>>().join(&b'\n')).collect();
    run(seed, &samples, false, targets::args);
}
