//! Nobody starves, and a long queue is served in its order.

use super::naive::{Mode, Name, Want};
use super::ops::{Op, Shape};
use super::world::World;
use crate::driver::Timed;
use crate::prng::Prng;
use crate::server::Server;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::domain::lock::Lock;
use ltmc::domain::{Bytes, KeyId};

fn world(clients: u64) -> World {
    let shape = Shape {
        owners: 2,
        clients,
        keys: vec![key()],
        paths: vec![""],
        lease_ms: 0,
        shared_percent: 0,
        block_percent: 100,
        extras_percent: 0,
    };
    let mut world = World::with_shape(Prng::new(1), shape);
    world.loyal_clients = true;
    world
}

fn key() -> Name {
    (0, "k0".into())
}

fn lock(owner: u64, priority: u64) -> Op {
    let want = Want {
        owner: format!("o{owner}"),
        mode: Mode::Exclusive,
        path: String::new(),
        limit: 0,
        lease: None,
        reentrant: true,
        client: None,
    };
    Op::Lock { key: key(), want, block: Some(0), priority, request_id: None }
}

fn unlock(world: &mut World) {
    let hold = world.model.holds(&key())[0].clone();
    let op =
        Op::Unlock { key: key(), owner: hold.owner, token: Some(hold.fence), path: None, all: false, request_id: None };
    let client = world.free_client().expect("the one who was served is free");
    assert_eq!(world.run(client, &op), Ok(Outcome::Reply(Reply::Integer(1))));
}

#[test]
fn a_waiter_without_priority_is_served_though_higher_ones_keep_coming() {
    const PRIORITY: u64 = 5;
    let mut world = world(60);
    let mut owner = 0;
    let mut come = |world: &mut World, priority| {
        let client = world.free_client().expect("a free client");
        owner += 1;
        world.run(client, &lock(owner, priority)).expect("a lock or a wait");
        client
    };
    come(&mut world, 0);
    let patient = come(&mut world, 0);
    let start = world.now_us;
    // One unit of priority is worth a second. Five seconds after this client came, no new one can
    // overtake it.
    let bound_us = (PRIORITY + 1) * 1_000_000;
    while world.clients[&patient].is_some() {
        come(&mut world, PRIORITY);
        world.pass(100_000, true);
        unlock(&mut world);
        let waiting = world.model.waits.len() as u64;
        assert!(world.now_us - start <= bound_us + waiting * 100_000, "it starves");
    }
    assert!(world.now_us - start > 4_000_000, "priority counts for nothing");
}

#[test]
fn a_thousand_waiters_are_served_in_order_one_for_each_release() {
    // The naive model looks at every waiter each time, which takes too long for a thousand.
    let mut server = Server::new();
    for client in 1..=1_001 {
        let outcome = server.run(client, &format!("LTMC.LOCK k o{client} BLOCK 0 PX 1000"));
        assert_eq!(outcome == Outcome::Waits, client > 1);
    }
    for client in 1..=1_000 {
        server.run(client, &format!("LTMC.UNLOCK k o{client}"));
        let lock = server.host.peek::<Lock>(&KeyId::new(0, b"k")).expect("held");
        let holders: Vec<_> = lock.state.grants().iter().map(|grant| grant.owner.clone()).collect();
        assert_eq!(holders, [Bytes::from(format!("o{}", client + 1).as_str())]);
        assert_eq!(server.answers().len(), 1, "one waiter for each grant");
    }
}
