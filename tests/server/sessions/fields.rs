//! Fields, versions, checkpoints, forks.
