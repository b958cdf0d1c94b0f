//! What clients may do to the document of a context.

use super::{changed, Context, Doc};
use crate::domain::json::attempt::Bounds;
use crate::domain::json::{Attempt, Document, Edit, Op, Value};
use crate::domain::versioned::{decide, Version, VersionedEvent};
use crate::domain::{Bytes, Error, Millis};

/// Decides an update of the document: all operations, or none. `None` if they change nothing.
pub fn update(
    context: &Context,
    by: &[u8],
    ops: Vec<Op>,
    expected: Option<Version>,
    bounds: Bounds,
    at: Millis,
) -> Result<Option<VersionedEvent<Doc>>, Error> {
    decide::check_open(context)?;
    decide::check_version(Some(context), expected, changed::changed_since)?;
    let edits: Vec<Edit> = Attempt::new(context.state().document(), bounds).all(ops)?;
    if edits.is_empty() {
        return Ok(None);
    }
    decide::check_history(context)?;
    let version = context.version() + 1;
    Ok(Some(VersionedEvent::Changed { version, at, by: Bytes::from(by), change: edits, ttl_ms: None }))
}

/// The document that an update makes of nothing: of an empty object, as `CREATE` makes it.
pub fn first(ops: Vec<Op>, bounds: Bounds) -> Result<Doc, Error> {
    let mut document = Document::new(Value::object());
    let edits = Attempt::new(&document, bounds).all(ops)?;
    edits.into_iter().for_each(|edit| drop(document.apply(edit)));
    bounds.check(&document)?;
    Ok(document.into())
}
