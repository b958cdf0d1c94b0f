//! Which agent named a key as a resource of a session: no agent loses a lock by what another one
//! says.

use crate::harness::*;

/// A server on which users are bound to their names. None of them may run `LTMC.LOCK.BREAK`.
struct Team {
    server: Server,
    ada: Client,
    mallory: Client,
}

const RULES: &str = "~* +@all -ltmc.lock.break";

impl Team {
    fn start() -> Team {
        let server = Server::start();
        server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
        server.run("CONFIG SET ltmc.session-end-grace-ms 60000").ok();
        let (ada, mallory) = (server.user("ada", RULES), server.user("mallory", RULES));
        server.run("LTMC.SESSION.CREATE {t}:job").int();
        Team { server, ada, mallory }
    }

    fn is_current(&self, key: &str, fence: i64) -> bool {
        self.server.run(&format!("LTMC.LOCK.CHECK {key} {fence}")).int() == 1
    }
}

/// Commands that release what others hold, without the acting agent.
const ACTING: &[&str] = &[
    "LTMC.SESSION.OWN {t}:job {t}:x",
    "LTMC.SESSION.DISOWN {t}:job {t}:x",
    "LTMC.SESSION.STATUS {t}:job suspended",
    "LTMC.SESSION.RESTORE {t}:job 1",
    "LTMC.CTX.RESTORE {t}:doc 1",
    "LTMC.CTX.ROLLBACK {t}:doc 1",
    "LTMC.SESSION.END {t}:job",
];

#[test]
fn somebody_elses_lock_is_not_taken_away_through_a_session() {
    let mut team = Team::start();
    let held = team.ada.run("LTMC.LOCK {t}:repo2 ada PX 600000").int();
    let own = team.mallory.run("LTMC.LOCK {t}:repo3 mallory PX 600000").int();
    assert_eq!(team.ada.run("LTMC.SESSION.JOIN {t}:job ada").int(), 1);
    assert_eq!(team.mallory.run("LTMC.SESSION.OWN {t}:job {t}:repo2 {t}:repo3").int(), 2);
    assert_eq!(team.mallory.run("LTMC.SESSION.END {t}:job").int(), 1);
    assert!(team.is_current("{t}:repo2", held), "ada did not give it");
    assert!(!team.is_current("{t}:repo3", own), "mallory gave her own");
}

#[test]
fn the_same_holds_when_a_session_ends_by_its_status_or_by_its_time() {
    for end in ["LTMC.SESSION.STATUS {t}:job terminated", "LTMC.SESSION.TOUCH {t}:job PX 1"] {
        let mut team = Team::start();
        let held = team.ada.run("LTMC.LOCK {t}:repo2 ada PX 600000").int();
        let own = team.mallory.run("LTMC.LOCK {t}:repo3 mallory PX 600000").int();
        assert_eq!(team.ada.run("LTMC.SESSION.JOIN {t}:job ada").int(), 1);
        assert_eq!(team.mallory.run("LTMC.SESSION.OWN {t}:job {t}:repo2 {t}:repo3").int(), 2);
        team.mallory.run(end);
        wait_until("mallory's lock is free", || !team.is_current("{t}:repo3", own));
        assert!(team.is_current("{t}:repo2", held), "{end}");
    }
}

#[test]
fn what_one_gave_by_its_own_word_is_given_back_whoever_ends_the_session() {
    let mut team = Team::start();
    let by_user = team.ada.run("LTMC.LOCK {t}:a ada:1 PX 600000").int();
    let by_agent = team.ada.run("LTMC.LOCK {t}:b ada:1 PX 600000").int();
    let other = team.ada.run("LTMC.LOCK {t}:c ada:2 PX 600000").int();
    // Without AGENT the user acts under its own name, for all of its agents.
    assert_eq!(team.ada.run("LTMC.SESSION.OWN {t}:job {t}:a").int(), 1);
    assert_eq!(team.ada.run("LTMC.SESSION.OWN {t}:job {t}:b {t}:c AGENT ada:1").int(), 2);
    assert_eq!(team.mallory.run("LTMC.SESSION.OWN {t}:job {t}:c").int(), 0, "it belongs to the session already");
    assert_eq!(team.mallory.run("LTMC.SESSION.END {t}:job").int(), 1);
    assert!(!team.is_current("{t}:a", by_user) && !team.is_current("{t}:b", by_agent));
    assert!(team.is_current("{t}:c", other), "ada:1 cannot give what ada:2 holds");
}

#[test]
fn only_ones_own_word_is_taken_back() {
    let mut team = Team::start();
    let held = team.ada.run("LTMC.LOCK {t}:a ada PX 600000").int();
    assert_eq!(team.ada.run("LTMC.SESSION.OWN {t}:job {t}:a").int(), 1);
    assert_eq!(team.mallory.run("LTMC.SESSION.DISOWN {t}:job {t}:a").int(), 0);
    assert_eq!(team.mallory.run("LTMC.SESSION.OWN {t}:job {t}:a {t}:m").int(), 1);
    assert_eq!(team.mallory.run("LTMC.SESSION.DISOWN {t}:job {t}:a {t}:m").int(), 2);
    let resources = team.server.run("LTMC.SESSION.INFO {t}:job");
    assert_eq!(resources.find("resources").expect("resources").texts(), ["{t}:a"]);
    assert_eq!(team.server.run("LTMC.SESSION.END {t}:job").int(), 1);
    assert!(!team.is_current("{t}:a", held));
}

#[test]
fn who_acts_is_checked_by_every_command_that_lets_things_of_others_go() {
    let mut team = Team::start();
    team.server.run("LTMC.SESSION.CHECKPOINT {t}:job").int();
    team.server.run("LTMC.CTX.CREATE {t}:doc").int();
    team.server.run("LTMC.CTX.CHECKPOINT {t}:doc").int();
    team.server.run("LTMC.CTX.UPDATE {t}:doc default SET /a 1").int();
    for line in ACTING {
        for other in ["bob", "adam", "default"] {
            let reply = team.ada.run(&format!("{line} AGENT {other}"));
            assert_eq!(reply.error_code(), "DENIED", "{line} AGENT {other}: {reply:?}");
            // Scripts and guards are no way around it.
            let script = "return redis.call(unpack(ARGV))".to_string();
            let words: Vec<String> = format!("{line} AGENT {other}").split(' ').map(String::from).collect();
            let call = [&["EVAL".to_string(), script, "0".into()], &words[..]].concat();
            let reply = team.ada.cmd(&call);
            assert!(reply.is_error() && reply.error().contains("may not act as"), "{line} in a script: {reply:?}");
        }
    }
    for line in ACTING {
        let reply = team.ada.run(&format!("{line} AGENT ada:3"));
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    let info = team.server.run("LTMC.CTX.GET {t}:doc");
    assert_eq!(info.find("changed_by").expect("who changed it").text(), "ada:3");
}

#[test]
fn the_same_goes_for_answers_mails_and_claims_that_are_somebodys() {
    let mut team = Team::start();
    team.ada.run("LTMC.REGISTER {t}:r ada PX 600000 CAPACITY 5").int();
    for (line, is_denied) in [
        ("LTMC.CACHE.INVALIDATE {t}:c AGENT bob", true),
        ("LTMC.CACHE.INVALIDATE {t}:c AGENT ada", false),
        ("LTMC.CACHE.INVALIDATE {t}:c TOOL bob", false),
        ("LTMC.MSG.PENDING {t}:m bob", true),
        ("LTMC.MSG.PENDING {t}:m ada:1", false),
        ("LTMC.AGENT.CLAIM {t}:r PX 5000 REF bob REGISTRY {t}:r", true),
        ("LTMC.AGENT.CLAIM {t}:r PX 5000 REF ada REGISTRY {t}:r", false),
        ("LTMC.AGENT.CLAIM {t}:r PX 5000 REF bob", false),
    ] {
        let reply = team.ada.run(line);
        assert_eq!(reply.is_error() && reply.error_code() == "DENIED", is_denied, "{line}: {reply:?}");
        if !line.contains("REF") {
            let reply = team.server.run(line);
            assert!(!reply.is_error(), "{line} by who may break locks: {reply:?}");
        }
    }
}

#[test]
fn who_may_break_locks_is_not_bound() {
    let mut team = Team::start();
    let held = team.ada.run("LTMC.LOCK {t}:a ada PX 600000").int();
    let mut chief = team.server.user("chief", "~* +@all");
    assert_eq!(team.ada.run("LTMC.SESSION.JOIN {t}:job ada").int(), 1);
    assert_eq!(chief.run("LTMC.SESSION.OWN {t}:job {t}:a").int(), 1);
    assert_eq!(team.mallory.run("LTMC.SESSION.DISOWN {t}:job {t}:a").int(), 0);
    assert_eq!(chief.run("LTMC.SESSION.END {t}:job AGENT bob").int(), 1);
    assert!(!team.is_current("{t}:a", held), "what all participants hold there");
}

#[test]
fn pins_are_given_back_by_their_holders_word_only() {
    let mut team = Team::start();
    team.ada.run("LTMC.CHUNK.PUT {t}:b c data PIN ada 600000").array();
    assert!(team.mallory.run("LTMC.CHUNK.PIN {t}:b c mallory:1 PX 600000").int() > 0);
    assert_eq!(team.ada.run("LTMC.SESSION.JOIN {t}:job ada").int(), 1);
    assert_eq!(team.mallory.run("LTMC.SESSION.OWN {t}:job {t}:b").int(), 1);
    assert_eq!(team.mallory.run("LTMC.SESSION.END {t}:job").int(), 1);
    let pins = team.server.run("LTMC.CHUNK.INFO {t}:b c");
    let pins = pins.find("pins").expect("pins");
    assert!(format!("{pins:?}").contains("ada") && !format!("{pins:?}").contains("mallory"), "{pins:?}");
}

/// A session whose resources were named by several agents, on a server with a replica.
fn given() -> (Server, Server) {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    server.run("LTMC.SESSION.CREATE s PARTICIPANTS 2 ada bob").int();
    assert_eq!(server.run("LTMC.SESSION.OWN s a b c AGENT ada").int(), 3);
    assert_eq!(server.run("LTMC.SESSION.OWN s b d AGENT bob").int(), 1);
    assert_eq!(server.run("LTMC.SESSION.OWN s d").int(), 0);
    assert_eq!(server.run("LTMC.SESSION.DISOWN s b c AGENT ada").int(), 2);
    assert_eq!(server.run("LTMC.SESSION.DISOWN s d AGENT bob").int(), 1);
    (server, replica)
}

#[test]
fn words_survive_every_way_in_which_a_session_is_copied_or_loaded() {
    let (server, replica) = given();
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn what_was_given_by_a_word_goes_back_by_it_on_every_copy() {
    let (server, replica) = given();
    let held = ["a", "b", "d"].map(|key| server.run(&format!("LTMC.LOCK {key} ada PX 600000")).int());
    assert_eq!(server.run("LTMC.SESSION.END s").int(), 1);
    let is_current = |key: &str, fence: i64| server.run(&format!("LTMC.LOCK.CHECK {key} {fence}")).int() == 1;
    assert!(!is_current("a", held[0]), "ada gave it");
    assert!(is_current("b", held[1]), "bob gave it, who holds nothing there");
    assert!(!is_current("d", held[2]), "nobody in particular gave it, so it is about all who take part");
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn a_resource_is_given_by_so_many_and_no_more() {
    let server = Server::start();
    server.run("LTMC.SESSION.CREATE s").int();
    for agent in 0..64 {
        assert_eq!(server.run(&format!("LTMC.SESSION.OWN s k AGENT a{agent}")).int(), i64::from(agent == 0));
    }
    let reply = server.run("LTMC.SESSION.OWN s k AGENT one-more");
    assert_eq!(reply.error_code(), "LIMIT", "{reply:?}");
    assert_eq!(server.run("LTMC.SESSION.OWN s k AGENT a5").int(), 0);
    assert!(server.run("LTMC.SESSION.OWN s AGENT bob").error().contains("resource is missing"));
    assert!(server.run("LTMC.SESSION.DISOWN s AGENT bob").error().contains("resource is missing"));
    assert_eq!(server.run("LTMC.SESSION.STATUS s AGENT bob").text(), "active");
}

#[test]
fn the_right_to_take_from_others_is_asked_for_what_is_given_and_not_for_the_session_only() {
    let mut team = Team::start();
    let held = team.ada.run("LTMC.LOCK {t}:repo ada PX 600000").int();
    let mut own = team.server.user("own", "resetkeys ~m:* ~{t}:* +@all -ltmc.lock.break (+ltmc.lock.break ~m:*)");
    own.run("LTMC.SESSION.CREATE m:job").int();
    let reply = own.run("LTMC.SESSION.OWN m:job {t}:repo AGENT ada");
    assert_eq!(reply.error_code(), "DENIED", "{reply:?}");
    assert_eq!(own.run("LTMC.SESSION.OWN m:job {t}:repo").int(), 1);
    assert_eq!(own.run("LTMC.SESSION.END m:job").int(), 1);
    assert!(team.is_current("{t}:repo", held));
}

#[test]
fn a_claim_of_somebody_else_is_neither_released_nor_given_back() {
    let mut team = Team::start();
    team.server.run("CONFIG SET ltmc.orchestration-mode full").ok();
    team.ada.run("LTMC.REGISTER {t}:r ada PX 600000 CAPACITY 5").int();
    let fence = |claim: Reply| claim.array()[1].int();
    let of_job = fence(team.ada.run("LTMC.AGENT.CLAIM {t}:r PX 600000 REF {t}:job"));
    let bound = fence(team.ada.run("LTMC.AGENT.CLAIM {t}:r PX 600000 REF ada REGISTRY {t}:r"));
    let own = fence(team.mallory.run("LTMC.AGENT.CLAIM {t}:r PX 600000 REF mallory"));
    assert_eq!(team.mallory.run("LTMC.SESSION.OWN {t}:job {t}:r").int(), 1);
    assert_eq!(team.mallory.run("LTMC.SESSION.END {t}:job").int(), 1);
    let reply = team.mallory.run(&format!("LTMC.AGENT.RELEASE {{t}}:r {bound} OUTCOME FAIL"));
    assert_eq!(reply.error_code(), "DENIED", "{reply:?}");
    assert_eq!(team.mallory.run(&format!("LTMC.AGENT.RELEASE {{t}}:r {own}")).int(), 0, "it was given back");
    for fence in [of_job, bound] {
        assert_eq!(team.ada.run(&format!("LTMC.AGENT.RELEASE {{t}}:r {fence}")).int(), 1, "ada has it still");
    }
}

#[test]
fn a_user_whose_name_no_agent_can_have_does_not_act_as_anybody() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    let long = "u".repeat(300);
    server.run("LTMC.SESSION.CREATE s").int();
    server.run("LTMC.SESSION.CHECKPOINT s").int();
    for name in [&long[..], ""] {
        server.cmd(&["ACL", "SETUSER", name, "on", ">p", "~*", "+@all", "-ltmc.lock.break"]).ok();
        let mut user = server.client();
        user.auth(name, "p");
        for line in ["LTMC.SESSION.OWN s x", "LTMC.SESSION.RESTORE s 1", "LTMC.SESSION.END s"] {
            let reply = user.run(line);
            assert_eq!(reply.error_code(), "DENIED", "{line}: {reply:?}");
        }
    }
    server.debug_reload();
    assert_eq!(server.run("LTMC.SESSION.STATUS s").text(), "active");
}

#[test]
fn a_fork_is_nobodys_if_its_owner_is_somebody_else() {
    let mut team = Team::start();
    assert_eq!(team.ada.run("LTMC.CTX.CREATE {t}:x OWNER ada").int(), 1);
    for (is_own, fork) in [(true, "{t}:y"), (false, "{t}:z")] {
        let user = if is_own { &mut team.ada } else { &mut team.mallory };
        user.run(&format!("LTMC.CTX.FORK {{t}}:x {fork}")).int();
        let owner = team.server.run(&format!("LTMC.CTX.GET {fork}"));
        let owner = owner.find("owner").expect("an owner");
        assert_eq!(!owner.is_nil(), is_own, "{owner:?}");
    }
}

#[test]
fn what_is_given_stays_owed_while_it_cannot_be_given_back() {
    let server = Server::start();
    let held = server.run("LTMC.LOCK l a PX 600000").int();
    server.run("LTMC.SESSION.CREATE s PARTICIPANTS 1 a").int();
    assert_eq!(server.run("LTMC.SESSION.OWN s l").int(), 1);
    (0..3).for_each(|_| drop(server.run("LTMC.DEBUG PANIC l")));
    assert_eq!(server.run("LTMC.LOCK.CHECK l 2").error_code(), "QUARANTINED");
    assert_eq!(server.run("LTMC.SESSION.END s").int(), 1);
    let info = server.run("LTMC.SESSION.INFO s");
    assert_eq!(info.find("resources").expect("resources").texts(), ["l"], "it is owed");
    server.run("LTMC.REPAIR l").pairs();
    wait_until("the lock is given back", || server.run(&format!("LTMC.LOCK.CHECK l {held}")).int() == 0);
}
