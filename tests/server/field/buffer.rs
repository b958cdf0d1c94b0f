//! Chunk buffers: holds of one agent, contents that are made to collide.

use crate::harness::*;
use std::time::{Duration, Instant};

/// Until when `agent` pins chunk `c`, as `LTMC.CHUNK.INFO` shows it.
#[track_caller]
fn pinned_until(server: &Server, agent: &str) -> Option<i64> {
    let pins = server.run("LTMC.CHUNK.INFO b c").get("pins").array().to_vec();
    pins.iter().find(|pin| pin.get("agent").text() == agent).map(|pin| pin.get("until_at_ms").int())
}

#[test]
fn a_second_pin_never_shortens_the_first() {
    let server = Server::start();
    let replica = server.replica();
    server.run("LTMC.CHUNK.PUT b c data").array();
    let long = server.run("LTMC.CHUNK.PIN b c ada PX 600000").int();
    let bobs = server.run("LTMC.CHUNK.PIN b c bob PX 1000").int();
    assert!(bobs < long, "each agent has its own");
    let revision = |server: &Server| server.run("LTMC.CHUNK.STATS b").get("revision").int();
    let before = revision(&server);
    assert_eq!(server.run("LTMC.CHUNK.PIN b c ada PX 1000").int(), long, "the longer end stands, and is the reply");
    assert_eq!(revision(&server), before, "nothing has happened");
    server.run("LTMC.CHUNK.PUT b c other PIN ada 1000").array();
    assert_eq!(pinned_until(&server, "ada"), Some(long));
    let longer = server.run("LTMC.CHUNK.PIN b c ada EX 3600").int();
    assert!(longer > long);
    server.run("LTMC.CHUNK.PUT b c other PIN bob 7200000").array();
    assert!(pinned_until(&server, "bob") > Some(longer));
    replica.wait_synced(&server);
    assert_eq!(pinned_until(&replica, "ada"), Some(longer));
    server.run("DEBUG RELOAD").ok();
    assert_eq!(pinned_until(&server, "ada"), Some(longer));
}

#[test]
fn one_unpin_and_one_release_end_what_an_agent_asked_for_twice() {
    let server = Server::start();
    server.run("LTMC.CHUNK.PUT b c data PIN ada 600000").array();
    for line in ["LTMC.CHUNK.PIN b c ada PX 1000", "LTMC.CHUNK.PIN b c ada PX 900000"] {
        server.run(line).int();
    }
    assert_eq!(["RETAIN", "RETAIN"].map(|word| server.run(&format!("LTMC.CHUNK.{word} b c ada")).int()), [1, 0]);
    assert_eq!(["UNPIN", "UNPIN"].map(|word| server.run(&format!("LTMC.CHUNK.{word} b c ada")).int()), [1, 0]);
    assert_eq!(server.run("LTMC.CHUNK.FREE b c").error_code(), "BADSTATE", "it is still retained");
    assert_eq!(["RELEASE", "RELEASE"].map(|word| server.run(&format!("LTMC.CHUNK.{word} b c ada")).int()), [1, 0]);
    assert_eq!(server.run("LTMC.CHUNK.FREE b c").int(), 1);
}

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;

/// Content `n` of those that all have one XXH64: what the first stripe of a lane does to its sum,
/// the second one takes back.
fn colliding(n: u64) -> Vec<u8> {
    // Newton's iteration doubles the right digits of the inverse each time.
    let inverse = (0..6).fold(P2, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(P2.wrapping_mul(inverse))));
    let sum = P1.wrapping_add(P2).wrapping_add(n.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1);
    let mut bytes = vec![0; 64];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes[32..40].copy_from_slice(&0u64.wrapping_sub(sum).wrapping_mul(inverse).to_le_bytes());
    bytes
}

/// Puts `count` chunks into a buffer, and returns how long that took.
fn put_all(client: &mut Client, key: &str, count: u64, content: impl Fn(u64) -> Vec<u8>) -> Duration {
    let began = Instant::now();
    for from in (0..count).step_by(500) {
        for n in from..count.min(from + 500) {
            let id = format!("c{n}");
            client.send(&[b"LTMC.CHUNK.PUT".as_slice(), key.as_bytes(), id.as_bytes(), &content(n)]);
        }
        (from..count.min(from + 500)).for_each(|_| assert_eq!(client.recv().array().len(), 2));
    }
    began.elapsed()
}

#[test]
fn contents_that_are_made_to_collide_cost_no_more_than_others() {
    const COUNT: u64 = 20_000;
    let server = Server::start();
    let replica = server.replica();
    let mut client = server.client();
    let other = |n: u64| [&n.to_le_bytes()[..], &[7; 56]].concat();
    let plain = put_all(&mut client, "plain", COUNT, other);
    let forged = put_all(&mut client, "forged", COUNT, colliding);
    assert!(forged < plain * 5, "{forged:?}, others take {plain:?}");
    let hash = |id: &str| server.run(&format!("LTMC.CHUNK.INFO forged {id}")).get("hash").text().to_string();
    let forged_hash = hash("c0");
    assert!(["c1", "c77", "c19999"].iter().all(|id| hash(id) == forged_hash), "they do collide");
    // Overwriting, holding, freeing and looking for them cost no more either.
    let plain = put_all(&mut client, "plain", COUNT, |n| other(n + 1));
    let forged = put_all(&mut client, "forged", COUNT, |n| colliding(n + 1));
    assert!(forged < plain * 5, "{forged:?}, others take {plain:?} to overwrite");
    assert!(!server.run(&format!("LTMC.CHUNK.HAVE forged 1 {forged_hash}")).array()[0].is_nil());
    assert_eq!(server.run("LTMC.CHUNK.READ forged c77").bytes(), colliding(78));
    // Equal ones are shared while few contents have the hash, and counted right.
    for n in 0..4 {
        let content = colliding(n % 2);
        server.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), b"few", n.to_string().as_bytes(), &content]).array();
    }
    let stats = server.run("LTMC.CHUNK.STATS few");
    assert_eq!(["logical_bytes", "physical_bytes"].map(|name| stats.get(name).int()), [256, 128]);
    replica.wait_synced(&server);
    let before = server.dataset();
    assert_same("the replica shares the same", &before, &replica.dataset());
    server.run("DEBUG RELOAD").ok();
    assert_same("so does a reload", &before, &server.dataset());
    for n in 0..4 {
        server.run(&format!("LTMC.CHUNK.FREE few {n}")).int();
        let stats = server.run("LTMC.CHUNK.STATS few");
        let left = if stats.is_nil() { 0 } else { stats.get("physical_bytes").int() };
        assert_eq!(left, [128, 128, 64, 0][n], "after {n}");
    }
}
