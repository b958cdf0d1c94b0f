//! Sessions and contexts against plain maps and documents with full copies of every version.
