//! The basic types: bytes, keys, fences, times, capabilities.

pub mod blob;
pub mod bytes;
pub mod capability;
pub mod fence;
pub mod inline_list;
pub mod key;
pub mod time;
