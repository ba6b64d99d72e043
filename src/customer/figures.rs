//! The rollups within a commission, which outlive the readings that they follow from:
//! a day in memory at a time.

use std::io::Write;

use anyhow::Context as _;
use heliograph_domain::{Commission, CorrectionKind, RollupFlags, TimeWindow, Timestamp, Zone};
use heliograph_store::{ProviderStore, SeriesRollups, WindowRollup};

use crate::readings::{cell, local_time};

const DAY_MS: i64 = 86_400_000;
const HEADER: &str = "time,sensor,metric,unit,readings,min,max,first,last,covered_s,positive,negative,increase,notes";

/// Writes the 15-minute windows of a commission in time order, computed as if nothing
/// outside of it had ever been pushed; answers how many they were.
pub(super) async fn write(
    store: &ProviderStore,
    commission: &Commission,
    zone: &Zone,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let write = |error: std::io::Error| anyhow::Error::new(error).context("write rollups");
    write!(out, "{HEADER}\r\n").map_err(write)?;
    let Some(TimeWindow { from, until: Some(until) }) = extent(store, commission).await? else { return Ok(0) };
    let (mut day, mut written) = (Timestamp::clamped(from.as_millis().div_euclid(DAY_MS) * DAY_MS), 0);
    while day < until {
        let next = day.plus_millis(DAY_MS);
        let period = TimeWindow::between(day, next);
        let series = store.rollup_list(&commission.gateway, period, commission.window).await.context("read rollups")?;
        let mut windows: Vec<(&SeriesRollups, &WindowRollup)> =
            series.iter().flat_map(|series| series.windows.iter().map(move |window| (series, window))).collect();
        windows.sort_by_key(|(_, window)| window.start);
        for (series, window) in windows {
            write_row(out, series, window, zone).map_err(write)?;
            written += 1;
        }
        day = next;
    }
    Ok(written)
}

/// The time in which there may be rollups of a commission: that of all readings there
/// ever were, and what corrections make of them.
async fn extent(store: &ProviderStore, commission: &Commission) -> anyhow::Result<Option<TimeWindow>> {
    let sensors = store.sensor_list(&commission.gateway).await?;
    let series = || sensors.iter().flat_map(|sensor| &sensor.series);
    let Some(mut from) = series().filter_map(|series| series.first).min() else { return Ok(None) };
    // Readings may be up to a day ahead of what is the latest.
    let latest = series().filter_map(|series| series.latest).map(|latest| latest.at).max();
    let mut until = latest.unwrap_or(from).plus_millis(2 * DAY_MS);
    for correction in store.correction_list().await? {
        if correction.series.gateway != commission.gateway || correction.reverted.is_some() {
            continue;
        }
        match correction.kind {
            CorrectionKind::Shift { millis } => {
                (from, until) = (from.plus_millis(millis.min(0)), until.plus_millis(millis.max(0)));
            }
            CorrectionKind::Manual { .. } => {
                (from, until) = (from.min(correction.window.from), until.max(correction.window.end()));
            }
            CorrectionKind::MeterSwap { .. } => {
                from = from.min(correction.window.from);
                until = until.max(correction.window.from.plus_millis(DAY_MS));
            }
            CorrectionKind::Exclude | CorrectionKind::Scale { .. } => {}
        }
    }
    Ok(commission.window.intersect(&TimeWindow::between(from, until)))
}

fn write_row(out: &mut impl Write, series: &SeriesRollups, window: &WindowRollup, zone: &Zone) -> std::io::Result<()> {
    let rollup = &window.rollup;
    let [sensor, metric, unit] = [series.sensor.as_str(), series.series.metric.as_str(), series.series.unit.as_str()].map(cell);
    write!(out, "{},{sensor},{metric},{unit},{}", local_time(window.start, zone), rollup.count)?;
    // Without a reading inside there is no value, which is something else than 0.
    for value in [rollup.min, rollup.max, rollup.first, rollup.last] {
        if rollup.count > 0 { write!(out, ",{value}")? } else { write!(out, ",")? }
    }
    let covered = f64::from(rollup.covered_ms) / 1000.0;
    write!(out, ",{covered},{},{},{},{}\r\n", rollup.positive, rollup.negative, rollup.increase, notes(rollup.flags))
}

fn notes(RollupFlags { estimated, reset, implausible }: RollupFlags) -> String {
    let notes = [(estimated, "estimated"), (reset, "reset"), (implausible, "implausible")];
    notes.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}
