//! Ten thousand agents and more.
