//! Sessions and contexts against plain maps and documents with full copies of every version.
//!
//! [`json`] is JSON as the RFCs say it, on copies; [`attempt`] holds attempts against it. [`naive`] is the model, [`commands`] and
//! [`people`] what is done, [`reads`] what is asked, with [`relevance`] of who knows what; [`world`] the server, [`check`] what has to be true after every step. The environment is that of the whole crate.

mod attempt;
mod check;
mod commands;
mod copies;
mod found;
mod json;
mod naive;
mod people;
mod quarantine;
mod reads;
mod relevance;
pub mod world;

#[test]
fn sessions_and_contexts_do_what_full_copies_do() {
    crate::driver::run::<world::World>(3_000, 300);
}
