//! How a function of the module API is called, and found to be there.

/// Calls a function of the module API that every supported server has.
macro_rules! call {
    ($name:ident($($arg:expr),* $(,)?)) => {{
        // SAFETY: Redis filled the table of functions before it called us and never changes
        // it; the pointers in the arguments come from Redis and are valid until the callback
        // we are in returns.
        unsafe { (redis_module::raw::$name.expect(stringify!($name)))($($arg),*) }
    }};
}
pub(crate) use call;

/// Whether this server has a function of the module API.
macro_rules! has {
    ($name:ident) => {{
        // SAFETY: only read; Redis alone wrote it, before it called us.
        let function = unsafe { redis_module::raw::$name };
        function.is_some()
    }};
}
pub(crate) use has;
