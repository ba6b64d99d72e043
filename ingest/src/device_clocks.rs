//! What is seen of gateways' clocks: gathered in memory, written behind, a few samples
//! of a gateway at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heliograph_dialects::Decoded;
use heliograph_domain::{ClockSample, ClockSamples, GatewayId, Timestamp};
use heliograph_store::{ProviderStore, StoreError};
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// Of a gateway samples are written at most once in this time.
const INTERVAL_MS: i64 = 10 * 60_000;
/// How often it is looked whether some are due.
const POLL: Duration = Duration::from_secs(20);
/// Gateways that are written at once: documents that wait meanwhile do so for a moment.
const AT_ONCE: usize = 100;
/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(10);

type Seen = (GatewayId, Vec<ClockSample>);

/// The samples that are not written yet. There are as many gateways as have a key.
#[derive(Debug, Default)]
pub(crate) struct DeviceClocks(Mutex<HashMap<GatewayId, Watched>>);

#[derive(Debug, Default)]
struct Watched {
    /// The sample that is being made, and since when.
    open: Option<(Timestamp, ClockSample)>,
    made: Vec<ClockSample>,
    /// When samples were written.
    written: Option<Timestamp>,
}

impl Watched {
    fn note(&mut self, new: ClockSample) {
        self.close(new.received);
        match &mut self.open {
            None => self.open = Some((new.received, new)),
            Some((_, sample)) if new.lag_ms < sample.lag_ms => *sample = new,
            Some(_) => {}
        }
    }

    /// Makes a sample of what was seen, where it was seen for long enough.
    fn close(&mut self, now: Timestamp) {
        let is_whole =
            |(since, _): &mut (Timestamp, ClockSample)| !(0..ClockSamples::INTERVAL_MS).contains(&now.millis_since(*since));
        self.made.extend(self.open.take_if(is_whole).map(|(_, sample)| sample));
        let excess = self.made.len().saturating_sub(ClockSamples::KEPT);
        self.made.drain(..excess);
    }
}

impl DeviceClocks {
    /// Notes the newest time of a document that the gateway's own clock says, where it
    /// says any: before corrections, whatever becomes of the document.
    pub(crate) fn note(&self, gateway: &GatewayId, decoded: &Decoded, received: Timestamp) {
        let own = decoded.readings.iter().filter(|reading| reading.own_time).map(|reading| reading.time);
        let Some(newest) = own.max() else { return };
        let new = ClockSample { received, lag_ms: received.millis_since(newest) };
        let mut clocks = self.clocks();
        match clocks.get_mut(gateway) {
            Some(watched) => watched.note(new),
            None => clocks.entry(gateway.clone()).or_default().note(new),
        }
    }

    fn clocks(&self) -> MutexGuard<'_, HashMap<GatewayId, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the samples that are to be written.
    fn take_due(&self, now: Timestamp) -> Vec<Seen> {
        let mut due = Vec::new();
        for (gateway, watched) in self.clocks().iter_mut() {
            watched.close(now);
            let is_due = watched.written.is_none_or(|written| now.millis_since(written).abs() >= INTERVAL_MS);
            if is_due && !watched.made.is_empty() {
                due.push((gateway.clone(), std::mem::take(&mut watched.made)));
            }
        }
        due
    }

    /// Takes all samples, whole or not.
    fn take_all(&self) -> Vec<Seen> {
        let all = |(gateway, watched): (GatewayId, Watched)| {
            (gateway, watched.made.into_iter().chain(watched.open.map(|(_, sample)| sample)).collect::<Vec<_>>())
        };
        std::mem::take(&mut *self.clocks()).into_iter().map(all).filter(|(_, samples)| !samples.is_empty()).collect()
    }

    /// Writes samples; those that cannot be written wait.
    async fn write(&self, store: &ProviderStore, due: Vec<Seen>, now: Timestamp) -> Result<(), StoreError> {
        let mut failed = None;
        for some in due.chunks(AT_ONCE) {
            let written = match failed {
                None => tokio::time::timeout(PATIENCE, store.gateway_clock_seen(some.to_vec())).await,
                Some(_) => Ok(Ok(())),
            };
            let written =
                written.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("it did not answer within {PATIENCE:?}"))));
            failed = failed.or(written.err());
            let mut clocks = self.clocks();
            for (gateway, samples) in some {
                let watched = clocks.entry(gateway.clone()).or_default();
                match failed {
                    None => watched.written = Some(now),
                    Some(_) => drop(watched.made.splice(0..0, samples.iter().copied())),
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes all that is not written; it is lost where the store is away.
    pub(crate) async fn flush(&self, store: &ProviderStore, now: Timestamp) {
        let all = self.take_all();
        if let Err(error) = self.write(store, all, now).await {
            tracing::warn!(%error, "what was seen of gateways' clocks is not noted");
        }
    }
}

/// Writes samples until told to stop.
pub(crate) async fn run(clocks: Arc<DeviceClocks>, store: ProviderStore, clock: Clock, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
        let now = clock();
        let due = clocks.take_due(now);
        if let Some(Err(error)) = shutdown.run_until_cancelled(clocks.write(&store, due, now)).await {
            tracing::debug!(%error, "what was seen of gateways' clocks is noted later");
        }
    }
}

#[cfg(test)]
mod tests {
    use heliograph_dialects::{Context, decode};
    use heliograph_domain::Zone;

    use super::*;

    const MINUTE: i64 = 60_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-20T12:00:00Z").unwrap().plus_millis(millis)
    }

    /// A document whose readings have these times, or none.
    fn document(received: Timestamp, times: &[Option<Timestamp>]) -> Decoded {
        let reading = |time: &Option<Timestamp>| {
            let time = time.map(|time| format!(" time=\"{time}\"")).unwrap_or_default();
            format!("<reading metric=\"m\"{time}>1</reading>")
        };
        let text =
            format!("<push gateway=\"g\"><sensor id=\"s\">{}</sensor></push>", times.iter().map(reading).collect::<String>());
        decode(text.as_bytes(), &Context { received, zone: &Zone::utc(), hello_gateway: None, mappings: &[] }).unwrap()
    }

    fn lags(taken: Vec<Seen>) -> Vec<(String, Vec<i64>)> {
        let mut lags: Vec<_> = taken
            .into_iter()
            .map(|(gateway, samples)| (gateway.to_string(), samples.iter().map(|sample| sample.lag_ms).collect()))
            .collect();
        lags.sort();
        lags
    }

    #[test]
    fn a_minute_makes_one_sample_of_the_least_lag_and_ten_minutes_one_write() {
        let (clocks, id) = (DeviceClocks::default(), GatewayId::parse("gw-1").unwrap());
        let note = |received: i64, times: &[Option<i64>]| {
            let times: Vec<_> = times.iter().map(|time| time.map(at)).collect();
            clocks.note(&id, &document(at(received), &times), at(received));
        };
        // What carries no time of its own says nothing of a clock.
        note(0, &[None]);
        assert_eq!(clocks.clocks().len(), 0);
        note(0, &[Some(-5000), Some(-2000), None]);
        note(20_000, &[Some(19_000)]);
        note(40_000, &[Some(0)]);
        assert!(clocks.take_due(at(59_999)).is_empty());
        assert_eq!(lags(clocks.take_due(at(MINUTE))), [("gw-1".to_owned(), vec![1000])]);
        clocks.clocks().get_mut(&id).unwrap().written = Some(at(MINUTE));
        for minute in 2..11 {
            note(minute * MINUTE, &[Some((minute + 60) * MINUTE)]);
        }
        assert!(clocks.take_due(at(11 * MINUTE - 1)).is_empty());
        assert_eq!(lags(clocks.take_due(at(11 * MINUTE))), [("gw-1".to_owned(), vec![-60 * MINUTE; 9])]);
        note(11 * MINUTE, &[Some(71 * MINUTE)]);
        assert_eq!(lags(clocks.take_all()), [("gw-1".to_owned(), vec![-60 * MINUTE])], "the open one is left");
    }

    #[test]
    fn where_the_store_is_away_the_latest_samples_wait() {
        let (clocks, id) = (DeviceClocks::default(), GatewayId::parse("gw-1").unwrap());
        for minute in 0..100 {
            clocks.note(&id, &document(at(minute * MINUTE), &[Some(at(0))]), at(minute * MINUTE));
        }
        let waiting = clocks.take_due(at(100 * MINUTE)).remove(0).1;
        assert_eq!(waiting.len(), ClockSamples::KEPT);
        assert_eq!(waiting.last().map(|sample| sample.lag_ms), Some(99 * MINUTE));
    }
}
