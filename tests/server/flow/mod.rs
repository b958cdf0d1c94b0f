//! Flows and tasks on real servers.

use crate::harness::*;

mod agents;
mod bad_input;
mod completion_waiters;
mod copies;
mod durability;
mod graph;
mod locks;
mod queue;
mod scale;
mod stops;
mod waiting;
mod workers;

/// A lease that does not end in a test unless the test wants that.
pub const LEASE_MS: i64 = 600_000;

/// The only task of a claim: its id and its fence.
#[track_caller]
pub fn claimed(reply: &Reply) -> (String, i64) {
    let tasks = reply.array();
    assert_eq!(tasks.len(), 1, "{reply:?}");
    (tasks[0].get("task").text().to_string(), tasks[0].get("fence").int())
}

/// Claims the next task of the flow `f`; there has to be one.
#[track_caller]
pub fn claim(server: &Server, agent: &str, more: &str) -> (String, i64) {
    claimed(&server.run(&format!("LTMC.TASK.CLAIM f {agent} PX {LEASE_MS} {more}")))
}

/// The fence of a claim of the task `id`.
#[track_caller]
pub fn fence_of(server: &Server, id: &str) -> i64 {
    let (task, fence) = claim(server, "w", "");
    assert_eq!(task, id);
    fence
}

/// Whether there is nothing to be claimed.
#[track_caller]
pub fn is_idle(server: &Server, more: &str) -> bool {
    server.run(&format!("LTMC.TASK.CLAIM f w {more}")).array().is_empty()
}

#[track_caller]
pub fn complete(server: &Server, task: &str, fence: i64) {
    server.run(&format!("LTMC.TASK.COMPLETE f {task} {fence} done")).ok();
}

/// Claims the next task and completes it. Returns its id.
#[track_caller]
pub fn work(server: &Server) -> String {
    let (task, fence) = claim(server, "w", "");
    complete(server, &task, fence);
    task
}

#[track_caller]
pub fn add(server: &Server, task: &str, more: &str) {
    assert_eq!(server.run(&format!("LTMC.TASK.ADD f {task} p-{task} {more}")).text(), task);
}

#[track_caller]
pub fn shown(server: &Server, task: &str) -> Reply {
    server.run(&format!("LTMC.TASK.GET f {task}"))
}

#[track_caller]
pub fn state(server: &Server, task: &str) -> String {
    shown(server, task).get("state").text().to_string()
}

#[track_caller]
pub fn why(server: &Server, task: &str) -> String {
    shown(server, task).get("why").text().to_string()
}

/// A number of `LTMC.FLOW.INFO`.
#[track_caller]
pub fn info(server: &Server, field: &str) -> i64 {
    server.run("LTMC.FLOW.INFO f").get(field).int()
}
