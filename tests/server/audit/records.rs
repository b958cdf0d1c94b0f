//! What is recorded.

use super::*;

const WHAT: &str = "class command key agent object before after outcome cause";

#[test]
fn nothing_is_recorded_in_basic_mode_and_everything_that_changes_in_full() {
    let server = Server::start();
    server.run("LTMC.LOCK lock ada").int();
    server.run("LTMC.UNLOCK lock bob");
    assert_eq!(server.run("LTMC.AUDIT LEN").int(), 0);
    server.run("CONFIG SET ltmc.orchestration-mode full").ok();
    server.run("LTMC.LOCK other ada PATH src").int();
    server.run("LTMC.LOCK.INFO other");
    let fence = records(&server)[1].get("outcome").text().to_string();
    assert_eq!(
        shown(&server, WHAT),
        [
            "config CONFIG SET - - ltmc.orchestration-mode - - basic -> full -",
            &format!("write LTMC.LOCK other ada src - 1 {fence} -"),
        ]
    );
}

#[test]
fn a_hand_off_is_a_record_that_names_its_cause() {
    let server = auditing("write");
    let mut waiter = server.client();
    server.run("LTMC.LOCK lock ada").int();
    waiter.send_line("LTMC.LOCK lock bob BLOCK 0");
    wait_until("bob waits", || server.run("LTMC.LOCK.INFO lock").get("waiters_count").int() == 1);
    server.run("LTMC.UNLOCK lock ada").int();
    waiter.recv().int();
    assert_eq!(
        shown(&server, "n class command agent before after cause"),
        [
            "1 write LTMC.LOCK ada - 1 -",
            // For whom the grant is.
            "2 write LTMC.LOCK bob - - -",
            "3 write LTMC.UNLOCK ada 1 - -",
            "4 reaction lock.granted bob - 1 3",
        ]
    );
}

#[test]
fn each_key_of_a_command_has_a_record() {
    let server = auditing("write");
    server.run("LTMC.MLOCK ada 3 a b c REQID r-1").array();
    assert_eq!(
        shown(&server, "class command key reqid outcome"),
        ["a", "b", "c"].map(|key| format!("write LTMC.MLOCK {key} r-1 list 3"))
    );
}

#[test]
fn what_the_arguments_do_not_say_is_taken_from_the_change() {
    let server = auditing("write");
    server.run("LTMC.FLOW.CREATE flow").ok();
    server.run("LTMC.TASK.ADD flow build payload");
    let task = server.run("LTMC.TASK.CLAIM flow ada");
    let fence = task.array()[0].get("fence").int();
    server.run(&format!("LTMC.TASK.COMPLETE flow build {fence} done"));
    let id = server.run("LTMC.MSG.SEND mail ada TO 1 bob hello").int();
    server.run("LTMC.MSG.RECV mail bob").array();
    let sent = |command: &str| format!("{command} bob {id}");
    let shown = shown(&server, "command agent object").split_off(2);
    let expected = ["LTMC.TASK.CLAIM ada build", "LTMC.TASK.COMPLETE ada build"].map(String::from);
    assert_eq!(shown[..2], expected);
    assert_eq!(shown[3], sent("LTMC.MSG.RECV"), "{shown:?}");
}

#[test]
fn a_record_says_who_has_lost_something() {
    let server = auditing("write");
    server.run("LTMC.LOCK lock ada PX 20").int();
    wait_until("it is over", || server.run("LTMC.LOCK.INFO lock").is_nil());
    let fence = server.run("LTMC.LOCK other bob PX 600000").int();
    server.run(&format!("LTMC.GUARD other {fence} SET doc x")).ok();
    server.run("LTMC.LOCK.BREAK other bob").int();
    assert_eq!(
        shown(&server, "command agent object before after").split_off(1),
        ["lock.expired ada - 1 -", "LTMC.LOCK bob - - 1", "LTMC.GUARD bob SET - -", "LTMC.LOCK.BREAK - bob 1 -",]
    );
}

#[test]
fn what_an_agent_that_is_gone_held_follows_from_its_end() {
    let server = Server::builder().arg("ltmc.orchestration-mode", "full").start();
    server.run("LTMC.REGISTER agents ada").int();
    server.run("LTMC.LOCK one ada REGISTRY agents").int();
    server.run("LTMC.LOCK two ada REGISTRY agents").int();
    server.run("LTMC.DEREGISTER agents ada").int();
    wait_until("all is given back", || server.run("EXISTS one two").int() == 0);
    let reactions: Vec<String> = shown(&server, "class command agent cause").split_off(4);
    assert_eq!(reactions, ["reaction lock.agentgone ada 4", "reaction lock.agentgone ada 4"]);
}

#[test]
fn what_a_session_owned_that_has_expired_follows_from_its_end() {
    let server = auditing("write");
    server.run("LTMC.SESSION.CREATE s PARTICIPANTS 1 ada").int();
    server.run("LTMC.LOCK lock ada").int();
    server.run("LTMC.SESSION.OWN s lock").int();
    server.client().pipeline(&["PEXPIRE s 20", "DEBUG SLEEP 0.06", "EXISTS s"]);
    wait_until("it is given back", || server.run("EXISTS lock").int() == 0);
    let reactions = shown(&server, "class command cause").split_off(3);
    assert_eq!(reactions, ["reaction session.ended -", "reaction lock.released 4"]);
}

#[test]
fn the_end_of_a_lease_is_a_record() {
    let server = auditing("write");
    server.run("LTMC.LOCK lock ada PX 20").int();
    wait_until("it is over", || server.run("EXISTS lock").int() == 0);
    wait_until("it is recorded", || records(&server).len() == 2);
    assert_eq!(shown(&server, "class command key cause")[1], "reaction lock.expired lock -");

    server.run("LTMC.LOCK other ada SHARED PX 20").int();
    server.run("LTMC.LOCK other bob SHARED PX 60000").int();
    std::thread::sleep(std::time::Duration::from_millis(40));
    server.run("LTMC.LOCK other cy SHARED").int();
    let last = shown(&server, "class command agent").split_off(4);
    assert_eq!(last, ["reaction lock.expired ada", "write LTMC.LOCK cy"]);
}

#[test]
fn denials_are_always_recorded_and_so_is_what_operators_do() {
    let server = auditing("denied");
    let fence = server.run("LTMC.LOCK lock ada").int();
    server.run("LTMC.UNLOCK lock bob");
    server.run(&format!("LTMC.LOCK.RENEW lock ada TOKEN {} PX 10", fence - 1));
    server.run("LTMC.LOCK.BREAK lock").int();
    server.run("LTMC.LOCK.BREAK nothing").int();
    assert_eq!(
        shown(&server, "class command agent before after outcome"),
        [
            "denied LTMC.UNLOCK bob - - NOTOWNER",
            "denied LTMC.LOCK.RENEW ada - - STALE",
            "admin LTMC.LOCK.BREAK - 1 - integer 1",
            "admin LTMC.LOCK.BREAK - - - integer 0",
        ]
    );
}

#[test]
fn all_has_reads_and_what_changes_nothing() {
    let server = auditing("all");
    server.run("LTMC.LOCK lock ada").int();
    server.run("LTMC.LOCK lock bob");
    server.run("LTMC.LOCK.CHECK lock 5").int();
    server.run("LTMC.SESSION.RESTORE gone 1");
    assert_eq!(
        shown(&server, "class command key outcome").split_off(1),
        [
            "write LTMC.LOCK lock nil",
            "read LTMC.LOCK.CHECK lock integer 0",
            "write LTMC.SESSION.RESTORE gone NOSESSION",
        ]
    );
}

#[test]
fn a_record_says_who_it_was() {
    let server = auditing("write");
    server.run("ACL SETUSER ada on >secret ~* +@all").ok();
    let mut client = server.client();
    client.run("LTMC.LOCK one x").int();
    client.auth("ada", "secret");
    client.run("LTMC.LOCK two x").int();
    client.run("EVAL return{redis.call('LTMC.LOCK','three','x')} 0").array();
    let made = records(&server);
    let user: Vec<String> = made.iter().map(|record| fields(record, "key user")).collect();
    assert_eq!(user, ["one default", "two ada", "three ada"]);
    assert_eq!(made[0].get("client").int(), client.id());
    assert!(made[0].get("addr").text().starts_with("127.0.0.1:"), "{:?}", made[0]);
    assert!(made[2].get("client").is_nil());
}

#[test]
fn values_are_counted_and_never_recorded() {
    let server = auditing("write");
    server.run("LTMC.SESSION.SET session field SECRET-VALUE").int();
    server.run("LTMC.CHUNK.PUT buffer SECRET-CHUNK chunk-1");
    let all = format!("{:?}", records(&server));
    assert!(!all.contains("SECRET-VALUE"), "{all}");
    assert_eq!(shown(&server, "object bytes")[0], "field 12");
}

#[test]
fn a_key_that_was_not_there_has_no_revision_before() {
    let server = auditing("write");
    server.run("LTMC.CTX.CREATE context").int();
    server.run("LTMC.REGISTER agents ada").int();
    server.run("LTMC.REGISTER agents bob").int();
    let made = shown(&server, "before");
    assert_eq!(made[..2], ["-", "-"]);
    assert_eq!(made[2], shown(&server, "after")[1], "it goes on from the revision before");
}

#[test]
fn names_are_whole() {
    let server = auditing("write");
    let (key, owner, path) = ("k".repeat(1000), "o".repeat(256), "p".repeat(1000));
    server.cmd(&["LTMC.LOCK", &key, &owner, "PATH", &path]).int();
    assert_eq!(shown(&server, "key agent object"), [format!("{key} {owner} {path}")]);
}

#[test]
fn the_trail_can_be_filtered_and_emptied() {
    let server = auditing("write");
    for owner in ["ada", "bob", "ada"] {
        server.run(&format!("LTMC.LOCK {owner}-lock {owner}")).int();
    }
    server.run("LTMC.LOCK.BREAK ada-lock").int();
    let count = |filter: &str| server.run(&format!("LTMC.AUDIT GET 100 {filter}")).array().len();
    assert_eq!([count("AGENT ada"), count("AGENT bob"), count("KEY ada-lock"), count("CLASS admin")], [2, 1, 3, 1]);
    assert_eq!([count("USER default"), count("USER nobody"), count("KEY ada-lock CLASS write")], [4, 0, 2]);
    assert_eq!(server.run("LTMC.AUDIT GET 2").array().len(), 2);
    assert_eq!(server.run("LTMC.AUDIT LEN").int(), 4);
    server.run("CONFIG SET ltmc.audit-ring-max 1").ok();
    assert_eq!(server.run("LTMC.AUDIT LEN").int(), 1);
    server.run("LTMC.AUDIT RESET").ok();
    assert_eq!(server.run("LTMC.AUDIT LEN").int(), 0);
    server.run("LTMC.LOCK more ada").int();
    assert_eq!(shown(&server, "n"), ["6"]);
}

#[test]
fn a_bad_command_says_what_is_allowed() {
    let server = auditing("write");
    for (line, part) in [
        ("LTMC.AUDIT", "wrong number of arguments"),
        ("LTMC.AUDIT SHOW", "GET, LEN, RESET, ROTATE"),
        ("LTMC.AUDIT GET -1", "n is '-1'"),
        ("LTMC.AUDIT GET CLASS some", "option CLASS is 'some'"),
        ("LTMC.AUDIT GET USER", "USER"),
        ("LTMC.AUDIT LEN 3", "LEN takes no further arguments"),
        ("LTMC.AUDIT RESET KEY k", "RESET takes no further arguments"),
    ] {
        let error = server.run(line);
        assert!(error.error().contains(part), "{line}: {error:?}");
    }
    assert_eq!(server.run("LTMC.AUDIT ROTATE").error_code(), "BADSTATE");
}

#[test]
fn a_replica_records_what_it_does_itself() {
    let primary = auditing("write");
    let replica = primary.replica();
    primary.run("LTMC.LOCK lock ada").int();
    replica.wait_synced(&primary);
    replica.run("CONFIG SET ltmc.audit write").ok();
    replica.run("LTMC.AUDIT RESET").ok();
    primary.run("LTMC.UNLOCK lock ada").int();
    replica.wait_synced(&primary);
    assert_eq!(shown(&replica, "command"), Vec::<String>::new());
    replica.run("CONFIG SET ltmc.audit all").ok();
    primary.run("LTMC.LOCK lock ada").int();
    replica.wait_synced(&primary);
    replica.run("LTMC.LOCK.CHECK lock 1").int();
    assert_eq!(shown(&replica, "command").split_off(1), ["LTMC.APPLY", "LTMC.LOCK.CHECK"]);
}

#[test]
fn a_quarantine_and_a_repair_are_always_recorded() {
    let server = auditing("denied");
    server.run("LTMC.LOCK lock ada").int();
    (0..3).for_each(|_| assert!(server.run("LTMC.DEBUG PANIC lock").is_error()));
    server.run("LTMC.REPAIR lock").pairs();
    let made = shown(&server, "class command key outcome");
    assert!(made.contains(&"admin (quarantine) lock internal errors".to_string()), "{made:?}");
    assert!(made.iter().any(|line| line.starts_with("admin LTMC.REPAIR lock")), "{made:?}");
}

#[test]
fn what_a_client_applies_is_always_recorded() {
    let source = Server::start();
    let stream = replication_stream(&source, || drop(source.run("LTMC.LOCK lock ada")));
    let apply = stream.iter().find(|command| command[0] == b"LTMC.APPLY").expect("it is replicated");
    let server = auditing("denied");
    server.cmd(apply).ok();
    assert_eq!(shown(&server, "class command key outcome"), ["admin LTMC.APPLY lock ok"]);
}

#[test]
fn what_ltmc_refuses_a_user_is_denied() {
    let server = auditing("denied");
    server.run("ACL SETUSER ada on >secret ~a:* +@all").ok();
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    let mut client = server.client();
    client.auth("ada", "secret");
    assert_eq!(client.run("LTMC.LOCK a:lock bob").error_code(), "DENIED");
    // Redis itself refuses keys that it finds, and that is in ACL LOG.
    assert!(client.run("LTMC.LOCK b:lock ada").is_error());
    assert_eq!(shown(&server, "class command user agent outcome").split_off(1), ["denied LTMC.LOCK ada bob DENIED"]);
}

#[test]
fn a_command_in_a_transaction_or_behind_a_guard_is_recorded_as_itself() {
    let server = auditing("write");
    let mut client = server.client();
    client.run("MULTI").ok();
    client.run("LTMC.LOCK lock ada");
    client.run("LTMC.LOCK lock ada");
    let fence = client.run("EXEC").array()[0].int();
    client.run(&format!("LTMC.GUARD lock {fence} LTMC.SESSION.SET session field value")).int();
    assert_eq!(
        shown(&server, "n class command key cause"),
        [
            "1 write LTMC.LOCK lock -",
            "2 write LTMC.LOCK lock -",
            "3 write LTMC.GUARD lock -",
            "4 write LTMC.SESSION.SET session -",
        ]
    );
}
