//! One walk over the arguments of a command, along what its row declares.
//!
//! The walk decides how far a value goes, for the parser
//! ([`Args`](crate::command::engine::args::Args)), for the search for keys
//! ([`keys`](crate::command::engine::keys)) and for the agents that the caller acts as. So a value
//! that looks like an option is a value for all, and nothing can hide behind one.
//!
//! ```text
//! LTMC.TASK.ADD flow task payload   GROUP LOCKS   LOCKS 1 key
//!               in place: one after the other     options: in any order, a word and its values
//! ```

use super::spec::{Acting, Arg, ArgKind, OptionSpec, Spec};
use crate::domain::value::bytes::parse_u64;
use smallvec::SmallVec;
use std::ops::Range;

/// The arguments that are keys, each with its key spec.
pub type FoundKeys = SmallVec<[(usize, i32); 4]>;

/// A walk over the arguments of one command.
#[derive(Debug)]
pub struct Walk<'a> {
    spec: &'static Spec,
    args: &'a [&'a [u8]],
    /// The options that were passed, by their numbers.
    seen: u64,
    found: FoundKeys,
    /// Every value, if they are asked for.
    leaves: Option<Vec<Leaf>>,
}

/// A value among the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Where it stands.
    pub at: usize,
    /// Its name in the table.
    pub name: &'static str,
    /// The word before it.
    pub token: Option<&'static str>,
    /// Whether the caller says with it who it is.
    pub acting: Acting,
}

impl Leaf {
    /// Whether the caller says with it who it is, among all values of the command.
    pub fn is_actor(&self, all: &[Leaf]) -> bool {
        match self.acting {
            Acting::With(word) => all.iter().any(|leaf| leaf.token == Some(word)),
            acting => acting == Acting::Yes,
        }
    }
}

impl<'a> Walk<'a> {
    /// A walk that has not begun.
    pub fn new(spec: &'static Spec, args: &'a [&'a [u8]]) -> Self {
        Self { spec, args, seen: 0, found: FoundKeys::new(), leaves: None }
    }

    /// All keys, up to the first argument that is not as declared. The parser gets no further
    /// either.
    pub fn keys(mut self) -> FoundKeys {
        self.all();
        self.found
    }

    /// All arguments by which the caller says who it is, as far.
    pub fn actors(self) -> Vec<usize> {
        let leaves = self.leaves();
        leaves.iter().filter(|leaf| leaf.is_actor(&leaves)).map(|leaf| leaf.at).collect()
    }

    fn all(&mut self) {
        if let Some(at) = self.sequence(self.spec.in_place(), 1) {
            self.options(at);
        }
    }

    /// Every value that is as declared, up to the first argument that is not.
    pub fn leaves(mut self) -> Vec<Leaf> {
        self.leaves = Some(Vec::with_capacity(self.args.len()));
        self.all();
        self.leaves.unwrap_or_default()
    }

    /// All that was given: where the options begin, and each of them from its word to the end of
    /// its values. It ends at the first argument that is not as declared.
    pub fn parts(mut self) -> (usize, Vec<(OptionSpec, Range<usize>)>) {
        let first = self.sequence(self.spec.in_place(), 1).unwrap_or(self.args.len());
        let (mut at, mut options) = (first, Vec::new());
        while let Some(option) = self.args.get(at).and_then(|word| self.spec.option(word)) {
            let Some(end) = self.argument(option.arg, at) else { break };
            options.push((option, at..end));
            at = end;
        }
        (first, options)
    }

    /// Where the values of the option end whose word stands at `at`; `None` if they are not as
    /// declared.
    pub fn end_of_option(mut self, option: &Arg, at: usize) -> Option<usize> {
        self.argument(option, at)
    }

    /// Whether everything from `at` on is options, up to one that comes twice. Then an optional
    /// argument was left out.
    pub fn is_options(mut self, at: usize) -> bool {
        let end = self.options(at);
        let next = self.args.get(end).map(|word| self.spec.option(word));
        next.is_none_or(|option| option.is_some_and(|option| self.seen & option.bit() != 0 && end > at))
    }

    /// Where a list of values without a count that begins at `at` ends. Options with one value each
    /// may follow it.
    ///
    /// A value may look like an option. The first pair of a list of pairs never is one, and a list
    /// of keys continues where an option would come twice.
    pub fn end_of_list(&self, value: &Arg, at: usize) -> usize {
        let least = if let ArgKind::Block(args) = value.kind { args.len() } else { 0 };
        let (mut end, mut seen) = (self.args.len(), 0u64);
        while end >= at + least + 2 {
            let Some(option) = self.spec.option(self.args[end - 2]) else { break };
            let is_twice = seen & option.bit() != 0;
            if matches!(option.arg.kind, ArgKind::Word) || (is_twice && matches!(value.kind, ArgKind::Key)) {
                break;
            }
            (end, seen) = (end - 2, seen | option.bit());
        }
        end
    }

    /// Passes options from `at` on. Returns where something stands that is no option, or comes
    /// twice.
    fn options(&mut self, mut at: usize) -> usize {
        while let Some(option) = self.args.get(at).and_then(|word| self.spec.option(word)) {
            if self.seen & option.bit() != 0 && !option.is_repeated {
                break;
            }
            self.seen |= option.bit();
            let Some(end) = self.argument(option.arg, at) else { break };
            at = end;
        }
        at
    }

    /// Passes arguments that stand one after the other. A whole number before a repeated argument
    /// counts it.
    fn sequence(&mut self, args: &[Arg], mut at: usize) -> Option<usize> {
        let mut is_counted = false;
        for arg in args {
            at = match () {
                () if arg.multiple && is_counted => self.counted(arg, at)?,
                () if arg.multiple => self.list(arg, at)?,
                () if arg.optional && !self.is_there(arg, at) => at,
                () => self.argument(arg, at)?,
            };
            is_counted = matches!(arg.kind, ArgKind::Integer);
        }
        Some(at)
    }

    fn counted(&mut self, arg: &Arg, mut at: usize) -> Option<usize> {
        let count = parse_u64(self.args.get(at - 1)?)?;
        for _ in 0..count {
            at = self.argument(arg, at)?;
        }
        Some(at)
    }

    fn list(&mut self, arg: &Arg, mut at: usize) -> Option<usize> {
        let end = self.end_of_list(arg, at);
        while at < end {
            at = self.argument(arg, at)?;
        }
        Some(at)
    }

    /// Whether an optional argument stands at `at`.
    fn is_there(&self, arg: &Arg, at: usize) -> bool {
        let Some(given) = self.args.get(at) else { return false };
        match arg.token {
            Some(token) => given.eq_ignore_ascii_case(token.as_bytes()),
            None if self.spec.in_place().iter().any(|known| std::ptr::eq(known, arg)) => {
                !Walk::new(self.spec, self.args).is_options(at)
            }
            // The last of all arguments cannot begin an option that has values. It is a value that
            // looks like one.
            None => {
                let is_last = at + 1 == self.args.len();
                self.spec.option(given).is_none_or(|option| is_last && !matches!(option.arg.kind, ArgKind::Word))
            }
        }
    }

    /// Passes one argument with its word.
    fn argument(&mut self, arg: &Arg, at: usize) -> Option<usize> {
        let Some(token) = arg.token else { return self.value(arg, at) };
        let given = self.args.get(at)?;
        if given.eq_ignore_ascii_case(token.as_bytes()) {
            return self.value(arg, at + 1);
        }
        None
    }

    fn value(&mut self, arg: &Arg, at: usize) -> Option<usize> {
        match arg.kind {
            ArgKind::Word => Some(at),
            ArgKind::Block(args) => self.sequence(args, at),
            ArgKind::OneOf(args) => args.iter().find_map(|one| self.argument(one, at)),
            ArgKind::Key | ArgKind::String | ArgKind::Integer => {
                self.args.get(at)?;
                if matches!(arg.kind, ArgKind::Key) {
                    self.found.push((at, arg.key_spec));
                }
                if let Some(leaves) = &mut self.leaves {
                    leaves.push(Leaf { at, name: arg.name, token: arg.token, acting: arg.acting });
                }
                Some(at + 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::engine::roles::Roles;
    use crate::command::engine::spec::{Flags, TTL};

    const REF: Arg = Arg::string("text").after("REF").optional();
    const KEYS: Arg =
        Arg::new("keys", ArgKind::Block(&[Arg::integer("n"), Arg::key("key", 1).multiple()])).after("KEYS").optional();
    const PROGRESS: Arg = Arg::new("progress", ArgKind::Block(&[Arg::integer("n"), Arg::string("text").optional()]))
        .after("PROGRESS")
        .optional();

    const fn spec(args: &'static [Arg]) -> Spec {
        Spec {
            name: "TEST",
            arity: -1,
            flags: Flags::WRITE,
            keys: &[],
            roles: Roles::ALL,
            categories: "",
            service: None,
            is_verbatim: false,
            since: "",
            complexity: "",
            work: &[],
            summary: "",
            reply: crate::command::engine::reply_shape::Shape::OK,
            missing: crate::command::engine::missing::Missing::Rule,
            args,
        }
    }

    /// A key, a name, and options in any order.
    static USUAL: Spec = spec(&[Arg::key("key", 0), Arg::string("name"), REF, KEYS, TTL, PROGRESS]);
    /// A key, an optional name, and options.
    static OPEN: Spec = spec(&[Arg::key("key", 0), Arg::string("name").optional(), REF]);
    /// A list of keys, and options.
    static KEY_LIST: Spec = spec(&[Arg::key("key", 0), Arg::key("other", 1).multiple(), REF, TTL]);
    /// Pairs, and options.
    static PAIRS: Spec = spec(&[
        Arg::key("key", 0),
        Arg::new("pair", ArgKind::Block(&[Arg::string("field"), Arg::string("value")])).multiple(),
        REF,
        TTL,
    ]);

    /// An option with a list without a count, and another option.
    static OPEN_OPTION: Spec = spec(&[
        Arg::key("key", 0),
        Arg::new("since", ArgKind::Block(&[Arg::string("revision").multiple()])).after("SINCE"),
        KEYS,
    ]);

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[track_caller]
    fn assert_keys(spec: &'static Spec, line: &str, expected: &str) {
        let words = words(line);
        let found = Walk::new(spec, &words).keys();
        let names: Vec<_> = found.iter().map(|(at, _)| String::from_utf8_lossy(words[*at]).into_owned()).collect();
        assert_eq!(names.join(" "), expected, "{line}");
    }

    #[test]
    fn a_value_that_looks_like_an_option_is_a_value() {
        assert_keys(&USUAL, "TEST k n REF KEYS KEYS 1 x", "k x");
        assert_keys(&USUAL, "TEST k n keys 2 x REF ref keys", "k x REF");
        assert_keys(&USUAL, "TEST k KEYS KEYS 1 x", "k x");
        assert_keys(&USUAL, "TEST k n PX KEYS KEYS 1 x", "k x");
        assert_keys(&USUAL, "TEST k n PROGRESS 5 KEYS 1 x", "k x");
        assert_keys(&USUAL, "TEST k n PROGRESS 5 text KEYS 1 x", "k x");
        assert_keys(&USUAL, "TEST k n KEYS 1 x PROGRESS 5 progress", "k x");
        let is_text = |line: &str| Walk::new(&USUAL, &words(line)).end_of_option(&PROGRESS, 3) == Some(6);
        assert!(is_text("TEST k n PROGRESS 5 progress") && !is_text("TEST k n PROGRESS 5 progress 6"));
    }

    #[test]
    fn the_agents_that_the_caller_acts_as_are_found_where_they_stand() {
        static ACTING: Spec = spec(&[
            Arg::key("key", 0),
            Arg::string("owner").acting().optional(),
            Arg::string("text").acting_with("OF").after("REF").optional(),
            Arg::key("of", 1).after("OF").optional(),
        ]);
        let assert_actors = |line: &str, expected: &[usize]| {
            assert_eq!(Walk::new(&ACTING, &words(line)).actors(), expected, "{line}");
        };
        assert_actors("TEST k ada", &[2]);
        assert_actors("TEST k REF x", &[]);
        assert_actors("TEST k ada REF x", &[2]);
        assert_actors("TEST k ada REF bob OF x", &[2, 4]);
        assert_actors("TEST k OF x ref OF", &[5]);
        assert_actors("TEST k REF OF OF x", &[3]);
    }

    #[test]
    fn a_walk_ends_where_something_is_not_as_declared() {
        assert_keys(&USUAL, "TEST k n BOGUS KEYS 1 x", "k");
        assert_keys(&USUAL, "TEST k n KEYS many x KEYS 1 y", "k");
        assert_keys(&USUAL, "TEST k n KEYS 3 x y", "k x y");
        assert_keys(&USUAL, "TEST k n KEYS 18446744073709551615 x", "k x");
        assert_keys(&USUAL, "TEST k n REF", "k");
        assert_keys(&USUAL, "TEST k n REF a REF b KEYS 1 x", "k");
        assert_keys(&USUAL, "TEST k", "k");
    }

    #[test]
    fn what_may_be_left_out_is_there_unless_all_that_follows_is_options() {
        let has_name = |line: &str| !Walk::new(&OPEN, &words(line)).is_options(2);
        assert!(!has_name("TEST k REF x") && !has_name("TEST k") && !has_name("TEST k REF x REF y"));
        assert!(
            has_name("TEST k name")
                && has_name("TEST k REF")
                && has_name("TEST k REF REF x")
                && has_name("TEST k x REF y")
        );
    }

    #[test]
    fn a_list_of_keys_goes_on_where_an_option_would_come_twice() {
        assert_keys(&KEY_LIST, "TEST k x REF y", "k x");
        assert_keys(&KEY_LIST, "TEST k REF x REF y", "k REF x");
        assert_keys(&KEY_LIST, "TEST k x PX 1 EX 2 REF y", "k x");
        assert_keys(&KEY_LIST, "TEST k x REF y z", "k x REF y z");
        assert_keys(&KEY_LIST, "TEST k REF y", "k");
    }

    #[test]
    fn the_first_pair_is_never_an_option() {
        let end = |line: &str| Walk::new(&PAIRS, &words(line)).end_of_list(&PAIRS.args[1], 2);
        assert_eq!(end("TEST k REF x"), 4);
        assert_eq!(end("TEST k f v REF x"), 4);
        assert_eq!(end("TEST k f v REF x g w"), 8);
        assert_eq!(end("TEST k f v REF x REF y"), 4);
    }

    #[test]
    fn many_arguments_take_no_longer_than_their_number() {
        // Each of them could begin options, and all of that comes to nothing at the end.
        let line = format!("TEST k {}x", "REF REF ".repeat(20_000));
        assert_keys(&KEY_LIST, &line, &line[5..line.len() - 6]);
        let line = format!("TEST k n {}", "PROGRESS 1 ".repeat(20_000));
        assert_keys(&USUAL, line.trim_end(), "k");
        let line = format!("TEST k {}KEYS 1 x", "SINCE 0 ".repeat(20_000));
        assert_keys(&OPEN_OPTION, &line, "k");
    }
}
