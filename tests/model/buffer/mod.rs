//! Chunk buffers against a map of full copies, in which nothing is shared, and nothing is evicted
//! unless the buffer says so.
//!
//! [`world`] is the server beside the model, [`steps`] the random operations, [`stories`] tests of
//! a few commands each. The environment variables are those of the whole crate.

mod steps;
mod stories;
mod world;

#[test]
fn chunks_are_what_full_copies_are() {
    crate::driver::run::<world::World>(8_000, 400);
}
