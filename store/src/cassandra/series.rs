//! Sensors and series: one partition a gateway, a row a series, and a row without
//! metric for each sensor itself.
//!
//! What an owner sets and what is registered goes through conditional writes. The
//! extent of a series and its latest reading need none: `first`, `last` and
//! `latest_*` are written with timestamps made from their values, so that the
//! least, the greatest and the latest wins in whatever order they arrive.
//! `last` is rounded up to the end of its day: it only has to hold, and so a live
//! series writes it once a day. Extents are written before the readings that they
//! are to hold. These timestamps lie ahead of every clock: what deletes a series
//! has to carry a higher one.

mod latest;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use heliograph_domain::{
    GatewayId, Kind, MetricName, Quantity, RollupRule, Sample, SensorId, SensorRole, SeriesKey, TimePolicy, TimeWindow,
    Timestamp, Unit,
};
use scylla::DeserializeRow;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::value::CqlTimestamp;

use super::conditional::applied;
use super::slicing::{DAY_MS, day_of};
use super::{Database, correction, mark, pulse};
use crate::audit::AuditEvent;
use crate::document::{DocumentWrite, SeriesSeen, meaning, role_of};
use crate::error::StoreError;
use crate::rollup::correct;
use crate::rollup::series::{Extent, Slot, StoredSeries};
use crate::sensor::{SensorRecord, SensorUpdate, SeriesRecord};
use crate::store::ProviderStore;
pub(crate) use latest::{LatestRow, latest_timestamp, write_latest};

/// Gateways whose series are remembered by whoever writes; others are looked up.
const REMEMBERED: usize = 20_000;
/// Gateways whose series are registered at once, at most.
const REGISTERING: usize = 64;
/// Rows in one batch, conditional or not.
const BATCH: usize = 100;

/// Sensor, metric and unit.
pub(crate) type Name = (String, String, String);

#[derive(DeserializeRow)]
struct Row {
    // The key is missing where a gateway has knocked and has no series yet: there
    // is a partition then, and no row in it.
    sensor: Option<String>,
    metric: Option<String>,
    unit: Option<String>,
    role: Option<String>,
    label: Option<String>,
    rated_w: Option<f64>,
    kind: Option<String>,
    quantity: Option<String>,
    first: Option<CqlTimestamp>,
    last: Option<CqlTimestamp>,
    latest_time: Option<CqlTimestamp>,
    latest_value: Option<f64>,
}

const SELECT: &str = "SELECT sensor, metric, unit, role, label, rated_w, kind, quantity, first, last, latest_time, latest_value
    FROM @.series WHERE gateway = ?";

/// The sensors and series of a gateway.
#[derive(Debug, Default)]
pub(crate) struct GatewaySeries {
    pub(crate) sensors: Vec<SensorRecord>,
    /// By name; each one's slot is its place.
    pub(crate) series: Vec<StoredSeries>,
}

impl GatewaySeries {
    /// From the first to after the last reading of all series, as they came and as
    /// corrections leave them.
    pub(crate) fn extent(&self) -> Option<TimeWindow> {
        let raw = self.series.iter().filter_map(|series| series.extent).map(|extent| (extent.first, extent.last));
        let all = raw.chain(self.series.iter().filter_map(correct::bounds));
        let (first, last) = all.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        Some(TimeWindow::between(first, last.plus_millis(1)))
    }
}

/// What is known of a gateway's series.
pub(crate) async fn of_gateway(db: &Database, gateway: &GatewayId) -> Result<GatewaySeries, StoreError> {
    Box::pin(pulse::flush_gateway(db, gateway)).await;
    // Boxed: futures that hold one another get too deep for the compiler.
    let corrections = Box::pin(db.catalog()).await?.corrections_of(gateway)?;
    let rows: Vec<Row> = db.all(SELECT, (gateway.as_str(),)).await?;
    let mut found = GatewaySeries::default();
    for row in rows {
        let (Some(sensor), Some(metric), Some(unit)) = (&row.sensor, &row.metric, &row.unit) else { continue };
        let sensor = SensorId::parse(sensor)?;
        // A sensor's own row stands before those of its series.
        if metric.is_empty() {
            let role = row.role.as_deref().map_or(Ok(SensorRole::Other), SensorRole::parse)?;
            found.sensors.push(SensorRecord { id: sensor, label: row.label, role, rated_w: row.rated_w, series: Vec::new() });
            continue;
        }
        let (Some(kind), Some(quantity)) = (&row.kind, &row.quantity) else { continue };
        let owner = found.sensors.last_mut().filter(|owner| owner.id == sensor);
        let rated_w = owner.as_ref().and_then(|owner| owner.rated_w);
        let slot = Slot::try_from(found.series.len()).unwrap_or(Slot::MAX);
        let measured = (MetricName::parse(metric)?, Unit::parse(unit)?);
        let series = stored(slot, sensor, measured, (Kind::parse(kind)?, Quantity::parse(quantity)?), &row, rated_w);
        let series = series.corrected_by(&corrections);
        if let Some(owner) = owner {
            owner.series.push(series.record.clone());
        }
        found.series.push(series);
    }
    Ok(found)
}

fn stored(
    slot: Slot,
    sensor: SensorId,
    (metric, unit): (MetricName, Unit),
    (kind, quantity): (Kind, Quantity),
    row: &Row,
    rated_w: Option<f64>,
) -> StoredSeries {
    let [first, last, latest] = [row.first, row.last, row.latest_time].map(|time| time.map(|time| Timestamp::clamped(time.0)));
    let record = SeriesRecord {
        metric,
        unit,
        kind,
        quantity,
        latest: latest.zip(row.latest_value).map(|(at, value)| Sample { at, value }),
        heard: latest,
        first,
    };
    let extent = first.zip(last).map(|(first, last)| Extent { first, last });
    let rule = RollupRule::of_series(kind, &record.unit, rated_w);
    StoredSeries { slot, sensor, record, extent, rule, corrections: None }
}

/// What whoever writes remembers of gateways, so that a document costs no look-ups.
#[derive(Debug)]
pub(crate) struct Known {
    gateways: Mutex<HashMap<GatewayId, Arc<Mutex<KnownSeries>>>>,
    /// Held while series of some gateways are registered: conditional writes of one
    /// partition that come at once hold each other up for seconds.
    registering: [tokio::sync::Mutex<()>; REGISTERING],
}

impl Default for Known {
    fn default() -> Self {
        Self { gateways: Mutex::default(), registering: std::array::from_fn(|_| tokio::sync::Mutex::default()) }
    }
}

/// The series of a gateway, each with an extent that is known to be written.
type KnownSeries = HashMap<Name, Option<Extent>>;

impl Known {
    /// No series that was registered is there any more.
    pub(super) fn forget(&self) {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The turn to register series of a gateway.
    async fn turn(&self, gateway: &GatewayId) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let place = crc32fast::hash(gateway.as_str().as_bytes()) as usize % REGISTERING;
        Some(self.registering.get(place)?.lock().await)
    }

    fn get(&self, gateway: &GatewayId) -> Option<Arc<Mutex<KnownSeries>>> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner).get(gateway).cloned()
    }

    fn set(&self, gateway: &GatewayId, known: KnownSeries) -> Arc<Mutex<KnownSeries>> {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        if gateways.len() >= REMEMBERED {
            gateways.clear();
        }
        let known = Arc::new(Mutex::new(known));
        gateways.insert(gateway.clone(), Arc::clone(&known));
        known
    }
}

/// The names of a document's series, in its order.
pub(crate) fn names(document: &DocumentWrite) -> Result<Vec<Name>, StoreError> {
    let name = |series: &SeriesSeen| {
        let sensor =
            document.sensors.get(series.sensor).ok_or_else(|| StoreError::Conflict("series names no sensor".to_owned()))?;
        Ok((sensor.id.as_str().to_owned(), series.metric.as_str().to_owned(), series.unit.as_str().to_owned()))
    };
    document.series.iter().map(name).collect()
}

/// Makes sure that the gateway and the series of a document are registered.
pub(crate) async fn register(db: &Database, document: &DocumentWrite, names: &[Name]) -> Result<(), StoreError> {
    let known = &db.writing().known;
    let has_all = |known: &Arc<Mutex<KnownSeries>>| {
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().all(|name| known.contains_key(name))
    };
    if known.get(&document.gateway).is_some_and(|known| has_all(&known)) {
        return Ok(());
    }
    let _turn = known.turn(&document.gateway).await;
    // Whoever had it before may have registered all of them.
    if known.get(&document.gateway).is_some_and(|known| has_all(&known)) {
        return Ok(());
    }
    // What another process registers meanwhile makes the condition fail: look again.
    for _ in 0..5 {
        let found = of_gateway(db, &document.gateway).await?;
        let registered: KnownSeries = found.series.iter().map(|series| (name_of(series), series.extent)).collect();
        let missing: Vec<usize> =
            (0..names.len()).filter(|i| names.get(*i).is_some_and(|n| !registered.contains_key(n))).collect();
        let distinct: std::collections::HashSet<&Name> = missing.iter().filter_map(|i| names.get(*i)).collect();
        if !distinct.is_empty() && registered.len() + distinct.len() > ProviderStore::SERIES_OF_GATEWAY {
            return Err(StoreError::TooManySeries(ProviderStore::SERIES_OF_GATEWAY));
        }
        db.gateway_stores(&document.gateway, document.received).await?;
        if missing.is_empty() {
            known.set(&document.gateway, registered);
            return Ok(());
        }
        insert_missing(db, document, &found.sensors, &missing).await?;
    }
    Err(StoreError::Unavailable("series of a gateway are being registered by others".to_owned()))
}

pub(crate) fn name_of(series: &StoredSeries) -> Name {
    (series.sensor.as_str().to_owned(), series.record.metric.as_str().to_owned(), series.record.unit.as_str().to_owned())
}

async fn insert_missing(
    db: &Database,
    document: &DocumentWrite,
    sensors: &[SensorRecord],
    missing: &[usize],
) -> Result<(), StoreError> {
    let mut roles: BTreeMap<&str, SensorRole> = sensors.iter().map(|sensor| (sensor.id.as_str(), sensor.role)).collect();
    let mut rows: BTreeMap<(&str, &str, &str), New> = BTreeMap::new();
    for series in missing.iter().filter_map(|i| document.series.get(*i)) {
        let Some(sensor) = document.sensors.get(series.sensor) else { continue };
        let id = sensor.id.as_str();
        let role = *roles.entry(id).or_insert_with(|| {
            let role = role_of(sensor, series);
            rows.insert((id, "", ""), New::Sensor(role));
            role
        });
        let meant = meaning(series, role);
        rows.insert((id, series.metric.as_str(), series.unit.as_str()), New::Series(meant.kind, meant.quantity));
    }
    let rows: Vec<_> = rows.into_iter().collect();
    for some in rows.chunks(BATCH) {
        insert(db, &document.gateway, some).await?;
    }
    Ok(())
}

enum New {
    Sensor(SensorRole),
    Series(Kind, Quantity),
}

/// Registers rows, if none of them is there; else none of them.
async fn insert(db: &Database, gateway: &GatewayId, rows: &[((&str, &str, &str), New)]) -> Result<(), StoreError> {
    let sensor = "INSERT INTO @.series (gateway, sensor, metric, unit, role, role_chosen, kind, quantity, chosen)
        VALUES (?, ?, ?, ?, ?, false, ?, ?, false) IF NOT EXISTS";
    let statement = db.prepared(sensor).await?;
    let mut batch = Batch::new(BatchType::Unlogged);
    let mut values = Vec::new();
    for ((sensor, metric, unit), new) in rows {
        batch.append_statement(statement.clone());
        let (role, kind, quantity) = match new {
            New::Sensor(role) => (Some(role.as_str()), None, None),
            New::Series(kind, quantity) => (None, Some(kind.as_str()), Some(quantity.as_str())),
        };
        values.push((gateway.as_str(), *sensor, *metric, *unit, role, kind, quantity));
    }
    db.session().await?.batch(&batch, values).await?;
    Ok(())
}

/// What a document says of the extent of its series and of their latest readings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) extent: Extent,
    pub(crate) latest: Option<Sample>,
}

impl Touched {
    /// Adds a value that wins over an equal key before it.
    pub(crate) fn add(found: &mut Option<Self>, at: Timestamp, value: f64, received: Timestamp) {
        let touched = found.get_or_insert(Self { extent: Extent { first: at, last: at }, latest: None });
        touched.extent.first = touched.extent.first.min(at);
        touched.extent.last = touched.extent.last.max(at);
        let in_time = at <= received.plus_millis(TimePolicy::LATEST_AHEAD_MS);
        if in_time && touched.latest.is_none_or(|latest| latest.at <= at) {
            touched.latest = Some(Sample { at, value });
        }
    }
}

/// Writes extents that are not known to hold what a document brings.
pub(crate) async fn extend(db: &Database, gateway: &GatewayId, touched: &[(&Name, Touched)]) -> Result<(), StoreError> {
    let Some(known) = db.writing().known.get(gateway) else { return Err(forgotten()) };
    let mut rows = Vec::new();
    {
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, touched) in touched {
            let extent = known.get(*name).copied().flatten();
            let (first, last) = (touched.extent.first, end_of_day(touched.extent.last));
            let changed = [
                (extent.is_none_or(|extent| first < extent.first), "first", first),
                (extent.is_none_or(|extent| last > extent.last), "last", last),
            ];
            rows.extend(changed.into_iter().filter(|(changed, ..)| *changed).map(|(_, end, time)| (*name, end, time)));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let first = db
        .prepared("UPDATE @.series USING TIMESTAMP ? SET first = ? WHERE gateway = ? AND sensor = ? AND metric = ? AND unit = ?")
        .await?;
    let last = db
        .prepared("UPDATE @.series USING TIMESTAMP ? SET last = ? WHERE gateway = ? AND sensor = ? AND metric = ? AND unit = ?")
        .await?;
    for some in rows.chunks(BATCH) {
        let statements = some.iter().map(|(_, end, _)| if *end == "first" { first.clone() } else { last.clone() }).collect();
        let values: Vec<_> = some
            .iter()
            .map(|((sensor, metric, unit), end, time)| {
                let millis = time.as_millis();
                let (least, greatest) = extent_timestamps(*time, *time);
                let timestamp = if *end == "first" { least } else { greatest };
                (timestamp, CqlTimestamp(millis), gateway.as_str(), sensor, metric, unit)
            })
            .collect();
        db.batch(statements, values, None).await?;
    }
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, end, time) in rows {
        let extent = known.entry(name.clone()).or_default();
        let extent = extent.get_or_insert(Extent { first: time, last: time });
        if end == "first" { extent.first = extent.first.min(time) } else { extent.last = extent.last.max(time) }
    }
    Ok(())
}

/// Write timestamps that are made from readings' times stand around this.
const MIDDLE: i64 = 1 << 52;

/// The write timestamps by which the least beginning and the greatest end of a
/// series win.
pub(super) const fn extent_timestamps(first: Timestamp, last: Timestamp) -> (i64, i64) {
    (MIDDLE - first.as_millis(), MIDDLE + last.as_millis())
}

fn end_of_day(time: Timestamp) -> Timestamp {
    Timestamp::clamped((day_of(time) + 1) * DAY_MS - 1)
}

fn forgotten() -> StoreError {
    StoreError::Unavailable("the gateway was removed meanwhile".to_owned())
}

pub(crate) async fn list(db: &Database, gateway: &GatewayId) -> Result<Vec<SensorRecord>, StoreError> {
    db.require_gateway(gateway).await?;
    Ok(of_gateway(db, gateway).await?.sensors)
}

pub(crate) async fn update(
    db: &Database,
    event: AuditEvent,
    gateway: &GatewayId,
    sensor: &SensorId,
    update: &SensorUpdate,
) -> Result<(), StoreError> {
    let known = list(db, gateway).await?;
    if !known.iter().any(|known| known.id == *sensor) {
        return Err(StoreError::NotFound("sensor"));
    }
    let cql = "UPDATE @.series SET label = ?, role = ?, role_chosen = true, rated_w = ?
        WHERE gateway = ? AND sensor = ? AND metric = '' AND unit = '' IF EXISTS";
    let values = (update.label.as_deref(), update.role.as_str(), update.rated_w, gateway.as_str(), sensor.as_str());
    change(db, event, gateway, cql, values, "sensor").await
}

pub(crate) async fn classify(
    db: &Database,
    event: AuditEvent,
    key: &SeriesKey,
    kind: Kind,
    quantity: Quantity,
) -> Result<(), StoreError> {
    let known = list(db, &key.gateway).await?;
    let mut series = known.iter().filter(|sensor| sensor.id == key.sensor).flat_map(|sensor| &sensor.series);
    if !series.any(|series| series.metric == key.metric && series.unit == key.unit) {
        return Err(StoreError::NotFound("series"));
    }
    let cql = "UPDATE @.series SET kind = ?, quantity = ?, chosen = true
        WHERE gateway = ? AND sensor = ? AND metric = ? AND unit = ? IF EXISTS";
    let (gateway, sensor) = (key.gateway.as_str(), key.sensor.as_str());
    let values = (kind.as_str(), quantity.as_str(), gateway, sensor, key.metric.as_str(), key.unit.as_str());
    change(db, event, &key.gateway, cql, values, "series").await
}

/// Changes a row that is known to be there, by which all of a gateway's windows are
/// computed; the trail tells of it before.
async fn change(
    db: &Database,
    event: AuditEvent,
    gateway: &GatewayId,
    cql: &'static str,
    values: impl SerializeRow,
    what: &'static str,
) -> Result<(), StoreError> {
    let now = event.at;
    let change = async {
        db.audit(event).await?;
        if applied(db.execute(cql, values).await?)? { Ok(()) } else { Err(StoreError::NotFound(what)) }
    };
    correction::marked(db, || mark_all(db, gateway, now).boxed(), change).await
}

/// Marks every day of a gateway that may hold data, because a rule is about to change.
async fn mark_all(db: &Database, gateway: &GatewayId, now: Timestamp) -> Result<(), StoreError> {
    let Some(extent) = of_gateway(db, gateway).await?.extent() else { return Ok(()) };
    mark::set_days_anew(db, gateway, extent.from, extent.end(), now).await?;
    correction::mark_all(db, gateway, now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_ahead_of_its_time_extends_but_is_never_the_latest() {
        let (mut touched, received) = (None, Timestamp::clamped(0));
        for (minute, value) in [(1, 1.0), (6, 2.0), (1, 3.0)] {
            Touched::add(&mut touched, Timestamp::clamped(minute * 60_000), value, received);
        }
        let touched = touched.unwrap();
        assert_eq!(touched.latest.map(|latest| latest.value), Some(3.0));
        assert_eq!(touched.extent.last.as_millis(), 360_000);
    }
}
