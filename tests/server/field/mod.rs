//! Faults that users of this and of other products reported, one test each.

mod buffer;
mod cache;
mod clock;
mod ends;
mod flow;
mod mail;
mod memory;
mod nothing;
mod owners;
mod paging;
mod retries;
mod room;
mod settings;
mod totals;
mod versioned;
