//! What can be broken in a registry.

use super::{Registry, NEVER};
use crate::domain::entity::fault_injection::Breakable;

impl Breakable for Registry {
    fn parts() -> Vec<&'static str> {
        let own =
            ["ids", "epochs", "free", "claims", "claim-ends", "references", "alarms", "alarm-times", "places", "bytes"];
        let index = ["all", "statuses", "fit", "offered", "claimable", "capable", "versions", "tagged", "meta"];
        own.into_iter().chain(index).chain(["load", "latency", "index-bytes"]).collect()
    }

    fn break_part(&mut self, part: &str) {
        match part {
            "ids" => {
                let first = self.agents().next().map(|agent| agent.id.clone());
                self.by_id.retain(|id, _| Some(id) != first.as_ref());
            }
            "epochs" => drop(self.by_epoch.pop_first()),
            "free" => self.free_slots.push(0),
            "claims" => drop(self.claims.pop_first()),
            "claim-ends" => drop(self.claim_ends.pop_first()),
            "references" => drop(self.by_reference.pop_first()),
            "alarms" => drop(self.alarms.pop_first()),
            "alarm-times" => self.alarm_of.iter_mut().for_each(|alarm| *alarm = NEVER),
            "places" => {
                self.agents.iter_mut().flatten().for_each(|agent| agent.pulse.place = Default::default());
            }
            "bytes" => self.agent_bytes += 1,
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
    use crate::domain::registry::agent::Profile;
    use crate::domain::registry::{Registration, RegistryEvent, Status};
    use crate::domain::value::capability::Capability;
    use crate::domain::{Bytes, Record};

    fn text(name: &str, n: u64) -> Bytes {
        Bytes::from(format!("{name}-{n}").as_str())
    }

    /// A registry of `agents` agents with a few capabilities, tags and values, each with a claim.
    pub fn registry(agents: u64) -> Record<Registry> {
        let caps = ["gpu", "python@3.10", "search@1.2.3"];
        let profile = |n: u64| Profile {
            caps: caps.iter().map(|cap| Capability::parse(cap.as_bytes()).expect("a capability")).collect(),
            tags: [text("tag", n % 50)].into(),
            meta: Bytes::from(format!(r#"{{"region":"eu","rack":{}}}"#, n % 100).as_str()),
            capacity: 3,
            ttl_ms: 30_000,
            ..Profile::default()
        };
        let registered = move |n: u64| {
            let (agent, profile) = (text("agent", n), profile(n));
            let (epoch, at, status) = (FENCE + 2 * n, NOW + n, Status::Active);
            RegistryEvent::Registered(Box::new(Registration { agent, epoch, at, profile, status, flaps: None }))
        };
        let claimed = |n: u64| {
            let (fence, at, ends_at) = (FENCE + 1 + 2 * n, NOW + n, NOW + 60_000 + n);
            RegistryEvent::Claimed { fence, agent: text("agent", n), at, ends_at, reference: text("why", n) }
        };
        let gone = RegistryEvent::Deregistered { agent: text("agent", 0), at: NOW };
        value((0..=agents).map(registered).chain((1..=agents).map(claimed)).chain([gone]))
    }

    #[test]
    fn each_break_of_a_registry_is_noticed_and_mended() {
        assert_breaks_are_mended(&registry(20));
        assert_breaks_are_mended(&registry(300));
    }

    #[test]
    fn breaks_of_a_large_registry_show_in_its_parts() {
        assert_breaks_show_in_parts(&registry(300), &["bytes", "index-bytes"]);
    }
}
