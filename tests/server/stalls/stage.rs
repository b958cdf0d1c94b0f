//! Where a scene is played: a server, a client that sends what is dear, and one that pings.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::*;

/// Who works in turns goes on for a while behind its reply.
const AFTER: Duration = Duration::from_millis(150);
const BETWEEN_PINGS: Duration = Duration::from_micros(200);
/// What the server echoes behind the reply.
const MARK: &str = "*the-end-of-it*";
/// How many commands are in one pipeline while a scene is built.
const PIPELINE: usize = 500;

/// As many clients are there at least in the bounded form of a scene, if it has so many.
const SOME_MAX: usize = 100;
/// A round in which so little is done has nothing to go on with.
const IDLE_LOOKS: i64 = 20;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(5);

/// What was measured.
pub struct Row {
    what: String,
    /// The most that the server looked at in one go, and the bound.
    looks: String,
    /// How long the server worked between two pings, at most. Others on the machine do not count.
    pub tick: Duration,
    /// The longest ping meanwhile.
    ping: Duration,
    reply_after: Duration,
    reply: String,
}

impl Row {
    /// As a line of the table.
    pub fn line(&self) -> String {
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        let times = [self.tick, self.ping, self.reply_after].map(ms).join(" | ");
        format!("| {} | {} | {times} | {} |", self.what, self.looks, self.reply)
    }
}

/// By the name of the command, or `round`, the most looks of one go and its bound then.
type Most = BTreeMap<String, (i64, i64)>;

/// What the commands of a bounded scene have done.
#[derive(Default)]
pub struct Done {
    /// What passed its bound.
    pub beyond: Vec<String>,
    /// The commands that were sent as dear.
    pub dear: BTreeSet<String>,
}

pub struct Stage<'a> {
    pub server: &'a Server,
    pub rows: Vec<Row>,
    /// In the bounded form of a scene, looks are counted and nothing is timed.
    pub done: Option<Done>,
}

impl<'a> Stage<'a> {
    pub fn new(server: &'a Server) -> Self {
        Self { server, rows: Vec::new(), done: None }
    }

    /// The same for the bounded form of a scene.
    pub fn bounded(server: &'a Server) -> Self {
        Self { done: Some(Done::default()), ..Self::new(server) }
    }

    /// So many clients or keys, for which there is no setting; few in the bounded form.
    pub fn some(&self, count: usize) -> usize {
        match self.done {
            Some(_) => count.min(SOME_MAX.max(count / 20)),
            None => count,
        }
    }

    /// What a setting allows.
    pub fn max(&self, setting: &str) -> usize {
        let value = self.server.run(&format!("CONFIG GET ltmc.{setting}"));
        value
            .pairs()
            .first()
            .map(|(_, value)| value.text().to_string())
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{setting}"))
    }

    /// A command of the building, which has to succeed.
    #[track_caller]
    pub fn run(&self, line: &str) -> Reply {
        let reply = self.server.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        reply
    }

    /// The same with arguments that may have blanks.
    #[track_caller]
    pub fn cmd<A: AsRef<[u8]>>(&self, args: &[A]) -> Reply {
        let reply = self.server.cmd(args);
        assert!(!reply.is_error(), "{:?}: {reply:?}", String::from_utf8_lossy(args[0].as_ref()));
        reply
    }

    /// Clients that wait go, and nobody is left who waits.
    pub fn leave(&self, waiters: Vec<Client>) {
        drop(waiters);
        wait_until("nobody waits", || self.server.info_int("clients", "blocked_clients") == 0);
    }

    /// Many lines, in pipelines.
    #[track_caller]
    pub fn fill(&self, lines: impl Iterator<Item = String>) {
        let (mut client, mut lines) = (self.server.client(), lines.peekable());
        while lines.peek().is_some() {
            let part: Vec<String> = lines.by_ref().take(PIPELINE).collect();
            let replies = client.pipeline(&part);
            let failed = replies.iter().zip(&part).find(|(reply, _)| reply.is_error());
            assert!(failed.is_none(), "{:?}", failed.map(|(reply, line)| (reply, &line[..line.len().min(80)])));
        }
    }

    /// Sends what is dear, and notes how long others had to wait.
    pub fn dear<A: AsRef<[u8]>>(&mut self, what: impl Into<String>, args: &[A]) {
        let mut request = Vec::new();
        encode(args, &mut request);
        self.dear_requests(what, request);
    }

    /// The same for a line.
    pub fn dear_line(&mut self, what: impl Into<String>, line: &str) {
        self.dear(what, &line.split_whitespace().collect::<Vec<_>>());
    }

    /// The same for lines in one pipeline. The server takes them one after the other.
    pub fn dear_lines(&mut self, what: impl Into<String>, lines: &[String]) {
        let mut requests = Vec::new();
        lines.iter().for_each(|line| encode(&line.split_whitespace().collect::<Vec<_>>(), &mut requests));
        self.dear_requests(what, requests);
    }

    fn dear_requests(&mut self, what: impl Into<String>, requests: Vec<u8>) {
        if self.done.is_some() {
            return self.count_looks(&what.into(), requests);
        }
        worked(self.server);
        let (stop, port) = (Arc::new(AtomicBool::new(false)), self.server.port());
        let stopped = Arc::clone(&stop);
        let pid = self.server.pid();
        let pinger = std::thread::spawn(move || longest_ping(port, pid, &stopped));
        std::thread::sleep(Duration::from_millis(20));
        let (reply_after, reply) = ask(port, requests);
        std::thread::sleep(AFTER);
        stop.store(true, Relaxed);
        let (ping, tick) = pinger.join().expect("the pings go on");
        let of_others = |(name, ..): &(String, i64, i64)| name != "LTMC.DEBUG";
        let most = worked(self.server).into_iter().filter(of_others).max_by_key(|(_, looks, _)| *looks);
        let looks = most.map_or_else(String::new, |(name, looks, bound)| format!("{name}: {looks} of {bound}"));
        self.rows.push(Row { what: what.into(), looks, tick, ping, reply_after, reply });
    }
}

impl Stage<'_> {
    /// Sends what is dear and notes how much was looked at in one go, until nothing goes on.
    fn count_looks(&mut self, what: &str, requests: Vec<u8>) {
        self.note_looks("building", None);
        let (reply_after, reply) = ask(self.server.port(), requests);
        let mut most = BTreeMap::new();
        while self.note_looks(what, Some(&mut most)) > IDLE_LOOKS {
            std::thread::sleep(BETWEEN_ROUNDS);
        }
        let looks: Vec<String> =
            most.iter().map(|(name, (looks, bound))| format!("{name} {looks} of {bound}")).collect();
        eprintln!("  {what}: {}; {reply} after {:.1} ms", looks.join(", "), reply_after.as_secs_f64() * 1000.0);
        let Some(done) = &mut self.done else { return };
        done.dear.extend(most.into_keys());
    }

    /// Notes what was done since the last time. Returns how much that was in the rounds.
    fn note_looks(&mut self, what: &str, mut dear: Option<&mut Most>) -> i64 {
        let (worked, mut in_rounds) = (worked(self.server), 0);
        let Some(done) = &mut self.done else { return 0 };
        for (name, looks, bound) in worked {
            if name == "round" {
                in_rounds = looks;
            }
            if looks > bound {
                done.beyond.push(format!("{what}: {name} looked at {looks}, its bound is {bound}"));
            }
            if let Some(dear) =
                dear.as_mut().filter(|_| name != "LTMC.DEBUG" && (looks > IDLE_LOOKS || name != "round"))
            {
                let most = dear.entry(name).or_insert((looks, bound));
                *most = (*most).max((looks, bound));
            }
        }
        in_rounds
    }
}

/// By command, or `round`, the most looks of one go since this was asked last, and its bound.
fn worked(server: &Server) -> Vec<(String, i64, i64)> {
    let row = |row: &Reply| (row.array()[0].text().to_string(), row.array()[1].int(), row.array()[2].int());
    server.run("LTMC.DEBUG WORK").array().iter().map(row).collect()
}

/// The longest ping, and the most that the server worked from one pong to the next.
fn longest_ping(port: u16, pid: u32, stop: &AtomicBool) -> (Duration, Duration) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server is there");
    stream.set_nodelay(true).expect("a socket");
    let (mut longest, mut longest_tick, mut answer) = (Duration::ZERO, Duration::ZERO, [0; 7]);
    let mut worked = worked_till_now(pid);
    while !stop.load(Relaxed) {
        let sent = Instant::now();
        stream.write_all(b"PING\r\n").expect("the server is there");
        stream.read_exact(&mut answer).expect("the server is there");
        longest = longest.max(sent.elapsed());
        let before = std::mem::replace(&mut worked, worked_till_now(pid));
        longest_tick = longest_tick.max(worked.saturating_sub(before));
        std::thread::sleep(BETWEEN_PINGS);
    }
    (longest, longest_tick)
}

/// How long the main thread of the server has had a processor.
fn worked_till_now(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// Sends commands and reads their replies without looking into them. Returns how long that took,
/// and how the first reply begins.
fn ask(port: u16, mut request: Vec<u8>) -> (Duration, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server is there");
    encode(&["ECHO", MARK], &mut request);
    let (mut writer, sent) = (stream.try_clone().expect("a socket"), Instant::now());
    let writing = std::thread::spawn(move || writer.write_all(&request));
    let (mut seen, mut begin, mut buffer) = (Vec::new(), Vec::new(), vec![0; 1 << 20]);
    loop {
        let count = stream.read(&mut buffer).expect("the server is there");
        assert!(count > 0, "the server has closed the connection");
        if begin.len() < 100 {
            begin.extend_from_slice(&buffer[..count.min(100)]);
        }
        seen.extend_from_slice(&buffer[..count]);
        if seen.windows(MARK.len()).any(|bytes| bytes == MARK.as_bytes()) {
            break;
        }
        seen.drain(..seen.len().saturating_sub(MARK.len()));
    }
    writing.join().expect("it writes").expect("all is sent");
    let begin = String::from_utf8_lossy(&begin).lines().next().unwrap_or_default().replace('|', "/");
    (sent.elapsed(), begin.chars().take(60).collect())
}

/// A value of this size.
pub fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}
