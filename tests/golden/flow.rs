//! Flows in the golden files. They are part of the frozen format: samples may be added, but never
//! changed.

use crate::samples::{answered, forgotten, value, Samples, FENCE, NOW};
use ltmc::domain::entity::idempotency::Answer;
use ltmc::domain::flow::task::{Backoff, Cause, Needs, On};
use ltmc::domain::flow::{Addition, Claimed, Flow, FlowEvent, How, Keep, Options, Rate, Shelf};
use ltmc::domain::value::capability::{Capability, Requirement};
use ltmc::domain::{Blob, Bytes, Change};

type Changes = Vec<Change<FlowEvent>>;

fn id(name: &str) -> Bytes {
    Bytes::from(name)
}

fn created(keep: u64) -> FlowEvent {
    let options = Options {
        max_active: 8,
        group_max: 2,
        rate: Some(Rate { claims: 3, per_ms: 60_000 }),
        keep: Keep { tasks: keep, age_ms: 0 },
        ttl_ms: Some(86_400_000),
        ageing_ms: 1_000,
        keep_dead: Keep { tasks: keep, age_ms: 3_600_000 },
    };
    FlowEvent::Created { at: NOW, options }
}

fn plain(name: &str, after: &[&str]) -> Addition {
    let payload = Blob::from(format!("do {name}\0\u{ff}").as_bytes());
    Addition {
        id: id(name),
        at: NOW + 1,
        payload,
        after: after.iter().map(|name| id(name)).collect(),
        ..Addition::default()
    }
}

fn rich(name: &str) -> Addition {
    let caps =
        ["gpu", "python@>=3.9", "search@1.2"].map(|cap| Requirement::parse(cap.as_bytes()).expect("a capability"));
    Addition {
        needs: Needs::new(caps.to_vec(), id("group-1"), vec![id("{t}:lock"), id("{t}:a-lock-with-a-long-name")]),
        priority: 7,
        not_before: NOW + 500,
        deadline: NOW + 3_600_000,
        lease_ms: 5_000,
        retries: Some(2),
        backoff: Some(Backoff { is_exponential: true, ms: 100, max_ms: 10_000 }),
        ..plain(name, &[])
    }
}

fn added(addition: Addition) -> FlowEvent {
    FlowEvent::Added(Box::new(addition))
}

fn claimed(name: &str, n: u64) -> FlowEvent {
    FlowEvent::Claimed(Box::new(Claimed {
        task: id(name),
        fence: FENCE + 2 * n,
        at: NOW + 600,
        agent: id("ada"),
        lease_ms: 30_000,
        ends_at: NOW + 30_600,
        ..Claimed::default()
    }))
}

/// The claim that came with the completion of another one.
fn claimed_after(name: &str, n: u64, after: &str, before: u64) -> FlowEvent {
    let FlowEvent::Claimed(claimed) = claimed(name, n) else { unreachable!("it is a claim") };
    FlowEvent::Claimed(Box::new(Claimed { after: id(after), after_fence: FENCE + 2 * before, ..*claimed }))
}

fn touched(ttl_ms: Option<u64>) -> FlowEvent {
    FlowEvent::Touched { at: NOW + 7_000, ttl_ms }
}

/// A flow that keeps nothing of what has ended but the last claims.
fn forgetful() -> Changes {
    let at = NOW + 700;
    let completed = |name: &str| FlowEvent::Completed { task: id(name), at, result: Blob::from(&b"42"[..]) };
    let dead = FlowEvent::Failed { task: id("b"), at, cause: Cause::Failed, reason: id("no disk"), retry_at: 0 };
    events([
        created(0),
        added(plain("a", &[])),
        added(plain("b", &[])),
        claimed("a", 60),
        completed("a"),
        claimed_after("b", 61, "a", 60),
        dead,
    ])
}

/// Every kind of event, every field filled.
fn all_changes() -> Changes {
    let at = NOW + 700;
    let caps = ["gpu", "python@3.10"].map(|cap| Capability::parse(cap.as_bytes()).expect("a capability"));
    let events = vec![
        created(100),
        added(rich("r")),
        added(plain("a", &[])),
        added(plain("b", &["a"])),
        added(Addition { on: On::Done, ..plain("c", &["a", "b"]) }),
        added(Addition { on: On::Any, ..plain("d", &["b", "c"]) }),
        added(Addition { waits_for_signal: true, ..plain("e", &[]) }),
        added(plain("f", &[])),
        added(plain("g", &["f"])),
        added(plain("h", &[])),
        FlowEvent::Ripened { task: id("r"), at: NOW + 500 },
        FlowEvent::Claimed(Box::new(Claimed {
            task: id("r"),
            fence: FENCE + 100,
            at: NOW + 550,
            agent: id("bob"),
            registry: id("{t}:agents"),
            caps: caps.to_vec(),
            lease_ms: 5_000,
            ends_at: NOW + 5_550,
            locks: vec![FENCE + 96, FENCE + 98],
            after: Bytes::EMPTY,
            after_fence: 0,
        })),
        FlowEvent::Extended { task: id("r"), at, ends_at: NOW + 5_700, progress: Some((Some(40), id("half done"))) },
        FlowEvent::Extended { task: id("r"), at, ends_at: NOW + 5_800, progress: None },
        claimed("a", 60),
        FlowEvent::Failed { task: id("a"), at, cause: Cause::Failed, reason: id("no\0disk"), retry_at: NOW + 900 },
        FlowEvent::Ripened { task: id("a"), at: NOW + 900 },
        claimed("a", 61),
        FlowEvent::Completed { task: id("a"), at, result: Blob::from(&b"42"[..]) },
        FlowEvent::Told { parent: id("a"), at, upto: 4 },
        claimed("b", 62),
        FlowEvent::TakenBack { task: id("b"), at },
        claimed("b", 63),
        FlowEvent::Failed { task: id("b"), at, cause: Cause::LeaseEnded, reason: Bytes::EMPTY, retry_at: 0 },
        FlowEvent::Told { parent: id("b"), at, upto: 6 },
        FlowEvent::Signalled { task: id("e"), at, data: Blob::from(&b"yes"[..]) },
        claimed("e", 64),
        FlowEvent::Stopping { task: id("e"), at, how: How::CancelledWithAll, ends_at: NOW + 10_700 },
        claimed("f", 65),
        FlowEvent::Failed { task: id("f"), at, cause: Cause::AgentGone, reason: Bytes::EMPTY, retry_at: 0 },
        FlowEvent::Ended { task: id("g"), at, how: How::Skipped, reason: id("'f' is dead") },
        FlowEvent::Told { parent: id("f"), at, upto: 9 },
        FlowEvent::Requeued { task: id("f"), at },
        FlowEvent::Paused { at },
        FlowEvent::Resumed { at },
        FlowEvent::Cancelled { at },
        FlowEvent::Ended { task: id("h"), at, how: How::CancelledWithAll, reason: Bytes::EMPTY },
        FlowEvent::Swept { at, upto: 5 },
        FlowEvent::Forgotten { at, shelf: Shelf::Dead, upto: (at, 3) },
    ];
    let born = Change::Born { revision: FENCE };
    let answers = [
        answered(b"req-1", Answer::Bytes(id("a"))),
        answered(b"req-2", Answer::Fences([FENCE + 122, FENCE + 124].into())),
        forgotten(),
    ];
    [born].into_iter().chain(events.into_iter().map(Change::Event)).chain(answers).collect()
}

fn events(events: impl IntoIterator<Item = FlowEvent>) -> Changes {
    events.into_iter().map(Change::Event).collect()
}

/// The samples in the golden files of this type.
pub fn samples() -> Samples<Flow> {
    let all = all_changes();
    let many = (0..30).map(|n| {
        let after = format!("t{}", n - 1);
        added(if n % 3 == 0 { plain(&format!("t{n}"), &[]) } else { plain(&format!("t{n}"), &[&after]) })
    });
    let long = Addition { payload: Blob::from(&[b'x'; 400][..]), ..plain("long", &[]) };
    Samples {
        snapshots: vec![
            ("flow-plain", value(&events([created(10), added(plain("a", &[]))]))),
            ("flow-rich", value(&all)),
            ("flow-forgetful", value(&forgetful())),
            ("flow-many", value(&events([created(0)].into_iter().chain(many)))),
        ],
        changes: vec![
            ("flow-changes-all", all),
            ("flow-changes-one", events([added(long)])),
            ("flow-changes-forgetful", forgetful()),
            ("flow-changes-touched", events([touched(Some(86_400_000)), touched(None)])),
        ],
    }
}
