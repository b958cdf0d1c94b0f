//! Waiting for the end of a task or of a flow.

use super::*;
use crate::waiting::*;

mod line;

#[track_caller]
fn onlooker(server: &Server, line: &str) -> Client {
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| line.to_string());
    client
}

#[test]
fn the_end_of_a_task_answers_all_who_wait_for_it() {
    let server = Server::start();
    add(&server, "a", "");
    add(&server, "b", "AFTER 1 a");
    assert!(server.run("LTMC.TASK.WAIT f a").is_nil(), "who does not wait looks");
    let mut of_a = [onlooker(&server, "LTMC.TASK.WAIT f a BLOCK 0"), onlooker(&server, "LTMC.TASK.WAIT f a BLOCK 0")];
    let mut of_b = onlooker(&server, "LTMC.TASK.WAIT f b BLOCK 0");
    let mut of_flow = onlooker(&server, "LTMC.TASK.WAIT f BLOCK 0");
    work(&server);
    for client in &mut of_a {
        let end = client.recv();
        assert_eq!(
            (end.get("state").text(), end.get("result").text(), end.get("agent").text()),
            ("succeeded", "done", "w")
        );
    }
    assert_eq!(waiting(&server), 2);
    let fence = fence_of(&server, "b");
    server.run(&format!("LTMC.TASK.FAIL f b {fence} no DEAD")).text();
    let end = of_b.recv();
    assert_eq!((end.get("state").text(), end.get("reason").text()), ("dead", "no"));
    assert!(end.get("result").is_nil());
    let end = of_flow.recv();
    assert_eq!((end.get("state").text(), end.get("succeeded").int(), end.get("dead").int()), ("failed", 1, 1));
    assert_eq!(server.run("LTMC.TASK.WAIT f"), end);
    assert_idle(&server);
}

#[test]
fn every_kind_of_end_is_an_end() {
    let server = Server::start();
    for (task, end) in [("a", "LTMC.TASK.CANCEL f a"), ("b", "LTMC.FLOW.CANCEL f"), ("c", "deadline"), ("d", "skip")] {
        server.run("DEL f");
        match task {
            "c" => add(&server, "c", "DEADLINE 30"),
            "d" => {
                add(&server, "up", "");
                add(&server, "d", "AFTER 1 up");
            }
            _ => add(&server, task, ""),
        }
        let mut client = onlooker(&server, &format!("LTMC.TASK.WAIT f {task} BLOCK 0"));
        match end {
            "skip" => assert_eq!(server.run("LTMC.TASK.CANCEL f up").int(), 1),
            "deadline" => {}
            line => assert_eq!(server.run(line).int(), 1),
        }
        let expected = ["cancelled", "cancelled", "dead", "skipped"]
            [["a", "b", "c", "d"].iter().position(|t| *t == task).expect("known")];
        assert_eq!(client.recv().get("state").text(), expected);
    }
    assert_idle(&server);
}

#[test]
fn what_is_not_there_has_no_end() {
    let server = Server::start();
    assert_eq!(server.run("LTMC.TASK.WAIT f BLOCK 0").error_code(), "NOFLOW");
    server.run("LTMC.FLOW.CREATE f").ok();
    assert_eq!(server.run("LTMC.TASK.WAIT f a BLOCK 0").error_code(), "NOTASK");
    assert!(server.run("LTMC.TASK.WAIT f BLOCK 20").is_nil(), "an empty flow has not begun");
    add(&server, "a", "");
    let mut clients = [onlooker(&server, "LTMC.TASK.WAIT f a BLOCK 0"), onlooker(&server, "LTMC.TASK.WAIT f BLOCK 0")];
    server.run("DEL f");
    for client in &mut clients {
        assert_eq!(client.recv().error_code(), "NOFLOW");
    }
    assert_idle(&server);
}

#[test]
fn who_waits_on_a_replica_is_told_of_ends_too() {
    let server = Server::start();
    add(&server, "a", "");
    let replica = server.replica();
    assert!(replica.run("LTMC.TASK.WAIT f a").is_nil());
    let mut clients =
        [onlooker(&replica, "LTMC.TASK.WAIT f a BLOCK 0"), onlooker(&replica, "LTMC.TASK.WAIT f BLOCK 0")];
    work(&server);
    for client in &mut clients {
        assert_eq!(client.recv().get("state").text(), "succeeded");
    }
    assert_eq!(replica.run("LTMC.TASK.WAIT f a").get("state").text(), "succeeded");
    assert_eq!(replica.run("LTMC.TASK.GET f a").get("result").text(), "done");
    assert_eq!(replica.run("LTMC.FLOW.INFO f").get("state").text(), "succeeded");
}

#[test]
fn many_are_told_in_rounds_what_came_though_the_flow_is_gone_meanwhile() {
    for (line, end) in [("LTMC.TASK.WAIT f a BLOCK 0", "state"), ("LTMC.TASK.WAIT f BLOCK 0", "skipped")] {
        let server = Server::start();
        run(&server, "LTMC.TASK.ADD f a x");
        let mut clients = server.clients(500);
        let id = clients[499].id();
        server.block_in_turn(&mut clients, |_| line.into());
        let kill = format!("CLIENT KILL ID {id}");
        let replies = server.client().pipeline(&[
            "MULTI",
            "LTMC.FLOW.CANCEL f",
            "DEL f",
            "LTMC.SESSION.SET f x y",
            &kill,
            "EXEC",
        ]);
        assert!(!replies[5].is_error(), "{replies:?}");
        for client in &mut clients[..499] {
            let told = client.recv();
            assert!(!told.is_error() && told.pairs().iter().any(|(name, _)| name.text() == end), "{told:?}");
        }
        wait_until("nobody waits", || server.info_int("clients", "blocked_clients") == 0);
        assert_eq!(server.info_int("ltmc", "ltmc_waiting_clients"), 0);
    }
}

#[test]
fn many_are_told_in_rounds_that_the_key_is_of_another_type() {
    let server = Server::start();
    run(&server, "LTMC.TASK.ADD f a x");
    let mut clients = server.clients(500);
    server.block_in_turn(&mut clients, |_| "LTMC.TASK.WAIT f BLOCK 0".into());
    run(&server, "SET f x");
    // A flow of that name again is another one.
    run(&server, "DEL f");
    run(&server, "LTMC.TASK.ADD f b x");
    for client in &mut clients {
        assert!(client.recv().is_error());
    }
    assert_eq!(server.info_int("ltmc", "ltmc_waiting_clients"), 0);
}
