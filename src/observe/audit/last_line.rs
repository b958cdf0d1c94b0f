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

/// What the end of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The last whole line of the trail; `None` if there is none.
    pub last: Option<LastLine>,
    /// Whether a crash has cut off the last line: the next one needs a line end before it.
    pub is_torn: bool,
}

/// Reads the end of a file. Errs if it holds something, and no line of a trail.
pub fn read(tail: &[u8]) -> Result<Tail, String> {
    let is_torn = tail.last().is_some_and(|byte| *byte != b'\n');
    // What is torn is no JSON, unless only the end of its line is missing. Then it counts: its
    // number must not come twice.
    let last = tail.split(|byte| *byte == b'\n').rev().find_map(|line| serde_json::from_slice::<LastLine>(line).ok());
    match last {
        Some(last) if last.chain.len() == HEX_LEN && last.n < u64::MAX / 2 => Ok(Tail { last: Some(last), is_torn }),
        None if tail.is_empty() => Ok(Tail { last: None, is_torn: false }),
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
        let last = |n| Some(LastLine { n, chain: chain.clone() });
        let whole = line(4) + &line(5);
        assert_eq!(read(whole.as_bytes()), Ok(Tail { last: last(5), is_torn: false }));
        let torn = line(5) + "{\"n\":6,\"us\":1,\"chai";
        assert_eq!(read(torn.as_bytes()), Ok(Tail { last: last(5), is_torn: true }));
        let mended = torn + "\n";
        assert_eq!(read(mended.as_bytes()), Ok(Tail { last: last(5), is_torn: false }));
        let only_its_end = line(5).trim_end().to_string();
        assert_eq!(read(only_its_end.as_bytes()), Ok(Tail { last: last(5), is_torn: true }));
        assert_eq!(read(b""), Ok(Tail { last: None, is_torn: false }));
        for other in ["root:x:0:0", "root:x:0:0\n", "{\"n\":1,\"chain\":\"\"}\n", "\n"] {
            read(other.as_bytes()).expect_err(other);
        }
    }
}
