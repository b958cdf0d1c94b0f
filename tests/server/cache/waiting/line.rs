//! `LTMC.CACHE.GET` in the tests of all commands that wait.

use crate::waiting::all_cases;
use crate::waiting::line::{Holder, Loss, Waiting};

const HOW: Waiting = Waiting {
    service: "cache",
    bound: "cache-waiters-max",
    prepare: |client, key| client.run(&format!("LTMC.CACHE.GET {key} t 1 LEASE 6000000")).get("ticket").int(),
    wait: |key, _| format!("LTMC.CACHE.GET {key} t 1 LEASE 6000000"),
    serve: |key, holder: Holder| format!("LTMC.CACHE.FAIL {key} t 1 {}", holder.token),
    token: |reply| reply.get("ticket").int(),
    is_nothing: |reply| reply.get("status").text() == "MISS" && reply.get("ticket").is_nil(),
    loss: Loss::Serves,
    is_news: false,
    is_list: false,
    is_tied: true,
    other_type: "LTMC.LOCK # a",
};

all_cases!(HOW);
