//! Loaded values are checked as deeply as decided ones. Values whose saved bytes were changed under
//! a right checksum are either refused, or do all that a value does. Nothing panics, and the
//! results pass their own checks and can be saved and loaded.

use crate::damage::damage;
use crate::driver::run_all;
use crate::host::MemoryHost;
use crate::prng::Prng;
use crate::server::execute;
use ltmc::command::host::Host;
use ltmc::command::node::Node;
use ltmc::command::scheduler;
use ltmc::domain::buffer::Buffer;
use ltmc::domain::cache::Cache;
use ltmc::domain::context::Context;
use ltmc::domain::entity::record::Payload;
use ltmc::domain::flow::Flow;
use ltmc::domain::lock::Lock;
use ltmc::domain::mail::Mail;
use ltmc::domain::registry::Registry;
use ltmc::domain::session::Session;
use ltmc::domain::{Entity, KeyId, Record, Service};
use ltmc::snapshot;
use ltmc::snapshot::frame;
use ltmc::snapshot::frame::{Content, Writer};
use ltmc::snapshot::{decode, decode_unchecked, decode_value, encode_nothing, encode_rewrite, encode_snapshot};
use std::cell::Cell;

const NOW_US: u64 = 1_767_225_600_000_000;

/// How a value comes about, and what is done to it then.
struct Case {
    setup: &'static [&'static str],
    uses: &'static [&'static str],
}

const LOCKS: Case = Case {
    setup: &[
        "LTMC.LOCK k a PATH src PX 600000 META text REQID r1",
        "LTMC.LOCK k b SHARED LIMIT 3 PATH docs PX 600000",
        "LTMC.LOCK k c OPTIMISTIC PX 600000",
    ],
    uses: &[
        "LTMC.LOCK.INFO k",
        "LTMC.LOCK k a PATH src PX 5",
        "LTMC.LOCK k b PATH src PX 5 REQID r2",
        "LTMC.LOCK k d SHARED LIMIT 3 PATH docs",
        "LTMC.UNLOCK k a ALL",
        "LTMC.UNLOCK k b PATH docs",
        "LTMC.LOCK.BREAK k c",
    ],
};

const CONTEXTS: Case = Case {
    setup: &[
        "LTMC.CTX.CREATE k OWNER ada DOC {\"n\":{\"k\":1,\"l\":[1,2,3]},\"t\":\"text\"} META {\"tags\":[\"x\"]} PX 600000 SLIDING",
        "LTMC.CTX.CHECKPOINT k NAME first",
        "LTMC.CTX.UPDATE k ada DEL /n/k",
        "LTMC.CTX.UPDATE k bob SET /n/new 5 APPEND /n/l 4",
        "LTMC.CTX.CHECKPOINT k PIN",
        "LTMC.CTX.UPDATE k ada DEL /n/l/0 SET /t {\"deep\":[1]}",
        "LTMC.CTX.JOIN k cy ROLE reader",
    ],
    uses: &[
        "LTMC.CTX.GET k",
        "LTMC.CTX.GET k AT 1",
        "LTMC.CTX.GET k AT 2",
        "LTMC.CTX.GET k AT 3",
        "LTMC.CTX.DIFF k 1",
        "LTMC.CTX.CHECKPOINTS k",
        "LTMC.CTX.BUILD k FOR ada BUDGET 60",
        "LTMC.CTX.ROLLBACK k 1",
        "LTMC.CTX.UPDATE k eve SET /x 1 DEL /n",
        "LTMC.CTX.ROLLBACK k 2",
        "LTMC.CTX.FORK k j",
        "LTMC.CTX.LEAVE k cy",
        "LTMC.CTX.PRUNE k KEEPLAST 1",
        "LTMC.CTX.CHECKPOINT k",
    ],
};

const SESSIONS: Case = Case {
    setup: &[
        "LTMC.SESSION.CREATE k PARTICIPANTS 2 ada bob META {\"a\":1} PX 600000 SLIDING MAXLIFE 900000",
        "LTMC.SESSION.SET k f 1 g a-value-that-is-longer-than-what-is-kept-inline",
        "LTMC.SESSION.CHECKPOINT k NAME first",
        "LTMC.SESSION.SET k f 2 h 3",
        "LTMC.SESSION.DEL k g",
        "LTMC.SESSION.OWN k lock",
        "LTMC.SESSION.CHECKPOINT k PIN",
    ],
    uses: &[
        "LTMC.SESSION.GET k",
        "LTMC.SESSION.INFO k",
        "LTMC.SESSION.RESTORE k 1",
        "LTMC.SESSION.SET k f 9 i 1",
        "LTMC.SESSION.RESTORE k 2",
        "LTMC.SESSION.CHECKPOINTS k",
        "LTMC.SESSION.FORK k j AT 1",
        "LTMC.SESSION.TOUCH k PX 1000000",
        "LTMC.SESSION.LEAVE k ada",
        "LTMC.SESSION.STATUS k suspended",
        "LTMC.SESSION.PRUNE k KEEPLAST 1",
        "LTMC.SESSION.END k GRACE 1000",
    ],
};

const CACHES: Case = Case {
    setup: &[
        "LTMC.CACHE.PUT k tool [1] result PX 600000 STALE 60000 DEPS 1 file TAGS 2 a b COST 50",
        "LTMC.CACHE.PUT k tool [2] other AGENT ada PRIVATE",
        "LTMC.CACHE.GET k tool [3] LEASE 60000",
    ],
    uses: &[
        "LTMC.CACHE.GET k tool [1]",
        "LTMC.CACHE.GET k tool [2] AGENT ada",
        "LTMC.CACHE.PUT k tool [4] more TAGS 1 a",
        "LTMC.CACHE.STATS k",
        "LTMC.CACHE.TOP k",
        "LTMC.CACHE.INVALIDATE k TAG 1 a SOFT",
        "LTMC.CACHE.INVALIDATE k DEP 1 file",
        "LTMC.CACHE.CONFIG k MAXENTRIES 1",
        "LTMC.CACHE.INVALIDATE k ALL",
    ],
};

const BUFFERS: Case = Case {
    setup: &[
        "LTMC.CHUNK.BUFFER k MAXBYTES 100000 MINBYTES 1000",
        "LTMC.CHUNK.PUT k one data PIN ada 60000 META {\"a\":1}",
        "LTMC.CHUNK.PUT k two data PX 600000",
        "LTMC.CHUNK.ALLOC k ID three SIZE 10 AGENT bob PX 60000",
        "LTMC.CHUNK.RETAIN k two ada",
    ],
    uses: &[
        "LTMC.CHUNK.READ k one",
        "LTMC.CHUNK.INFO k two",
        "LTMC.CHUNK.LIST k",
        "LTMC.CHUNK.WRITE k three 2 abc",
        "LTMC.CHUNK.WRITE k one 0 x",
        "LTMC.CHUNK.SEAL k three",
        "LTMC.CHUNK.PUT k four data",
        "LTMC.CHUNK.PIN k four ada PX 1000",
        "LTMC.CHUNK.RELEASE k two ada",
        "LTMC.CHUNK.STATS k",
        "LTMC.CHUNK.RESIZE k MAXBYTES 2000",
        "LTMC.CHUNK.FREE k one two",
    ],
};

const MAILS: Case = Case {
    setup: &[
        "LTMC.MSG.SEND k ada TO 2 bob cy hello PX 600000",
        "LTMC.MSG.SEND k bob TO 1 ada answer",
        "LTMC.MSG.RECV k bob PX 60000",
        "LTMC.MSG.SEND k ada TO 1 bob again",
    ],
    uses: &[
        "LTMC.MSG.INFO k",
        "LTMC.MSG.PENDING k bob",
        "LTMC.MSG.RECV k cy COUNT 5 PX 1000",
        "LTMC.MSG.RECV k bob COUNT 5 PX 1000",
        "LTMC.MSG.SEND k cy TO 2 ada dan x",
        "LTMC.MSG.RECV k ada",
        "LTMC.MSG.SEND k cy ALL y",
    ],
};

const FLOWS: Case = Case {
    setup: &[
        "LTMC.FLOW.CREATE k MAXACTIVE 5 GROUPMAX 2 RATE 10 1000",
        "LTMC.TASK.ADD k a p PRIORITY 5 RETRIES 3 LEASE 60000 BACKOFF EXP 10 MAX 100",
        "LTMC.TASK.ADD k b p AFTER 1 a CAPS 1 go GROUP g",
        "LTMC.TASK.ADD k c p AFTER 2 a b ON DONE DEADLINE 1867225600000",
        "LTMC.TASK.ADD k d p DELAY 5000",
        "LTMC.TASK.CLAIM k w PX 60000",
    ],
    uses: &[
        "LTMC.FLOW.INFO k",
        "LTMC.TASK.GET k a",
        "LTMC.TASK.LIST k",
        "LTMC.FLOW.GRAPH k",
        "LTMC.TASK.CLAIM k v CAPS 1 go PX 1000",
        "LTMC.TASK.ADD k e p AFTER 1 a",
        "LTMC.TASK.CANCEL k b CASCADE",
        "LTMC.FLOW.PAUSE k",
        "LTMC.FLOW.RESUME k",
        "LTMC.TASK.REQUEUE k b",
        "LTMC.FLOW.CANCEL k",
    ],
};

const REGISTRIES: Case = Case {
    setup: &[
        "LTMC.REGISTER k ada NAME Ada CAPS 2 go rust@1.2 TAGS 1 eu META {\"a\":1} CAPACITY 3 PX 600000",
        "LTMC.REGISTER k bob CAPS 1 go CAPACITY 1 PX 600000",
        "LTMC.HEARTBEAT k ada LOAD 0.5",
        "LTMC.AGENT.CLAIM k PX 60000 CAPS 1 go REF job",
    ],
    uses: &[
        "LTMC.AGENT.GET k ada",
        "LTMC.AGENT.LIST k",
        "LTMC.AGENT.FIND k CAPS 1 go SORT LEARNED",
        "LTMC.AGENT.CLAIM k PX 1000 TAGS 1 eu",
        "LTMC.HEARTBEAT k bob LOAD 0.25 HEALTH DEGRADED REASON x",
        "LTMC.REGISTER k ada CAPS 1 py PX 1000",
        "LTMC.REGISTER k cy PX 1000",
        "LTMC.AGENT.STATS k",
        "LTMC.DEREGISTER k bob",
    ],
};

struct World {
    node: Node,
    host: MemoryHost,
    now_us: u64,
}

fn key() -> KeyId {
    KeyId::new(0, b"k")
}

impl World {
    fn new() -> Self {
        let mut world = Self { node: Node::default(), host: MemoryHost::default(), now_us: NOW_US };
        world.pass(0);
        world
    }

    fn pass(&mut self, ms: u64) {
        self.now_us += ms * 1000;
        self.node.clock.set_now_us(self.now_us);
        self.host.now = self.now_us / 1000;
    }

    fn run(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        execute(&mut self.node, &mut self.host, (1, 0), &words).is_ok()
    }
}

/// The saved bytes of a value of this kind.
fn saved<E: Entity>(case: &Case) -> Vec<u8> {
    let mut world = World::new();
    case.setup.iter().for_each(|line| assert!(world.run(line), "{line}"));
    encode_snapshot(world.host.peek::<E>(&key()).expect("it was made"))
}

fn loaded<E: Entity>(bytes: &[u8]) -> Option<Record<E>> {
    match decode::<E>(&frame::read(bytes).expect("a whole frame")) {
        Ok(Payload::Snapshot(stored)) => Some(stored),
        _ => None,
    }
}

/// Damages the payload of a frame, under a right checksum.
fn mutated(rng: &mut Prng, bytes: &[u8]) -> Vec<u8> {
    let whole = frame::read(bytes).expect("a whole frame");
    let mut payload = whole.payload.to_vec();
    damage(rng, &mut payload);
    let mut writer = Writer::new(whole.content, whole.tag);
    writer.payload().extend_from_slice(&payload);
    writer.finish()
}

/// A loaded value does all that a value does.
fn use_it<E: Entity>(case: &Case, stored: Record<E>, rng: &mut Prng) {
    let bytes = encode_snapshot(&stored);
    let again = loaded::<E>(&bytes).expect("what was loaded can be saved and loaded again");
    assert!(encode_snapshot(&again) == bytes, "loading and saving changes something");
    let mut world = World::new();
    let id = key();
    ltmc::command::engine::replay::note_value(&mut world.node, (&id).into(), &stored);
    world.host.restore(&id, stored, again);
    for line in case.uses {
        if rng.percent(30) {
            continue;
        }
        world.run(line);
        let passed = *rng.pick(&[0, 0, 1, 10, 1_000, 100_000]);
        world.pass(passed);
        for _ in 0..3 {
            scheduler::tick(&mut world.node, &mut world.host);
        }
        let Some(now) = world.host.peek::<E>(&id) else { return };
        assert_eq!(now.check(), Ok(()), "after {line}");
        assert!(now.fault().is_none(), "after {line}");
        assert!(loaded::<E>(&encode_snapshot(now)).is_some(), "it cannot be loaded after {line}");
    }
}

fn run_case<E: Entity>(case: &Case) {
    let bytes = saved::<E>(case);
    assert!(loaded::<E>(&bytes).is_some());
    let taken = Cell::new(0);
    run_all(4_000, 200, |seed, steps| {
        let mut rng = Prng::new(seed);
        for step in 0..steps {
            let forged = mutated(&mut rng, &bytes);
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let stored = loaded::<E>(&forged)?;
                use_it(case, stored, &mut rng);
                Some(())
            }));
            match tried {
                Ok(used) => taken.set(taken.get() + used.map_or(0, |()| 1)),
                Err(_) => panic!("{}: LTMC_MODEL_SEED={seed}, step {step}", E::TYPE_NAME),
            }
        }
    });
    println!("{}: {} were taken", E::TYPE_NAME, taken.get());
}

/// A context whose way back from version 2 uses a path that no command takes.
fn damaged() -> Vec<u8> {
    let mut world = World::new();
    for line in ["LTMC.CTX.CREATE k DOC {\"n\":{\"k\":1}}", "LTMC.CTX.CHECKPOINT k", "LTMC.CTX.UPDATE k a DEL /n/k"] {
        assert!(world.run(line), "{line}");
    }
    let bytes = encode_snapshot(world.host.peek::<Context>(&key()).expect("it was made"));
    let whole = frame::read(&bytes).expect("a whole frame");
    let path = b"\x04/n/k";
    let places: Vec<usize> = (0..whole.payload.len()).filter(|at| whole.payload[*at..].starts_with(path)).collect();
    assert_eq!(places.len(), 2, "what was touched, and the undo");
    let mut payload = whole.payload.to_vec();
    payload[places[1] + 1] = b'0';
    let mut writer = Writer::new(whole.content, whole.tag);
    writer.payload().extend_from_slice(&payload);
    writer.finish()
}

#[test]
fn a_way_back_that_no_command_would_have_made_is_found_and_can_be_given_up() {
    let bytes = damaged();
    let frame = frame::read(&bytes).expect("a whole frame");
    let error = decode::<Context>(&frame).map(drop).expect_err("it is checked as deeply as what is decided");
    assert!(error.text.contains("a version cannot be got back to"), "{error}");
    let mut stored = decode_unchecked::<Context>(&frame, Vec::new()).expect("it can be read");
    assert_eq!(stored.salvage().as_deref(), Some("the versions before 2, and 1 checkpoints"));
    assert_eq!((stored.check(), stored.state.version()), (Ok(()), 2));
    assert_eq!((stored.state.history().recent_versions(), stored.state.history().checkpoints().len()), (0, 0));
    assert_eq!(stored.salvage(), None, "nothing more is broken");
}

#[test]
fn what_is_in_quarantine_is_no_value_for_anybody_until_it_is_repaired() {
    let mut world = World::new();
    let (id, bytes) = (key(), damaged());
    let broken = || snapshot::broken::<Context>("why", &bytes, Vec::new());
    assert!(encode_snapshot(&broken()) == bytes && !broken().is_empty(), "it is saved as it was found");
    world.host.restore(&id, broken(), broken());
    for line in ["LTMC.CTX.GET k", "LTMC.CTX.CREATE k", "LTMC.CTX.UPDATE k a SET /x 1", "LTMC.WATCH 1 k SINCE 0"] {
        assert!(!world.run(line), "{line}");
    }
    scheduler::tick(&mut world.node, &mut world.host);
    assert_eq!(world.host.quarantined(Service::Context), 1);
    assert!(world.run("LTMC.REPAIR k") && world.run("LTMC.CTX.UPDATE k a SET /x 1"));
    assert_eq!(world.host.quarantined(Service::Context), 0);
    assert_eq!(
        world.host.peek::<Context>(&id).map(|stored| (stored.check(), stored.state.version())),
        Some((Ok(()), 3))
    );
}

#[test]
fn a_frame_in_place_of_a_value_is_rewritten_as_one_that_says_so() {
    let whole = damaged();
    let mut writer = Writer::new(Content::Changes, Context::TYPE_TAG);
    writer.payload().push(1);
    let changes = writer.finish();
    let rewritten = |bytes: &[u8]| encode_rewrite(&snapshot::broken::<Context>("why", bytes, Vec::new())).frame;
    assert!(rewritten(&whole) == whole, "a whole value, as it was found");
    for misplaced in [changes, Writer::new(Content::Snapshot, Lock::TYPE_TAG).finish()] {
        let bytes = rewritten(&misplaced);
        let frame = frame::read(&bytes).expect("a whole frame");
        assert_eq!((frame.content, frame.tag, frame.payload), (Content::Misplaced, Context::TYPE_TAG, &misplaced[..]));
        assert!(decode::<Context>(&frame).is_err());
    }
    let nothing = encode_nothing::<Context>().frame;
    let error = decode_value::<Context>(&frame::read(&nothing).expect("a whole frame"), Vec::new());
    assert!(error.is_err(), "it comes back as a broken value");
}

/// The same value, with another number at its beginning.
fn renumbered(bytes: &[u8], number: u64) -> Vec<u8> {
    let whole = frame::read(bytes).expect("a whole frame");
    let mut payload = whole.payload.to_vec();
    payload.splice(..1, [253].into_iter().chain(number.to_le_bytes()));
    let mut writer = Writer::new(whole.content, whole.tag);
    writer.payload().extend_from_slice(&payload);
    writer.finish()
}

#[test]
fn what_is_loaded_has_half_of_its_numbers_left_to_count_with() {
    // A lock begins with its version.
    let bytes = saved::<Lock>(&LOCKS);
    let half = 1 << 52;
    assert!(loaded::<Lock>(&renumbered(&bytes, half)).is_some());
    for number in [half + 1, (1 << 62) - 1] {
        let forged = renumbered(&bytes, number);
        let refused = decode_value::<Lock>(&frame::read(&forged).expect("a whole frame"), Vec::new());
        let error = refused.map(drop).expect_err("it is refused");
        assert!(error.text.contains("its numbers are too high to count on from"), "{error}");
    }
}

#[test]
fn every_type_that_counts_says_how_far_it_has_come() {
    fn counts<E: Entity>(case: &Case) -> bool {
        loaded::<E>(&saved::<E>(case)).expect("it is sound").state.last_number() > 0
    }
    assert!(counts::<Lock>(&LOCKS) && counts::<Context>(&CONTEXTS) && counts::<Session>(&SESSIONS));
    assert!(counts::<Cache>(&CACHES) && counts::<Buffer>(&BUFFERS) && counts::<Flow>(&FLOWS));
}

#[test]
fn locks_that_were_changed_are_refused_or_work() {
    run_case::<Lock>(&LOCKS);
}

#[test]
fn contexts_that_were_changed_are_refused_or_work() {
    run_case::<Context>(&CONTEXTS);
}

#[test]
fn sessions_that_were_changed_are_refused_or_work() {
    run_case::<Session>(&SESSIONS);
}

#[test]
fn caches_that_were_changed_are_refused_or_work() {
    run_case::<Cache>(&CACHES);
}

#[test]
fn buffers_that_were_changed_are_refused_or_work() {
    run_case::<Buffer>(&BUFFERS);
}

#[test]
fn mailboxes_that_were_changed_are_refused_or_work() {
    run_case::<Mail>(&MAILS);
}

#[test]
fn flows_that_were_changed_are_refused_or_work() {
    run_case::<Flow>(&FLOWS);
}

#[test]
fn registries_that_were_changed_are_refused_or_work() {
    run_case::<Registry>(&REGISTRIES);
}
