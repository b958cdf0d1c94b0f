//! What goes to replicas and into the AOF, and to whom nothing is sent.

mod listeners;
mod writes;
