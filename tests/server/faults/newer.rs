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
    let path = commands_file(&server);
    assert_stops(server, path);
}

#[test]
fn a_newer_format_within_what_was_found_in_place_of_a_value_stops_the_start_as_well() {
    let mut server = plain().durable().start();
    tell(&server);
    let saved = dump(&server, "k");
    let mut newer = saved[frames(&saved)[0].clone()].to_vec();
    let head = [b"LT\x01\x05".as_slice(), &newer[4..5], &(newer.len() as u32).to_le_bytes()].concat();
    newer[2] = 2;
    reseal(&mut newer);
    let mut found = [&head, &newer, [0; 4].as_slice()].concat();
    reseal(&mut found);
    let explained = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &found]);
    assert!(explained.error().contains("a newer version of LTMC has written"), "{explained:?}");
    server.kill();
    append(&server, &[vec![b"LTMC.APPLY".as_slice(), b"z", &found]]);
    let log = server.try_start_again().expect_err("it does not start");
    assert!(log.contains("holds a frame of a format, which a newer version of LTMC has written"), "{log}");
}
