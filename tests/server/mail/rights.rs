//! Who may do what with a mailbox.

use super::*;

#[test]
fn a_bound_user_sends_and_receives_under_its_own_name_only() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    server.run("ACL SETUSER ada on >p ~* +@all -ltmc.lock.break").ok();
    let mut ada = server.client();
    ada.auth("ada", "p");
    for line in [
        "SEND m bob TO 1 ada hello",
        "RECV m bob",
        "RECV m adam BLOCK 0",
        "ACK m bob 5",
        "NACK m bob 5",
        "EXTEND m bob 5 PX 5",
        "REQUEUE m bob 5",
        "JOIN m bob",
        "LEAVE m bob",
        "PENDING m bob",
    ] {
        let reply = ada.run(&format!("LTMC.MSG.{line}"));
        assert_eq!(reply.error_code(), "DENIED", "{line}: {reply:?}");
    }
    let id = ada.run("LTMC.MSG.SEND m ada TO 2 bob ada:1 hello").int();
    assert_eq!(payloads(ada.run("LTMC.MSG.RECV m ada:1").array()), ["hello"]);
    assert_eq!(ada.run(&format!("LTMC.MSG.ACK m ada:1 {id}")).int(), 1);
    assert!(ada.run("LTMC.MSG.PENDING m ada:1").array().is_empty());
    assert_eq!(ada.run("LTMC.MSG.INFO m").get("messages").int(), 1, "looking is free");
}

#[test]
fn a_registry_need_only_be_read() {
    let server = Server::start();
    server.run("LTMC.REGISTER r b CAPS 1 go PX 600000").int();
    server.run("LTMC.REGISTER secret b CAPS 1 go PX 600000").int();
    server.run("ACL SETUSER agent on >p resetkeys ~m %R~r +@all").ok();
    let mut agent = server.client();
    agent.auth("agent", "p");
    for destination in ["CAP go REGISTRY", "REGISTRY"] {
        assert!(agent.run(&format!("LTMC.MSG.SEND m a {destination} r hi")).int() > 0, "{destination}");
        let refused = agent.run(&format!("LTMC.MSG.SEND m a {destination} secret hi"));
        assert_eq!(refused.error_code(), "NOPERM", "{destination}: {refused:?}");
        let refused = agent.run(&format!("LTMC.MSG.SEND r a {destination} r hi"));
        assert_eq!(refused.error_code(), "NOPERM", "{destination}: {refused:?}");
    }
}
