//! Which owners are deadlocked, the naive way: from scratch, over all of them.

use super::naive::{Mode, Naive, Wait};
use std::collections::BTreeSet;

/// The owners of database `db` of whom none can ever continue, whatever the others do.
pub fn stuck(model: &Naive, db: u32) -> BTreeSet<String> {
    let waits: Vec<&Wait> = model.waits.iter().filter(|wait| wait.keys[0].0 == db).collect();
    let mut stuck: BTreeSet<String> = waits.iter().map(|wait| wait.want.owner.clone()).collect();
    loop {
        let freed: Vec<String> = stuck
            .iter()
            .filter(|owner| {
                let own = waits.iter().filter(|wait| wait.want.owner == **owner);
                own.into_iter().all(|wait| comes_to_its_turn(model, wait, &stuck))
            })
            .cloned()
            .collect();
        if freed.is_empty() {
            return stuck;
        }
        stuck.retain(|owner| !freed.contains(owner));
    }
}

/// Whether `wait` is served once all owners outside `stuck` have ended all they hold and want.
fn comes_to_its_turn(model: &Naive, wait: &Wait, stuck: &BTreeSet<String>) -> bool {
    wait.keys.iter().all(|key| {
        let queue_ends = model
            .queue(key)
            .into_iter()
            .filter(|earlier| earlier.rank < wait.rank && wait.want.stays_behind(&earlier.want))
            .all(|earlier| !stuck.contains(&earlier.want.owner));
        let left: Vec<_> = model
            .holds(key)
            .iter()
            .filter(|hold| !hold.is_over(model.now) && stuck.contains(&hold.owner))
            .filter(|hold| wait.converts != Some(hold.fence))
            .collect();
        let covered = model.covering(key, &wait.want).is_some();
        let holders_end = left.iter().all(|hold| !wait.want.is_kept_out_by(hold));
        let sharing: Vec<_> =
            left.iter().filter(|hold| hold.mode == Mode::Shared && hold.path == wait.want.path).collect();
        let limits = sharing.iter().map(|hold| hold.limit).chain([wait.want.limit]);
        let room = wait.want.mode != Mode::Shared
            || limits.filter(|limit| *limit > 0).all(|limit| (sharing.len() as u64) < limit);
        queue_ends && (covered || (holders_end && room))
    })
}
