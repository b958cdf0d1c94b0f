//! The harness itself, on plain servers: what the other tests rely on.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use super::*;

fn plain() -> Builder {
    Server::builder().without_module()
}

/// The message that `action` panics with.
fn panic_of<R>(action: impl FnOnce() -> R) -> String {
    let payload = match catch_unwind(AssertUnwindSafe(action)) {
        Ok(_) => panic!("it should have panicked"),
        Err(payload) => payload,
    };
    payload
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| payload.downcast_ref::<&str>().unwrap_or(&"").to_string())
}

#[test]
fn a_server_leaves_nothing_behind() {
    let server = plain().start();
    server.run("SET k v").ok();
    let (dir, port) = (server.dir().to_path_buf(), server.port());
    assert!(dir.is_dir());
    drop(server);
    assert!(!dir.exists());
    assert!(Client::try_connect(port).is_err());
}

#[test]
fn servers_do_not_share_anything() {
    let (a, b) = (plain().start(), plain().start());
    assert_ne!(a.port(), b.port());
    a.run("SET k v").ok();
    assert!(b.run("GET k").is_nil());
}

#[test]
fn every_installed_server_starts() {
    for binary in servers() {
        let server = plain().binary(&binary).start();
        assert!(server.version() >= (7, 0, 0), "{}", binary.display());
        assert_eq!(server.is_valkey(), binary.ends_with("valkey-server"), "{}", binary.display());
    }
}

#[test]
fn a_refused_start_returns_the_log() {
    let log = plain().arg("no-such-setting", 1).try_start().err().expect("it must not start");
    assert!(log.contains("no-such-setting"), "{log}");
    let log = plain().binary("/no/such/program").try_start().err().expect("it must not start");
    assert!(log.contains("/no/such/program"), "{log}");
}

#[test]
fn a_server_that_died_fails_the_test() {
    let mut server = plain().start();
    server.client().send(&["SHUTDOWN", "NOSAVE"]);
    server.wait_ended();
    let message = panic_of(|| drop(server));
    assert!(message.contains("the server died"), "{message}");
}

#[test]
fn arguments_and_replies_are_binary_safe() {
    let server = plain().start();
    let mut client = server.client();
    let value = b"\r\n$3\r\n\0\xff";
    client.cmd(&[b"SET".as_slice(), b"k\0", value]).ok();
    assert_eq!(client.cmd(&[b"GET".as_slice(), b"k\0"]).bytes(), value);
    let large = vec![b'x'; 3_000_000];
    client.cmd(&[b"SET".as_slice(), b"large", &large]).ok();
    assert_eq!(client.run("GET large").bytes(), large);
}

#[test]
fn maps_read_the_same_in_both_protocols() {
    let server = plain().start();
    let mut client = server.client();
    client.run("HSET h a 1 b 2");
    assert_eq!(client.run("HGETALL h").get("b").text(), "2");
    client.resp3();
    let map = client.run("HGETALL h");
    assert!(matches!(map, Reply::Map(_)), "{map:?}");
    assert_eq!(map.get("b").text(), "2");
    assert!(map.find("c").is_none());
    assert!(client.run("GET nothing").is_nil());
    client.run("ZADD z 1.5 m");
    assert_eq!(client.run("ZSCORE z m"), Reply::Double(1.5));
}

#[test]
fn errors_are_replies_with_their_code() {
    let server = plain().start();
    let mut client = server.client();
    client.run("SET k v").ok();
    assert_eq!(client.run("LPUSH k v").error_code(), "WRONGTYPE");
    assert!(client.try_cmd(&["INCR", "k"]).unwrap_err().starts_with("ERR value is not an integer"));
    assert_eq!(panic_of(|| server.run("GET k").int()), "expected an integer, got \"v\"");
}

#[test]
fn one_thread_drives_many_blocked_clients() {
    let server = plain().start();
    let mut waiting = server.clients(50);
    server.block_in_turn(&mut waiting, |_| "BLPOP queue 0".into());
    assert_eq!(waiting[0].recv_within(1), None);
    for number in 0..50 {
        server.run(&format!("RPUSH queue {number}"));
    }
    for (number, client) in waiting.iter_mut().enumerate() {
        assert_eq!(client.recv().texts(), ["queue".to_string(), number.to_string()]);
    }
}

#[test]
fn a_pipeline_keeps_its_order() {
    let server = plain().start();
    let replies = server.client().pipeline(&["SET n 1", "INCR n", "LPUSH n x", "GET n"]);
    assert_eq!(
        format!("{replies:?}"),
        r#"[+OK, 2, -WRONGTYPE Operation against a key holding the wrong kind of value, "2"]"#
    );
}

#[test]
fn pushes_do_not_get_mixed_up_with_replies() {
    let server = plain().start();
    let mut client = server.client();
    client.resp3();
    client.run("CLIENT TRACKING on BCAST").ok();
    client.run("SET k v").ok();
    assert_eq!(client.run("GET k").text(), "v");
    let push = client.push_within(5_000).expect("an invalidation");
    assert_eq!(push.array()[0].text(), "invalidate");
}

#[test]
fn both_sides_notice_a_lost_connection() {
    let server = plain().start();
    let mut killed = server.client();
    killed.send_line("BLPOP queue 0");
    server.wait_blocked(1);
    server.run(&format!("CLIENT KILL ID {}", killed.id()));
    killed.wait_closed();
    assert!(!killed.is_open());

    let mut reset = server.client();
    reset.arm_reset();
    reset.send_line("BLPOP queue 0");
    server.wait_blocked(1);
    reset.close();
    server.wait_blocked(0);
}

#[test]
fn the_control_connection_comes_back() {
    let server = plain().start();
    server.run("PING");
    server.client().run("CLIENT KILL TYPE normal SKIPME yes");
    wait_until("it is answered again", || server.run("PING") == Reply::Simple("PONG".into()));
}

#[test]
fn a_server_with_a_password_starts() {
    let server = plain().arg("user", "default on >secret ~* +@all").start();
    let mut client = server.client();
    assert_eq!(client.run("GET k").error_code(), "NOAUTH");
    client.auth("default", "secret");
    assert!(client.run("GET k").is_nil());
    assert!(client.id() > 0);
}

#[test]
fn a_restart_keeps_port_and_data() {
    let mut server = plain().start();
    server.run("SET k v").ok();
    let port = server.port();
    server.restart();
    assert_eq!(server.port(), port);
    assert_eq!(server.run("GET k").text(), "v");
    server.append_config("maxmemory 77mb");
    server.restart();
    assert_eq!(server.run("CONFIG GET maxmemory").get("maxmemory").text(), (77 << 20).to_string());
}

#[test]
fn a_crash_leaves_what_the_aof_has() {
    let mut server = plain().durable().start();
    server.run("SET k v").ok();
    server.crash_and_restart();
    assert_eq!(server.run("GET k").text(), "v");
}

#[test]
fn a_replica_follows_and_can_be_promoted() {
    let primary = plain().start();
    primary.run("SET before 1").ok();
    let replica = primary.replica();
    primary.run("SET after 2").ok();
    replica.wait_synced(&primary);
    assert_same("replica", &primary.dataset(), &replica.dataset());
    assert_eq!(replica.run("SET k v").error_code(), "READONLY");
    replica.promote();
    replica.run("SET k v").ok();
}

#[test]
fn the_replication_stream_shows_effects() {
    let server = plain().start();
    server.run("SADD s only").into_result().unwrap();
    let stream = replication_stream(&server, || {
        server.run("GET k");
        server.run("SPOP s");
        server.client().pipeline(&["MULTI", "SET a 1", "SET b 2", "EXEC"]);
        server.run("SELECT 3").ok();
        server.cmd(&[b"SET".as_slice(), b"k", b"\0 \xff"]).ok();
    });
    let shown = show_stream(&stream);
    // Emptying the set by SPOP is a deletion on some servers.
    assert!(["SREM s only", "DEL s", "UNLINK s"].contains(&shown[0].as_str()), "{shown:?}");
    assert_eq!(shown[1..], ["MULTI", "SET a 1", "SET b 2", "EXEC", "SET k \\x00 \\xff"]);
}

#[test]
fn a_tap_gives_each_command_once() {
    let server = plain().start();
    let mut tap = ReplicationTap::attach(&server);
    assert_eq!(show_stream(&tap.take(&server)), Vec::<String>::new());
    server.run("SET a 1").ok();
    assert_eq!(show_stream(&tap.take(&server)), ["SET a 1"]);
    server.run("SET b 2").ok();
    assert_eq!(show_stream(&tap.take(&server)), ["SET b 2"]);
}

#[test]
fn native_data_is_persisted_everywhere() {
    let primary = plain().durable().start();
    let replica = primary.replica();
    let mut client = primary.client();
    client.run("SET text v PX 10000000").ok();
    client.run("HSET hash a 1 b 2");
    client.run("SELECT 5").ok();
    client.cmd(&[b"RPUSH".as_slice(), b"list\0", b"\xff"]);
    assert_persisted_everywhere(&primary, &[&replica]);
    assert_eq!(primary.dataset().len(), 3);
}

#[test]
fn a_difference_is_named_with_its_leg_and_key() {
    let (a, b) = (plain().start(), plain().start());
    a.run("SET same 1").ok();
    b.run("SET same 1").ok();
    assert_same("twins", &a.dataset(), &b.dataset());
    a.run("SET other 1").ok();
    b.run("SET other 2").ok();
    let message = panic_of(|| assert_same("twins", &a.dataset(), &b.dataset()));
    assert!(message.contains("twins") && message.contains("key other") && !message.contains("key same"), "{message}");
    b.run("SET other 1").ok();
    b.run("PEXPIRE other 1000000");
    a.run("PEXPIRE other 2000000");
    let message = panic_of(|| assert_same("twins", &a.dataset(), &b.dataset()));
    assert!(message.contains("key other"), "only the time of expiry differs: {message}");
}

#[test]
fn persistence_is_not_claimed_without_an_aof() {
    let server = plain().start();
    server.run("SET k v").ok();
    let message = panic_of(|| assert_persisted_everywhere(&server, &[]));
    assert!(message.contains("durable()"), "{message}");
}

#[test]
fn a_slot_moves_with_its_keys() {
    let cluster = Cluster::start_with(3, plain());
    let slot = cluster.slot("{team}:a");
    let from = cluster.owner(slot);
    let to = (from + 1) % 3;
    cluster.client_of("{team}:a").run("SET {team}:a 1").ok();
    cluster.begin_migration(slot, from, to);
    assert_eq!(cluster.nodes[from].run("GET {team}:b").error_code(), "ASK");
    cluster.move_keys(slot, from, to);
    cluster.finish_migration(slot, to);
    assert_eq!(cluster.node_of("{team}:a").run("GET {team}:a").text(), "1");
    assert_eq!(cluster.nodes[from].run("GET {team}:a").error_code(), "MOVED");

    let replica = cluster.add_replica(to);
    replica.take_over();
    assert_eq!(replica.run("GET {team}:a").text(), "1");
}

#[test]
fn a_condition_that_never_holds_is_given_up() {
    assert!(!holds_within(Duration::from_millis(1), || false));
    assert!(holds_within(Duration::ZERO, || true));
}

#[test]
fn a_real_client_works() {
    let server = plain().start();
    let mut connection = server.redis();
    let () = redis::cmd("SET").arg("k").arg("v").query(&mut connection).unwrap();
    let value: String = redis::cmd("GET").arg("k").query(&mut connection).unwrap();
    assert_eq!(value, "v");
}

/// A client of something that sends `answers` whatever it is sent, once a byte has come in.
fn client_of(answers: &'static str) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client comes");
        stream.read_exact(&mut [0]).expect("a command comes");
        stream.write_all(answers.as_bytes()).expect("the client listens");
        // What the client still sends is read, until it closes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    Client::try_connect(port).expect("it listens")
}

#[test]
fn a_reply_of_another_shape_than_the_spec_says_is_a_panic() {
    let wrong = panic_of(|| client_of("$1\r\n1\r\n").run("LTMC.LOCK key me"));
    assert!(wrong.contains("LTMC.LOCK key me") && wrong.contains("\"1\"") && wrong.contains("fence"), "{wrong}");
    assert!(client_of("$-1\r\n").run("LTMC.LOCK key me").is_nil());
    assert!(client_of("-ERR no\r\n").run("LTMC.LOCK key me").is_error());
    // A fence is no small number, a count no negative one, and a flag 0 or 1.
    for (line, answer) in [
        ("LTMC.LOCK key me", ":7\r\n"),
        ("LTMC.SESSION.DEL key field", ":-1\r\n"),
        ("LTMC.UNLOCK key me", ":2\r\n"),
        ("LTMC.UNLOCK key me", "$-1\r\n"),
        ("LTMC.CHUNK.BUFFER key", "$2\r\nOK\r\n"),
        ("LTMC.SESSION.STATUS key", "$4\r\ngone\r\n"),
        ("LTMC.CTX.DIFF key 1", "$1\r\n{\r\n"),
        ("LTMC.CHUNK.PUT key id data", "*1\r\n$2\r\nid\r\n"),
        ("LTMC.WATCH 1 key SINCE 0", "*1\r\n*2\r\n:1\r\n$9\r\nCOMPACTED\r\n"),
        ("ltmc.guard key 1 ltmc.unlock key me", "+OK\r\n"),
    ] {
        let wrong = panic_of(|| client_of(answer).run(line));
        assert!(wrong.contains("has not the shape"), "{line}: {wrong}");
    }
}

#[test]
fn the_fields_of_a_map_are_checked_in_both_protocols() {
    const ENDS: [&str; 4] = ["succeeded", "dead", "cancelled", "skipped"];
    let pair = |name: &str, value: Reply| (Reply::Bulk(name.into()), value);
    let counts = ENDS.map(|name| pair(name, Reply::Int(1)));
    let whole: Vec<_> = [pair("state", Reply::Bulk(b"failed".to_vec()))].into_iter().chain(counts).collect();
    let flat = |pairs: &[(Reply, Reply)]| {
        Reply::Array(pairs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect())
    };
    let wait = ["LTMC.TASK.WAIT", "flow"];
    let fits = |reply: &Reply, is_resp3: bool| check_reply(&wait, reply, is_resp3).is_ok();
    assert!(fits(&flat(&whole), false) && fits(&Reply::Map(whole.clone()), true));
    assert!(!fits(&flat(&whole), true) && !fits(&Reply::Map(whole.clone()), false));
    let mut lacking = whole.clone();
    lacking.pop();
    let mut twice = whole.clone();
    twice.push(pair("dead", Reply::Int(1)));
    let mut unknown = whole.clone();
    unknown.push(pair("other", Reply::Int(1)));
    let mut nil = whole.clone();
    nil[1].1 = Reply::Nil;
    for wrong in [lacking, twice, unknown, nil] {
        assert!(!fits(&Reply::Map(wrong.clone()), true) && !fits(&flat(&wrong), false), "{wrong:?}");
    }
}

#[test]
fn replies_of_transactions_and_pipelines_are_checked() {
    let mut client = client_of("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$1\r\nx\r\n:5\r\n");
    let lines = ["MULTI", "GET x", "LTMC.UNLOCK key me", "EXEC"];
    let wrong = panic_of(|| client.pipeline(&lines));
    assert!(wrong.contains("LTMC.UNLOCK") && wrong.contains("has not the shape"), "{wrong}");
    let mut client = client_of("+OK\r\n+QUEUED\r\n*1\r\n:1\r\n:0\r\n:3\r\n");
    client.pipeline(&["MULTI", "LTMC.UNLOCK key me", "EXEC", "LTMC.UNLOCK key me"]);
    assert!(panic_of(|| client.run("LTMC.UNLOCK key me")).contains("has not the shape"));
    // The replies to raw bytes of a test are not followed.
    let mut client = client_of(":3\r\n");
    client.send_raw(b"LTMC.UNLOCK key me\r\n");
    assert_eq!(client.recv().int(), 3);
}
