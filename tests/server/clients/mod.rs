//! Who talks to the server: real clients, whole teams of them, and users under the names that the
//! server gives them. Also over TLS.

mod callers;
mod real_client;
mod team;
mod tls;
