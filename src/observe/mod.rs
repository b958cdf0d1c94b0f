//! What the module reports: metrics with their INFO fields, health, the audit trail, and the
//! trace of debug mode, all fed by the engine; and the reports of other cluster nodes, fed by the
//! cluster bus.

pub mod audit;
pub mod health;
pub mod histogram;
pub mod info;
pub mod metrics;
pub mod peers;
pub mod trace;

pub use metrics::Metrics;
pub use peers::Peers;
pub use trace::Trace;
