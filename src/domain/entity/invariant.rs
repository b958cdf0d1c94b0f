//! Rules that always hold.

/// The rule of an entity that is broken; for the log and `LTMC.REPAIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invariant(pub String);

/// Errs with `text`, which says what is broken, unless the rule `holds`.
pub fn rule(holds: bool, text: &str) -> Result<(), Invariant> {
    if holds {
        Ok(())
    } else {
        Err(Invariant(text.into()))
    }
}
