//! Anomalies: which agents, tools, locks and flows do not behave as they used to.
//!
//! A [`Series`] follows one measure of one of them: what is normal, and since when it no longer is.
//! A [`Table`] has the series of a node, of bounded number; the least recently used one makes room.
//! All of it is whole numbers, local to this node, and begins anew with the process.

mod scale;
mod series;
mod table;

pub use series::{Alarm, Change, Metric, Series};
pub use table::{Anomaly, Kind, Table, NAME_MAX, PAST_MAX, SERIES_MAX};
