//! Faults that users of this and of other products reported, one test each.

mod cache;
mod clock;
