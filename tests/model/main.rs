//! The whole module without Redis: commands go in as argv, a host in memory plays the server, and a model that is as naive as
//! possible says what has to come out.
//!
//! `LTMC_MODEL_STEPS` sets how many steps the random schedules take in total, `LTMC_MODEL_BASE` the seed of the first of them (else the
//! time), and `LTMC_MODEL_SEED` replays one schedule.
#![cfg(not(feature = "module"))]

mod audit;
mod buffer;
mod cache;
mod check;
mod checks;
mod cluster;
mod decide;
mod fairness;
mod flows;
mod host;
mod mail;
mod moves;
mod mutated;
mod naive;
mod ops;
mod prng;
mod reactions;
mod reduction;
mod registry;
mod regressions;
mod schedules;
mod table;
mod trace;
mod versioned;
mod world;
