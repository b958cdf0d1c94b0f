//! The trail as the audit thread makes it: records become chained lines.
//!
//! The thread works beside the event loop and shares its allocator with it, so it takes no memory
//! for a record: its texts go from the batch into the line and into the ring, whose parts are used
//! again.

use super::batch::Batch;
use super::{link, write_linked, Record};
use crate::domain::algorithm::sha256::HEX_LEN;
use std::collections::VecDeque;

/// How many records stand in a part of the ring.
const PART: usize = 256;

/// Some records of the ring with their links.
#[derive(Debug, Default)]
struct Part {
    batch: Batch,
    /// One behind the other.
    chains: String,
}

impl Part {
    /// Its records, the newest first.
    fn newest(&self) -> impl Iterator<Item = (Record<'_>, &str)> {
        let chains = (0..self.batch.len()).rev().map(|at| &self.chains[at * HEX_LEN..][..HEX_LEN]);
        self.batch.records().rev().zip(chains)
    }
}

/// The end of the chain, the last records, and the lines that are still to be written.
#[derive(Debug, Default)]
pub struct Trail {
    node: String,
    chain: String,
    ring: VecDeque<Part>,
    ring_max: usize,
    /// How many records are in the ring.
    len: usize,
    /// A part that can be used again.
    spare: Option<Part>,
    /// Lines that are not in the file yet; `None` if there is no file.
    unwritten: Option<Vec<u8>>,
    /// The last link and the next line.
    line: Vec<u8>,
}

impl Trail {
    /// The trail of the node with this run id, which keeps so many records.
    pub fn new(node: String, ring_max: usize) -> Self {
        Self { node, ring_max, ..Self::default() }
    }

    /// Its lines go to a file from now on, or to none. A file that has lines is continued where its
    /// chain ends.
    pub fn has_file(&mut self, has_file: bool, chain: Option<&str>) {
        self.unwritten = has_file.then(|| self.unwritten.take().unwrap_or_default());
        if let Some(chain) = chain {
            self.chain = chain.into();
        }
    }

    /// Adds a record.
    pub fn push(&mut self, record: &Record) {
        self.line.clear();
        self.line.extend_from_slice(self.chain.as_bytes());
        record.write(&self.node, &mut self.line);
        let begin = self.chain.len();
        link(&self.line, &mut self.chain);
        if let Some(unwritten) = &mut self.unwritten {
            write_linked(&self.line[begin..], &self.chain, unwritten);
        }
        if self.ring_max > 0 {
            self.remember(record);
        }
    }

    fn remember(&mut self, record: &Record) {
        if self.ring.back().is_none_or(|part| part.batch.len() >= PART) {
            self.trim();
            self.ring.push_back(self.spare.take().unwrap_or_default());
        }
        let Some(part) = self.ring.back_mut() else { return };
        part.batch.push(record);
        part.chains.push_str(&self.chain);
        self.len = (self.len + 1).min(self.ring_max);
    }

    /// Takes away the parts of which no record is in the ring any more.
    fn trim(&mut self) {
        let mut behind: usize = self.ring.iter().map(|part| part.batch.len()).sum();
        while let Some(first) = self.ring.front_mut() {
            behind -= first.batch.len();
            if behind < self.len {
                break;
            }
            first.batch.clear();
            first.chains.clear();
            self.spare = self.ring.pop_front();
        }
    }

    /// Takes the lines that are to be written.
    pub fn take_unwritten(&mut self) -> Vec<u8> {
        self.unwritten.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Gives back what could not be written, from the beginning of a line on; or an empty one,
    /// whose memory is used again.
    pub fn give_back(&mut self, mut lines: Vec<u8>) {
        if let Some(unwritten) = &mut self.unwritten {
            lines.extend_from_slice(unwritten);
            *unwritten = lines;
        }
    }

    /// Bytes that are to be written.
    pub fn unwritten_bytes(&self) -> usize {
        self.unwritten.as_ref().map_or(0, Vec::len)
    }

    /// Keeps at most so many records from now on.
    pub fn keep(&mut self, ring_max: usize) {
        self.ring_max = ring_max;
        self.len = self.len.min(ring_max);
        self.trim();
    }

    /// The run id of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The last records, the newest first, each with its link.
    pub fn newest(&self) -> impl Iterator<Item = (Record<'_>, &str)> {
        self.ring.iter().rev().flat_map(Part::newest).take(self.len)
    }

    /// The number of records in the ring.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the ring is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Empties the ring. The chain and the file go on.
    pub fn reset(&mut self) {
        (self.ring, self.len) = (VecDeque::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Caller, Class, Ended, Subject};
    use super::*;

    fn push(trail: &mut Trail, n: u64) {
        let caller = Caller { user: Some(b"ada"[..].into()), client: Some(3), addr: Some("127.0.0.1:5".into()) };
        trail.push(&Record {
            n,
            at: 7,
            caller: &caller,
            command: "LTMC.LOCK",
            class: Class::Write,
            db: 0,
            key: Some(b"k\xff\""),
            subject: Subject { agent: Some(b"ada:1"), ..Subject::default() },
            before: None,
            after: Some(1),
            ended: &Ended::Counted("integer", 9),
            us: 12,
            cause: None,
        });
    }

    fn unlinked(n: u64) -> String {
        let end = r#""at_ms":7,"node":"run","user":"ada","client":3,"addr":"127.0.0.1:5","agent":"ada:1","command":"LTMC.LOCK","class":"write","db":0,"key":"k\\xff\"","object":null,"before":null,"after":1,"outcome":"integer 9","us":12,"reqid":null,"bytes":0,"cause":null}"#;
        format!("{{\"n\":{n},{end}")
    }

    fn linked_to(before: &str, n: u64) -> String {
        let mut chain = String::new();
        link(&[before.as_bytes(), unlinked(n).as_bytes()].concat(), &mut chain);
        chain
    }

    fn take_unwritten(trail: &mut Trail) -> String {
        String::from_utf8(trail.take_unwritten()).expect("lines are UTF-8")
    }

    #[test]
    fn a_line_has_all_fields_and_its_link() {
        let mut trail = Trail::new("run".into(), 10);
        trail.has_file(true, None);
        push(&mut trail, 1);
        let (line, unlinked) = (take_unwritten(&mut trail), unlinked(1));
        let chain = linked_to("", 1);
        assert_eq!(line, format!("{},\"chain\":\"{chain}\"}}\n", &unlinked[..unlinked.len() - 1]));
        serde_json::from_str::<serde_json::Value>(&line).expect("it is JSON");
    }

    #[test]
    fn lines_are_chained_over_a_reset_and_a_change_of_files() {
        let mut trail = Trail::new("run".into(), 2);
        trail.has_file(true, None);
        (1..=3).for_each(|n| push(&mut trail, n));
        assert_eq!(trail.newest().map(|(record, _)| record.n).collect::<Vec<_>>(), [3, 2]);
        let newest = |trail: &Trail| trail.newest().next().map(|(_, chain)| chain.to_string()).expect("there is one");
        let last = newest(&trail);
        trail.reset();
        assert!(trail.is_empty());
        push(&mut trail, 4);
        assert_eq!(newest(&trail), linked_to(&last, 4));
        assert_eq!(take_unwritten(&mut trail).lines().count(), 4);
        trail.has_file(true, Some("feed"));
        push(&mut trail, 5);
        assert!(take_unwritten(&mut trail).contains(&linked_to("feed", 5)));
        trail.has_file(false, None);
        push(&mut trail, 6);
        assert_eq!(trail.unwritten_bytes(), 0);
    }

    #[test]
    fn the_ring_keeps_the_newest_and_uses_its_parts_again() {
        for ring_max in [0, 1, PART - 1, PART, PART + 1, 3 * PART] {
            let mut trail = Trail::new("run".into(), ring_max);
            for n in 1..=5 * PART {
                push(&mut trail, n as u64);
                assert_eq!(trail.len(), n.min(ring_max), "{ring_max} {n}");
                assert!(trail.ring.len() <= ring_max.div_ceil(PART) + 1, "{ring_max} {n}");
            }
            let kept: Vec<u64> = trail.newest().map(|(record, _)| record.n).collect();
            let newest: Vec<u64> = (1..=5 * PART as u64).rev().take(ring_max).collect();
            assert_eq!(kept, newest, "{ring_max}");
            trail.keep(3);
            assert_eq!((trail.newest().count(), trail.len()), (ring_max.min(3), ring_max.min(3)));
        }
    }

    #[test]
    fn what_could_not_be_written_comes_first_next_time() {
        let mut trail = Trail::new("run".into(), 2);
        trail.has_file(true, None);
        push(&mut trail, 1);
        let lines = trail.take_unwritten();
        push(&mut trail, 2);
        trail.give_back(lines.clone());
        assert!(trail.take_unwritten().starts_with(&lines));
    }
}
