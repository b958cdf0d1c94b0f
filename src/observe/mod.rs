//! What the module tells about itself: metrics and the INFO fields made from them, and the trace of debug mode. Fed by dispatch only.

pub mod histogram;
pub mod info;
pub mod metrics;
pub mod trace;

pub use metrics::Metrics;
pub use trace::Trace;
