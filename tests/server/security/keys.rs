//! Keys that are found in arguments are checked like all others: each key of each command, with a
//! user who may touch all keys of the command but this one.

use super::*;

/// What is there, so that a command could change something. Keys are named after the argument.
const THERE: &[&str] = &[
    "LTMC.REGISTER P:registry x CAPS 1 x TAGS 1 x CAPACITY 9",
    "LTMC.REGISTER P:key1 x",
    "LTMC.CTX.CREATE P:src",
    "LTMC.CTX.CREATE P:src1",
    "LTMC.FLOW.CREATE P:flow",
    "LTMC.TASK.ADD P:flow a x",
    "LTMC.MSG.SEND P:mail x TO 1 y x",
    "LTMC.CHUNK.PUT P:buffer x x",
    "LTMC.CACHE.PUT P:cache x 1 x",
];

fn is_key(arg: &Value) -> bool {
    arg["type"] == "key"
}

/// The command with this key outside, and all others inside.
fn with_outer(described: &Value, outer: &Value, outside: &str) -> Vec<String> {
    let value = |arg: &Value, which: usize| {
        let is_it = ptr::eq(arg, outer) && (which == 1 || arg["multiple"] != true);
        let name = arg["name"].as_str().unwrap_or_default();
        let which = if which == 0 { String::new() } else { which.to_string() };
        is_key(arg).then(|| format!("{}:{name}{which}", if is_it { outside } else { "in" }))
    };
    Writer { with: &[outer], value: &value }.command(described)
}

#[test]
fn each_key_of_a_command_needs_its_own_right_and_nothing_changes_without() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.orchestration-mode full").ok();
    let make = |place: &str| THERE.iter().for_each(|line| drop(server.run(&line.replace("P:", &format!("{place}:")))));
    let mut inside = server.user("inside", "~in:* +@all");
    let (mut searched, mut changing) = (0, 0);
    for described in commands() {
        for key in arguments(described, &is_key) {
            server.run("FLUSHALL").ok();
            make("in");
            make("out");
            let before = server.debug_digest();
            let words = with_outer(described, key, "out");
            let reply = inside.cmd(&words);
            assert!(is_refused(&reply), "{words:?}: {reply:?}");
            assert_eq!(server.debug_digest(), before, "{words:?}");
            let words = with_outer(described, key, "in");
            let reply = inside.cmd(&words);
            assert!(!is_refused(&reply), "{words:?}: {reply:?}");
            searched += usize::from(key["key"] != 0 || key["multiple"] == true);
            changing += usize::from(server.debug_digest() != before);
        }
    }
    assert!(
        searched >= 20 && changing >= 30,
        "{searched} keys behind the first, {changing} commands that do something"
    );
}

#[test]
fn a_right_to_read_is_no_right_to_write_for_keys_in_arguments() {
    let server = Server::start();
    let mut reader = server.user("reader", "~in:* %R~out:* +@all");
    for described in commands() {
        let key_specs = described["keys"].as_array().expect("keys");
        for key in arguments(described, &is_key) {
            let access = &key_specs[key["key"].as_u64().expect("a key spec") as usize]["access"];
            let words = with_outer(described, key, "out");
            let reply = reader.cmd(&words);
            assert_eq!(is_refused(&reply), access != "read", "{words:?}: {reply:?}");
        }
    }
}

/// Those of an inner command are keys of `LTMC.GUARD`, too.
#[test]
fn the_keys_of_a_guarded_command_need_their_own_rights() {
    let server = Server::start();
    let mut inside = server.user("inside", "~in:* +@all");
    for described in commands().filter(|described| name(described) != "LTMC.GUARD") {
        for key in arguments(described, &is_key) {
            let fence = server.run("LTMC.LOCK in:guard x PX 600000").int().to_string();
            let before = server.debug_digest();
            let guard = ["LTMC.GUARD", "in:guard", &fence].map(String::from);
            let words = [&guard, &with_outer(described, key, "out")[..]].concat();
            let reply = inside.cmd(&words);
            assert!(is_refused(&reply), "{words:?}: {reply:?}");
            assert_eq!(server.debug_digest(), before, "{words:?}");
        }
    }
}
