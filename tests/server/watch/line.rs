//! `LTMC.WATCH` in the tests of all commands that wait.

use crate::waiting::all_cases;
use crate::waiting::line::{Holder, Loss, Waiting};

const HOW: Waiting = Waiting {
    service: "watch",
    bound: "watchers-max",
    prepare: |client, key| client.run(&format!("LTMC.REGISTER {key} a PX 60000000")).int(),
    wait: |key, _| format!("LTMC.WATCH 1 {key} SINCE $"),
    serve: |key, _: Holder| format!("LTMC.REGISTER {key} b PX 60000000"),
    token: |reply| reply.array()[0].array()[0].int(),
    is_nothing: |reply| reply.array()[0].array()[1].array().is_empty(),
    loss: Loss::Tells(|reply| !reply.is_error() && reply.array()[0].array().len() == 3),
    is_news: true,
    is_list: false,
    is_tied: false,
    other_type: "LTMC.LOCK # a",
};

all_cases!(HOW);
