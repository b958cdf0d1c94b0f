//! The memory of a lock and of an agent.

use crate::load::{key, roomy};
use crate::registry::{agent, fill, kinds_of};
use crate::report::table;
use crate::Options;

/// Bytes per lock against bytes per native key with the same name, owner and expiry.
pub fn per_lock(options: &Options) {
    let count = options.of(100_000, 10_000);
    let row = |name: &str, line: &dyn Fn(&str) -> String| {
        // A new server each: what one leaves in the allocator would show in the other.
        let server = roomy().start();
        let mut client = server.client();
        let used = || server.info_int("memory", "used_memory");
        client.run("PING");
        let before = used();
        for chunk in (0..count).collect::<Vec<_>>().chunks(1000) {
            let lines: Vec<String> = chunk.iter().map(|at| line(&key(*at))).collect();
            client.pipeline(&lines);
        }
        assert_eq!(client.run("DBSIZE").int(), count as i64, "{name}: every key is there");
        let each = (used() - before) as f64 / count as f64;
        let usage = client.run(&format!("MEMORY USAGE {}", key(0))).int();
        vec![name.to_string(), usage.to_string(), format!("{each:.0}")]
    };
    table(
        &format!("bytes per lock, {count} of them"),
        &["", "MEMORY USAGE", "used_memory"],
        &[
            row("SET key agent-1 NX PX", &|key| format!("SET {key} agent-1 NX PX 3000000")),
            row("LTMC.LOCK key agent-1", &|key| format!("LTMC.LOCK {key} agent-1 PX 3000000")),
            row("LTMC.LOCK key agent-1 PATH src/db", &|key| format!("LTMC.LOCK {key} agent-1 PATH src/db PX 3000000")),
        ],
    );
}

/// JSON of about 200 bytes: values that many share, and one that is unique.
fn meta(index: usize) -> String {
    let (host, region) = (index % 50, ["eu-central-1", "us-east-1", "ap-south-1"][index % 3]);
    let start = format!(
        r#"{{"model":"large-{}","vendor":"acme","region":"{region}","host":"worker-{host:02}.internal.example","run":{index}"#,
        index % 5
    );
    let fill = "x".repeat(META_BYTES.saturating_sub(start.len() + r#","note":""}"#.len()));
    format!(r#"{start},"note":"{fill}"}}"#)
}

const META_BYTES: usize = 200;

/// What is stored of an agent by hand: a hash, a place in the orders by heartbeat and load, and one
/// in each set that it is looked up by.
fn by_hand(index: usize, is_rich: bool) -> Vec<String> {
    let id = agent(index);
    let fields = "status active epoch 1767225600000000 capacity 1 ttl 30000 registered 1767225600000";
    let mut lines = vec![
        format!("HSET {id} {fields}"),
        format!("ZADD beats {} {id}", 1_767_225_600_000 + index),
        format!("ZADD loads 0 {id}"),
        format!("SADD up {id}"),
    ];
    if is_rich {
        let (kinds, tags) = (kinds_of(index), tags_of(index));
        lines.push(format!("HSET {id} caps {} tags {} meta {}", kinds.join(","), tags.join(","), meta(index)));
        lines.extend(kinds.iter().map(|kind| format!("SADD cap:{kind} {id}")));
        lines.extend(tags.iter().map(|tag| format!("SADD tag:{tag} {id}")));
    }
    lines
}

fn registered(index: usize, is_rich: bool) -> Vec<String> {
    let mut line = format!("LTMC.REGISTER registry {} PX 3600000", agent(index));
    if is_rich {
        let (kinds, tags) = (kinds_of(index).join(" "), tags_of(index).join(" "));
        line += &format!(" CAPS 4 {kinds} TAGS 2 {tags} META {}", meta(index));
    }
    vec![line]
}

fn tags_of(index: usize) -> [String; 2] {
    [format!("team-{:02}", index % 10), format!("zone-{:02}", index % 7)]
}

/// Bytes per registered agent against the same as a hash, sets and sorted sets.
pub fn per_agent(options: &Options) {
    let counts = [1_000, options.of(100_000, 20_000)];
    let row = |name: &str, is_rich: bool, lines: fn(usize, bool) -> Vec<String>| {
        let mut cells = vec![name.to_string()];
        for count in counts {
            // The server's own statistics take as much as some dozen agents.
            let server = roomy().arg("latency-tracking", "no").start();
            let used = || server.info_int("memory", "used_memory");
            // Brings the buffers of connections to the size that they keep.
            fill(&mut server.client(), count, |_| vec!["PING".to_string()]);
            used();
            let before = used();
            fill(&mut server.client(), count, |index| lines(index, is_rich));
            let each = (used() - before) as f64 / count as f64;
            let mut client = server.client();
            let questions: Vec<String> =
                client.run("KEYS *").texts().iter().map(|key| format!("MEMORY USAGE {key} SAMPLES 0")).collect();
            let usage: i64 =
                questions.chunks(500).flat_map(|chunk| client.pipeline(chunk)).map(|reply| reply.int()).sum();
            cells.push(format!("{each:.0}"));
            cells.push(format!("{:.0}", usage as f64 / count as f64));
        }
        cells
    };
    let titles = counts.map(|count| format!("used_memory at {count}"));
    table(
        &format!("bytes per agent; rich: 4 of 20 capabilities, 2 tags, {META_BYTES} bytes of META with 6 values"),
        &["", &titles[0], "MEMORY USAGE", &titles[1], "MEMORY USAGE"],
        &[
            row("hash, sets, sorted sets, plain", false, by_hand),
            row("LTMC.REGISTER, plain", false, registered),
            row("hash, sets, sorted sets, rich", true, by_hand),
            row("LTMC.REGISTER, rich", true, registered),
        ],
    );
}
