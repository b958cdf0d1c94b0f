//! What is refused by the commands that ask a node about itself, and by those that carry and mend
//! values.

use crate::bad_input::{all_refusals, Refusals, FIXED, OPEN};
use crate::harness::*;

fn with_data() -> Server {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000").int();
    server
}

const OF: Refusals = Refusals {
    with_data,
    names: &["LTMC.STATUS", "LTMC.CLUSTER", "LTMC.HEALTH", "LTMC.APPLY", "LTMC.EXPLAIN", "LTMC.REPAIR", "LTMC.TRACE"],
    key: "k",
    others: &[],
    least: &[
        ("LTMC.STATUS", FIXED),
        ("LTMC.CLUSTER", FIXED),
        ("LTMC.HEALTH", FIXED),
        ("LTMC.APPLY @ payload", OPEN),
        ("LTMC.EXPLAIN payload", OPEN),
        ("LTMC.REPAIR @", FIXED),
        ("LTMC.TRACE GET", Some("n is '")),
    ],
    options: &[],
    numbers: &[],
    texts: &[],
};

all_refusals!(OF);
