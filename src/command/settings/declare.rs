//! The macro that declares the settings, and the names that come from their identifiers.

/// Declares settings in groups, a row each:
///
/// ```text
/// "Title of the group" {
///     /// What it does.
///     LockLeaseMs: number("ms", 0..=100) = 30;        unit, smallest and largest value, default
///     FailureDetector: word(deadline | phi);          the first word is the default
///     BindAgentToUser: switch = no;
///     AuditFile: path;                                none by default
///     OrchestrationMode: word(a | b), env THIS_NAME;  instead of LTMC_ORCHESTRATION_MODE
///     FlowTasksMax: number("tasks", 1..=9) = 5,       and what a higher value costs
///         costs "a microsecond for each";
/// }
/// ```
///
/// From them come the enum `Setting` and the table `SETTINGS`.
macro_rules! settings {
    ($($group:literal {
        $(
            $(#[doc = $line:literal])+
            $id:ident: $kind:ident $(($($values:tt)+))? $(= $default:tt)? $(, env $environment:ident)?
                $(, costs $costs:literal)?;
        )+
    })+) => {
        /// A setting. `CONFIG` has it in kebab case: `LockLeaseMs` is `ltmc.lock-lease-ms`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Setting {
            $($($(#[doc = $line])+ $id,)+)+
        }

        /// The rows of all settings.
        pub const SETTINGS: &[Row] = &[
            $($(Row {
                setting: Setting::$id,
                name: settings!(@text Name::of_setting(stringify!($id))),
                group: $group,
                kind: settings!(@kind $kind $(($($values)+))? $(= $default)?),
                text: concat!($($line),+).trim_ascii_start(),
                environment: settings!(@environment $id $($environment)?),
                costs: [$($costs)?].first().copied(),
            },)+)+
        ];
    };
    (@kind number($unit:literal, $min:literal..=$max:literal) = $default:literal) => {
        SettingType::Number { unit: $unit, default: $default, min: $min, max: $max }
    };
    (@kind word($($word:ident)|+)) => { SettingType::Word(&[$(stringify!($word)),+]) };
    (@kind path) => { SettingType::Path };
    (@kind switch = yes) => { SettingType::Switch { default: true } };
    (@kind switch = no) => { SettingType::Switch { default: false } };
    (@environment $id:ident) => { settings!(@text Name::of_environment(stringify!($id))) };
    (@environment $id:ident $environment:ident) => { stringify!($environment) };
    (@text $name:expr) => {{
        const NAME: &Name = &$name;
        NAME.as_str()
    }};
}

/// Longest name, bytes. A longer one does not compile.
const NAME_BYTES_MAX: usize = 64;

/// A name that is made from an identifier while this is compiled.
pub struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

impl Name {
    /// `LockLeaseMs` is `lock-lease-ms`.
    pub const fn of_setting(identifier: &str) -> Self {
        Self::EMPTY.with_words(identifier, b'-', false)
    }

    /// `LockLeaseMs` is `LTMC_LOCK_LEASE_MS`.
    pub const fn of_environment(identifier: &str) -> Self {
        Self::EMPTY.with_words("Ltmc", b'_', true).with(b'_').with_words(identifier, b'_', true)
    }

    /// The name.
    pub const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => panic!("identifiers of settings are ASCII"),
        }
    }

    const EMPTY: Self = Self { bytes: [0; NAME_BYTES_MAX], len: 0 };

    const fn with(mut self, byte: u8) -> Self {
        self.bytes[self.len] = byte;
        self.len += 1;
        self
    }

    /// Adds the words of an identifier: each begins with a capital letter.
    const fn with_words(mut self, identifier: &str, between: u8, in_capitals: bool) -> Self {
        let letters = identifier.as_bytes();
        let mut at = 0;
        while at < letters.len() {
            let letter = letters[at];
            if letter.is_ascii_uppercase() && at > 0 {
                self = self.with(between);
            }
            self = self.with(if in_capitals { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() });
            at += 1;
        }
        self
    }
}
