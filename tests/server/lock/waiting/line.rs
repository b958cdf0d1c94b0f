//! `LTMC.LOCK` in the tests of all commands that wait.

use crate::harness::*;
use crate::waiting::all_cases;
use crate::waiting::line::{Holder, Loss, Waiting};

pub const HOW: Waiting = Waiting {
    service: "lock",
    bound: "lock-waiters-max",
    prepare: |client, key| client.run(&format!("LTMC.LOCK {key} w0 PX 6000000")).int(),
    wait: |key, n| format!("LTMC.LOCK {key} w{n} PX 6000000"),
    serve: |key, holder: Holder| format!("LTMC.UNLOCK {key} w{}", holder.n),
    token: Reply::int,
    is_nothing: Reply::is_nil,
    loss: Loss::Serves,
    is_news: false,
    is_list: false,
    is_tied: false,
    other_type: "LTMC.REGISTER # a",
};

all_cases!(HOW);
