//! What clients may do to the document of a context.

use super::{diff, Context, Doc};
use crate::domain::json::attempt::Bounds;
use crate::domain::json::{Attempt, Edit, Op};
use crate::domain::versioned::{decide, Version, VersionedEvent};
use crate::domain::{Bytes, Error, Millis};

/// Decides an update of the document: all operations, or none. They are tried on the document,
/// which is as before when this returns.
pub fn update(
    context: &mut Context,
    by: &[u8],
    ops: Vec<Op>,
    expected: Option<Version>,
    bounds: Bounds,
    at: Millis,
) -> Result<VersionedEvent<Doc>, Error> {
    decide::check_open(context)?;
    decide::check_version(Some(context), expected, diff::changed_since)?;
    decide::check_history(context)?;
    let edits: Vec<Edit> = Attempt::new(context.state_mut().document_mut(), bounds).all(ops)?;
    let version = context.version() + 1;
    Ok(VersionedEvent::Changed { version, at, by: Bytes::from(by), change: edits, ttl_ms: None })
}
