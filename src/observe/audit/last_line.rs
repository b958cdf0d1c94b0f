//! Where a trail goes on that a file holds already.

use crate::domain::algorithm::sha256::HEX_LEN;
use serde::Deserialize;

/// How much of a file's end has its last line, bytes. No line is longer than a quarter of it.
pub const TAIL_BYTES: u64 = 256 * 1024;

/// The end of a trail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LastLine {
    /// The number of its last record.
    pub n: u64,
    /// Its link.
    pub chain: String,
}

/// Whether a crash has cut off the last line: the next one needs a line end before it.
pub fn is_torn(tail: &[u8]) -> bool {
    tail.last().is_some_and(|byte| *byte != b'\n')
}

/// Reads the last whole line of the trail from the end of a file; `None` if the file is empty. Errs
/// if it holds something, and no line of a trail.
pub fn read(tail: &[u8]) -> Result<Option<LastLine>, String> {
    // What is torn is no JSON, unless only the end of its line is missing. Then it counts: its
    // number must not come twice.
    let last = tail.split(|byte| *byte == b'\n').rev().find_map(|line| serde_json::from_slice::<LastLine>(line).ok());
    match last {
        Some(last) if last.chain.len() == HEX_LEN && last.n < u64::MAX / 2 => Ok(Some(last)),
        None if tail.is_empty() => Ok(None),
        _ => Err("it is not empty, and its last lines are none of an audit trail".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_goes_on_behind_its_last_whole_line() {
        let chain = "a".repeat(HEX_LEN);
        let line = |n: u64| format!("{{\"n\":{n},\"us\":1,\"chain\":\"{chain}\"}}\n");
        let whole = line(4) + &line(5);
        let torn = line(5) + "{\"n\":6,\"us\":1,\"chai";
        let mended = torn.clone() + "\n";
        let only_its_end = line(5).trim_end().to_string();
        for (file, torn) in [(whole, false), (torn, true), (mended, false), (only_its_end, true)] {
            let last = LastLine { n: 5, chain: chain.clone() };
            assert_eq!((read(file.as_bytes()), is_torn(file.as_bytes())), (Ok(Some(last)), torn), "{file}");
        }
        assert_eq!((read(b""), is_torn(b"")), (Ok(None), false));
        for other in ["root:x:0:0", "root:x:0:0\n", "{\"n\":1,\"chain\":\"\"}\n", "\n"] {
            read(other.as_bytes()).expect_err(other);
        }
    }
}
