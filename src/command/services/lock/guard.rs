//! `LTMC.GUARD`: any command, fenced by a lock.

use crate::command::engine::args::Args;
use crate::command::engine::auditing;
use crate::command::engine::current::current;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::domain::lock::{decide, Lock};
use crate::domain::{Clock, Error};

/// `LTMC.GUARD`
pub fn guard<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("lockkey")?;
    let fence = args.fence_or_zero("fence")?;
    let inner = args.rest();
    if inner[0].eq_ignore_ascii_case(cx.spec.name.as_bytes()) {
        return Err(Error::usage("the command LTMC.GUARD cannot run LTMC.GUARD"));
    }
    let key = cx.key(1);
    let now = cx.now();
    let lock = current::<Lock, H>(cx.node, cx.host, key)?;
    if !lock.is_current(fence, now) {
        return Err(decide::stale(&lock, fence));
    }
    // Checked only now, since any number that never was a fence may look like a stamp.
    if Clock::is_stamp(fence) {
        return Err(Error::usage(format!("{fence} is an optimistic stamp, which excludes nobody; lock to guard")));
    }
    let holder = lock.grants().get(fence).map(|grant| grant.owner.clone());
    if let Some(holder) = holder {
        cx.check_actor(&holder)?;
        auditing::acts_for(cx.node, &holder);
    }
    cx.host.call(inner)?;
    Ok(Outcome::Reply(Reply::Called))
}
