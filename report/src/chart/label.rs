//! Words of charts: local times on the axis and in tool tips.

use heliograph_domain::Step;
use jiff::civil::DateTime;

use crate::energy::{BucketFigures, BucketState};
use crate::format;

/// What a bar is called in a table or tool tip.
pub(super) fn bucket(local: DateTime, step: Step) -> String {
    match step {
        Step::Quarter | Step::Hour => local.strftime("%-d %b %Y, %H:%M").to_string(),
        Step::Day => local.strftime("%a %-d %b %Y").to_string(),
        Step::Month => local.strftime("%B %Y").to_string(),
    }
}

/// What a bar says in words.
pub(super) fn values(bucket: &BucketFigures, step: Step) -> String {
    let text = match step {
        Step::Quarter => power_values(bucket),
        Step::Hour | Step::Day | Step::Month => energy_values(bucket),
    };
    let coverage = bucket.completeness.ratio().filter(|_| bucket.completeness.is_incomplete());
    match (bucket.state(), coverage) {
        (BucketState::Missing, _) => "no data".to_owned(),
        (BucketState::Idle, _) if text.is_empty() => "–".to_owned(),
        (_, Some(ratio)) => format!("{text}, {} measured", format::percent(ratio)),
        _ => text,
    }
}

fn energy_values(bucket: &BucketFigures) -> String {
    let named = [
        (bucket.produced, "produced"),
        (bucket.consumed, "consumed"),
        (bucket.imported, "imported"),
        (bucket.exported, "exported"),
    ];
    let parts = named.iter().filter_map(|(energy, name)| {
        let energy = (*energy)?;
        let mark = if energy.estimated { " (estimated in time)" } else { "" };
        Some(format!("{} {name}{mark}", format::energy(energy.watt_hours)))
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn power_values(bucket: &BucketFigures) -> String {
    let named = [(bucket.power_w, "produced"), (bucket.consumption_w, "consumed")];
    let parts: Vec<String> =
        named.iter().filter_map(|(watts, name)| Some(format!("{} {name}", format::power((*watts)?)))).collect();
    if parts.is_empty() { energy_values(bucket) } else { parts.join(", ") }
}

/// The texts under the axis and where they stand, in bars from the left, with
/// room between them.
pub(super) fn axis(buckets: &[BucketFigures], step: Step, room: f64) -> Vec<(f64, String)> {
    let slot = room / buckets.len().max(1) as f64;
    match step {
        Step::Quarter => hours(buckets, if room < 520.0 { 6 } else { 3 }),
        Step::Hour => hours(buckets, if room < 520.0 { 24 } else { 12 }),
        Step::Day => days(buckets, slot),
        Step::Month => months(buckets, slot),
    }
}

/// Full hours, at the beginning of their bar.
fn hours(buckets: &[BucketFigures], every: i8) -> Vec<(f64, String)> {
    let many_days = buckets.first().map(|b| b.local.date()) != buckets.last().map(|b| b.local.date());
    let mut labels: Vec<(f64, String)> = Vec::new();
    for (index, bucket) in buckets.iter().enumerate() {
        let local = bucket.local;
        let again = index > 0 && buckets.get(index - 1).is_some_and(|before| before.local > local);
        if local.minute() == 0 && local.hour() % every == 0 && !again {
            let text = if many_days && local.hour() == 0 { "%a %-d" } else { "%H:%M" };
            labels.push((index as f64, local.strftime(text).to_string()));
        }
    }
    labels
}

fn days(buckets: &[BucketFigures], slot: f64) -> Vec<(f64, String)> {
    let every = (24.0 / slot).ceil().max(1.0) as usize;
    let every = if every > 1 { every.next_multiple_of(if every <= 2 { 2 } else { 5 }) } else { 1 };
    let label = |(index, bucket): (usize, &BucketFigures)| {
        let local = bucket.local;
        let day = usize::try_from(local.day()).unwrap_or(1);
        let begins = day == 1 || index == 0;
        let text = match () {
            () if slot >= 46.0 => "%a %-d",
            () if begins && buckets.len() > 31 => "%-d %b",
            () => "%-d",
        };
        let shown = match every {
            1 | 2 => index.is_multiple_of(every),
            _ => begins || (day.is_multiple_of(every) && day < 30),
        };
        shown.then(|| (index as f64 + 0.5, local.strftime(text).to_string()))
    };
    let mut labels: Vec<(f64, String)> = buckets.iter().enumerate().filter_map(label).collect();
    drop_crowded(&mut labels, slot);
    labels
}

fn months(buckets: &[BucketFigures], slot: f64) -> Vec<(f64, String)> {
    let mut labels: Vec<(f64, String)> = buckets
        .iter()
        .enumerate()
        .map(|(index, bucket)| {
            let begins = bucket.local.month() == 1 && buckets.len() > 12;
            let name = bucket.local.strftime(if begins { "%Y" } else { "%b" }).to_string();
            let text = if slot < 26.0 && !begins { name.chars().take(1).collect() } else { name };
            (index as f64 + 0.5, text)
        })
        .collect();
    drop_crowded(&mut labels, slot);
    labels
}

/// Leaves out what would touch the label before it.
fn drop_crowded(labels: &mut Vec<(f64, String)>, slot: f64) {
    let mut free_from = f64::MIN;
    labels.retain(|(place, text)| {
        let half = super::energy::text_width(text) / 2.0;
        let (from, until) = (place * slot - half, place * slot + half);
        let fits = from >= free_from;
        if fits {
            free_from = until + 5.0;
        }
        fits
    });
}
