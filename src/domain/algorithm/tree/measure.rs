//! What a tree knows of all its entries.

/// What a tree knows of its entries without looking at each: a sum of what each of them adds.
pub trait Measure<K, V>: Copy + Default {
    /// Of one entry.
    fn of(key: &K, value: &V) -> Self;

    /// Of two parts together, in whatever order.
    fn and(self, other: Self) -> Self;

    /// Of the rest without a part; `None` if only the rest itself can tell.
    fn without(self, part: Self) -> Option<Self>;
}

impl<K, V> Measure<K, V> for () {
    fn of(_key: &K, _value: &V) -> Self {}
    fn and(self, _other: Self) -> Self {}
    fn without(self, _part: Self) -> Option<Self> {
        Some(())
    }
}
