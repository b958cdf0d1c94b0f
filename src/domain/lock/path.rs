//! Paths inside a locked resource: `src/db` names a subtree, the empty path the whole resource.

use crate::domain::limits::{PATH_BYTES_MAX, PATH_DEPTH_MAX};
use crate::domain::{Bytes, Error};
use serde::{Deserialize, Serialize};

/// A normalised path: segments joined by `/`, no empty, `.` or `..` segment; empty for the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Path(Bytes);

/// What patterns are made of.
const PATTERN: &[u8] = b"*?\\";

impl Path {
    /// The whole resource.
    pub fn root() -> &'static Self {
        static ROOT: Path = Path(Bytes::EMPTY);
        &ROOT
    }

    /// Parses a path as a client writes it. Slashes at both ends are ignored.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let text = trim_slashes(text);
        if text.len() > PATH_BYTES_MAX {
            return Err(Error::usage(format!(
                "PATH is {} bytes long, at most {PATH_BYTES_MAX} are allowed",
                text.len()
            )));
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut depth = 0;
        for segment in text.split(|&b| b == b'/') {
            depth += 1;
            if matches!(segment, b"" | b"." | b"..") {
                let shown = crate::domain::value::bytes::printable(text);
                return Err(Error::usage(format!("PATH '{shown}' has an empty, '.' or '..' segment")));
            }
        }
        if depth > PATH_DEPTH_MAX {
            return Err(Error::usage(format!("PATH has {depth} segments, at most {PATH_DEPTH_MAX} are allowed")));
        }
        Ok(Self(Bytes::from(text)))
    }

    /// What is known to be a path, or a part of one to search from.
    pub(super) fn known(bytes: &[u8]) -> Self {
        Self(Bytes::from(bytes))
    }

    /// Parses the path of a new lock. It may not look like a pattern: a lock on `src/*` would
    /// protect a file of that name and nothing else. Values that hold such paths are read as they
    /// are, and [`parse`](Self::parse) names them for giving them back.
    pub fn to_lock(text: &[u8]) -> Result<Self, Error> {
        if let Some(wild) = text.iter().find(|byte| PATTERN.contains(byte)) {
            let (shown, wild) = (crate::domain::value::bytes::printable(text), char::from(*wild));
            return Err(Error::usage(format!(
                "option PATH is '{shown}', '{wild}' is not allowed: a path is a name and no pattern, and a lock on a \
                 folder protects everything in it"
            )));
        }
        Self::parse(text)
    }

    /// Whether it is the whole resource.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path's bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The proper ancestors below the root, shortest first: `a`, `a/b` for `a/b/c`.
    pub fn inner_ancestors(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().enumerate().filter(|(_, &b)| b == b'/').map(|(at, _)| &self.0[..at])
    }

    /// The number of its segments.
    pub fn depth(&self) -> usize {
        if self.is_root() {
            return 0;
        }
        1 + self.0.iter().filter(|byte| **byte == b'/').count()
    }

    /// Whether one path is the other or lies below it: only then can locks on them
    /// exclude each other.
    pub fn overlaps(&self, other: &Path) -> bool {
        let (short, long) = if self.0.len() <= other.0.len() { (self, other) } else { (other, self) };
        short.is_root() || (long.0.starts_with(&short.0) && matches!(long.0.get(short.0.len()), None | Some(b'/')))
    }
}

fn trim_slashes(mut text: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b'/'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn paths_are_normalised_and_bounded() {
        assert_eq!(path("/src/db/"), path("src/db"));
        assert!(path("/").is_root() && path("").is_root());
        for bad in ["a//b", "a/./b", "..", "a/.."] {
            assert!(Path::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Path::parse(&[b'x'; PATH_BYTES_MAX + 1]).is_err());
        assert!(Path::parse("a/".repeat(PATH_DEPTH_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_path_that_looks_like_a_pattern_is_not_locked_but_can_be_named() {
        for bad in ["*", "src/*", "src/*.rs", "a?", "a/**/b", "/src\\db"] {
            let error = Path::to_lock(bad.as_bytes()).expect_err(bad);
            assert!(error.text.contains("is not allowed: a path is a name and no pattern"), "{error}");
            assert!(Path::parse(bad.as_bytes()).is_ok(), "{bad}");
        }
        for good in ["", "/", "src/[a]", "{a,b}", "a b"] {
            assert_eq!(Path::to_lock(good.as_bytes()), Path::parse(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn a_path_overlaps_its_ancestors_and_descendants_only() {
        assert!(path("").overlaps(&path("a")) && path("a/b").overlaps(&path("a")) && path("a").overlaps(&path("a")));
        assert!(!path("a").overlaps(&path("ab")) && !path("a/b").overlaps(&path("a/c")));
        assert_eq!(path("a/bc/d").inner_ancestors().collect::<Vec<_>>(), [&b"a"[..], b"a/bc"]);
    }
}
