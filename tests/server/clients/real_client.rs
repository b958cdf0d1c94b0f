//! Through the `redis` crate, as an application would.

use crate::harness::*;
use crate::waiting::*;
use redis::{cmd, Connection, RedisResult, Value};
use std::thread;

fn lock(connection: &mut Connection, key: &str, owner: &str, options: &[&str]) -> RedisResult<Option<i64>> {
    cmd("LTMC.LOCK").arg(key).arg(owner).arg(options).query(connection)
}

fn release(connection: &mut Connection, key: &str, owner: &str) -> RedisResult<bool> {
    cmd("LTMC.UNLOCK").arg(key).arg(owner).query(connection)
}

#[test]
fn a_lock_is_taken_and_given_back() {
    let server = Server::start();
    let mut a = server.redis();
    let mut b = server.redis();
    let fence = lock(&mut a, "k", "a", &["PX", "600000"]).unwrap();
    assert!(fence.is_some());
    assert_eq!(lock(&mut b, "k", "b", &[]).unwrap(), None);
    assert!(release(&mut a, "k", "a").unwrap());
    assert!(!release(&mut a, "k", "a").unwrap());
    assert!(lock(&mut b, "k", "b", &[]).unwrap() > fence);
}

#[test]
fn errors_have_their_code() {
    let server = Server::start();
    let mut a = server.redis();
    lock(&mut a, "k", "a", &[]).unwrap();
    let error = release(&mut a, "k", "b").unwrap_err();
    assert_eq!(error.code(), Some("NOTOWNER"));
    let renew = cmd("LTMC.LOCK.RENEW").arg(&["k", "a", "TOKEN", "1", "PX", "1000"]).query::<i64>(&mut a);
    assert_eq!(renew.unwrap_err().code(), Some("STALE"));
    let () = cmd("SET").arg("text").arg("v").query(&mut a).unwrap();
    assert_eq!(lock(&mut a, "text", "a", &[]).unwrap_err().code(), Some("WRONGTYPE"));

    lock(&mut a, "other", "b", &[]).unwrap();
    let mut waiting_a = server.redis();
    let waiter = thread::spawn(move || lock(&mut waiting_a, "other", "a", &["BLOCK", "0"]));
    server.wait_blocked(1);
    let error = lock(&mut a, "k", "b", &["BLOCK", "0"]).unwrap_err();
    assert_eq!(error.code(), Some("DEADLOCK"));
    assert!(error.to_string().contains("b -> k -> a -> other -> b"), "{error}");
    assert!(release(&mut a, "other", "b").unwrap());
    assert!(waiter.join().expect("the thread does not panic").unwrap().is_some());
}

#[test]
fn threads_take_turns() {
    const THREADS: usize = 6;
    const TURNS: usize = 30;
    let server = Server::start();
    let work = |name: usize| {
        let mut connection = server.redis();
        let owner = format!("t{name}");
        let mut fences = Vec::new();
        for _ in 0..TURNS {
            let fence = lock(&mut connection, "{t}:lock", &owner, &["BLOCK", "0"]).unwrap().unwrap();
            // Not atomic on purpose: the lock has to make it so.
            let before: Option<i64> = cmd("GET").arg("{t}:n").query(&mut connection).unwrap();
            let () = cmd("LTMC.GUARD")
                .arg("{t}:lock")
                .arg(fence)
                .arg("SET")
                .arg("{t}:n")
                .arg(before.unwrap_or(0) + 1)
                .query(&mut connection)
                .unwrap();
            assert!(release(&mut connection, "{t}:lock", &owner).unwrap());
            fences.push(fence);
        }
        fences
    };
    let mut fences: Vec<i64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|name| scope.spawn(move || work(name))).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.flat_map(|fences| fences.expect("no thread panics")).collect()
    });
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), THREADS * TURNS);
    assert_eq!(server.run("GET {t}:n").text(), (THREADS * TURNS).to_string(), "no update was lost");
    assert_idle(&server);
}

#[test]
fn a_wait_ends_by_its_limit_or_by_the_release() {
    let server = Server::start();
    let mut a = server.redis();
    let mut b = server.redis();
    lock(&mut a, "k", "a", &["PX", "600000"]).unwrap();
    assert_eq!(lock(&mut b, "k", "b", &["BLOCK", "30"]).unwrap(), None);
    let waiter = thread::spawn(move || {
        let fences: Vec<i64> = cmd("LTMC.MLOCK").arg(&["b", "2", "j", "k", "BLOCK", "0"]).query(&mut b).unwrap();
        fences
    });
    server.wait_blocked(1);
    assert!(release(&mut a, "k", "a").unwrap());
    assert_eq!(waiter.join().expect("the thread does not panic").len(), 2);
}

#[test]
fn a_dropped_connection_gives_up_its_wait_and_its_locks() {
    let server = Server::start();
    let mut a = server.redis();
    lock(&mut a, "k", "a", &["PX", "600000", "ONDISCONNECT", "RELEASE"]).unwrap();
    let mut b = server.redis();
    let waiter = thread::spawn(move || lock(&mut b, "k", "b", &["BLOCK", "0"]));
    server.wait_blocked(1);
    drop(a);
    assert!(waiter.join().expect("the thread does not panic").unwrap().is_some());
    assert_idle(&server);
}

#[test]
fn pipelines_and_transactions_work() {
    let server = Server::start();
    let mut a = server.redis();
    let (fence, again, levels): (i64, i64, Vec<i64>) = redis::pipe()
        .cmd("LTMC.LOCK")
        .arg(&["k", "a"])
        .cmd("LTMC.LOCK")
        .arg(&["k", "a"])
        .cmd("LTMC.MLOCK")
        .arg(&["a", "2", "x", "y"])
        .query(&mut a)
        .unwrap();
    assert_eq!(fence, again);
    assert_eq!(levels.len(), 2);
    let (held, one, two): (i64, bool, bool) = redis::pipe()
        .atomic()
        .cmd("LTMC.LOCK.CHECK")
        .arg("k")
        .arg(fence)
        .cmd("LTMC.UNLOCK")
        .arg(&["k", "a"])
        .cmd("LTMC.UNLOCK")
        .arg(&["k", "a"])
        .query(&mut a)
        .unwrap();
    assert_eq!((held, one, two), (1, true, true));
    let () = cmd("SET").arg("n").arg(0).query(&mut a).unwrap();
    let fence = lock(&mut a, "k", "a", &[]).unwrap().unwrap();
    let script =
        "if redis.call('LTMC.LOCK.CHECK', KEYS[1], ARGV[1]) == 1 then return redis.call('INCR', KEYS[2]) end return -1";
    let count: i64 = cmd("EVAL").arg(script).arg(&["2", "k", "n"]).arg(fence).query(&mut a).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn resp3_gives_maps_and_nulls() {
    let server = Server::start();
    let mut a = server.redis_at(&format!("{}?protocol=resp3", server.url()));
    let fence = lock(&mut a, "k", "a", &["PX", "600000", "META", "text"]).unwrap().unwrap();
    assert_eq!(lock(&mut a, "k", "b", &["BLOCK", "10"]).unwrap(), None);
    let info: Value = cmd("LTMC.LOCK.INFO").arg("k").query(&mut a).unwrap();
    let Value::Map(fields) = info else {
        panic!("expected a map, got {info:?}");
    };
    let holders =
        fields.into_iter().find(|(name, _)| *name == Value::BulkString(b"holders".to_vec())).map(|(_, value)| value);
    let Some(Value::Array(holders)) = holders else {
        panic!("no holders: {holders:?}");
    };
    let holder: std::collections::HashMap<String, Value> = redis::from_redis_value(holders[0].clone()).unwrap();
    assert_eq!(holder["fence"], Value::Int(fence));
    assert_eq!(holder["client"], Value::Nil);
    let none: Value = cmd("LTMC.LOCK.INFO").arg("free").query(&mut a).unwrap();
    assert_eq!(none, Value::Nil);
}
