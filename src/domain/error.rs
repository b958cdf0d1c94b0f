//! The one error type. Its code decides the first word of the reply; tests pin the list.

use std::borrow::Cow;

/// The kind of an error: the stable first word that clients match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the words are the documentation; src/command/README.md explains each
pub enum Code {
    Err,
    WrongType,
    NotOwner,
    Stale,
    Conflict,
    Deadlock,
    NoAgent,
    NoSession,
    NoContext,
    NoTask,
    NoFlow,
    NoChunk,
    NoBuffer,
    Limit,
    BadState,
    Disabled,
    Quarantined,
    Denied,
    ReadOnly,
    Moved,
    NoPerm,
    TryAgain,
    Oom,
}

impl Code {
    /// The first word of the error reply.
    pub const fn word(self) -> &'static str {
        match self {
            Code::Err => "ERR",
            Code::WrongType => "WRONGTYPE",
            Code::NotOwner => "NOTOWNER",
            Code::Stale => "STALE",
            Code::Conflict => "CONFLICT",
            Code::Deadlock => "DEADLOCK",
            Code::NoAgent => "NOAGENT",
            Code::NoSession => "NOSESSION",
            Code::NoContext => "NOCONTEXT",
            Code::NoTask => "NOTASK",
            Code::NoFlow => "NOFLOW",
            Code::NoChunk => "NOCHUNK",
            Code::NoBuffer => "NOBUFFER",
            Code::Limit => "LIMIT",
            Code::BadState => "BADSTATE",
            Code::Disabled => "DISABLED",
            Code::Quarantined => "QUARANTINED",
            Code::Denied => "DENIED",
            Code::ReadOnly => "READONLY",
            Code::Moved => "MOVED",
            Code::NoPerm => "NOPERM",
            Code::TryAgain => "TRYAGAIN",
            Code::Oom => "OOM",
        }
    }
}

/// Why a command was refused. A command that returns an error has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The kind.
    pub code: Code,
    /// The text after the first word: which argument, what was given, what is allowed. User bytes
    /// in it are escaped.
    pub text: Cow<'static, str>,
}

impl Error {
    /// An error of any kind.
    pub fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }

    /// What Redis answers to a command that it does not run beyond maxmemory.
    pub fn out_of_memory() -> Self {
        Self::new(Code::Oom, "command not allowed when used memory > 'maxmemory'.")
    }

    /// Misuse: syntax or a value out of range.
    ///
    /// Clients cut `ERR ` off and take a first word in capitals for the error's code, so a text
    /// that begins with an option says so in lower case: `option LIMIT is '0', ...`.
    pub fn usage(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        let first = text.split([' ', ',', ';', ':']).next().unwrap_or_default();
        let is_option = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_uppercase());
        let text = if is_option { format!("option {text}").into() } else { text };
        Self::new(Code::Err, text)
    }

    /// A bound was exceeded; `setting` is the full name of its setting.
    pub fn limit(setting: &str, what: &str, max: u64) -> Self {
        Self::new(Code::Limit, format!("{what} would pass the limit of {max} (setting ltmc.{setting})"))
    }

    /// A length of `given` bytes, where 1 to `max` are allowed; `what` is what has it.
    pub fn length(what: &str, given: usize, max: usize) -> Self {
        Self::usage(format!("{what} is {given} bytes long, allowed are 1 to {max}"))
    }

    /// Errs unless a length is 1 to `max` bytes; `what` is what has it.
    pub fn check_length(what: &str, given: usize, max: usize) -> Result<(), Self> {
        if (1..=max).contains(&given) {
            Ok(())
        } else {
            Err(Self::length(what, given, max))
        }
    }

    /// Errs if a length is more than `max` bytes; `what` is what has it.
    pub fn check_length_max(what: &str, given: usize, max: usize) -> Result<(), Self> {
        if given <= max {
            return Ok(());
        }
        Err(Self::usage(format!("{what} is {given} bytes long, at most {max} are allowed")))
    }

    /// A panic was contained.
    pub fn internal() -> Self {
        Self::new(Code::Err, "internal error, contained; the server's log has the details")
    }

    /// A key that a command needs may be on another node, since its slot is moving. The server uses
    /// the same words for keys that are arguments.
    pub fn try_again() -> Self {
        Self::new(Code::TryAgain, "Multiple keys request during rehashing of slot")
    }

    /// The key holds a value of another type.
    pub fn wrong_type() -> Self {
        Self::new(Code::WrongType, "Operation against a key holding the wrong kind of value")
    }

    /// The whole error line as the client reads it, without the protocol's `-`.
    pub fn line(&self) -> String {
        format!("{} {}", self.code.word(), self.text)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line())
    }
}

impl std::error::Error for Error {}
