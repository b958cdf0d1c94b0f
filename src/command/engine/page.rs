//! The part of a list that a command returns: `LIMIT offset count`, or `CURSOR cursor [COUNT n]`.
//!
//! An offset counts what stands before the part, so it skips what it should show when something
//! before it leaves. A cursor names a [`Place`] of the list itself. Places depend on what is saved
//! and replicated only, so a cursor is good on a replica, after a reload and after a failover.
//! What is there all the time is shown, whatever comes and leaves meanwhile.

use super::args::Args;
use super::budget::Budget;
use super::work::ITEMS_OF_LOOK;
use crate::command::reply::Reply;
use crate::domain::limits::{RESULTS_MAX, SKIPPED_MAX};
use crate::domain::value::bytes::printable;
use crate::domain::{looked_at_parts, Bytes, Code, Error, Fence};

/// The same items, which are counted.
fn passed<I: Iterator>(items: I) -> impl Iterator<Item = I::Item> {
    items.inspect(|_| looked_at_parts(1, ITEMS_OF_LOOK))
}

/// A part of a list, by its offset.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// How many items come before it.
    pub offset: usize,
    /// The most items in it.
    pub count: usize,
}

impl Page {
    /// The whole list.
    pub const ALL: Page = Page { offset: 0, count: usize::MAX };

    /// Reads the values of `LIMIT`.
    fn read(args: &mut Args) -> Result<Self, Error> {
        let offset = args.number("the offset after LIMIT", 0, RESULTS_MAX)? as usize;
        let count = args.number("the count after LIMIT offset", 0, RESULTS_MAX)? as usize;
        Ok(Self { offset, count })
    }

    /// The items in this part; of the whole list no more than `budget` can show, and one. Errs if
    /// too many come before it. Those are counted and not looked into.
    pub fn of<I: Iterator>(
        self,
        budget: &Budget,
        what: Items,
        mut items: I,
    ) -> Result<impl Iterator<Item = I::Item>, Error> {
        let skipped = self.offset.min(SKIPPED_MAX);
        let is_beyond = skipped > 0 && passed(items.by_ref()).nth(skipped - 1).is_none();
        if !is_beyond && self.offset > SKIPPED_MAX && items.next().is_some() {
            let words = what.words();
            let text = format!(
                "the offset after LIMIT may skip {SKIPPED_MAX} {words} at most: CURSOR reads on where it stopped"
            );
            return Err(Error::new(Code::Limit, text));
        }
        let count = self.count.min(budget.elements_left().saturating_add(1));
        Ok(passed(items).take(if is_beyond || self.offset > SKIPPED_MAX { 0 } else { count }))
    }

    /// The list of this part. A part ends where no more fits; the whole list is whole, or `LIMIT`.
    pub fn list(self, budget: &mut Budget, what: Items, part: impl IntoIterator<Item = Reply>) -> Result<Reply, Error> {
        if self.count < usize::MAX {
            return Ok(budget.list(part));
        }
        budget.whole(&format!("all {} (CURSOR asks for a part)", what.words()), part)
    }
}

/// What a list is of. Its letter begins the cursors, so none of another kind is taken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items {
    /// Agents of a registry.
    Agents = b'a' as isize,
    /// Chunks of a buffer.
    Chunks = b'b' as isize,
    /// Checkpoints of a session or context.
    Checkpoints = b'c' as isize,
    /// Dead letters.
    Letters = b'd' as isize,
    /// Answers of a cache.
    Answers = b'e' as isize,
    /// Inboxes of a mailbox.
    Inboxes = b'i' as isize,
    /// Messages of an inbox.
    Messages = b'm' as isize,
    /// Tasks of a flow.
    Tasks = b't' as isize,
}

impl Items {
    /// The items, in messages.
    const fn words(self) -> &'static str {
        match self {
            Items::Agents => "agents",
            Items::Chunks => "chunks",
            Items::Checkpoints => "checkpoints",
            Items::Letters => "dead letters",
            Items::Answers => "answers",
            Items::Inboxes => "inboxes",
            Items::Messages => "messages",
            Items::Tasks => "tasks",
        }
    }
}

/// Where an item stands in a list: the same on every node that has the value.
pub trait Place: Sized {
    /// The place before all others.
    const FIRST: Self;

    /// Reads what [`text`](Place::text) wrote.
    fn read(text: &[u8]) -> Option<Self>;

    /// A text that names the place.
    fn text(&self) -> String;
}

/// Items that have a number, from 1 on.
impl Place for u64 {
    const FIRST: Self = 0;

    fn read(text: &[u8]) -> Option<Self> {
        crate::domain::value::bytes::parse_u64(text).filter(|number| *number <= i64::MAX as u64)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Items that have a name, which may hold any byte.
impl Place for Bytes {
    const FIRST: Self = Bytes::EMPTY;

    fn read(text: &[u8]) -> Option<Self> {
        let digit = |digit: &u8| char::from(*digit).to_digit(16).map(|value| value as u8);
        let pairs = text.chunks(2).map(|pair| Some(digit(&pair[0])? << 4 | digit(pair.get(1)?)?));
        let bytes = pairs.collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())?;
        Some(Bytes::from(&bytes[..]))
    }

    fn text(&self) -> String {
        self.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Items that have an id and within that a name.
impl Place for (Fence, Bytes) {
    const FIRST: Self = (0, Bytes::EMPTY);

    fn read(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        Some((Fence::read(&text[..dash])?, Bytes::read(&text[dash + 1..])?))
    }

    fn text(&self) -> String {
        format!("{}-{}", self.0, Bytes::text(&self.1))
    }
}

/// A part of a list, from a place on.
#[derive(Debug, Clone)]
pub struct Cursor<P> {
    /// What the list is of.
    items: Items,
    /// Where it begins: here, or behind it if nothing stands here any more.
    pub from: P,
    /// How many items are looked at, shown or not.
    pub count: usize,
}

impl<P: Place> Cursor<P> {
    /// How many items are looked at without `COUNT`.
    const COUNT: usize = 10;
    /// No call looks at more, whatever `COUNT` says.
    const COUNT_MAX: usize = 10_000;

    /// Reads a cursor, without its `COUNT`.
    pub fn read(items: Items, args: &mut Args) -> Result<Self, Error> {
        let given = args.bytes("cursor")?;
        let place = given.split_first().filter(|(letter, _)| **letter == items as u8);
        let from = if given == b"0" { Some(P::FIRST) } else { place.and_then(|(_, place)| P::read(place)) };
        from.map(|from| Self { items, from, count: Self::COUNT }).ok_or_else(|| {
            let given = printable(given);
            Error::usage(format!(
                "cursor is '{given}', allowed are 0 and what the call before answered as the next one"
            ))
        })
    }

    /// Reads the value of `COUNT`.
    pub fn read_count(&mut self, args: &mut Args) -> Result<(), Error> {
        self.count = (args.number("COUNT", 1, RESULTS_MAX)? as usize).min(Self::COUNT_MAX);
        Ok(())
    }

    /// The next cursor, and those of the next items that `show` shows, as far as they fit. `items`
    /// begin at the place of this cursor.
    pub fn page<T>(
        &self,
        budget: &mut Budget,
        items: impl IntoIterator<Item = T>,
        place: impl Fn(&T) -> P,
        mut show: impl FnMut(T) -> Option<Reply>,
    ) -> Reply {
        let mut shown = Vec::new();
        for (looked_at, item) in passed(items.into_iter()).enumerate() {
            let next = place(&item);
            let reply = if looked_at < self.count { show(item) } else { None };
            // The next part begins with the first item that this one has no room for.
            if looked_at == self.count || reply.as_ref().is_some_and(|reply| !budget.takes(reply.size())) {
                let next = format!("{}{}", char::from(self.items as u8), next.text());
                return Self::reply(next, shown);
            }
            shown.extend(reply);
        }
        Self::reply("0".into(), shown)
    }

    fn reply(next: String, shown: Vec<Reply>) -> Reply {
        Reply::Array(vec![Reply::text(next), Reply::Array(shown)])
    }
}

/// Which part of a list a command returns.
#[derive(Debug, Clone)]
pub enum Paging<P> {
    /// By its offset; the reply is a list.
    Offset(Items, Page),
    /// From a place on; the reply is the next cursor and a list.
    Cursor(Cursor<P>),
}

impl<P: Place> Paging<P> {
    /// The whole list.
    pub const fn all(items: Items) -> Self {
        Paging::Offset(items, Page::ALL)
    }

    /// Reads the values of one of the options `LIMIT` and `CURSOR`.
    pub fn read(items: Items, word: &str, args: &mut Args) -> Result<Self, Error> {
        if word != "CURSOR" {
            return Page::read(args).map(|page| Paging::Offset(items, page));
        }
        let mut cursor = Cursor::read(items, args)?;
        if args.has_value() {
            args.expect("COUNT", "the word after the cursor")?;
            cursor.read_count(args)?;
        }
        Ok(Paging::Cursor(cursor))
    }

    /// `[LIMIT offset count | CURSOR cursor [COUNT n]]` as the only option of a command.
    pub fn only(items: Items, args: &mut Args) -> Result<Self, Error> {
        let mut paging = Self::all(items);
        while let Some(word) = args.option()? {
            paging = Self::read(items, word, args)?;
        }
        Ok(paging)
    }

    /// What is answered if there is nothing at all.
    pub fn nothing(&self) -> Reply {
        match self {
            Paging::Offset(..) => Reply::Array(Vec::new()),
            Paging::Cursor(_) => Cursor::<P>::reply("0".into(), Vec::new()),
        }
    }

    /// Where the items begin that are asked for.
    pub fn start(&self) -> P
    where
        P: Clone,
    {
        match self {
            Paging::Offset(..) => P::FIRST,
            Paging::Cursor(cursor) => cursor.from.clone(),
        }
    }

    /// The part of `items`, which begin at [`start`](Self::start). Those that are not shown count
    /// for a cursor, which bounds the work, and not for an offset.
    pub fn list<T>(
        &self,
        budget: &mut Budget,
        items: impl IntoIterator<Item = T>,
        place: impl Fn(&T) -> P,
        mut is_shown: impl FnMut(&T) -> bool,
        mut show: impl FnMut(T) -> Reply,
    ) -> Result<Reply, Error> {
        match self {
            Paging::Offset(what, page) => {
                let part = page.of(budget, *what, items.into_iter().filter(|item| is_shown(item)))?;
                page.list(budget, *what, part.map(show))
            }
            Paging::Cursor(cursor) => Ok(cursor.page(budget, items, place, |item| is_shown(&item).then(|| show(item)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::node::Node;

    #[test]
    fn an_offset_skips_so_many_and_makes_no_replies_of_them() {
        let budget = &mut Budget::of(&Node::default());
        let mut part = |offset, items| {
            let (paging, mut made) = (Paging::<u64>::Offset(Items::Agents, Page { offset, count: 2 }), 0);
            let show = |item| {
                made += 1;
                Reply::number(item)
            };
            let list = paging.list(budget, 1..=items, |item| *item, |item| item % 2 == 0, show);
            (list.map(|list| list.size().elements - 1).map_err(|error| error.code), made)
        };
        let max = SKIPPED_MAX as u64;
        assert_eq!(part(0, 9), (Ok(2), 2));
        assert_eq!(part(3, 9), (Ok(1), 1));
        assert_eq!(part(9, 9), (Ok(0), 0));
        assert_eq!(part(SKIPPED_MAX, 2 * max + 4), (Ok(2), 2));
        assert_eq!(part(SKIPPED_MAX + 1, 2 * max), (Ok(0), 0), "there is nothing");
        assert_eq!(part(SKIPPED_MAX + 1, 2 * max + 2), (Err(Code::Limit), 0));
    }

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is() {
        fn assert_read<P: Place + PartialEq + std::fmt::Debug>(place: P, text: &str) {
            assert_eq!((place.text().as_str(), P::read(text.as_bytes())), (text, Some(place)));
        }
        assert_read(1_u64, "1");
        assert_read(i64::MAX as u64, "9223372036854775807");
        assert_read(Bytes::from("0"), "30");
        assert_read(Bytes::from(&b"\x00a\xff"[..]), "0061ff");
        assert_read((5, Bytes::from("ada")), "5-616461");
        for bad in ["", "-1", "+1", "01", "1.0", "0x1", "9223372036854775808", "99999999999999999999", "a"] {
            assert_eq!(u64::read(bad.as_bytes()), None, "{bad}");
        }
        for bad in ["", "0", "6", "616", "6g", "-1", "\u{fc}"] {
            assert_eq!(Bytes::read(bad.as_bytes()), None, "{bad}");
        }
        for bad in ["", "0", "5", "-5", "5-", "-61", "5-6", "5-61-61", "9223372036854775808-61"] {
            assert_eq!(<(Fence, Bytes)>::read(bad.as_bytes()), None, "{bad}");
        }
    }
}
