//! Freeing what consists of many pieces, or of many bytes: elsewhere, if the host can do that.

use std::any::Any;
use std::sync::OnceLock;

/// How the host frees something. The values that it is given may be of any kind.
pub type Free = fn(Box<dyn Any + Send>);

static ELSEWHERE: OnceLock<Free> = OnceLock::new();

/// What consists of so many pieces is freed elsewhere: that takes about half a millisecond.
pub const FREED_ELSEWHERE_FROM: usize = 5_000;

/// So many bytes in one piece are freed elsewhere: their pages go back to the system, which takes
/// about a quarter of a millisecond for 4 MiB.
pub const BYTES_FREED_ELSEWHERE_FROM: usize = 64 * 1024;

/// Says how values are freed elsewhere. The first call counts.
pub fn free_with(free: Free) {
    let _ = ELSEWHERE.set(free);
}

/// Frees a value of about so many pieces: at once if they are few, or if there is no other way.
pub fn discard(value: impl Send + 'static, pieces: usize) {
    free_one(value, pieces >= FREED_ELSEWHERE_FROM);
}

/// Frees bytes: at once if they are few, or if there is no other way.
pub fn discard_bytes(bytes: Box<[u8]>) {
    let is_large = bytes.len() >= BYTES_FREED_ELSEWHERE_FROM;
    free_one(bytes, is_large);
}

fn free_one(value: impl Send + 'static, is_large: bool) {
    match ELSEWHERE.get().filter(|_| is_large) {
        Some(free) => free(Box::new(value)),
        None => drop(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Blob;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::{Arc, Mutex};

    /// What was to be freed elsewhere.
    static KEPT: Mutex<Vec<Box<dyn Any + Send>>> = Mutex::new(Vec::new());

    /// Notes that it is dropped.
    struct Noted(Arc<AtomicBool>);

    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    #[test]
    fn what_has_many_pieces_is_freed_elsewhere() {
        free_with(|value| KEPT.lock().expect("a lock").push(value));
        for (pieces, is_freed) in [(FREED_ELSEWHERE_FROM - 1, true), (FREED_ELSEWHERE_FROM, false)] {
            let noted = Arc::new(AtomicBool::new(false));
            discard(Noted(noted.clone()), pieces);
            assert_eq!(noted.load(Relaxed), is_freed, "{pieces}");
        }
        // A blob is freed elsewhere once nobody has it. Other tests have none of this length.
        let bytes_kept = |len: usize| {
            let kept = KEPT.lock().expect("a lock");
            kept.iter()
                .filter(|value| value.downcast_ref::<Box<[u8]>>().is_some_and(|bytes| bytes.len() == len))
                .count()
        };
        for (len, is_elsewhere) in [(BYTES_FREED_ELSEWHERE_FROM - 7, 0), (BYTES_FREED_ELSEWHERE_FROM + 7, 1)] {
            let blob = Blob::zeros(len);
            drop(blob.clone());
            assert_eq!(bytes_kept(len), 0, "somebody has the {len} bytes");
            drop(blob);
            assert_eq!(bytes_kept(len), is_elsewhere, "{len} bytes");
        }
    }
}
