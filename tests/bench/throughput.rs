//! How many operations a second, against what teams use today on the same server.

use std::time::Duration;

use crate::harness::{Client, Server};
use crate::load::{check_replies, key, Load, Round, Workload, KEYS};
use crate::report::rates;
use crate::Options;

const CLIENTS: usize = 50;
const PIPELINES: [usize; 2] = [1, 16];

const LOCK_SCRIPT: &str = "if redis.call('set',KEYS[1],ARGV[1],'NX','PX',ARGV[2]) then return 1 else return 0 end";
const UNLOCK_SCRIPT: &str =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

/// A lock taken and released, in the three states of a server: nothing listens to its writes, an
/// AOF does, a replica does.
pub fn lock_pairs(options: &Options) {
    for state in ["nobody listens", "appendonly yes, everysec", "one replica"] {
        let appendonly = if state.starts_with("appendonly") { "yes" } else { "no" };
        let server = Server::builder()
            .arg("appendonly", appendonly)
            .arg("appendfsync", "everysec")
            .arg("auto-aof-rewrite-percentage", 0)
            .arg("ltmc.orchestration-mode", "full")
            .arg("ltmc.audit", "off")
            .start();
        let _replica = state.ends_with("replica").then(|| server.replica());
        let pairs = pairs(&server);
        compare(&format!("lock and unlock, {state}: pairs a second"), &server, &pairs, options);
    }
}

/// No file, as a configuration file has it.
const NONE: &str = "\"\"";

/// The same with the audit trail: off, in memory, and in a file.
pub fn audited_lock_pairs(options: &Options) {
    for (state, level, file) in [("off", "off", NONE), ("write", "write", NONE), ("write to a file", "write", "trail")]
    {
        let server = Server::builder().arg("ltmc.audit", level).arg("ltmc.audit-file", file).start();
        let pairs: Vec<Workload> = pairs(&server).into_iter().take(2).collect();
        compare(&format!("lock and unlock, audit {state}: pairs a second"), &server, &pairs, options);
    }
}

fn pairs(server: &Server) -> Vec<Workload> {
    let load = |script: &str| server.cmd(&["SCRIPT", "LOAD", script]).text().to_string();
    let set = "{me} NX PX 30000";
    let (lock, unlock) = (load(LOCK_SCRIPT), load(UNLOCK_SCRIPT));
    for me in 0..CLIENTS {
        server.run(&format!("LTMC.REGISTER agents agent-{me} PX 31536000000")).int();
    }
    let by_script = format!("EVALSHA {unlock} 1");
    let pairs = [
        Workload::new("SET NX PX + DEL").step("SET", set, CLIENTS).step("DEL", "", CLIENTS),
        Workload::new("LTMC.LOCK + LTMC.UNLOCK").step("LTMC.LOCK", "{me} PX 30000", CLIENTS).step(
            "LTMC.UNLOCK",
            "{me}",
            CLIENTS,
        ),
        Workload::new("the same with REGISTRY").step("LTMC.LOCK", "{me} PX 30000 REGISTRY agents", CLIENTS).step(
            "LTMC.UNLOCK",
            "{me}",
            CLIENTS,
        ),
        Workload::new("SET NX PX + script").step("SET", set, CLIENTS).step(&by_script, "{me}", CLIENTS),
        Workload::new("script + script")
            .step(&format!("EVALSHA {lock} 1"), "{me} 30000", CLIENTS)
            .step(&by_script, "{me}", CLIENTS),
    ];
    let mut client = server.client();
    let replies = [["+OK", "1"], ["fence", "1"], ["fence", "1"], ["+OK", "1"], ["1", "1"]];
    for (pair, replies) in pairs.iter().zip(replies) {
        check_replies(&mut client, pair, &replies);
    }
    pairs.into()
}

/// Reading a lock and renewing it, against the native commands that come closest.
pub fn single_commands(options: &Options) {
    let server = Server::start();
    let mut client = server.client();
    let fences: Vec<String> = filled(&mut client, |key| format!("LTMC.LOCK {key} me PX 3000000"));
    let checks = Workload::new("LTMC.LOCK.CHECK").step_per_key("LTMC.LOCK.CHECK", &fences, 1);
    let tails: Vec<String> = fences.iter().map(|fence| format!("me TOKEN {fence} PX 3000000")).collect();
    let renewals = Workload::new("LTMC.LOCK.RENEW").step_per_key("LTMC.LOCK.RENEW", &tails, 1);
    check_replies(&mut client, &checks, &["1"]);
    check_replies(&mut client, &renewals, &["1"]);

    // The native keys are on a server of their own, so that both have the same names and number of
    // keys.
    let native = Server::start();
    let mut client = native.client();
    filled(&mut client, |key| format!("SET {key} me PX 3000000"));
    let nothing = vec![String::new(); KEYS];
    let gets = Workload::new("GET").step_per_key("GET", &nothing, 2);
    let lifetime = vec!["3000000".to_string(); KEYS];
    let expires = Workload::new("PEXPIRE").step_per_key("PEXPIRE", &lifetime, 1);
    check_replies(&mut client, &gets, &["\"me\""]);
    check_replies(&mut client, &expires, &["1"]);

    for (title, native_work, ours) in [
        ("is this fence current, commands a second", &gets, &checks),
        ("renew a lease, commands a second", &expires, &renewals),
    ] {
        compare_cases(title, &[(&native, native_work), (&server, ours)], options);
    }
}

/// Runs `line(key)` on every key and returns the replies that are numbers.
pub fn filled(client: &mut Client, line: impl Fn(&str) -> String) -> Vec<String> {
    let mut replies = Vec::with_capacity(KEYS);
    for chunk in (0..KEYS).collect::<Vec<_>>().chunks(500) {
        let lines: Vec<String> = chunk.iter().map(|at| line(&key(*at))).collect();
        replies.extend(client.pipeline(&lines).iter().map(|reply| format!("{reply:?}")));
    }
    replies
}

fn compare(title: &str, server: &Server, workloads: &[Workload], options: &Options) {
    let cases: Vec<_> = workloads.iter().map(|workload| (server, workload)).collect();
    compare_cases(title, &cases, options);
}

fn compare_cases(title: &str, cases: &[(&Server, &Workload)], options: &Options) {
    let names: Vec<String> = (0..KEYS).map(key).collect();
    compare_over(title, cases, &names, (options.rounds(), options.round_time()));
}

/// Measures all cases in turn on keys of these names, in rounds of equal length, so that whatever
/// else the machine does hits them alike. The first is the baseline.
pub fn compare_over(title: &str, cases: &[(&Server, &Workload)], names: &[String], (rounds, time): (usize, Duration)) {
    for pipeline in PIPELINES {
        let load = |server: &Server| Load::over(server, CLIENTS, names.iter().cloned());
        let mut loads: Vec<Load> = cases.iter().map(|(server, _)| load(server)).collect();
        let mut results: Vec<Vec<Round>> = vec![Vec::new(); cases.len()];
        // One round more than counts: the first only warms up.
        for round in 0..=rounds {
            for (at, (server, workload)) in cases.iter().enumerate() {
                let result = loads[at].run(server, workload, pipeline, time);
                if round > 0 {
                    results[at].push(result);
                }
            }
        }
        let names: Vec<&str> = cases.iter().map(|(_, workload)| workload.name).collect();
        rates(&format!("{title} ({CLIENTS} clients, pipeline {pipeline})"), &names, &results);
    }
}
