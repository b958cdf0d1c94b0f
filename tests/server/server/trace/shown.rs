//! What a trace tells: stages, arguments, outcome, events, and who was woken.

use super::*;

#[test]
fn all_stages_are_there_and_take_no_longer_than_all_together() {
    let server = start();
    let mut client = server.client();
    for protocol in [2, 3] {
        if protocol == 3 {
            client.resp3();
        }
        client.run("LTMC.LOCK k a META text PX 60000").int();
        let reply = client.run("LTMC.TRACE GET 1");
        let traced = &reply.array()[0];
        assert_eq!(matches!(traced, Reply::Map(_)), protocol == 3, "{traced:?}");
        assert_eq!(traced.get("command").text(), "LTMC.LOCK");
        assert_eq!(traced.get("args").texts(), ["k", "a", "META", "text", "PX", "60000"]);
        assert_eq!(traced.get("client").int(), client.id());
        assert_eq!(traced.get("db").int(), 0);
        assert!(traced.get("at_ms").int() > 1_700_000_000_000);
        let stages = traced.get("stages_us");
        assert_eq!(stages.pairs().iter().map(|(name, _)| name.text()).collect::<Vec<_>>(), STAGES);
        let sum: i64 = stages.pairs().iter().map(|(_, us)| us.int()).sum();
        let total = traced.get("total_us").int();
        assert!(stages.pairs().iter().all(|(_, us)| us.int() >= 0) && sum <= total, "{traced:?}");
    }
}

#[test]
fn a_large_command_takes_time_in_the_stage_that_does_the_work() {
    let server = start();
    let fields: String = (0..3_000).map(|at| format!(" f{at} v")).collect();
    server.run(&format!("LTMC.SESSION.SET s{fields}")).int();
    let traced = trace_of(&server, "LTMC.SESSION.SET");
    let (stages, total) = (traced.get("stages_us"), traced.get("total_us").int());
    assert!(stages.get("decide").int() + stages.get("apply").int() > total / 4, "{traced:?}");
    let sum: i64 = stages.pairs().iter().map(|(_, us)| us.int()).sum();
    assert!((total - 7..=total).contains(&sum), "only the fractions may be lost: {traced:?}");
}

#[test]
fn arguments_are_cut_as_in_the_slow_log() {
    let server = start();
    let long = [b"\xff\0".as_slice(), &[b'x'; 98]].concat();
    server.cmd(&[b"LTMC.LOCK".as_slice(), &long, b"me"]).int();
    let traced = trace_of(&server, "LTMC.LOCK");
    let cut = [&long[..64], b"... (36 more bytes)"].concat();
    assert_eq!(traced.get("args").array(), [Reply::Bulk(cut.clone()), Reply::Bulk(b"me".to_vec())]);
    assert_eq!(traced.get("events").array()[0].array()[0], Reply::Bulk(cut));
    let many: Vec<String> = (0..40).map(|at| at.to_string()).collect();
    server.run(&format!("LTMC.SESSION.DEL s {}", many.join(" "))).int();
    let args = trace_of(&server, "LTMC.SESSION.DEL").get("args").texts();
    assert_eq!((args.len(), &*args[14], &*args[15]), (16, "13", "... (26 more arguments)"));
}

#[test]
fn the_outcome_is_the_kind_of_the_reply_or_the_error() {
    let server = start();
    let outcome = |line: &str| {
        let reply = server.run(line);
        let command = line.split(' ').next().unwrap_or_default();
        (trace_of(&server, command).get("outcome").text().to_string(), reply)
    };
    let (shown, fence) = outcome("LTMC.LOCK k a");
    assert_eq!(shown, format!("integer {}", fence.int()));
    assert_eq!(outcome("LTMC.LOCK k b").0, "nil");
    assert_eq!(outcome("LTMC.FLOW.CREATE f").0, "ok");
    assert_eq!(outcome("LTMC.LOCK.INFO k").0, "map 6");
    assert_eq!(outcome("LTMC.AGENT.LIST none").0, "list 0");
    assert_eq!(outcome("LTMC.CHUNK.PUT b c 12345").0, "list 2");
    assert_eq!(outcome("LTMC.CHUNK.READ b c").0, "bytes 5");
    for line in ["LTMC.UNLOCK k b", "LTMC.LOCK k a PX never", "LTMC.UNLOCK k a TOKEN 16"] {
        let (shown, reply) = outcome(line);
        assert!(reply.error().starts_with(shown.trim_end_matches("...")), "{shown:?} of {reply:?}");
    }
    server.run("CONFIG SET ltmc.memory-locking-enabled no").ok();
    assert!(outcome("LTMC.LOCK k a").0.starts_with("DISABLED "));
}

#[test]
fn a_hand_off_shows_the_waiter() {
    let server = start();
    server.run("LTMC.LOCK k a").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK k b BLOCK 0");
    server.wait_blocked(1);
    let traced = trace_of(&server, "LTMC.LOCK");
    assert_eq!((traced.get("outcome").text(), traced.get("client").int()), ("waits", waiting.id()));
    assert!(events(&traced).is_empty());
    server.run("LTMC.UNLOCK k a").int();
    let fence = waiting.recv().int();
    let traced = trace_of(&server, "LTMC.UNLOCK");
    assert_eq!(events(&traced), ["k lock.released", "> k lock.granted"]);
    assert_eq!(woken(&traced), [(waiting.id(), "k".to_string())]);
    let granted = traced.get("events").array()[1].array()[1].text();
    assert!(granted.contains(&fence.to_string()) && granted.contains("\"b\""), "{granted}");
}

#[test]
fn of_those_who_are_woken_64_are_named_and_the_others_counted() {
    let server = start();
    server.run("LTMC.TASK.ADD f t payload").text();
    let mut clients = server.clients(70);
    clients.iter_mut().for_each(|client| client.send_line("LTMC.TASK.WAIT f t BLOCK 0"));
    server.wait_blocked(70);
    server.run("LTMC.TASK.CANCEL f t");
    clients.iter_mut().for_each(|client| drop(client.recv()));
    let traced = trace_of(&server, "LTMC.TASK.CANCEL");
    assert_eq!((woken(&traced).len(), traced.get("woken_beyond").int()), (64, 6));
    let ids: Vec<i64> = clients.iter().map(Client::id).collect();
    assert!(woken(&traced).iter().all(|(id, key)| ids.contains(id) && key == "f"));
}

#[test]
fn the_end_of_a_session_shows_what_followed() {
    let server = start();
    server.run("LTMC.SESSION.CREATE s PARTICIPANTS 1 ada").int();
    server.run("LTMC.SESSION.OWN s lock").int();
    server.run("LTMC.LOCK lock ada").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK lock bob BLOCK 0");
    server.wait_blocked(1);
    server.run("LTMC.SESSION.END s");
    assert!(waiting.recv().int() > 0);
    let traced = trace_of(&server, "LTMC.SESSION.END");
    let expected = ["s session.ended", "> lock lock.released", "> lock lock.granted", "s session.returned"];
    assert_eq!(events(&traced), expected);
    assert_eq!(woken(&traced), [(waiting.id(), "lock".to_string())]);
}

#[test]
fn the_death_of_an_agent_shows_what_followed() {
    let server = start();
    server.run("LTMC.REGISTER agents ada PX 60000").int();
    server.run("LTMC.TASK.ADD flow t payload").text();
    server.run("LTMC.TASK.CLAIM flow ada REGISTRY agents PX 3600000").array();
    server.run("LTMC.DEBUG CLOCK 61000").ok();
    assert_eq!(events(&wait_round(&server, "agent.suspected")), ["agents agent.suspected"]);
    server.run("LTMC.DEBUG CLOCK 600000").ok();
    let round = wait_round(&server, "agent.died");
    assert_eq!((round.get("args").texts(), round.get("client").int()), (vec!["agents".to_string()], 0));
    let shown = events(&round);
    assert!(shown.contains(&"agents agent.died".to_string()), "{shown:?}");
    let tasks: Vec<_> = shown.iter().filter(|event| event.contains(" task.")).collect();
    assert!(!tasks.is_empty() && tasks.iter().all(|event| event.starts_with("> flow ")), "{shown:?}");
}

#[test]
fn a_connection_that_ends_is_a_round_about_what_it_held() {
    let server = start();
    let mut holder = server.client();
    holder.run("LTMC.LOCK k a ONDISCONNECT RELEASE").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK k b BLOCK 0");
    server.wait_blocked(1);
    drop(holder);
    assert!(waiting.recv().int() > 0);
    let round = wait_round(&server, "lock.disconnected");
    assert_eq!(round.get("args").texts(), ["k"]);
    assert_eq!(events(&round), ["k lock.disconnected", "> k lock.granted"]);
    assert_eq!(woken(&round), [(waiting.id(), "k".to_string())]);
}

#[test]
fn the_log_has_a_line_of_each_at_level_verbose() {
    let server = Server::builder().arg("ltmc.orchestration-mode", "debug").arg("loglevel", "verbose").start();
    server.run("LTMC.LOCK {team}:k a").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK {team}:k b BLOCK 0");
    server.wait_blocked(1);
    server.run("LTMC.UNLOCK {team}:k a").int();
    waiting.recv().int();
    server.cmd(&["LTMC.UNLOCK", "a\r\nb%s%", "nobody"]).int();
    let last = trace_of(&server, "LTMC.UNLOCK").get("id").int();
    server.wait_log(&format!("trace {last}: LTMC.UNLOCK a\\x0d\\x0ab%s%: integer 0; "));
    let log = server.log();
    let line = |part: &str| {
        let found = log.lines().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no {part:?} in {log}")).to_string()
    };
    let hand_off = line("LTMC.UNLOCK {team}:k: ");
    assert!(hand_off.contains(": integer 1; ") && hand_off.contains(" us; events: 2; "), "{hand_off}");
    assert!(hand_off.ends_with(&format!("woken: {}", waiting.id())), "{hand_off}");
    assert!(line("LTMC.LOCK {team}:k: waits; ").ends_with(" us; events: 0; woken: nobody"), "{log}");
    server.run("CONFIG SET loglevel notice").ok();
    server.run("LTMC.LOCK quiet a").int();
    server.run("CONFIG SET loglevel verbose").ok();
    server.run("LTMC.LOCK loud a").int();
    server.wait_log("LTMC.LOCK loud: ");
    assert!(!server.log().contains("LTMC.LOCK quiet: "));
}
