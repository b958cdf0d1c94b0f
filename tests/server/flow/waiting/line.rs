//! `LTMC.TASK.CLAIM` in the tests of all commands that wait.

use crate::waiting::all_cases;
use crate::waiting::line::{Holder, Loss, Waiting};

const HOW: Waiting = Waiting {
    service: "flow",
    bound: "task-waiters-max",
    prepare: |client, key| {
        client.run(&format!("LTMC.TASK.ADD {key} never payload CAPS 1 never")).text();
        0
    },
    wait: |key, n| format!("LTMC.TASK.CLAIM {key} w{n} PX 6000000"),
    serve: |key, _: Holder| format!("LTMC.TASK.ADD {key} * payload"),
    token: |reply| reply.array()[0].get("fence").int(),
    is_nothing: |reply| reply.array().is_empty(),
    loss: Loss::WaitsOn(|key| format!("LTMC.TASK.ADD {key} * payload")),
    is_news: false,
    is_list: true,
    is_tied: false,
    other_type: "LTMC.LOCK # a",
};

all_cases!(HOW);
