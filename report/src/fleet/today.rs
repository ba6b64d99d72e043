//! What a fleet gives today, computed location by location.

use std::collections::{BTreeMap, HashMap, HashSet};

use heliograph_domain::{
    ClockEstimate, GatewayId, GatewayState, InstalledArray, Location, LocationId, Period, PeriodKind, Reachability, RefusalCode,
    SensorRole, TimeWindow, Timestamp, Zone,
};
use heliograph_store::{GatewayClock, GatewayRecord, ProviderStore, QuarantineRow, StoreError};

use super::{Fleet, Need};
use crate::energy::{Completeness, plus};
use crate::error::ReportError;
use crate::expect::Light;
use crate::flow::SensorInput;
use crate::gateway::producers;
use crate::installed::{gateway_kwp, rated_kw};
use crate::ledger::{Frame, Ledger, SensorBook};
use crate::points::Points;
use crate::scope::Scope;
use crate::site::{is_producer, ledger_under, read_sensors, read_sensors_of_many};

/// Gateways that are read at once, and then those of a location that they begin: what
/// is read of them lies in memory until their location is summed up.
const AT_ONCE: usize = 64;
/// Entries of the quarantine that are looked at, the newest.
const LOOKED_AT: usize = 200;
/// How far back refused documents still need somebody.
const LATELY_MS: i64 = 7 * 86_400_000;

/// What the gateways and locations of a fleet gave today, as it was at one time for one
/// reader.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetFigures {
    scope: Scope,
    at: Timestamp,
    gateways: HashMap<GatewayId, GatewayToday>,
    sites: BTreeMap<Option<LocationId>, Sums>,
    held_back: Option<HeldBack>,
}

/// Documents of the provider's own gateways that lie in quarantine since lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// How many; 0 where there are so many of others that these hide them.
    pub documents: usize,
    /// Whether there are more than were looked at.
    pub more: bool,
    /// When the newest of them came, or of those that hide them.
    pub newest: Timestamp,
}

/// What one gateway gave.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GatewayToday {
    pub(super) power_now_w: Option<f64>,
    pub(super) energy_today_wh: Option<f64>,
    pub(super) since_midnight: bool,
    pub(super) completeness: Completeness,
    pub(super) lacks_much: bool,
    pub(super) today_w: Vec<Option<f64>>,
    /// What its yield is measured by.
    pub(super) kwp: Option<f64>,
    pub(super) clock: Option<ClockEstimate>,
}

/// Power now, W, and energy of today, Wh.
type Sums = (Option<f64>, Option<f64>);

impl FleetFigures {
    /// The figures for a reader at `now`; "today" is that of each location.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn compute(store: &ProviderStore, scope: &Scope, now: Timestamp) -> Result<Self, ReportError> {
        Self::of(store, &Fleet::read(store).await?, scope, now).await
    }

    pub(super) async fn of(store: &ProviderStore, fleet: &Fleet, scope: &Scope, now: Timestamp) -> Result<Self, ReportError> {
        let sees_all = *scope == Scope::Everything;
        let computing = Computing {
            store,
            fleet,
            scope,
            now,
            points: Points::read(store).await?,
            arrays: store.array_list().await?,
            clocks: if sees_all { store.gateway_clock_list().await? } else { HashMap::new() },
        };
        let held_back = if sees_all { held_back(store, fleet, now).await? } else { None };
        let mut figures = Self { scope: scope.clone(), at: now, gateways: HashMap::new(), sites: BTreeMap::new(), held_back };
        let sites = sites(fleet, scope, now);
        for batch in batches(&sites) {
            let mut read = computing.read(batch).await?;
            for site in batch {
                computing.add(site, &mut read, &mut figures).await?;
            }
        }
        Ok(figures)
    }

    /// When they were computed.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// For whom.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn gateway(&self, gateway: &GatewayId) -> Option<&GatewayToday> {
        self.gateways.get(gateway)
    }

    pub(super) fn location(&self, location: LocationId) -> Sums {
        self.sites.get(&Some(location)).copied().unwrap_or_default()
    }

    pub(super) fn sites(&self) -> impl Iterator<Item = Sums> {
        self.sites.values().copied()
    }

    pub(super) const fn held_back(&self) -> Option<&HeldBack> {
        self.held_back.as_ref()
    }
}

/// What stands at a location, or at none.
struct Site<'a> {
    location: Option<&'a Location>,
    zone: &'a Zone,
    /// The local day that holds now.
    today: TimeWindow,
    /// With what of them may be seen.
    gateways: Vec<(&'a GatewayRecord, TimeWindow)>,
}

/// The gateways that a reader sees by where they stand, but for those of which no
/// figure is told: retired ones, and strangers that have stored nothing.
fn sites<'a>(fleet: &'a Fleet, scope: &Scope, now: Timestamp) -> Vec<Site<'a>> {
    let mut sites: BTreeMap<Option<LocationId>, Site<'a>> = BTreeMap::new();
    for record in &fleet.gateways {
        let has_figures = match record.state {
            GatewayState::Commissioned => true,
            GatewayState::Waiting => record.documents > 0,
            GatewayState::Retired => false,
        };
        let Some(visible) = scope.window(&record.id, now).filter(|_| has_figures) else { continue };
        let location = fleet.location(record);
        let site = sites.entry(location.map(|location| location.id)).or_insert_with(|| {
            let zone = location.map_or(&fleet.zone, |location| &location.zone);
            let today = Period::around(PeriodKind::Day, zone.civil(now).date()).window(zone);
            Site { location, zone, today, gateways: Vec::new() }
        });
        site.gateways.push((record, visible));
    }
    sites.into_values().collect()
}

/// Whole locations, together as many gateways as are read at once or a few more.
fn batches<'a, 'b>(mut sites: &'b [Site<'a>]) -> Vec<&'b [Site<'a>]> {
    let mut batches = Vec::new();
    while !sites.is_empty() {
        let mut gateways = 0;
        let fits = |site: &&Site<'_>| {
            let begins = gateways < AT_ONCE;
            gateways += site.gateways.len();
            begins
        };
        let (batch, later) = sites.split_at(sites.iter().take_while(fits).count());
        batches.push(batch);
        sites = later;
    }
    batches
}

/// The sensors of gateways.
type Read = HashMap<GatewayId, Vec<SensorInput>>;

/// What figures depend on besides readings.
struct Computing<'a> {
    store: &'a ProviderStore,
    fleet: &'a Fleet,
    scope: &'a Scope,
    now: Timestamp,
    points: Points,
    arrays: Vec<InstalledArray>,
    clocks: HashMap<GatewayId, GatewayClock>,
}

impl Computing<'_> {
    async fn read(&self, sites: &[Site<'_>]) -> Result<Read, StoreError> {
        if *self.scope == Scope::Everything {
            let gateways = |site: &Site<'_>| site.gateways.iter().map(|(record, _)| (record.id.clone(), site.today)).collect();
            let asked: Vec<Vec<(GatewayId, TimeWindow)>> = sites.iter().map(gateways).collect();
            return read_sensors_of_many(self.store, asked.concat()).await;
        }
        let mut read = Read::new();
        for site in sites {
            for (record, visible) in &site.gateways {
                let sensors = read_sensors(self.store, &record.id, site.today, *visible).await?;
                read.insert(record.id.clone(), sensors);
            }
        }
        Ok(read)
    }

    /// Adds the gateways of a site and what they give together.
    async fn add(&self, site: &Site<'_>, read: &mut Read, figures: &mut FleetFigures) -> Result<(), ReportError> {
        let light = Light::over(site.location.and_then(|location| location.position.as_ref()), site.today);
        let producers = self.producers(site, read).await?;
        let mut inputs = Vec::new();
        for (record, _) in &site.gateways {
            let sensors = read.remove(&record.id).unwrap_or_default();
            let alone = producers.iter().all(|producer| *producer == record.id);
            let kwp = gateway_kwp(&sensors, site.location.filter(|_| alone), &self.arrays, site.today, self.now);
            let clock = self.clocks.get(&record.id).and_then(|clock| clock.uncorrected(site.zone));
            let mut today = self.gateway(&sensors, kwp, clock, site.today, &light);
            let is_light_known = site.location.is_some_and(|location| location.position.is_some());
            let judged = sensors.iter().filter(|sensor| is_light_known || sensor.role != SensorRole::Inverter);
            today.lacks_much = judged.into_iter().any(|sensor| self.lacks_much(sensor, site.today, &light));
            figures.gateways.insert(record.id.clone(), today);
            if record.state == GatewayState::Commissioned {
                inputs.extend(sensors);
            }
        }
        if let Some(location) = site.location {
            let visible = |gateway: &GatewayId| self.scope.window(gateway, self.now);
            inputs = self.points.follow(self.store, location.id, site.today, inputs, visible).await?;
        }
        let produced = ledger_under(&inputs, &light, site.today, self.now, true).totals(site.today).produced;
        let sums = (power_now(&inputs, self.now), produced.map(|energy| energy.watt_hours));
        figures.sites.insert(site.location.map(|location| location.id), sums);
        Ok(())
    }

    /// The gateways of a location that produce there, where a yield depends on that.
    async fn producers(&self, site: &Site<'_>, read: &Read) -> Result<Vec<GatewayId>, StoreError> {
        let sensors = |record: &GatewayRecord| read.get(&record.id).map_or(&[][..], Vec::as_slice);
        let Some(location) = site.location else { return Ok(Vec::new()) };
        if *self.scope != Scope::Everything {
            let is_told = site.gateways.iter().all(|(record, _)| rated_kw(sensors(record)).is_some());
            let here = self.fleet.gateways.iter().filter(|record| record.location == Some(location.id));
            return if is_told { Ok(Vec::new()) } else { producers(self.store, here.map(|record| &record.id)).await };
        }
        let produces = |record: &GatewayRecord| sensors(record).iter().any(|sensor| is_producer(sensor.role));
        Ok(site.gateways.iter().filter(|(record, _)| produces(record)).map(|(record, _)| record.id.clone()).collect())
    }

    fn gateway(
        &self,
        sensors: &[SensorInput],
        kwp: Option<f64>,
        clock: Option<ClockEstimate>,
        today: TimeWindow,
        light: &Light,
    ) -> GatewayToday {
        let ledger = ledger_under(sensors, light, today, self.now, true);
        let totals = ledger.totals(today);
        GatewayToday {
            power_now_w: power_now(sensors, self.now),
            energy_today_wh: totals.produced.map(|energy| energy.watt_hours),
            since_midnight: sensors
                .iter()
                .filter(|sensor| is_producer(sensor.role))
                .all(|sensor| sensor.first().is_some_and(|first| first <= today.from)),
            completeness: totals.completeness,
            lacks_much: false,
            today_w: hourly(&ledger, today, self.now),
            kwp: kwp.filter(|kwp| *kwp > 0.0),
            clock,
        }
    }
}

impl Computing<'_> {
    /// Whether much of what was expected of a sensor today is missing.
    fn lacks_much(&self, sensor: &SensorInput, today: TimeWindow, light: &Light) -> bool {
        let frame = Frame { period: today, now: self.now, light, whole: true };
        let Completeness { expected_ms, covered_ms } = SensorBook::new(sensor, frame).completeness();
        let missing_ms = expected_ms.saturating_sub(covered_ms);
        missing_ms >= Need::MISSING_MS && missing_ms >= expected_ms / Need::MISSING_PART
    }
}

fn hourly(ledger: &Ledger, today: TimeWindow, now: Timestamp) -> Vec<Option<f64>> {
    const HOUR_MS: i64 = 3_600_000;
    let hours = now.millis_since(today.from) / HOUR_MS;
    let hour = |hour: i64| {
        let from = today.from.plus_millis(hour * HOUR_MS);
        ledger.totals(TimeWindow::between(from, from.plus_millis(HOUR_MS))).power_w
    };
    (0..=hours).map(hour).collect()
}

/// What the sensors of a site produce now: its production meters where one has
/// a fresh reading, else its inverters.
fn power_now(inputs: &[SensorInput], now: Timestamp) -> Option<f64> {
    let sum = |role: SensorRole| {
        let fresh = inputs.iter().filter(|input| input.role == role).filter_map(|input| fresh_power(input, now));
        fresh.fold(None, |sum, watts| plus(sum, Some(watts)))
    };
    sum(SensorRole::Production).or_else(|| sum(SensorRole::Inverter))
}

fn fresh_power(input: &SensorInput, now: Timestamp) -> Option<f64> {
    let (record, _) = input.power_gauge()?;
    let latest = record.latest.filter(|sample| input.visible.contains(sample.at))?;
    (now.millis_since(latest.at) <= Reachability::LATE_AFTER_MS).then_some(latest.value.max(0.0))
}

/// What lately came of gateways that had proved themselves, or that are in use by now.
async fn held_back(store: &ProviderStore, fleet: &Fleet, now: Timestamp) -> Result<Option<HeldBack>, StoreError> {
    let known = fleet.gateways.iter().filter(|record| record.state == GatewayState::Commissioned);
    let known: HashSet<&str> = known.map(|record| record.id.as_str()).collect();
    let since = now.plus_millis(-LATELY_MS);
    let rows = store.quarantine_list(None, LOOKED_AT).await?;
    let is_ours = |row: &QuarantineRow| {
        let named = row.entry.gateway.as_deref().is_some_and(|gateway| known.contains(gateway));
        let may_be = row.entry.trusted || (named && row.entry.code == RefusalCode::UnknownGateway);
        may_be && row.bytes > 0 && row.entry.received >= since
    };
    let mut ours = rows.iter().filter(|row| is_ours(row));
    let more = rows.len() == LOOKED_AT && rows.last().is_some_and(|row| row.entry.received >= since);
    let Some(newest) = ours.next().or_else(|| rows.first().filter(|_| more)) else { return Ok(None) };
    let newest = newest.entry.received;
    let documents = rows.iter().filter(|row| is_ours(row)).count();
    Ok(Some(HeldBack { documents, more, newest }))
}
