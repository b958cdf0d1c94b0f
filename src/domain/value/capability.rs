//! Capabilities of an agent, `name` or `name@version`, and the capabilities that work requires,
//! where `name@>=version` is allowed too.

use super::bytes::printable;
use crate::domain::limits::CAPABILITY_BYTES_MAX;
use crate::domain::{Bytes, Error};
use serde::{Deserialize, Serialize};

/// Up to four numbers. Missing ones count as 0, so 1.2 and 1.2.0 are the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    numbers: [u32; 4],
    /// How many numbers were given, to show the version as it was given. The last field, so that it
    /// does not decide an order.
    written: u8,
}

/// The numbers of a version, which decide equality and order.
pub type VersionNumbers = [u32; 4];

impl Version {
    /// Reads `1`, `1.2`, `1.2.3` or `1.2.3.4`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (mut numbers, mut written) = ([0; 4], 0);
        for part in text.split(|byte| *byte == b'.') {
            let plain = !part.is_empty() && part.iter().all(u8::is_ascii_digit) && (part.len() == 1 || part[0] != b'0');
            let number = std::str::from_utf8(part).ok().filter(|_| plain)?.parse().ok()?;
            *numbers.get_mut(written)? = number;
            written += 1;
        }
        Some(Self { numbers, written: written as u8 })
    }

    /// The numbers that decide equality and order.
    pub fn numbers(&self) -> VersionNumbers {
        self.numbers
    }

    /// Whether [`parse`](Self::parse) can make it.
    pub fn is_valid(&self) -> bool {
        let written = usize::from(self.written);
        (1..=4).contains(&written) && self.numbers[written..].iter().all(|number| *number == 0)
    }

    fn show(&self) -> String {
        let numbers = &self.numbers[..usize::from(self.written).min(4)];
        numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
    }
}

/// Something that an agent can do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Capability {
    /// The name, without `@`.
    pub name: Bytes,
    /// The version, if the agent gives one.
    pub version: Option<Version>,
}

impl Capability {
    /// Reads `name` or `name@version`.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        match Requirement::parse(text)? {
            Requirement { name, version: RequiredVersion::Any } => Ok(Self { name, version: None }),
            Requirement { name, version: RequiredVersion::Exactly(version) } => {
                Ok(Self { name, version: Some(version) })
            }
            Requirement { version: RequiredVersion::AtLeast(_), .. } => {
                let text = printable(text);
                Err(Error::usage(format!(
                    "capability is '{text}', allowed are name and name@version; >= is for filters"
                )))
            }
        }
    }

    /// The text that it was parsed from.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.name.to_vec();
        if let Some(version) = &self.version {
            text.push(b'@');
            text.extend_from_slice(version.show().as_bytes());
        }
        text
    }

    /// Whether [`parse`](Self::parse) can make it.
    pub fn is_valid(&self) -> bool {
        is_name(&self.name) && self.version.as_ref().is_none_or(Version::is_valid)
    }
}

/// A required capability.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// The name.
    pub name: Bytes,
    /// The required version.
    pub version: RequiredVersion,
}

/// Which versions satisfy a requirement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RequiredVersion {
    /// Any version, or none.
    Any,
    /// Exactly this one.
    Exactly(Version),
    /// This one or a later one.
    AtLeast(Version),
}

impl Requirement {
    /// Reads `name`, `name@version` or `name@>=version`.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let bad = || {
            let text = printable(text);
            Error::usage(format!(
                "capability is '{text}', allowed are name, name@version and, in filters, name@>=version, with a name of 1 to \
                 {CAPABILITY_BYTES_MAX} bytes and a version of one to four numbers with dots between"
            ))
        };
        let (name, version) = match text.iter().position(|byte| *byte == b'@') {
            None => (text, RequiredVersion::Any),
            Some(at) => {
                let (name, version) = (&text[..at], &text[at + 1..]);
                let version = match version.strip_prefix(b">=") {
                    Some(least) => RequiredVersion::AtLeast(Version::parse(least).ok_or_else(bad)?),
                    None => RequiredVersion::Exactly(Version::parse(version).ok_or_else(bad)?),
                };
                (name, version)
            }
        };
        if is_name(name) {
            Ok(Self { name: Bytes::from(name), version })
        } else {
            Err(bad())
        }
    }

    /// Whether [`parse`](Self::parse) can make it.
    pub fn is_valid(&self) -> bool {
        let version = match &self.version {
            RequiredVersion::Any => None,
            RequiredVersion::Exactly(version) | RequiredVersion::AtLeast(version) => Some(version),
        };
        is_name(&self.name) && version.is_none_or(Version::is_valid)
    }

    /// The text that it was parsed from.
    pub fn text(&self) -> Vec<u8> {
        let (between, version) = match &self.version {
            RequiredVersion::Any => return self.name.to_vec(),
            RequiredVersion::Exactly(version) => ("@", version),
            RequiredVersion::AtLeast(version) => ("@>=", version),
        };
        [&self.name[..], between.as_bytes(), version.show().as_bytes()].concat()
    }

    /// Whether `capability` satisfies it.
    pub fn is_met_by(&self, capability: &Capability) -> bool {
        let numbers = capability.version.map(|version| version.numbers());
        self.name == capability.name
            && match &self.version {
                RequiredVersion::Any => true,
                RequiredVersion::Exactly(version) => numbers == Some(version.numbers()),
                RequiredVersion::AtLeast(version) => numbers.is_some_and(|numbers| numbers >= version.numbers()),
            }
    }
}

fn is_name(name: &[u8]) -> bool {
    (1..=CAPABILITY_BYTES_MAX).contains(&name.len()) && !name.contains(&b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(capability: &str, wanted: &str) -> bool {
        let capability = Capability::parse(capability.as_bytes()).unwrap();
        Requirement::parse(wanted.as_bytes()).unwrap().is_met_by(&capability)
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(has("python@3.10", "python@>=3.9"), "10 is more than 9");
        assert!(has("python@3.10", "python@3.10.0"), "missing numbers are 0");
        assert!(has("python@3.10", "python") && has("python", "python"));
        assert!(!has("python@3.10", "python@>=3.10.1"));
        assert!(!has("python", "python@>=0"), "no version is not version 0");
        assert!(!has("python@3", "pytho@3"));
    }

    #[test]
    fn what_is_no_capability_is_refused() {
        for bad in
            ["", "@1", "a@", "a@b", "a@1.", "a@.1", "a@1..2", "a@01", "a@1.2.3.4.5", "a@4294967296", "a@-1", "a@1@2"]
        {
            assert!(Requirement::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Capability::parse(b"a@>=1").is_err());
        assert!(Capability::parse(&[b'x'; CAPABILITY_BYTES_MAX + 1]).is_err());
        assert_eq!(Capability::parse(b"a@1.0").unwrap().text(), b"a@1.0", "shown as it was given");
    }
}
