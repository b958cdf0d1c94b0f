//! Checkpoints, rollback, forks, pruning, and what they cost.
