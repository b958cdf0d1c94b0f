//! What the module tells about itself: metrics and the INFO fields made from them. Fed by dispatch only.

pub mod histogram;
pub mod info;
pub mod metrics;

pub use metrics::Metrics;
