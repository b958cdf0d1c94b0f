//! Locks in the golden files. They are part of the frozen format: samples may be added, but never
//! changed.

use crate::samples::{answered, answered_for, bound, value, Samples, FENCE, NOW};
use ltmc::domain::entity::idempotency::{Answer, Forgets};
use ltmc::domain::lock::{Cause, Extra, Grant, Lock, LockEvent, Mode, Path, NO_END};
use ltmc::domain::{Bytes, Change, Connection, Record};

type Changes = Vec<Change<LockEvent>>;

fn grant(n: u64, owner: &[u8], mode: Mode) -> Grant {
    Grant {
        fence: FENCE + 2 * n,
        ends_at: NOW + 30_000 + n,
        since: NOW + n,
        owner: Bytes::from(owner),
        levels: 1,
        mode,
        client: 0,
        extra: None,
    }
}

fn extra(path: &str) -> Extra {
    Extra { path: Path::parse(path.as_bytes()).expect("a path"), ..Extra::default() }
}

fn with(extra: Extra, grant: Grant) -> Grant {
    Grant { extra: Some(Box::new(extra)), ..grant }
}

fn granted(grant: Grant) -> Change<LockEvent> {
    Change::Event(LockEvent::Granted(grant))
}

/// Every kind of change, every cause, every field filled.
fn all_changes() -> Changes {
    let limited = Extra {
        limit: 7,
        connection: Some(Connection { boot: FENCE - 9, client: 42 }),
        meta: Some(Bytes::from(&b"why\0\xff"[..])),
        ..extra("src/db")
    };
    let stamp = Extra { version: 3, voided: false, ..extra("docs") };
    let stamp = Grant { fence: FENCE + 5, ..with(stamp, grant(0, b"stamper", Mode::Optimistic)) };
    let mut list = vec![
        granted(with(limited, grant(1, b"agent:with-a-rather-long-name", Mode::Shared))),
        granted(stamp),
        granted(Grant { ends_at: NO_END, levels: 9, ..grant(3, b"\0\xfe", Mode::Shared) }),
        granted(with(extra("other/tree"), grant(4, b"writer", Mode::Shared))),
        answered(b"req-1", Answer::Integer(FENCE as i64 + 2)),
        answered(b"req-2", Answer::Bytes(Bytes::from("text"))),
        answered_for("", b"req-3", Answer::Integer(1), Forgets { own: 1, oldest: 0 }),
        answered_for("bob", b"req-3", Answer::Integer(0), Forgets { own: 1, oldest: 1 }),
    ];
    let (fence, ends_at) = (FENCE + 6, NOW + 90_000);
    let events = [
        LockEvent::Reentered { fence, ends_at },
        LockEvent::Unlocked { fence },
        LockEvent::Renewed { fence, ends_at },
        LockEvent::Converted { fence: FENCE + 2, new_fence: FENCE + 12, mode: Mode::Shared },
        LockEvent::Converted { fence: FENCE + 12, new_fence: FENCE + 14, mode: Mode::Exclusive },
    ];
    list.extend(events.into_iter().map(Change::Event));
    let causes =
        [Cause::Released, Cause::Expired, Cause::Broken, Cause::Disconnected, Cause::TakenBack, Cause::Committed];
    let ends = causes.into_iter().enumerate();
    list.extend(ends.map(|(n, cause)| Change::Event(LockEvent::Ended { fence: FENCE + 1000 + n as u64, cause })));
    list
}

/// The samples in the golden files of this type.
pub fn samples() -> Samples<Lock> {
    let rich: Changes = {
        let mut list = all_changes();
        // The exclusive conversion is left out: the shared grants beside it would be impossible.
        list.truncate(10);
        list
    };
    let mut many: Changes = (0..40)
        .map(|n| {
            let owner = format!("holder-{n}");
            let path = extra(&format!("dir{}/file{n}", n % 5));
            granted(with(path, grant(n, owner.as_bytes(), if n % 2 == 0 { Mode::Exclusive } else { Mode::Shared })))
        })
        .collect();
    many.extend((0..70).map(|n| answered(format!("request-{n}").as_bytes(), Answer::Integer(n))));
    let voided = vec![
        granted(Grant {
            fence: FENCE + 1,
            ..with(Extra { version: 0, ..extra("") }, grant(0, b"s", Mode::Optimistic))
        }),
        granted(grant(1, b"x", Mode::Exclusive)),
        Change::Event(LockEvent::Ended { fence: FENCE + 2, cause: Cause::Released }),
    ];
    let bindings: Changes = vec![
        granted(grant(1, b"agent-1", Mode::Shared)),
        bound("agent-1", FENCE + 90),
        granted(grant(2, b"agent-2", Mode::Shared)),
        bound("agent-2", FENCE + 92),
    ];
    // A new lock may not be on such a path; one that is there is read, and can be given back.
    let pattern = vec![granted(with(extra("src/*"), grant(1, b"agent-1", Mode::Exclusive)))];
    let snapshots = vec![
        ("lock-on-a-pattern", value(&pattern)),
        ("lock-plain", value(&[granted(grant(1, b"agent-1", Mode::Exclusive))])),
        ("lock-rich", value(&rich)),
        ("lock-many", value(&many)),
        ("lock-voided-stamp", value(&voided)),
        ("lock-empty", Record::default()),
        ("lock-bound", value(&bindings)),
    ];
    let changes = vec![
        ("changes-all", all_changes()),
        ("changes-one", vec![granted(grant(1, b"agent-1", Mode::Exclusive))]),
        ("changes-none", Vec::new()),
        (
            "changes-bonds",
            bindings
                .into_iter()
                .chain([
                    Change::Event(LockEvent::Ended { fence: FENCE + 2, cause: Cause::AgentGone }),
                    Change::Unbound { agent: Bytes::from("agent-2") },
                ])
                .collect(),
        ),
    ];
    Samples { snapshots, changes }
}
