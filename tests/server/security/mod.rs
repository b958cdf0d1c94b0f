//! Who may do what, and how much.

mod quotas;
