//! Sessions on real servers.

mod bad_input;
mod fields;
mod life;
mod recovery;
mod words;
