//! `LTMC.AGENT.CLAIM` in the tests of all commands that wait.

use crate::harness::*;
use crate::waiting::all_cases;
use crate::waiting::line::{Holder, Loss, Waiting};

const HOW: Waiting = Waiting {
    service: "registry",
    bound: "claim-waiters-max",
    prepare: |client, key| {
        client.run(&format!("LTMC.REGISTER {key} a PX 60000000")).int();
        client.run(&format!("LTMC.AGENT.CLAIM {key} PX 6000000")).array()[1].int()
    },
    wait: |key, n| format!("LTMC.AGENT.CLAIM {key} PX 6000000 REF w{n}"),
    serve: |key, holder: Holder| format!("LTMC.AGENT.RELEASE {key} {}", holder.token),
    token: |reply| reply.array()[1].int(),
    is_nothing: Reply::is_nil,
    loss: Loss::WaitsOn(|key| format!("LTMC.REGISTER {key} a PX 60000000")),
    is_news: false,
    is_list: false,
    is_tied: false,
    other_type: "LTMC.LOCK # a",
};

all_cases!(HOW);
