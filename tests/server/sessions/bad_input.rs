//! What is refused, and that nothing changes then.
