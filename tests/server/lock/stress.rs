//! Everything at once: many clients that lock, wait, vanish, are killed and unblocked while keys
//! are deleted and flushed.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const CLIENTS: usize = 24;
const KEYS: usize = 4;
const TIME: Duration = Duration::from_secs(4);
/// Generous, since it includes hash tables that have grown. A leak of every wait would be far more.
const GROWTH_MAX: i64 = 2 << 20;

const LONG_LEASE_MS: i64 = 600_000;

/// The memory of values and of our own state, without the server's buffers: the replication backlog
/// alone has ten megabytes in Valkey 8.
fn memory(server: &Server) -> i64 {
    server.info_int("memory", "used_memory_dataset")
}

/// xorshift64*: small and repeatable.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// What the clients share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The connection of each client, to be killed or unblocked by the others.
    ids: [AtomicI64; CLIENTS],
    /// Fences of new exclusive grants, and how often each was handed out.
    fences: Mutex<BTreeMap<i64, usize>>,
    answers: AtomicI64,
    ends: AtomicI64,
}

/// Whether a command may be answered so.
fn is_well_formed(line: &str, reply: &Reply) -> bool {
    let expected = ["STALE", "NOTOWNER", "DEADLOCK", "CONFLICT", "WRONGTYPE", "UNBLOCKED"];
    match reply {
        Reply::Error(text) if text.starts_with("ERR a stamp cannot be converted") => true,
        Reply::Error(_) => expected.contains(&reply.error_code()),
        Reply::Nil => line.starts_with("LTMC.LOCK") || line.starts_with("LTMC.MLOCK"),
        Reply::Int(number) => *number >= 0,
        Reply::Array(items) => items.iter().all(|item| matches!(item, Reply::Int(fence) if *fence > 0)),
        Reply::Simple(text) => text == "OK" || text == "PONG",
        _ => false,
    }
}

struct Actor<'a> {
    number: usize,
    random: Random,
    port: u16,
    shared: &'a Shared,
    client: Client,
    /// The last fence it was given, for RENEW, CONVERT, CHECK and UNLOCK TOKEN.
    fence: i64,
}

impl<'a> Actor<'a> {
    fn new(number: usize, seed: u64, port: u16, shared: &'a Shared) -> Actor<'a> {
        let client = Client::connect(port);
        let random = Random(seed.wrapping_add(number as u64 * 7919) | 1);
        let mut actor = Actor { number, random, port, shared, client, fence: 1 };
        actor.announce();
        actor
    }

    fn announce(&mut self) {
        self.shared.ids[self.number].store(self.client.id(), Ordering::Relaxed);
    }

    fn reconnect(&mut self) {
        // A client that is killed at once cannot say its id: try again.
        loop {
            let Ok(client) = Client::try_connect(self.port) else {
                return;
            };
            self.client = client;
            if self.client.try_send_line("CLIENT ID") {
                if let Some(Reply::Int(id)) = self.client.recv_or_end() {
                    self.shared.ids[self.number].store(id, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    fn live(&mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let line = self.line();
            if self.random.below(60) == 0 {
                // Hangs up without waiting for the answer.
                self.client.try_send_line(&line);
                self.reconnect();
                continue;
            }
            self.run(&line);
        }
    }

    fn run(&mut self, line: &str) {
        let answer = if self.client.try_send_line(line) { self.client.recv_or_end() } else { None };
        let Some(reply) = answer else {
            self.shared.ends.fetch_add(1, Ordering::Relaxed);
            return self.reconnect();
        };
        assert!(is_well_formed(line, &reply), "{line}: {reply:?}");
        self.shared.answers.fetch_add(1, Ordering::Relaxed);
        match reply {
            Reply::Int(fence) if line.starts_with("LTMC.LOCK ") => self.granted(line, fence),
            Reply::Int(fence) if line.contains("CONVERT") => self.fence = fence,
            _ => {}
        }
    }

    fn granted(&mut self, line: &str, fence: i64) {
        self.fence = fence;
        if line.contains("NOREENTRANT") {
            let mut fences = self.shared.fences.lock().expect("nobody panicked with it");
            *fences.entry(fence).or_default() += 1;
        }
    }

    fn line(&mut self) -> String {
        let random = &mut self.random;
        let key = format!("k{}", random.below(KEYS));
        let owner = format!("o{}", random.below(CLIENTS));
        let own = format!("o{}", self.number);
        let fence = self.fence;
        match random.below(100) {
            0..=39 => {
                let mode = random.pick(&["", "EXCLUSIVE NOREENTRANT", "SHARED", "SHARED LIMIT 3", "OPTIMISTIC"]);
                let path = random.pick(&["", "", "PATH a", "PATH a/b", "PATH c"]);
                let block = random.pick(&["", "BLOCK 5", "BLOCK 50", "BLOCK 1000"]);
                let more = random.pick(&["", "", "PRIORITY 3", "ONDISCONNECT RELEASE"]);
                // A few outlive the crowd. They are compared with what replica and AOF made of
                // them.
                let lease = if random.below(20) == 0 { LONG_LEASE_MS } else { random.below(200) as i64 + 1 };
                format!("LTMC.LOCK {key} {own} {mode} {path} PX {lease} {block} {more}")
            }
            40..=47 => format!("LTMC.MLOCK {own} 3 k0 k1 k2 PX 50 BLOCK 20"),
            48..=67 => format!("LTMC.UNLOCK {key} {own} ALL"),
            68..=71 => format!("LTMC.UNLOCK {key} {own} TOKEN {fence}"),
            72..=75 => format!("LTMC.LOCK.RENEW {key} {own} TOKEN {fence} PX 100"),
            76..=79 => {
                let mode = random.pick(&["SHARED", "EXCLUSIVE BLOCK 50"]);
                format!("LTMC.LOCK.CONVERT {key} {own} TOKEN {fence} {mode}")
            }
            80..=83 => format!("LTMC.LOCK.CHECK {key} {fence}"),
            84..=85 => format!("LTMC.LOCK.BREAK {key} {owner}"),
            86..=87 => format!("DEL {key}"),
            88 => format!("UNLINK {key}"),
            // Not SYNC: Redis 7.4 lets the client wait for that, and dies if CLIENT UNBLOCK hits it
            // then.
            89 => random.pick(&["FLUSHALL ASYNC", "FLUSHDB ASYNC"]).into(),
            90 => "SWAPDB 0 1".into(),
            91..=93 => format!("CLIENT UNBLOCK {} {}", self.other(), ["TIMEOUT", "ERROR"][fence as usize % 2]),
            94..=95 => format!("CLIENT KILL ID {}", self.other()),
            _ => "PING".into(),
        }
    }

    fn other(&mut self) -> i64 {
        let number = self.random.below(CLIENTS);
        // Until all clients have come, a client may only hit itself.
        match self.shared.ids[number].load(Ordering::Relaxed) {
            0 => self.shared.ids[self.number].load(Ordering::Relaxed),
            id => id,
        }
    }
}

fn seed() -> u64 {
    let given = std::env::var("LTMC_SEED").ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64))
}

/// Waits until what is left no longer changes by itself.
fn wait_short_leases_over(server: &Server) {
    let mut client = server.client();
    for db in 0..2 {
        client.run(&format!("SELECT {db}")).ok();
        wait_until("only long leases are left", || {
            (0..KEYS).all(|key| {
                let info = client.run(&format!("LTMC.LOCK.INFO k{key}"));
                let long = |holder: &Reply| holder.get("lease_ms").int() > LONG_LEASE_MS / 2;
                let lasts = |holders: &[Reply]| !holders.is_empty() && holders.iter().all(long);
                info.is_nil() || lasts(info.get("holders").array())
            })
        });
        // Expired grants stay until something asks for the lock. A restored key is looked at, so it
        // would differ.
        for key in 0..KEYS {
            client.run(&format!("LTMC.LOCK k{key} z PX {LONG_LEASE_MS}"));
        }
    }
}

#[test]
fn a_crowd_of_unruly_clients_leaves_the_server_in_order() {
    let seed = seed();
    println!("LTMC_SEED={seed}");
    let server = Server::builder().durable().start();
    let replica = server.replica();
    let before = memory(&server);
    let shared = Shared::default();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (shared, port) = (&shared, server.port());
            scope.spawn(move || Actor::new(number, seed, port, shared).live());
        }
        let started = Instant::now();
        // This waits for no condition: it is the time that the crowd is given.
        while started.elapsed() < TIME {
            std::thread::sleep(Duration::from_millis(100));
        }
        shared.stop.store(true, Ordering::Relaxed);
    });
    let answers = shared.answers.into_inner();
    println!("{answers} answers, {} connections ended", shared.ends.into_inner());
    assert!(answers > 1000, "{answers} answers");
    assert_idle(&server);
    let fences = shared.fences.into_inner().expect("nobody panicked with it");
    let twice: BTreeSet<_> = fences.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "granted twice: {twice:?}");
    assert!(fences.len() > 20, "{} fences", fences.len());
    assert!(!server.log().contains("internal error"));

    let fence = server.run("LTMC.LOCK last z PX 600000").int();
    assert!(fences.keys().all(|granted| *granted < fence));
    wait_short_leases_over(&server);
    assert_persisted_everywhere(&server, &[&replica]);

    server.run("FLUSHALL").ok();
    wait_until("the memory is given back", || memory(&server) < before + GROWTH_MAX);
}

#[test]
fn what_a_file_leaves_to_be_done_takes_no_memory_when_it_is_done() {
    let server = Server::builder().durable().start();
    let before = memory(&server);
    let mut client = server.client();
    for round in 0..20 {
        for owner in 0..1000 {
            client.send_line(&format!("LTMC.LOCK k o{round}-{owner} PX {LONG_LEASE_MS} ONDISCONNECT RELEASE"));
            client.send_line("DEL k");
        }
        (0..1000).for_each(|_| assert!(client.recv().int() > 0 && client.recv().int() == 1));
    }
    server.cmd(&["DEBUG", "LOADAOF"]).ok();
    wait_until("all is done", || memory(&server) < before + (1 << 20));
}
