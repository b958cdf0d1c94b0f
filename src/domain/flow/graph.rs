//! The graph of a flow as a text, and the critical path.

use super::task::{How, State, Task};
use super::{Flow, TaskNo};
use crate::domain::limits::{FLOW_GRAPH_EDGES_MAX, FLOW_GRAPH_TASKS_MAX};
use crate::domain::value::bytes::printable;
use crate::domain::{looked, Bytes, Code, Error, Looked, Millis};
use ahash::AHashMap;
use std::fmt;
use std::fmt::Write;

/// Errs if the flow is too large to be drawn.
fn check_size(flow: &Flow) -> Result<(), Error> {
    if is_large(flow) {
        let text = format!(
            "the flow has {} tasks that come after {} others in total, at most {FLOW_GRAPH_TASKS_MAX} and \
             {FLOW_GRAPH_EDGES_MAX} can be drawn",
            flow.count(),
            flow.index().edges().count()
        );
        return Err(Error::new(Code::Limit, text));
    }
    Ok(())
}

/// Whether it has too many tasks or edges to be walked in one command.
fn is_large(flow: &Flow) -> bool {
    flow.count() > FLOW_GRAPH_TASKS_MAX || flow.index().edges().count() > FLOW_GRAPH_EDGES_MAX
}

fn edges(flow: &Flow) -> impl Iterator<Item = (TaskNo, TaskNo)> + '_ {
    let of = |task: &Task| task.parents.iter().map(|parent| parent.no).collect::<Vec<_>>();
    flow.tasks().flat_map(move |task| of(task).into_iter().map(|parent| (parent, task.no))).looked()
}

/// The language of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Graphviz, with a colour for each state.
    Dot,
    /// Mermaid, with a class for each state.
    Mermaid,
}

/// The graph as a text of at most `bytes_max` bytes.
pub fn draw(flow: &Flow, language: Language, bytes_max: usize) -> Result<String, Error> {
    check_size(flow)?;
    let mut drawing = Drawing { text: String::new(), bytes_max };
    let drawn = match language {
        Language::Dot => dot(flow, &mut drawing),
        Language::Mermaid => mermaid(flow, &mut drawing),
    };
    match drawn {
        Ok(()) => Ok(drawing.text),
        // A task may have many parents.
        Err(fmt::Error) => Err(Error::limit("reply-bytes-max", "the graph of this flow", bytes_max as u64)),
    }
}

/// A drawing in progress. A line that would make it too long is not written.
struct Drawing {
    text: String,
    bytes_max: usize,
}

impl Write for Drawing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > self.bytes_max {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

fn dot(flow: &Flow, drawing: &mut Drawing) -> fmt::Result {
    drawing.write_str("digraph flow {\n  rankdir=LR;\n  node [shape=box, style=filled];\n")?;
    for task in flow.tasks() {
        looked(1);
        let id = printable(&task.id).replace('\\', "\\\\").replace('"', "\\\"");
        let (no, state, colour) = (task.no, task.state.word(), colour(&task.state));
        writeln!(drawing, "  t{no} [label=\"{id}\\n{state}\", fillcolor=\"{colour}\"];")?;
    }
    for (parent, child) in edges(flow).filter(|(parent, _)| flow.at(*parent).is_some()) {
        writeln!(drawing, "  t{parent} -> t{child};")?;
    }
    drawing.write_str("}\n")
}

fn mermaid(flow: &Flow, drawing: &mut Drawing) -> fmt::Result {
    drawing.write_str("flowchart LR\n")?;
    for task in flow.tasks() {
        looked(1);
        let id = printable(&task.id).replace('"', "#quot;");
        let (no, state) = (task.no, task.state.word());
        writeln!(drawing, "  t{no}[\"{id}<br/>{state}\"]:::{state}")?;
    }
    for (parent, child) in edges(flow).filter(|(parent, _)| flow.at(*parent).is_some()) {
        writeln!(drawing, "  t{parent} --> t{child}")?;
    }
    for (state, colour) in super::task::STATE_WORDS.iter().zip(COLOURS) {
        writeln!(drawing, "  classDef {state} fill:{colour}")?;
    }
    Ok(())
}

const COLOURS: [&str; 9] =
    ["#eeeeee", "#e6d5f5", "#e6e6fa", "#cfe8ff", "#ffe9a8", "#c8f0c8", "#f5b7b1", "#d5d8dc", "#d7ccc8"];

fn colour(state: &State) -> &'static str {
    COLOURS[state.index()]
}

/// What is left of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// The longest path through the open tasks, first to last. Empty if the flow is too
    /// large to search it.
    pub critical_path: Vec<Bytes>,
    /// How long the critical path takes, and how long everything takes with the present number of
    /// workers (at least the former), ms. Not known until completed tasks were measured.
    pub left_ms: Option<(Millis, Millis)>,
}

/// What is left of a flow.
pub fn outlook(flow: &Flow, now: Millis) -> Outlook {
    let totals = flow.totals();
    let each_ms = totals.worked_ms.checked_div(totals.completed);
    // If nothing was measured, all tasks count the same.
    let left_of = |task: &Task| {
        let each_ms = each_ms.unwrap_or(1).max(1);
        task.run().map_or(each_ms, |run| each_ms.saturating_sub(now.saturating_sub(run.since)))
    };
    let path = if is_large(flow) { Vec::new() } else { longest_way(flow, left_of) };
    let critical_ms: Millis = path.iter().filter_map(|no| flow.at(*no)).map(left_of).fold(0, Millis::saturating_add);
    let names: Vec<Bytes> = path.iter().filter_map(|no| flow.at(*no)).map(|task| task.id.clone()).collect();
    let left_ms = each_ms.map(|each_ms| {
        let workers = flow.index().running().max(1) as u64;
        let all_ms = (flow.index().open() as u64).saturating_mul(each_ms) / workers;
        (critical_ms, all_ms.max(critical_ms))
    });
    Outlook { critical_path: names, left_ms }
}

/// The longest path through the open tasks. Parents have smaller numbers than their children.
fn longest_way(flow: &Flow, left_of: impl Fn(&Task) -> Millis) -> Vec<TaskNo> {
    let mut ways: AHashMap<TaskNo, (Millis, Option<TaskNo>)> = AHashMap::new();
    let mut longest: Option<(Millis, TaskNo)> = None;
    for task in flow.tasks().filter(|task| !task.has_ended()) {
        looked(task.weight());
        let before = task.parents.iter().filter_map(|parent| Some((ways.get(&parent.no)?.0, parent.no)));
        let before = before.max_by_key(|(way, no)| (*way, std::cmp::Reverse(*no)));
        let way = before.map_or(0, |(way, _)| way).saturating_add(left_of(task));
        ways.insert(task.no, (way, before.map(|(_, no)| no)));
        if longest.is_none_or(|(known, _)| way > known) {
            longest = Some((way, task.no));
        }
    }
    let mut path: Vec<TaskNo> = Vec::new();
    let mut next = longest.map(|(_, no)| no);
    while let Some(no) = next {
        path.push(no);
        next = ways.get(&no).and_then(|(_, before)| *before);
    }
    path.reverse();
    path
}

/// How much of a flow has ended, percent.
pub fn progress(flow: &Flow) -> u64 {
    let ended: u64 = [How::Succeeded, How::Dead, How::Cancelled, How::Skipped].map(|how| flow.ended(how)).iter().sum();
    ended.saturating_mul(100).checked_div(flow.totals().added).unwrap_or(0)
}
