//! What can be broken in a flow.

use super::Flow;
use crate::domain::entity::fault_injection::Breakable;

impl Breakable for Flow {
    fn parts() -> Vec<&'static str> {
        let index = ["ids", "edges", "pending", "timers", "claims", "states", "sets", "lines", "line-counts", "groups"];
        let rest = ["offers", "retired", "beside-bytes", "bytes", "open", "children"];
        index.into_iter().chain(rest).collect()
    }

    fn break_part(&mut self, part: &str) {
        match part {
            "open" => self.tasks.values_mut().for_each(|task| task.open += 1),
            "children" => self.tasks.values_mut().for_each(|task| task.children += 1),
            part => self.index.break_part(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entity::fault_injection::{
        testing::assert_breaks_are_mended, testing::assert_breaks_show_in_parts, testing::value, testing::FENCE,
        testing::NOW,
    };
    use crate::domain::flow::task::Needs;
    use crate::domain::flow::{Addition, Claimed, FlowEvent, Keep, Options};
    use crate::domain::value::capability::Requirement;
    use crate::domain::{Blob, Bytes, Record};

    fn id(n: u64) -> Bytes {
        Bytes::from(format!("task-{n}").as_str())
    }

    /// A flow with `tasks` tasks: some have parents, some have needs, some run, some have ended.
    pub fn flow(tasks: u64) -> Record<Flow> {
        let options =
            Options { group_max: 5, keep: Keep { tasks: 1 << 20, age_ms: 0 }, ageing_ms: 1_000, ..Options::default() };
        let added = |n: u64| {
            let caps = vec![Requirement::parse(format!("cap-{}", n % 5).as_bytes()).expect("a capability")];
            let group = if n % 2 == 0 { Bytes::from("group") } else { Bytes::EMPTY };
            FlowEvent::Added(Box::new(Addition {
                id: id(n),
                at: NOW,
                payload: Blob::from(&b"what has to be done"[..]),
                needs: Needs::new(caps, group, Vec::new()),
                after: if n % 4 == 3 { [id(n - 1), id(n - 3)].into_iter().collect() } else { Default::default() },
                not_before: if n % 8 == 5 { NOW + 60_000 } else { 0 },
                ..Addition::default()
            }))
        };
        let claimed = |n: u64| {
            let (task, fence, agent) = (id(n), FENCE + 2 * n, Bytes::from("ada"));
            let claimed =
                Claimed { task, fence, at: NOW, agent, lease_ms: 30_000, ends_at: NOW + 30_000, ..Claimed::default() };
            FlowEvent::Claimed(Box::new(claimed))
        };
        let completed = |n: u64| FlowEvent::Completed { task: id(n), at: NOW + n, result: Blob::from(&b"42"[..]) };
        let created = FlowEvent::Created { at: NOW, options };
        let claims = (0..tasks).step_by(8).map(claimed);
        // Nobody is told of these ends yet, and no task comes after the last one.
        let ends = (0..tasks).step_by(16).map(completed).chain([claimed(1), completed(1)]);
        value([created].into_iter().chain((0..tasks).map(added)).chain(claims).chain(ends))
    }

    #[test]
    fn more_tasks_than_were_added_are_no_flow() {
        let mut stored = flow(8);
        stored.state.totals.forgotten[0] += 1;
        assert_eq!(stored.check().map_err(|broken| broken.0), Err("there are more tasks than were added".into()));
        stored.state.totals.added += 1;
        assert_eq!(stored.check(), Ok(()));
    }

    #[test]
    fn each_break_of_a_flow_is_noticed_and_mended() {
        assert_breaks_are_mended(&flow(20));
        assert_breaks_are_mended(&flow(300));
    }

    #[test]
    fn breaks_of_a_large_flow_show_in_its_parts() {
        assert_breaks_show_in_parts(&flow(300), &["line-counts", "beside-bytes", "bytes"]);
    }
}
