//! LTMC ("long-term memory and context"): a Redis module that coordinates teams of AI agents.
//!
//! This file wires the layers. `README.md` says what the module does, `src/README.md` how, and
//! `domain` has the rules.
//!
//! ```text
//! lib -> ffi -> { command, snapshot }    command -> { domain, observe }    snapshot -> domain
//! ```

#![cfg_attr(not(feature = "module"), forbid(unsafe_code))]

#[deny(unsafe_code)]
pub mod command;
#[deny(unsafe_code)]
pub mod domain;
#[deny(unsafe_code)]
pub mod observe;
#[deny(unsafe_code)]
pub mod snapshot;

// Unit tests run outside a server, where Redis' allocator does not exist.
#[cfg(all(feature = "module", not(test)))]
mod ffi;

/// Memory comes from Redis, which counts it.
#[cfg(all(feature = "module", not(test)))]
#[global_allocator]
static ALLOCATOR: redis_module::alloc::RedisAlloc = redis_module::alloc::RedisAlloc;
