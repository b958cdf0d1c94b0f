//! Texts with a form: what no command takes is not taken from a payload or a dump either.

use super::payloads::{payload_from, reseal};
use super::*;

/// A command, the key that it writes, a text in what it leaves, and one of the same length without
/// that form.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("LTMC.CTX.CREATE k META {\"m\":1}", "k", "{\"m\":1}", "{\"m\":1;"),
    ("LTMC.CTX.CREATE k DOC {\"m\":1}", "k", "{\"m\":1}", "{\"m\":1;"),
    ("LTMC.CTX.CREATE k META \"text\"", "k", "\"text\"", "\"te\u{1}t\""),
    ("LTMC.SESSION.CREATE k META {\"m\":1}", "k", "{\"m\":1}", "{\"m\":1;"),
    ("LTMC.SESSION.CREATE k META {\"m\":12}", "k", "{\"m\":12}", "{\"m\":0x}"),
    ("LTMC.REGISTER k a META {\"m\":1}", "k", "{\"m\":1}", "{\"m\":1;"),
    ("LTMC.CHUNK.PUT k c data META {\"m\":1}", "k", "{\"m\":1}", "{\"m\":1;"),
    ("LTMC.CHUNK.ALLOC k SIZE 1 META {\"m\":1}", "k", "{\"m\":1}", "{\"m\":1;"),
    ("LTMC.CACHE.PUT k tool {\"m\":1} answer", "k", "{\"m\":1}", "{\"m\":1;"),
    ("LTMC.CACHE.PUT k tool {\"m\":1} answer", "k", "{\"m\":1}", "{\"m\" :}"),
    ("LTMC.CACHE.GET k tool {\"m\":12}", "k", "{\"m\":12}", "{\"m\": 1}"),
];

/// Puts `bad` in the place of `good`. Returns whether it was there.
fn replace(frame: &mut [u8], good: &str, bad: &str) -> bool {
    assert_eq!(good.len(), bad.len());
    let place = frame.windows(good.len()).position(|bytes| bytes == good.as_bytes());
    place.into_iter().for_each(|at| frame[at..at + good.len()].copy_from_slice(bad.as_bytes()));
    place.is_some()
}

#[test]
fn a_text_without_its_form_is_not_taken_in() {
    expect_forged_values();
    let server = Server::builder().arg("rdbcompression", "no").start();
    for (line, key, good, bad) in CASES {
        let mut payload = payload_from(&server, line);
        let mut dump = server.cmd(&["DUMP", key]).bytes().to_vec();
        server.run("FLUSHALL").ok();
        assert!(replace(&mut payload, good, bad), "{line}");
        reseal(&mut payload);
        let reply = server.cmd(&[b"LTMC.APPLY".as_slice(), key.as_bytes(), &payload]);
        assert_eq!(reply.error_code(), "ERR", "{line}: {bad} was applied: {reply:?}");
        assert!(forge(&mut dump, |frame| replace(frame, good, bad)) > 0, "{line}");
        reseal_dump(&mut dump);
        let reply = server.cmd(&[b"RESTORE".as_slice(), key.as_bytes(), b"0", &dump]);
        assert!(reply.is_error(), "{line}: {bad} was restored");
        assert_eq!(server.run("DBSIZE").int(), 0, "{line}");
    }
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

#[test]
fn meta_of_a_chunk_that_is_changed_is_json() {
    expect_forged_values();
    let server = Server::start();
    server.run("LTMC.CHUNK.PUT k c data").array();
    let mut payload = payload_from(&server, "LTMC.CHUNK.META k c {\"m\":1}");
    assert!(replace(&mut payload, "{\"m\":1}", "{\"m\":1;"));
    reseal(&mut payload);
    let before = server.debug_digest();
    assert_eq!(server.cmd(&[b"LTMC.APPLY".as_slice(), b"k", &payload]).error_code(), "ERR");
    assert_eq!(server.debug_digest(), before);
}
