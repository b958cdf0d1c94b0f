//! The state machines, one folder per service. Pure: no clock, no globals, no random
//! source and no Redis. `planning`, `learning`, `anomaly` and `forecast` are algorithms that no
//! command uses yet.
//!
//! A key is an entity. A write *decides*: it validates and returns events, and changes nothing. The
//! events are then *applied*; nothing else changes an entity. Replicas, AOF replay and tests apply
//! the same events and so reach the same state.
//!
//! What all services share is here: [`Entity`] and [`Event`], the [`Record`] that holds an
//! entity in its key, the [`Clock`] from which every grant takes its fence, the order of waiting
//! clients ([`queue`]), the log that watchers read ([`event_log`](entity::event_log)), the error
//! type and the limits.

pub mod algorithm;
pub mod anomaly;
pub mod buffer;
pub mod cache;
pub mod context;
pub mod entity;
pub mod entity_types;
pub mod error;
pub mod flow;
pub mod forecast;
pub mod json;
pub mod learning;
pub mod limits;
pub mod lock;
pub mod mail;
pub mod node_report;
pub mod planning;
pub mod queue;
pub mod queues;
pub mod reactions;
pub mod registry;
pub mod session;
pub mod value;
pub mod versioned;

pub use algorithm::looks::{looked, looked_at_bytes, looked_at_parts, Looked};
pub use entity::bindings::AgentBinding;
pub use entity::fault::Fault;
pub use entity::invariant::Invariant;
pub use entity::record::{Change, Record};
pub use entity::{Entity, Event, Service};
pub use error::{Code, Error};
pub use value::blob::Blob;
pub use value::bytes::Bytes;
pub use value::fence::{Clock, Fence};
pub use value::key::{Connection, Db, KeyId};
pub use value::time::{Millis, DUE_ALREADY};
