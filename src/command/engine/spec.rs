//! The vocabulary of the command table. One [`Spec`] holds everything about a command that can be
//! said without running it.

use super::missing::{Missing, Nothing};
use super::reply_shape::Shape;
use super::roles::Roles;
use super::work::Work;
use crate::command::host::Access;
use crate::domain::Service;

/// Everything about a command.
#[derive(Debug)]
pub struct Spec {
    /// Its name, upper case.
    pub name: &'static str,
    /// Number of arguments, the name included. A negative number is a minimum.
    pub arity: i32,
    /// Redis' command flags.
    pub flags: Flags,
    /// Where its keys stand.
    pub keys: &'static [KeySpec],
    /// Who has it in the ready ACL lines.
    pub roles: Roles,
    /// ACL categories, for servers that let a module name them.
    pub categories: &'static str,
    /// The service whose counters and switch apply to it; `None` for commands about the module
    /// itself.
    pub service: Option<Service>,
    /// Whether it is replicated as the client sent it, instead of by the changes it makes.
    pub is_verbatim: bool,
    /// The version of LTMC that introduced it.
    pub since: &'static str,
    /// Its cost.
    pub complexity: &'static str,
    /// What it looks at in one go, at most.
    pub work: &'static [Work],
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// What it answers.
    pub reply: Shape,
    /// What it answers on a key that is not there, as far as it has keys.
    pub missing: Missing,
    /// Its arguments, for the syntax line and COMMAND DOCS.
    pub args: &'static [Arg],
}

/// Redis' command flags, as a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u16);

#[allow(missing_docs)] // named as Redis names them
impl Flags {
    pub const WRITE: Flags = Flags(1);
    pub const READONLY: Flags = Flags(2);
    pub const DENY_OOM: Flags = Flags(4);
    pub const FAST: Flags = Flags(8);
    pub const BLOCKING: Flags = Flags(16);
    pub const ADMIN: Flags = Flags(32);
    pub const GETKEYS_API: Flags = Flags(64);
    pub const ALLOW_STALE: Flags = Flags(128);
    pub const ALLOW_LOADING: Flags = Flags(256);
    /// Not one of Redis' flags: the last arguments are a command of their own.
    pub const WRAPS: Flags = Flags(512);

    const NAMES: [(Flags, &'static str); 9] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENY_OOM, "deny-oom"),
        (Flags::FAST, "fast"),
        (Flags::BLOCKING, "blocking"),
        (Flags::ADMIN, "admin"),
        (Flags::GETKEYS_API, "getkeys-api"),
        (Flags::ALLOW_STALE, "allow-stale"),
        (Flags::ALLOW_LOADING, "allow-loading"),
    ];

    /// The union of both.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether it contains all of `other`.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names, separated by spaces, as Redis reads them.
    pub fn names(self) -> String {
        let names: Vec<_> = Flags::NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        names.join(" ")
    }
}

/// Where keys stand in the arguments.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// How the command accesses them.
    pub access: Access,
    /// Where they stand.
    pub at: KeysAt,
}

/// Where keys stand.
#[derive(Debug, Clone, Copy)]
pub enum KeysAt {
    /// The argument at this index. The command itself has index 0.
    Index(i32),
    /// The argument after this word, which is searched from this index on.
    AfterWord(&'static str, i32),
    /// All arguments from this index on.
    From(i32),
    /// A count at this index, then as many keys.
    CountAt(i32),
    /// Where all words of one of these lists stand at their indexes: the argument after the last of
    /// them. Needs `GETKEYS_API`.
    Behind(&'static [&'static [(i32, &'static str)]]),
    /// A count after this word, which is searched from this index on, then as many keys.
    CountAfter(&'static str, i32),
}

/// One argument.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// Its name in documentation and error messages.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// The word before it.
    pub token: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// The key spec that it is a key of; -1 if it is no key.
    pub key_spec: i32,
    /// Whether the caller says with it who it is.
    pub acting: Acting,
}

/// Whether an argument names the agent that the caller acts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acting {
    /// It names nobody, or somebody else.
    No,
    /// It does.
    Yes,
    /// It does if this option is given.
    With(&'static str),
}

/// The kinds of arguments.
#[derive(Debug, Clone, Copy)]
pub enum ArgKind {
    /// A key.
    Key,
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// Only the word itself.
    Word,
    /// One of several.
    OneOf(&'static [Arg]),
    /// All of several, in order.
    Block(&'static [Arg]),
}

#[allow(missing_docs)] // a small language: the names say it
impl Arg {
    pub const fn new(name: &'static str, kind: ArgKind) -> Arg {
        Arg { name, kind, token: None, optional: false, multiple: false, key_spec: -1, acting: Acting::No }
    }
    pub const fn key(name: &'static str, key_spec: i32) -> Arg {
        Arg { key_spec, ..Arg::new(name, ArgKind::Key) }
    }
    pub const fn string(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::String)
    }
    pub const fn integer(name: &'static str) -> Arg {
        Arg::new(name, ArgKind::Integer)
    }
    pub const fn word(name: &'static str, token: &'static str) -> Arg {
        Arg { token: Some(token), ..Arg::new(name, ArgKind::Word) }
    }
    pub const fn one_of(name: &'static str, args: &'static [Arg]) -> Arg {
        Arg::new(name, ArgKind::OneOf(args))
    }
    pub const fn after(self, token: &'static str) -> Arg {
        Arg { token: Some(token), ..self }
    }
    pub const fn optional(self) -> Arg {
        Arg { optional: true, ..self }
    }
    pub const fn multiple(self) -> Arg {
        Arg { multiple: true, ..self }
    }
    pub const fn acting(self) -> Arg {
        Arg { acting: Acting::Yes, ..self }
    }
    pub const fn acting_with(self, word: &'static str) -> Arg {
        Arg { acting: Acting::With(word), ..self }
    }
}

/// `[PX ms | EX s]`, which most writes take.
pub const TTL: Arg = Arg::one_of("ttl", &[Arg::integer("ms").after("PX"), Arg::integer("s").after("EX")]).optional();

impl Arg {
    /// The word that it begins with, if it begins with one.
    pub fn first_word(&self) -> Option<&'static str> {
        match self.kind {
            ArgKind::Block(parts) if self.token.is_none() => parts.first()?.first_word(),
            _ => self.token,
        }
    }
}

impl Spec {
    /// The choices that are declared under `name`, and what they are called in an error: by the
    /// word before them, if there is one.
    pub fn choice(&self, name: &str) -> Option<(&'static str, &'static [Arg])> {
        find_choice(self.args, name, None)
    }
}

fn find_choice(
    args: &'static [Arg],
    name: &str,
    before: Option<&'static str>,
) -> Option<(&'static str, &'static [Arg])> {
    args.iter().find_map(|arg| {
        let before = arg.token.or(before);
        match arg.kind {
            ArgKind::OneOf(choices) if arg.name == name => Some((before.unwrap_or(arg.name), choices)),
            ArgKind::OneOf(parts) | ArgKind::Block(parts) => find_choice(parts, name, before),
            _ => None,
        }
    })
}

/// An option of a command.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its number among all options of the command.
    pub number: u32,
    /// The numbers of the options of which it is one choice, its own among them. They exclude each
    /// other.
    pub choices: (u32, u32),
    /// Its own declaration, with its word.
    pub arg: &'static Arg,
    /// Its word.
    pub word: &'static str,
    /// Whether it may come any number of times, beside the other choices.
    pub is_repeated: bool,
}

/// What may stand where an argument is declared: each of its choices.
fn choices_of(arg: &'static Arg) -> &'static [Arg] {
    match (arg.token, arg.kind) {
        (None, ArgKind::OneOf(choices)) => choices,
        _ => std::slice::from_ref(arg),
    }
}

impl OptionSpec {
    /// The one of `options` that begins with `word`, in any case.
    #[inline]
    pub fn find(options: &'static [Arg], word: &[u8]) -> Option<OptionSpec> {
        let mut first = 0;
        for arg in options {
            let choices = choices_of(arg);
            let is_it = |arg: &Arg| arg.token.is_some_and(|token| word.eq_ignore_ascii_case(token.as_bytes()));
            if let Some(at) = choices.iter().position(is_it) {
                let (number, choices_end) = (first + at as u32, first + choices.len() as u32);
                let (one, is_repeated) = (&choices[at], arg.multiple);
                let word = one.token.unwrap_or_default();
                return Some(OptionSpec { number, choices: (first, choices_end), arg: one, word, is_repeated });
            }
            first += choices.len() as u32;
        }
        None
    }

    /// How many values it has, if that number is fixed.
    #[inline]
    pub fn values(&self) -> Option<usize> {
        match self.arg.kind {
            ArgKind::Word => Some(0),
            ArgKind::Key | ArgKind::String | ArgKind::Integer => Some(1),
            ArgKind::OneOf(_) | ArgKind::Block(_) => None,
        }
    }

    /// Its number as a bit of a set.
    pub fn bit(&self) -> u64 {
        1 << self.number
    }
}

impl Spec {
    /// Whether it changes keys.
    pub const fn writes(&self) -> bool {
        self.flags.has(Flags::WRITE)
    }

    /// The positional arguments: all up to the last that has no word before it.
    pub fn in_place(&self) -> &'static [Arg] {
        let has_word = |arg: &Arg| arg.token.is_some() || matches!(arg.kind, ArgKind::OneOf(_) | ArgKind::Word);
        let end = self.args.iter().rposition(|arg| !has_word(arg)).map_or(0, |last| last + 1);
        &self.args[..end]
    }

    /// The options, which follow the positional arguments in any order.
    pub fn options(&self) -> &'static [Arg] {
        &self.args[self.in_place().len()..]
    }

    /// The option that begins with `word`, in any case.
    pub fn option(&self, word: &[u8]) -> Option<OptionSpec> {
        OptionSpec::find(self.options(), word)
    }

    /// The words of the options, by their numbers.
    pub fn option_words(&self) -> impl Iterator<Item = &'static str> {
        self.options().iter().flat_map(choices_of).map(|arg| arg.token.unwrap_or_default())
    }

    /// What it answers on a key that is not there, and when; nothing if it has no keys.
    pub fn on_missing(&self) -> Vec<(Option<&'static str>, Nothing)> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        self.missing.answers(&self.reply)
    }

    /// The syntax line.
    pub fn syntax(&self) -> String {
        let args: Vec<_> = self.args.iter().map(syntax_of).collect();
        [&[self.name.to_string()], &args[..]].concat().join(" ")
    }
}

fn syntax_of(arg: &Arg) -> String {
    let list = |args: &[Arg], between: &str| args.iter().map(syntax_of).collect::<Vec<_>>().join(between);
    let value = match arg.kind {
        ArgKind::Word => String::new(),
        ArgKind::OneOf(args) => list(args, "|"),
        ArgKind::Block(args) => list(args, " "),
        _ => arg.name.to_string(),
    };
    let mut text = match (arg.token, value.is_empty()) {
        (Some(token), true) => token.to_string(),
        (Some(token), false) => format!("{token} {value}"),
        (None, _) => value,
    };
    if arg.multiple {
        text = format!("{text} [{text} ...]");
    }
    if arg.optional {
        text = format!("[{text}]");
    }
    text
}
