//! What the module tells about itself: metrics and the INFO fields made from them, fed by dispatch only; and what other nodes of a
//! cluster told of themselves, fed by the cluster bus.

pub mod histogram;
pub mod info;
pub mod metrics;
pub mod peers;

pub use metrics::Metrics;
pub use peers::Peers;
