//! Mailboxes: what is sent, received and acknowledged, and that no message is lost.

mod bad_input;
mod copies;
mod destinations;
mod durability;
mod messages;
mod redelivery;
mod rights;
mod waiting;

use crate::harness::*;

/// Sends `line` after `LTMC.MSG.SEND m`; the id of the message.
#[track_caller]
fn send(server: &Server, line: &str) -> i64 {
    server.run(&format!("LTMC.MSG.SEND m {line}")).int()
}

/// What an agent receives by `line` after `LTMC.MSG.RECV m`.
#[track_caller]
fn recv(server: &Server, line: &str) -> Vec<Reply> {
    server.run(&format!("LTMC.MSG.RECV m {line}")).array().to_vec()
}

/// The payloads of messages.
#[track_caller]
fn payloads(messages: &[Reply]) -> Vec<String> {
    messages.iter().map(|message| message.get("payload").text().to_string()).collect()
}

/// The payloads that an agent receives.
#[track_caller]
fn read(server: &Server, line: &str) -> Vec<String> {
    payloads(&recv(server, line))
}

/// How often each of them was received.
#[track_caller]
fn deliveries(messages: &[Reply]) -> Vec<i64> {
    messages.iter().map(|message| message.get("deliveries").int()).collect()
}

#[track_caller]
fn ack(server: &Server, agent: &str, ids: &[i64]) -> i64 {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    server.run(&format!("LTMC.MSG.ACK m {agent} {}", ids.join(" "))).int()
}

/// A number of `LTMC.MSG.INFO m`.
#[track_caller]
fn info(server: &Server, field: &str) -> i64 {
    server.run("LTMC.MSG.INFO m").get(field).int()
}

/// Waits until the scheduler has done something this often.
#[track_caller]
fn wait_for(server: &Server, event: &str, count: i64) {
    let field = format!("ltmc_event_{}", event.replace('.', "_"));
    wait_until(event, || server.info("ltmc").get(&field).is_some_and(|value| value.parse() == Ok(count)));
}
