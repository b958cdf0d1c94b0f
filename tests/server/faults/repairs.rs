//! What can be mended of a broken value, and what can be seen of it.

use super::*;

#[test]
fn a_repair_cuts_off_what_of_the_past_is_broken_and_says_so() {
    let primary = broken();
    let replica = primary.replica();
    assert_broken_copy(&replica, "k");
    let repaired = primary.run("LTMC.REPAIR k");
    assert_eq!((repaired.get("type").text(), repaired.get("was_broken").int()), ("ltmc-ctxt", 1));
    assert_eq!(repaired.get("given_up").text(), "the versions before 2, and 1 checkpoints");
    let shown = primary.run("LTMC.CTX.GET k");
    assert_eq!((shown.get("version").int(), shown.get("doc").text()), (2, "{\"n\":{}}"));
    assert_eq!(primary.run("LTMC.CTX.CHECKPOINTS k").array().len(), 0);
    assert_eq!(primary.run("LTMC.CTX.UPDATE k a SET /x 1").int(), 3);
    assert_eq!(quarantined(&primary), (0, 0));
    replica.wait_synced(&primary);
    assert_eq!((quarantined(&replica), digest(&replica, "k")), ((0, 0), digest(&primary, "k")));
    assert!(primary.run("LTMC.REPAIR k").get("given_up").is_nil());
    primary.debug_reload();
}

#[test]
fn what_is_left_of_a_broken_value_is_explained_with_what_is_wrong() {
    let server = broken();
    let saved = dump(&server, "k");
    let explain = |frame: &[u8]| server.cmd(&[b"LTMC.EXPLAIN".as_slice(), frame]).text().to_string();
    let mut frame = saved[frames(&saved)[0].clone()].to_vec();
    let shown: serde_json::Value = serde_json::from_str(&explain(&frame)).expect("JSON");
    assert_eq!(shown["broken"], "a version cannot be got back to");
    assert!(shown["value"]["state"]["history"].to_string().contains("0n/k"), "{shown}");
    break_half(&mut frame);
    reseal(&mut frame);
    let shown: serde_json::Value = serde_json::from_str(&explain(&frame)).expect("JSON");
    assert!(shown["broken"].as_str().is_some_and(|text| text.contains("corrupt")), "{shown}");
    assert_eq!((shown["type"].as_str(), &shown["value"]), (Some("ltmc-ctxt"), &serde_json::Value::Null));
}

#[test]
fn what_a_server_had_made_of_a_damaged_value_is_mended() {
    // A touched path that no command takes: the file of a server has that if it was rolled back to
    // the damaged version.
    let mut server = plain().start();
    tell(&server);
    server.stop();
    forge_file(server.dir().join("dump.rdb"), |frame| {
        let at = frame.windows(5).position(|bytes| bytes == b"\x04/n/k").expect("it was touched");
        frame[at + 1] = b'0';
        true
    });
    server.start_again();
    let refused = server.run("LTMC.CTX.GET k");
    assert!(refused.error().contains("the touches are out of bounds"), "{refused:?}");
    assert_eq!(server.run("LTMC.REPAIR k").get("given_up").text(), "who touched 1 places");
    assert!(server.run("LTMC.CTX.ROLLBACK k 1").int() > 0);
    assert_eq!(server.run("LTMC.CTX.GET k").get("doc").text(), "{\"n\":{\"k\":1}}");
}

/// Spoils the text of an event in the watch log.
fn break_event(frame: &mut [u8]) -> bool {
    let at = frame.windows(12).position(|bytes| bytes == b"{\"revision\":");
    at.inspect(|at| frame[*at + 1] = 1).is_some()
}

#[test]
fn a_watch_log_with_a_text_that_is_no_event_reaches_no_watcher() {
    let mut server = plain().start();
    server.run("LTMC.REGISTER k ada PX 600000").int();
    let mut forged = dump(&server, "k");
    assert_eq!(forge(&mut forged, break_event), 1);
    reseal_dump(&mut forged);
    assert!(server.cmd(&[b"RESTORE".as_slice(), b"z", b"0", &forged]).is_error());
    server.stop();
    forge_file(server.dir().join("dump.rdb"), break_event);
    server.start_again();
    let refused = server.run("LTMC.WATCH 1 k SINCE 0");
    assert!(refused.error().contains("the watch log holds what is no event"), "{refused:?}");
    assert_eq!(server.run("LTMC.REPAIR k").get("given_up").text(), "the events of the watch log");
    let missed = server.run("LTMC.WATCH 1 k SINCE 0");
    assert_eq!(missed.array()[0].array()[1].text(), "COMPACTED", "{missed:?}");
    assert_eq!(server.run("LTMC.AGENT.GET k ada").get("id").text(), "ada");
    server.debug_reload();
}
