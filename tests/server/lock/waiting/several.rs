//! `LTMC.MLOCK` in the tests of all commands that wait.

use crate::waiting::all_cases;
use crate::waiting::line::Waiting;

const HOW: Waiting = Waiting {
    wait: |key, n| format!("LTMC.MLOCK w{n} 1 {key} PX 6000000"),
    token: |reply| reply.ints()[0],
    ..super::line::HOW
};

all_cases!(HOW);
