//! The report on one location: all of its gateways together.

use std::collections::BTreeMap;

use heliograph_domain::{
    Currency, GatewayId, GatewayState, InstalledArray, Location, LocationId, Period, Reachability, Step, TimeWindow, Timestamp,
};
use heliograph_store::{GatewayRecord, Placement, ProviderStore, Sight, StoreError};

use crate::chart::{Chart, ChartOptions, energy_chart};
use crate::energy::{BucketFigures, Figures};
use crate::error::ReportError;
use crate::flow::SensorInput;
use crate::gateway::change;
use crate::installed::installed_kwp;
use crate::performance::{Performance, Plant, PlantKwp};
use crate::points::Points;
use crate::scope::Scope;
use crate::site::{GatewayHead, SensorFigures, Site, Span, Terms, bucket_figures, part_to_date, read_sensors, site_ledger};
use crate::target::{Expectation, ExpectedYield};
use crate::year_before::{Earlier, YearBefore};

/// A location over a period. The figures are made of all its sensors together,
/// so a production meter at one gateway stands for the inverters at another.
#[derive(Debug, Clone, PartialEq)]
pub struct LocationReport {
    /// The location, with the zone whose calendar the report follows.
    pub location: Location,
    /// The period.
    pub period: Period,
    /// The instants of the period.
    pub window: TimeWindow,
    /// The figures.
    pub figures: Figures,
    /// What it gave beside what its light would have given; for who sees all of it.
    pub performance: Option<Performance>,
    /// The width of the bars.
    pub step: Step,
    /// The bars, over the whole period.
    pub buckets: Vec<BucketFigures>,
    /// Its gateways of that time, by id.
    pub gateways: Vec<GatewayFigures>,
    /// Its points, and their sensors of roles that have none.
    pub sensors: Vec<SensorFigures>,
    /// Where no sensor that counts was measured for more than 40 minutes that
    /// were expected.
    pub gaps: Vec<TimeWindow>,
    /// The period before, if anything is known of it.
    pub previous: Option<Figures>,
    /// The same part of the period before, while this one still runs.
    pub previous_to_date: Option<Figures>,
    /// The same period a year before, if anything is known of it.
    pub year_before: Option<YearBefore>,
    /// What it was expected to give, where that is set; for who sees all of it.
    pub expected: Option<ExpectedYield>,
    /// The same of each bar, Wh; of bars below a day it is not known.
    pub expected_bars_wh: Vec<Option<f64>>,
    /// The currency of the revenue.
    pub currency: Currency,
}

/// What one gateway gave to its location, by its own sensors alone.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayFigures {
    /// The gateway.
    pub id: GatewayId,
    /// What people call it.
    pub name: String,
    /// Where it stands in its life.
    pub state: GatewayState,
    /// Whether it still talks.
    pub reachability: Reachability,
    /// When it was last heard, if the reader may know.
    pub last_seen: Option<Timestamp>,
    /// Its figures while it was there; without a specific yield.
    pub figures: Figures,
}

impl LocationReport {
    /// What production changed against the period before, like with like.
    #[must_use]
    pub fn change(&self) -> Option<f64> {
        change(&self.figures, self.previous_to_date.as_ref().or(self.previous.as_ref()))
    }

    /// The chart that shows it best.
    #[must_use]
    pub fn chart(&self, width: u32, height: u32) -> Chart {
        let options = ChartOptions { width, height, ..ChartOptions::new(format!("Energy of {}", self.location.name), self.step) };
        energy_chart(&self.buckets, &options)
    }
}

/// The report on a location, as a reader sees it at `now`: each gateway for as
/// long as it was placed there and may be seen.
///
/// # Errors
/// [`ReportError::NotFound`] where there is no such location, or a reader with a
/// narrower scope sees none of its gateways.
pub async fn location_report(
    store: &ProviderStore,
    location: LocationId,
    period: Period,
    scope: &Scope,
    now: Timestamp,
) -> Result<LocationReport, ReportError> {
    let location = store.location_fetch(location).await?;
    let here: Vec<Placement> =
        store.placement_list().await?.into_iter().filter(|placement| placement.location == location.id).collect();
    let parts = visible_parts(&here, scope, now);
    if parts.is_empty() && *scope != Scope::Everything {
        return Err(ReportError::NotFound);
    }
    let span = Span::of(period, &location.zone);
    let before = Span::of(period.previous(), &location.zone);
    let hides_some = here.iter().any(|placement| scope.window(&placement.gateway, now).is_none());
    let (settings, arrays) = (store.settings_fetch().await?, store.array_list().await?);
    let kwp = |window| installed_kwp(&location, &arrays, window, now).filter(|_| !hides_some);
    let (terms, terms_before) = (Terms::new(&settings, kwp(span.window)), Terms::new(&settings, kwp(before.window)));
    let points = Points::read(store).await?;
    let visible = |gateway: &GatewayId| scope.window(gateway, now);

    let sensors = read_parts(store, &parts, span.window).await?;
    let gateways = gateway_lines(store, &parts, &sensors, &location, &span, &terms, now).await?;
    let inputs = points.follow(store, location.id, span.window, sensors, visible).await?;
    let here: Vec<InstalledArray> = arrays.iter().filter(|array| array.location == location.id).cloned().collect();
    let plant = Plant {
        position: location.position.as_ref(),
        arrays: &here,
        kwp: if hides_some { PlantKwp::Constant(None) } else { PlantKwp::at(&location, &here) },
    };
    let site = Site::new(&inputs, plant, span.window, &span.buckets, now, !hides_some);
    let sensors_before = read_parts(store, &parts, before.window).await?;
    let inputs_before = points.follow(store, location.id, before.window, sensors_before, visible).await?;
    let ledger_before = site_ledger(&inputs_before, location.position.as_ref(), before.window, now, !hides_some);
    let known = |window: TimeWindow| {
        ledger_before.totals(window).is_known().then(|| terms_before.figures(&ledger_before, window, &location.zone))
    };
    let totals = site.ledger.totals(span.window);
    let year_before = match Earlier::of(&period, &location.zone) {
        Some(earlier) => {
            let sensors = read_parts(store, &parts, earlier.window).await?;
            let inputs = points.follow(store, location.id, earlier.window, sensors, visible).await?;
            let ledger = site_ledger(&inputs, location.position.as_ref(), earlier.window, now, !hides_some);
            YearBefore::of(&totals, span.window, &earlier, &ledger, &terms, now)
        }
        None => None,
    };
    let targets = store.target_find(location.id).await?.filter(|_| !hides_some);
    let expectation = targets.as_ref().map(|targets| Expectation::new(targets, &location, &here));
    Ok(LocationReport {
        expected: expectation.and_then(|expectation| expectation.beside(&site.ledger, span.window, now)),
        expected_bars_wh: expectation.map(|expectation| expectation.bars(&span.buckets, span.step)).unwrap_or_default(),
        figures: terms.figures(&site.ledger, span.window, &location.zone),
        performance: site.performance,
        year_before,
        buckets: bucket_figures(&site.ledger, &span.buckets),
        gaps: site.ledger.gaps(),
        gateways,
        sensors: site.sensors,
        previous: known(before.window),
        previous_to_date: part_to_date(span.window, before.window, now).and_then(known),
        period,
        window: span.window,
        step: span.step,
        currency: terms.currency.clone(),
        location,
    })
}

/// A gateway for as long as it was at the location and may be seen.
#[derive(Debug, Clone)]
struct Part {
    gateway: GatewayId,
    sight: Sight,
}

fn visible_parts(placements: &[Placement], scope: &Scope, now: Timestamp) -> Vec<Part> {
    let part = |placement: &Placement| {
        let sight = Sight::part_of(scope.window(&placement.gateway, now)?, &placement.window)?;
        Some(Part { gateway: placement.gateway.clone(), sight })
    };
    placements.iter().filter_map(part).collect()
}

async fn read_parts(store: &ProviderStore, parts: &[Part], period: TimeWindow) -> Result<Vec<SensorInput>, StoreError> {
    let mut inputs = Vec::new();
    for part in parts.iter().filter(|part| part.sight.part.intersect(&period).is_some()) {
        inputs.extend(read_sensors(store, &part.gateway, period, part.sight).await?);
    }
    Ok(inputs)
}

async fn gateway_lines(
    store: &ProviderStore,
    parts: &[Part],
    inputs: &[SensorInput],
    location: &Location,
    span: &Span,
    terms: &Terms,
    now: Timestamp,
) -> Result<Vec<GatewayFigures>, StoreError> {
    let records: BTreeMap<GatewayId, GatewayRecord> =
        store.gateway_list().await?.into_iter().map(|record| (record.id.clone(), record)).collect();
    let mut lines: Vec<GatewayFigures> = Vec::new();
    for part in parts.iter().filter(|part| part.sight.part.intersect(&span.window).is_some()) {
        if lines.last().is_some_and(|line| line.id == part.gateway) {
            continue;
        }
        let Some(record) = records.get(&part.gateway) else { continue };
        let own: Vec<SensorInput> = inputs.iter().filter(|input| input.gateway == part.gateway).cloned().collect();
        let ledger = site_ledger(&own, location.position.as_ref(), span.window, now, false);
        let mut figures = terms.figures(&ledger, span.window, &location.zone);
        figures.specific_yield_kwh_per_kwp = None;
        let head = GatewayHead::of(record, part.sight.part, now);
        lines.push(GatewayFigures {
            id: record.id.clone(),
            name: record.name().to_owned(),
            state: head.state,
            reachability: head.reachability,
            last_seen: head.last_seen,
            figures,
        });
    }
    Ok(lines)
}
