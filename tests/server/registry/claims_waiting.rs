//! Waiting for a claim, and every way in which a wait ends.
