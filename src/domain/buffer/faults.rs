//! What can be broken in a buffer.

use super::Buffer;
use crate::domain::entity::fault_injection::Breakable;

impl Breakable for Buffer {
    fn parts() -> Vec<&'static str> {
        vec!["ids", "hashes", "hash", "agents", "held", "dues", "loose", "places", "order", "sharing", "totals"]
    }

    fn break_part(&mut self, part: &str) {
        match part {
            "ids" => self.by_id.clear(),
            "hashes" => self.by_hash.clear(),
            "hash" => self.chunks.values_mut().for_each(|chunk| chunk.hash ^= 1),
            "agents" => drop(self.by_agent.pop_first()),
            "held" => self.by_agent.values_mut().for_each(|of| of.held_bytes += 1),
            "dues" => drop(self.dues.pop_first()),
            "loose" => drop(self.loose.pop()),
            "places" => self.chunks.values_mut().for_each(|chunk| chunk.loose_at = None),
            "order" => drop(self.order.pop_first()),
            "sharing" => self.sharing.clear(),
            _ => self.totals.logical_bytes += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::algorithm::eviction::Policy;
    use crate::domain::algorithm::xxhash::xxh64;
    use crate::domain::buffer::{BufferEvent, Config};
    use crate::domain::entity::fault_injection::{
        testing::assert_breaks_are_mended, testing::assert_breaks_show_in_parts, testing::value, testing::NOW,
    };
    use crate::domain::{Blob, Bytes, Record};

    /// A buffer of `chunks` chunks of `bytes` bytes. An agent holds each third one, and each fourth
    /// one has the content of another.
    pub fn buffer(chunks: u64, bytes: usize) -> Record<Buffer> {
        let config = Config { max_bytes: 1 << 40, min_bytes: 1 << 40, policy: Policy::Ttl };
        let configured = BufferEvent::Configured { at: NOW, config, size_bytes: 1 << 40, stays: true };
        let put = move |n: u64| {
            let mut data = vec![b'x'; bytes];
            data[..8].copy_from_slice(&(n - u64::from(n % 4 == 3)).to_be_bytes());
            let (hash, data) = (xxh64(&data), Blob::from(&data[..]));
            let id = Bytes::from(format!("chunk-{n}").as_str());
            let pin = (n % 3 == 0).then(|| (Bytes::from(format!("agent-{}", n % 50).as_str()), NOW + 60_000));
            let (meta, ends_at) = (Bytes::EMPTY, Some(NOW + 90_000 + n));
            BufferEvent::Put { at: NOW, id, data, hash, version: n + 1, meta, ends_at, pin }
        };
        value([configured].into_iter().chain((0..chunks).map(put)))
    }

    #[test]
    fn each_break_of_a_buffer_is_noticed_and_mended() {
        assert_breaks_are_mended(&buffer(20, 100));
        assert_breaks_are_mended(&buffer(200, 3_000));
    }

    #[test]
    fn breaks_of_a_large_buffer_show_in_its_parts() {
        assert_breaks_show_in_parts(&buffer(200, 3_000), &["held", "sharing", "totals"]);
    }
}
