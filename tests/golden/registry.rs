//! Registries in the golden files. They are part of the frozen format: samples may be added, but
//! never changed.

use crate::samples::{answered, forgotten, value, Samples, FENCE, NOW};
use ltmc::domain::entity::idempotency::Answer;
use ltmc::domain::registry::agent::{Flaps, Profile};
use ltmc::domain::registry::{ClaimEnd, Health, Registration, Registry, RegistryEvent, Status};
use ltmc::domain::value::capability::Capability;
use ltmc::domain::{Bytes, Change};

type Changes = Vec<Change<RegistryEvent>>;

fn profile(n: u64) -> Profile {
    let caps = ["gpu", "python@3.10", "python@3.10.4", "search@1.2.3.4"];
    let tags = [&b"eu"[..], b"\0\xff", b"team:a-rather-long-name"];
    Profile {
        name: Bytes::from("Agent \"One\""),
        caps: caps.iter().map(|cap| Capability::parse(cap.as_bytes()).expect("a capability")).collect(),
        tags: {
            let mut tags = tags.map(Bytes::from);
            tags.sort();
            tags.into()
        },
        meta: Bytes::from(r#"{"region":"eu","gpu":{"count":4,"kinds":["a100",null,true]}}"#),
        session: Bytes::from("session-7"),
        capacity: 3,
        ttl_ms: 30_000 + n,
    }
}

fn plain(n: u64) -> Profile {
    Profile { capacity: 1, ttl_ms: 5_000 + n, ..Profile::default() }
}

fn registered(n: u64, profile: Profile, flaps: Option<Flaps>) -> Change<RegistryEvent> {
    Change::Event(RegistryEvent::Registered(Box::new(Registration {
        agent: id(n),
        epoch: FENCE + 10 * n,
        at: NOW + n,
        profile,
        status: if n == 2 { Status::Starting } else { Status::Active },
        flaps,
    })))
}

fn id(n: u64) -> Bytes {
    Bytes::from(format!("agent-{n}").as_str())
}

fn claimed(n: u64, fence: u64) -> RegistryEvent {
    let reference = Bytes::from(&b"why\0\xff"[..]);
    RegistryEvent::Claimed { fence, agent: id(n), at: NOW + 60, ends_at: NOW + 90_000, reference }
}

/// Every kind of event, every field filled.
fn all_changes() -> Changes {
    let flaps = Flaps { penalty: 2_750, at: NOW + 40, damped_until: NOW + 120_000 };
    let (at, fence) = (NOW + 70, FENCE + 1_000);
    let mut list = vec![
        Change::Born { revision: FENCE + 1 },
        registered(1, profile(1), Some(Flaps { penalty: 10, at: NOW, damped_until: 0 })),
        registered(2, profile(2), None),
    ];
    list.extend((3..=7).map(|n| registered(n, plain(n), None)));
    let ends = [ClaimEnd::Released { is_ok: true, duration_us: 1_234_567 }, ClaimEnd::Expired, ClaimEnd::TakenBack];
    let mut events = vec![
        RegistryEvent::Seen { agent: id(1), at, load: 437 },
        RegistryEvent::StatusChanged { agent: id(2), at, status: Status::Draining },
        RegistryEvent::HealthChanged {
            agent: id(2),
            at,
            health: Health::Degraded,
            reason: Bytes::from("half of the disks"),
        },
        RegistryEvent::HealthChanged { agent: id(3), at, health: Health::Failed, reason: Bytes::EMPTY },
        RegistryEvent::Suspected { agent: id(3), at, dead_at: NOW + 9_000 },
        RegistryEvent::Suspected { agent: id(4), at, dead_at: NOW + 9_001 },
        RegistryEvent::Suspected { agent: id(5), at, dead_at: NOW + 9_002 },
        RegistryEvent::Suspected { agent: id(6), at, dead_at: NOW + 9_003 },
        RegistryEvent::HoldBegan { at, share_percent: 60, extra_percent: 300 },
        RegistryEvent::Recovered { agent: id(3), at: NOW + 80, flaps: Some(flaps) },
        RegistryEvent::HoldEnded { at: NOW + 81 },
        RegistryEvent::HoldBegan { at: NOW + 82, share_percent: 50, extra_percent: 200 },
        RegistryEvent::Recovered { agent: id(4), at: NOW + 83, flaps: None },
        RegistryEvent::Died { agent: id(5), at: NOW + 9_002, remove_at: NOW + 19_002 },
        RegistryEvent::Died { agent: id(6), at: NOW + 9_003, remove_at: NOW + 19_003 },
        RegistryEvent::Removed { agent: id(6), at: NOW + 19_003 },
        RegistryEvent::Deregistered { agent: id(7), at: NOW + 90 },
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let fence = fence + 2 * n as u64;
        events.extend([claimed(1, fence), RegistryEvent::Released { fence, agent: id(1), at, end }]);
    }
    let failed = ClaimEnd::Released { is_ok: false, duration_us: 0 };
    events.extend([
        claimed(1, fence + 100),
        RegistryEvent::Released { fence: fence + 100, agent: id(1), at, end: failed },
        claimed(1, fence + 102),
        claimed(1, fence + 104),
        claimed(4, fence + 106),
        RegistryEvent::Undamped { agent: id(3), at: NOW + 120_000 },
    ]);
    list.extend(events.into_iter().map(Change::Event));
    list.push(answered(b"req-1", Answer::Claim { agent: id(4), fence: fence + 106 }));
    list.push(forgotten());
    list
}

/// The samples in the golden files of this type.
pub fn samples() -> Samples<Registry> {
    let all = all_changes();
    // The last events are left out, since they end some of what came before.
    let rich = value(&all[..all.len() - 3]);
    let many: Changes = (0..20).map(|n| registered(100 + n, plain(n), None)).collect();
    Samples {
        snapshots: vec![
            ("registry-plain", value(&[Change::Born { revision: FENCE }, registered(1, plain(1), None)])),
            ("registry-rich", rich),
            ("registry-many", value(&many)),
        ],
        changes: vec![
            ("registry-changes-all", all),
            ("registry-changes-one", vec![registered(1, plain(1), None)]),
            (
                "registry-changes-agent-gone",
                vec![Change::Event(RegistryEvent::Released {
                    fence: FENCE,
                    agent: id(1),
                    at: NOW,
                    end: ClaimEnd::AgentGone,
                })],
            ),
        ],
    }
}
