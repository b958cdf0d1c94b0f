//! What is wrong with a specification.

use crate::domain::Error;

/// The error for a specification about which `text` is true.
pub fn bad(text: &str) -> Error {
    Error::usage(format!("SPEC {text}"))
}
