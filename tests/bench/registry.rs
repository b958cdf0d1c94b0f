//! The agent registry against what teams build today from hashes, sets, sorted sets and scripts, on
//! the same server.
//!
//! The peers are as good as they get without a module: one call of a cached script for each
//! operation, the smallest set first, and no more than the question needs. They check less than the
//! registry does: whatever is in the sets counts as alive and well.

use std::time::Duration;

use crate::harness::{Client, Server};
use crate::load::{check_replies_on, roomy, Load, Round, Workload};
use crate::report::{median, percentile, rates, table};
use crate::Options;

const CLIENTS: usize = 50;
const PIPELINES: [usize; 2] = [1, 16];
const SIZES: [usize; 3] = [100, 10_000, 100_000];
/// Long enough that no agent is suspected in a run.
const TTL: &str = "PX 3600000";

/// The name of an agent.
pub fn agent(index: usize) -> String {
    format!("agent-{index:06}")
}

/// Sends `lines(index)` for every agent; errors are panics.
pub fn fill(client: &mut Client, count: usize, lines: impl Fn(usize) -> Vec<String>) {
    for chunk in (0..count).collect::<Vec<_>>().chunks(500) {
        let lines: Vec<String> = chunk.iter().flat_map(|index| lines(*index)).collect();
        for (line, reply) in lines.iter().zip(client.pipeline(&lines)) {
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
    }
}

/// Shorter rounds than in the other benches, since there are more candidates.
fn rounds_of(options: &Options) -> (usize, Duration) {
    (options.of(5, 3), Duration::from_millis(options.of(150, 80) as u64))
}

/// Lets all candidates take turns, round after round. There is one round more than counts: the
/// first only warms up.
fn in_turns<R>(rounds: usize, candidates: usize, mut run: impl FnMut(usize) -> R) -> Vec<Vec<R>> {
    let mut results: Vec<Vec<R>> = (0..candidates).map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for (at, results) in results.iter_mut().enumerate() {
            let result = run(at);
            if round > 0 {
                results.push(result);
            }
        }
    }
    results
}

fn loads_of(server: &Server, candidates: &[Workload], count: usize) -> Vec<Load> {
    candidates.iter().map(|_| Load::over(server, CLIENTS, (0..count).map(agent))).collect()
}

fn compare(title: &str, server: &Server, candidates: &[Workload], agents: usize, options: &Options) {
    let (rounds, time) = rounds_of(options);
    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name).collect();
    let mut loads = loads_of(server, candidates, agents);
    for pipeline in PIPELINES {
        let run = |at: usize| loads[at].run(server, &candidates[at], pipeline, time);
        let results = in_turns(rounds, candidates.len(), run);
        rates(&format!("{title} ({CLIENTS} clients, pipeline {pipeline})"), &names, &results);
    }
}

fn script(server: &Server, text: &str) -> String {
    server.cmd(&["SCRIPT", "LOAD", text]).text().to_string()
}

const BEAT_SCRIPT: &str =
    "redis.call('HSET',KEYS[1],ARGV[1],ARGV[2]) redis.call('ZADD',KEYS[2],ARGV[2],ARGV[1]) return 1";

/// A heartbeat, against a field with its time, and against that plus the sorted set that shows who
/// is overdue.
pub fn heartbeats(options: &Options) {
    for agents in SIZES {
        let server = roomy().start();
        compare(&format!("heartbeats a second, {agents} agents"), &server, &beats(&server, agents), agents, options);
    }
    for listener in ["appendonly yes, everysec", "one replica"] {
        let agents = SIZES[1];
        let appendonly = if listener.starts_with("appendonly") { "yes" } else { "no" };
        let server = roomy()
            .arg("appendonly", appendonly)
            .arg("appendfsync", "everysec")
            .arg("auto-aof-rewrite-percentage", 0)
            .start();
        let _replica = listener.ends_with("replica").then(|| server.replica());
        let title = format!("heartbeats a second, {agents} agents, {listener}");
        compare(&title, &server, &beats(&server, agents), agents, options);
    }
}

fn beats(server: &Server, agents: usize) -> Vec<Workload> {
    let mut client = server.client();
    fill(&mut client, agents, |index| {
        let id = agent(index);
        vec![
            format!("LTMC.REGISTER registry {id} {TTL}"),
            format!("HSET seen {id} 1767225600000"),
            format!("ZADD beats 1767225600000 {id}"),
        ]
    });
    let beat = script(server, BEAT_SCRIPT);
    let candidates = vec![
        (Workload::new("HSET").line("HSET seen {key} {now}", 1), vec!["0"]),
        (Workload::new("LTMC.HEARTBEAT").line("LTMC.HEARTBEAT registry {key}", 1), vec!["3600000"]),
        (
            Workload::new("LTMC.HEARTBEAT LOAD, another each time")
                .line("LTMC.HEARTBEAT registry {key} LOAD {0.1|0.25|0.4|0.55|0.7|0.85}", 1),
            vec!["3600000"],
        ),
        (
            // Half of these change nothing; the others are replicated and told to watchers.
            Workload::new("LTMC.HEARTBEAT STATUS, idle or active")
                .line("LTMC.HEARTBEAT registry {key} STATUS {idle|active}", 1),
            vec!["3600000"],
        ),
        (
            Workload::new("HSET + ZADD in one pipeline")
                .line("HSET seen {key} {now}", 1)
                .line("ZADD beats {now} {key}", 1),
            vec!["0", "0"],
        ),
        (
            Workload::new("script: HSET + ZADD").line(&format!("EVALSHA {beat} 2 seen beats {{key}} {{now}}"), 1),
            vec!["1"],
        ),
    ];
    for (candidate, replies) in &candidates {
        check_replies_on(&mut client, candidate, &agent(0), replies);
    }
    candidates.into_iter().map(|(candidate, _)| candidate).collect()
}

/// All agents that are in every set; of them the least loaded. KEYS: loads, then the sets.
const BEST_OF_ALL_SCRIPT: &str = "\
local ids = redis.call('SINTER', unpack(KEYS, 2)) \
local best, least \
for from = 1, #ids, 4000 do \
  local to = math.min(from + 3999, #ids) \
  local loads = redis.call('ZMSCORE', KEYS[1], unpack(ids, from, to)) \
  for at, load in ipairs(loads) do \
    load = tonumber(load) \
    if not least or load < least then best, least = ids[from + at - 1], load end \
  end \
end \
return best";

/// From the least loaded on, until one is in every set. KEYS: loads, then the sets.
const FIRST_FIT_SCRIPT: &str = "\
local from, count = 0, 8 \
while true do \
  local ids = redis.call('ZRANGE', KEYS[1], from, from + count - 1) \
  if #ids == 0 then return false end \
  for set = 2, #KEYS do \
    local kept, flags = {}, redis.call('SMISMEMBER', KEYS[set], unpack(ids)) \
    for at, flag in ipairs(flags) do if flag == 1 then kept[#kept + 1] = ids[at] end end \
    ids = kept \
    if #ids == 0 then break end \
  end \
  if ids[1] then return ids[1] end \
  from, count = from + count, math.min(count * 2, 1024) \
end";

/// Of two at random, the less loaded. KEYS: loads, those that are up, those to draw from.
const TWO_CHOICES_SCRIPT: &str = "\
for _ = 1, 100 do \
  local ids = redis.call('SRANDMEMBER', KEYS[3], 2) \
  local up = redis.call('SMISMEMBER', KEYS[2], unpack(ids)) \
  local loads = redis.call('ZMSCORE', KEYS[1], unpack(ids)) \
  local best, least \
  for at, id in ipairs(ids) do \
    local load = tonumber(loads[at]) \
    if up[at] == 1 and (not least or load < least) then best, least = id, load end \
  end \
  if best then return best end \
end \
return false";

/// Which agents can do this, and which of them is the least loaded?
pub fn finds(options: &Options) {
    for agents in SIZES {
        let server = roomy().start();
        fill_labelled(&mut server.client(), agents);
        let [sets, first_fit, two] =
            [BEST_OF_ALL_SCRIPT, FIRST_FIT_SCRIPT, TWO_CHOICES_SCRIPT].map(|text| script(&server, text));
        let find = |filter: &str| {
            Workload::new("LTMC.AGENT.FIND").line(&format!("LTMC.AGENT.FIND registry {filter} LIMIT 1"), 3)
        };
        let by_sets = |keys: &str| Workload::new("script: SINTER, ZMSCORE").line(&format!("EVALSHA {sets} {keys}"), 2);
        let by_load =
            |keys: &str| Workload::new("script: ZRANGE, SMISMEMBER").line(&format!("EVALSHA {first_fit} {keys}"), 2);
        let few = "5 loads tag:gpu cap:review cap:python up";
        let half = "3 loads cap:python up";
        let questions = [
            (
                "2 capabilities and a tag that 1 % have, least loaded",
                vec![by_sets(few), by_load(few), find("CAPS 2 python review TAGS 1 gpu SORT LOAD")],
            ),
            (
                "a capability that half of them have, least loaded",
                vec![by_sets(half), by_load(half), find("CAPS 1 python SORT LOAD")],
            ),
            (
                "a capability that half of them have, at random",
                vec![
                    Workload::new("script: SRANDMEMBER 2, ZMSCORE")
                        .line(&format!("EVALSHA {two} 3 loads up cap:python"), 2),
                    find("CAPS 1 python SORT RANDOM"),
                ],
            ),
        ];
        for (question, candidates) in &questions {
            let mut client = server.client();
            candidates.iter().for_each(|candidate| check_replies_on(&mut client, candidate, "", &["*"]));
            ask(&format!("{question}; {agents} agents"), &server, candidates, options);
        }
        let best =
            [format!("EVALSHA {sets} {few}"), format!("EVALSHA {first_fit} {few}")].map(|line| server.run(&line));
        let found = server.run("LTMC.AGENT.FIND registry CAPS 2 python review TAGS 1 gpu LIMIT 1 SORT LOAD").texts();
        let load = |id: &str| server.run(&format!("ZSCORE loads {id}")).float();
        best.iter().for_each(|id| assert_eq!(load(id.text()), load(&found[0]), "all find somebody as little loaded"));
    }
}

/// Every second agent knows python, every fifth can review, and every hundredth, which can do both,
/// has a gpu.
fn fill_labelled(client: &mut Client, agents: usize) {
    fill(client, agents, |index| {
        let id = agent(index);
        // A fixed sequence without a pattern: the top bits of a multiplicative hash.
        let load = (((index as u32).wrapping_mul(2_654_435_769) >> 16) % 1000) as f64 / 1000.0;
        let caps: Vec<&str> = [("python", 2), ("review", 5), ("base", 1)]
            .iter()
            .filter(|(_, each)| index % each == 0)
            .map(|(cap, _)| *cap)
            .collect();
        let tags = if index % 100 == 0 { "TAGS 1 gpu" } else { "" };
        let mut lines = vec![
            format!("LTMC.REGISTER registry {id} CAPS {} {} {tags} {TTL}", caps.len(), caps.join(" ")),
            format!("LTMC.HEARTBEAT registry {id} LOAD {load}"),
            format!("ZADD loads {load} {id}"),
            format!("SADD up {id}"),
        ];
        lines.extend(caps.iter().map(|cap| format!("SADD cap:{cap} {id}")));
        lines.extend((!tags.is_empty()).then(|| format!("SADD tag:gpu {id}")));
        lines
    });
}

/// One connection shows how long each answer takes, many show how many come a second.
fn ask(title: &str, server: &Server, candidates: &[Workload], options: &Options) {
    let (rounds, time) = rounds_of(options);
    let mut loads = loads_of(server, candidates, 1);
    let waits = in_turns(rounds, candidates.len(), |at| loads[at].time_each(&candidates[at], time)).into_iter();
    let waits: Vec<Vec<f64>> = waits.map(|rounds| rounds.concat()).collect();
    let p50 = |at: usize| median(waits[at].iter().copied());
    let by_pipeline: Vec<Vec<Vec<Round>>> = PIPELINES
        .iter()
        .map(|pipeline| {
            in_turns(rounds, candidates.len(), |at| {
                // Fewer at a time of what is slow, or a round would not end. The server is busy all
                // the same.
                let at_a_time = ((time.as_secs_f64() * 1e6 / p50(at)) as usize).max(1);
                let pipeline = (*pipeline).min(at_a_time);
                let lanes = (at_a_time / pipeline).clamp(1, CLIENTS);
                loads[at].run_on(lanes, server, &candidates[at], pipeline, time)
            })
        })
        .collect();
    let row = |at: usize| {
        let mut cells = vec![candidates[at].name.to_string(), format!("{:.0}", p50(at))];
        cells.push(format!("{:.0}", percentile(waits[at].iter().copied(), 99.0)));
        for results in &by_pipeline {
            let ratios =
                results[at].iter().zip(&results[0]).map(|(one, yardstick)| one.ops_per_s / yardstick.ops_per_s);
            cells.push(format!("{:.0}", median(results[at].iter().map(|round| round.ops_per_s))));
            cells.push(format!("{:.2}", median(ratios)));
        }
        // Of the last, which has the most commands in flight.
        cells.push(format!("{:.2}", median(by_pipeline[1][at].iter().map(|round| round.server_us_per_op))));
        cells
    };
    table(
        title,
        &["", "p50 us", "p99 us", "per second", "ratio", "pipeline 16", "ratio", "server us each"],
        &(0..candidates.len()).map(row).collect::<Vec<_>>(),
    );
}

/// How many kinds of work there are. Each agent can do four of them.
const KINDS: usize = 20;
/// Claims that an agent takes at a time: enough for all clients of the bench with 100 agents.
const CAPACITY: usize = 64;

/// Each kind of work has the agents that can do it, by the number of their claims. KEYS: one of
/// these, ends of leases, counter, agents by claim, kinds by agent. ARGV: the lease, ms; the
/// capacity.
const CLAIM_SCRIPT: &str = "\
local time = redis.call('TIME') \
local now = time[1] * 1000 + math.floor(time[2] / 1000) \
local function add(id, n) \
  for kind in string.gmatch(redis.call('HGET', KEYS[5], id), '%S+') do redis.call('ZINCRBY', 'free:' .. kind, n, id) end \
end \
for _, token in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, 64)) do \
  add(redis.call('HGET', KEYS[4], token), -1) \
  redis.call('HDEL', KEYS[4], token) \
  redis.call('ZREM', KEYS[2], token) \
end \
local best = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES') \
if not best[1] or tonumber(best[2]) >= tonumber(ARGV[2]) then return false end \
local token = redis.call('INCR', KEYS[3]) \
redis.call('ZADD', KEYS[2], now + ARGV[1], token) \
redis.call('HSET', KEYS[4], token, best[1]) \
add(best[1], 1) \
return {best[1], token}";

/// KEYS: ends of leases, agents by claim, kinds by agent.
const RELEASE_SCRIPT: &str = "\
local id = redis.call('HGET', KEYS[2], ARGV[1]) \
if not id then return 0 end \
redis.call('HDEL', KEYS[2], ARGV[1]) \
redis.call('ZREM', KEYS[1], ARGV[1]) \
for kind in string.gmatch(redis.call('HGET', KEYS[3], id), '%S+') do redis.call('ZINCRBY', 'free:' .. kind, -1, id) end \
return 1";

/// Claiming the least loaded agent that can do something, and releasing it.
pub fn claims(options: &Options) {
    for agents in SIZES {
        let server = roomy().start();
        let mut client = server.client();
        fill(&mut client, agents, |index| {
            let (id, kinds) = (agent(index), kinds_of(index));
            let mut lines =
                vec![format!("LTMC.REGISTER registry {id} CAPACITY {CAPACITY} CAPS 4 {} {TTL}", kinds.join(" "))];
            lines.extend(kinds.iter().map(|kind| format!("ZADD free:{kind} 0 {id}")));
            lines
        });
        for index in 0..agents {
            client.cmd(&["HSET", "kinds", &agent(index), &kinds_of(index).join(" ")]);
        }
        let [claim, release] = [CLAIM_SCRIPT, RELEASE_SCRIPT].map(|text| script(&server, text));
        let any = |prefix: &str| (0..KINDS).map(|kind| format!("{prefix}{kind:02}")).collect::<Vec<_>>().join("|");
        let candidates = [
            Workload::new("script + script")
                .line(
                    &format!(
                        "EVALSHA {claim} 5 {{{}}} leases counter claims kinds 30000 {CAPACITY}",
                        any("free:kind-")
                    ),
                    4,
                )
                .line(&format!("EVALSHA {release} 3 leases claims kinds {{answer}}"), 1),
            Workload::new("LTMC.AGENT.CLAIM + RELEASE")
                .line(&format!("LTMC.AGENT.CLAIM registry PX 30000 CAPS 1 {{{}}}", any("kind-")), 4)
                .line("LTMC.AGENT.RELEASE registry {answer}", 1),
        ];
        candidates.iter().for_each(|candidate| check_replies_on(&mut client, candidate, "", &["*", "1"]));
        compare(&format!("claim and release, pairs a second, {agents} agents"), &server, &candidates, agents, options);
    }
}

/// Four different kinds for each agent, every kind equally often.
pub fn kinds_of(index: usize) -> [String; 4] {
    let kinds = [0, 1 + index / KINDS % 4, 6 + index / (4 * KINDS) % 4, 11 + index / (16 * KINDS) % 4];
    kinds.map(|offset| format!("kind-{:02}", (index + offset) % KINDS))
}
