use super::*;
use crate::domain::lock::{Cause, LockEvent};
use std::cell::Cell;

const WAKE: Base = Base { stage: Stage::Wake, follows: true };

thread_local! {
    static NOW_NS: Cell<u64> = const { Cell::new(0) };
}

fn pass_us(us: u64) {
    NOW_NS.set(NOW_NS.get() + us * 1000);
}

fn trace() -> Trace {
    let mut trace = Trace::default();
    trace.set_clock(|| NOW_NS.get());
    trace
}

fn begin(trace: &mut Trace, args: &[&[u8]]) {
    let keys = args.first().map(|key| KeyId::new(0, key)).into_iter().collect();
    trace.begin(Beginning { at: 5, client: 7, db: 0, name: "LTMC.UNLOCK", args, keys });
}

fn ended(fence: u64) -> Change<LockEvent> {
    Change::Event(LockEvent::Ended { fence, cause: Cause::Released })
}

#[test]
fn stages_add_up_and_a_change_comes_back_to_what_went_on() {
    let mut trace = trace();
    begin(&mut trace, &[b"k"]);
    pass_us(1);
    trace.at(Stage::Decide);
    pass_us(2);
    trace.at(Stage::Apply);
    pass_us(3);
    trace.back();
    pass_us(4);
    let base = trace.rebase(WAKE);
    pass_us(5);
    trace.at(Stage::Apply);
    pass_us(6);
    trace.back();
    pass_us(7);
    trace.rebase(base);
    pass_us(8);
    trace.at(Stage::Send);
    pass_us(9);
    let traced = trace.end("ok", 10).expect("it is kept");
    assert_eq!(Stage::ALL.map(|stage| traced.stage_us(stage)), [1, 2 + 4 + 8, 0, 3 + 6, 0, 5 + 7, 9]);
    assert_eq!(traced.total_us(), 45);
}

#[test]
fn what_the_command_did_not_ask_for_is_a_follow_up() {
    let mut trace = trace();
    begin(&mut trace, &[b"k"]);
    trace.events(0, b"k", &[ended(1)]);
    trace.events(0, b"other", &[ended(2)]);
    trace.events(1, b"k", &[ended(3)]);
    let base = trace.rebase(WAKE);
    trace.events(0, b"k", &[ended(4)]);
    trace.rebase(base);
    trace.events(0, b"k", &[ended(5)]);
    let traced = trace.end("ok", 10).expect("it is kept");
    let marks: Vec<bool> = traced.events.kept.iter().map(|event| event.is_follow_up).collect();
    assert_eq!(marks, [false, true, true, true, false]);
    assert_eq!(&*traced.events.kept[0].text, "lock.released Ended { fence: 1, cause: Released }");
}

#[test]
fn everything_is_bounded() {
    let mut trace = trace();
    let long = vec![b'x'; 1000];
    let args: Vec<&[u8]> = vec![&long; 100];
    begin(&mut trace, &args);
    for fence in 0..100 {
        trace.events(0, &long, &[ended(fence)]);
        trace.woken(fence, &long);
    }
    let traced = trace.end(&"é".repeat(1000), 10).expect("it is kept").clone();
    assert_eq!(traced.args.len(), TRACE_ARGS_MAX);
    let note = format!("{}... (936 more bytes)", "x".repeat(64));
    assert_eq!(*traced.args[14], *note.as_bytes());
    assert_eq!(&*traced.args[15], b"... (85 more arguments)");
    assert_eq!(*traced.events.kept[0].key, *note.as_bytes());
    assert_eq!((traced.events.kept.len(), traced.events.beyond), (64, 36));
    assert_eq!((traced.woken.kept.len(), traced.woken.beyond), (64, 36));
    assert_eq!(*traced.outcome, *format!("{}...", "é".repeat(100)));
}

#[test]
fn the_newest_are_kept_as_many_as_allowed_and_no_more_bytes_than_that() {
    let mut trace = trace();
    for _ in 0..5 {
        begin(&mut trace, &[b"k"]);
        trace.end("ok", 3);
    }
    let ids = |trace: &Trace| trace.newest().map(|traced| traced.id).collect::<Vec<_>>();
    assert_eq!(ids(&trace), [5, 4, 3]);
    trace.keep(1);
    assert_eq!(ids(&trace), [5]);
    trace.reset();
    assert_eq!((trace.len(), trace.bytes), (0, 0));
    let long = vec![b'x'; 1000];
    for _ in 0..1000 {
        begin(&mut trace, &[&long[..]; 16]);
        (0..64).for_each(|fence| trace.events(0, &long, &[ended(fence)]));
        trace.end("ok", 10_000);
    }
    assert_eq!(trace.newest().next().map(|newest| newest.id), Some(1005));
    assert!(trace.len() < 1000 && trace.bytes <= TRACE_BYTES_MAX, "{} {}", trace.len(), trace.bytes);
    let bytes = trace.newest().map(Traced::bytes).sum::<usize>();
    assert_eq!(trace.bytes, bytes);
}

#[test]
fn a_round_is_kept_if_something_happened_and_is_about_its_key_or_what_it_changes_first() {
    let mut trace = trace();
    let key = KeyId::new(3, b"k");
    trace.begin_round(5, Some(&key));
    trace.woken(7, b"k");
    assert!(trace.end_round(10).is_none() && trace.is_empty());
    trace.begin_round(5, Some(&key));
    trace.events(3, b"other", &[ended(1)]);
    trace.events(3, b"k", &[ended(2)]);
    trace.end_round(10);
    trace.begin_round(5, None);
    trace.events(3, b"other", &[ended(1)]);
    trace.events(3, b"k", &[ended(2)]);
    trace.end_round(10);
    let shown = |traced: &Traced| {
        let marks = traced.events.kept.iter().map(|event| event.is_follow_up).collect::<Vec<_>>();
        (traced.name, traced.db, traced.args.clone(), marks)
    };
    let of = |name: &[u8], marks: [bool; 2]| (SCHEDULER, 3, vec![name.into()], marks.to_vec());
    let all: Vec<_> = trace.newest().map(shown).collect();
    assert_eq!(all, [of(b"other", [false, true]), of(b"k", [true, false])]);
}

#[test]
fn nothing_is_noted_while_none_is_open_and_one_that_never_ended_is_forgotten() {
    let mut trace = trace();
    trace.at(Stage::Apply);
    trace.back();
    assert_eq!(trace.rebase(WAKE), WAKE);
    trace.events(0, b"k", &[ended(1)]);
    trace.woken(7, b"k");
    assert!(trace.end("ok", 10).is_none() && trace.end_round(10).is_none() && trace.is_empty());
    begin(&mut trace, &[b"k"]);
    trace.events(0, b"k", &[ended(1)]);
    trace.rebase(WAKE);
    begin(&mut trace, &[b"k"]);
    trace.events(0, b"k", &[ended(2)]);
    let traced = trace.end("ok", 10).expect("it is kept");
    assert!(traced.id == 1 && traced.events.count() == 1 && !traced.events.kept[0].is_follow_up, "{traced:?}");
}
