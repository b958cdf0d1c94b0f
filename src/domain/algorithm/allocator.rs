//! What memory costs: the size that the allocator really reserves.
//!
//! Redis and Valkey allocate with jemalloc, which rounds up to size classes: multiples of 16 up to
//! 128 bytes, then four classes for each doubling (jemalloc(3), "size classes"). With another
//! allocator the numbers are close.

/// Bytes that the allocator reserves for a request of `bytes`; none for none.
pub const fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => round_up(bytes, 16),
        // No request is this large, and the next power of two would not fit.
        _ if bytes > usize::MAX / 4 => bytes,
        _ => round_up(bytes, bytes.next_power_of_two() / 8),
    }
}

const fn round_up(bytes: usize, step: usize) -> usize {
    bytes.div_ceil(step) * step
}

/// Bytes of an ordered map or set with `entries` entries of `entry_bytes` each. A node holds up to
/// 11 entries; several nodes are two thirds full on average.
pub const fn tree_bytes(entries: usize, entry_bytes: usize) -> usize {
    const NODE_ENTRIES: usize = 11;
    const NODE_HEAD_BYTES: usize = 16;
    let nodes = match entries {
        0 => 0,
        1..=NODE_ENTRIES => 1,
        _ => (entries * 3).div_ceil(NODE_ENTRIES * 2),
    };
    nodes * allocated(NODE_HEAD_BYTES + NODE_ENTRIES * entry_bytes)
}

/// Bytes of a hash table with room for `capacity` entries of `entry_bytes` each: one control byte
/// for each entry, filled to 7/8.
pub const fn table_bytes(capacity: usize, entry_bytes: usize) -> usize {
    if capacity == 0 {
        return 0;
    }
    let buckets = if capacity < 8 { 8 } else { (capacity * 8 / 7).next_power_of_two() };
    allocated(buckets * (entry_bytes + 1) + 16)
}

#[cfg(test)]
mod tests {
    use super::allocated;

    #[test]
    fn requests_are_rounded_up_to_size_classes() {
        let classes = [
            (0, 0),
            (1, 8),
            (9, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (1000, 1024),
            (4097, 5120),
        ];
        for (requested, given) in classes {
            assert_eq!(allocated(requested), given, "{requested}");
        }
        assert_eq!(allocated(1024 * 1024 + 16), 1024 * 1024 + 256 * 1024);
    }
}
