//! An agent that is not alive gets nothing. In basic mode nothing checks that.

use super::*;

#[test]
fn an_agent_that_is_not_alive_gets_nothing() {
    let server = full().start();
    prepare(&server, "ada");
    let before = server.debug_digest();
    for line in wants("ada") {
        let reply = server.run(&line);
        assert_eq!(reply.error_code(), "NOAGENT", "{line}: {reply:?}");
        assert!(reply.error().contains("'ada'"), "{reply:?}");
    }
    assert_eq!(server.debug_digest(), before);
    register_for(&server, "ada", 60_000);
    end(&server, "silence");
    let before = server.debug_digest();
    for line in wants("ada") {
        let reply = server.run(&line);
        assert!(reply.error_code() == "NOAGENT" && reply.error().contains("dead"), "{line}: {reply:?}");
    }
    assert_eq!(server.debug_digest(), before);
    server.run("LTMC.REGISTER r ada PX 600000000").int();
    for line in wants("ada") {
        assert!(!server.run(&line).is_error(), "{line}");
    }
}

#[test]
fn a_registry_has_to_be_one() {
    let server = full().start();
    prepare(&server, "ada");
    server.run("SET text x").ok();
    for line in wants("ada") {
        let reply = server.run(&line.replace("REGISTRY r", "REGISTRY text"));
        assert_eq!(reply.error_code(), "WRONGTYPE", "{line}");
        let reply = server.run(&line.replace("REGISTRY r", "REGISTRY"));
        assert!(reply.error().contains("REGISTRY is missing"), "{line}: {reply:?}");
        let reply = server.run(&format!("{line} REGISTRY r"));
        assert!(reply.error().contains("REGISTRY"), "{line}: {reply:?}");
        let mut words: Vec<&str> = line.split(' ').collect();
        words.pop();
        words.push("");
        let reply = server.cmd(&words);
        assert!(reply.error().contains("REGISTRY is 0 bytes long"), "{line}: {reply:?}");
    }
}

#[test]
fn a_registry_without_an_agent_is_refused() {
    let server = full().start();
    for (line, part) in [
        ("LTMC.AGENT.CLAIM r PX 1000 REGISTRY r", "REGISTRY goes with REF only"),
        ("LTMC.CHUNK.PUT b c data REGISTRY r", "REGISTRY goes with PIN only"),
        ("LTMC.CHUNK.ALLOC b SIZE 1 REGISTRY r", "REGISTRY goes with AGENT only"),
        ("LTMC.CTX.CREATE c REGISTRY r", "REGISTRY goes with OWNER only"),
    ] {
        let reply = server.run(line);
        assert!(reply.error().contains(part), "{line}: {reply:?}");
    }
    assert_eq!(server.run("DBSIZE").int(), 0);
}

#[test]
fn in_basic_mode_every_service_is_on_its_own() {
    let server = Server::start();
    prepare(&server, "ada");
    for line in wants("ada") {
        let reply = server.run(&line);
        // The capabilities of a worker are read from its registry, in every mode.
        assert_eq!(reply.is_error(), line.starts_with("LTMC.TASK"), "{line}: {reply:?}");
    }
    register(&server, "ada");
    assert_eq!(holds(&server, "ada"), [""; 0]);
    server.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(found(&server, "ada").len(), FOUND.len() - 1);
    assert_eq!(server.info_int("ltmc", "ltmc_reactions"), 0);
}

#[test]
fn the_mode_can_change_and_what_belongs_to_an_agent_stays_its_own() {
    let server = Server::start();
    register(&server, "ada");
    server.run("LTMC.LOCK early ada PX 600000 REGISTRY r").int();
    server.run("CONFIG SET ltmc.orchestration-mode full").ok();
    server.run("LTMC.LOCK bound ada PX 600000 REGISTRY r").int();
    assert_eq!(server.run("LTMC.LOCK x eve REGISTRY r").error_code(), "NOAGENT");
    server.run("CONFIG SET ltmc.orchestration-mode basic").ok();
    server.run("LTMC.LOCK late ada PX 600000 REGISTRY r").int();
    assert!(server.run("LTMC.LOCK y eve PX 600000 REGISTRY r").int() > 0);
    assert_eq!(holds(&server, "ada"), ["bound"]);
    server.run("LTMC.DEREGISTER r ada").int();
    let left = |key: &str| server.run(&format!("EXISTS {key}")).int();
    assert_eq!([left("early"), left("bound"), left("late")], [1, 0, 1]);
}

#[test]
fn debug_mode_reacts_as_full_mode_does() {
    let server = Server::builder().arg("ltmc.orchestration-mode", "debug").start();
    register(&server, "ada");
    hold_everything(&server, "ada");
    server.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(found(&server, "ada"), [""; 0]);
}

#[test]
fn what_belongs_to_an_agent_of_one_registry_is_not_taken_over_by_another() {
    let server = full().start();
    for registry in ["r", "q"] {
        server.run(&format!("LTMC.REGISTER {registry} ada PX {LONG_MS}")).int();
    }
    for task in ["one", "two"] {
        server.run(&format!("LTMC.TASK.ADD flow {task} payload RETRIES 10")).text();
    }
    for line in
        ["LTMC.LOCK lock ada PX 600000000 REGISTRY r", "LTMC.TASK.CLAIM flow ada CAPS 0 PX 600000000 REGISTRY r"]
    {
        assert!(!server.run(line).is_error(), "{line}");
        let refused = server.run(&line.replace("REGISTRY r", "REGISTRY q"));
        assert_eq!(refused.error_code(), "BADSTATE", "{line}: {refused:?}");
        assert!(["'ada'", "'r'", "'q'"].iter().all(|part| refused.error().contains(part)), "{refused:?}");
    }
    server.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(server.run("EXISTS lock").int(), 0);
    assert_eq!(server.run("LTMC.TASK.GET flow one").get("state").text(), "ready");
    // She holds nothing there any more.
    assert!(server.run("LTMC.LOCK lock ada PX 600000000 REGISTRY q").int() > 0);
    assert_eq!(server.run("LTMC.TASK.CLAIM flow ada CAPS 0 REGISTRY q").array().len(), 1);
}
