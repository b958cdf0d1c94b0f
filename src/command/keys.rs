//! Where the keys of a command stand among its arguments, as its row says.

use super::args::parse_u64;
use super::spec::{Access, KeysAt, Spec};

/// The place of each key among the arguments, and what is done with it.
pub fn positions(spec: &'static Spec, args: &[&[u8]]) -> Vec<(usize, Access)> {
    let mut found = Vec::new();
    for keys in spec.keys {
        let positions = positions_of(keys.at, args).into_iter().filter(|at| *at < args.len());
        found.extend(positions.map(|at| (at, keys.access)));
    }
    found
}

fn position_after(word: &str, from: i32, args: &[&[u8]]) -> Option<usize> {
    let found = args.iter().skip(from as usize).position(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    found.map(|at| at + from as usize + 1)
}

/// The places of so many keys as the argument at `index` says.
fn counted_at(index: usize, args: &[&[u8]]) -> std::ops::Range<usize> {
    let count = args.get(index).and_then(|count| parse_u64(count)).unwrap_or(0) as usize;
    index + 1..(index + 1).saturating_add(count).min(args.len())
}

fn positions_of(keys: KeysAt, args: &[&[u8]]) -> Vec<usize> {
    match keys {
        KeysAt::Index(index) => vec![index as usize],
        KeysAt::AfterWord(word, from) => position_after(word, from, args).into_iter().collect(),
        KeysAt::From(index) => (index as usize..args.len()).collect(),
        KeysAt::CountAt(index) => counted_at(index as usize, args).collect(),
        KeysAt::CountAfter(word, from) => {
            position_after(word, from, args).into_iter().flat_map(|at| counted_at(at, args)).collect()
        }
        KeysAt::Behind(lists) => {
            let is_there = |(at, word): &(i32, &str)| {
                args.get(*at as usize).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
            };
            let found = lists.iter().find(|words| words.iter().all(is_there));
            found.and_then(|words| words.last()).map(|(at, _)| *at as usize + 1).into_iter().collect()
        }
    }
}
