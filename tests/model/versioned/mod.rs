//! Sessions and contexts against plain maps and documents with full copies of every version.
//!
//! [`json`] is JSON as the RFCs define it, on copies; [`attempt`] compares attempts with it.
//! [`naive`] is the model. [`commands`], [`checkpoints`] and [`people`] are the operations,
//! [`reads`] the questions, with [`relevance`] for which agent knows what. [`world`] is the server,
//! [`check`] says what has to be true after every step. The environment variables are those of the
//! whole crate.

mod attempt;
mod check;
mod checkpoints;
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
