//! What watchers are told: the visible events as texts, and how many of them are kept.

use std::collections::VecDeque;

#[derive(Debug, Clone, Default)]
pub struct Log {
    pub born: u64,
    pub dropped: u64,
    pub events: VecDeque<String>,
    pub bytes: usize,
}

/// How many events of a log are kept.
const EVENTS_MAX: usize = 4096;
const BYTES_MAX: usize = 1024 * 1024;

/// The parts of an event after its time.
pub struct Story(pub String);

impl Story {
    pub fn of(agent: &str) -> Self {
        Self(String::new()).text("agent", agent)
    }

    pub fn number(mut self, name: &str, value: u64) -> Self {
        self.0 += &format!(",\"{name}\":{value}");
        self
    }

    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.0 += &format!(",\"{name}\":{}", serde_json::Value::from(value));
        self
    }

    /// Adds a text unless it is empty.
    pub fn text_if_any(self, name: &str, value: &str) -> Self {
        if value.is_empty() {
            self
        } else {
            self.text(name, value)
        }
    }

    pub fn damped(self, until: Option<u64>) -> Self {
        match until {
            Some(until) if until > 0 => self.number("damped_until_at_ms", until),
            _ => self,
        }
    }
}

impl Log {
    /// A copy does not know how it began.
    pub fn of_copy(revision: u64) -> Self {
        Self { born: revision - 1, dropped: 1, ..Self::default() }
    }

    pub fn revision(&self) -> u64 {
        self.born + self.dropped + self.events.len() as u64
    }

    pub fn tell(&mut self, event: &str, at: u64, story: Story) {
        let revision = self.revision() + 1;
        let text = format!("{{\"revision\":{revision},\"event\":\"{event}\",\"at_ms\":{at}{}}}", story.0);
        self.bytes += text.len();
        self.events.push_back(text);
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            self.bytes -= self.events.pop_front().expect("not empty").len();
            self.dropped += 1;
        }
    }

    /// The events after a revision; `None` if not all of them are known.
    pub fn after(&self, since: u64) -> Option<Vec<&String>> {
        let known_from = self.born + self.dropped;
        let is_known = (known_from..=self.revision()).contains(&since) || (since == 0 && self.dropped == 0);
        let skipped = since.saturating_sub(known_from) as usize;
        is_known.then(|| self.events.iter().skip(skipped).collect())
    }
}
