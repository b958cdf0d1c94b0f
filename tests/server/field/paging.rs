//! Lists that change while a client reads them page by page.

use crate::harness::*;

/// A list, and how members come to it and leave it. The key is `l`.
struct List {
    line: &'static str,
    /// The field that names a member; without one, the member is the name.
    field: Option<&'static str>,
    /// The command that comes before all others.
    first: &'static str,
    come: fn(&Server, &str),
    leave: fn(&Server, &str),
}

fn run(server: &Server, line: &str) {
    let reply = server.run(line);
    assert!(!reply.is_error(), "{line}: {reply:?}");
}

fn die(server: &Server, name: &str) {
    let received = server.run(&format!("LTMC.MSG.RECV l {name}"));
    let id = received.array()[0].get("id").int();
    run(server, &format!("LTMC.MSG.NACK l {name} {id} DEAD"));
}

/// Each message that an agent has not handled, by its sender or receiver.
fn forget(server: &Server, list: &str, field: &str, name: &str, agent: &str) {
    let all = server.run(list);
    let ids = all.array().iter().filter(|one| one.get(field).text() == name).map(|one| one.get("id").int());
    ids.for_each(|id| run(server, &format!("LTMC.MSG.ACK l {agent} {id}")));
}

const LISTS: &[List] = &[
    List {
        line: "LTMC.AGENT.LIST l",
        field: None,
        first: "PING",
        come: |server, name| run(server, &format!("LTMC.REGISTER l {name} PX 600000")),
        leave: |server, name| run(server, &format!("LTMC.DEREGISTER l {name}")),
    },
    List {
        line: "LTMC.TASK.LIST l",
        field: None,
        first: "LTMC.FLOW.CREATE l KEEP 0",
        come: |server, name| run(server, &format!("LTMC.TASK.ADD l {name} x")),
        leave: |server, name| run(server, &format!("LTMC.TASK.CANCEL l {name}")),
    },
    List {
        line: "LTMC.CHUNK.LIST l",
        field: None,
        first: "PING",
        come: |server, name| run(server, &format!("LTMC.CHUNK.PUT l {name} data-{name}")),
        leave: |server, name| run(server, &format!("LTMC.CHUNK.FREE l {name}")),
    },
    List {
        line: "LTMC.CHUNK.LIST l AGENT bob",
        field: None,
        first: "PING",
        come: |server, name| run(server, &format!("LTMC.CHUNK.PUT l {name} data PIN bob 600000")),
        leave: |server, name| run(server, &format!("LTMC.CHUNK.UNPIN l {name} bob")),
    },
    List {
        line: "LTMC.MSG.DEAD l",
        field: Some("agent"),
        first: "PING",
        come: |server, name| {
            run(server, &format!("LTMC.MSG.SEND l ada TO 1 {name} hello"));
            die(server, name);
        },
        leave: |server, name| forget(server, "LTMC.MSG.DEAD l", "agent", name, name),
    },
    List {
        line: "LTMC.MSG.PENDING l bob",
        field: Some("from"),
        first: "PING",
        come: |server, name| {
            run(server, &format!("LTMC.MSG.SEND l {name} TO 1 bob hello"));
            run(server, "LTMC.MSG.RECV l bob PX 600000");
        },
        leave: |server, name| forget(server, "LTMC.MSG.PENDING l bob", "from", name, "bob"),
    },
    List {
        line: "LTMC.MSG.AGENTS l",
        field: Some("agent"),
        first: "PING",
        come: |server, name| run(server, &format!("LTMC.MSG.JOIN l {name}")),
        leave: |server, name| run(server, &format!("LTMC.MSG.LEAVE l {name}")),
    },
    List {
        line: "LTMC.SESSION.CHECKPOINTS l",
        field: Some("name"),
        first: "LTMC.SESSION.CREATE l",
        come: checkpoint,
        leave: |server, _| run(server, "LTMC.SESSION.PRUNE l KEEPLAST 0"),
    },
];

/// Those that stay are pinned.
fn checkpoint(server: &Server, name: &str) {
    let pin = if name.starts_with("stays") { "PIN" } else { "" };
    run(server, format!("LTMC.SESSION.CHECKPOINT l NAME {name} {pin}").trim_end());
}

impl List {
    fn names(&self, items: &Reply) -> Vec<String> {
        let name = |item: &Reply| self.field.map_or(item, |field| item.get(field)).text().to_string();
        items.array().iter().map(name).collect()
    }

    /// The next cursor and the names of one page.
    #[track_caller]
    fn page(&self, client: &mut Client, cursor: &str, more: &str) -> (String, Vec<String>) {
        let reply = client.run(format!("{} CURSOR {cursor} {more}", self.line).trim_end());
        let [next, items] = reply.array() else { panic!("{}: {reply:?}", self.line) };
        (next.text().to_string(), self.names(items))
    }

    fn all(&self, client: &mut Client, more: &str) -> Vec<String> {
        let (mut cursor, mut all) = ("0".to_string(), Vec::new());
        loop {
            let (next, names) = self.page(client, &cursor, more);
            all.extend(names);
            if next == "0" {
                return all;
            }
            cursor = next;
        }
    }
}

#[test]
fn what_is_there_all_the_time_is_listed_though_others_leave_and_come() {
    for list in LISTS {
        let server = Server::start();
        let replica = server.replica();
        run(&server, list.first);
        for n in 0..12 {
            (list.come)(&server, &format!("leaves{n:02}"));
            (list.come)(&server, &format!("stays{n:02}"));
        }
        let (mut cursor, mut seen, mut pages) = ("0".to_string(), Vec::new(), 0);
        loop {
            replica.wait_synced(&server);
            // Each page comes from another process, or from the same after a reload.
            let node = if pages % 2 == 0 { &server } else { &replica };
            let (next, names) = list.page(&mut node.client(), &cursor, "COUNT 5");
            assert!(names.len() <= 5, "{}: {names:?}", list.line);
            seen.extend(names);
            if next == "0" {
                break;
            }
            cursor = next;
            for n in [pages * 2, pages * 2 + 1] {
                (list.leave)(&server, &format!("leaves{n:02}"));
            }
            (list.come)(&server, &format!("comes{pages:02}"));
            if pages == 2 {
                server.debug_reload();
            }
            pages += 1;
        }
        let mut stayed: Vec<String> = seen.iter().filter(|name| name.starts_with("stays")).cloned().collect();
        assert!(pages > 1, "{}: one page says nothing", list.line);
        stayed.sort();
        let expected: Vec<String> = (0..12).map(|n| format!("stays{n:02}")).collect();
        assert_eq!(stayed, expected, "{}: {seen:?}", list.line);
        // Without changes, the pages are the whole list.
        let mut whole = list.names(&server.run(list.line));
        let mut paged = list.all(&mut replica.client(), "COUNT 3");
        whole.sort();
        paged.sort();
        assert_eq!(paged, whole, "{}", list.line);
    }
}

#[test]
fn the_dead_letters_of_one_message_to_many_are_paged_too() {
    let server = Server::start();
    let agents: Vec<String> = (0..25).map(|n| format!("bob{n:02}")).collect();
    run(&server, &format!("LTMC.MSG.SEND l ada TO 25 {} hello", agents.join(" ")));
    agents.iter().for_each(|agent| die(&server, agent));
    let list = LISTS.iter().find(|list| list.line == "LTMC.MSG.DEAD l").expect("the list");
    assert_eq!(list.all(&mut server.client(), "COUNT 4"), agents);
    let (next, first) = list.page(&mut server.client(), "0", "COUNT 4");
    // The letter that the cursor names may leave, too.
    (list.leave)(&server, &agents[4]);
    let (_, second) = list.page(&mut server.client(), &next, "COUNT 4");
    assert_eq!((first, second), (agents[..4].to_vec(), agents[5..9].to_vec()));
}

#[test]
fn an_agent_that_registers_again_is_not_skipped() {
    let server = Server::start();
    (0..9).for_each(|n| run(&server, &format!("LTMC.REGISTER l a{n}")));
    let list = &LISTS[0];
    let (next, mut seen) = list.page(&mut server.client(), "0", "COUNT 3");
    // One that was shown, one that comes next, and one from far behind.
    ["a0", "a3", "a8"].iter().for_each(|agent| run(&server, &format!("LTMC.REGISTER l {agent}")));
    let mut cursor = next;
    while cursor != "0" {
        let (next, names) = list.page(&mut server.client(), &cursor, "COUNT 3");
        seen.extend(names);
        cursor = next;
    }
    assert_eq!(seen, ["a0", "a1", "a2", "a4", "a5", "a6", "a7", "a0", "a3", "a8"]);
}

#[test]
fn a_page_looks_at_no_more_than_count_though_nothing_fits_the_filter() {
    let server = Server::start();
    let mut client = server.client();
    for n in 0..30 {
        run(&server, &format!("LTMC.TASK.ADD l t{n} x"));
        run(&server, &format!("LTMC.REGISTER team a{n}"));
        run(&server, &format!("LTMC.CHUNK.PUT b c{n} x"));
    }
    run(&server, "LTMC.TASK.CANCEL l t29");
    run(&server, "LTMC.HEARTBEAT team a29 STATUS BUSY");
    let (line, mut cursor) = ("LTMC.AGENT.LIST team STATUS BUSY", "0".to_string());
    for page in 0..3 {
        let reply = client.run(&format!("{line} CURSOR {cursor}"));
        let items = reply.array()[1].texts();
        cursor = reply.array()[0].text().into();
        match page {
            2 => assert_eq!((cursor.as_str(), items), ("0", vec!["a29".to_string()]), "{line}"),
            _ => assert!(cursor != "0" && items.is_empty(), "{line}: {reply:?}"),
        }
    }
    // Without CURSOR, all of it is looked at.
    assert_eq!(server.run(&format!("{line} LIMIT 0 1")).texts(), ["a29"], "{line}");
    // A flow knows its tasks by state.
    let reply = client.run("LTMC.TASK.LIST l STATE CANCELLED CURSOR 0 COUNT 1");
    assert_eq!((reply.array()[0].text(), reply.array()[1].texts()), ("0", vec!["t29".to_string()]));
}

#[test]
fn pages_keep_the_bound_of_replies_and_miss_nothing_by_it() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.reply-bytes-max 65536");
    let payload = "x".repeat(40_000);
    for n in 0..5 {
        run(&server, &format!("LTMC.MSG.SEND l ada TO 1 bob{n} {payload}"));
        die(&server, &format!("bob{n}"));
    }
    let list = LISTS.iter().find(|list| list.line == "LTMC.MSG.DEAD l").expect("the list");
    let (next, first) = list.page(&mut server.client(), "0", "COUNT 100");
    assert_eq!((next != "0", first), (true, vec!["bob0".to_string()]));
    assert_eq!(list.all(&mut server.client(), "COUNT 100"), ["bob0", "bob1", "bob2", "bob3", "bob4"]);
}

#[test]
fn a_cursor_that_no_call_answered_is_named() {
    let server = Server::start();
    let others = ["LTMC.CTX.CHECKPOINTS l", "LTMC.CACHE.SCAN l"];
    for line in LISTS.iter().map(|list| list.line).chain(others) {
        let (cursor, both) = match line {
            "LTMC.CACHE.SCAN l" => (line.to_string(), None),
            _ => (format!("{line} CURSOR"), Some(format!("{line} LIMIT 0 5 CURSOR 0"))),
        };
        for bad in ["x", "-1", "+1", "1", "18446744073709551616", "0-", "-", "1-6", "00x", "t", "61", "t-1"] {
            let error = server.run(&format!("{cursor} {bad}"));
            let text = format!("cursor is '{bad}', allowed are 0 and what the call before answered as the next one");
            assert_eq!(error.error(), format!("ERR {text}"), "{line}");
        }
        for bad in ["0", "-1", "x", "10000001"] {
            let error = server.run(&format!("{cursor} 0 COUNT {bad}"));
            assert!(error.error().contains(&format!("COUNT is '{bad}'")), "{line}: {error:?}");
        }
        if let Some(both) = both {
            let error = server.run(&both);
            assert!(error.error().contains("LIMIT and CURSOR exclude each other"), "{line}: {error:?}");
            assert!(server.run(&format!("{line} COUNT 5")).is_error(), "{line}");
        }
        // Nothing is there, and in both protocols that has the same form.
        for resp3 in [false, true] {
            let mut client = server.client();
            if resp3 {
                client.resp3();
            }
            let reply = client.run(&format!("{cursor} 0 count 5"));
            assert_eq!((reply.array()[0].text(), reply.array()[1].array().len()), ("0", 0), "{line}");
        }
    }
    // A place behind all that is there.
    run(&server, "LTMC.TASK.ADD l t x");
    for far in ["t2", "t9223372036854775807"] {
        let reply = server.run(&format!("LTMC.TASK.LIST l CURSOR {far}"));
        assert_eq!((reply.array()[0].text(), reply.array()[1].array().len()), ("0", 0), "{far}");
    }
}

#[test]
fn a_cursor_of_another_list_is_refused() {
    let server = Server::start();
    for name in ["t1", "t2"] {
        run(&server, &format!("LTMC.TASK.ADD flow {name} x"));
        run(&server, &format!("LTMC.CACHE.PUT cache tool [\"{name}\"] answer"));
    }
    let next = |line: &str| server.run(line).array()[0].text().to_string();
    let (task, answer) = (next("LTMC.TASK.LIST flow CURSOR 0 COUNT 1"), next("LTMC.CACHE.SCAN cache 0 COUNT 1"));
    assert!(server.run(&format!("LTMC.TASK.LIST flow CURSOR {answer}")).error().contains("cursor is"));
    assert!(server.run(&format!("LTMC.CACHE.SCAN cache {task}")).error().contains("cursor is"));
    assert_eq!(next(&format!("LTMC.CACHE.SCAN cache {answer}")), "0");
}
