//! What another key begins with.

use super::{Created, Life, Shared, State, Version, Versioned};
use crate::domain::Millis;

impl<S: State> Versioned<S> {
    /// The same as the beginning of another key. The current version is not copied.
    fn begin_with(&self, version: Version) -> Option<Shared<S>> {
        if version == self.version() {
            return Some(self.state.clone());
        }
        let mut state = self.at_version(version)?;
        state.forget_after(version);
        Some(state.into())
    }

    /// The beginning of another key, made from this one as it was at `version`.
    pub fn forked(&self, version: Version, at: Millis) -> Option<Created<S>> {
        let (life, state) = (&self.life, self.begin_with(version)?);
        let max_life_ms = life.dies_at.map(|dies_at| dies_at.saturating_sub(self.created_at));
        Some(Created {
            at,
            owner: self.owner.clone(),
            state,
            version,
            meta: self.meta.clone(),
            participants: self.participants.iter().map(|(id, one)| (id.clone(), one.role.clone())).collect(),
            life: Life::new(at, life.ttl_ms, life.is_sliding, max_life_ms),
            keep: self.history.keep(),
            stays: true,
        })
    }
}
