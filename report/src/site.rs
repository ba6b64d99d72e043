//! What reports on a gateway, a location or a customer have in common: reading
//! sensors from the store and making figures of a ledger.

use std::collections::HashMap;

use heliograph_domain::{
    Bucket, Currency, GatewayId, GatewayState, Location, LocationId, Period, Position, ProviderSettings, Quantity, Reachability,
    Sample, SensorId, SensorRole, Step, TimeWindow, Timestamp, Unit, Zone,
};
use heliograph_store::{GatewayRecord, ProviderStore, SeriesRecord, SeriesRollups, Sight, StoreError};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;

use crate::energy::{BucketFigures, Completeness, Energy, Figures, Peak};
use crate::expect::Light;
use crate::flow::{Direction, SensorInput, matters};
use crate::ledger::{Balance, Frame, Ledger, SensorBook, Totals};
use crate::money::{Money, Prices};
use crate::performance::{Performance, Plant, performance};

/// A location as a report names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationRef {
    /// Its id.
    pub id: LocationId,
    /// What people call it.
    pub name: String,
}

impl LocationRef {
    pub(crate) fn to(location: &Location) -> Self {
        Self { id: location.id, name: location.name.clone() }
    }
}

/// What one sensor gave in a period, or a point: all sensors that stood for it.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorFigures {
    /// Its gateway; of a point that of the last sensor that may be seen.
    pub gateway: GatewayId,
    /// What the gateway calls it.
    pub id: SensorId,
    /// What people call it, or the point.
    pub name: String,
    /// What it is to its site.
    pub role: SensorRole,
    /// Its rated power in W, if known.
    pub rated_w: Option<f64>,
    /// Whether its energies enter the site's figures: inverters do not where
    /// production meters stand behind them at the end of the period.
    pub counted: bool,
    /// Its energies, in the order of [`Direction`].
    pub energies: Vec<(Direction, Energy)>,
    /// The energy that its role is about, bar by bar of the report.
    pub buckets: Vec<Option<Energy>>,
    /// The highest reading of its power gauge.
    pub peak: Option<Peak>,
    /// How much of the expected time was measured.
    pub completeness: Completeness,
    /// Where nothing was measured for more than 40 minutes that were expected.
    pub gaps: Vec<TimeWindow>,
    /// The latest readings that may be seen, by metric.
    pub latest: Vec<LatestValue>,
}

impl SensorFigures {
    /// The energy that its role is about.
    #[must_use]
    pub fn main_energy(&self) -> Option<(Direction, Energy)> {
        self.energies.first().copied()
    }

    /// The energy in one direction.
    #[must_use]
    pub fn energy(&self, direction: Direction) -> Option<Energy> {
        self.energies.iter().find(|(known, _)| *known == direction).map(|(_, energy)| *energy)
    }
}

/// The latest reading of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestValue {
    /// What the sensor calls it.
    pub metric: String,
    /// Its canonical unit.
    pub unit: Unit,
    /// What it means.
    pub quantity: Quantity,
    /// When and what.
    pub sample: Sample,
}

/// What a report knows of a gateway besides its figures.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GatewayHead {
    pub(crate) state: GatewayState,
    pub(crate) reachability: Reachability,
    pub(crate) last_seen: Option<Timestamp>,
}

impl GatewayHead {
    /// As it looks to somebody who sees `visible` only.
    pub(crate) fn of(record: &GatewayRecord, visible: TimeWindow, now: Timestamp) -> Self {
        let last_seen = record.last_seen.filter(|seen| visible.contains(*seen));
        Self { state: record.state, reachability: Reachability::judge(last_seen, now), last_seen }
    }
}

/// Reads the sensors of a gateway over a period, within what may be seen: of all
/// that energies are made of, else whatever tells whether a sensor was there.
pub(crate) async fn read_sensors(
    store: &ProviderStore,
    gateway: &GatewayId,
    period: TimeWindow,
    sight: impl Into<Sight> + Send,
) -> Result<Vec<SensorInput>, StoreError> {
    let sight = sight.into();
    if sight == Sight::ALWAYS
        && let Some(sensors) = enough(gateway, store.rollup_list_of(gateway, period, matters).await?)
    {
        return Ok(sensors);
    }
    let mut sensors = SensorInput::group(gateway, sight.part, store.rollup_list(gateway, period, sight).await?);
    // Who sees a part of time sees no sensor that was there in another part.
    sensors.retain(|sensor| sight.part == TimeWindow::ALWAYS || sensor.has_windows() || !sensor.latest().is_empty());
    Ok(sensors)
}

impl LatestValue {
    /// That of a series, if it may be seen.
    pub(crate) fn of(record: &SeriesRecord, visible: TimeWindow) -> Option<Self> {
        let sample = record.latest.filter(|sample| visible.contains(sample.at))?;
        Some(Self { metric: record.metric.to_string(), unit: record.unit.clone(), quantity: record.quantity, sample })
    }
}

/// The same of several gateways, each over a period of its own, for whoever sees
/// everything.
pub(crate) async fn read_sensors_of_many(
    store: &ProviderStore,
    asked: Vec<(GatewayId, TimeWindow)>,
) -> Result<HashMap<GatewayId, Vec<SensorInput>>, StoreError> {
    let mut read = HashMap::new();
    let periods: HashMap<GatewayId, TimeWindow> = asked.iter().cloned().collect();
    let mut untold = Vec::new();
    for (gateway, rollups) in store.rollup_list_of_many(asked, matters).await? {
        match (enough(&gateway, rollups), periods.get(&gateway)) {
            (Some(sensors), _) => drop(read.insert(gateway, sensors)),
            (None, Some(period)) => untold.push((gateway, *period)),
            (None, None) => {}
        }
    }
    if !untold.is_empty() {
        for (gateway, rollups) in store.rollup_list_of_many(untold, |_, _| true).await? {
            let sensors = SensorInput::group(&gateway, TimeWindow::ALWAYS, rollups);
            read.insert(gateway, sensors);
        }
    }
    Ok(read)
}

/// The sensors of a gateway of which the series that energies are made of were read,
/// where these tell enough.
fn enough(gateway: &GatewayId, rollups: Vec<SeriesRollups>) -> Option<Vec<SensorInput>> {
    let is_complete = rollups.iter().all(|rollups| matters(rollups.role, &rollups.series));
    let sensors = SensorInput::group(gateway, TimeWindow::ALWAYS, rollups);
    (is_complete || sensors.iter().all(SensorInput::is_told)).then_some(sensors)
}

/// Whether a sensor in a role produces.
pub(crate) const fn is_producer(role: SensorRole) -> bool {
    matches!(role, SensorRole::Inverter | SensorRole::Production)
}

impl SensorInput {
    /// The latest readings that may be seen.
    pub(crate) fn latest(&self) -> Vec<LatestValue> {
        let current = self.parts.last().unwrap_or(self);
        current.series.iter().filter_map(|(record, _)| LatestValue::of(record, self.visible)).collect()
    }
}

/// A site's books, open for reports.
pub(crate) struct Site {
    pub(crate) ledger: Ledger,
    pub(crate) sensors: Vec<SensorFigures>,
    pub(crate) performance: Option<Performance>,
}

impl Site {
    /// `buckets` are those of the report, for the rows by sensor; `whole` as in
    /// [`Frame`].
    pub(crate) fn new(
        inputs: &[SensorInput],
        plant: Plant<'_>,
        period: TimeWindow,
        buckets: &[Bucket],
        now: Timestamp,
        whole: bool,
    ) -> Self {
        let light = Light::over(plant.position, period);
        let frame = Frame { period, now, light: &light, whole };
        let books: Vec<SensorBook<'_>> = inputs.iter().map(|input| SensorBook::new(input, frame)).collect();
        let balance = Balance::of(&books, whole);
        let sensors = books.iter().map(|book| sensor_figures(book, &balance, period, buckets)).collect();
        let performance = performance(inputs, &balance, plant, period, now);
        Self { ledger: Ledger::of_site(&books, frame), sensors, performance }
    }
}

/// A site's books alone, where no rows by sensor are wanted.
pub(crate) fn site_ledger(
    inputs: &[SensorInput],
    position: Option<&Position>,
    period: TimeWindow,
    now: Timestamp,
    whole: bool,
) -> Ledger {
    ledger_under(inputs, &Light::over(position, period), period, now, whole)
}

/// The same where the daylight of the period is known already.
pub(crate) fn ledger_under(inputs: &[SensorInput], light: &Light, period: TimeWindow, now: Timestamp, whole: bool) -> Ledger {
    let frame = Frame { period, now, light, whole };
    let books: Vec<SensorBook<'_>> = inputs.iter().map(|input| SensorBook::new(input, frame)).collect();
    Ledger::of_site(&books, frame)
}

fn sensor_figures(book: &SensorBook<'_>, balance: &Balance<'_>, period: TimeWindow, buckets: &[Bucket]) -> SensorFigures {
    let energies: Vec<(Direction, Energy)> =
        book.flows.iter().filter_map(|flow| Some((flow.direction, book.total(flow.direction, period)?))).collect();
    let main = energies.first().map(|(direction, _)| *direction);
    SensorFigures {
        gateway: book.input.gateway.clone(),
        id: book.input.id.clone(),
        name: book.input.name.clone(),
        role: book.input.role,
        rated_w: book.input.rated_w,
        counted: balance.counts(book),
        buckets: buckets.iter().map(|bucket| main.and_then(|main| book.total(main, bucket.window))).collect(),
        energies,
        peak: book.peak(),
        completeness: book.completeness(),
        gaps: book.gaps(),
        latest: book.input.latest(),
    }
}

/// What turns sums into figures.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) currency: Currency,
    tariff_per_kwh: Decimal,
    prices: Prices,
    kwp: Option<f64>,
}

impl Terms {
    pub(crate) fn new(settings: &ProviderSettings, kwp: Option<f64>) -> Self {
        Self {
            currency: settings.currency.clone(),
            tariff_per_kwh: settings.tariff_per_kwh,
            prices: Prices::of(settings),
            kwp: kwp.filter(|kwp| *kwp > 0.0),
        }
    }

    /// Of a site over a window, in its zone.
    pub(crate) fn figures(&self, ledger: &Ledger, window: TimeWindow, zone: &Zone) -> Figures {
        self.figures_of(&ledger.totals(window), self.money(ledger, window, zone))
    }

    /// What that of a site is worth.
    pub(crate) fn money(&self, ledger: &Ledger, window: TimeWindow, zone: &Zone) -> Money {
        Money::of(ledger, window, zone, &self.prices)
    }

    /// Of several sites together.
    pub(crate) fn figures_of(&self, totals: &Totals, money: Money) -> Figures {
        let kwh = totals.produced.map(|energy| energy.watt_hours / 1000.0);
        Figures {
            produced: totals.produced,
            imported: totals.imported,
            exported: totals.exported,
            consumed: totals.consumed,
            peak: totals.peak,
            self_consumption: totals.self_consumption(),
            self_sufficiency: totals.self_sufficiency(),
            specific_yield_kwh_per_kwp: kwh.zip(self.kwp).map(|(kwh, kwp)| kwh / kwp),
            completeness: totals.completeness,
            co2_kg: self.prices.co2_kg(kwh, money),
            revenue: if self.prices.has_feed_in() {
                money.revenue.rounded()
            } else {
                kwh.and_then(|kwh| revenue(kwh, self.tariff_per_kwh))
            },
            savings: money.savings.rounded(),
        }
    }
}

/// What an energy earns, rounded to two digits, half to even. The energy is
/// taken to the nearest mWh first, so that what a float cannot hold exactly does
/// not tip a half.
pub(crate) fn revenue(kwh: f64, tariff_per_kwh: Decimal) -> Option<Decimal> {
    Some(Decimal::from_f64(kwh)?.round_dp(6).checked_mul(tariff_per_kwh)?.round_dp(2))
}

/// The rows of a report.
pub(crate) fn bucket_figures(ledger: &Ledger, buckets: &[Bucket]) -> Vec<BucketFigures> {
    let row = |bucket: &Bucket| {
        let totals = ledger.totals(bucket.window);
        BucketFigures {
            window: bucket.window,
            local: bucket.local,
            produced: totals.produced,
            imported: totals.imported,
            exported: totals.exported,
            consumed: totals.consumed,
            power_w: totals.power_w,
            consumption_w: totals.load_w,
            completeness: totals.completeness,
        }
    };
    buckets.iter().map(row).collect()
}

/// A period laid out in a zone.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) zone: Zone,
    pub(crate) window: TimeWindow,
    pub(crate) step: Step,
    pub(crate) buckets: Vec<Bucket>,
}

impl Span {
    pub(crate) fn of(period: Period, zone: &Zone) -> Self {
        let step = period.natural_step();
        Self { zone: zone.clone(), window: period.window(zone), step, buckets: period.buckets(zone, step) }
    }
}

/// The part of a period before that compares with the part of this one that has
/// passed by `now`; `None` when this one is over or has not begun.
pub(crate) fn part_to_date(this: TimeWindow, previous: TimeWindow, now: Timestamp) -> Option<TimeWindow> {
    if !this.contains(now) {
        return None;
    }
    let passed = now.millis_since(this.from);
    let until = previous.from.plus_millis(passed).min(previous.end());
    Some(TimeWindow::between(previous.from, until))
}

/// What both windows share, or an empty window where they do not meet.
pub(crate) fn shown(period: TimeWindow, visible: TimeWindow) -> TimeWindow {
    period.intersect(&visible).unwrap_or(TimeWindow::between(period.from, period.from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revenue_is_rounded_half_to_even() {
        for (kwh, tariff, expected) in [
            (12.5, "0.01", "0.12"),
            (13.5, "0.01", "0.14"),
            (0.1 + 0.2, "0.15", "0.04"),
            (1_234.567, "0.0821", "101.36"),
            (0.0, "0.08", "0"),
            (-1.0, "0.08", "-0.08"),
        ] {
            assert_eq!(revenue(kwh, tariff.parse().unwrap()), Some(expected.parse().unwrap()), "{kwh} at {tariff}");
        }
        assert_eq!(revenue(f64::NAN, Decimal::ONE), None);
        assert_eq!(revenue(1e300, Decimal::ONE), None);
        assert_eq!(revenue(1e27, Decimal::from(1_000_000)), None);
    }

    #[test]
    fn a_running_period_compares_with_as_much_of_the_one_before() {
        let at = |hour: i64| Timestamp::clamped(hour * 3_600_000);
        let (this, before) = (TimeWindow::between(at(24), at(48)), TimeWindow::between(at(0), at(23)));
        assert_eq!(part_to_date(this, before, at(30)), Some(TimeWindow::between(at(0), at(6))));
        assert_eq!(part_to_date(this, before, at(47)), Some(TimeWindow::between(at(0), at(23))));
        assert_eq!(part_to_date(this, before, at(48)), None);
        assert_eq!(part_to_date(this, before, at(23)), None);
    }
}
