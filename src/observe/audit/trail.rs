//! The trail as the audit thread makes it: records become chained lines.

use super::{link, linked, Record};
use std::collections::VecDeque;
use std::sync::Arc;

/// A record with its link.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The record.
    pub record: Arc<Record>,
    /// Its `chain`.
    pub chain: Arc<str>,
}

/// The end of the chain, the last records, and the lines that are still to be written.
#[derive(Debug, Default)]
pub struct Trail {
    node: String,
    chain: Box<str>,
    ring: VecDeque<Entry>,
    ring_max: usize,
    /// Lines that are not in the file yet; `None` if there is no file.
    unwritten: Option<String>,
}

impl Trail {
    /// The trail of the node with this run id, which keeps so many records.
    pub fn new(node: String, ring_max: usize) -> Self {
        Self { node, chain: "".into(), ring: VecDeque::new(), ring_max, unwritten: None }
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
    pub fn push(&mut self, record: Record) {
        let unlinked = record.unlinked(&self.node);
        let chain: Arc<str> = link(&self.chain, &unlinked).into();
        self.chain = (*chain).into();
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.push_str(&linked(&unlinked, &chain));
            unwritten.push('\n');
        }
        self.ring.push_back(Entry { record: Arc::new(record), chain });
        self.keep(self.ring_max);
    }

    /// Takes the lines that are to be written.
    pub fn take_unwritten(&mut self) -> String {
        self.unwritten.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Gives back what could not be written, from the beginning of a line on.
    pub fn give_back(&mut self, mut lines: String) {
        if let Some(unwritten) = &mut self.unwritten {
            lines.push_str(unwritten);
            *unwritten = lines;
        }
    }

    /// Bytes that are to be written.
    pub fn unwritten_bytes(&self) -> usize {
        self.unwritten.as_ref().map_or(0, String::len)
    }

    /// Keeps at most so many records from now on.
    pub fn keep(&mut self, ring_max: usize) {
        self.ring_max = ring_max;
        self.ring.drain(..self.ring.len().saturating_sub(ring_max));
    }

    /// The run id of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The last records, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Entry> {
        self.ring.iter().rev()
    }

    /// The number of records in the ring.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether the ring is empty.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Empties the ring. The chain and the file go on.
    pub fn reset(&mut self) {
        self.ring = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Caller, Class, Ended, Subject};
    use super::*;

    fn record(n: u64) -> Record {
        Record {
            n,
            at: 7,
            caller: Caller { user: Some(b"ada"[..].into()), client: Some(3), addr: Some("127.0.0.1:5".into()) },
            command: "LTMC.LOCK".into(),
            class: Class::Write,
            db: 0,
            key: Some(b"k\xff\"".as_slice().into()),
            subject: Subject { agent: Some(b"ada:1".as_slice().into()), ..Subject::default() },
            before: None,
            after: Some(1),
            ended: Ended::Integer(9),
            us: 12,
            cause: None,
        }
    }

    #[test]
    fn a_line_has_all_fields_and_its_link() {
        let mut trail = Trail::new("run".into(), 10);
        trail.has_file(true, None);
        trail.push(record(1));
        let line = trail.take_unwritten();
        let unlinked = r#"{"n":1,"at_ms":7,"node":"run","user":"ada","client":3,"addr":"127.0.0.1:5","agent":"ada:1","command":"LTMC.LOCK","class":"write","db":0,"key":"k\\xff\"","object":null,"before":null,"after":1,"outcome":"integer 9","us":12,"reqid":null,"bytes":0,"cause":null}"#;
        let chain = link("", unlinked);
        assert_eq!(line, format!("{},\"chain\":\"{chain}\"}}\n", &unlinked[..unlinked.len() - 1]));
        serde_json::from_str::<serde_json::Value>(&line).expect("it is JSON");
    }

    #[test]
    fn lines_are_chained_over_a_reset_and_a_change_of_files() {
        let mut trail = Trail::new("run".into(), 2);
        trail.has_file(true, None);
        (1..=3).for_each(|n| trail.push(record(n)));
        let kept: Vec<u64> = trail.newest().map(|entry| entry.record.n).collect();
        assert_eq!(kept, [3, 2]);
        let last = trail.newest().next().map(|entry| entry.chain.to_string()).expect("there is one");
        trail.reset();
        assert!(trail.is_empty());
        trail.push(record(4));
        let next = trail.newest().next().map(|entry| entry.chain.to_string()).expect("there is one");
        assert_eq!(next, link(&last, &record(4).unlinked("run")));
        assert_eq!(trail.take_unwritten().lines().count(), 4);
        trail.has_file(true, Some("feed"));
        trail.push(record(5));
        assert!(trail.take_unwritten().contains(&link("feed", &record(5).unlinked("run"))));
        trail.has_file(false, None);
        trail.push(record(6));
        assert_eq!(trail.unwritten_bytes(), 0);
    }

    #[test]
    fn what_could_not_be_written_comes_first_next_time() {
        let mut trail = Trail::new("run".into(), 2);
        trail.has_file(true, None);
        trail.push(record(1));
        let lines = trail.take_unwritten();
        trail.push(record(2));
        trail.give_back(lines.clone());
        assert!(trail.take_unwritten().starts_with(&lines));
    }
}
