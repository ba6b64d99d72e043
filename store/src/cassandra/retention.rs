//! How long readings live, and which windows follow from none any more.

use heliograph_domain::{Timestamp, window_of};

use super::Database;
use crate::error::StoreError;
use crate::retention::CONTEXT_MS;

/// For how long after its windows are sealed what was marked there may still be
/// settled: half of the time for which their readings are still there.
const LATE_MS: i64 = CONTEXT_MS / 2;

impl Database {
    /// How long after it was measured a reading goes, in ms; `None`: never.
    pub(crate) async fn lifetime_ms(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.retention_ms().await?.map(|retention| retention + CONTEXT_MS))
    }

    /// The first window that is not sealed.
    pub(crate) async fn sealed(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let retention = self.retention_ms().await?;
        Ok(retention.map_or(Timestamp::MIN, |retention| window_of(now.plus_millis(-retention))))
    }

    /// The first window that marks may still change.
    pub(super) async fn open_to_marks(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.sealed(now.plus_millis(-LATE_MS)).await
    }

    /// For how long readings stand in reports, in ms; `None`: for ever.
    async fn retention_ms(&self) -> Result<Option<i64>, StoreError> {
        let catalog = self.recent_catalog().await?;
        Ok(catalog.settings.as_ref().and_then(|settings| settings.time_policy().max_age_ms))
    }
}
