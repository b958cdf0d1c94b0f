//! The types of keys, for what depends on the type of a value that is met.

use super::Kind;
use crate::domain::buffer::Buffer;
use crate::domain::cache::Cache;
use crate::domain::context::Context;
use crate::domain::flow::Flow;
use crate::domain::lock::Lock;
use crate::domain::mail::Mail;
use crate::domain::registry::Registry;
use crate::domain::session::Session;
use crate::domain::{Entity, Service};

/// Runs `$body` with `$E` being the type of a value of ours.
macro_rules! with_kind {
    ($kind:expr, $E:ident => $body:expr, else $other:expr) => {
        with_kind!($kind, $E => $body, else $other, Lock Registry Context Session Cache Buffer Mail Flow)
    };
    ($kind:expr, $E:ident => $body:expr, else $other:expr, $($Type:ident)*) => {
        match $kind {
            $(Kind::Ours(<$Type as Entity>::TYPE_TAG) => {
                type $E = $Type;
                $body
            })*
            _ => $other,
        }
    };
}

pub(super) use with_kind;

/// The service of what is under a key; `None` if it is not of ours.
pub fn service_of(kind: Kind) -> Option<Service> {
    with_kind!(kind, E => Some(E::SERVICE), else None)
}
