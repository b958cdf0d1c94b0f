//! `ltmc.bind-agent-to-user`: every argument by which a caller says who it is.

use super::*;

/// Each of those arguments, with its command and with what else has to be there.
fn acting() -> Vec<(&'static Value, Vec<&'static Value>)> {
    let mut found = Vec::new();
    for described in commands() {
        for arg in arguments(described, &|arg| !arg["acting"].is_null()) {
            let word = &arg["acting"];
            let option = arguments(described, &|arg| word.is_string() && arg["token"] == *word);
            found.push((described, [&[arg][..], &option[..]].concat()));
        }
    }
    assert!(found.len() > 40, "{} are few", found.len());
    found
}

/// The command with `agent` in that argument. A list names the user itself, too.
fn naming(agent: &str, described: &Value, with: &[&Value]) -> Vec<String> {
    let value = |arg: &Value, which: usize| {
        let is_it = ptr::eq(arg, with[0]);
        let own = || (!arg["acting"].is_null()).then(|| "ada".to_string());
        if is_it && (which == 1 || arg["multiple"] != true) {
            Some(agent.into())
        } else {
            own()
        }
    };
    Writer { with, value: &value }.command(described)
}

fn bind(server: &Server, whether: &str) {
    server.run(&format!("CONFIG SET ltmc.bind-agent-to-user {whether}")).ok();
}

fn is_denied(reply: &Reply) -> bool {
    reply.is_error() && reply.error_code() == "DENIED"
}

#[test]
fn a_user_is_bound_in_every_argument_that_says_who_it_is() {
    let server = Server::start();
    bind(&server, "yes");
    let mut ada = server.user("ada", "~* +@all -ltmc.lock.break");
    for (described, with) in acting() {
        server.run("FLUSHALL").ok();
        let words = naming("bob", described, &with);
        let reply = ada.cmd(&words);
        assert!(is_denied(&reply) && reply.error().contains("'ada' may not act as 'bob'"), "{words:?}: {reply:?}");
        assert_eq!(server.run("DBSIZE").int(), 0, "{words:?}");
        for own in ["ada", "ada:1"] {
            let words = naming(own, described, &with);
            let reply = ada.cmd(&words);
            assert!(!is_denied(&reply) && !is_refused(&reply), "{words:?}: {reply:?}");
        }
    }
}

#[test]
fn a_claim_belongs_to_an_agent_only_with_its_registry() {
    let server = Server::start();
    let mut ada = server.user("ada", "~* +@all -ltmc.lock.break");
    server.run("LTMC.REGISTER r w CAPACITY 2").int();
    bind(&server, "yes");
    assert_eq!(ada.run("LTMC.AGENT.CLAIM r PX 5 REF bob").array()[0].text(), "w", "it is any text");
    assert!(is_denied(&ada.run("LTMC.AGENT.CLAIM r PX 5 REGISTRY r REF bob")));
}

#[test]
fn who_takes_from_others_is_free_where_operators_are_and_bound_elsewhere() {
    let server = Server::start();
    bind(&server, "yes");
    let mut operator = server.user("operator", "~* +@all");
    let mut coordinator = server.user("coordinator", "~{team}:* +@all");
    for (described, with) in acting() {
        let is_operators = described["roles"].as_array().expect("roles").contains(&"operator".into());
        let value = |team: &str, arg: &Value| match (ptr::eq(arg, with[0]), &arg["type"]) {
            (true, _) => Some("bob".to_string()),
            (_, kind) if kind == "key" => Some(format!("{{{team}}}:k")),
            _ => None,
        };
        let on = |team: &str| Writer { with: &with, value: &|arg, _| value(team, arg) }.command(described);
        for client in [&mut operator, &mut coordinator] {
            let (words, reply) = (on("team"), client.cmd(&on("team")));
            assert_eq!(is_denied(&reply), !is_operators, "{words:?}: {reply:?}");
        }
        assert!(is_refused(&coordinator.cmd(&on("other"))), "{:?}", on("other"));
    }
}

#[test]
fn operators_and_coordinators_take_agents_out() {
    let server = Server::start();
    add_users(&server);
    let make = |team: &str| {
        bind(&server, "no");
        server.run(&format!("LTMC.REGISTER {{{team}}}:r bob")).int();
        server.run(&format!("LTMC.MSG.JOIN {{{team}}}:m bob")).int();
        bind(&server, "yes");
    };
    for (role, team, is_allowed) in [
        ("agent", "team", false),
        ("coordinator", "team", true),
        ("coordinator", "other", false),
        ("operator", "team", true),
        ("operator", "other", true),
    ] {
        make(team);
        let mut client = log_in(&server, role);
        for line in [format!("LTMC.DEREGISTER {{{team}}}:r bob"), format!("LTMC.MSG.LEAVE {{{team}}}:m bob")] {
            let reply = client.run(&line);
            assert_eq!(!reply.is_error(), is_allowed, "{role}: {line}: {reply:?}");
        }
    }
}

#[test]
fn a_guard_runs_under_the_fence_of_ones_own_agents() {
    let server = Server::start();
    let [mut ada, mut bob] = ["ada", "bob"].map(|name| server.user(name, "~* +@all -ltmc.lock.break"));
    bind(&server, "yes");
    let fence = ada.run("LTMC.LOCK l ada:1 PX 600000").int();
    let guarded = format!("LTMC.GUARD l {fence} SET doc x");
    assert!(is_denied(&bob.run(&guarded)));
    assert_eq!(server.run("EXISTS doc").int(), 0);
    ada.run(&guarded).ok();
    bind(&server, "no");
    bob.run(&guarded).ok();
}
