//! Every command of the table once, so that it succeeds: each seed begins with that. So there are
//! values, dumps and payloads of every kind from the start.

use super::grammar::Args;
use crate::harness::Reply;

/// Names before `=` are bound to what the reply has under them, and `$name` is that value.
pub const LINES: &[&str] = &[
    "LTMC.REGISTER {f}:registry:0 a0 CAPS 1 c0 TAGS 1 x META {\"a\":1} CAPACITY 3 PX 600000",
    "LTMC.REGISTER {f}:registry:0 a1 CAPACITY 2 PX 600000",
    "LTMC.HEARTBEAT {f}:registry:0 a0 LOAD 0.5",
    "LTMC.AGENT.GET {f}:registry:0 a0",
    "LTMC.AGENT.LIST {f}:registry:0",
    "LTMC.AGENT.FIND {f}:registry:0 CAPS 1 c0",
    "fence=LTMC.AGENT.CLAIM {f}:registry:0 PX 60000 CAPS 1 c0",
    "LTMC.AGENT.RELEASE {f}:registry:0 $fence",
    "LTMC.AGENT.STATS {f}:registry:0",
    "LTMC.DEREGISTER {f}:registry:0 a1",
    "LTMC.CTX.CREATE {f}:context:0 OWNER a0 DOC {\"a\":{\"b\":[1,2]},\"tags\":[\"x\"]} META {\"m\":1}",
    "LTMC.CTX.JOIN {f}:context:0 a0",
    "LTMC.CTX.UPDATE {f}:context:0 a0 SET /n 1 APPEND /a/b 4 INCRBY /n 2",
    "LTMC.CTX.GET {f}:context:0",
    "LTMC.CTX.DIFF {f}:context:0 1",
    "LTMC.CTX.CHECKPOINT {f}:context:0 NAME first",
    "LTMC.CTX.CHECKPOINTS {f}:context:0",
    "LTMC.CTX.UPDATE {f}:context:0 a0 DEL /a",
    "LTMC.CTX.RESTORE {f}:context:0 first",
    "LTMC.CTX.UPDATE {f}:context:0 a0 DEL /n",
    "LTMC.CTX.ROLLBACK {f}:context:0 first",
    "LTMC.CTX.TOUCH {f}:context:0 PX 600000",
    "LTMC.CTX.FORK {f}:context:0 {f}:context:1",
    "LTMC.CTX.GENERATE {f}:generated 1 {f}:context:0",
    "LTMC.CTX.BUILD {f}:context:0 FOR a0",
    "LTMC.CTX.ROUTE {f}:context:0 {f}:registry:0",
    "LTMC.CTX.PRUNE {f}:context:0 KEEPLAST 1",
    "LTMC.CTX.LEAVE {f}:context:0 a0",
    "fence=LTMC.LOCK {f}:lock:0 a0 PX 600000 META text",
    "LTMC.LOCK.RENEW {f}:lock:0 a0 TOKEN $fence PX 600000",
    "LTMC.LOCK.CHECK {f}:lock:0 $fence",
    "LTMC.GUARD {f}:lock:0 $fence LTMC.CTX.GET {f}:context:0",
    "LTMC.LOCK.CONVERT {f}:lock:0 a0 TOKEN $fence SHARED",
    "LTMC.LOCK.INFO {f}:lock:0",
    "LTMC.LOCK.GRAPH",
    "LTMC.UNLOCK {f}:lock:0 a0",
    "LTMC.MLOCK a0 2 {f}:lock:0 {f}:lock:1 PX 600000",
    "LTMC.LOCK.BREAK {f}:lock:1",
    "LTMC.SESSION.CREATE {f}:session:0 PARTICIPANTS 1 a0 STATE {\"f\":1} META {\"m\":1}",
    "LTMC.SESSION.SET {f}:session:0 f 2",
    "LTMC.SESSION.GET {f}:session:0 f",
    "LTMC.SESSION.JOIN {f}:session:0 a1 ROLE x",
    "LTMC.SESSION.LEAVE {f}:session:0 a1",
    "LTMC.SESSION.OWN {f}:session:0 {f}:lock:0 {f}:lock:1",
    "LTMC.SESSION.DISOWN {f}:session:0 {f}:lock:1",
    "LTMC.SESSION.CHECKPOINT {f}:session:0 NAME first",
    "LTMC.SESSION.CHECKPOINTS {f}:session:0",
    "LTMC.SESSION.SET {f}:session:0 f 3",
    "LTMC.SESSION.RESTORE {f}:session:0 first",
    "LTMC.SESSION.INFO {f}:session:0",
    "LTMC.SESSION.STATUS {f}:session:0",
    "LTMC.SESSION.TOUCH {f}:session:0 PX 600000",
    "LTMC.SESSION.FORK {f}:session:0 {f}:session:1",
    "LTMC.SESSION.PRUNE {f}:session:0 KEEPLAST 1",
    "LTMC.SESSION.DEL {f}:session:0 f",
    "LTMC.SESSION.END {f}:session:1",
    "ticket=LTMC.CACHE.GET {f}:cache:0 tool {\"a\":1} AGENT a0",
    "LTMC.CACHE.PUT {f}:cache:0 tool {\"a\":1} answer TICKET $ticket DEPS 1 d PX 600000 COST 10",
    "LTMC.CACHE.PEEK {f}:cache:0 tool {\"a\":1}",
    "ticket=LTMC.CACHE.GET {f}:cache:0 tool {\"a\":2}",
    "LTMC.CACHE.FAIL {f}:cache:0 tool {\"a\":2} $ticket",
    "LTMC.CACHE.INVALIDATE {f}:cache:0 DEP 1 d SOFT",
    "LTMC.CACHE.CONFIG {f}:cache:0 MAXENTRIES 100",
    "LTMC.CACHE.STATS {f}:cache:0",
    "LTMC.CACHE.TOP {f}:cache:0",
    "LTMC.CACHE.SCAN {f}:cache:0 0",
    "LTMC.CHUNK.BUFFER {f}:buffer:0 MAXBYTES 1000000",
    "LTMC.CHUNK.PUT {f}:buffer:0 c0 data PIN a0 600000 META {\"a\":1}",
    "LTMC.CHUNK.ALLOC {f}:buffer:0 SIZE 16 ID c1 AGENT a0",
    "LTMC.CHUNK.WRITE {f}:buffer:0 c1 0 text",
    "LTMC.CHUNK.SEAL {f}:buffer:0 c1",
    "LTMC.CHUNK.READ {f}:buffer:0 c0",
    "LTMC.CHUNK.MGET {f}:buffer:0 c0 c1",
    "hash=LTMC.CHUNK.INFO {f}:buffer:0 c0",
    "LTMC.CHUNK.HAVE {f}:buffer:0 1 $hash",
    "LTMC.CHUNK.RETAIN {f}:buffer:0 c1 a0",
    "LTMC.CHUNK.RELEASE {f}:buffer:0 c1 a0",
    "LTMC.CHUNK.PIN {f}:buffer:0 c1 a0 PX 600000",
    "LTMC.CHUNK.UNPIN {f}:buffer:0 c1 a0",
    "LTMC.CHUNK.META {f}:buffer:0 c0 {\"a\":2}",
    "LTMC.CHUNK.LIST {f}:buffer:0",
    "LTMC.CHUNK.POPULAR {f}:buffer:0",
    "LTMC.CHUNK.RESIZE {f}:buffer:0 MAXBYTES 500000",
    "LTMC.CHUNK.STATS {f}:buffer:0",
    "LTMC.CHUNK.FREE {f}:buffer:0 c1",
    "LTMC.WATCH 1 {f}:registry:0 SINCE 0",
    "LTMC.MSG.JOIN {f}:mail:0 a0",
    "LTMC.MSG.JOIN {f}:mail:0 a1",
    "LTMC.MSG.SEND {f}:mail:0 a0 TO 1 a1 hello",
    "id=LTMC.MSG.RECV {f}:mail:0 a1 PX 60000",
    "LTMC.MSG.EXTEND {f}:mail:0 a1 $id PX 60000",
    "LTMC.MSG.NACK {f}:mail:0 a1 $id DEAD",
    "LTMC.MSG.DEAD {f}:mail:0",
    "LTMC.MSG.REQUEUE {f}:mail:0 a1 $id",
    "LTMC.MSG.RECV {f}:mail:0 a1",
    "LTMC.MSG.GET {f}:mail:0 $id",
    "LTMC.MSG.PENDING {f}:mail:0 a1",
    "LTMC.MSG.ACK {f}:mail:0 a1 $id",
    "LTMC.MSG.AGENTS {f}:mail:0",
    "LTMC.MSG.INFO {f}:mail:0",
    "LTMC.MSG.LEAVE {f}:mail:0 a0",
    "LTMC.FLOW.CREATE {f}:flow:0 SPEC {\"tasks\":[{\"id\":\"t0\"},{\"id\":\"t1\",\"after\":[\"t0\"]}]}",
    "LTMC.TASK.ADD {f}:flow:0 t2 payload WAITSIGNAL",
    "LTMC.TASK.SIGNAL {f}:flow:0 t2 data",
    "task,fence=LTMC.TASK.CLAIM {f}:flow:0 a0",
    "LTMC.TASK.HEARTBEAT {f}:flow:0 $task $fence PROGRESS 50 half",
    "LTMC.TASK.COMPLETE {f}:flow:0 $task $fence result",
    "LTMC.TASK.WAIT {f}:flow:0 $task",
    "task,fence=LTMC.TASK.CLAIM {f}:flow:0 a0",
    "LTMC.TASK.FAIL {f}:flow:0 $task $fence reason DEAD",
    "LTMC.TASK.REQUEUE {f}:flow:0 $task",
    "LTMC.TASK.GET {f}:flow:0 $task",
    "LTMC.TASK.LIST {f}:flow:0",
    "LTMC.TASK.CANCEL {f}:flow:0 $task",
    "LTMC.FLOW.INFO {f}:flow:0",
    "LTMC.FLOW.TOUCH {f}:flow:0 PX 600000",
    "LTMC.FLOW.PAUSE {f}:flow:0",
    "LTMC.FLOW.RESUME {f}:flow:0",
    "LTMC.FLOW.GRAPH {f}:flow:0",
    "LTMC.FLOW.CANCEL {f}:flow:0",
    "LTMC.STATUS",
    "LTMC.HEALTH",
    "LTMC.CLUSTER",
    "LTMC.TRACE LEN",
    "LTMC.AUDIT LEN",
    "LTMC.REPAIR {f}:registry:0",
    "LTMC.EXPLAIN $payload",
    "LTMC.APPLY {f}:lock:1 $payload",
];

/// What was bound.
#[derive(Default)]
pub struct Bound(Vec<(&'static str, Vec<u8>)>);

impl Bound {
    pub fn bind(&mut self, name: &'static str, value: Vec<u8>) {
        self.0.insert(0, (name, value));
    }

    /// The arguments of a line; `None` if it names what is not bound.
    pub fn args(&self, line: &str) -> Option<Args> {
        let value = |name: &str| self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let word = |word: &str| match word.strip_prefix('$') {
            Some(name) => value(name),
            None => Some(word.as_bytes().to_vec()),
        };
        line.split(' ').map(word).collect()
    }

    /// Takes what a line wants from its reply. Returns whether all of it was there.
    pub fn take(&mut self, names: &'static str, reply: &Reply) -> bool {
        let found: Option<Vec<_>> = names.split(',').map(|name| Some((name, field(reply, name)?))).collect();
        let is_there = found.is_some();
        found.into_iter().flatten().for_each(|(name, value)| self.bind(name, value));
        is_there
    }
}

/// The names that a line binds, and its command.
pub fn parts(line: &'static str) -> (Option<&'static str>, &'static str) {
    match line.split_once('=') {
        Some((names, command)) if !names.contains(' ') => (Some(names), command),
        _ => (None, line),
    }
}

fn scalar(reply: &Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Int(number) => Some(number.to_string().into_bytes()),
        Reply::Bulk(bytes) => Some(bytes.clone()),
        _ => None,
    }
}

/// The first value of this name in a reply; without names, the first number.
fn field(reply: &Reply, name: &str) -> Option<Vec<u8>> {
    fn named(reply: &Reply, name: &str) -> Option<Vec<u8>> {
        let Reply::Array(items) = reply else { return None };
        let pair = items.windows(2).find(|pair| matches!(&pair[0], Reply::Bulk(known) if known == name.as_bytes()));
        pair.and_then(|pair| scalar(&pair[1])).or_else(|| items.iter().find_map(|item| named(item, name)))
    }
    fn number(reply: &Reply) -> Option<Vec<u8>> {
        match reply {
            Reply::Array(items) => items.iter().find_map(number),
            Reply::Int(_) => scalar(reply),
            _ => None,
        }
    }
    scalar(reply).or_else(|| named(reply, name)).or_else(|| number(reply))
}
