//! What is derived from the tasks of a flow: the edges, the tasks that may be
//! claimed, and the timers.
//!
//! Ready tasks stand in lines, one for each set of [needs](Needs). The first task of each line
//! whose group has room is *on offer*, under the capabilities that it requires. So a claim looks at
//! no more than one task of each line, and if that one does not fit, none of its line does.

use super::edges::Edges;
use super::offers::{Caps, Offers, OnOffer, Place};
use super::shelf::Shelf;
use super::task::{caps_bytes, End, Needs, State, Task, OPEN_STATES, STATE_WORDS};
use super::{Options, TaskNo};
use crate::domain::algorithm::allocator::{allocated, table_bytes, tree_bytes};
use crate::domain::algorithm::room::GiveBack;
use crate::domain::queue::rank::virtual_start;
use crate::domain::value::capability::{Capability, Requirement};
use crate::domain::{Bytes, Fence, Looked, Millis};
use ahash::AHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// When to look at a task.
pub type Alarm = (Millis, TaskNo);

/// An ended task that is no longer needed: the time of its end, and the task.
pub type Retired = (Millis, TaskNo);

/// Tasks with the same needs.
#[derive(Debug, Clone, Default, PartialEq)]
struct Line {
    /// The number of its tasks, in any state.
    tasks: usize,
    /// The ready tasks.
    ready: BTreeSet<Place>,
}

/// Tasks of which only a limited number run at a time.
#[derive(Debug, Clone, Default, PartialEq)]
struct Group {
    running: usize,
    /// The lines with ready tasks of the group.
    lines: BTreeSet<Arc<Needs>>,
}

/// Everything derived.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    by_id: AHashMap<Bytes, TaskNo>,
    /// Which tasks come after which.
    pub(super) edges: Edges,
    /// Ended tasks whose end is not known to all children, with the first child that
    /// does not know it.
    pub(super) pending: BTreeMap<TaskNo, TaskNo>,
    /// When to look at which task.
    timers: BTreeSet<Alarm>,
    claims: BTreeMap<Fence, TaskNo>,
    /// The running tasks by worker.
    by_agent: BTreeMap<Bytes, BTreeSet<TaskNo>>,
    by_state: [BTreeSet<TaskNo>; STATE_WORDS.len()],
    lines: AHashMap<Arc<Needs>, Line>,
    groups: AHashMap<Bytes, Group>,
    /// The different sets of capabilities that tasks require, with the number of their lines.
    sets: AHashMap<Caps, usize>,
    /// The first task of each line whose group has room.
    offers: OnOffer,
    /// Tasks that are no longer needed, the earliest ended first, by their shelves.
    retired: [BTreeSet<Retired>; 2],
    /// Bytes of all tasks and their needs.
    task_bytes: usize,
    /// How many of them travel beside a payload.
    beside_bytes: usize,
}

impl Index {
    /// The number of a task.
    pub fn no(&self, id: &[u8]) -> Option<TaskNo> {
        self.by_id.get(id).copied()
    }

    /// The task of a claim.
    pub fn claimed(&self, fence: Fence) -> Option<TaskNo> {
        self.claims.get(&fence).copied()
    }

    /// The running tasks, in the order of their claims.
    pub fn claimed_tasks(&self) -> impl Iterator<Item = TaskNo> + '_ {
        self.claims.values().copied()
    }

    /// The tasks that a worker runs, in the order of their numbers.
    pub fn run_by(&self, agent: &[u8]) -> impl Iterator<Item = TaskNo> + '_ {
        self.by_agent.get(agent).into_iter().flatten().copied()
    }

    /// How many tasks a worker runs.
    pub fn running_by(&self, agent: &[u8]) -> usize {
        self.by_agent.get(agent).map_or(0, BTreeSet::len)
    }

    /// The number of tasks in each state.
    pub fn counts(&self) -> [usize; STATE_WORDS.len()] {
        self.by_state.each_ref().map(BTreeSet::len)
    }

    /// The tasks in a state, by its place in [`STATE_WORDS`].
    pub fn in_state(&self, state: usize) -> &BTreeSet<TaskNo> {
        &self.by_state[state]
    }

    /// The number of different sets of capabilities that tasks require.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// Whether a task requires exactly these capabilities.
    pub fn has_set(&self, caps: &[Requirement]) -> bool {
        self.sets.contains_key(caps)
    }

    /// The number of open tasks: those that have not ended.
    pub fn open(&self) -> usize {
        self.by_state[..OPEN_STATES].iter().map(BTreeSet::len).sum()
    }

    /// The number of running tasks.
    pub fn running(&self) -> usize {
        self.by_state[OPEN_STATES - 1].len()
    }

    /// The number of running tasks of a group.
    pub fn running_of(&self, group: &[u8]) -> usize {
        self.groups.get(group).map_or(0, |group| group.running)
    }

    /// How many lines a claim of a task takes from offer, if it is the last that its group has room
    /// for.
    pub fn lines_closed(&self, needs: &Needs, options: &Options) -> usize {
        let group = self.groups.get(&needs.group).filter(|_| options.group_max > 0);
        group.filter(|group| group.running + 1 == options.group_max as usize).map_or(0, |group| group.lines.len())
    }

    /// Whether any task is on offer.
    pub fn has_offers(&self) -> bool {
        !self.offers.is_empty()
    }

    /// When the first task has to be looked at.
    pub fn first_timer(&self) -> Option<Millis> {
        self.timers.first().map(|(when, _)| *when)
    }

    /// The tasks that are due, the earliest first; with `behind` only those after it.
    pub fn due(&self, now: Millis, behind: Option<Alarm>) -> impl Iterator<Item = Alarm> + '_ {
        let last = (now, TaskNo::MAX);
        // The clock may have been set back since.
        let first = behind.map_or((0, 0), |(when, no)| (when, no.saturating_add(1))).min(last);
        self.timers.range(first..=last).copied()
    }

    /// Which tasks come after which.
    pub fn edges(&self) -> &Edges {
        &self.edges
    }

    /// The tasks on offer to a worker with these capabilities, the best first: one of each line.
    pub fn offers(&self, caps: &[Capability]) -> Offers<'_> {
        self.offers.to(caps)
    }

    /// Whether a task is on offer to a worker with these capabilities, and how much was looked at
    /// for that.
    pub fn has_offer(&self, caps: &[Capability]) -> (bool, usize) {
        self.offers.has_any(caps)
    }

    /// The tasks on a shelf, the earliest ended first.
    pub fn retired(&self, shelf: Shelf) -> &BTreeSet<Retired> {
        &self.retired[shelf as usize]
    }

    fn retired_len(&self) -> usize {
        self.retired.iter().map(BTreeSet::len).sum()
    }

    /// A task that has ended is no longer needed.
    pub(super) fn retire(&mut self, end: &End, no: TaskNo) {
        self.retired[end.how.shelf() as usize].insert((end.at, no));
    }

    /// A task that has ended is needed.
    pub(super) fn need(&mut self, end: &End, no: TaskNo) {
        self.retired[end.how.shelf() as usize].remove(&(end.at, no));
    }

    /// Whether the counts agree with this number of tasks.
    pub fn counts_all(&self, tasks: usize) -> bool {
        let ended = self.by_state[OPEN_STATES..].iter().map(BTreeSet::len).sum::<usize>();
        (self.by_id.len(), self.open() + ended, self.claims.len()) == (tasks, tasks, self.running())
            && self.retired_len() + self.pending.len() <= ended
    }

    /// Whether a task is where its state says.
    pub fn has(&self, task: &Task, options: &Options) -> bool {
        let has_alarm = task.alarm().is_none_or(|when| self.timers.contains(&(when, task.no)));
        let Some(line) = self.lines.get(&task.needs).filter(|line| line.tasks > 0) else { return false };
        let group = self.groups.get(&task.needs.group);
        let has_group = |known: fn(&Group, &Needs) -> bool| {
            task.needs.group.is_empty() || group.is_some_and(|group| known(group, &task.needs))
        };
        let stands = match &task.state {
            State::Ready => {
                let place = place(task, options);
                let is_next = line.ready.first() == Some(&place) && self.has_room(&task.needs.group, options);
                let is_offered = self.offers.has(&task.needs.caps, &place);
                line.ready.contains(&place)
                    && is_offered == is_next
                    && has_group(|group, needs| group.lines.contains(needs))
            }
            State::Running(run) => {
                let is_run = self.by_agent.get(&run.agent).is_some_and(|tasks| tasks.contains(&task.no));
                is_run && self.claimed(run.fence) == Some(task.no) && has_group(|group, _| group.running > 0)
            }
            State::Ended(end) => {
                let is_needed = task.children > 0 || self.pending.contains_key(&task.no);
                self.retired(end.how.shelf()).contains(&(end.at, task.no)) != is_needed
            }
            _ => true,
        };
        let is_counted = self.in_state(task.state.index()).contains(&task.no) && self.has_set(&task.needs.caps);
        self.no(&task.id) == Some(task.no) && has_alarm && is_counted && stands
    }

    /// Bytes of the tasks that are in a payload and not beside it.
    pub fn inline_bytes(&self) -> usize {
        self.task_bytes - self.beside_bytes
    }

    /// Bytes allocated outside the struct itself, including those of the tasks.
    pub fn heap_bytes(&self) -> usize {
        let ready = tree_bytes(self.by_state[OPEN_STATES - 2].len(), size_of::<Place>());
        let states: usize = self.by_state.iter().map(|tasks| tree_bytes(tasks.len(), size_of::<TaskNo>())).sum();
        let workers = tree_bytes(self.by_agent.len(), size_of::<(Bytes, BTreeSet<TaskNo>)>());
        let pairs =
            self.timers.len() + self.retired_len() + self.claims.len() + self.edges.count() + self.pending.len();
        table_bytes(self.by_id.capacity(), size_of::<(Bytes, TaskNo)>())
            + table_bytes(self.lines.capacity(), size_of::<(Arc<Needs>, Line)>())
            + table_bytes(self.groups.capacity(), size_of::<(Bytes, Group)>())
            + table_bytes(self.sets.capacity(), size_of::<(Caps, usize)>())
            + tree_bytes(pairs, size_of::<(u64, u64)>())
            + ready
            + states
            + workers
            + tree_bytes(self.claims.len(), size_of::<TaskNo>())
            + self.task_bytes
    }

    /// The same needs, as other tasks have them.
    pub fn shared(&self, needs: &Needs) -> Arc<Needs> {
        let same = self.lines.get_key_value(needs).map(|(same, _)| same.clone());
        same.unwrap_or_else(|| needs.clone().into())
    }

    /// Adds a task.
    pub fn enter(&mut self, task: &mut Task) {
        self.by_id.insert(task.id.clone(), task.no);
        task.parents.iter().for_each(|parent| self.edges.tie(parent, task.no));
        if let Some((same, _)) = self.lines.get_key_value(&task.needs) {
            task.needs = same.clone();
        }
        let line = self.lines.entry(task.needs.clone()).or_default();
        line.tasks += 1;
        if line.tasks == 1 {
            self.task_bytes += needs_bytes(&task.needs);
            match self.sets.get_mut(&task.needs.caps) {
                Some(lines) => *lines += 1,
                None => {
                    self.sets.insert(task.needs.caps.clone(), 1);
                    self.task_bytes += caps_bytes(&task.needs.caps);
                }
            }
        }
    }

    /// Removes a forgotten task.
    pub fn leave(&mut self, task: &Task) {
        self.by_id.remove(&task.id);
        self.by_id.give_back_room();
        if let Some(line) = self.lines.get_mut(&task.needs) {
            line.tasks -= 1;
            if line.tasks == 0 {
                self.lines.remove(&task.needs);
                self.lines.give_back_room();
                self.task_bytes -= needs_bytes(&task.needs);
                self.leave_set(&task.needs.caps);
            }
        }
        task.parents.iter().for_each(|parent| self.edges.untie(parent, task.no));
    }

    fn leave_set(&mut self, caps: &[Requirement]) {
        let Some(lines) = self.sets.get_mut(caps) else { return };
        *lines -= 1;
        if *lines == 0 {
            self.sets.remove(caps);
            self.sets.give_back_room();
            self.task_bytes -= caps_bytes(caps);
        }
    }

    /// Puts a task where its state says.
    pub fn set_down(&mut self, task: &Task, options: &Options) {
        self.by_state[task.state.index()].insert(task.no);
        self.task_bytes += task_bytes(task);
        self.beside_bytes += task.beside_bytes();
        self.timers.extend(task.alarm().map(|when| (when, task.no)));
        match &task.state {
            State::Ready => self.line_up(&task.needs, place(task, options), options),
            State::Running(run) => {
                self.claims.insert(run.fence, task.no);
                self.by_agent.entry(run.agent.clone()).or_default().insert(task.no);
                self.count_running(&task.needs.group, true, options);
            }
            State::Ended(end) if task.children == 0 && !self.pending.contains_key(&task.no) => {
                self.retire(end, task.no);
            }
            _ => {}
        }
    }

    /// Takes a task from where its state says.
    pub fn lift(&mut self, task: &Task, options: &Options) {
        self.by_state[task.state.index()].remove(&task.no);
        self.task_bytes -= task_bytes(task);
        self.beside_bytes -= task.beside_bytes();
        if let Some(when) = task.alarm() {
            self.timers.remove(&(when, task.no));
        }
        match &task.state {
            State::Ready => self.line_off(&task.needs, place(task, options), options),
            State::Running(run) => {
                self.claims.remove(&run.fence);
                if let Some(tasks) = self.by_agent.get_mut(&run.agent) {
                    tasks.remove(&task.no);
                    if tasks.is_empty() {
                        self.by_agent.remove(&run.agent);
                    }
                }
                self.count_running(&task.needs.group, false, options);
            }
            State::Ended(end) => self.need(end, task.no),
            _ => {}
        }
    }

    fn line_up(&mut self, needs: &Arc<Needs>, place: Place, options: &Options) {
        let Some(line) = self.lines.get_mut(needs) else { return };
        let first = line.ready.first().copied();
        line.ready.insert(place);
        if first.is_none() && !needs.group.is_empty() {
            self.groups.entry(needs.group.clone()).or_default().lines.insert(needs.clone());
        }
        if first.is_none_or(|first| place < first) && self.has_room(&needs.group, options) {
            first.into_iter().for_each(|first| self.withdraw(needs, first));
            self.offer(needs, place);
        }
    }

    fn line_off(&mut self, needs: &Arc<Needs>, place: Place, options: &Options) {
        let Some(line) = self.lines.get_mut(needs) else { return };
        let was_first = line.ready.first() == Some(&place);
        line.ready.remove(&place);
        let next = line.ready.first().copied();
        if was_first && self.has_room(&needs.group, options) {
            self.withdraw(needs, place);
            next.into_iter().for_each(|next| self.offer(needs, next));
        }
        if next.is_none() && !needs.group.is_empty() {
            if let Some(group) = self.groups.get_mut(&needs.group) {
                group.lines.remove(needs);
            }
            self.tidy_group(&needs.group);
        }
    }

    fn offer(&mut self, needs: &Needs, place: Place) {
        self.offers.add(&needs.caps, place);
    }

    fn withdraw(&mut self, needs: &Needs, place: Place) {
        self.offers.remove(&needs.caps, &place);
    }

    /// Whether one more task of a group may run.
    pub fn has_room(&self, group: &[u8], options: &Options) -> bool {
        options.group_max == 0 || group.is_empty() || self.running_of(group) < options.group_max as usize
    }

    fn count_running(&mut self, name: &Bytes, begins: bool, options: &Options) {
        if name.is_empty() {
            return;
        }
        let had_room = self.has_room(name, options);
        let group = self.groups.entry(name.clone()).or_default();
        group.running = if begins { group.running + 1 } else { group.running.saturating_sub(1) };
        let has_room = self.has_room(name, options);
        if had_room != has_room {
            let lines = self.groups.get(name).map(|group| group.lines.clone()).unwrap_or_default();
            for needs in lines.into_iter().looked() {
                let first = self.lines.get(&needs).and_then(|line| line.ready.first().copied());
                match first {
                    Some(first) if has_room => self.offer(&needs, first),
                    Some(first) => self.withdraw(&needs, first),
                    None => {}
                }
            }
        }
        self.tidy_group(name);
    }

    fn tidy_group(&mut self, name: &[u8]) {
        if self.groups.get(name).is_some_and(|group| group.running == 0 && group.lines.is_empty()) {
            self.groups.remove(name);
            self.groups.give_back_room();
        }
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl Index {
    /// Breaks one of the indexes.
    pub(super) fn break_part(&mut self, part: &str) {
        match part {
            "ids" => self.by_id.clear(),
            "edges" => self.edges.lose(),
            "pending" => self.pending.clear(),
            "timers" => drop(self.timers.pop_first()),
            "claims" => drop(self.claims.pop_first()),
            "states" => drop(self.by_state[0].insert(TaskNo::MAX)),
            "sets" => self.sets.clear(),
            "lines" => self.lines.values_mut().for_each(|line| line.ready.clear()),
            "line-counts" => self.lines.values_mut().for_each(|line| line.tasks += 1),
            "groups" => self.groups.clear(),
            "offers" => self.offers.clear(),
            "retired" => drop(self.retired[0].pop_first()),
            "beside-bytes" => self.beside_bytes += 1,
            _ => self.task_bytes += 1,
        }
    }
}

/// The place of a task in its line.
fn place(task: &Task, options: &Options) -> Place {
    (virtual_start(task.ready_at, task.priority.into(), options.ageing_ms), task.no)
}

fn needs_bytes(needs: &Needs) -> usize {
    allocated(2 * size_of::<usize>() + size_of::<Needs>()) + needs.heap_bytes()
}

fn task_bytes(task: &Task) -> usize {
    // The name stands in the index, too.
    allocated(size_of::<Task>()) + task.heap_bytes() + task.id.heap_bytes()
}
