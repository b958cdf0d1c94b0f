//! Names that no setting has.

use super::SETTINGS;

/// A name that no setting has.
#[derive(Debug, PartialEq, Eq)]
pub struct Misspelled {
    /// As it was given.
    pub name: String,
    /// The setting with the most similar name.
    pub nearest: &'static str,
}

/// Finds the `ltmc.` names in a text in the form of `redis.conf` that no setting has.
pub fn misspelled(config: &str) -> Vec<Misspelled> {
    let words = config.lines().filter_map(|line| line.split_whitespace().next());
    let names = words.map(str::to_ascii_lowercase).filter_map(|word| Some(word.strip_prefix("ltmc.")?.to_string()));
    let unknown = names.filter(|name| SETTINGS.iter().all(|row| row.name != name));
    unknown.filter_map(|name| Some(Misspelled { nearest: nearest(&name)?, name })).collect()
}

fn nearest(name: &str) -> Option<&'static str> {
    SETTINGS.iter().map(|row| row.name).min_by_key(|known| distance(name.as_bytes(), known.as_bytes()))
}

/// The number of bytes to insert, remove, or replace that lead from one name to the other
/// (Levenshtein 1966).
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, byte) in from.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_setting_has_are_found_with_the_nearest() {
        let config = "port 6379\n# ltmc.no 1\nLTMC.lock-laese-ms 500\n  LTMC.agent-tll-ms 1\nltmc.agent-ttl-ms 5\n";
        let found = misspelled(config);
        let pairs: Vec<(&str, &str)> = found.iter().map(|one| (&one.name[..], one.nearest)).collect();
        assert_eq!(pairs, [("lock-laese-ms", "lock-lease-ms"), ("agent-tll-ms", "agent-ttl-ms")]);
    }

    #[test]
    fn every_setting_is_known() {
        let config: String = SETTINGS.iter().map(|row| format!("ltmc.{} 1\n", row.name)).collect();
        assert_eq!(misspelled(&config), []);
    }

    #[test]
    fn distances() {
        for (from, to, expected) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("same", "same", 0)]
        {
            assert_eq!(distance(from.as_bytes(), to.as_bytes()), expected, "{from} to {to}");
        }
    }
}
