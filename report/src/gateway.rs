//! The report on one gateway.

use heliograph_domain::{
    Bucket, Currency, GatewayId, GatewayState, InstalledArray, Location, LocationId, Period, PeriodKind, Position,
    ProviderSettings, Reachability, Step, TimeWindow, Timestamp, Zone,
};
use heliograph_store::{GatewayRecord, ProviderStore, StoreError};
use jiff::ToSpan as _;

use crate::chart::{Chart, ChartOptions, energy_chart};
use crate::energy::{BucketFigures, Figures};
use crate::error::ReportError;
use crate::flow::SensorInput;
use crate::installed::gateway_kwp;
use crate::ledger::Totals;
use crate::performance::{Performance, Plant, PlantKwp};
use crate::scope::Scope;
use crate::site::{
    GatewayHead, LocationRef, SensorFigures, Site, Span, Terms, bucket_figures, is_producer, part_to_date, read_sensors, shown,
    site_ledger,
};
use crate::year_before::{Earlier, YearBefore};

/// A gateway over a period.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayReport {
    /// The gateway.
    pub id: GatewayId,
    /// What people call it.
    pub name: String,
    /// Where it stands in its life.
    pub state: GatewayState,
    /// Where it is.
    pub location: Option<LocationRef>,
    /// The zone whose calendar the report follows: the location's, else the
    /// provider's.
    pub zone: Zone,
    /// The period.
    pub period: Period,
    /// The part of it that the reader may see; empty where that is nothing.
    pub window: TimeWindow,
    /// The figures of that part.
    pub figures: Figures,
    /// What it gave beside what its light would have given.
    pub performance: Option<Performance>,
    /// The width of the bars.
    pub step: Step,
    /// The bars, over the whole period.
    pub buckets: Vec<BucketFigures>,
    /// Of a month its hours, as a heat map shows them; else none.
    pub hours: Vec<BucketFigures>,
    /// The sensors.
    pub sensors: Vec<SensorFigures>,
    /// Where no sensor that counts was measured for more than 40 minutes that
    /// were expected.
    pub gaps: Vec<TimeWindow>,
    /// The period before, if anything is known of it.
    pub previous: Option<Figures>,
    /// The same part of the period before, while this one still runs.
    pub previous_to_date: Option<Figures>,
    /// The same period a year before, if anything is known of it; only where one gateway
    /// is asked about.
    pub year_before: Option<YearBefore>,
    /// Whether the gateway still talks.
    pub reachability: Reachability,
    /// When it was last heard, if the reader may know.
    pub last_seen: Option<Timestamp>,
    /// The currency of the revenue.
    pub currency: Currency,
}

impl GatewayReport {
    /// What production changed against the period before (0.1: a tenth more),
    /// like with like: while this period runs, against as much of the other;
    /// `None` where that was watched for much less time.
    #[must_use]
    pub fn change(&self) -> Option<f64> {
        change(&self.figures, self.previous_to_date.as_ref().or(self.previous.as_ref()))
    }

    /// The chart that shows it best.
    #[must_use]
    pub fn chart(&self, width: u32, height: u32) -> Chart {
        let options = ChartOptions { width, height, ..ChartOptions::new(format!("Energy of {}", self.name), self.step) };
        energy_chart(&self.buckets, &options)
    }
}

/// The hours of a month, cut at the local hour of each of its days; of any other
/// period none.
fn hours(period: &Period, zone: &Zone) -> Vec<Bucket> {
    if period.kind() != PeriodKind::Month {
        return Vec::new();
    }
    let days = period.first().series(1.day()).take_while(|day| *day <= period.last());
    days.flat_map(|day| Period::around(PeriodKind::Day, day).buckets(zone, Step::Hour)).collect()
}

/// `None` where the period before was watched for much less time than this one,
/// as in the first days of a gateway or of a commission: months differ in length
/// and light by less than a quarter.
pub(crate) fn change(figures: &Figures, before: Option<&Figures>) -> Option<f64> {
    let before = before?;
    let comparable = before.completeness.expected_ms * 4 >= figures.completeness.expected_ms * 3;
    let (now, before) = (figures.produced_wh()?, before.produced_wh()?);
    (comparable && before > 0.0).then(|| now / before - 1.0)
}

/// The report on a gateway, as a reader sees it at `now`.
///
/// # Errors
/// [`ReportError::NotFound`] where there is no such gateway, or not for this
/// reader.
pub async fn gateway_report(
    store: &ProviderStore,
    gateway: &GatewayId,
    period: Period,
    scope: &Scope,
    now: Timestamp,
) -> Result<GatewayReport, ReportError> {
    let visible = scope.window(gateway, now).ok_or(ReportError::NotFound)?;
    let record = store.gateway_fetch(gateway).await?;
    let context = GatewayContext::read(store, record).await?;
    let (report, totals) = context.report_with_totals(store, period, visible, now).await?;
    let year_before = context.year_before(store, (&report, &totals), visible, now).await?;
    Ok(GatewayReport { year_before, ..report })
}

/// A gateway and what its figures depend on.
#[derive(Clone)]
pub(crate) struct GatewayContext {
    pub(crate) record: GatewayRecord,
    pub(crate) location: Option<Location>,
    settings: ProviderSettings,
    /// What is installed anywhere.
    arrays: Vec<InstalledArray>,
    /// The other gateways with sensors that produce at its location.
    other_producers: Vec<GatewayId>,
}

impl GatewayContext {
    pub(crate) async fn read(store: &ProviderStore, record: GatewayRecord) -> Result<Self, StoreError> {
        let settings = store.settings_fetch().await?;
        let location = match record.location {
            Some(location) => Some(store.location_fetch(location).await?),
            None => None,
        };
        let other_producers = match record.location {
            Some(location) => other_producers(store, location, &record.id).await?,
            None => Vec::new(),
        };
        let arrays = store.array_list().await?;
        Ok(Self { record, location, settings, arrays, other_producers })
    }

    pub(crate) fn zone(&self) -> &Zone {
        self.location.as_ref().map_or(&self.settings.zone, |location| &location.zone)
    }

    pub(crate) async fn report(
        &self,
        store: &ProviderStore,
        period: Period,
        visible: TimeWindow,
        now: Timestamp,
    ) -> Result<GatewayReport, ReportError> {
        self.report_with_totals(store, period, visible, now).await.map(|(report, _)| report)
    }

    /// With the sums that the report's figures are made of.
    async fn report_with_totals(
        &self,
        store: &ProviderStore,
        period: Period,
        visible: TimeWindow,
        now: Timestamp,
    ) -> Result<(GatewayReport, Totals), ReportError> {
        let span = Span::of(period, self.zone());
        let inputs = read_sensors(store, &self.record.id, span.window, visible).await?;
        let kwp = self.kwp(&inputs, span.window, now);
        let terms = Terms::new(&self.settings, kwp);
        let (here, alone_at) = (self.here(), self.location.as_ref().filter(|_| self.is_whole(&[])));
        let plant = Plant {
            position: self.position(),
            arrays: &here,
            // Beside others nobody knows which modules are behind it, and what inverters
            // can give at most says little of modules.
            kwp: match alone_at {
                Some(location) => PlantKwp::at(location, &here),
                None => PlantKwp::Constant(None),
            },
        };
        let site = Site::new(&inputs, plant, span.window, &span.buckets, now, self.is_whole(&[]));
        let before = Span::of(period.previous(), self.zone());
        let inputs_before = read_sensors(store, &self.record.id, before.window, visible).await?;
        let ledger_before = site_ledger(&inputs_before, self.position(), before.window, now, self.is_whole(&[]));
        let known = |window: TimeWindow| {
            ledger_before.totals(window).is_known().then(|| terms.figures(&ledger_before, window, self.zone()))
        };
        let head = GatewayHead::of(&self.record, visible, now);
        let totals = site.ledger.totals(span.window);
        let report = GatewayReport {
            id: self.record.id.clone(),
            name: self.record.name().to_owned(),
            state: head.state,
            location: self.location.as_ref().map(LocationRef::to),
            figures: terms.figures(&site.ledger, span.window, self.zone()),
            performance: site.performance,
            buckets: bucket_figures(&site.ledger, &span.buckets),
            hours: bucket_figures(&site.ledger, &hours(&period, &span.zone)),
            gaps: site.ledger.gaps(),
            sensors: site.sensors,
            previous: known(before.window),
            previous_to_date: part_to_date(span.window, before.window, now).and_then(known),
            year_before: None,
            window: shown(span.window, visible),
            period,
            zone: span.zone,
            step: span.step,
            reachability: head.reachability,
            last_seen: head.last_seen,
            currency: terms.currency,
        };
        Ok((report, totals))
    }

    /// What the same gateway gave a year before the period of a report.
    async fn year_before(
        &self,
        store: &ProviderStore,
        (report, totals): (&GatewayReport, &Totals),
        visible: TimeWindow,
        now: Timestamp,
    ) -> Result<Option<YearBefore>, StoreError> {
        let Some(earlier) = Earlier::of(&report.period, &report.zone) else { return Ok(None) };
        let inputs = read_sensors(store, &self.record.id, earlier.window, visible).await?;
        let ledger = site_ledger(&inputs, self.position(), earlier.window, now, self.is_whole(&[]));
        let (terms, window) = (Terms::new(&self.settings, None), report.period.window(&report.zone));
        Ok(YearBefore::of(totals, window, &earlier, &ledger, &terms, now))
    }

    /// Whether all that produces at its location is behind it or `others`.
    pub(crate) fn is_whole(&self, others: &[&GatewayId]) -> bool {
        self.other_producers.iter().all(|producer| others.contains(&producer))
    }

    /// What is installed at its location.
    pub(crate) fn here(&self) -> Vec<InstalledArray> {
        let is_here = |array: &&InstalledArray| self.record.location == Some(array.location);
        self.arrays.iter().filter(is_here).cloned().collect()
    }

    fn position(&self) -> Option<&Position> {
        self.location.as_ref().and_then(|location| location.position.as_ref())
    }

    fn kwp(&self, inputs: &[SensorInput], period: TimeWindow, now: Timestamp) -> Option<f64> {
        let alone_at = self.location.as_ref().filter(|_| self.is_whole(&[]));
        gateway_kwp(inputs, alone_at, &self.arrays, period, now)
    }
}

/// The other gateways at a location that have sensors that produce.
async fn other_producers(store: &ProviderStore, location: LocationId, gateway: &GatewayId) -> Result<Vec<GatewayId>, StoreError> {
    let all = store.gateway_list().await?;
    let others = all.iter().filter(|other| other.location == Some(location) && other.id != *gateway);
    producers(store, others.map(|other| &other.id)).await
}

/// Those of some gateways that have sensors that produce.
pub(crate) async fn producers<'a>(
    store: &ProviderStore,
    gateways: impl Iterator<Item = &'a GatewayId>,
) -> Result<Vec<GatewayId>, StoreError> {
    let mut producers = Vec::new();
    for gateway in gateways {
        let sensors = store.sensor_list(gateway).await?;
        if sensors.iter().any(|sensor| is_producer(sensor.role)) {
            producers.push(gateway.clone());
        }
    }
    Ok(producers)
}
