//! A load generator that costs little: one thread, plain sockets, requests joined from prepared
//! pieces.
//!
//! The server shares the machine's few cores with it. So it keeps one batch in flight on every
//! connection, reads the answers in turn, and only counts their lines: each reply of a workload has
//! a known number of them. Contents are checked once, before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::{Builder, Client, Reply, Server};

/// A server whose bounds leave room for what the benches fill it with.
pub fn roomy() -> Builder {
    let bounds = [
        ("ltmc.registry-agents-max", 1_000_000),
        ("ltmc.mail-agents-max", 1_000_000),
        ("ltmc.mail-inbox-max", 1_000_000),
        ("ltmc.session-fields-max", 1_000_000),
        ("ltmc.session-bytes-max", 1 << 26),
        ("ltmc.checkpoints-max", 1_000_000),
        ("ltmc.cache-entries-max", 1_000_000),
        ("ltmc.arguments-max", 1_000_000),
    ];
    bounds.into_iter().fold(Server::builder(), |builder, (setting, max)| builder.arg(setting, max))
}

/// How many keys a bench of locks draws from.
pub const KEYS: usize = 10_000;

/// One command of a workload, in pieces that only have to be joined.
struct Step {
    pieces: Vec<Piece>,
    reply_lines: usize,
}

/// A part of a request.
enum Piece {
    Text(Vec<u8>),
    /// The key that was drawn.
    Key,
    PerConnection(Vec<Vec<u8>>),
    PerKey(Vec<Vec<u8>>),
    /// One of these, drawn anew each time.
    Choice(Vec<Vec<u8>>),
    /// The time, unix ms.
    Now,
    /// The last line of the reply to the command before.
    Answer,
}

/// What each connection repeats: all steps in turn on one random key, then on the next.
pub struct Workload {
    pub name: &'static str,
    steps: Vec<Step>,
}

impl Workload {
    pub fn new(name: &'static str) -> Workload {
        Workload { name, steps: Vec::new() }
    }

    /// Adds `before key after`; `{me}` in `after` is the connection's name.
    pub fn step(self, before: &str, after: &str, clients: usize) -> Workload {
        let tails = (0..clients).map(|me| after.replace("{me}", &format!("agent-{me}")));
        self.add(before, tails.collect(), 1, Piece::PerConnection)
    }

    /// Adds `before key after(key)` with a reply of this many lines.
    pub fn step_per_key(self, before: &str, after: &[String], reply_lines: usize) -> Workload {
        self.add(before, after.to_vec(), reply_lines, Piece::PerKey)
    }

    /// Adds a command with a reply of this many lines. Words in it can be `{key}`, `{now}` (unix
    /// ms), `{a|b|c}` (one of them, drawn each time) and `{answer}` (the last line of the reply to
    /// the step before).
    pub fn line(mut self, line: &str, reply_lines: usize) -> Workload {
        let mut pieces = vec![Piece::Text(format!("*{}\r\n", line.split_whitespace().count()).into_bytes())];
        for word in line.split_whitespace() {
            pieces.push(match word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                None => Piece::Text(bulks(word).into_bytes()),
                Some("key") => Piece::Key,
                Some("now") => Piece::Now,
                Some("answer") => Piece::Answer,
                Some(words) => Piece::Choice(words.split('|').map(|word| bulks(word).into_bytes()).collect()),
            });
        }
        self.steps.push(Step { pieces, reply_lines });
        self
    }

    fn add(
        mut self,
        before: &str,
        after: Vec<String>,
        reply_lines: usize,
        tail: fn(Vec<Vec<u8>>) -> Piece,
    ) -> Workload {
        let count = before.split_whitespace().count() + 1 + after[0].split_whitespace().count();
        let head = format!("*{count}\r\n{}", bulks(before));
        let tail = tail(after.iter().map(|text| bulks(text).into_bytes()).collect());
        self.steps.push(Step { pieces: vec![Piece::Text(head.into_bytes()), Piece::Key, tail], reply_lines });
        self
    }

    /// How many commands belong together: a pair counts as one operation.
    pub fn commands(&self) -> usize {
        self.steps.len()
    }

    /// Whether a step needs the answers to the one before. Then a batch holds one step only, so
    /// that they are known in time.
    fn hands_answers_on(&self) -> bool {
        let mut pieces = self.steps.iter().flat_map(|step| &step.pieces);
        pieces.any(|piece| matches!(piece, Piece::Answer))
    }
}

fn bulks(line: &str) -> String {
    line.split_whitespace().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect()
}

/// The name of a key of the key space.
pub fn key(index: usize) -> String {
    format!("key:{index:05}")
}

struct Lane {
    stream: TcpStream,
    step: usize,
    key: usize,
    /// Lines of replies that have not come yet.
    awaited: usize,
    /// How many lines each of these replies has, if their last lines are kept.
    lines_each: Option<usize>,
    /// The kept replies, as they come in.
    kept: Vec<u8>,
    /// The last lines of the kept replies, in order.
    answers: Vec<String>,
}

/// Connections that put a server under load.
pub struct Load {
    lanes: Vec<Lane>,
    keys: Vec<Vec<u8>>,
    random: u64,
    out: Vec<u8>,
    input: Vec<u8>,
}

/// The result of a round of load.
#[derive(Clone, Copy)]
pub struct Round {
    pub ops_per_s: f64,
    /// Processor time of the server's main thread, where the system tells it.
    pub server_us_per_op: f64,
}

impl Load {
    /// This many connections, on keys of these names.
    pub fn over(server: &Server, clients: usize, names: impl Iterator<Item = String>) -> Load {
        let connect = |_| {
            let stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the server accepts");
            stream.set_nodelay(true).expect("a TCP stream has this option");
            Lane { stream, step: 0, key: 0, awaited: 0, lines_each: None, kept: Vec::new(), answers: Vec::new() }
        };
        Load {
            lanes: (0..clients).map(connect).collect(),
            keys: names.map(|name| bulks(&name).into_bytes()).collect(),
            random: 0x9e37_79b9_7f4a_7c15,
            out: Vec::new(),
            input: vec![0; 64 * 1024],
        }
    }

    /// Runs `workload` for about `time`, with `pipeline` commands in flight on each connection.
    pub fn run(&mut self, server: &Server, workload: &Workload, pipeline: usize, time: Duration) -> Round {
        self.run_on(self.lanes.len(), server, workload, pipeline, time)
    }

    /// The same with the first few connections only.
    pub fn run_on(
        &mut self,
        lanes: usize,
        server: &Server,
        workload: &Workload,
        pipeline: usize,
        time: Duration,
    ) -> Round {
        let (cpu, started) = (cpu_us(server.pid()), Instant::now());
        let mut commands = 0;
        for lane in 0..lanes {
            self.send(lane, workload, pipeline);
        }
        while started.elapsed() < time {
            for lane in 0..lanes {
                self.receive(lane);
                self.send(lane, workload, pipeline);
                commands += pipeline;
            }
        }
        for lane in 0..lanes {
            self.receive(lane);
            commands += pipeline;
        }
        let seconds = started.elapsed().as_secs_f64();
        let cpu = cpu_us(server.pid()) - cpu;
        self.complete(workload);
        let ops = commands as f64 / workload.commands() as f64;
        Round { ops_per_s: ops / seconds, server_us_per_op: cpu / ops }
    }

    /// Runs `workload` for about `time` on one connection that waits for each answer. Returns how
    /// long each operation took, microseconds.
    pub fn time_each(&mut self, workload: &Workload, time: Duration) -> Vec<f64> {
        let (started, mut micros) = (Instant::now(), Vec::new());
        while started.elapsed() < time {
            let sent = Instant::now();
            for _ in 0..workload.commands() {
                self.send(0, workload, 1);
                self.receive(0);
            }
            micros.push(sent.elapsed().as_secs_f64() * 1e6);
        }
        micros
    }

    /// Takes every connection through the steps that it has begun, so that the next workload finds
    /// no locks held.
    fn complete(&mut self, workload: &Workload) {
        for lane in 0..self.lanes.len() {
            let rest = match self.lanes[lane].step {
                0 => continue,
                _ if workload.hands_answers_on() => self.lanes[lane].answers.len(),
                step => workload.steps.len() - step,
            };
            self.send(lane, workload, rest);
            self.receive(lane);
        }
    }

    fn send(&mut self, lane: usize, workload: &Workload, commands: usize) {
        self.out.clear();
        let by_step = workload.hands_answers_on();
        let answers = std::mem::take(&mut self.lanes[lane].answers);
        let now = bulks(&unix_ms().to_string()).into_bytes();
        for nth in 0..commands {
            let at = self.lanes[lane].step;
            if at == 0 {
                self.lanes[lane].key = self.next_random() as usize % self.keys.len();
            }
            let step = &workload.steps[at];
            for piece in &step.pieces {
                self.put(lane, piece, &now, answers.get(nth));
            }
            let lane = &mut self.lanes[lane];
            lane.awaited += step.reply_lines;
            if !by_step || nth + 1 == commands {
                lane.step = (at + 1) % workload.steps.len();
                lane.lines_each = (by_step && lane.step > 0).then_some(step.reply_lines);
            }
        }
        let sent = self.lanes[lane].stream.write_all(&self.out);
        sent.expect("the server takes requests");
    }

    fn put(&mut self, lane: usize, piece: &Piece, now: &[u8], answer: Option<&String>) {
        let key = self.lanes[lane].key;
        match piece {
            Piece::Text(text) => self.out.extend_from_slice(text),
            Piece::Key => self.out.extend_from_slice(&self.keys[key]),
            Piece::PerConnection(texts) => self.out.extend_from_slice(&texts[lane]),
            Piece::PerKey(texts) => self.out.extend_from_slice(&texts[key]),
            Piece::Choice(texts) => {
                let drawn = self.next_random() as usize % texts.len();
                self.out.extend_from_slice(&texts[drawn]);
            }
            Piece::Now => self.out.extend_from_slice(now),
            Piece::Answer => {
                let answer = answer.expect("each command of the step before was answered");
                self.out.extend_from_slice(bulks(answer).as_bytes());
            }
        }
    }

    fn receive(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        while lane.awaited > 0 {
            let count = lane.stream.read(&mut self.input).expect("the server answers");
            assert!(count > 0, "the server closed a connection");
            let lines = self.input[..count].iter().filter(|byte| **byte == b'\n').count();
            lane.awaited = lane.awaited.checked_sub(lines).expect("no more lines than the workload says");
            if lane.lines_each.is_some() {
                lane.kept.extend_from_slice(&self.input[..count]);
            }
        }
        if let Some(reply_lines) = lane.lines_each.take() {
            let text = String::from_utf8_lossy(&lane.kept);
            let lasts = text.lines().skip(reply_lines - 1).step_by(reply_lines);
            lane.answers = lasts.map(|line| line.trim_start_matches(':').to_string()).collect();
            lane.kept.clear();
        }
    }

    /// Any fast generator with a long period will do (xorshift64, Marsaglia 2003).
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}

/// Runs each workload once by hand and checks what it answers: a benchmark of errors would be a
/// fast one.
pub fn check_replies(client: &mut Client, workload: &Workload, expected: &[&str]) {
    check_replies_on(client, workload, &key(0), expected);
}

/// The same on a key of another name. `fence` stands for any fence, `*` for anything but an error
/// or nil.
pub fn check_replies_on(client: &mut Client, workload: &Workload, name: &str, expected: &[&str]) {
    assert_eq!(workload.steps.len(), expected.len(), "{}: one reply per step", workload.name);
    let (name, now) = (bulks(name), bulks(&unix_ms().to_string()));
    let mut last = String::new();
    for (step, expected) in workload.steps.iter().zip(expected) {
        let mut request = Vec::new();
        for piece in &step.pieces {
            request.extend_from_slice(match piece {
                Piece::Text(text) => text,
                Piece::Key => name.as_bytes(),
                Piece::PerConnection(texts) | Piece::PerKey(texts) | Piece::Choice(texts) => &texts[0],
                Piece::Now => now.as_bytes(),
                Piece::Answer => last.as_bytes(),
            });
        }
        client.send_raw(&request);
        let reply = client.recv();
        if let Reply::Array(items) = &reply {
            last = items.last().map(|item| bulks(&format!("{item:?}"))).unwrap_or_default();
        }
        let text = format!("{reply:?}");
        let is_missing = reply.is_error() || reply.is_nil() || text == "[]";
        let fits = text == *expected || (*expected == "fence" && text.len() == 16) || (*expected == "*" && !is_missing);
        assert!(fits, "{}: expected {expected}, got {text}", workload.name);
    }
}

fn unix_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock later than 1970").as_millis()
}

/// Processor time that the main thread of a process has used, in microseconds; not a number where
/// the system does not tell.
pub fn cpu_us(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let ns = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    ns.map_or(f64::NAN, |ns| ns / 1000.0)
}
