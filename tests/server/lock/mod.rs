//! Locks: who has one, who waits for one, and who is kept out.

mod bad_input;
mod clients;
mod cluster;
mod deadlocks;
mod guard;
mod holding;
mod keys;
mod optimistic;
mod paths;
mod searches;
mod stress;
mod waiting;

use crate::harness::*;
use crate::waiting::*;

/// The owners in the list `which` (`holders` or `waiters`) of `LTMC.LOCK.INFO`; none if there is no
/// such lock.
pub fn owners(server: &Server, key: &str, which: &str) -> Vec<String> {
    let info = server.run(&format!("LTMC.LOCK.INFO {key}"));
    if info.is_nil() {
        return Vec::new();
    }
    let list = info.get(which).array();
    list.iter().map(|one| one.get("owner").text().to_string()).collect()
}

/// The only holder of a lock, as `LTMC.LOCK.INFO` shows it.
#[track_caller]
pub fn holder(server: &Server, key: &str) -> Reply {
    let info = server.run(&format!("LTMC.LOCK.INFO {key}"));
    let holders = info.get("holders").array();
    assert_eq!(holders.len(), 1, "{info:?}");
    holders[0].clone()
}

/// Waits until the fence is no longer current, since its lease has expired.
#[track_caller]
pub fn wait_not_current(server: &Server, key: &str, fence: i64) {
    wait_until("the fence is not current any more", || {
        server.run(&format!("LTMC.LOCK.CHECK {key} {fence}")).int() == 0
    });
}

/// Unlocks, and returns the result.
#[track_caller]
pub fn unlock(server: &Server, key: &str, owner: &str) -> i64 {
    server.run(&format!("LTMC.UNLOCK {key} {owner}")).int()
}

/// The lock `k`, held by `a`, and two clients that wait for it as `b` and `c`, in that order.
pub struct Queue {
    pub server: Server,
    pub holder: Client,
    pub fence: i64,
    pub b: Client,
    pub c: Client,
}

impl Queue {
    #[track_caller]
    pub fn start() -> Queue {
        Queue::on(Server::start(), "LTMC.LOCK k a PX 600000")
    }

    /// The same, where the holder takes the lock in its own way.
    #[track_caller]
    pub fn on(server: Server, held: &str) -> Queue {
        let mut holder = server.client();
        let fence = holder.run(held).int();
        let [b, c] = waiters_in_turn(&server, ["b", "c"], |owner| format!("LTMC.LOCK k {owner} PX 600000 BLOCK 0"));
        Queue { server, holder, fence, b, c }
    }

    /// The lock has passed to `b`, who passes it on to `c`. Then nothing is left.
    #[track_caller]
    pub fn b_then_c(mut self) {
        let first = self.b.recv().int();
        assert!(first > self.fence, "{first} is not above {}", self.fence);
        assert_eq!(self.b.run(&format!("LTMC.LOCK.CHECK k {first}")).int(), 1);
        assert_eq!(waiting(&self.server), 1);
        assert_eq!(unlock(&self.server, "k", "b"), 1);
        self.ends_with_c(first);
    }

    /// The lock has passed to `c`, with a fence above `before`. Then nothing is left.
    #[track_caller]
    pub fn ends_with_c(mut self, before: i64) {
        let last = self.c.recv().int();
        assert!(last > before, "{last} is not above {before}");
        assert_eq!(unlock(&self.server, "k", "c"), 1);
        assert_idle(&self.server);
        assert_eq!(self.server.run("EXISTS k").int(), 0);
        self.c.run("PING");
    }
}
