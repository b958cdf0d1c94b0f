//! The agent registry against a naive registry: random operations, and every answer and index compared after every step.
