//! The settings: module configs (`CONFIG GET/SET ltmc.*`), with defaults from the environment.
//!
//! `table` declares each setting once. `make docs` generates `redis.conf.example` and this folder's
//! README.md from it.

#[macro_use]
mod declare;

pub mod misspelled;
pub mod policies;

mod table;

pub use table::{Setting, SETTINGS};

use crate::domain::value::bytes::printable;

/// The values that a setting takes.
#[derive(Debug, Clone, Copy)]
pub enum SettingType {
    /// A whole number in a range.
    Number {
        /// What is counted or measured.
        unit: &'static str,
        /// Default.
        default: i64,
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// One of several words; the value is the word's index, and the first is the default.
    Word(&'static [&'static str]),
    /// The path of a file, or an empty text for none. It is kept beside the numbers, see
    /// [`Settings::text_at`].
    Path,
    /// `yes` (1) or `no` (0).
    Switch {
        /// Default.
        default: bool,
    },
}

/// How the values of a [`SettingType::Switch`] may be written, each with its meaning. The first
/// word of each meaning is shown.
pub const SWITCH_WORDS: &[(&str, i64)] =
    &[("yes", 1), ("no", 0), ("true", 1), ("false", 0), ("on", 1), ("off", 0), ("1", 1), ("0", 0)];

/// What is known of a setting.
#[derive(Debug)]
pub struct Row {
    /// Which it is.
    pub setting: Setting,
    /// Name without the `ltmc.` before it.
    pub name: &'static str,
    /// What it belongs to: a service, or the node as a whole.
    pub group: &'static str,
    /// Values.
    pub kind: SettingType,
    /// What it does.
    pub text: &'static str,
    /// Environment name that gives the default at load.
    pub environment: &'static str,
    /// What a higher value costs, if other commands have to wait for it.
    pub costs: Option<&'static str>,
}

impl Setting {
    /// Its row.
    pub fn row(self) -> &'static Row {
        &SETTINGS[self as usize]
    }
}

impl Row {
    /// The default value.
    pub fn default_value(&self) -> i64 {
        match self.kind {
            SettingType::Number { default, .. } => default,
            SettingType::Word(_) | SettingType::Path => 0,
            SettingType::Switch { default } => i64::from(default),
        }
    }

    /// The value as CONFIG GET shows it, if it is a word.
    pub fn word(&self, value: i64) -> Option<&'static str> {
        match self.kind {
            SettingType::Number { .. } | SettingType::Path => None,
            SettingType::Word(words) => words.get(value as usize).copied(),
            SettingType::Switch { .. } => {
                SWITCH_WORDS.iter().find(|(_, meaning)| *meaning == value).map(|(word, _)| *word)
            }
        }
    }

    /// The largest value.
    pub fn max(&self) -> u64 {
        match self.kind {
            SettingType::Number { max, .. } => max.unsigned_abs(),
            SettingType::Word(words) => words.len() as u64 - 1,
            SettingType::Path => 0,
            SettingType::Switch { .. } => 1,
        }
    }

    /// The value as CONFIG GET shows it.
    pub fn show(&self, value: i64) -> String {
        match self.kind {
            SettingType::Path => String::new(),
            _ => self.word(value).map_or_else(|| value.to_string(), str::to_string),
        }
    }

    /// Reads a value, wherever it comes from; errs with what was given and what is allowed.
    pub fn parse(&self, text: &str) -> Result<i64, String> {
        let (value, allowed) = match self.kind {
            SettingType::Number { min, max, .. } => {
                let value = text.parse::<i64>().ok().filter(|value| (min..=max).contains(value));
                (value, format!("whole numbers from {min} to {max}"))
            }
            SettingType::Word(words) => {
                let at = words.iter().position(|word| word.eq_ignore_ascii_case(text));
                (at.map(|at| at as i64), words.join(", "))
            }
            SettingType::Path => {
                let fits = text.len() <= PATH_BYTES_MAX && !text.contains('\0');
                (fits.then_some(0), format!("paths of up to {PATH_BYTES_MAX} bytes, or nothing"))
            }
            SettingType::Switch { .. } => {
                let found = SWITCH_WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
                let words: Vec<&str> = SWITCH_WORDS.iter().map(|(word, _)| *word).collect();
                (found.map(|(_, value)| *value), words.join(", "))
            }
        };
        value.ok_or_else(|| format!("ltmc.{} is '{}', allowed are {allowed}", self.name, printable(text.as_bytes())))
    }
}

/// Longest path, bytes.
const PATH_BYTES_MAX: usize = 4096;

/// The values in force.
#[derive(Debug, Clone)]
pub struct Settings {
    values: [i64; SETTINGS.len()],
    /// The one path that there is.
    audit_file: Box<str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { values: std::array::from_fn(|at| SETTINGS[at].default_value()), audit_file: "".into() }
    }
}

impl Settings {
    /// The value with this place in the table.
    pub fn at(&self, index: usize) -> i64 {
        self.values[index]
    }

    /// The value with this place in the table, if it is a path.
    pub fn text_at(&self, index: usize) -> Option<&str> {
        (index == Setting::AuditFile as usize).then_some(self.audit_file())
    }

    /// The file of the audit trail; empty if there is none.
    pub fn audit_file(&self) -> &str {
        &self.audit_file
    }

    /// Sets the path.
    pub fn set_audit_file(&mut self, path: &str) {
        self.audit_file = path.into();
    }

    /// The value with this place in the table, as CONFIG GET shows it.
    pub fn show(&self, index: usize) -> String {
        self.text_at(index).map_or_else(|| SETTINGS[index].show(self.at(index)), str::to_string)
    }

    /// Sets the value with this place in the table; the server has checked its range.
    pub fn set_at(&mut self, index: usize, value: i64) {
        self.values[index] = value;
    }

    /// A value that is not negative by its range.
    pub fn get(&self, setting: Setting) -> u64 {
        u64::try_from(self.values[setting as usize]).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_say_what_is_allowed() {
        let strategy = Setting::MemoryLockingStrategy.row();
        assert_eq!(strategy.parse("Optimistic"), Ok(1));
        let text = strategy.parse("both").unwrap_err();
        assert_eq!(text, "ltmc.memory-locking-strategy is 'both', allowed are pessimistic, optimistic");
        assert_eq!(Setting::AgentRegistryEnabled.row().parse("True"), Ok(1));
        assert!(Setting::LockAgeingMs.row().parse("0").is_err());
    }

    #[test]
    fn every_setting_finds_its_row_and_names_come_from_its_identifier() {
        assert!(SETTINGS.iter().all(|row| row.setting.row().name == row.name));
        let lease = Setting::LockLeaseMs.row();
        assert_eq!((lease.name, lease.environment), ("lock-lease-ms", "LTMC_LOCK_LEASE_MS"));
        let mode = Setting::OrchestrationMode.row();
        assert_eq!((mode.name, mode.environment), ("orchestration-mode", "ORCHESTRATION_MODE"));
    }
}
