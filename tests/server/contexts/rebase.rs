//! Many writers, conflicts, and that no update is lost.
