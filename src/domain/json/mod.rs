//! JSON documents that change in small steps.
//!
//! A [`Document`] is a [`Value`] that changes by [`Edit`]s, each of which returns the edit that
//! undoes it. An [`Attempt`](attempt::Attempt) turns what clients ask for (RFC 7396 merge patches,
//! RFC 6902 patches, single operations) into edits. Edits are what is replicated, watched and kept
//! as history, so the cost depends on what changes, not on the size of the document. Paths are JSON
//! Pointers (RFC 6901).

pub mod attempt;
pub mod canonical;
pub mod document;
pub mod edit;
pub mod merge;
pub mod patch;
pub mod pointer;
pub mod size;
pub mod text;
pub mod value;

pub use attempt::{Attempt, Op};
pub use document::Document;
pub use edit::Edit;
pub use pointer::Pointer;
pub use text::Json;
pub use value::Value;
