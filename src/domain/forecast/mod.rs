//! Forecasts of arrivals, hits, load and wait: how much, between what bounds, how far ahead.
//!
//! A [`Series`] of less than 1 KB has two models: one of 10 s for the next minutes, one of 10 min
//! with the hours of the day for everything further away. In each, a few experts forecast, and
//! those that were right lately count more: J. M. Bates, C. W. J. Granger, "The Combination of
//! Forecasts" (1969). Bounds come from the errors that were really made.
//!
//! Of floats only `+ - * /` and comparisons are used, so it is the same on all processors.

mod experts;
mod horizons;
mod model;
mod series;

pub use series::{Forecast, Kind, Series, HORIZON_MAX_MS};
