//! Sessions and contexts: what survives, what replicas get, and watching them.
