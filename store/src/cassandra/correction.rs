//! Corrections in the catalog, and other changes that windows follow from.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use heliograph_domain::{Correction, CorrectionId, GatewayId, Reverted, SeriesCorrections, SeriesKey, Timestamp};

use super::{Database, mark, series};
use crate::audit::AuditEvent;
use crate::correction::{check, revert_one};
use crate::error::StoreError;
use crate::rollup::correct;
use crate::rollup::series::StoredSeries;

/// Makes a change that windows follow from, as `mark` marks them.
///
/// Before the change, as before readings: should this process end in between, the
/// windows are settled by what was changed. And once more after it, with stamps of
/// their own: by then somebody may have settled them by what was there before, and
/// have cleared the first marks, since a change takes as long as it takes.
pub(crate) async fn marked<'a, T>(
    db: &Database,
    mark: impl Fn() -> BoxFuture<'a, Result<(), StoreError>>,
    change: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    mark().await?;
    let changed = change.await;
    // Of a change that got no answer nobody knows whether it was made.
    if matches!(changed, Ok(_) | Err(StoreError::Unavailable(_))) {
        mark().await?;
        db.data_changed();
    }
    changed
}

pub(crate) async fn create(db: &Database, event: AuditEvent, correction: Correction) -> Result<Correction, StoreError> {
    let catalog = db.catalog().await?;
    catalog.gateway(&correction.series.gateway)?;
    let series = series_of(db, &correction.series).await?;
    let all = catalog.corrections()?;
    let sealed = db.sealed(event.at).await?;
    check(&correction, series.record.kind, &all, sealed)?;
    let (now, new, of) = (event.at, correction.clone(), series.clone());
    let change = db.change(event, move |catalog| catalog.correction_create(&new, &of, sealed));
    marked(db, || mark(db, &series, &correction, &all, now).boxed(), change).await?;
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
    let now = event.at;
    let change = db.change(event, move |catalog| catalog.correction_revert(id, &reverted));
    marked(db, || mark(db, &series, &correction, &all, now).boxed(), change).await?;
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
    mark::set_anew(db, &correction.series.gateway, marks.into_iter(), now).await
}

#[cfg(test)]
mod tests;
