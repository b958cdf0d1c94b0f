//! Silence: suspicion, death, recovery, grace, damping, the hold, phi.
