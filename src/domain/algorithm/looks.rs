//! How much the main thread works: it counts what it looks at, in test builds only.
//!
//! A look takes about half a microsecond: an element of a collection is visited, an event
//! is applied, a value of a reply is made, 64 bytes of JSON are parsed, a KiB is copied. What a
//! command declares as its bound ([`crate::command::engine::work`]) is compared with these. Unlike
//! times, they are the same on every machine. Code that may loop long calls [`looked`]; a loop that
//! its own constants end below a hundred rounds need not.
//!
//! Each thread has its own count, so what a thread of the pool does is none of the main thread's
//! work. In a release nothing is counted, and [`looked`] is nothing.

/// Parts of a look that are counted.
#[cfg(any(test, feature = "test-hooks"))]
const PARTS: usize = 1024;

#[cfg(any(test, feature = "test-hooks"))]
thread_local! {
    /// In parts of a look.
    static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// This thread has looked at so many elements.
#[inline(always)]
pub fn looked(elements: usize) {
    looked_at_parts(elements, 1);
}

/// This thread has looked at so many elements, as many of which as `of_look` are a look.
#[inline(always)]
pub fn looked_at_parts(elements: usize, of_look: usize) {
    #[cfg(any(test, feature = "test-hooks"))]
    LOOKS.set(LOOKS.get().saturating_add(elements.saturating_mul(PARTS) / of_look));
    #[cfg(not(any(test, feature = "test-hooks")))]
    let _ = (elements, of_look);
}

/// This thread has copied or compared so many bytes: a look for each KiB.
#[inline(always)]
pub fn looked_at_bytes(bytes: usize) {
    looked_at_parts(bytes, 1024);
}

/// This thread has read or written so many bytes of JSON: a look for each 64.
#[inline(always)]
pub fn looked_at_json(bytes: usize) {
    looked_at_parts(bytes, 64);
}

/// Does what only test builds do: it is not counted.
pub fn uncounted<T>(check: impl FnOnce() -> T) -> T {
    #[cfg(any(test, feature = "test-hooks"))]
    let before = LOOKS.get();
    let checked = check();
    #[cfg(any(test, feature = "test-hooks"))]
    LOOKS.set(before);
    checked
}

/// How many looks this thread had since this was asked last.
#[cfg(any(test, feature = "test-hooks"))]
pub fn take() -> usize {
    LOOKS.take() / PARTS
}

/// Counts what goes through an iterator.
pub trait Looked: Iterator + Sized {
    /// The same items; each is a look when it comes.
    #[inline(always)]
    fn looked(self) -> impl Iterator<Item = Self::Item> {
        self.inspect(|_| looked(1))
    }
}

impl<I: Iterator> Looked for I {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_counts_for_itself() {
        take();
        looked(3);
        looked_at_bytes(2 * 1024);
        (0..2).for_each(|_| looked_at_parts(8, 16));
        let other = std::thread::spawn(|| {
            looked(1);
            take()
        });
        assert_eq!(other.join().ok(), Some(1));
        assert_eq!([1, 2, 3].iter().looked().take(2).count(), 2);
        assert_eq!((take(), take()), (8, 0));
    }
}
