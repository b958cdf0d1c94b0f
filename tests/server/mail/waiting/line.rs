//! `LTMC.MSG.RECV` in the tests of all commands that wait.

use crate::waiting::all_cases;
use crate::waiting::line::{Holder, Loss, Waiting};

const HOW: Waiting = Waiting {
    service: "mail",
    bound: "mail-waiters-max",
    prepare: |client, key| client.run(&format!("LTMC.MSG.JOIN {key} eve")).int() - 1,
    wait: |key, _| format!("LTMC.MSG.RECV {key} bob PX 6000000"),
    serve: |key, _: Holder| format!("LTMC.MSG.SEND {key} ada TO 1 bob text"),
    token: |reply| reply.array()[0].get("id").int(),
    is_nothing: |reply| reply.array().is_empty(),
    loss: Loss::WaitsOn(|key| format!("LTMC.MSG.SEND {key} ada TO 1 bob text")),
    is_news: false,
    is_list: true,
    is_tied: false,
    other_type: "LTMC.LOCK # a",
};

all_cases!(HOW);
