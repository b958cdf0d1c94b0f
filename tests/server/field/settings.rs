//! Settings that do not exist.

use crate::harness::*;

/// What the log says of a server that did not start.
#[track_caller]
fn log_of(server: Builder) -> String {
    server.try_start().map(|_| ()).expect_err("the server starts with a setting that does not exist")
}

#[test]
fn a_misspelled_setting_is_named_with_the_nearest() {
    let log = log_of(Server::builder().arg("ltmc.lock-laese-ms", 500));
    assert!(log.contains("no setting is called ltmc.lock-laese-ms; the nearest is ltmc.lock-lease-ms"), "{log}");
}

#[test]
fn a_misspelled_setting_of_a_file_is_named() {
    let mut server = Server::start();
    let included = server.dir().join("more.conf");
    std::fs::write(&included, "ltmc.agent-tll-ms 500\n").expect("the folder can be written");
    server.append_config(&format!("include {}", included.display()));
    server.kill();
    let log = server.try_start_again().expect_err("the server starts with a setting that does not exist");
    assert!(log.contains("no setting is called ltmc.agent-tll-ms; the nearest is ltmc.agent-ttl-ms"), "{log}");
}

#[test]
fn a_load_without_problems_warns_of_nothing() {
    let server = Server::builder().arg("ltmc.lock-lease-ms", 500).start();
    let warnings = server.log().lines().filter(|line| line.contains(" # <ltmc>")).count();
    assert_eq!(warnings, 0, "{}", server.log());
}
