//! Where a scene is played: a server, a client that sends what is dear, and one that pings.

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

/// What was measured.
pub struct Row {
    what: String,
    /// The longest ping meanwhile.
    pub ping: Duration,
    reply_after: Duration,
    reply: String,
}

impl Row {
    /// As a line of the table.
    pub fn line(&self) -> String {
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        format!("| {} | {} | {} | {} |", self.what, ms(self.ping), ms(self.reply_after), self.reply)
    }
}

pub struct Stage<'a> {
    pub server: &'a Server,
    pub rows: Vec<Row>,
}

impl<'a> Stage<'a> {
    pub fn new(server: &'a Server) -> Self {
        Self { server, rows: Vec::new() }
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
        let (stop, port) = (Arc::new(AtomicBool::new(false)), self.server.port());
        let stopped = Arc::clone(&stop);
        let pinger = std::thread::spawn(move || longest_ping(port, &stopped));
        std::thread::sleep(Duration::from_millis(20));
        let (reply_after, reply) = ask(port, args);
        std::thread::sleep(AFTER);
        stop.store(true, Relaxed);
        let ping = pinger.join().expect("the pings go on");
        self.rows.push(Row { what: what.into(), ping, reply_after, reply });
    }

    /// The same for a line.
    pub fn dear_line(&mut self, what: impl Into<String>, line: &str) {
        self.dear(what, &line.split_whitespace().collect::<Vec<_>>());
    }
}

fn longest_ping(port: u16, stop: &AtomicBool) -> Duration {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server is there");
    stream.set_nodelay(true).expect("a socket");
    let (mut longest, mut answer) = (Duration::ZERO, [0; 7]);
    while !stop.load(Relaxed) {
        let sent = Instant::now();
        stream.write_all(b"PING\r\n").expect("the server is there");
        stream.read_exact(&mut answer).expect("the server is there");
        longest = longest.max(sent.elapsed());
        std::thread::sleep(BETWEEN_PINGS);
    }
    longest
}

/// Sends a command and reads its reply without looking into it. Returns how long that took, and how
/// the reply begins.
fn ask<A: AsRef<[u8]>>(port: u16, args: &[A]) -> (Duration, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server is there");
    let mut request = Vec::new();
    encode(args, &mut request);
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
