//! `LTMC.TASK.WAIT` in the tests of all commands that wait.

use crate::harness::*;
use crate::waiting::all_cases;
use crate::waiting::line::{Holder, Loss, Waiting};

const HOW: Waiting = Waiting {
    service: "flow",
    bound: "task-waiters-max",
    prepare: |client, key| {
        client.run(&format!("LTMC.TASK.ADD {key} t payload")).text();
        0
    },
    wait: |key, _| format!("LTMC.TASK.WAIT {key} t"),
    serve: |key, _: Holder| format!("LTMC.TASK.CANCEL {key} t"),
    token: |reply| i64::from(reply.get("state").text() == "cancelled"),
    is_nothing: Reply::is_nil,
    loss: Loss::Tells(|reply| reply.is_error() && reply.error_code() == "NOFLOW"),
    is_news: true,
    is_list: false,
    is_tied: false,
    other_type: "LTMC.LOCK # a",
};

all_cases!(HOW);
