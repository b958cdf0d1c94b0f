//! What happens to a server beside the commands of its clients.

use super::naive::Policy;
use super::ops::{Beat, Op};
use super::story::Log;
use super::world::{id_of, World};
use crate::driver::Timed;
use crate::host::Value;
use crate::prng::Prng;
use crate::server::decoded;
use ltmc::command::engine::repair::repair;
use ltmc::command::node::waits::Unserved;
use ltmc::domain::queue::rank::WaiterId;
use ltmc::domain::registry::Registry;
use ltmc::domain::{Entity, Record};
use ltmc::snapshot;

/// What is saved and loaded again at `now`.
fn saved(stored: &Record<Registry>, now: u64) -> Record<Registry> {
    let bytes = snapshot::encode_snapshot(stored);
    let mut again = decoded::<Registry>(&bytes);
    again.state.loaded(now);
    assert_eq!(snapshot::encode_snapshot(&again), bytes, "loading and saving changes something");
    again
}

impl Policy {
    pub fn random(rng: &mut Prng, is_large: bool) -> Self {
        let mut policy = Self {
            ttl: 1000,
            dead_percent: *rng.pick(&[101, 150, 200, 400]),
            grace: *rng.pick(&[0, 100, 2000]),
            half_life: *rng.pick(&[0, 300, 300, 2000, 20_000]),
            hold_share: *rng.pick(&[0, 40, 60, 100]),
            hold_min: *rng.pick(&[1, 2, 2, 3]),
            hold_extra: *rng.pick(&[1, 100, 300]),
            phi: rng.percent(25),
            phi_threshold: 1 + rng.below(16),
            agents_max: 1_000_000,
            claimers_max: 10_000,
            watchers_max: 10_000,
            sweep_batch: *rng.pick(&[1, 2, 7, 256, 256, 256]),
        };
        if is_large {
            policy.sweep_batch = 256;
        }
        policy
    }

    fn change(&mut self, rng: &mut Prng, is_large: bool) {
        let other = Self::random(rng, is_large);
        match rng.below(13) {
            0 => self.ttl = *rng.pick(&[1, 500, 1000]),
            1 => self.dead_percent = other.dead_percent,
            2 => self.grace = other.grace,
            3 => self.half_life = other.half_life,
            4 => self.hold_share = other.hold_share,
            5 => self.hold_min = other.hold_min,
            6 => self.hold_extra = other.hold_extra,
            7 => self.phi = other.phi,
            8 => self.phi_threshold = other.phi_threshold,
            9 => self.agents_max = *rng.pick(&[3, 1_000_000]),
            10 => self.claimers_max = *rng.pick(&[1, 3, 10_000]),
            11 => self.watchers_max = *rng.pick(&[1, 3, 10_000]),
            _ => self.sweep_batch = other.sweep_batch,
        }
    }
}

impl World {
    /// Something happens that is no command of ours.
    pub fn incident(&mut self) {
        let (key, other) = (self.shape.key(&mut self.rng), self.shape.key(&mut self.rng));
        let clients: Vec<u64> = self.clients.keys().copied().collect();
        let client = *self.rng.pick(&clients);
        match self.rng.below(100) {
            0..=14 => self.disconnect(client),
            15..=29 => self.unblock(client),
            30..=35 => self.jump(),
            36..=49 => self.chorus(&key),
            50..=54 => self.outage(&key),
            55..=57 => self.flap(&key),
            58..=75 => self.change_settings(),
            76..=79 => self.delete(&key),
            80 => self.overwrite(&key),
            81 => self.flush_all(),
            82..=84 => self.restart(),
            85..=87 => self.fail_over(),
            88..=90 => self.serve_as_replica(),
            91..=93 => self.rename(&key, &other),
            94..=95 => self.restore(&key, &other),
            96..=97 => self.copy(&key, &other),
            _ => self.repair(&key),
        }
    }

    fn unblock(&mut self, client: u64) {
        let Some(Some(wait)) = self.clients.get(&client).copied() else { return };
        self.history.note(format!("CLIENT UNBLOCK {client}"));
        self.node.drop_wait(WaiterId(wait), Unserved::TimedOut);
        self.model.waits.retain(|known| known.id != wait);
        self.clients.insert(client, None);
    }

    fn jump(&mut self) {
        let most = *self.rng.pick(&[3_000_000, 100_000_000]);
        let (micros, prompt) = (self.rng.below(most), self.rng.percent(50));
        self.history.note(format!("{micros} us pass"));
        self.pass(micros, prompt);
    }

    /// All agents of a registry that are not dead send heartbeats, once or so often that the
    /// detector knows their rhythm.
    fn chorus(&mut self, key: &str) {
        let rounds = if self.rng.percent(30) && !self.shape.is_large { 10 } else { 1 };
        for _ in 0..rounds {
            self.hear_all(key);
            self.pass(20_000, true);
        }
    }

    fn hear_all(&mut self, key: &str) {
        let Some(registry) = self.model.registries.get(key) else { return };
        let alive = registry.agents.iter().filter(|(_, agent)| agent.decided() != "dead");
        for id in alive.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.run(0, key, &Op::Heartbeat { id, beat: Beat::default() });
        }
    }

    /// For a while no agent sends a heartbeat, or only a few do.
    fn outage(&mut self, key: &str) {
        let rounds = 1 + self.rng.below(4);
        for _ in 0..rounds {
            let ttl = self.model.registries.get(key).and_then(|registry| registry.agents.values().next());
            let ttl = ttl.map_or(100, |agent| agent.profile.ttl).min(3_000);
            let micros = ttl * (400 + self.rng.below(800));
            self.pass(micros, true);
            let ids = self.shape.agents.iter().take(3).cloned().collect::<Vec<_>>();
            if self.rng.percent(50) && !self.model.foreign.contains(key) {
                let id = self.rng.pick(&ids).clone();
                self.run(0, key, &Op::Heartbeat { id, beat: Beat::default() });
            }
        }
    }

    /// An agent is silent until it is suspect, and comes back, again and again.
    fn flap(&mut self, key: &str) {
        let Some(registry) = self.model.registries.get(key) else { return };
        let alive: Vec<&String> =
            registry.agents.keys().filter(|id| registry.agents[*id].decided() != "dead").collect();
        let Some(id) = alive.first().map(|id| id.to_string()) else { return };
        for _ in 0..4 {
            let agent = self.model.registries.get(key).and_then(|registry| registry.agents.get(&id));
            let Some(ttl) = agent.map(|agent| agent.profile.ttl).filter(|ttl| *ttl < 3_000) else { return };
            self.pass(ttl * 1000, true);
            self.run(0, key, &Op::Heartbeat { id: id.clone(), beat: Beat::default() });
        }
    }

    fn change_settings(&mut self) {
        self.model.policy.change(&mut self.rng, self.shape.is_large);
        self.history.note(format!("{:?}", self.model.policy));
        self.set_settings();
    }

    /// Something that the model has not seen happened to keys: what is to be taken back of them may
    /// be elsewhere.
    fn moved(&mut self, keys: &[&str]) {
        self.take_backs.iter_mut().for_each(|(.., is_sure)| *is_sure = false);
        for key in keys {
            self.model.foreign.remove(*key);
            self.node.key_changed(id_of(key));
            self.unsettled.insert(key.to_string());
            self.touched.insert(key.to_string());
            self.compared.remove(*key);
        }
        self.take_notes();
    }

    fn delete(&mut self, key: &str) {
        self.history.note(format!("DEL {key}"));
        self.host.delete(&id_of(key));
        self.model.registries.remove(key);
        self.moved(&[key]);
    }

    fn overwrite(&mut self, key: &str) {
        self.delete(key);
        self.history.note(format!("SET {key}"));
        self.host.keys.insert(id_of(key), (Value::Foreign, None));
        self.model.foreign.insert(key.into());
    }

    fn flush_all(&mut self) {
        self.history.note("FLUSHALL".into());
        self.host.keys.clear();
        self.host.replica.clear();
        self.model.registries.clear();
        self.model.foreign.clear();
        self.compared.clear();
        self.take_backs.iter_mut().for_each(|(.., is_sure)| *is_sure = false);
        self.node.database_flushed(None);
    }

    fn restart(&mut self) {
        self.history.note("the process starts anew".into());
        self.set_time(self.model.now_us.max(self.last_fence) + 1_000_000);
        self.boot();
        let keys: Vec<String> = self.model.registries.keys().cloned().collect();
        for key in &keys {
            let stored = self.host.peek::<Registry>(&id_of(key)).expect("the model has it");
            let (again, copy) = (saved(stored, self.host.now), saved(stored, self.host.now));
            self.host.restore(&id_of(key), again, copy);
        }
        self.host.gone.clear();
        self.load();
    }

    /// The replica becomes the primary, and gets a new replica.
    fn fail_over(&mut self) {
        self.history.note("the replica takes over".into());
        self.set_time(self.model.now_us.max(self.last_fence) + 500_000);
        self.boot();
        let keys: Vec<String> = self.model.registries.keys().cloned().collect();
        for key in &keys {
            let copy = self.host.copied::<Registry>(&id_of(key)).expect("the replica has it");
            let next = saved(copy, self.host.now);
            self.host.promote(&id_of(key), next);
        }
        for agent in self.model.registries.values_mut().flat_map(|registry| registry.agents.values_mut()) {
            let (beat, load) = (agent.copy_beat, agent.copy_load);
            agent.reload();
            (agent.beat, agent.load, agent.suspect_at) = (beat, load, beat + agent.profile.ttl);
        }
        self.host.gone.clear();
        self.note_values();
        self.node.role_changed(false);
        self.model.view.since = self.model.view.now;
    }

    fn load(&mut self) {
        for registry in self.model.registries.values_mut() {
            registry.loaded_at = self.model.view.now;
            registry.agents.values_mut().for_each(|agent| agent.reload());
        }
        self.note_values();
        self.node.keys_loaded();
        self.model.view.since = self.model.view.now;
    }

    fn note_values(&mut self) {
        for key in self.model.registries.keys() {
            let stored = self.host.peek::<Registry>(&id_of(key)).expect("the model has it");
            ltmc::command::engine::replay::note_value(&mut self.node, (&id_of(key)).into(), stored);
            self.touched.insert(key.clone());
        }
    }

    /// This node is a replica for a while: it decides nothing, and readers have patience.
    fn serve_as_replica(&mut self) {
        self.history.note("this node is a replica".into());
        self.settle();
        for client in self.clients.keys().copied().collect::<Vec<_>>() {
            self.disconnect(client);
        }
        self.set_role(true);
        for _ in 0..3 {
            let micros = self.rng.below(1_000_000);
            self.set_time(self.model.now_us + micros);
            self.settle();
            self.look();
            self.refused_on_replica();
        }
        self.set_role(false);
        self.history.note("this node is the primary again".into());
    }

    fn set_role(&mut self, replica: bool) {
        self.node.role_changed(replica);
        (self.model.view.is_replica, self.model.view.since) = (replica, self.model.view.now);
    }

    fn rename(&mut self, from: &str, to: &str) {
        let Some(registry) = self.model.registries.get(from).cloned().filter(|_| from != to) else { return };
        self.history.note(format!("RENAME {from} {to}"));
        self.host.delete(&id_of(to));
        let (value, copy) = (self.host.keys.remove(&id_of(from)), self.host.replica.remove(&id_of(from)));
        self.host.keys.insert(id_of(to), value.expect("the model has it"));
        self.host.replica.insert(id_of(to), copy.expect("the model has it"));
        self.model.registries.remove(from);
        self.model.registries.insert(to.into(), registry);
        self.moved(&[from, to]);
    }

    /// DUMP and RESTORE with REPLACE: another registry with the same past.
    fn restore(&mut self, from: &str, to: &str) {
        let Some(mut registry) = self.model.registries.get(from).cloned() else { return };
        self.history.note(format!("DUMP {from}, RESTORE {to}"));
        let stored = self.host.peek::<Registry>(&id_of(from)).expect("the model has it");
        let (again, copy) = (saved(stored, self.host.now), saved(stored, self.host.now));
        ltmc::command::engine::replay::note_value(&mut self.node, (&id_of(to)).into(), &again);
        self.host.restore(&id_of(to), again, copy);
        registry.loaded_at = self.model.view.now;
        registry.agents.values_mut().for_each(|agent| agent.reload());
        self.model.registries.insert(to.into(), registry);
        self.moved(&[to]);
    }

    /// COPY with REPLACE: the same agents, without any claims.
    fn copy(&mut self, from: &str, to: &str) {
        let Some(mut registry) = self.model.registries.get(from).cloned() else { return };
        self.history.note(format!("COPY {from} {to}"));
        let revision = self.host.copy::<Registry>(&id_of(from), &id_of(to));
        registry.agents.values_mut().for_each(|agent| agent.claims.clear());
        registry.requests.clear();
        registry.log = Log::of_copy(revision);
        self.model.registries.insert(to.into(), registry);
        self.moved(&[to]);
    }

    fn repair(&mut self, key: &str) {
        self.history.note(format!("the indexes of {key} are made anew"));
        let known = repair(&mut self.host, (&id_of(key)).into(), true);
        let is_broken = matches!(&known, Ok(Some(found)) if found.was_broken.is_some());
        assert!(!is_broken, "it was broken: {known:?}");
        self.touched.insert(key.into());
    }
}
