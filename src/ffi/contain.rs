//! No panic may reach Redis: it would take the server down. Every callback runs inside [`contain`].

use super::detached;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the text and the backtrace of a panic for the log, instead of printing them
/// to standard error.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let text = format!("{info}\n{}", Backtrace::force_capture());
        LAST.with(|last| *last.borrow_mut() = Some(text));
    }));
}

/// Runs `work`. If it panics, the panic is logged with its backtrace, and `None` is returned.
pub fn contain<T>(what: &str, work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(value) => Some(value),
        Err(_) => {
            let text = LAST.with(|last| last.borrow_mut().take()).unwrap_or_default();
            detached::log_panic(what, &text);
            None
        }
    }
}
