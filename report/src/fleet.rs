//! The fleet at a glance: who talks, what is produced now and today, and what needs
//! somebody.
//!
//! Figures take many reads, so that they may be computed once and shown for a while
//! ([`FleetFigures`]); who there is, what it is called and whether it talks is told as
//! of now ([`FleetOverview::read`]).

mod need;
mod today;

use std::collections::BTreeMap;

use heliograph_domain::{ClockEstimate, GatewayId, GatewayState, Location, LocationId, Reachability, Timestamp, Zone};
use heliograph_store::{GatewayRecord, ProviderStore, StoreError};

use crate::energy::{Completeness, plus};
use crate::error::ReportError;
use crate::scope::Scope;
use crate::site::{GatewayHead, LocationRef};

pub use need::Need;
pub(crate) use need::{is_surely_wrong, median};
pub use today::{FleetFigures, HeldBack};

/// The fleet as a reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetOverview {
    /// The gateways, by name.
    pub gateways: Vec<GatewayLine>,
    /// The locations, by name: to who sees everything all of them, else those where
    /// any of the gateways stands.
    pub locations: Vec<LocationLine>,
    /// All of them together.
    pub totals: FleetTotals,
    /// When the figures were computed.
    pub at: Timestamp,
    /// The median of what gateways gave today for each kW of installed peak power, kWh;
    /// of three or more.
    pub median_yield: Option<f64>,
    /// What of the gateways' documents is held back; nothing for who does not see
    /// everything.
    pub held_back: Option<HeldBack>,
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
    /// The same for each kW of its peak power, kWh.
    pub yield_today: Option<f64>,
    /// That beside the median of its location's gateways, 1 where it is as much; of
    /// locations with three such gateways or more.
    pub yield_share: Option<f64>,
    /// Whether all that produces behind it was known, and may be seen, since local midnight.
    pub since_midnight: bool,
    /// How much of today was measured.
    pub completeness: Completeness,
    /// Whether much is missing of one of its sensors ([`Need::Incomplete`]).
    pub lacks_much: bool,
    /// Mean power of production by hour of today, W, for a sparkline.
    pub today_w: Vec<Option<f64>>,
    /// By how much its clock is wrong and not corrected; to who sees everything.
    pub clock: Option<ClockEstimate>,
    /// What of it needs somebody most.
    pub need: Option<Need>,
}

/// What a location's gateways give together, by its own balance.
#[derive(Debug, Clone, PartialEq)]
pub struct LocationLine {
    /// The location.
    pub location: LocationRef,
    /// Its zone.
    pub zone: Zone,
    /// What is installed there, as the location itself says, kW.
    pub installed_kwp: Option<f64>,
    /// Gateways in use there.
    pub gateways: usize,
    /// How many of them are not heard in their rhythm.
    pub not_online: usize,
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

impl FleetTotals {
    /// Gateways in use.
    #[must_use]
    pub const fn commissioned(&self) -> usize {
        self.online + self.late + self.silent + self.never
    }
}

/// The fleet as a reader sees it at `now`; "today" is that of each location.
///
/// # Errors
/// When the store cannot be read.
pub async fn fleet_overview(store: &ProviderStore, scope: &Scope, now: Timestamp) -> Result<FleetOverview, ReportError> {
    let fleet = Fleet::read(store).await?;
    let figures = FleetFigures::of(store, &fleet, scope, now).await?;
    Ok(FleetOverview::of(&fleet, &figures, now))
}

/// Who there is.
pub(crate) struct Fleet {
    pub(crate) gateways: Vec<GatewayRecord>,
    pub(crate) locations: BTreeMap<LocationId, Location>,
    /// The provider's.
    pub(crate) zone: Zone,
}

impl Fleet {
    pub(crate) async fn read(store: &ProviderStore) -> Result<Self, StoreError> {
        let locations = store.location_list().await?;
        Ok(Self {
            gateways: store.gateway_list().await?,
            locations: locations.into_iter().map(|location| (location.id, location)).collect(),
            zone: store.settings_fetch().await?.zone,
        })
    }

    pub(crate) fn location(&self, gateway: &GatewayRecord) -> Option<&Location> {
        gateway.location.and_then(|id| self.locations.get(&id))
    }
}

impl FleetOverview {
    /// The fleet as it is at `now`, with figures that may be older, as it looks to whom
    /// these were computed for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(store: &ProviderStore, figures: &FleetFigures, now: Timestamp) -> Result<Self, ReportError> {
        Ok(Self::of(&Fleet::read(store).await?, figures, now))
    }

    fn of(fleet: &Fleet, figures: &FleetFigures, now: Timestamp) -> Self {
        let mut gateways: Vec<GatewayLine> =
            fleet.gateways.iter().filter_map(|record| GatewayLine::of(fleet, figures, record, now)).collect();
        gateways.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
        let mut totals = FleetTotals::default();
        gateways.iter().for_each(|line| totals.count(line));
        for (power_now_w, energy_today_wh) in figures.sites() {
            totals.power_now_w = plus(totals.power_now_w, power_now_w);
            totals.energy_today_wh = plus(totals.energy_today_wh, energy_today_wh);
        }
        let median_yield = need::judge(&mut gateways);
        let locations = location_lines(fleet, figures, &gateways);
        if matches!(figures.scope(), Scope::Customer(_)) {
            gateways.iter_mut().for_each(GatewayLine::keep_from_customers);
        }
        Self { gateways, locations, totals, at: figures.at(), median_yield, held_back: figures.held_back().cloned() }
    }

    /// The gateways that need somebody: what is worst first, and of each the worst
    /// first.
    #[must_use]
    pub fn needs(&self) -> Vec<(Need, Vec<&GatewayLine>)> {
        need::sorted(&self.gateways)
    }
}

impl GatewayLine {
    /// `None` where the reader does not see it.
    fn of(fleet: &Fleet, figures: &FleetFigures, record: &GatewayRecord, now: Timestamp) -> Option<Self> {
        let head = GatewayHead::of(record, figures.scope().window(&record.id, now)?, now);
        let today = figures.gateway(&record.id);
        let energy_today_wh = today.and_then(|today| today.energy_today_wh);
        let kwp = today.and_then(|today| today.kwp);
        Some(Self {
            id: record.id.clone(),
            name: record.name().to_owned(),
            state: head.state,
            location: fleet.location(record).map(LocationRef::to),
            reachability: head.reachability,
            last_seen: head.last_seen,
            power_now_w: today.and_then(|today| today.power_now_w),
            energy_today_wh,
            yield_today: energy_today_wh.zip(kwp).map(|(wh, kwp)| wh / 1000.0 / kwp),
            yield_share: None,
            since_midnight: today.is_some_and(|today| today.since_midnight),
            completeness: today.map(|today| today.completeness).unwrap_or_default(),
            lacks_much: today.is_some_and(|today| today.lacks_much),
            today_w: today.map(|today| today.today_w.clone()).unwrap_or_default(),
            clock: today.and_then(|today| today.clock.clone()),
            need: None,
        })
    }

    /// Takes away what is the provider's: what its places are called, and that a gateway
    /// was never heard, for that says only that it was not since the commission began.
    fn keep_from_customers(&mut self) {
        self.location = None;
        self.need = self.need.filter(|need| *need != Need::Never);
    }

    /// Whether it is in use.
    #[must_use]
    pub fn is_commissioned(&self) -> bool {
        self.state == GatewayState::Commissioned
    }
}

/// By name.
fn location_lines(fleet: &Fleet, figures: &FleetFigures, gateways: &[GatewayLine]) -> Vec<LocationLine> {
    let mut counts: BTreeMap<LocationId, (usize, usize)> = BTreeMap::new();
    for line in gateways.iter().filter(|line| line.is_commissioned()) {
        let Some(location) = &line.location else { continue };
        let (all, not_online) = counts.entry(location.id).or_default();
        *all += 1;
        *not_online += usize::from(line.reachability != Reachability::Online);
    }
    let shown = fleet
        .locations
        .values()
        .filter(|location| figures.scope().has_location(location.id) || counts.contains_key(&location.id));
    let line = |location: &Location| {
        let (power_now_w, energy_today_wh) = figures.location(location.id);
        let (gateways, not_online) = counts.get(&location.id).copied().unwrap_or_default();
        LocationLine {
            location: LocationRef::to(location),
            zone: location.zone.clone(),
            installed_kwp: location.installed_kwp,
            gateways,
            not_online,
            power_now_w,
            energy_today_wh,
        }
    };
    let mut lines: Vec<LocationLine> = shown.map(line).collect();
    lines.sort_by(|a, b| a.location.name.cmp(&b.location.name).then_with(|| a.location.id.cmp(&b.location.id)));
    lines
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
