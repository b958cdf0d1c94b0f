//! A load generator that costs little: one thread, plain sockets, requests glued from prepared pieces.
//!
//! The server shares the machine's few cores with it. So it keeps one batch on its way on every connection, reads the answers in
//! turn, and only counts their lines: each reply of a workload has a known number of them. Contents are checked once, before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{Client, Server};

/// Keys that are drawn from.
pub const KEYS: usize = 10_000;

/// One command of a workload, without its key: what stands before it, and what stands after.
struct Step {
    head: Vec<u8>,
    tail: Tail,
    reply_lines: usize,
}

enum Tail {
    PerConnection(Vec<Vec<u8>>),
    PerKey(Vec<Vec<u8>>),
}

/// What each connection does over and over: all steps in turn on one random key, then on the next key.
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
        self.add(before, tails.collect(), 1, Tail::PerConnection)
    }

    /// Adds `before key after(key)` with a reply of so many lines.
    pub fn step_per_key(self, before: &str, after: &[String], reply_lines: usize) -> Workload {
        self.add(before, after.to_vec(), reply_lines, Tail::PerKey)
    }

    fn add(mut self, before: &str, after: Vec<String>, reply_lines: usize, tail: fn(Vec<Vec<u8>>) -> Tail) -> Workload {
        let count = before.split_whitespace().count() + 1 + after[0].split_whitespace().count();
        let head = format!("*{count}\r\n{}", bulks(before));
        self.steps.push(Step {
            head: head.into_bytes(),
            tail: tail(after.iter().map(|text| bulks(text).into_bytes()).collect()),
            reply_lines,
        });
        self
    }

    /// How many commands belong together: a pair counts as one operation.
    pub fn commands(&self) -> usize {
        self.steps.len()
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
    /// Lines of replies that are still to come.
    awaited: usize,
}

/// Connections that put a server under load.
pub struct Load {
    lanes: Vec<Lane>,
    keys: Vec<Vec<u8>>,
    random: u64,
    out: Vec<u8>,
    input: Vec<u8>,
}

/// What a round of load came to.
#[derive(Clone, Copy)]
pub struct Round {
    pub ops_per_s: f64,
    /// Processor time of the server's main thread, where the system tells it.
    pub server_us_per_op: f64,
}

impl Load {
    pub fn connect(server: &Server, clients: usize) -> Load {
        let connect = |_| {
            let stream = TcpStream::connect(("127.0.0.1", server.port())).expect("the server accepts");
            stream.set_nodelay(true).expect("a TCP stream has this option");
            Lane { stream, step: 0, key: 0, awaited: 0 }
        };
        Load {
            lanes: (0..clients).map(connect).collect(),
            keys: (0..KEYS).map(|at| bulks(&key(at)).into_bytes()).collect(),
            random: 0x9e37_79b9_7f4a_7c15,
            out: Vec::new(),
            input: vec![0; 64 * 1024],
        }
    }

    /// Runs `workload` for about `time`, `pipeline` commands on their way per connection.
    pub fn run(&mut self, server: &Server, workload: &Workload, pipeline: usize, time: Duration) -> Round {
        let (cpu, started) = (cpu_us(server.pid()), Instant::now());
        let mut commands = 0;
        for lane in 0..self.lanes.len() {
            self.send(lane, workload, pipeline);
        }
        while started.elapsed() < time {
            for lane in 0..self.lanes.len() {
                self.receive(lane);
                self.send(lane, workload, pipeline);
                commands += pipeline;
            }
        }
        for lane in 0..self.lanes.len() {
            self.receive(lane);
            commands += pipeline;
        }
        let seconds = started.elapsed().as_secs_f64();
        let cpu = cpu_us(server.pid()) - cpu;
        self.complete(workload);
        let ops = commands as f64 / workload.commands() as f64;
        Round { ops_per_s: ops / seconds, server_us_per_op: cpu / ops }
    }

    /// Takes every connection through the steps that it has begun, so that the next workload finds no locks held.
    fn complete(&mut self, workload: &Workload) {
        for lane in 0..self.lanes.len() {
            let rest = match self.lanes[lane].step {
                0 => continue,
                step => workload.steps.len() - step,
            };
            self.send(lane, workload, rest);
            self.receive(lane);
        }
    }

    fn send(&mut self, lane: usize, workload: &Workload, commands: usize) {
        self.out.clear();
        for _ in 0..commands {
            let step = &workload.steps[self.lanes[lane].step];
            if self.lanes[lane].step == 0 {
                self.lanes[lane].key = self.next_random() as usize % KEYS;
            }
            let at = &mut self.lanes[lane];
            self.out.extend_from_slice(&step.head);
            self.out.extend_from_slice(&self.keys[at.key]);
            self.out.extend_from_slice(match &step.tail {
                Tail::PerConnection(tails) => &tails[lane],
                Tail::PerKey(tails) => &tails[at.key],
            });
            at.awaited += step.reply_lines;
            at.step = (at.step + 1) % workload.steps.len();
        }
        let sent = self.lanes[lane].stream.write_all(&self.out);
        sent.expect("the server takes requests");
    }

    fn receive(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        while lane.awaited > 0 {
            let count = lane.stream.read(&mut self.input).expect("the server answers");
            assert!(count > 0, "the server closed a connection");
            let lines = self.input[..count].iter().filter(|byte| **byte == b'\n').count();
            lane.awaited = lane.awaited.checked_sub(lines).expect("no more lines than the workload says");
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

/// Runs each workload once by hand and checks what it answers: a benchmark of errors would be a fast one.
pub fn check_replies(client: &mut Client, workload: &Workload, expected: &[&str]) {
    assert_eq!(workload.steps.len(), expected.len(), "{}: one reply per step", workload.name);
    let name = bulks(&key(0)).into_bytes();
    for (step, expected) in workload.steps.iter().zip(expected) {
        let (Tail::PerConnection(tails) | Tail::PerKey(tails)) = &step.tail;
        client.send_raw(&[&step.head[..], &name, &tails[0]].concat());
        let reply = format!("{:?}", client.recv());
        let fits = reply == *expected || (*expected == "fence" && reply.len() == 16);
        assert!(fits, "{}: expected {expected}, got {reply}", workload.name);
    }
}

/// Processor time that the main thread of a process has used, in microseconds; not a number where the system does not tell.
fn cpu_us(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let ns = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    ns.map_or(f64::NAN, |ns| ns / 1000.0)
}
