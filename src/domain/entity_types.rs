//! The types of keys, listed once for everything that depends on the type of a value.

/// Runs `$body` with `$E` being the entity type of a tag, one of those that are registered, or `$else` with the tag if there is none.
macro_rules! with_type {
    ($tag:expr, $E:ident => $body:expr, $other:ident => $else:expr) => {
        $crate::domain::entity_types::with_type!(@ $tag, $E => $body, $other => $else,
            lock::Lock registry::Registry context::Context session::Session cache::Cache buffer::Buffer mail::Mail flow::Flow)
    };
    (@ $tag:expr, $E:ident => $body:expr, $other:ident => $else:expr, $($module:ident::$Type:ident)*) => {
        match $tag {
            $(<$crate::domain::$module::$Type as $crate::domain::Entity>::TYPE_TAG => {
                type $E = $crate::domain::$module::$Type;
                $body
            })*
            $other => $else,
        }
    };
}
pub(crate) use with_type;
