//! Mailboxes in the golden files. They are part of the frozen format: samples may be added, but
//! never changed.

use crate::samples::{answered, forgotten, value, Samples, FENCE, NOW};
use ltmc::domain::entity::idempotency::Answer;
use ltmc::domain::mail::{Letter, Mail, MailEvent, Reason};
use ltmc::domain::{Blob, Bytes, Change};

type Changes = Vec<Change<MailEvent>>;

fn agent(n: u64) -> Bytes {
    // One is longer than what is stored inline.
    Bytes::from(format!("agent-{n}{}", if n == 2 { "-with-a-rather-long-name" } else { "" }).as_str())
}

/// The id of message `n`, or the fence of a lease.
fn id(n: u64) -> u64 {
    FENCE + 2 * n
}

fn sent(n: u64, to: &[u64]) -> MailEvent {
    MailEvent::Sent(Box::new(Letter {
        id: id(n),
        from: agent(9),
        to: to.iter().map(|to| agent(*to)).collect(),
        at: NOW + n,
        expires_at: (n % 3 == 1).then_some(NOW + 60_000 + n),
        reply_to: (n % 4 == 2).then_some(id(1)),
        payload: Blob::from(format!("message \0 {n}").as_bytes()),
    }))
}

fn received(fence: u64, to: u64, ids: &[u64]) -> MailEvent {
    let ids = ids.iter().map(|n| id(*n)).collect();
    MailEvent::Received { fence: id(fence), agent: agent(to), ids, at: NOW + fence, ends_at: NOW + 30_000 + fence }
}

/// Every kind of event, every field filled.
fn all_changes() -> Changes {
    let at = NOW + 500;
    let mut events = vec![
        MailEvent::Joined { agent: agent(1), at: NOW },
        MailEvent::Joined { agent: agent(4), at: NOW + 1 },
        MailEvent::Left { agent: agent(4), at: NOW + 2 },
    ];
    events.extend((1..=12).map(|n| sent(n, if n % 2 == 0 { &[1, 2, 3] } else { &[1] })));
    events.extend([
        received(100, 1, &[1, 2, 3, 4, 5, 6, 7]),
        received(101, 2, &[2, 4]),
        received(102, 3, &[2]),
        received(103, 3, &[4, 6]),
        MailEvent::Acknowledged { agent: agent(1), ids: vec![id(1), id(2)], at },
        MailEvent::Extended { fence: id(104), agent: agent(1), id: id(3), at, ends_at: at + 90_000 },
        MailEvent::Returned { agent: agent(1), id: id(4), at, delay: None },
        MailEvent::Returned { agent: agent(1), id: id(5), at, delay: Some((id(105), at + 1000)) },
        MailEvent::Returned { agent: agent(1), id: id(6), at, delay: Some((id(106), at + 2000)) },
        MailEvent::DelayEnded { fence: id(106), at },
        MailEvent::LeaseEnded { fence: id(101), at },
        MailEvent::TakenBack { fence: id(102), at },
        MailEvent::Died { agent: agent(3), id: id(4), at, reason: Reason::Deliveries },
        MailEvent::Died { agent: agent(3), id: id(6), at, reason: Reason::Refused },
        MailEvent::Died { agent: agent(2), id: id(2), at, reason: Reason::Refused },
        MailEvent::Requeued { agent: agent(3), id: id(6), at },
        MailEvent::Dropped { agent: agent(2), id: id(2), at },
        MailEvent::Expired { ids: vec![id(7), id(10)], at },
    ]);
    let mut list: Changes = events.into_iter().map(Change::Event).collect();
    list.push(answered(b"req-1", Answer::Integer(id(12) as i64)));
    list.push(forgotten());
    list
}

/// The samples in the golden files of this type.
pub fn samples() -> Samples<Mail> {
    let all = all_changes();
    let one = vec![Change::Event(sent(1, &[1]))];
    let many: Changes = (1..=30).map(|n| Change::Event(sent(n, &[n % 7, 10 + n % 3]))).collect();
    Samples {
        snapshots: vec![
            ("mail-plain", value(&one)),
            ("mail-rich", value(&all)),
            ("mail-many", value(&many)),
            ("mail-joined", value(&[Change::Event(MailEvent::Joined { agent: agent(1), at: NOW })])),
        ],
        changes: vec![
            ("mail-changes-all", all),
            ("mail-changes-one", one),
            ("mail-changes-parted", vec![Change::Event(MailEvent::Parted { agent: agent(1), at: NOW })]),
        ],
    }
}
