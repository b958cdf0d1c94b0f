//! The whole module without Redis. Commands go in as argv, a host in memory plays the server, and a
//! model that is as naive as possible says what has to come out.
//!
//! There is a world for each service, in a folder of its name. [`driver`] makes its steps and its
//! time, [`server`] runs its commands.
//!
//! `LTMC_MODEL_STEPS` sets how many steps the random schedules take in total, `LTMC_MODEL_BASE` the
//! seed of the first schedule (else the time), and `LTMC_MODEL_SEED` replays one schedule.
#![cfg(not(feature = "module"))]

mod buffer;
mod cache;
mod checks;
mod cluster;
mod damage;
mod driver;
mod flow;
mod held;
mod host;
mod lock;
mod mail;
mod moves;
mod mutated;
mod original;
mod prng;
mod reactions;
mod registry;
mod requests;
mod rounds;
mod server;
mod table;
mod trace;
mod tree;
mod versioned;
