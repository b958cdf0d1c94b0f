//! `LIMIT offset count`: the part of a list that a command returns.

use super::args::Args;
use crate::domain::limits::RESULTS_MAX;
use crate::domain::Error;

/// A part of a list.
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
    pub fn read(args: &mut Args) -> Result<Self, Error> {
        let offset = args.number("the offset after LIMIT", 0, RESULTS_MAX)? as usize;
        let count = args.number("the count after LIMIT offset", 0, RESULTS_MAX)? as usize;
        Ok(Self { offset, count })
    }

    /// `[LIMIT offset count]` as the only option of a command.
    pub fn only(args: &mut Args) -> Result<Self, Error> {
        let mut page = Self::ALL;
        while args.option()?.is_some() {
            page = Self::read(args)?;
        }
        Ok(page)
    }

    /// The items in this part.
    pub fn of<I: Iterator>(self, items: I) -> impl Iterator<Item = I::Item> {
        items.skip(self.offset).take(self.count)
    }
}
