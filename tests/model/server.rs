//! The bare module on the host in memory, and how all worlds run commands and read the results.

use crate::host::{Fact, MemoryHost};
use ltmc::command::engine::cx::{Cx, Outcome};
use ltmc::command::engine::dispatch;
use ltmc::command::engine::endings;
use ltmc::command::engine::job::Job;
use ltmc::command::node::Node;
use ltmc::command::reply::Reply;
use ltmc::command::scheduler;
use ltmc::command::settings::Setting;
use ltmc::command::table::Table;
use ltmc::domain::entity::record::Payload;
use ltmc::domain::{Entity, Error, Record};
use ltmc::snapshot;
use ltmc::snapshot::frame;

/// Runs words as a command of `client` in database `db`.
pub fn execute<W: AsRef<[u8]>>(
    node: &mut Node,
    host: &mut MemoryHost,
    (client, db): (u64, u32),
    words: &[W],
) -> Result<Outcome, Error> {
    let args: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
    let command = Table::<MemoryHost>::find(args[0]).expect("a known command");
    host.client = client;
    host.args = args.iter().map(|arg| arg.to_vec()).collect();
    endings::take_in(node, host);
    let mut cx = Cx::new(node, host, command.spec, &args, db);
    match dispatch::run(command, &mut cx)? {
        Outcome::Offloaded(Job::Answer(make)) => make().map(Outcome::Reply),
        Outcome::Offloaded(Job::Prepare(make)) => {
            cx.prepared = Some(make());
            dispatch::run(command, &mut cx)
        }
        outcome => Ok(outcome),
    }
}

/// Gives settings their values.
pub fn set<const N: usize>(node: &mut Node, values: [(Setting, u64); N]) {
    values.into_iter().for_each(|(setting, value)| node.settings.set_at(setting as usize, value as i64));
}

/// The value in a snapshot.
pub fn decoded<E: Entity>(bytes: &[u8]) -> Record<E> {
    match snapshot::decode::<E>(&frame::read(bytes).expect("our own frame")) {
        Ok(Payload::Snapshot(stored)) => stored,
        other => panic!("our own snapshot cannot be read: {:?}", other.err()),
    }
}

/// The value after it was saved and loaded.
pub fn saved<E: Entity>(stored: &Record<E>) -> Record<E> {
    let bytes = snapshot::encode_snapshot(stored);
    let again = decoded(&bytes);
    assert!(snapshot::encode_snapshot(&again) == bytes, "loading and saving changes something");
    again
}

/// A field of a map.
#[track_caller]
pub fn field<'a>(map: &'a Reply, name: &str) -> &'a Reply {
    let Reply::Map(fields) = map else { panic!("{map:?} is no map") };
    &fields.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name} in {map:?}")).1
}

/// A number.
#[track_caller]
pub fn int(reply: &Reply) -> u64 {
    match reply {
        Reply::Integer(number) => *number as u64,
        other => panic!("{other:?} is no number"),
    }
}

/// The wait that a command has begun.
pub fn blocked(host: &MemoryHost) -> Option<u64> {
    host.log.iter().rev().find_map(|fact| match fact {
        Fact::Blocked(id) => Some(id.0),
        _ => None,
    })
}

/// The bare module on the host in memory.
#[derive(Default)]
pub struct Server {
    pub node: Node,
    pub host: MemoryHost,
}

impl Server {
    pub fn new() -> Self {
        let mut server = Self::default();
        server.node.boot = 1;
        server.set_ms(1_700_000_000_000);
        server
    }

    pub fn set_ms(&mut self, now: u64) {
        self.node.clock.set_now_us(now * 1000);
        self.host.now = now;
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.set_ms(self.host.now + ms);
    }

    pub fn try_run(&mut self, client: u64, line: &str) -> Result<Outcome, Error> {
        let words: Vec<&str> = line.split(' ').collect();
        let outcome = execute(&mut self.node, &mut self.host, (client, 0), &words);
        ltmc::command::engine::tracing::end(&mut self.node, &mut self.host, &outcome);
        for (key, connections) in std::mem::take(&mut self.host.gone) {
            self.node.value_gone(key.clone(), connections, Vec::new());
            self.node.key_changed(key);
        }
        outcome
    }

    pub fn run(&mut self, client: u64, line: &str) -> Outcome {
        self.try_run(client, line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    pub fn fence(&mut self, client: u64, line: &str) -> u64 {
        match self.run(client, line) {
            Outcome::Reply(Reply::Integer(fence)) => fence as u64,
            other => panic!("{line}: {other:?}"),
        }
    }

    pub fn waits(&mut self, client: u64, line: &str) {
        assert_eq!(self.run(client, line), Outcome::Waits, "{line}");
    }

    pub fn settle(&mut self) {
        while scheduler::next_tick(&self.node).is_some_and(|next| next <= self.host.now) {
            scheduler::tick(&mut self.node, &mut self.host);
        }
    }

    /// The answers since the last call.
    pub fn answers(&mut self) -> Vec<Result<Reply, Error>> {
        let answer = |fact| match fact {
            Fact::Answered(_, reply) => Some(reply),
            _ => None,
        };
        self.host.log.drain(..).filter_map(answer).collect()
    }
}
