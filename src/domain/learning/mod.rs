//! The learning router: which of the agents that can do it should get the next piece of work.
//!
//! [`Experience`] remembers of an agent how often it succeeded and how long it took, and forgets.
//! [`Experience::draw`] plays a guess of how good it is now. Whoever has the highest draw is
//! chosen: W. R. Thompson, "On the Likelihood that One Unknown Probability Exceeds Another in View
//! of the Evidence of Two Samples" (1933). Agents that are little known are guessed widely, so they
//! are tried sometimes. As evidence is forgotten, agents that were bad are tried again: V. Raj, S.
//! Kalyani, "Taming Non-stationary Bandits: A Bayesian Approach" (2017).
//!
//! `note` is whole numbers only, so replicas reach the same state. `draw` belongs to the decision
//! of the primary, but is the same on all processors, too.

mod experience;
pub(crate) mod sampling;
#[cfg(test)]
mod simulation;

pub use experience::Experience;
