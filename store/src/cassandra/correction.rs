//! Corrections in the catalog, and the marks that they set.
//!
//! Marks are written before the change, as before readings: whoever settles in
//! between finds them again, because they are cleared only after they were seen
//! for longer than the change can take.

use heliograph_domain::{Correction, CorrectionId, GatewayId, Reverted, SeriesCorrections, SeriesKey, Timestamp};

use super::{Database, mark, series};
use crate::audit::AuditEvent;
use crate::correction::{check, revert_one};
use crate::error::StoreError;
use crate::rollup::correct;
use crate::rollup::series::StoredSeries;

pub(crate) async fn create(db: &Database, event: AuditEvent, correction: Correction) -> Result<Correction, StoreError> {
    let catalog = db.catalog().await?;
    catalog.gateway(&correction.series.gateway)?;
    let series = series_of(db, &correction.series).await?;
    let all = catalog.corrections()?;
    check(&correction, series.record.kind, &all)?;
    mark(db, &series, &correction, &all, event.at).await?;
    let new = correction.clone();
    db.change(event, move |catalog| catalog.correction_create(&new, &series)).await?;
    db.data_changed();
    Ok(correction)
}

pub(crate) async fn revert(
    db: &Database,
    event: AuditEvent,
    id: CorrectionId,
    reverted: Reverted,
) -> Result<Correction, StoreError> {
    let all = db.catalog().await?.corrections()?;
    let correction = revert_one(&all, id, reverted.clone())?;
    let series = series_of(db, &correction.series).await?;
    mark(db, &series, &correction, &all, event.at).await?;
    db.change(event, move |catalog| catalog.correction_revert(id, &reverted)).await?;
    db.data_changed();
    Ok(correction)
}

/// Marks what the corrections of a gateway change, because the rule of a series
/// has changed: there need not be readings in those windows.
pub(crate) async fn mark_all(db: &Database, gateway: &GatewayId, now: Timestamp) -> Result<(), StoreError> {
    let all = db.catalog().await?.corrections_of(gateway)?;
    for correction in all.iter().filter(|correction| correction.reverted.is_none()) {
        mark(db, &series_of(db, &correction.series).await?, correction, &all, now).await?;
    }
    Ok(())
}

async fn series_of(db: &Database, key: &SeriesKey) -> Result<StoredSeries, StoreError> {
    let same = |series: &StoredSeries| {
        series.sensor == key.sensor && series.record.metric == key.metric && series.record.unit == key.unit
    };
    series::of_gateway(db, &key.gateway).await?.series.into_iter().find(same).ok_or(StoreError::NotFound("series"))
}

/// Marks what a correction changes, beside the others that there are.
async fn mark(
    db: &Database,
    series: &StoredSeries,
    correction: &Correction,
    all: &[Correction],
    now: Timestamp,
) -> Result<(), StoreError> {
    let others = all.iter().filter(|other| other.series == correction.series && other.id != correction.id);
    let marks = correct::marks(series.record.kind, series.extent, &SeriesCorrections::of(others), correction);
    mark::set(db, &correction.series.gateway, marks.into_iter(), now).await
}
