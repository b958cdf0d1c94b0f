//! The one parser: a cursor over the arguments. Every value is checked where it is read, and an
//! argument that is left over is an error. The command's row says where the values of an option
//! end, see [`walk`](crate::command::engine::walk).

use super::requests::digest;
use super::spec::{Arg, OptionSpec, Spec};
use super::walk::Walk;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::json::text::Room;
use crate::domain::json::Value;
use crate::domain::limits::{COMMAND_KEY_BYTES_MAX, DURATION_MS_MAX, ID_BYTES_MAX};
use crate::domain::value::bytes::{parse_u64, printable};
use crate::domain::value::fence::FENCE_END;
use crate::domain::{Bytes, Error, Fence, Millis};

/// Reads the arguments of one command from left to right.
#[derive(Debug)]
pub struct Args<'a> {
    spec: &'static Spec,
    args: &'a [&'a [u8]],
    at: usize,
    /// Where the values of the current option end. Without one, where the arguments end.
    end: usize,
    /// The current option is not as declared, so reading it has to fail.
    is_unfit: bool,
    /// The options of the command.
    options: &'static [Arg],
    /// The options that were given, by their numbers.
    seen: u64,
}

impl<'a> Args<'a> {
    /// A cursor that stands on the first argument after the command's name.
    pub fn new(spec: &'static Spec, args: &'a [&'a [u8]]) -> Self {
        Self::at(spec, args, 1)
    }

    /// A cursor that stands on the argument with this index.
    pub fn at(spec: &'static Spec, args: &'a [&'a [u8]], at: usize) -> Self {
        Self { spec, args, at, end: args.len(), is_unfit: false, options: spec.options(), seen: 0 }
    }

    /// Index of the next argument.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next argument, any bytes.
    pub fn bytes(&mut self, name: &str) -> Result<&'a [u8], Error> {
        let Some(bytes) = self.args[..self.end].get(self.at) else {
            return Err(self.missing(name));
        };
        self.at += 1;
        Ok(bytes)
    }

    /// The next argument as an id of 1 to [`ID_BYTES_MAX`] bytes.
    pub fn id(&mut self, name: &str) -> Result<&'a [u8], Error> {
        let id = self.bytes(name)?;
        Error::check_length(name, id.len(), ID_BYTES_MAX).map(|()| id)
    }

    /// The next argument as a `REQID` of `owner`, which is empty where the command names nobody. It
    /// goes with the digest of the whole command.
    pub fn request_id(&mut self, owner: &[u8]) -> Result<RequestId, Error> {
        let (id, digest) = (Bytes::from(self.id("REQID")?), digest(self.spec, self.args));
        Ok(RequestId { owner: Bytes::from(owner), id, digest })
    }

    /// The next argument as the key of a registry.
    pub fn registry(&mut self) -> Result<Bytes, Error> {
        debug_assert!(self.is_key(self.at), "{} reads a key that it does not declare", self.spec.name);
        let name = self.bytes("REGISTRY")?;
        Error::check_length("REGISTRY", name.len(), COMMAND_KEY_BYTES_MAX).map(|()| Bytes::from(name))
    }

    /// `[REGISTRY key]` as the only option of a command.
    pub fn only_registry(&mut self) -> Result<Option<Bytes>, Error> {
        let mut registry = None;
        while self.option()?.is_some() {
            registry = Some(self.registry()?);
        }
        Ok(registry)
    }

    /// Whether the argument with this index is a key, by the command's row.
    pub fn is_key(&self, index: usize) -> bool {
        index >= self.args.len() || Walk::new(self.spec, self.args).keys().iter().any(|(at, _)| *at == index)
    }

    /// The next argument as a text of at most `max` bytes.
    pub fn text(&mut self, name: &str, max: usize) -> Result<&'a [u8], Error> {
        let text = self.bytes(name)?;
        Error::check_length_max(name, text.len(), max).map(|()| text)
    }

    /// The next argument as a whole number in `min..=max`.
    pub fn number(&mut self, name: &str, min: u64, max: u64) -> Result<u64, Error> {
        let given = self.bytes(name)?;
        match parse_u64(given) {
            Some(value) if (min..=max).contains(&value) => Ok(value),
            _ => Err(Error::usage(format!(
                "{name} is '{}', allowed are whole numbers from {min} to {max}",
                printable(given)
            ))),
        }
    }

    /// The next arguments as a count from `min` to `max`, and as many values.
    pub fn list(&mut self, name: &str, min: usize, max: usize) -> Result<&'a [&'a [u8]], Error> {
        let count = self.number(&format!("the number of values of {name}"), min as u64, max as u64)? as usize;
        let left = self.end - self.at;
        if left < count {
            let text =
                format!("{name} announces {count} values, but only {left} follow; syntax: {}", self.spec.syntax());
            return Err(Error::usage(text));
        }
        let values = &self.args[self.at..self.at + count];
        self.at += count;
        Ok(values)
    }

    /// The next argument as a share from 0 to 1, in thousandths.
    pub fn thousandths(&mut self, name: &str) -> Result<u16, Error> {
        Ok((self.decimal(name, 0.0, 1.0)? * 1000.0).round() as u16)
    }

    /// The next argument as a number in `min..=max`.
    pub fn decimal(&mut self, name: &str, min: f64, max: f64) -> Result<f64, Error> {
        let given = self.bytes(name)?;
        let number = std::str::from_utf8(given).ok().and_then(|text| text.parse::<f64>().ok());
        number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
            Error::usage(format!("{name} is '{}', allowed are numbers from {min} to {max}", printable(given)))
        })
    }

    /// The next argument as a whole number from 1 to the largest value of `setting`.
    pub fn bounded(&mut self, name: &str, setting: Setting) -> Result<u64, Error> {
        self.number(name, 1, setting.row().max())
    }

    /// The next argument as the number of a version. 0 is before the first.
    pub fn version(&mut self, name: &str) -> Result<u64, Error> {
        self.number(name, 0, i64::MAX as u64)
    }

    /// The next argument as a fence that was given out.
    pub fn fence(&mut self, name: &str) -> Result<Fence, Error> {
        self.number(name, 1, FENCE_END - 1)
    }

    /// The next argument as a fence, current or not. Zero is older than all fences.
    pub fn fence_or_zero(&mut self, name: &str) -> Result<Fence, Error> {
        self.number(name, 0, FENCE_END - 1)
    }

    /// The next argument as a duration of at least `min` milliseconds.
    pub fn millis(&mut self, name: &str, min: Millis) -> Result<Millis, Error> {
        self.number(name, min, DURATION_MS_MAX)
    }

    /// The next argument as a duration of at least one second, in milliseconds.
    pub fn seconds(&mut self, name: &str) -> Result<Millis, Error> {
        Ok(self.number(name, 1, DURATION_MS_MAX / 1000)? * 1000)
    }

    /// The arguments after the word `PX` or `EX`: a duration in ms, at least one.
    pub fn duration(&mut self, word: &'static str) -> Result<Millis, Error> {
        if word == "EX" {
            self.seconds(word)
        } else {
            self.millis(word, 1)
        }
    }

    /// `[PX ms | EX s]` as the only option of a command, ms.
    pub fn only_duration(&mut self) -> Result<Option<Millis>, Error> {
        let mut duration = None;
        while let Some(word) = self.option()? {
            duration = Some(self.duration(word)?);
        }
        Ok(duration)
    }

    /// The next option: its word as the row has it, with the cursor on its values. `None` at the
    /// end. An option that comes twice, or beside one that it excludes, is an error.
    pub fn option(&mut self) -> Result<Option<&'static str>, Error> {
        self.end_option()?;
        let Some(given) = self.args.get(self.at) else {
            return Ok(None);
        };
        let Some(option) = OptionSpec::find(self.options, given) else {
            return Err(self.surplus(given));
        };
        let (first, end) = option.choices;
        let choices = (1u64 << end) - (1u64 << first);
        if self.seen & choices != 0 && !option.is_repeated {
            return Err(self.excluded(&option, self.seen & choices));
        }
        self.seen |= option.bit();
        let end = match option.values() {
            Some(values) => Some(self.at + 1 + values).filter(|end| *end <= self.args.len()),
            None => Walk::new(self.spec, self.args).end_of_option(option.arg, self.at),
        };
        (self.end, self.is_unfit) = (end.unwrap_or(self.args.len()), end.is_none());
        self.at += 1;
        Ok(Some(option.word))
    }

    /// Whether the current option has one more value.
    pub fn has_value(&self) -> bool {
        self.at < self.end
    }

    /// Whether an optional argument without a word comes next.
    pub fn has_argument(&self) -> bool {
        self.at < self.args.len() && !Walk::new(self.spec, self.args).is_options(self.at)
    }

    /// The values of a list without a count, up to the options behind it. The row declares the list
    /// at `place`.
    pub fn values(&mut self, place: usize) -> &'a [&'a [u8]] {
        let end = Walk::new(self.spec, self.args).end_of_list(&self.spec.args[place], self.at);
        let values = &self.args[self.at..end];
        self.at = end;
        values
    }

    /// All values of an option have to be read before the next one.
    fn end_option(&mut self) -> Result<(), Error> {
        debug_assert!(!self.is_unfit, "{} reads {:?} other than its row declares", self.spec.name, self.args);
        let end = std::mem::replace(&mut self.end, self.args.len());
        if self.is_unfit || (end < self.args.len() && self.at < end) {
            return Err(self.surplus(self.args[self.at.min(self.args.len() - 1)]));
        }
        Ok(())
    }

    /// The error for an option that comes again, or beside another choice that was `seen`.
    fn excluded(&self, option: &OptionSpec, seen: u64) -> Error {
        let both = seen | option.bit();
        if both == seen {
            return self.twice(option.word);
        }
        let given = self.spec.option_words().enumerate().filter(|(number, _)| both & (1 << number) != 0);
        let given = given.map(|(_, word)| word).collect::<Vec<_>>().join(" and ");
        Error::usage(format!("{given} exclude each other; syntax: {}", self.spec.syntax()))
    }

    /// At least one fence, up to the options behind them. The row declares the list at `place`.
    pub fn fences(&mut self, name: &str, place: usize) -> Result<Vec<Fence>, Error> {
        let end = Walk::new(self.spec, self.args).end_of_list(&self.spec.args[place], self.at);
        let mut fences = Vec::with_capacity(end - self.at);
        while self.at < end {
            fences.push(self.fence(name)?);
        }
        if fences.is_empty() {
            return Err(self.missing(name));
        }
        Ok(fences)
    }

    /// The error for an argument, or a required option, that is missing.
    pub fn missing(&self, name: &str) -> Error {
        Error::usage(format!("{name} is missing; syntax: {}", self.spec.syntax()))
    }

    /// The error for an option that was given twice.
    pub fn twice(&self, word: &str) -> Error {
        Error::usage(format!("option {word} is given twice; syntax: {}", self.spec.syntax()))
    }

    /// The next argument as one of `words`: its index.
    pub fn word(&mut self, name: &str, words: &[&str]) -> Result<usize, Error> {
        let given = self.bytes(name)?;
        let index = words.iter().position(|word| given.eq_ignore_ascii_case(word.as_bytes()));
        index.ok_or_else(|| Error::usage(format!("{name} is '{}', allowed are {}", printable(given), words.join(", "))))
    }

    /// The next argument as one of the words that the row declares under `name`: that word, as the
    /// row has it.
    pub fn choice(&mut self, name: &str) -> Result<&'static str, Error> {
        let Some((shown, choices)) = self.spec.choice(name) else {
            debug_assert!(false, "{} declares no choice '{name}'", self.spec.name);
            return Err(Error::internal());
        };
        let words: Vec<&str> = choices.iter().filter_map(Arg::first_word).collect();
        self.word(shown, &words).map(|index| words[index])
    }

    /// The next argument, which has to be `word`; `what` says in an error what it is.
    pub fn expect(&mut self, word: &str, what: &str) -> Result<(), Error> {
        self.word(what, &[word]).map(drop)
    }

    /// The error for an option that the row declares and the handler does not read.
    pub fn unread(&self, word: &str) -> Error {
        debug_assert!(false, "{} does not read its option {word}", self.spec.name);
        Error::internal()
    }

    /// All remaining arguments.
    pub fn rest(&mut self) -> &'a [&'a [u8]] {
        let rest = &self.args[self.at.min(self.args.len())..];
        self.at = self.args.len();
        rest
    }

    /// Errs if an argument is left.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.end_option()?;
        self.args.get(self.at).map_or(Ok(()), |given| Err(self.surplus(given)))
    }

    fn surplus(&self, given: &[u8]) -> Error {
        Error::usage(format!("'{}' is not understood here; syntax: {}", printable(given), self.spec.syntax()))
    }
}

/// `META` as JSON of at most `bytes_max` bytes. Empty if it is empty or null.
pub fn parse_meta_of(args: &mut Args, bytes_max: usize, depth_max: usize) -> Result<Bytes, Error> {
    let text = args.text("META", bytes_max)?;
    if text.is_empty() {
        return Ok(Bytes::EMPTY);
    }
    let value = Room::new(bytes_max, depth_max).read("META", text)?;
    Ok(if value == Value::Null { Bytes::EMPTY } else { Bytes::from(text) })
}

#[cfg(test)]
mod tests {
    use crate::domain::value::bytes::parse_u64;

    #[test]
    fn numbers_are_plain_decimals() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"0"), Some(0));
        for bad in
            [&b""[..], b"-1", b"+1", b" 1", b"1 ", b"01", b"1.0", b"1e3", b"18446744073709551616", b"\xff", b"1\0"]
        {
            assert_eq!(parse_u64(bad), None, "{bad:?}");
        }
    }
}
