//! Operations on documents, reading them, and what has changed.
