//! The tool cache against strings with an expiry, and against the usual lock with `SET NX`, on the
//! same server. Also its eviction policies, against each other and against an exact LRU.

use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Reply, Server};
use crate::load::{check_replies_on, roomy, Workload};
use crate::registry::fill;
use crate::report::{median, table};
use crate::throughput::compare_over;
use crate::Options;

const ENTRIES: usize = 1_000;
const VALUE_BYTES: [usize; 3] = [100, 1_000, 100_000];

/// Answers found and answers put, for several sizes.
pub fn answers(options: &Options) {
    // A number serves as a key and as the JSON arguments of a tool.
    let names: Vec<String> = (0..ENTRIES).map(|index| index.to_string()).collect();
    let pace = (options.of(7, 3), Duration::from_millis(options.of(250, 80) as u64));
    for bytes in VALUE_BYTES {
        let server = roomy().start();
        server.run("LTMC.CACHE.CONFIG cache MAXBYTES 1000000000").ok();
        let value = "v".repeat(bytes);
        let put =
            Workload::new("LTMC.CACHE.PUT EX").line(&format!("LTMC.CACHE.PUT cache tool {{key}} {value} EX 3600"), 1);
        let set = Workload::new("SET EX").line(&format!("SET {{key}} {value} EX 3600"), 1);
        let mut client = server.client();
        fill(&mut client, ENTRIES, |index| {
            vec![format!("SET {index} {value} EX 3600"), format!("LTMC.CACHE.PUT cache tool {index} {value} EX 3600")]
        });
        let get = Workload::new("GET").line("GET {key}", 2);
        let hit = Workload::new("LTMC.CACHE.GET").line("LTMC.CACHE.GET cache tool {key}", 18);
        check_replies_on(&mut client, &get, &names[0], &["*"]);
        let reply = client.run("LTMC.CACHE.GET cache tool 0");
        assert_eq!(reply.get("status").text(), "HIT");
        compare_over(
            &format!("an answer of {bytes} bytes found, a second"),
            &[(&server, &get), (&server, &hit)],
            &names,
            pace,
        );
        compare_over(
            &format!("an answer of {bytes} bytes put, a second"),
            &[(&server, &set), (&server, &put)],
            &names,
            pace,
        );
    }
}

const COMPUTE: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_millis(10);

/// What it cost that many clients missed the same answer at once.
struct Flight {
    ms: f64,
    computed: usize,
    commands: usize,
}

/// A hundred clients miss the same answer at once; it takes 50 ms to compute.
pub fn single_flight(options: &Options) {
    let (clients, rounds) = (options.of(100, 20), options.of(9, 3));
    let server = roomy().arg("maxclients", clients + 100).start();
    let mut rows = Vec::new();
    let mut add = |name: &str, flights: Vec<Flight>| {
        let of = |value: fn(&Flight) -> f64| median(flights.iter().map(value));
        rows.push(vec![
            name.to_string(),
            format!("{:.1}", of(|flight| flight.ms)),
            format!("{:.0}", of(|flight| flight.computed as f64)),
            format!("{:.0}", of(|flight| flight.commands as f64)),
        ]);
    };
    let fly = |round: usize, how: fn(&mut Client, usize) -> (usize, usize)| {
        let started = Instant::now();
        let threads: Vec<_> = server
            .clients(clients)
            .into_iter()
            .map(|mut client| thread::spawn(move || how(&mut client, round)))
            .collect();
        let counts: Vec<(usize, usize)> = threads.into_iter().map(|one| one.join().expect("has the answer")).collect();
        Flight {
            ms: started.elapsed().as_secs_f64() * 1e3,
            computed: counts.iter().map(|(computed, _)| computed).sum(),
            commands: counts.iter().map(|(_, commands)| commands).sum(),
        }
    };
    let mut flights: [Vec<Flight>; 3] = Default::default();
    for round in 0..=rounds {
        for (at, how) in [blocked, locked, unguarded].into_iter().enumerate() {
            let flight = fly(round, how);
            if round > 0 {
                flights[at].push(flight);
            }
        }
    }
    let [ours, theirs, none] = flights;
    add("LTMC.CACHE.GET BLOCK", ours);
    add("GET, SET NX PX, polled every 10 ms", theirs);
    add("GET and SET only", none);
    table(
        &format!("{clients} clients miss the same, 50 ms to compute"),
        &["", "ms for all", "computed", "commands"],
        &rows,
    );
}

/// How often the answer was computed, and how many commands that took.
fn blocked(client: &mut Client, round: usize) -> (usize, usize) {
    let reply = client.run(&format!("LTMC.CACHE.GET flights tool {round} BLOCK 0"));
    match reply.get("ticket") {
        Reply::Int(ticket) => {
            thread::sleep(COMPUTE);
            client.run(&format!("LTMC.CACHE.PUT flights tool {round} answer TICKET {ticket}")).ok();
            (1, 2)
        }
        _ => (0, 1),
    }
}

fn locked(client: &mut Client, round: usize) -> (usize, usize) {
    let mut commands = 0;
    loop {
        commands += 1;
        if !client.run(&format!("GET answer:{round}")).is_nil() {
            return (0, commands);
        }
        commands += 1;
        if !client.run(&format!("SET lock:{round} me NX PX 30000")).is_nil() {
            thread::sleep(COMPUTE);
            client.run(&format!("SET answer:{round} answer")).ok();
            return (1, commands + 1);
        }
        thread::sleep(POLL);
    }
}

fn unguarded(client: &mut Client, round: usize) -> (usize, usize) {
    if !client.run(&format!("GET plain:{round}")).is_nil() {
        return (0, 1);
    }
    thread::sleep(COMPUTE);
    client.run(&format!("SET plain:{round} answer")).ok();
    (1, 2)
}

/// A call of a trace: its number, how large its answer is, and what the answer costs to compute.
#[derive(Clone, Copy)]
struct Request {
    id: usize,
    bytes: usize,
    cost_ms: u64,
}

/// SplitMix64.
fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn request(id: usize) -> Request {
    let mut seed = id as u64;
    // Independent of how often it is requested.
    let bytes = [100, 200, 400, 800, 1_600, 3_200][draw(&mut seed) as usize % 6];
    let cost_ms = [1, 5, 20, 100, 500][draw(&mut seed) as usize % 5];
    Request { id, bytes, cost_ms }
}

const KEYSPACE: usize = 10_000;

/// Ids of which the first are requested most: the n-th with a share of 1/n.
fn zipf(seed: &mut u64, sums: &[f64]) -> usize {
    let share = (draw(seed) >> 11) as f64 / (1u64 << 53) as f64 * sums[sums.len() - 1];
    sums.partition_point(|sum| *sum < share).min(KEYSPACE - 1)
}

fn traces(length: usize) -> [(&'static str, Vec<Request>); 3] {
    let sums: Vec<f64> = (1..=KEYSPACE)
        .scan(0.0, |sum, n| {
            *sum += 1.0 / n as f64;
            Some(*sum)
        })
        .collect();
    let mut seed = 42;
    let zipfian = (0..length).map(|_| request(zipf(&mut seed, &sums))).collect();
    // Every other request is one of a scan that never comes back.
    let scans = (0..length)
        .map(|at| if at % 2 == 0 { request(zipf(&mut seed, &sums)) } else { request(KEYSPACE + at) })
        .collect();
    let looped = (0..length).map(|at| request(at % 1_500)).collect();
    [("Zipf", zipfian), ("Zipf and a scan", scans), ("loop over 1500", looped)]
}

/// What of a trace was found.
#[derive(Default)]
struct Yield {
    hits: u64,
    saved_ms: u64,
    saved_bytes: u64,
}

impl Yield {
    fn hit(&mut self, request: &Request) {
        self.hits += 1;
        self.saved_ms += request.cost_ms;
        self.saved_bytes += request.bytes as u64;
    }
}

/// What the exact LRU counts for an entry besides its answer. It is what the cache counts, so that
/// both hold the same.
const ENTRY_BYTES: usize = 480;
const CACHE_BYTES: usize = 1_000_000;

fn exact_lru(trace: &[Request]) -> Yield {
    let (mut found, mut held, mut bytes, mut clock) = (Yield::default(), HashMap::new(), 0usize, 0u64);
    let mut order: BTreeMap<u64, Request> = BTreeMap::new();
    for one in trace {
        clock += 1;
        match held.insert(one.id, clock) {
            Some(before) => {
                order.remove(&before);
                found.hit(one);
            }
            None => bytes += one.bytes + ENTRY_BYTES,
        }
        order.insert(clock, *one);
        while bytes > CACHE_BYTES {
            let Some((_, oldest)) = order.pop_first() else { break };
            held.remove(&oldest.id);
            bytes -= oldest.bytes + ENTRY_BYTES;
        }
    }
    found
}

fn with_policy(server: &Server, policy: &str, trace: &[Request]) -> Yield {
    let mut client = server.client();
    client.run(&format!("DEL {policy}"));
    client.run(&format!("LTMC.CACHE.CONFIG {policy} MAXBYTES {CACHE_BYTES} POLICY {policy}")).ok();
    let mut found = Yield::default();
    for one in trace {
        let reply = client.run(&format!("LTMC.CACHE.GET {policy} tool {}", one.id));
        if reply.get("status").text() == "HIT" {
            found.hit(one);
            continue;
        }
        let (value, ticket) = ("v".repeat(one.bytes), reply.get("ticket").int());
        let put = format!("LTMC.CACHE.PUT {policy} tool {} {value} TICKET {ticket} COST {}", one.id, one.cost_ms);
        client.run(&put).ok();
    }
    found
}

/// The hits of each policy on three traces that do not fit.
pub fn policies(options: &Options) {
    let server = roomy().start();
    for (name, trace) in traces(options.of(60_000, 6_000)) {
        let total = trace.iter().fold(Yield::default(), |mut total, one| {
            total.hit(one);
            total
        });
        let of = |name: &str, found: Yield| {
            let percent = |part: u64, whole: u64| format!("{:.1}", 100.0 * part as f64 / whole as f64);
            vec![
                name.to_string(),
                percent(found.hits, total.hits),
                percent(found.saved_ms, total.saved_ms),
                percent(found.saved_bytes, total.saved_bytes),
            ]
        };
        let mut rows = vec![of("exact LRU", exact_lru(&trace))];
        for policy in ["LRU", "LFU", "GDSF"] {
            rows.push(of(policy, with_policy(&server, policy, &trace)));
        }
        let title = format!("{name}: percent found in a cache of {CACHE_BYTES} bytes");
        table(&title, &["", "hits", "cost saved", "bytes saved"], &rows);
    }
}

/// The command that makes the n-th entry.
type Line = fn(usize) -> String;

/// Memory of an entry beside that of a string with an expiry.
pub fn memory(options: &Options) {
    let count = options.of(100_000, 10_000);
    let mut rows = Vec::new();
    let candidates: [(&str, Line); 2] = [
        ("SET EX, 100 bytes", |index| format!("SET tool:search:{index} {} EX 36000", "v".repeat(100))),
        ("LTMC.CACHE.PUT EX, 100 bytes", |index| {
            format!("LTMC.CACHE.PUT cache search {index} {} EX 36000", "v".repeat(100))
        }),
    ];
    for (name, line) in candidates {
        let server = roomy().start();
        server.run("LTMC.CACHE.CONFIG cache MAXBYTES 10000000000").ok();
        let used = |server: &Server| server.info("memory")["used_memory"].parse::<f64>().expect("a number");
        let before = used(&server);
        fill(&mut server.client(), count, |index| vec![line(index)]);
        let each = (used(&server) - before) / count as f64;
        let counted = match server.run("MEMORY USAGE cache SAMPLES 0") {
            Reply::Int(bytes) => format!("{:.0}", bytes as f64 / count as f64),
            _ => "-".into(),
        };
        rows.push(vec![name.to_string(), format!("{each:.0}"), counted]);
    }
    table(&format!("bytes of an entry, of {count}"), &["", "used_memory", "MEMORY USAGE"], &rows);
}
