//! What a newer version has written is not broken: it is not loaded, and not lost by that.

use super::*;

#[track_caller]
fn assert_stops(mut server: Server, path: PathBuf) {
    let mut bytes = std::fs::read(&path).expect("the file is there");
    forge(&mut bytes, |frame| {
        frame[2] = 2;
        true
    });
    std::fs::write(&path, bytes).expect("the file can be written");
    let log = server.try_start_again().expect_err("it does not start");
    assert!(log.contains("has format 2, which a newer version of LTMC has written"), "{log}");
}

#[test]
fn a_newer_format_in_an_rdb_file_stops_the_start_with_a_clear_line() {
    let mut server = plain().start();
    tell(&server);
    server.stop();
    let path = server.dir().join("dump.rdb");
    assert_stops(server, path);
}

#[test]
fn a_newer_format_in_an_aof_stops_the_start_with_a_clear_line() {
    let mut server = plain().durable().start();
    tell(&server);
    server.kill();
    let folder = std::fs::read_dir(server.dir().join("appendonlydir")).expect("a folder");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let last = paths.into_iter().find(|path| path.to_string_lossy().contains(".incr.")).expect("a file of commands");
    assert_stops(server, last);
}
