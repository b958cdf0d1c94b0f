//! How large one reply may be: no request makes the server build or send more (setting
//! `ltmc.reply-bytes-max`).
//!
//! Every command whose reply grows with what is stored, or with what is requested, uses a
//! [`Budget`] in one of three ways:
//! * A reply that may be cut stops before the bound, but never before its first element, so a
//!   client that asks on always gets further.
//! * A reply that must be whole is refused with `LIMIT`, before more than the bound was copied.
//! * A single value is always returned: it was stored, so it can be read.

use crate::command::node::Node;
use crate::command::reply::{Reply, ELEMENT_BYTES};
use crate::command::settings::Setting;
use crate::domain::value::bytes::printable;
use crate::domain::Error;
use ahash::AHashSet;

/// The rest of the bytes that one reply may have.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    taken: usize,
}

impl Budget {
    /// A budget of which nothing is used.
    pub fn of(node: &Node) -> Self {
        Self { max: node.settings.get(Setting::ReplyBytesMax) as usize, taken: 0 }
    }

    /// The same, but no more than this many bytes.
    pub fn at_most(self, bytes: usize) -> Self {
        Self { max: self.max.min(bytes), ..self }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.max.saturating_sub(self.taken)
    }

    /// Takes an element of this size. If it does not fit, nothing is taken and the answer is false.
    /// The first element always fits.
    pub fn takes(&mut self, bytes: usize) -> bool {
        let fits = self.has_room(bytes);
        if fits {
            self.taken = self.taken.saturating_add(bytes).saturating_add(ELEMENT_BYTES);
        }
        fits
    }

    /// Whether an element of this size would fit.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.taken == 0 || bytes.saturating_add(ELEMENT_BYTES) <= self.left()
    }

    /// The list of those items that fit, at least the first. Each is made when its turn comes, so
    /// at most one too many is made.
    pub fn list(&mut self, items: impl IntoIterator<Item = Reply>) -> Reply {
        let mut shown = Vec::new();
        for item in items {
            let taken = self.taken.saturating_add(item.size_bytes());
            if taken > self.max && !shown.is_empty() {
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
            self.taken = self.taken.saturating_add(item.size_bytes());
            if self.taken > self.max {
                return Err(self.refusal(what));
            }
            shown.push(item);
        }
        Ok(Reply::Array(shown))
    }

    /// Takes values of these sizes, which `what` names. `LIMIT` as soon as one does not fit; no
    /// further size is computed then. A single value always fits.
    pub fn check(&mut self, what: &str, sizes: impl IntoIterator<Item = usize>) -> Result<(), Error> {
        for (nth, size) in sizes.into_iter().enumerate() {
            self.taken = self.taken.saturating_add(size).saturating_add(ELEMENT_BYTES);
            if nth > 0 && self.taken > self.max {
                return Err(self.refusal(what));
            }
        }
        Ok(())
    }

    /// The error for a reply that would be too large.
    fn refusal(&self, what: &str) -> Error {
        let what = format!("a reply with {what}, at least {} bytes,", self.taken);
        Error::limit(Setting::ReplyBytesMax.row().name, &what, self.max as u64)
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

    fn budget(max: usize) -> Budget {
        Budget { max, taken: 0 }
    }

    #[test]
    fn what_may_be_shorter_stops_before_the_bound_but_not_before_its_first() {
        let mut exact = budget(2 * (100 + ELEMENT_BYTES));
        assert_eq!([100, 101, 100, 0].map(|bytes| exact.takes(bytes)), [true, false, true, false]);
        assert_eq!(exact.left(), 0);
        assert!(budget(10).takes(1_000_000), "the first always fits");
        let items = || (0..5).map(|_| Reply::bytes(&[0; 100]));
        let count = |max: usize| match budget(max).list(items()) {
            Reply::Array(items) => items.len(),
            other => panic!("{other:?}"),
        };
        let each = 100 + ELEMENT_BYTES;
        assert_eq!([0, each, 3 * each - 1, 3 * each, 9 * each].map(count), [1, 1, 2, 3, 5]);
    }

    #[test]
    fn what_must_be_whole_is_refused_by_name_and_one_alone_never_is() {
        let each = 100 + ELEMENT_BYTES;
        let items = || (0..3).map(|_| Reply::bytes(&[0; 100]));
        assert!(budget(3 * each).whole("its parts", items()).is_ok());
        let error = budget(3 * each - 1).whole("its parts", items()).expect_err("a byte too many");
        assert!(error.text.contains("its parts") && error.text.contains("ltmc.reply-bytes-max"), "{error}");
        assert!(budget(3 * each).check("3 values", [100, 100, 100]).is_ok());
        let error = budget(3 * each - 1).check("3 values", [100, 100, 100]).expect_err("a byte too many");
        assert!(error.text.contains("3 values, at least 348 bytes,") && error.text.contains("of 347"), "{error}");
        assert!(budget(10).check("1 value", [1_000_000]).is_ok());
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
        assert_eq!(map.size_bytes(), 5 * ELEMENT_BYTES + "id".len() + "name".len() + "abc".len());
        let pairs = Reply::Pairs(vec![(Reply::bytes(b"a"), Reply::Nil)]);
        assert_eq!(Reply::Array(vec![pairs, Reply::Ok]).size_bytes(), 5 * ELEMENT_BYTES + 1);
    }
}
