//! Chunk buffers against a map of full copies, in which nothing is shared and nobody is evicted but by what the buffer says.
//!
//! [`world`] is the server beside the model, [`steps`] what is done at random, [`stories`] what is told in a few commands each. The environment
//! is that of the whole crate.

mod steps;
mod stories;
mod world;

#[test]
fn chunks_are_what_full_copies_are() {
    crate::driver::run::<world::World>(8_000, 400);
}
