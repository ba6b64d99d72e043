//! What an evaluation of alerts came to; what is watched and when documents were taken in:
//! a text each in the table `control`, since the catalog is no place for what changes
//! every few minutes.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use heliograph_domain::{Intake, Timestamp, Watch};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Database;
use crate::alert::{ALERT_WATCHES, AlertChange, INTAKE, read_watches};
use crate::error::StoreError;

/// Changes that are asked for at once; the catalog gathers them into batches.
const AT_ONCE: usize = 64;

impl Database {
    /// Alerts before what is watched: an evaluation that was broken off in between is
    /// made up for by the next one, which finds the alerts.
    pub(crate) async fn alert_change(
        &self,
        changes: Vec<AlertChange>,
        watches: Option<Vec<Watch>>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let one = |change: AlertChange| self.catalog_change(None, move |catalog| catalog.alert_change(&change));
        stream::iter(changes).map(one).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        // A batch takes some away; hardly ever are there more.
        while !self.catalog().await?.alerts_outdated(now)?.is_empty() {
            self.catalog_change(None, move |catalog| catalog.alerts_outdated(now)).await?;
        }
        match watches {
            Some(watches) => self.tell_text(ALERT_WATCHES, &watches).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn alert_watches(&self) -> Result<Vec<Watch>, StoreError> {
        let text: Option<Value> = self.told_text(ALERT_WATCHES).await?;
        text.map_or_else(|| Ok(Vec::new()), |text| read_watches(&text.to_string()))
    }

    pub(crate) async fn intake(&self) -> Result<Option<Intake>, StoreError> {
        self.told_text(INTAKE).await
    }

    /// Where two processes write at the same moment, one of them is not heard, and both
    /// say the same.
    pub(crate) async fn intake_note(&self, now: Timestamp) -> Result<(), StoreError> {
        let next = self.intake().await?.map_or_else(|| Intake::begun(now), |intake| intake.again(now));
        self.tell_text(INTAKE, &next).await
    }

    pub(crate) async fn intake_seed(&self, from: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        match self.intake().await? {
            Some(_) => Ok(()),
            None => self.tell_text(INTAKE, &Intake::since(from, now)).await,
        }
    }

    async fn told_text<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, StoreError> {
        let row: Option<(Option<String>,)> = self.row("SELECT holder FROM @.control WHERE name = ?", (name,)).await?;
        let Some(text) = row.and_then(|(text,)| text) else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| StoreError::Damaged(format!("{name}: {error}")))
    }

    async fn tell_text(&self, name: &'static str, what: &impl Serialize) -> Result<(), StoreError> {
        let text = serde_json::to_string(what).map_err(|error| StoreError::Conflict(error.to_string()))?;
        self.execute("UPDATE @.control SET holder = ? WHERE name = ?", (text, name)).await.map(drop)
    }
}
