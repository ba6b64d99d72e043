//! When a gateway was heard of, and the latest readings of its series: written with
//! timestamps by which the latest wins in whatever order they arrive.

use heliograph_domain::{GatewayId, Sample, TimePolicy, Timestamp};
use scylla::value::{CqlTimestamp, CqlValue};

use super::super::Database;
use super::{BATCH, Name};
use crate::error::StoreError;
use crate::stamp::WriteStamp;

/// The latest reading of a series, with its write timestamp.
pub(crate) type LatestRow<'a> = (&'a Name, i64, Sample);

/// When a gateway was heard of, and from where if that is known.
pub(crate) type Heard<'a> = (Timestamp, Option<&'a str>);

/// Writes when a gateway was heard of and the latest readings of its series, where
/// nothing later is there.
pub(crate) async fn write_latest(
    db: &Database,
    gateway: &GatewayId,
    heard: Heard<'_>,
    latest: &[LatestRow<'_>],
) -> Result<(), StoreError> {
    let text = |text: &str| CqlValue::Text(text.to_owned());
    let time = |at: Timestamp| CqlValue::Timestamp(CqlTimestamp(at.as_millis()));
    let (seen, from) = heard;
    let stamp = CqlValue::BigInt(seen.as_millis().saturating_mul(1000));
    let mut rows = vec![match from {
        Some(from) => {
            let cql = "UPDATE @.series USING TIMESTAMP ? SET seen = ?, address = ? WHERE gateway = ?";
            (db.prepared(cql).await?, vec![stamp, time(seen), text(from), text(gateway.as_str())])
        }
        None => {
            let cql = "UPDATE @.series USING TIMESTAMP ? SET seen = ? WHERE gateway = ?";
            (db.prepared(cql).await?, vec![stamp, time(seen), text(gateway.as_str())])
        }
    }];
    let cql = "UPDATE @.series USING TIMESTAMP ? SET latest_time = ?, latest_value = ?
        WHERE gateway = ? AND sensor = ? AND metric = ? AND unit = ?";
    let statement = db.prepared(cql).await?;
    rows.extend(latest.iter().map(|((sensor, metric, unit), stamp, sample)| {
        let names = [gateway.as_str(), sensor, metric, unit].map(text);
        let values = [CqlValue::BigInt(*stamp), time(sample.at), CqlValue::Double(sample.value)];
        (statement.clone(), values.into_iter().chain(names).collect())
    }));
    for some in rows.chunks(BATCH) {
        let (statements, values): (Vec<_>, Vec<_>) = some.iter().map(|(statement, values)| (statement.clone(), values)).unzip();
        db.batch(statements, values, None).await?;
    }
    Ok(())
}

/// A gateway whose clock is ahead pushes readings before their time: by so many µs
/// at most, of which steps of so many are told apart.
const AHEAD: i64 = TimePolicy::LATEST_AHEAD_MS * 1000;
const AHEAD_STEP: i64 = 1_500;

/// A write timestamp by which the later reading wins and, of equal times, the
/// later push. The lower 20 bits are for the push: how long after the reading it
/// came, as a number of 6 bits exponent and 14 bits of fraction, which is the
/// more exact the sooner it came. That leaves room below the next instant, where
/// pushes before its time are counted back from it.
pub(crate) fn latest_timestamp(at: Timestamp, stamp: WriteStamp) -> i64 {
    let delay = stamp.as_micros().saturating_sub(at.as_millis() * 1000);
    let push = if delay > 0 {
        let delay = delay.min(1 << 50) as f32;
        i64::from((delay.to_bits() - 1f32.to_bits()) >> 9)
    } else {
        delay.max(-AHEAD) / AHEAD_STEP - 1
    };
    at.as_millis().saturating_mul(1 << 20).saturating_add(push)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_reading_wins_and_of_one_instant_the_later_push() {
        let at = |millis| Timestamp::clamped(1_800_000_000_000 + millis);
        let push = |millis: i64| WriteStamp::at(at(millis));
        let in_order = [
            latest_timestamp(at(-1), push(1 << 41)),
            latest_timestamp(at(0), push(-TimePolicy::LATEST_AHEAD_MS)),
            latest_timestamp(at(0), push(-60_002)),
            latest_timestamp(at(0), push(-60_000)),
            latest_timestamp(at(0), push(-2)),
            latest_timestamp(at(0), push(0)),
            latest_timestamp(at(0), push(1)),
            latest_timestamp(at(0), push(2)),
            latest_timestamp(at(0), push(10_000)),
            latest_timestamp(at(0), push(10_001)),
            latest_timestamp(at(0), push(86_400_000)),
            latest_timestamp(at(1), push(3)),
        ];
        assert!(in_order.is_sorted_by(|a, b| a < b), "{in_order:?}");
        assert!(latest_timestamp(Timestamp::clamped(7_000_000_000_000), push(0)) > 0);
    }
}
