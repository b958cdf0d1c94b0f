//! Whether a data set survives every way in which a server copies or reloads it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::reply::Reply;
use super::server::Server;
use super::{holds_within, wait_until, PATIENCE};

/// What a server holds: enough of every key to tell two data sets apart and to name the key that
/// differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    keys: BTreeMap<(u32, Vec<u8>), KeyState>,
    digest: String,
}

#[derive(Clone, Debug, PartialEq)]
struct KeyState {
    kind: String,
    digest: String,
    /// Unix milliseconds, or -1.
    expires_at_ms: i64,
}

impl Dataset {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether clients see the same in both. The digest of all also covers keys whose time is over
    /// and that nobody sees: a reload drops them without telling the replicas.
    pub fn is_seen_as(&self, other: &Dataset) -> bool {
        self.keys == other.keys
    }
}

impl Server {
    /// Everything that the server holds now.
    #[track_caller]
    pub fn dataset(&self) -> Dataset {
        let mut client = self.client();
        let mut keys = BTreeMap::new();
        for db in self.databases() {
            client.cmd(&["SELECT", &db.to_string()]).ok();
            for key in client.cmd(&["KEYS", "*"]).array() {
                let key = key.bytes();
                let digests = client.cmd(&[b"DEBUG".as_slice(), b"DIGEST-VALUE", key]);
                let state = KeyState {
                    kind: client.cmd(&[b"TYPE".as_slice(), key]).text().to_string(),
                    digest: digests.array()[0].text().to_string(),
                    expires_at_ms: client.cmd(&[b"PEXPIRETIME".as_slice(), key]).int(),
                };
                keys.insert((db, key.to_vec()), state);
            }
        }
        Dataset { keys, digest: self.debug_digest() }
    }

    fn databases(&self) -> Vec<u32> {
        self.info("keyspace").keys().filter_map(|name| name.strip_prefix("db")?.parse().ok()).collect()
    }

    /// Rewrites the AOF and waits until that is done.
    #[track_caller]
    pub fn rewrite_aof(&self) {
        let before = self.info_int("persistence", "aof_rewrites");
        // Refused while another child process (a save) runs.
        let accepted = holds_within(PATIENCE, || !self.cmd(&["BGREWRITEAOF"]).is_error());
        assert!(accepted, "the server does not rewrite its AOF");
        wait_until("the AOF is rewritten", || {
            let info = self.info("persistence");
            info["aof_rewrite_in_progress"] == "0"
                && info["aof_rewrite_scheduled"] == "0"
                && info["aof_rewrites"].parse::<i64>().is_ok_and(|count| count > before)
        });
        assert_eq!(self.info("persistence")["aof_last_bgrewrite_status"], "ok", "the AOF rewrite failed");
    }

    /// Whether its AOF is being rewritten, or about to be.
    #[track_caller]
    pub fn is_rewriting_aof(&self) -> bool {
        let info = self.info("persistence");
        info["aof_rewrite_in_progress"] == "1" || info["aof_rewrite_scheduled"] == "1"
    }

    /// Copies every key to `target` by DUMP and RESTORE.
    #[track_caller]
    pub fn restore_into(&self, target: &Server) {
        let (mut from, mut to) = (self.client(), target.client());
        for (db, key) in self.dataset().keys.into_keys() {
            let select = ["SELECT".to_string(), db.to_string()];
            from.cmd(&select).ok();
            to.cmd(&select).ok();
            let payload = from.cmd(&[b"DUMP".as_slice(), &key]);
            let expires_at_ms = from.cmd(&[b"PEXPIRETIME".as_slice(), &key]).int().max(0).to_string();
            let restored = to.cmd(&[b"RESTORE".as_slice(), &key, expires_at_ms.as_bytes(), payload.bytes(), b"ABSTTL"]);
            assert_eq!(restored, Reply::Simple("OK".into()), "RESTORE of {}", key.escape_ascii());
        }
    }
}

/// Panics with `leg` and every key that differs unless both are equal.
#[track_caller]
pub fn assert_same(leg: &str, expected: &Dataset, found: &Dataset) {
    let mut differences = String::new();
    let mut all: Vec<_> = expected.keys.keys().chain(found.keys.keys()).collect();
    all.sort();
    all.dedup();
    for place in all {
        let (before, after) = (expected.keys.get(place), found.keys.get(place));
        if before != after {
            let (db, key) = (place.0, place.1.escape_ascii());
            let _ = write!(differences, "\n  db {db}, key {key}: expected {before:?}, found {after:?}");
        }
    }
    assert!(differences.is_empty(), "{leg}: the data differs{differences}");
    assert_eq!(expected.digest, found.digest, "{leg}: DEBUG DIGEST differs though every key is equal");
}

/// Copies a key in every way there is, and checks what holds for every type: all copies are the
/// same and sound, and the original is unchanged. The copies stay: `key.1`, `key.2`, and `key` in
/// database 9.
#[track_caller]
pub fn assert_copied(server: &Server, key: &str) {
    let about = |word: &str, key: &str| server.run(&format!("{word} {key}"));
    let state = |key: &str| (about("DEBUG DIGEST-VALUE", key), about("TYPE", key), about("PEXPIRETIME", key));
    let before = state(key);
    server.run(&format!("SET {key}.2 text")).ok();
    // In one transaction, so that nothing that is due comes in between.
    let replies = server.client().pipeline(&[
        "MULTI",
        &format!("COPY {key} {key}.1"),
        &format!("COPY {key} {key}.2"),
        &format!("COPY {key} {key}.2 REPLACE"),
        &format!("COPY {key} {key} DB 9"),
        &format!("DEBUG DIGEST-VALUE {key}.1 {key}.2"),
        "SELECT 9",
        &format!("DEBUG DIGEST-VALUE {key}"),
        "EXEC",
    ]);
    let done = replies[8].array();
    assert_eq!(done[..4].iter().map(Reply::int).collect::<Vec<_>>(), [1, 0, 1, 1], "{key}: {done:?}");
    let digests: Vec<String> = [&done[4], &done[6]].into_iter().flat_map(Reply::texts).collect();
    assert!(digests.len() == 3 && digests.iter().all(|digest| *digest == digests[0]), "{key}: {digests:?}");
    assert_eq!(state(key), before, "{key} is not as it was");
    let mut other = server.client();
    other.run("SELECT 9").ok();
    let repairs = [about("LTMC.REPAIR", &format!("{key}.1")), about("LTMC.REPAIR", &format!("{key}.2"))];
    for repair in [&repairs[0], &repairs[1], &other.run(&format!("LTMC.REPAIR {key}"))] {
        assert_eq!(repair.get("was_broken").int(), 0, "the copy of {key}: {repair:?}");
    }
    let mut copies = [state(&format!("{key}.1")), state(&format!("{key}.2"))];
    assert!(copies.iter_mut().all(|copy| copy.1 == before.1), "{key}: {copies:?}");
}

/// Takes what `primary` holds through every copy and reload, and compares: the live replicas (fed
/// by the stream), a reload of the RDB, a replay of the AOF as it was written, AOF rewrites with
/// and without RDB preamble, DUMP and RESTORE, and a replica that joins now.
///
/// `primary` must be started with [`super::Builder::durable`], hold something, and be at rest: no
/// blocked clients, nothing about to expire.
#[track_caller]
pub fn assert_persisted_everywhere(primary: &Server, live_replicas: &[&Server]) {
    let info = primary.info("persistence");
    assert_eq!(info["aof_enabled"], "1", "the primary has no AOF: start it with Server::builder().durable()");
    assert_eq!(info["aof_rewrites"], "0", "the AOF was rewritten already, so its plain replay cannot be tested");
    let original = primary.dataset();
    assert!(!original.is_empty(), "the primary holds nothing that could be lost");

    for replica in live_replicas {
        replica.wait_synced(primary);
        assert_same("live replica", &original, &replica.dataset());
    }
    primary.cmd(&["DEBUG", "LOADAOF"]).ok();
    assert_same("replay of the AOF as written", &original, &primary.dataset());
    primary.debug_reload();
    assert_same("reload of the RDB", &original, &primary.dataset());
    for preamble in ["yes", "no"] {
        primary.cmd(&["CONFIG", "SET", "aof-use-rdb-preamble", preamble]).ok();
        primary.rewrite_aof();
        primary.cmd(&["DEBUG", "LOADAOF"]).ok();
        assert_same(&format!("rewritten AOF, RDB preamble {preamble}"), &original, &primary.dataset());
    }
    let other = primary.spec().start();
    primary.restore_into(&other);
    assert_same("DUMP and RESTORE", &original, &other.dataset());
    other.follow(primary);
    assert_same("replica that joins later", &original, &other.dataset());
}
