//! The tool cache against a naive cache: random operations of several clients. Every reply, every
//! answer to a waiter and all stored answers are compared after every step. An invalidated answer
//! must never come back: the naive cache forgets it at once and remembers every invalidation for
//! ever.

mod check;
mod incidents;
mod naive;
mod ops;
mod world;

use crate::driver::run;
use world::World;

#[test]
fn a_cache_does_what_the_naive_cache_does() {
    run::<World>(60_000, 1_000);
}
