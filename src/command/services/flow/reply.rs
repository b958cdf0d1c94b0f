//! How tasks, claims and ends are shown.

use crate::command::reply::{Reply, Size};
use crate::domain::flow::task::End;
use crate::domain::flow::{Flow, How, Task};
use crate::domain::{Blob, Fence, Millis};
use std::borrow::Cow;

/// How tasks end, in words.
const ENDS: [(How, &str); 4] =
    [(How::Succeeded, "succeeded"), (How::Dead, "dead"), (How::Cancelled, "cancelled"), (How::Skipped, "skipped")];

/// A time, nil for 0.
pub fn time_or_nil(when: Millis) -> Reply {
    if when == 0 {
        Reply::Nil
    } else {
        Reply::number(when)
    }
}

/// A value, or nil if there is none.
pub fn blob_or_nil(blob: Option<&Blob>) -> Reply {
    blob.map_or(Reply::Nil, |blob| Reply::Blob(blob.clone()))
}

/// The locks that a task runs under, by name.
pub fn locks_of(task: &Task, fences: &[Fence]) -> Reply {
    let pairs = task.needs.locks.iter().zip(fences);
    Reply::Pairs(pairs.map(|(lock, fence)| (Reply::bytes(lock), Reply::number(*fence))).collect())
}

/// A claimed task, as its worker is told of it.
pub fn claim_map(task: &Task) -> Option<Reply> {
    let run = task.run()?;
    Some(Reply::map([
        ("task", Reply::bytes(&task.id)),
        ("fence", Reply::number(run.fence)),
        ("payload", Reply::Blob(task.payload.clone())),
        ("attempt", Reply::number(task.attempts.into())),
        ("lease_ms", Reply::number(run.lease_ms)),
        ("ends_at_ms", Reply::number(run.ends_at)),
        ("deadline_at_ms", Reply::number_or_nil(task.deadline())),
        ("group", Reply::bytes_or_nil(&task.needs.group)),
        ("locks", locks_of(task, &run.locks)),
        ("signal", blob_or_nil(task.plan.as_ref().and_then(|plan| plan.signal.as_ref()))),
    ]))
}

/// How large that is.
pub fn claim_size(task: &Task) -> Size {
    Size::map(10 + task.needs.locks.len(), claim_bytes(task))
}

fn claim_bytes(task: &Task) -> usize {
    let signal = task.plan.as_ref().and_then(|plan| plan.signal.as_ref());
    let locks: usize = task.needs.locks.iter().map(|lock| lock.len()).sum();
    task.id.len() + task.payload.len() + task.needs.group.len() + locks + signal.map_or(0, |signal| signal.len())
}

/// The end of a task, as the clients that wait for it are told.
pub fn task_end_map(task: &Task, end: &End) -> Reply {
    Reply::map([
        ("task", Reply::bytes(&task.id)),
        ("state", Reply::text(end.how.word())),
        ("result", blob_or_nil(Some(&end.result).filter(|_| end.how.is_success()))),
        ("reason", Reply::bytes_or_nil(&end.reason)),
        ("agent", Reply::bytes_or_nil(&end.agent)),
        ("ended_at_ms", Reply::number(end.at)),
    ])
}

/// The end of a flow, as the clients that wait for it are told.
pub fn flow_end_map(flow: &Flow) -> Reply {
    let mut fields: Vec<(Cow<'static, str>, Reply)> = vec![("state".into(), Reply::text(flow.state()))];
    fields.extend(ENDS.map(|(how, word)| (word.into(), Reply::number(flow.ended(how)))));
    Reply::Map(fields)
}
