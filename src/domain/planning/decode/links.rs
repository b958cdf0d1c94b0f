//! What is known only of a schedule that is kept: starts, marks, who hands a token to whom, tails,
//! and the paths that make it long.

use super::{holder_of, Block, Line};
use crate::domain::planning::model::NONE;
use crate::domain::planning::schedule::cost_of;
use crate::domain::Millis;

impl Line<'_> {
    /// Makes the change of the places `from` to `to` (inclusive) the schedule, after an attempt.
    pub fn keep(&mut self, from: usize, to: usize) {
        let (width, met) = (self.instance.tokens.len(), self.met);
        let begin = from / self.every * self.every;
        self.tokens.copy_from_slice(&self.marked[begin / self.every * width..(begin / self.every + 1) * width]);
        self.save_successors();
        let mut low = from;
        for place in begin..met {
            let at = place / self.every;
            if place % self.every == 0 {
                self.marked[at * width..(at + 1) * width].copy_from_slice(&self.tokens);
                self.blocks[at] = Block::default();
            }
            let job = self.order[place] as usize;
            if place == from {
                low = self.unlink(low);
            }
            if place >= from {
                self.link(job);
                self.start[job] = self.end[job] - self.instance.duration(job, self.agent[job]);
            }
            self.pass(job);
            let mut block = self.blocks[at];
            self.count(job as u32, &mut block);
            self.blocks[at] = block;
        }
        self.restore_successors();
        let fixed = Block { makespan: self.instance.running_until, late: self.instance.late, last: NONE };
        let sum = self.sum(0..self.blocks.len(), fixed);
        (self.makespan, self.late, self.last) = (sum.makespan, sum.late, sum.last);
        self.cost = cost_of(self.instance.problem, self.makespan, self.late, self.regret);
        self.steps += (met - begin) as u64 * self.effort / 16;
        let end = if self.instance.has_wide_pools { met } else { to + 1 };
        self.retail(low, end.min(self.order.len()));
    }

    /// Computes the tails of the places before `end` anew: those from `low` on, and of those before
    /// it all that depend on a tail that has changed.
    fn retail(&mut self, mut low: usize, end: usize) {
        let mut place = end;
        while place > low {
            place -= 1;
            let job = self.order[place] as usize;
            let tail = self.tail_of(job);
            if std::mem::replace(&mut self.tail[job], tail) == tail || low == 0 {
                continue;
            }
            for parent in self.instance.parents_of(job) {
                low = low.min(self.place[*parent as usize] as usize);
            }
            let begin = self.order.len() + self.instance.jobs[job].use_at as usize;
            for by in std::iter::once(job).chain(begin..begin + self.instance.uses_of(job).len()) {
                if self.before[by] != NONE {
                    low = low.min(self.place[self.owner[self.before[by] as usize] as usize] as usize);
                }
            }
        }
        self.steps += (end - place) as u64 * self.effort / 32;
    }

    /// Remembers who comes behind where the attempt met the old schedule.
    fn save_successors(&mut self) {
        self.met_after.clear();
        if self.met < self.order.len() {
            let (mark, width) = (self.met / self.every, self.tokens.len());
            let marked = &self.marked[mark * width..(mark + 1) * width];
            let after = |token: &u64| self.after.get(holder_of(*token) as usize).copied().unwrap_or(NONE);
            self.met_after.extend(marked.iter().map(after).chain(self.first.iter().copied()));
        }
    }

    /// They still come there.
    fn restore_successors(&mut self) {
        if self.met_after.is_empty() {
            return;
        }
        for (token, after) in self.tokens.iter().zip(&self.met_after) {
            if let Some(place) = self.after.get_mut(holder_of(*token) as usize) {
                *place = *after;
            }
        }
        for (agent, first) in self.met_after[self.tokens.len()..].iter().enumerate() {
            let root = self.tokens.get(self.instance.tokens_of(agent as u32).start);
            if root.is_some_and(|token| holder_of(*token) == NONE) {
                self.first[agent] = *first;
            }
        }
    }

    /// Nobody comes after those who have a token now. Returns the first of their places, or `low`.
    fn unlink(&mut self, mut low: usize) -> usize {
        for token in &self.tokens {
            let by = holder_of(*token);
            if by != NONE {
                self.after[by as usize] = NONE;
                low = low.min(self.place[self.owner[by as usize] as usize] as usize);
            }
        }
        for (agent, first) in self.first.iter_mut().enumerate() {
            let root = self.tokens.get(self.instance.tokens_of(agent as u32).start);
            if root.is_some_and(|token| holder_of(*token) == NONE) {
                *first = NONE;
            }
        }
        low
    }

    /// Remembers from whom a job takes its tokens.
    fn link(&mut self, job: usize) {
        let instance = self.instance;
        let agent = self.agent[job];
        let by = holder_of(self.tokens[instance.tokens_of(agent).start]);
        self.before[job] = by;
        self.after[job] = NONE;
        if by == NONE {
            self.first[agent as usize] = job as u32;
        } else {
            self.after[by as usize] = job as u32;
        }
        let begin = self.order.len() + instance.jobs[job].use_at as usize;
        for (number, pool) in instance.uses_of(job).iter().enumerate() {
            let by = holder_of(self.tokens[instance.tokens_of(*pool).start]);
            self.before[begin + number] = by;
            self.after[begin + number] = NONE;
            if by != NONE {
                self.after[by as usize] = (begin + number) as u32;
            }
        }
    }

    /// The longest way from a start to the end of the schedule; those behind it are known.
    fn tail_of(&self, job: usize) -> Millis {
        let instance = self.instance;
        let duration = instance.duration(job, self.agent[job]);
        let mut tail = self.tail_below(job) + duration;
        if self.after[job] != NONE {
            tail = tail.max(duration + self.tail[self.after[job] as usize]);
        }
        let begin = self.order.len() + instance.jobs[job].use_at as usize;
        for (number, pool) in instance.uses_of(job).iter().enumerate() {
            let next = self.after[begin + number];
            if next != NONE {
                let way = instance.hold(*pool, duration) + self.tail[self.owner[next as usize] as usize];
                tail = tail.max(way);
            }
        }
        tail
    }

    /// The longest tail of its children.
    pub fn tail_below(&self, job: usize) -> Millis {
        let tails = self.instance.children_of(job).iter().map(|child| self.tail[*child as usize]);
        tails.max().unwrap_or(0)
    }

    /// The jobs that a job directly waits for, from it back to the beginning, into `path`.
    /// `coin` decides between a parent and a token.
    pub fn trace(&mut self, job: u32, mut coin: u64, path: &mut Vec<u32>) {
        path.clear();
        let mut job = job;
        while job != NONE && path.len() < self.order.len() {
            path.push(job);
            let (by_parent, by_token) = (self.tight_parent(job as usize), self.tight_token(job as usize));
            let (one, other) = if coin & 1 == 0 { (by_parent, by_token) } else { (by_token, by_parent) };
            job = if one == NONE { other } else { one };
            coin = coin.rotate_right(1);
        }
        self.steps += path.len() as u64;
    }

    fn tight_parent(&self, job: usize) -> u32 {
        let mut parents = self.instance.parents_of(job).iter();
        parents.find(|parent| self.end[**parent as usize] == self.start[job]).copied().unwrap_or(NONE)
    }

    fn tight_token(&self, job: usize) -> u32 {
        let by = self.before[job];
        if by != NONE && self.end[by as usize] == self.start[job] {
            return by;
        }
        let begin = self.order.len() + self.instance.jobs[job].use_at as usize;
        for (number, pool) in self.instance.uses_of(job).iter().enumerate() {
            let by = self.before[begin + number];
            if by != NONE {
                let owner = self.owner[by as usize] as usize;
                let duration = self.end[owner] - self.start[owner];
                if self.start[owner] + self.instance.hold(*pool, duration) == self.start[job] {
                    return owner as u32;
                }
            }
        }
        NONE
    }
}
