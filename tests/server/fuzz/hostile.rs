//! Arguments that nobody means well with: values out of bounds, in the wrong place, too many, too
//! long, or of no form at all.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::Value;

use super::grammar::{any_key, Args};
use super::prng::Prng;
use crate::harness::reference;

const VALUES: &[&[u8]] = &[
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"0",
    b"-0",
    b"-1",
    b"+1",
    b" 1",
    b"1 ",
    b"1.5",
    b"0x10",
    b"1e309",
    b"NaN",
    b"-inf",
    b"9007199254740993",
    b"4294967296",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"~",
    b"/",
    b"//",
    b"/~",
    b"..",
    b"a/../b",
    b"*",
    b"{\"a\":1,\"a\":2}",
    b"{\"\\ud800\":1e999}",
    b"[1,",
    b"[{\"op\":\"copy\",\"from\":\"\",\"path\":\"/a\"}]",
    b"[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]",
];

/// The words of all options.
fn words() -> &'static [String] {
    fn collect(doc: &Value, found: &mut BTreeSet<String>) {
        found.extend(doc["token"].as_str().map(String::from));
        doc["arguments"].as_array().into_iter().flatten().for_each(|inner| collect(inner, found));
    }
    static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    WORDS.get_or_init(|| {
        let mut found = BTreeSet::new();
        reference().values().for_each(|command| collect(command, &mut found));
        found.into_iter().collect()
    })
}

/// A value that fits nowhere, or that should be too much.
fn value(rng: &mut Prng) -> Vec<u8> {
    match rng.below(40) {
        0..24 => rng.pick(VALUES).to_vec(),
        24..31 => rng.pick(words()).as_bytes().to_vec(),
        31..34 => any_key(rng),
        34 => [b"[".repeat(5000), b"]".repeat(5000)].concat(),
        35 => b"{\"a\":".repeat(3000),
        36 => [b"[".as_slice(), &b"0,".repeat(20_000), b"0]"].concat(),
        37 => b"x".repeat(1 << (10 + rng.below(11))),
        _ => (0..rng.below(40)).map(|_| rng.next() as u8).collect(),
    }
}

/// Changes one to three arguments. The name of the command mostly stays.
pub fn spoil(rng: &mut Prng, args: &mut Args) {
    for _ in 0..=rng.below(3) {
        let first = u64::from(!rng.percent(1));
        let at = (first + rng.below((args.len() as u64).saturating_sub(first))) as usize;
        if at >= args.len() {
            args.push(value(rng));
            continue;
        }
        match rng.below(12) {
            0..5 => args[at] = value(rng),
            5 => drop(args.remove(at)),
            6 => args.insert(at, value(rng)),
            7 => args.insert(at, args[at].clone()),
            8 if args.len() > 2 => {
                let other = 1 + rng.below(args.len() as u64 - 1) as usize;
                args.swap(at.max(1), other);
            }
            9 => args.truncate(at.max(1)),
            10 => args[at].push(rng.next() as u8),
            // Gigabytes would only take the time of sending them.
            _ if args[at].len() < 1_000 && rng.percent(10) => {
                let many = std::iter::repeat_n(args[at].clone(), 2_000);
                drop(args.splice(at..at, many.collect::<Vec<_>>()));
            }
            _ => args[at].make_ascii_uppercase(),
        }
        if args.is_empty() {
            args.push(b"LTMC.STATUS".to_vec());
        }
    }
}
