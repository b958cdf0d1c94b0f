//! The order in which the tasks of a specification are added.

use super::bad::bad;
use super::written::NAMELESS;
use crate::domain::flow::Addition;
use crate::domain::{Bytes, Error};
use ahash::AHashMap;
use std::collections::BTreeSet;

/// What each task comes after, by places in the specification: in order, each once.
struct Parents {
    places: Vec<usize>,
    /// Where those of each task end.
    ends: Vec<usize>,
}

impl Parents {
    fn of(&self, task: usize) -> &[usize] {
        let start = task.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.places[start..self.ends[task]]
    }

    fn read(tasks: &[Addition]) -> Result<Self, Error> {
        let mut places: AHashMap<&[u8], usize> = AHashMap::with_capacity(tasks.len());
        for (at, task) in tasks.iter().enumerate() {
            if *task.id != *NAMELESS && places.insert(&task.id, at).is_some() {
                return Err(bad(&format!("has the task '{}' twice", task.id.show())));
            }
        }
        let mut parents = Parents { places: Vec::new(), ends: Vec::with_capacity(tasks.len()) };
        let mut own: Vec<usize> = Vec::new();
        for task in tasks {
            let unknown = |parent: &Bytes| {
                bad(&format!("task '{}' comes after '{}', which is not among the tasks", task.id.show(), parent.show()))
            };
            for id in &task.after {
                own.push(*places.get(&id[..]).ok_or_else(|| unknown(id))?);
            }
            own.sort_unstable();
            own.dedup();
            parents.places.append(&mut own);
            parents.ends.push(parents.places.len());
        }
        Ok(parents)
    }
}

/// Puts each task behind its parents, and keeps the order otherwise. Errs with a cycle, if there is
/// one.
pub fn in_order(tasks: Vec<Addition>) -> Result<Vec<Addition>, Error> {
    let parents = Parents::read(&tasks)?;
    let is_behind = |task: usize| parents.of(task).last().is_none_or(|last| *last < task);
    if (0..tasks.len()).all(is_behind) {
        return Ok(tasks);
    }
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for child in 0..tasks.len() {
        parents.of(child).iter().for_each(|parent| children[*parent].push(child));
    }
    let mut open: Vec<usize> = (0..tasks.len()).map(|task| parents.of(task).len()).collect();
    let mut free: BTreeSet<usize> = (0..tasks.len()).filter(|at| open[*at] == 0).collect();
    let mut order = Vec::with_capacity(tasks.len());
    while let Some(next) = free.pop_first() {
        order.push(next);
        for child in &children[next] {
            open[*child] -= 1;
            if open[*child] == 0 {
                free.insert(*child);
            }
        }
    }
    if let Some(first) = open.iter().position(|open| *open > 0) {
        return Err(cycle(&tasks, &parents, &open, first));
    }
    let mut tasks: Vec<Option<Addition>> = tasks.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|at| tasks[at].take()).collect())
}

/// Follows the parents of a task that is on or behind a cycle until one comes again.
fn cycle(tasks: &[Addition], parents: &Parents, open: &[usize], first: usize) -> Error {
    let (mut way, mut steps) = (vec![first], AHashMap::from([(first, 0)]));
    loop {
        let last = way[way.len() - 1];
        let Some(next) = parents.of(last).iter().copied().find(|parent| open[*parent] > 0) else { break };
        let round = steps.insert(next, way.len());
        way.push(next);
        if let Some(start) = round {
            way.drain(..start);
            break;
        }
    }
    const SHOWN_MAX: usize = 32;
    let mut names: Vec<String> = way.iter().take(SHOWN_MAX).map(|at| format!("'{}'", tasks[*at].id.show())).collect();
    if way.len() > SHOWN_MAX {
        names.push("...".into());
    }
    bad(&format!("has a cycle: {}", names.join(" comes after ")))
}
