//! One walk over the arguments of a command, along what its row declares.
//!
//! The parser ([`Args`](super::args::Args)) reads as far as this walk says that a value goes, and whoever asks where the keys are
//! ([`keys`](super::keys)) gets them from it. So a value that looks like an option is a value for both, and no key can hide behind one.
//!
//! ```text
//! LTMC.TASK.ADD flow task payload   GROUP LOCKS   LOCKS 1 key
//!               in place: one after the other     options: in any order, each a word with its values
//! ```

use super::args::parse_u64;
use super::spec::{Arg, ArgKind, Spec};
use smallvec::SmallVec;

/// The arguments that are keys, each with the key spec that it is of.
pub type FoundKeys = SmallVec<[(usize, i32); 4]>;

/// A walk over the arguments of one command.
#[derive(Debug)]
pub struct Walk<'a> {
    spec: &'static Spec,
    args: &'a [&'a [u8]],
    found: FoundKeys,
}

impl<'a> Walk<'a> {
    /// A walk that has not begun.
    pub fn new(spec: &'static Spec, args: &'a [&'a [u8]]) -> Self {
        Self { spec, args, found: FoundKeys::new() }
    }

    /// All keys, up to what is not as declared. The parser comes no further either.
    pub fn keys(mut self) -> FoundKeys {
        if let Some(at) = self.sequence(self.spec.in_place(), 1) {
            self.options(at);
        }
        self.found
    }

    /// Where the values of the option end whose word stands at `at`; `None` if they are not as declared.
    pub fn end_of_option(mut self, option: &Arg, at: usize) -> Option<usize> {
        self.argument(option, at)
    }

    /// Whether everything from `at` on is options: then an argument that may be left out has been.
    pub fn is_options(mut self, at: usize) -> bool {
        self.options(at) == self.args.len()
    }

    /// Where a list of values without a count that begins at `at` ends. What stands behind it and is as declared is options. A value may
    /// be called like an option, too: of pairs, the first is always one, and a list of keys goes on where an option would come twice.
    pub fn end_of_list(&self, value: &Arg, at: usize) -> usize {
        let (least, width) = match value.kind {
            ArgKind::Block(args) => (args.len(), args.len()),
            _ => (0, 1),
        };
        let are_options = |at: &usize| {
            let walk = Walk::new(self.spec, self.args);
            walk.is_options(*at) && (!matches!(value.kind, ArgKind::Key) || self.are_different(*at))
        };
        let len = self.args.len();
        if self.spec.in_place().len() == self.spec.args.len() {
            return len;
        }
        (at + least..len).step_by(width).find(are_options).unwrap_or(len)
    }

    /// Whether no option comes twice from `at` on, where there are only options.
    fn are_different(&self, mut at: usize) -> bool {
        let mut seen = 0u64;
        while let Some(option) = self.args.get(at).and_then(|word| self.spec.option(word)) {
            let bit = 1 << option.number;
            let end = Walk::new(self.spec, self.args).end_of_option(option.arg, at);
            let Some(end) = end.filter(|_| seen & bit == 0) else { return false };
            (seen, at) = (seen | bit, end);
        }
        true
    }

    /// Passes options from `at` on; where the first thing stands that is none.
    fn options(&mut self, mut at: usize) -> usize {
        while let Some(option) = self.args.get(at).and_then(|word| self.spec.option(word)) {
            let Some(end) = self.argument(option.arg, at) else { break };
            at = end;
        }
        at
    }

    /// Passes arguments that stand one after the other. A whole number before what may be repeated counts it.
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

    /// Whether an argument that may be left out stands at `at`.
    fn is_there(&self, arg: &Arg, at: usize) -> bool {
        let Some(given) = self.args.get(at) else { return false };
        match arg.token {
            Some(token) => given.eq_ignore_ascii_case(token.as_bytes()),
            None if self.spec.in_place().iter().any(|known| std::ptr::eq(known, arg)) => {
                !Walk::new(self.spec, self.args).is_options(at)
            }
            None => self.spec.option(given).is_none(),
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
                Some(at + 1)
            }
        }
    }
}
