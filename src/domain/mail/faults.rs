//! What can be broken in a mailbox.

use super::Mail;
use crate::domain::entity::fault_injection::Breakable;

impl Breakable for Mail {
    fn parts() -> Vec<&'static str> {
        let own = ["joined", "ends", "expiries", "payload-bytes", "bytes", "places", "receivers", "leases", "held"];
        own.into_iter().chain(["ready", "answers", "leased", "replies"]).collect()
    }

    fn break_part(&mut self, part: &str) {
        match part {
            "joined" => self.joined += 1,
            "ends" => drop(self.ends.pop_first()),
            "expiries" => drop(self.expiries.pop_first()),
            "payload-bytes" => self.payload_bytes += 1,
            "bytes" => self.heap_bytes += 1,
            "places" => self.messages.values_mut().for_each(|message| message.left += 1),
            "receivers" => self.messages.values_mut().for_each(|message| message.to.clear()),
            "leases" => self.holds.values_mut().for_each(|hold| hold.left += 1),
            "held" => self.holds.values_mut().for_each(|hold| hold.ids.clear()),
            part => self.inboxes.values_mut().for_each(|inbox| inbox.break_part(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::fault_injection::{
        testing::assert_breaks_are_mended, testing::assert_breaks_show_in_parts, testing::value, testing::FENCE,
        testing::NOW,
    };
    use crate::domain::mail::{Letter, MailEvent};
    use crate::domain::{Blob, Bytes, Record};

    fn agent(n: u64) -> Bytes {
        Bytes::from(format!("agent-{n}").as_str())
    }

    /// A mailbox with `messages` messages, each to `receivers` of a hundred agents;
    /// some are received.
    pub fn mail(messages: u64, receivers: u64) -> Record<Mail> {
        let joined = (0..100).map(|n| MailEvent::Joined { agent: agent(n), at: NOW });
        let sent = move |n: u64| {
            let mut to: Vec<Bytes> = (0..receivers).map(|at| agent((n + at) % 100)).collect();
            to.sort();
            MailEvent::Sent(Box::new(Letter {
                id: FENCE + 2 * n,
                from: agent(0),
                to: to.into_iter().collect(),
                at: NOW,
                expires_at: (n % 2 == 0).then_some(NOW + 60_000 + n),
                reply_to: (n % 3 == 0 && n > 0).then_some(FENCE),
                payload: Blob::from(&b"a message"[..]),
            }))
        };
        let received = move |n: u64| MailEvent::Received {
            fence: FENCE + 1 + 2 * n,
            agent: agent(n % 100),
            ids: vec![FENCE + 2 * n],
            at: NOW,
            ends_at: NOW + 30_000 + n,
        };
        value(joined.chain((0..messages).map(sent)).chain((0..messages).step_by(4).map(received)))
    }

    #[test]
    fn each_break_of_a_mailbox_is_noticed_and_mended() {
        assert_breaks_are_mended(&mail(30, 3));
        assert_breaks_are_mended(&mail(500, 2));
    }

    #[test]
    fn breaks_of_a_large_mailbox_show_in_its_parts() {
        assert_breaks_show_in_parts(&mail(500, 2), &["joined", "payload-bytes", "bytes", "leased"]);
    }
}
