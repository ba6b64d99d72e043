//! The fleet at a glance: who talks, what is produced now and today.

use std::collections::BTreeMap;

use heliograph_domain::{
    GatewayId, GatewayState, Location, LocationId, Period, PeriodKind, Reachability, SensorRole, TimeWindow, Timestamp, Zone,
};
use heliograph_store::{GatewayRecord, ProviderStore, StoreError};

use crate::energy::{Completeness, plus};
use crate::error::ReportError;
use crate::flow::SensorInput;
use crate::ledger::Ledger;
use crate::points::Points;
use crate::scope::Scope;
use crate::site::{GatewayHead, LocationRef, read_sensors, site_ledger};

/// The fleet as a reader sees it now.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetOverview {
    /// The gateways, by name.
    pub gateways: Vec<GatewayLine>,
    /// The locations where any of them stands, by name.
    pub locations: Vec<LocationLine>,
    /// All of them together.
    pub totals: FleetTotals,
}

/// One gateway of the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayLine {
    /// The gateway.
    pub id: GatewayId,
    /// What people call it.
    pub name: String,
    /// Where it stands in its life.
    pub state: GatewayState,
    /// Where it is.
    pub location: Option<LocationRef>,
    /// Whether it still talks.
    pub reachability: Reachability,
    /// When it was last heard, if the reader may know.
    pub last_seen: Option<Timestamp>,
    /// The power that its sensors produce now, W; `None` where no reading is
    /// younger than [`Reachability::LATE_AFTER_MS`].
    pub power_now_w: Option<f64>,
    /// Produced since local midnight, Wh.
    pub energy_today_wh: Option<f64>,
    /// How much of today was measured.
    pub completeness: Completeness,
    /// Mean power of production by hour of today, W, for a sparkline.
    pub today_w: Vec<Option<f64>>,
}

/// What a location's gateways give together, by its own balance.
#[derive(Debug, Clone, PartialEq)]
pub struct LocationLine {
    /// The location.
    pub location: LocationRef,
    /// W.
    pub power_now_w: Option<f64>,
    /// Wh produced since its midnight.
    pub energy_today_wh: Option<f64>,
}

/// The sums of a fleet. Gateways that wait or are retired count in no other
/// number than their own.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FleetTotals {
    /// W; each location by its own balance, so that nothing counts twice.
    pub power_now_w: Option<f64>,
    /// Wh produced since each location's midnight.
    pub energy_today_wh: Option<f64>,
    /// Gateways that are heard in their rhythm.
    pub online: usize,
    /// Gateways that are overdue.
    pub late: usize,
    /// Gateways that have not been heard for long.
    pub silent: usize,
    /// Commissioned gateways that were never heard.
    pub never: usize,
    /// Gateways that wait to be commissioned.
    pub waiting: usize,
    /// Gateways no longer in use.
    pub retired: usize,
}

/// The fleet as a reader sees it at `now`; "today" is that of each location.
///
/// # Errors
/// When the store cannot be read.
pub async fn fleet_overview(store: &ProviderStore, scope: &Scope, now: Timestamp) -> Result<FleetOverview, ReportError> {
    let settings = store.settings_fetch().await?;
    let locations: BTreeMap<LocationId, Location> =
        store.location_list().await?.into_iter().map(|location| (location.id, location)).collect();
    let mut fleet = FleetOverview { gateways: Vec::new(), locations: Vec::new(), totals: FleetTotals::default() };
    let mut sites: BTreeMap<Option<LocationId>, Vec<SensorInput>> = BTreeMap::new();
    for record in store.gateway_list().await? {
        let Some(visible) = scope.window(&record.id, now) else { continue };
        let location = record.location.and_then(|id| locations.get(&id));
        let today = Today::at(location, &settings.zone, now);
        let inputs = today.sensors(store, &record, visible).await?;
        let line = today.line(&record, visible, &inputs);
        fleet.totals.count(&line);
        fleet.gateways.push(line);
        if record.state == GatewayState::Commissioned {
            sites.entry(location.map(|location| location.id)).or_default().extend(inputs);
        }
    }
    let points = Points::read(store).await?;
    for (location, mut inputs) in sites {
        let location = location.and_then(|id| locations.get(&id));
        let today = Today::at(location, &settings.zone, now);
        if let Some(location) = location {
            inputs = points.follow(store, location.id, today.window, inputs, |gateway| scope.window(gateway, now)).await?;
        }
        let power_now_w = power_now(&inputs, now);
        let energy_today_wh = today.ledger(&inputs).totals(today.window).produced.map(|energy| energy.watt_hours);
        fleet.totals.power_now_w = plus(fleet.totals.power_now_w, power_now_w);
        fleet.totals.energy_today_wh = plus(fleet.totals.energy_today_wh, energy_today_wh);
        fleet.locations.extend(location.map(|location| LocationLine {
            location: LocationRef::to(location),
            power_now_w,
            energy_today_wh,
        }));
    }
    fleet.locations.sort_by(|a, b| a.location.name.cmp(&b.location.name).then_with(|| a.location.id.cmp(&b.location.id)));
    fleet.gateways.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    Ok(fleet)
}

impl FleetTotals {
    fn count(&mut self, line: &GatewayLine) {
        let counter = match (line.state, line.reachability) {
            (GatewayState::Waiting, _) => &mut self.waiting,
            (GatewayState::Retired, _) => &mut self.retired,
            (GatewayState::Commissioned, Reachability::Online) => &mut self.online,
            (GatewayState::Commissioned, Reachability::Late) => &mut self.late,
            (GatewayState::Commissioned, Reachability::Silent) => &mut self.silent,
            (GatewayState::Commissioned, Reachability::Never) => &mut self.never,
        };
        *counter += 1;
    }
}

/// The local day that holds now.
struct Today<'a> {
    location: Option<&'a Location>,
    window: TimeWindow,
    now: Timestamp,
}

impl<'a> Today<'a> {
    fn at(location: Option<&'a Location>, zone: &Zone, now: Timestamp) -> Self {
        let zone = location.map_or(zone, |location| &location.zone);
        let window = Period::around(PeriodKind::Day, zone.civil(now).date()).window(zone);
        Self { location, window, now }
    }

    async fn sensors(
        &self,
        store: &ProviderStore,
        record: &GatewayRecord,
        visible: TimeWindow,
    ) -> Result<Vec<SensorInput>, StoreError> {
        read_sensors(store, &record.id, self.window, visible).await
    }

    fn ledger(&self, inputs: &[SensorInput]) -> Ledger {
        let position = self.location.and_then(|location| location.position.as_ref());
        site_ledger(inputs, position, self.window, self.now, true)
    }

    fn line(&self, record: &GatewayRecord, visible: TimeWindow, inputs: &[SensorInput]) -> GatewayLine {
        let ledger = self.ledger(inputs);
        let totals = ledger.totals(self.window);
        let head = GatewayHead::of(record, visible, self.now);
        GatewayLine {
            id: record.id.clone(),
            name: record.name().to_owned(),
            state: head.state,
            location: self.location.map(LocationRef::to),
            reachability: head.reachability,
            last_seen: head.last_seen,
            power_now_w: power_now(inputs, self.now),
            energy_today_wh: totals.produced.map(|energy| energy.watt_hours),
            completeness: totals.completeness,
            today_w: self.hourly(&ledger),
        }
    }

    fn hourly(&self, ledger: &Ledger) -> Vec<Option<f64>> {
        const HOUR_MS: i64 = 3_600_000;
        let hours = self.now.millis_since(self.window.from) / HOUR_MS;
        let hour = |hour: i64| {
            let from = self.window.from.plus_millis(hour * HOUR_MS);
            ledger.totals(TimeWindow::between(from, from.plus_millis(HOUR_MS))).power_w
        };
        (0..=hours).map(hour).collect()
    }
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
