//! What happens to a buffer, in a few commands each, with time as an argument.

use super::world::World;
use crate::driver::{Schedule, Timed};
use ltmc::command::reply::Reply;
use ltmc::domain::Code;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn ids(reply: Reply) -> Vec<String> {
    let Reply::Array(items) = reply else { panic!("no list: {reply:?}") };
    let text = |item: Reply| match item {
        Reply::Bytes(bytes) => String::from_utf8(bytes).expect("a text"),
        other => panic!("no id: {other:?}"),
    };
    items.into_iter().map(text).collect()
}

fn put(world: &mut World, id: &str, bytes: usize) {
    let data = id.bytes().cycle().take(bytes).collect();
    let words = [b"LTMC.CHUNK.PUT".to_vec(), b"b".to_vec(), id.into(), data];
    world.run(&words).unwrap_or_else(|error| panic!("{id}: {error}"));
}

/// The reads of the listed chunks.
fn popular(world: &mut World, window: &str) -> Vec<(String, i64)> {
    let Reply::Array(pairs) = world.ok(&format!("LTMC.CHUNK.POPULAR b WINDOW {window} LIMIT 100")) else { panic!() };
    let pair = |pair: &Reply| match pair {
        Reply::Array(parts) => match &parts[..] {
            [Reply::Bytes(id), Reply::Integer(reads)] => (String::from_utf8_lossy(id).into_owned(), *reads),
            other => panic!("no pair: {other:?}"),
        },
        other => panic!("no pair: {other:?}"),
    };
    pairs.iter().map(pair).collect()
}

#[test]
fn a_day_of_reads_slides_through_the_windows() {
    let mut world = World::new(1);
    world.ok("LTMC.CHUNK.BUFFER b");
    (0..24).for_each(|hour| put(&mut world, &format!("h{hour:02}"), 100));
    for hour in 0..24 {
        // Each chunk has its hour, and one is read all day.
        (0..=hour).for_each(|_| drop(world.ok(&format!("LTMC.CHUNK.READ b h{hour:02}"))));
        world.ok("LTMC.CHUNK.READ b h00");
        world.pass(HOUR * 1000, hour % 2 == 0);
    }
    let names = |list: Vec<(String, i64)>| list.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(popular(&mut world, "1H"), [], "the last reads are an hour ago");
    assert_eq!(names(popular(&mut world, "4H")), ["h23", "h22", "h21", "h00"], "not all of four hours ago is left");
    let day = popular(&mut world, "24H");
    assert_eq!(day.len(), 23, "the first hour has left the window: {day:?}");
    assert_eq!(day.iter().find(|(id, _)| id == "h00").map(|(_, reads)| *reads), Some(22));
    world.pass(25 * HOUR * 1000, true);
    assert_eq!(popular(&mut world, "24H"), []);
    assert_eq!(world.number("LTMC.CHUNK.INFO b h00", "reads_24h"), 0);
}

#[test]
fn the_oldest_goes_first_from_a_ring_whatever_is_read() {
    let mut world = World::new(2);
    world.ok("LTMC.CHUNK.BUFFER b MAXBYTES 20000 MINBYTES 20000 RING");
    for n in 0..100 {
        put(&mut world, &format!("r{n}"), 1000);
        world.ok("LTMC.CHUNK.READ b r0");
    }
    let left = ids(world.ok("LTMC.CHUNK.LIST b"));
    let from = 100 - left.len();
    assert_eq!(left, (from..100).map(|n| format!("r{n}")).collect::<Vec<_>>());
    assert!((10..20).contains(&left.len()), "{}", left.len());
}

#[test]
fn what_ends_first_goes_first_and_what_does_not_end_goes_last() {
    let mut world = World::new(3);
    world.ok("LTMC.CHUNK.BUFFER b MAXBYTES 8000 MINBYTES 8000 POLICY TTL");
    for (id, ttl) in [("late", 9000), ("soon", 1000), ("middle", 5000)] {
        put(&mut world, id, 1000);
        world.ok(&format!("LTMC.CHUNK.SEAL b {id} PX {ttl}"));
    }
    put(&mut world, "ever", 1000);
    let mut order = Vec::new();
    for n in 0..20 {
        put(&mut world, &format!("x{n}"), 1000);
        world.ok(&format!("LTMC.CHUNK.RETAIN b x{n} ada"));
        let left = ids(world.ok("LTMC.CHUNK.LIST b"));
        order.extend(["soon", "middle", "late", "ever"].iter().filter(|id| !left.iter().any(|known| known == *id)));
        order.dedup();
        if order.last() == Some(&"ever") {
            break;
        }
    }
    let mut seen = Vec::new();
    order.into_iter().for_each(|id| {
        if !seen.contains(&id) {
            seen.push(id)
        }
    });
    assert_eq!(seen, ["soon", "middle", "late", "ever"]);
}

#[test]
fn what_is_read_stays_and_what_is_not_goes() {
    for policy in ["LRU", "GDSF"] {
        let mut world = World::new(4);
        world.ok(&format!("LTMC.CHUNK.BUFFER b MAXBYTES 100000 MINBYTES 100000 POLICY {policy}"));
        (0..40).for_each(|n| put(&mut world, &format!("hot{n}"), 1000));
        for round in 0..60 {
            (0..40).for_each(|n| drop(world.ok(&format!("LTMC.CHUNK.READ b hot{n}"))));
            (0..10).for_each(|n| put(&mut world, &format!("cold{round}-{n}"), 1000));
        }
        let left = ids(world.ok("LTMC.CHUNK.LIST b"));
        let hot = left.iter().filter(|id| id.starts_with("hot")).count();
        assert!(hot >= 38, "{policy}: {hot} of 40 are left");
    }
}

#[test]
fn a_buffer_grows_with_use_shrinks_without_it_and_first_when_memory_is_short() {
    let mut world = World::new(5);
    world.ok("LTMC.CHUNK.BUFFER b MAXBYTES 400000 MINBYTES 40000");
    let size = |world: &mut World| world.number("LTMC.CHUNK.STATS b", "size_bytes");
    assert_eq!(size(&mut world), 40_000);
    (0..100).for_each(|n| put(&mut world, &format!("c{n}"), 1000));
    let grown = size(&mut world);
    assert!(grown > 120_000, "all that was put is in use: {grown}");
    assert_eq!(ids(world.ok("LTMC.CHUNK.LIST b")).len(), 100);
    // Within the hour it stays as it is. After that it shrinks by a quarter at a time.
    world.pass(50 * MINUTE * 1000, true);
    assert_eq!(size(&mut world), grown);
    let mut sizes = vec![grown];
    for _ in 0..30 {
        world.pass(5 * MINUTE * 1000, true);
        sizes.push(size(&mut world));
    }
    sizes.dedup();
    assert!(sizes.len() > 3 && sizes.is_sorted_by(|one, next| next >= &(one / 4 * 3 - 1) && next < one), "{sizes:?}");
    assert!(*sizes.last().expect("some") < 60_000, "{sizes:?}");
    // New use makes it grow again, unless memory is short.
    world.host.memory_permille = Some(870);
    let before = size(&mut world);
    (0..100).for_each(|n| put(&mut world, &format!("d{n}"), 1000));
    assert_eq!(size(&mut world), before, "no growth near the server's limit");
    world.host.memory_permille = Some(500);
    (0..100).for_each(|n| put(&mut world, &format!("e{n}"), 1000));
    assert!(size(&mut world) > 2 * before);
    world.host.memory_permille = Some(910);
    world.pass(20_000 * 1000, true);
    assert_eq!(size(&mut world), 40_000, "it gives way within seconds");
    assert!(world.number("LTMC.CHUNK.STATS b", "used_bytes") <= 40_000);
}

#[test]
fn nothing_that_is_held_goes_and_a_full_buffer_says_so() {
    let mut world = World::new(6);
    world.ok("LTMC.CHUNK.BUFFER b MAXBYTES 20000 MINBYTES 20000");
    for n in 0..12 {
        put(&mut world, &format!("c{n}"), 1000);
        world.ok(&format!("LTMC.CHUNK.PIN b c{n} ada PX {}", 1000 * (n + 1)));
    }
    let words = [b"LTMC.CHUNK.PUT".to_vec(), b"b".to_vec(), b"more".to_vec(), vec![b'm'; 5000]];
    let error = world.run(&words).expect_err("there is no room");
    assert_eq!(error.code, Code::Limit);
    let held = world.number("LTMC.CHUNK.STATS b", "held_bytes");
    assert!(error.text.contains(&format!("{held} of them")) && error.text.contains("20000"), "{error}");
    assert_eq!(ids(world.ok("LTMC.CHUNK.LIST b")).len(), 12, "nothing went in vain");
    world.pass(6000 * 1000, true);
    world.run(&words).expect("six of them may go");
    let left = ids(world.ok("LTMC.CHUNK.LIST b"));
    assert!((6..12).all(|n| left.contains(&format!("c{n}"))), "{left:?}");
}

#[test]
fn making_much_room_takes_several_rounds_and_is_said() {
    let mut world = World::new(7);
    world.ok("LTMC.CHUNK.BUFFER b MAXBYTES 8000000 MINBYTES 8000000 POLICY LRU");
    (0..10_000).for_each(|n| put(&mut world, &format!("{n:05}"), 1));
    world.ok("LTMC.CHUNK.RESIZE b MAXBYTES 100000");
    let words = [b"LTMC.CHUNK.PUT".to_vec(), b"b".to_vec(), b"more".to_vec(), b"m".to_vec()];
    let error = world.run(&words).expect_err("room is being made");
    assert!(error.code == Code::Limit && error.text.contains("try again"), "{error}");
    assert!(world.number("LTMC.CHUNK.STATS b", "chunks") > 5_000, "it was not all done at once");
    world.pass(0, true);
    world.run(&words).expect("there is room");
    assert!(world.number("LTMC.CHUNK.STATS b", "used_bytes") <= 100_000);
}
