//! What the module tells about itself: metrics and the INFO fields made from them, health, and the
//! trace of debug mode, all fed by the engine; and what other nodes of a cluster reported, fed by
//! the cluster bus.

pub mod health;
pub mod histogram;
pub mod info;
pub mod metrics;
pub mod peers;
pub mod trace;

pub use metrics::Metrics;
pub use peers::Peers;
pub use trace::Trace;
