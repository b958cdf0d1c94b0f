//! How large one reply may be: no request makes the server build or send more (settings
//! `ltmc.reply-bytes-max` and `ltmc.reply-elements-max`).
//!
//! Every command whose reply grows with what is stored, or with what is requested, uses a
//! [`Budget`] in one of three ways:
//! * A reply that may be cut stops before the bound, but never before its first element, so a
//!   client that asks on always gets further.
//! * A reply that must be whole is refused with `LIMIT`, before more than the bound was copied.
//! * A single value is always returned: it was stored, so it can be read.

use crate::command::node::Node;
use crate::command::reply::{Reply, Size, ELEMENT_BYTES};
use crate::command::settings::Setting;
use crate::domain::value::bytes::printable;
use crate::domain::Error;
use ahash::AHashSet;

/// How many bytes of JSON are parsed at most for one reply: that takes some ms.
const PARSED_BYTES_MAX: usize = 512 * 1024;

/// What one reply may still have.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    elements_max: usize,
    taken: Size,
    /// Bytes that were parsed to see what belongs into it.
    parsed: usize,
}

impl Budget {
    /// A budget of which nothing is used.
    pub fn of(node: &Node) -> Self {
        let max = |setting| node.settings.get(setting) as usize;
        let (bytes_max, elements_max) = (max(Setting::ReplyBytesMax), max(Setting::ReplyElementsMax));
        Self { bytes_max, elements_max, taken: Size::default(), parsed: 0 }
    }

    /// The same, but no more than this many bytes.
    pub fn at_most(self, bytes: usize) -> Self {
        Self { bytes_max: self.bytes_max.min(bytes), ..self }
    }

    /// Whether a text of so many bytes may be parsed, to see whether it belongs into the reply.
    pub fn parses(&mut self, bytes: usize) -> bool {
        self.parsed += bytes + ELEMENT_BYTES;
        !self.has_parsed_enough()
    }

    /// How many bytes were parsed.
    pub fn parsed(&self) -> usize {
        self.parsed
    }

    /// Whether some text was not parsed, since enough others were.
    pub fn has_parsed_enough(&self) -> bool {
        self.parsed > PARSED_BYTES_MAX
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes_max.saturating_sub(self.taken.bytes())
    }

    /// How many values are left.
    pub fn elements_left(&self) -> usize {
        self.elements_max.saturating_sub(self.taken.elements)
    }

    /// Takes an element of this size. If it does not fit, nothing is taken and the answer is false.
    /// The first element always fits.
    pub fn takes(&mut self, size: Size) -> bool {
        let fits = self.has_room(size);
        if fits {
            self.taken = self.taken + size;
        }
        fits
    }

    /// Whether an element of this size would fit.
    pub fn has_room(&self, size: Size) -> bool {
        self.taken == Size::default() || self.is_within(self.taken + size)
    }

    fn is_within(&self, size: Size) -> bool {
        size.bytes() <= self.bytes_max && size.elements <= self.elements_max
    }

    /// The list of those items that fit, at least the first. Each is made when its turn comes, so
    /// at most one too many is made.
    pub fn list(&mut self, items: impl IntoIterator<Item = Reply>) -> Reply {
        let mut shown = Vec::new();
        for item in items {
            let taken = self.taken + item.size();
            if !self.is_within(taken) && !shown.is_empty() {
                break;
            }
            self.taken = taken;
            shown.push(item);
        }
        Reply::Array(shown)
    }

    /// The list of all items, which `what` names. `LIMIT` as soon as one does not fit.
    pub fn whole(&mut self, what: &str, items: impl IntoIterator<Item = Reply>) -> Result<Reply, Error> {
        let mut shown = Vec::new();
        for item in items {
            self.taken = self.taken + item.size();
            if !self.is_within(self.taken) {
                return Err(self.refusal(what));
            }
            shown.push(item);
        }
        Ok(Reply::Array(shown))
    }

    /// Takes values of these sizes, which `what` names. `LIMIT` as soon as one does not fit; no
    /// further size is computed then. A single value always fits.
    pub fn check(&mut self, what: &str, sizes: impl IntoIterator<Item = Size>) -> Result<(), Error> {
        for (nth, size) in sizes.into_iter().enumerate() {
            self.taken = self.taken + size;
            if nth > 0 && !self.is_within(self.taken) {
                return Err(self.refusal(what));
            }
        }
        Ok(())
    }

    /// The same for `count` values that are this large together.
    pub fn check_sum(&mut self, what: &str, count: usize, sum: Size) -> Result<(), Error> {
        self.taken = self.taken + sum;
        if count > 1 && !self.is_within(self.taken) {
            return Err(self.refusal(what));
        }
        Ok(())
    }

    /// The error for a reply that would be too large.
    fn refusal(&self, what: &str) -> Error {
        let limit = |setting: Setting, what: String, max: usize| Error::limit(setting.row().name, &what, max as u64);
        if self.taken.bytes() > self.bytes_max {
            let what = format!("a reply with {what}, at least {} bytes,", self.taken.bytes());
            return limit(Setting::ReplyBytesMax, what, self.bytes_max);
        }
        let what = format!("a reply with {what}, at least {} values,", self.taken.elements);
        limit(Setting::ReplyElementsMax, what, self.elements_max)
    }
}

/// Errs if a value is given twice; `name` names the argument.
pub fn refuse_repeated(name: &str, values: &[&[u8]]) -> Result<(), Error> {
    if values.len() < 2 {
        return Ok(());
    }
    let mut known = AHashSet::with_capacity(values.len());
    match values.iter().find(|value| !known.insert(**value)) {
        None => Ok(()),
        Some(twice) => Err(Error::usage(format!("{name} '{}' is given twice", printable(twice)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bytes_max: usize) -> Budget {
        Budget { bytes_max, elements_max: usize::MAX, taken: Size::default(), parsed: 0 }
    }

    fn of_elements(elements_max: usize) -> Budget {
        Budget { bytes_max: usize::MAX, elements_max, taken: Size::default(), parsed: 0 }
    }

    fn shown(reply: Reply) -> usize {
        match reply {
            Reply::Array(items) => items.len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_may_be_shorter_stops_before_the_bound_but_not_before_its_first() {
        let mut exact = budget(2 * (100 + ELEMENT_BYTES));
        assert_eq!([100, 101, 100, 0].map(|bytes| exact.takes(Size::value(bytes))), [true, false, true, false]);
        assert_eq!(exact.left(), 0);
        assert!(budget(10).takes(Size::value(1_000_000)), "the first always fits");
        let items = || (0..5).map(|_| Reply::bytes(&[0; 100]));
        let count = |max: usize| shown(budget(max).list(items()));
        let each = 100 + ELEMENT_BYTES;
        assert_eq!([0, each, 3 * each - 1, 3 * each, 9 * each].map(count), [1, 1, 2, 3, 5]);
    }

    #[test]
    fn values_count_as_bytes_do() {
        let pair = || Reply::Array(vec![Reply::Nil, Reply::Nil]);
        let count = |max: usize| shown(of_elements(max).list((0..5).map(|_| pair())));
        assert_eq!([0, 5, 6, 8, 9, 99].map(count), [1, 1, 2, 2, 3, 5]);
        assert!(of_elements(15).whole("its parts", (0..5).map(|_| pair())).is_ok());
        let error = of_elements(14).whole("its parts", (0..5).map(|_| pair())).expect_err("a value too many");
        assert!(
            error.text.contains("at least 15 values,") && error.text.contains("ltmc.reply-elements-max"),
            "{error}"
        );
        assert!(of_elements(2).check("2 values", [Size::value(9); 2]).is_ok());
        assert!(of_elements(2).check("3 values", [Size::value(9); 3]).is_err());
    }

    #[test]
    fn what_must_be_whole_is_refused_by_name_and_one_alone_never_is() {
        let each = 100 + ELEMENT_BYTES;
        let items = || (0..3).map(|_| Reply::bytes(&[0; 100]));
        assert!(budget(3 * each).whole("its parts", items()).is_ok());
        let error = budget(3 * each - 1).whole("its parts", items()).expect_err("a byte too many");
        assert!(error.text.contains("its parts") && error.text.contains("ltmc.reply-bytes-max"), "{error}");
        assert!(budget(3 * each).check("3 values", [100, 100, 100].map(Size::value)).is_ok());
        let error =
            budget(3 * each - 1).check("3 values", [100, 100, 100].map(Size::value)).expect_err("a byte too many");
        assert!(error.text.contains("3 values, at least 348 bytes,") && error.text.contains("of 347"), "{error}");
        assert!(budget(10).check("1 value", [Size::value(1_000_000)]).is_ok());
    }

    #[test]
    fn what_is_repeated_is_named() {
        assert_eq!(refuse_repeated("field", &[b"a", b"b", b""]), Ok(()));
        let error = refuse_repeated("field", &[b"a", b"b", b"c", b"b"]).expect_err("b");
        assert_eq!(&*error.text, "field 'b' is given twice");
    }

    #[test]
    fn a_reply_counts_what_it_is_made_of() {
        let map = Reply::map([("id", Reply::Integer(1)), ("name", Reply::bytes(b"abc"))]);
        assert_eq!(map.size(), Size { text_bytes: "id".len() + "name".len() + "abc".len(), elements: 5 });
        let pairs = Reply::Pairs(vec![(Reply::bytes(b"a"), Reply::Nil)]);
        let list = Reply::Array(vec![pairs, Reply::Ok]).size();
        assert_eq!((list.text_bytes, list.elements, list.bytes()), (1, 5, 5 * ELEMENT_BYTES + 1));
    }
}
