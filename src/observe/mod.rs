//! What the module tells about itself: metrics and the INFO fields made from them, and the trace of debug mode, fed by dispatch only; and
//! what other nodes of a cluster told of themselves, fed by the cluster bus.

pub mod health;
pub mod histogram;
pub mod info;
pub mod metrics;
pub mod peers;
pub mod trace;

pub use metrics::Metrics;
pub use peers::Peers;
pub use trace::Trace;
