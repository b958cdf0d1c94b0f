//! What is sent to replicas and the AOF, and when nothing is sent.

mod listeners;
mod writes;
