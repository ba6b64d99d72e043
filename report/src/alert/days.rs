//! What figures of the last whole days say of gateways: beside their neighbours, by what
//! is missing, and which sensor gives nothing.
//!
//! A day is whole some hours after its midnight: loggers deliver their day at night.

use std::collections::{BTreeMap, HashMap, HashSet};

use heliograph_domain::{
    AlertCause, AlertKey, AlertKind, AlertSubject, GatewayId, GatewayState, InstalledArray, Location, LocationId, Period,
    SensorId, SensorRole, TimeWindow, Timestamp, Zone,
};
use heliograph_store::{GatewayRecord, ProviderStore, StoreError};
use jiff::ToSpan as _;

use super::Found;
use super::mask::Masks;
use crate::energy::Completeness;
use crate::error::ReportError;
use crate::expect::Light;
use crate::fleet::{Fleet, Need, median};
use crate::flow::{Direction, SensorInput};
use crate::installed::gateway_kwp;
use crate::ledger::{Frame, SensorBook};
use crate::site::{is_producer, ledger_under, read_sensors_of_many};

/// Whole days that are looked at.
const DAYS: u32 = 3;
/// A day is whole so long after it ended, ms.
const SETTLED_MS: i64 = 6 * 3_600_000;
/// Gateways that are read at once.
const AT_ONCE: usize = 64;
/// Less than this beside its neighbours is far less, more than that is not; the same of
/// one inverter.
const LOW: f64 = 0.6;
const NOT_LOW: f64 = 0.7;
/// Of a gateway of which less was measured nobody knows what it gave.
const MEASURED: f64 = 0.9;
/// Much is missing where less than this was measured on each day, and no longer where
/// more than that was on the last.
const INCOMPLETE: f64 = 0.75;
const NOT_INCOMPLETE: f64 = 0.85;
/// Days of which less was expected say nothing, ms.
const EXPECTED_MS: u64 = 2 * 3_600_000;
/// A sensor that gave nothing for longer was taken away, ms.
const GONE_MS: i64 = 14 * 86_400_000;

/// What the days say.
#[derive(Debug, Default)]
pub(super) struct Days {
    pub(super) found: HashMap<AlertKey, Found>,
    /// Gateways with nothing but inverters behind them.
    pub(super) only_inverters: HashSet<GatewayId>,
}

/// Gateways that stand together.
struct Site<'a> {
    location: Option<&'a Location>,
    /// The last whole days, and all of them.
    days: Vec<TimeWindow>,
    period: TimeWindow,
    gateways: Vec<&'a GatewayRecord>,
}

pub(super) async fn read(store: &ProviderStore, fleet: &Fleet, masks: &Masks, now: Timestamp) -> Result<Days, ReportError> {
    let (arrays, replaced) = (store.array_list().await?, replaced(store, now).await?);
    let mut days = Days::default();
    let mut waiting: Vec<Site<'_>> = Vec::new();
    let mut sites = sites(fleet, now).into_iter().peekable();
    while let Some(site) = sites.next() {
        waiting.push(site);
        let gateways: usize = waiting.iter().map(|site| site.gateways.len()).sum();
        if gateways < AT_ONCE && sites.peek().is_some() {
            continue;
        }
        let asked = waiting.iter().flat_map(|site| site.gateways.iter().map(|record| (record.id.clone(), site.period)));
        let mut read = read_sensors_of_many(store, asked.collect()).await?;
        for site in waiting.drain(..) {
            days.judge(&site, &mut read, &arrays, &replaced, masks, now);
        }
    }
    Ok(days)
}

/// Sensors that something else stands for by now.
async fn replaced(store: &ProviderStore, now: Timestamp) -> Result<HashSet<(GatewayId, SensorId)>, StoreError> {
    let ended = store.binding_list().await?.into_iter().filter(|binding| binding.window.end() <= now);
    Ok(ended.map(|binding| (binding.gateway, binding.sensor)).collect())
}

fn sites<'a>(fleet: &'a Fleet, now: Timestamp) -> Vec<Site<'a>> {
    let mut sites: BTreeMap<Option<LocationId>, Site<'a>> = BTreeMap::new();
    let in_use = |record: &&GatewayRecord| record.state == GatewayState::Commissioned && record.documents > 0;
    for record in fleet.gateways.iter().filter(in_use) {
        let location = fleet.location(record);
        let zone = location.map_or(&fleet.zone, |location| &location.zone);
        let site = sites.entry(location.map(|location| location.id)).or_insert_with(|| Site::at(location, zone, now));
        site.gateways.push(record);
    }
    sites.into_values().collect()
}

impl<'a> Site<'a> {
    fn at(location: Option<&'a Location>, zone: &Zone, now: Timestamp) -> Self {
        let today = zone.civil(now.plus_millis(-SETTLED_MS)).date();
        let day = |back: u32| {
            let date = today.saturating_sub(i64::from(back).days());
            TimeWindow::between(zone.start_of_day(date), zone.start_of_day(date.saturating_add(1.day())))
        };
        let days: Vec<TimeWindow> = (1..=DAYS).rev().map(day).collect();
        let first = today.saturating_sub(i64::from(DAYS).days());
        let period = Period::range(first, today.saturating_sub(1.day())).map(|period| period.window(zone));
        let period = period.unwrap_or(TimeWindow::between(now, now));
        Self { location, days, period, gateways: Vec::new() }
    }

    fn is_light_known(&self) -> bool {
        self.location.is_some_and(|location| location.position.is_some())
    }
}

/// What a gateway gave.
struct Measured<'a> {
    record: &'a GatewayRecord,
    sensors: Vec<SensorInput>,
    /// Whether something of these days cannot be judged.
    is_masked: bool,
    /// By day.
    completeness: Vec<Completeness>,
    /// kWh for each kWp, where all of it was measured.
    given: Option<f64>,
    /// The same of its inverters, of several.
    inverters: Vec<(String, f64)>,
}

impl Days {
    fn judge(
        &mut self,
        site: &Site<'_>,
        read: &mut HashMap<GatewayId, Vec<SensorInput>>,
        arrays: &[InstalledArray],
        replaced: &HashSet<(GatewayId, SensorId)>,
        masks: &Masks,
        now: Timestamp,
    ) {
        let light = Light::over(site.location.and_then(|location| location.position.as_ref()), site.period);
        let producing = |record: &&&GatewayRecord| {
            read.get(&record.id).is_some_and(|sensors| sensors.iter().any(|sensor| is_producer(sensor.role)))
        };
        let is_alone = site.gateways.iter().filter(producing).count() == 1;
        let mut all = Vec::new();
        for record in &site.gateways {
            let sensors = read.remove(&record.id).unwrap_or_default();
            if !sensors.is_empty() && sensors.iter().all(|sensor| sensor.role == SensorRole::Inverter) {
                self.only_inverters.insert(record.id.clone());
            }
            let kwp = gateway_kwp(&sensors, site.location.filter(|_| is_alone), arrays, site.period, now);
            let mut measured = measure(record, sensors, kwp.filter(|kwp| *kwp > 0.0), site, &light, now);
            measured.is_masked = masks.touch(record, &site.period);
            // Nor is it somebody to compare with.
            measured.given = measured.given.filter(|_| !measured.is_masked);
            all.push(measured);
        }
        self.judge_yields(&all, site);
        for of in &all {
            self.judge_completeness(of, site);
            self.judge_sensors(of, site, replaced, &light, now);
        }
    }

    /// Beside the median of the location.
    fn judge_yields(&mut self, all: &[Measured<'_>], site: &Site<'_>) {
        let given: Vec<f64> = all.iter().filter_map(|of| of.given).collect();
        let neighbours = given.len();
        let enough = Need::ENOUGH_YIELD * f64::from(DAYS);
        let median = median(given).filter(|median| neighbours >= Need::NEIGHBOURS && *median >= enough);
        for of in all {
            let found = match (median, of.given) {
                (Some(median), Some(given)) => low_yield(of, given, median, site.period.from),
                // Nobody to compare with, or too little to compare.
                _ => Some(Found::UNJUDGED),
            };
            let key = AlertKey::gateway(AlertKind::LowYield, of.record.id.clone());
            self.found.extend(found.map(|found| (key, found)));
        }
    }

    fn judge_completeness(&mut self, of: &Measured<'_>, site: &Site<'_>) {
        let ratios: Option<Vec<f64>> = of.completeness.iter().map(|day| ratio(*day)).collect();
        let key = AlertKey::gateway(AlertKind::Incomplete, of.record.id.clone());
        let Some(ratios) = ratios.filter(|_| !of.is_masked) else { return drop(self.found.insert(key, Found::UNJUDGED)) };
        if ratios.iter().all(|ratio| *ratio < INCOMPLETE) {
            let all = together(of.completeness.iter().copied());
            let cause = AlertCause::Incomplete { measured: all.ratio().unwrap_or(0.0), days: DAYS };
            self.found.insert(key, Found::holds(cause, site.period.from));
        } else if ratios.last().is_some_and(|last| *last < NOT_INCOMPLETE) {
            self.found.insert(key, Found::UNJUDGED);
        }
    }

    /// Sensors that gave nothing on the last day while another one behind the same
    /// gateway did. Who gave nothing on one of the days before either speaks rarely, or
    /// there is an alert by now, which stays.
    fn judge_sensors(
        &mut self,
        of: &Measured<'_>,
        site: &Site<'_>,
        replaced: &HashSet<(GatewayId, SensorId)>,
        light: &Light,
        now: Timestamp,
    ) {
        let Some(day) = site.days.last().copied() else { return };
        let frame = Frame { period: day, now, light, whole: true };
        let covered: Vec<Completeness> = of.sensors.iter().map(|sensor| SensorBook::new(sensor, frame).completeness()).collect();
        let others_give = covered.iter().any(|covered| ratio(*covered).is_some_and(|ratio| ratio >= 0.5));
        for (sensor, covered) in of.sensors.iter().zip(&covered) {
            let last = sensor.series.iter().filter_map(|(record, _)| record.latest).map(|latest| latest.at).max();
            let Some(last) = last.filter(|last| *last < day.from && day.from.millis_since(*last) <= GONE_MS) else { continue };
            let is_replaced = replaced.contains(&(of.record.id.clone(), sensor.id.clone()));
            if is_replaced || covered.covered_ms > 0 || covered.expected_ms < EXPECTED_MS {
                continue;
            }
            let subject = AlertSubject::Sensor(of.record.id.clone(), sensor.id.clone());
            let cause = AlertCause::SensorFault { last, name: sensor.name.clone() };
            let is_news = site.days.iter().filter(|before| **before != day).all(|before| gave(sensor, before));
            let found = if others_give && is_news && !of.is_masked { Found::holds(cause, last) } else { Found::UNJUDGED };
            self.found.insert(AlertKey { kind: AlertKind::SensorFault, subject }, found);
        }
    }
}

fn gave(sensor: &SensorInput, day: &TimeWindow) -> bool {
    sensor.series.iter().any(|(_, windows)| windows.iter().any(|window| day.contains(window.start)))
}

fn measure<'a>(
    record: &'a GatewayRecord,
    sensors: Vec<SensorInput>,
    kwp: Option<f64>,
    site: &Site<'_>,
    light: &Light,
    now: Timestamp,
) -> Measured<'a> {
    let completeness_of = |sensor: &SensorInput, period: TimeWindow| {
        SensorBook::new(sensor, Frame { period, now, light, whole: true }).completeness()
    };
    let of_all: Vec<Completeness> = sensors.iter().map(|sensor| completeness_of(sensor, site.period)).collect();
    let is_measured = together(of_all.iter().copied()).ratio() >= Some(MEASURED);
    // Where nobody knows when it is night, what inverters miss then is not missing. Of what
    // is read too rarely to be covered at all nobody knows what is missing.
    let judged = |(sensor, of_it): &(&SensorInput, &Completeness)| {
        of_it.covered_ms > 0 && (site.is_light_known() || sensor.role != SensorRole::Inverter)
    };
    let of_day =
        |day: &TimeWindow| together(sensors.iter().zip(&of_all).filter(judged).map(|(sensor, _)| completeness_of(sensor, *day)));
    let completeness: Vec<Completeness> = site.days.iter().map(of_day).collect();
    let mut producers = sensors.iter().filter(|sensor| is_producer(sensor.role));
    let was_there = producers.all(|sensor| sensor.first().is_some_and(|first| first <= site.period.from));
    let ledger = ledger_under(&sensors, light, site.period, now, true);
    let produced = ledger.totals(site.period).produced.map(|energy| energy.watt_hours / 1_000.0);
    let given = produced.zip(kwp).map(|(kwh, kwp)| kwh / kwp).filter(|given| is_measured && was_there && given.is_finite());
    let inverters = if given.is_some() { inverters(&sensors, site, light, now) } else { Vec::new() };
    Measured { record, sensors, is_masked: false, completeness, given, inverters }
}

/// What each of several inverters gave for each kWp, kWh.
fn inverters(sensors: &[SensorInput], site: &Site<'_>, light: &Light, now: Timestamp) -> Vec<(String, f64)> {
    let frame = Frame { period: site.period, now, light, whole: true };
    let of_each = |sensor: &SensorInput| {
        let produced = SensorBook::new(sensor, frame).total(Direction::Produced, site.period)?.watt_hours;
        let given = produced / sensor.rated_w.filter(|rated| *rated > 0.0)?;
        given.is_finite().then(|| (sensor.name.clone(), given))
    };
    let inverters: Vec<&SensorInput> = sensors.iter().filter(|sensor| sensor.role == SensorRole::Inverter).collect();
    if inverters.len() < 2 { Vec::new() } else { inverters.into_iter().filter_map(of_each).collect() }
}

/// What is found of a gateway's yield, or of the inverter behind it that gave least;
/// `None` where it is as its neighbours'.
fn low_yield(of: &Measured<'_>, given: f64, median: f64, since: Timestamp) -> Option<Found> {
    let least = of.inverters.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    // Where others behind it are as they should be, it is not all of the gateway.
    let is_one_of_them = of.inverters.iter().any(|(_, given)| *given >= NOT_LOW * median);
    let (worst, inverter) = match least.filter(|(_, least)| is_one_of_them && *least < given) {
        Some((name, least)) => (*least, Some(name.clone())),
        None => (given, None),
    };
    let share = worst / median;
    if share < LOW {
        let cause = AlertCause::LowYield { share, given: worst, median, days: DAYS, inverter };
        return Some(Found::holds(cause, since));
    }
    (share < NOT_LOW).then_some(Found::UNJUDGED)
}

fn together(all: impl Iterator<Item = Completeness>) -> Completeness {
    all.fold(Completeness::default(), Completeness::sum)
}

/// `None` where too little was expected to say anything.
fn ratio(of: Completeness) -> Option<f64> {
    of.ratio().filter(|_| of.expected_ms >= EXPECTED_MS)
}
