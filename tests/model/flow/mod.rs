//! Flows against a naive simulator: random operations and faults. Every task is compared after
//! every step.
//!
//! [`naive`] has the rules in plain loops over all tasks, [`ops`] the operations, [`world`] the
//! server, its time and its incidents. The environment variables are those of the whole crate.

mod kept;
mod naive;
mod ops;
mod world;

#[test]
fn a_flow_does_what_the_naive_simulator_does() {
    crate::driver::run::<world::World>(40_000, 400);
}
