//! What a lock weighs.

use crate::harness::Server;
use crate::load::key;
use crate::report::table;
use crate::Options;

/// Bytes per lock against bytes per native key with the same name, owner and expiry.
pub fn per_lock(options: &Options) {
    let count = options.of(100_000, 10_000);
    let row = |name: &str, line: &dyn Fn(&str) -> String| {
        // A new server each: what one leaves in the allocator would show in the other.
        let server = Server::start();
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
