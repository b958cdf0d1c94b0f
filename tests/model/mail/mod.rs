//! Mailboxes against a naive mailbox: random operations. Every answer, every waiter and every inbox
//! is compared after every step.
//!
//! [`naive`] has the rules, [`ops`] the operations, [`world`] the server with its clients. The
//! environment variables are those of the whole crate.

mod naive;
mod ops;
mod world;

use crate::driver::run;
use world::World;

#[test]
fn a_mailbox_does_what_the_naive_mailbox_does() {
    run::<World>(60_000, 1_000);
}
