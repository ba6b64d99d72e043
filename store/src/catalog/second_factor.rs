//! What people prove beside their passwords: the rules.

use heliograph_domain::UserId;

use super::point::put;
use super::{Catalog, Change, Decision};
use crate::error::StoreError;
use crate::second_factor::{SECOND_FACTOR, SecondFactor, SecondProof, unproven};

impl Catalog {
    pub(crate) fn second_factor(&self, user: UserId) -> Result<Option<SecondFactor>, StoreError> {
        let Some(text) = self.bodies.get(&(SECOND_FACTOR.to_owned(), user.to_string())) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|error| StoreError::Damaged(format!("{SECOND_FACTOR}: {error}")))
    }

    pub(crate) fn second_factors(&self) -> Result<Vec<SecondFactor>, StoreError> {
        self.read(SECOND_FACTOR)
    }

    pub(crate) fn second_factor_save(&self, factor: &SecondFactor) -> Decision {
        self.person(factor.user)?;
        let mut changes = self.signed_out(factor.user);
        changes.push(put(SECOND_FACTOR, &factor.user.to_string(), factor)?);
        Ok(changes)
    }

    pub(crate) fn second_factor_use(&self, seen: &SecondFactor, proof: SecondProof) -> Decision {
        let factor = self.second_factor(seen.user)?.ok_or(StoreError::NotFound("second step"))?;
        let used = factor.used(seen, proof).ok_or_else(unproven)?;
        Ok(vec![put(SECOND_FACTOR, &seen.user.to_string(), &used)?])
    }

    pub(crate) fn second_factor_failed(&self, user: UserId) -> Decision {
        let failed = self.second_factor(user)?.map(SecondFactor::failed);
        failed.iter().map(|factor| put(SECOND_FACTOR, &user.to_string(), factor)).collect()
    }

    pub(crate) fn second_factor_remove(&self, user: UserId) -> Decision {
        let mut changes = self.signed_out(user);
        changes.push(self.take(SECOND_FACTOR, &user.to_string(), "second step")?);
        Ok(changes)
    }

    /// What goes with a person.
    pub(super) fn second_factor_gone(&self, user: UserId) -> Option<Change> {
        self.take(SECOND_FACTOR, &user.to_string(), "second step").ok()
    }
}
