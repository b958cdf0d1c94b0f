//! The types of keys, listed once for everything that depends on the type of a value. One of the
//! places that name every service.

/// Passes the list of all types to another macro.
macro_rules! with_types {
    ($then:ident, $($args:tt)*) => {
        $crate::domain::entity_types::$then! {
            @ [lock::Lock registry::Registry context::Context session::Session cache::Cache buffer::Buffer mail::Mail flow::Flow]
            $($args)*
        }
    };
}

/// Runs `$body` with `$E` as the entity type of a registered tag, or `$else` with the tag
/// if it is unknown.
macro_rules! with_type {
    (@ [$($module:ident::$Type:ident)*] $tag:expr, $E:ident => $body:expr, $other:ident => $else:expr) => {
        match $tag {
            $(<$crate::domain::$module::$Type as $crate::domain::Entity>::TYPE_TAG => {
                type $E = $crate::domain::$module::$Type;
                $body
            })*
            $other => $else,
        }
    };
    ($tag:expr, $E:ident => $body:expr, $other:ident => $else:expr) => {
        $crate::domain::entity_types::with_types!(with_type, $tag, $E => $body, $other => $else)
    };
}

/// Runs `$body` once for each type, as `$E`.
macro_rules! for_each_type {
    (@ [$($module:ident::$Type:ident)*] $E:ident => $body:expr) => {
        $({
            type $E = $crate::domain::$module::$Type;
            $body;
        })*
    };
    ($E:ident => $body:expr) => {
        $crate::domain::entity_types::with_types!(for_each_type, $E => $body)
    };
}

/// The names of the events of all types.
pub fn event_names() -> Vec<&'static str> {
    let mut names = Vec::new();
    for_each_type!(E => names.extend(<<E as super::Entity>::Event as super::Event>::NAMES));
    names
}

pub(crate) use {for_each_type, with_type, with_types};
