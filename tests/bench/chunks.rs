//! The chunk buffer against strings on the same server, and both against memcached if that is
//! installed (`scripts/bench-peers`).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{holds_within, Server, PATIENCE};
use crate::load::{check_replies_on, Load, Workload};
use crate::report::{median, rates, table};
use crate::Options;

/// Bytes of a value, how many values, clients, and commands in flight on each connection.
const SIZES: [(usize, usize, usize, usize); 4] =
    [(1 << 10, 1000, 50, 1), (1 << 10, 1000, 50, 16), (64 << 10, 200, 10, 1), (1 << 20, 24, 4, 1)];

fn size_name(bytes: usize) -> &'static str {
    match bytes {
        1024 => "1 KB",
        65_536 => "64 KB",
        _ => "1 MB",
    }
}

/// Different texts of this size.
fn values(bytes: usize, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:08}").repeat(bytes / 8)).collect()
}

/// Whole values and ranges of them, read and written.
pub fn values_and_ranges(options: &Options) {
    for (bytes, count, clients, pipeline) in SIZES {
        let server = Server::start();
        server.run("LTMC.CHUNK.BUFFER chunks MAXBYTES 1000000000 MINBYTES 1000000000").ok();
        let names: Vec<String> = (0..count).map(|n| format!("value:{n:04}")).collect();
        let (values, others) = (values(bytes, count), values(bytes, 2 * count).split_off(count));
        for (name, value) in names.iter().zip(&values) {
            server.cmd(&["SET", name, value]).ok();
            server.cmd(&["LTMC.CHUNK.PUT", "chunks", name, value]).array();
        }
        let part = "x".repeat(100);
        let range = format!("{} 100", bytes / 2);
        let at = |value: &String| format!("0 {value}");
        let (whole, whole_others): (Vec<String>, Vec<String>) =
            (values.iter().map(at).collect(), others.iter().map(at).collect());
        let per_key =
            |name, before: &str, tails: &[String], lines| Workload::new(name).step_per_key(before, tails, lines);
        let cases = [
            (
                "read",
                per_key_none("GET", "GET", count),
                per_key_none("LTMC.CHUNK.READ", "LTMC.CHUNK.READ chunks", count),
            ),
            (
                "written",
                per_key("SET", "SET", &values, 1),
                // Twice, so that a put never writes what is there.
                per_key("LTMC.CHUNK.PUT", "LTMC.CHUNK.PUT chunks", &values, 4).step_per_key(
                    "LTMC.CHUNK.PUT chunks",
                    &others,
                    4,
                ),
            ),
            (
                "read, a range of 100 bytes",
                Workload::new("GETRANGE").line(&format!("GETRANGE {{key}} {} {}", bytes / 2, bytes / 2 + 99), 2),
                Workload::new("LTMC.CHUNK.READ").line(&format!("LTMC.CHUNK.READ chunks {{key}} {range}"), 2),
            ),
            (
                "written, a range of 100 bytes",
                Workload::new("SETRANGE").line(&format!("SETRANGE {{key}} {} {part}", bytes / 2), 1),
                Workload::new("LTMC.CHUNK.WRITE")
                    .line(&format!("LTMC.CHUNK.WRITE chunks {{key}} {} {part}", bytes / 2), 1),
            ),
            (
                "written, the range being all of it",
                per_key("SETRANGE", "SETRANGE", &whole, 1),
                per_key("LTMC.CHUNK.WRITE", "LTMC.CHUNK.WRITE chunks", &whole_others, 1),
            ),
        ];
        let mut client = server.client();
        check_replies_on(&mut client, &cases[0].1, &names[0], &["*"]);
        check_replies_on(&mut client, &cases[0].2, &names[0], &["*"]);
        for (what, native, ours) in &cases {
            let title = format!("{} {what} ({clients} clients, pipeline {pipeline})", size_name(bytes));
            compare(&title, &server, [native, ours], &names, (clients, pipeline), options);
        }
    }
}

/// A command on a key with nothing after it.
fn per_key_none(name: &'static str, before: &str, count: usize) -> Workload {
    Workload::new(name).step_per_key(before, &vec![String::new(); count], 2)
}

/// Both take turns; the first is the baseline. A workload of two steps counts each of them.
fn compare(
    title: &str,
    server: &Server,
    workloads: [&Workload; 2],
    names: &[String],
    (clients, pipeline): (usize, usize),
    options: &Options,
) {
    let (rounds, time) = (options.of(7, 3), Duration::from_millis(options.of(250, 80) as u64));
    let mut loads: Vec<Load> = workloads.iter().map(|_| Load::over(server, clients, names.iter().cloned())).collect();
    let mut results = vec![Vec::new(); workloads.len()];
    for round in 0..=rounds {
        for (at, workload) in workloads.iter().enumerate() {
            let mut result = loads[at].run(server, workload, pipeline, time);
            // An operation is all steps of a workload; here each step counts as one.
            result.ops_per_s *= workload.commands() as f64;
            result.server_us_per_op /= workload.commands() as f64;
            if round > 0 {
                results[at].push(result);
            }
        }
    }
    rates(title, &workloads.map(|workload| workload.name), &results);
}

/// memcached on a port of its own.
struct Memcached {
    child: Child,
    port: u16,
}

impl Memcached {
    /// `None` if it is not installed.
    fn start() -> Option<Memcached> {
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let port_text = port.to_string();
        let args = ["-p", &port_text, "-l", "127.0.0.1", "-U", "0", "-m", "512", "-I", "4m", "-t", "1", "-u", "root"];
        let child = Command::new("memcached").args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let started = Memcached { child, port };
        assert!(
            holds_within(PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok()),
            "memcached does not answer"
        );
        Some(started)
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A way to get or set a value: what is sent, and how many lines the reply has.
struct Way {
    port: u16,
    requests: Vec<Vec<u8>>,
    reply_lines: usize,
}

impl Way {
    fn resp(port: u16, words: impl Iterator<Item = Vec<String>>, reply_lines: usize) -> Way {
        let request = |words: Vec<String>| {
            let bulks: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
            format!("*{}\r\n{bulks}", words.len()).into_bytes()
        };
        Way { port, requests: words.map(request).collect(), reply_lines }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server is there");
        stream.set_nodelay(true).expect("an option");
        stream
    }

    /// Sends a request and waits for all lines of its reply.
    fn ask(&self, stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) {
        stream.write_all(request).expect("it listens");
        let mut lines = 0;
        while lines < self.reply_lines {
            let read = stream.read(buffer).expect("it answers");
            assert!(read > 0, "the connection is closed");
            lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        }
    }

    /// Sends each request once.
    fn fill(&self) {
        let (mut stream, mut buffer) = (self.connect(), vec![0; 1 << 16]);
        self.requests.iter().for_each(|request| self.ask(&mut stream, request, &mut buffer));
    }

    /// Requests a second over one connection, one after the other.
    fn rate(&self, time: Duration) -> f64 {
        let (mut stream, mut buffer) = (self.connect(), vec![0; 1 << 20]);
        let (mut done, started) = (0, Instant::now());
        while started.elapsed() < time {
            self.ask(&mut stream, &self.requests[done % self.requests.len()], &mut buffer);
            done += 1;
        }
        done as f64 / started.elapsed().as_secs_f64()
    }
}

/// Values got and set over one connection: strings, chunks, and memcached.
pub fn beside_memcached(options: &Options) {
    let Some(memcached) = Memcached::start() else {
        println!(
            "\nmemcached is not installed (scripts/bench-peers installs it): not measured beside the chunk buffer"
        );
        return;
    };
    let server = Server::start();
    server.run("LTMC.CHUNK.BUFFER chunks MAXBYTES 1000000000 MINBYTES 1000000000").ok();
    let mut rows = Vec::new();
    for (bytes, count) in [(1 << 10, 200), (64 << 10, 100), (1 << 20, 20)] {
        let values = values(bytes, count);
        let named = || values.iter().enumerate().map(|(n, value)| (format!("value:{n}"), value.clone()));
        let text = |word: &str| word.to_string();
        let plain = |request: String| request.into_bytes();
        let memcached_set = named().map(|(name, value)| plain(format!("set {name} 0 0 {bytes}\r\n{value}\r\n")));
        let ways = [
            ("SET", Way::resp(server.port(), named().map(|(name, value)| vec![text("SET"), name, value]), 1)),
            (
                "LTMC.CHUNK.PUT",
                Way::resp(
                    server.port(),
                    named().map(|(n, value)| vec![text("LTMC.CHUNK.PUT"), text("chunks"), n, value]),
                    4,
                ),
            ),
            ("memcached set", Way { port: memcached.port, requests: memcached_set.collect(), reply_lines: 1 }),
            ("GET", Way::resp(server.port(), named().map(|(name, _)| vec![text("GET"), name]), 2)),
            (
                "LTMC.CHUNK.READ",
                Way::resp(server.port(), named().map(|(n, _)| vec![text("LTMC.CHUNK.READ"), text("chunks"), n]), 2),
            ),
            (
                "memcached get",
                Way {
                    port: memcached.port,
                    requests: named().map(|(name, _)| plain(format!("get {name}\r\n"))).collect(),
                    reply_lines: 3,
                },
            ),
        ];
        // What is read has to be there.
        ways[..3].iter().for_each(|(_, way)| way.fill());
        let (rounds, time) = (options.of(7, 3), Duration::from_millis(options.of(250, 80) as u64));
        let mut rates = vec![Vec::new(); ways.len()];
        for round in 0..=rounds {
            for (at, (_, way)) in ways.iter().enumerate() {
                let rate = way.rate(time);
                if round > 0 {
                    rates[at].push(rate);
                }
            }
        }
        for (at, (name, _)) in ways.iter().enumerate() {
            let yardstick = &rates[at / 3 * 3];
            let ratio = median(rates[at].iter().zip(yardstick).map(|(rate, native)| rate / native));
            let per_second = median(rates[at].iter().copied());
            rows.push(vec![
                size_name(bytes).into(),
                name.to_string(),
                format!("{per_second:.0}"),
                format!("{ratio:.2}"),
            ]);
        }
    }
    table("values over one connection, one after the other", &["", "", "per second", "ratio"], &rows);
}
