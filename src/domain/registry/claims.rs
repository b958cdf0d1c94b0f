//! The claims on agents. Each claim is stored with its agent, and indexed by fence, by end
//! and by reference.

use super::slots::Slot;
use super::{Agent, Claim, ClaimEnd, Registry};
use crate::domain::entity::count;
use crate::domain::{looked, Bytes, Fence};

impl Registry {
    /// A claim with its agent.
    pub fn claim(&self, fence: Fence) -> Option<(&Agent, &Claim)> {
        let agent = self.at(*self.claims.get(&fence)?)?;
        let at = agent.claims.binary_search_by_key(&fence, |claim| claim.fence).ok()?;
        Some((agent, &agent.claims[at]))
    }

    /// The claims with this reference up to the fence `until`, ordered by fence.
    pub fn claims_with(&self, reference: &[u8], until: Fence) -> impl DoubleEndedIterator<Item = Fence> + '_ {
        let bounds = (Bytes::from(reference), 0)..=(Bytes::from(reference), until);
        self.by_reference.range(bounds).map(|(_, fence)| *fence)
    }

    /// The claims up to the fence `until` whose reference is `name`, or begins with
    /// `name` and a colon.
    pub fn claims_under(&self, name: &[u8], until: Fence) -> impl Iterator<Item = Fence> + '_ {
        let (from, to) = ([name, b":"].concat(), [name, b";"].concat());
        let below = self.by_reference.range((Bytes::from(&from[..]), 0)..(Bytes::from(&to[..]), 0));
        self.claims_with(name, until).chain(below.map(|(_, fence)| *fence).filter(move |fence| *fence <= until))
    }

    /// The number of claims.
    pub fn claims(&self) -> usize {
        self.claims.len()
    }

    pub(super) fn claimed(&mut self, fence: Fence, id: &[u8], claim: Claim) {
        let Some(slot) = self.slot(id) else { return };
        if self.claims.contains_key(&fence) {
            return;
        }
        self.last_fence = self.last_fence.max(fence);
        self.index_claim(slot, &claim);
        count(&mut self.totals.claimed, 1);
        self.edit(id, |agent| {
            let at = agent.claims.partition_point(|known| known.fence < fence);
            agent.claims.insert(at, claim);
        });
    }

    pub(super) fn released(&mut self, fence: Fence, end: ClaimEnd) {
        let Some(id) = self.claim(fence).map(|(agent, _)| agent.id.clone()) else { return };
        let mut removed = None;
        self.edit(&id, |agent| {
            let at = agent.claims.binary_search_by_key(&fence, |claim| claim.fence);
            removed = at.ok().map(|at| agent.claims.remove(at));
            if agent.claims.is_empty() {
                agent.claims = Vec::new();
            }
            match end {
                ClaimEnd::Released { is_ok, duration_us } => agent.record.add(is_ok, duration_us),
                ClaimEnd::Expired | ClaimEnd::TakenBack | ClaimEnd::AgentGone => {}
            }
        });
        removed.iter().for_each(|claim| self.unindex_claim(claim));
    }

    pub(super) fn drop_claims(&mut self, slot: Slot) {
        let Some(agent) = self.agents.get_mut(slot) else { return };
        self.agent_bytes -= agent.heap_bytes();
        let claims = std::mem::take(&mut agent.claims);
        self.agent_bytes += agent.heap_bytes();
        claims.iter().for_each(|claim| self.unindex_claim(claim));
    }

    pub(super) fn index_claim(&mut self, slot: Slot, claim: &Claim) {
        looked(2);
        self.claims.insert(claim.fence, slot);
        self.claim_ends.insert((claim.ends_at, claim.fence));
        if !claim.reference.is_empty() {
            self.by_reference.insert((claim.reference.clone(), claim.fence));
        }
    }

    fn unindex_claim(&mut self, claim: &Claim) {
        looked(2);
        self.claims.remove(&claim.fence);
        self.claim_ends.remove(&(claim.ends_at, claim.fence));
        if !claim.reference.is_empty() {
            self.by_reference.remove(&(claim.reference.clone(), claim.fence));
        }
    }
}
