//! Many watchers of one key, each of its own place.

use super::*;

const CROWD: usize = 1000;

#[test]
fn a_thousand_watchers_of_a_thousand_paths_are_each_told_of_one_change() {
    let server = Server::start();
    run_all(&server, &["LTMC.CTX.CREATE c", "LTMC.SESSION.CREATE s", "CONFIG SET ltmc.watchers-max 2000"]);
    let mut watchers = server.clients(CROWD);
    for (n, watcher) in watchers.iter_mut().enumerate() {
        let key = ["c", "s"][n % 2];
        watcher.send_line(&format!("LTMC.WATCH 1 {key} SINCE $ PATH /p{n} BLOCK 0"));
    }
    server.wait_blocked(CROWD);
    // In another order than they came, and with changes in between that concern nobody.
    let order: Vec<usize> = (0..CROWD).map(|n| n * 7 % CROWD).collect();
    let lines: Vec<String> = order
        .iter()
        .flat_map(|n| {
            if n % 2 == 0 {
                [format!("LTMC.CTX.UPDATE c a SET /p{n}/deep {n}"), "LTMC.CTX.UPDATE c a SET /noise 1".into()]
            } else {
                [format!("LTMC.SESSION.SET s p{n} {n}"), "LTMC.SESSION.SET s noise 1".into()]
            }
        })
        .collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    let mut client = server.client();
    assert!(client.pipeline(first).iter().all(|reply| !reply.is_error()));
    wait_until("half of them are told", || waiting(&server) == CROWD as i64 / 2);
    assert!(client.pipeline(second).iter().all(|reply| !reply.is_error()));
    for (n, watcher) in watchers.iter_mut().enumerate() {
        let (_, events) = only_news(&watcher.recv());
        assert_eq!(events.len(), 1, "{n}: {events:?}");
        if n % 2 == 0 {
            assert_eq!(events[0]["edits"], json!([{"op": "set", "path": format!("/p{n}"), "value": {"deep": n}}]));
        } else {
            assert_eq!(events[0]["set"], json!([format!("p{n}")]));
        }
    }
    assert_idle(&server);
}
