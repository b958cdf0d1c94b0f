//! The same scenes in a bounded form: each command looks at no more in one go than its row in the
//! command table says, and neither does a round of the scheduler. Counted in looks, not in time.

use super::stage::{Done, Stage};
use super::Scene;
use crate::harness::*;
use std::collections::BTreeSet;

/// Settings that make a scene short. A declared bound shrinks with its setting.
const SETTINGS: &[(&str, usize)] = &[
    ("agent-capacity-max", 30),
    ("agent-holdings-max", 100),
    ("audit-ring-max", 2_000),
    ("buffer-chunks-max", 3_000),
    ("cache-entries-max", 500),
    ("cache-tickets-max", 500),
    ("capability-versions-max", 20),
    ("check-elements-max", 1_000),
    ("checkpoints-max", 500),
    ("claim-waiters-max", 50),
    ("flow-caps-max", 200),
    ("flow-tasks-max", 3_000),
    ("lock-holders-max", 300),
    ("lock-waiters-max", 300),
    ("mail-agents-max", 300),
    ("mail-dead-max", 200),
    ("mail-inbox-max", 1_000),
    ("registry-agents-max", 260),
    ("sweep-batch-max", 32),
];

/// Commands that look at a whole value, for operators and replication.
const UNBOUNDED: &[&str] = &["APPLY", "EXPLAIN", "REPAIR"];

/// Plays scenes, each on a server of its own. All commands whose names begin so have to be among
/// the dear ones.
fn keep_their_bounds(scenes: &[&[Scene]], prefixes: &[&str]) {
    let mut all = Done::default();
    for (name, play) in scenes.iter().copied().flatten() {
        eprintln!("{name}");
        let server = Server::builder().arg("enable-debug-command", "yes").start();
        for (setting, value) in SETTINGS {
            server.run(&format!("CONFIG SET ltmc.{setting} {value}")).ok();
        }
        let mut stage = Stage::bounded(&server);
        play(&mut stage);
        let done = stage.done.unwrap_or_default();
        all.beyond.extend(done.beyond.into_iter().map(|beyond| format!("{name}: {beyond}")));
        all.dear.extend(done.dear);
    }
    assert!(all.beyond.is_empty(), "{:#?}", all.beyond);
    let unseen: Vec<String> =
        commands().into_iter().filter(|name| has_prefix(name, prefixes) && !all.dear.contains(name)).collect();
    assert!(unseen.is_empty(), "no scene has a dear input for {unseen:?}");
}

/// The commands, without those of test builds.
fn commands() -> BTreeSet<String> {
    let names = Server::start().run("COMMAND LIST FILTERBY MODULE ltmc").texts().into_iter();
    names.map(|name| name.to_uppercase()).filter(|name| name != "LTMC.DEBUG").collect()
}

fn has_prefix(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.strip_prefix("LTMC.").is_some_and(|name| name.starts_with(prefix)))
}

/// A test for each service: they run side by side.
macro_rules! bounded {
    ($($name:ident: $scenes:expr, $prefixes:expr;)*) => {
        $(
            #[test]
            fn $name() {
                keep_their_bounds(&$scenes, &$prefixes);
            }
        )*

        #[test]
        fn every_command_has_its_scene() {
            let tested = [$(&$prefixes[..]),*].concat();
            let is_untested = |name: &String| !has_prefix(name, &tested) && !has_prefix(name, UNBOUNDED);
            let untested: Vec<String> = commands().into_iter().filter(is_untested).collect();
            assert!(untested.is_empty(), "{untested:?}");
        }
    };
}

bounded! {
    locks_keep_their_bounds: [super::lock::SCENES, super::rest::LOCK], ["LOCK", "UNLOCK", "MLOCK", "GUARD"];
    registries_keep_their_bounds: [super::registry::SCENES, super::rest::REGISTRY], ["REGISTER", "DEREGISTER", "HEARTBEAT", "AGENT."];
    contexts_keep_their_bounds: [super::context::SCENES, super::rest::CONTEXT], ["CTX."];
    sessions_keep_their_bounds: [super::session::SCENES, super::rest::SESSION], ["SESSION."];
    caches_keep_their_bounds: [super::cache::SCENES, super::rest::CACHE], ["CACHE."];
    buffers_keep_their_bounds: [super::buffer::SCENES, super::rest::BUFFER], ["CHUNK."];
    mail_keeps_its_bounds: [super::mail::SCENES, super::rest::MAIL], ["MSG."];
    flows_keep_their_bounds: [super::flow::SCENES, super::rest::FLOW], ["FLOW.", "TASK."];
    waits_keep_their_bounds: [super::waits::SCENES], ["WATCH"];
    the_module_keeps_its_bounds: [super::rest::SERVER], ["STATUS", "HEALTH", "CLUSTER", "TRACE", "AUDIT"];
}

/// How many pings are answered on another connection until `client` has its reply.
fn pongs_until_the_reply(server: &Server, client: &mut Client) -> usize {
    let (mut other, mut pongs) = (server.client(), 0);
    loop {
        // It takes no time if the reply is there.
        if client.recv_within(1).is_some() {
            return pongs;
        }
        assert_eq!(other.run("PING"), Reply::Simple("PONG".into()));
        pongs += 1;
    }
}

#[test]
fn others_are_answered_while_threads_and_rounds_go_on() {
    let server = Server::start();
    server.run("LTMC.SESSION.SET s one 1 two 2");
    server.run("LTMC.DEBUG OFFLOAD 0 300").ok();
    for line in ["LTMC.SESSION.GET s", r#"LTMC.SESSION.CREATE new STATE {"a":1}"#] {
        let mut client = server.client();
        client.send_line(line);
        assert!(pongs_until_the_reply(&server, &mut client) > 1, "{line}: a thread works on it");
    }
    server.run("LTMC.DEBUG OFFLOAD 1000000 0").ok();
    server.run("CONFIG SET ltmc.sweep-batch-max 1").ok();
    let stage = Stage::new(&server);
    stage.fill((0..1_000).map(|n| format!("LTMC.TASK.ADD f t{n} x")));
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| "LTMC.TASK.WAIT f BLOCK 0".into());
    server.run("LTMC.FLOW.CANCEL f");
    assert!(pongs_until_the_reply(&server, &mut client) > 1, "the flow is cancelled in rounds");
}
