//! Which windows follow from none of their readings any more.
//!
//! Where less is kept than was, windows stay open until what is marked in them is
//! settled: the retention worker does that, then seals them, and only then deletes
//! their readings. Readings that go by themselves, because the worker does not
//! come, close their windows too, before the first of them goes.

use heliograph_domain::{Timestamp, window_of};

use super::Database;
use super::control::{FOR_EVER, KEPT, SEALED};
use super::slicing::DAY_MS;
use crate::error::StoreError;
use crate::retention::CONTEXT_MS;

/// For how long after its windows could be sealed what was marked there may still
/// be settled: half of the time for which their readings are still there.
const LATE_MS: i64 = CONTEXT_MS / 2;

impl Database {
    /// How long after it was measured a reading goes, in ms; `None`: never.
    pub(crate) async fn lifetime_ms(&self) -> Result<Option<i64>, StoreError> {
        let catalog = self.recent_catalog().await?;
        let retention = catalog.settings.as_ref().and_then(|settings| settings.time_policy().max_age_ms);
        Ok(retention.map(|retention| retention + CONTEXT_MS))
    }

    /// The first window of which the readings may not be gone.
    pub(crate) async fn sealed(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let (kept, sealed) = tokio::try_join!(self.control(KEPT), self.stored_sealed())?;
        let gone = match kept {
            Some(days) if days < FOR_EVER => window_of(now.plus_millis(-days.saturating_mul(DAY_MS))),
            _ => Timestamp::MIN,
        };
        Ok(gone.max(sealed))
    }

    /// The first window that marks may still change.
    pub(super) async fn open_to_marks(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.sealed(now.plus_millis(-LATE_MS)).await
    }

    /// Up to where windows were sealed because readings were to be deleted.
    pub(super) async fn stored_sealed(&self) -> Result<Timestamp, StoreError> {
        Ok(self.control(SEALED).await?.map_or(Timestamp::MIN, Timestamp::clamped))
    }
}
