//! The summary of all that a customer owns, for mails.

use std::collections::BTreeMap;

use heliograph_domain::{
    Commission, Currency, Customer, CustomerId, GatewayId, LocationId, Period, ProviderSettings, Step, TimeWindow, Timestamp,
    Zone,
};
use heliograph_store::{GatewayRecord, Placement, ProviderStore, Sight, StoreError};
use jiff::civil;

use crate::chart::{Chart, ChartOptions, energy_chart};
use crate::energy::{BucketFigures, Energy, Figures, plus};
use crate::error::ReportError;
use crate::flow::SensorInput;
use crate::gateway::{GatewayContext, GatewayReport, change};
use crate::ledger::{Flows, Ledger, Totals};
use crate::money::Money;
use crate::points::Points;
use crate::site::{Terms, bucket_figures, read_sensors, site_ledger};
use crate::target::{Expectation, ExpectedOfAll, ExpectedYield};

/// What a customer's gateways gave in a period.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomerSummary {
    /// The customer.
    pub customer: Customer,
    /// The period.
    pub period: Period,
    /// The zone of the first gateway's location, else the provider's.
    pub zone: Zone,
    /// The currency of the revenue.
    pub currency: Currency,
    /// All gateways together, each location by its own balance.
    pub totals: Figures,
    /// The period before, if anything is known of it.
    pub previous: Option<Figures>,
    /// The width of the bars.
    pub step: Step,
    /// The bars of the totals, by local time of each gateway's location.
    pub buckets: Vec<BucketFigures>,
    /// One report for each commission that runs now and has a part in the period,
    /// by gateway.
    pub gateways: Vec<GatewayReport>,
    /// The local day with the most energy produced, Wh; of periods longer than
    /// a day.
    pub best_day: Option<(civil::Date, f64)>,
    /// What all locations together were expected to give; of those that the customer owns
    /// as a whole that may be known.
    pub expected: ExpectedOfAll,
}

impl CustomerSummary {
    /// What production changed against the period before.
    #[must_use]
    pub fn change(&self) -> Option<f64> {
        change(&self.totals, self.previous.as_ref())
    }

    /// The chart of the totals.
    #[must_use]
    pub fn chart(&self, width: u32, height: u32) -> Chart {
        let options = ChartOptions { width, height, ..ChartOptions::new("Energy of all gateways", self.step) };
        energy_chart(&self.buckets, &options)
    }
}

/// The summary of a customer's gateways over a period: of those that it owns
/// now. Once a commission has ended nothing of it is seen any more, in a mail as
/// little as in the panel.
///
/// # Errors
/// [`ReportError::NotFound`] where there is no such customer.
pub async fn customer_summary(
    store: &ProviderStore,
    customer: CustomerId,
    period: Period,
    now: Timestamp,
) -> Result<CustomerSummary, ReportError> {
    let customer = store.customer_fetch(customer).await?;
    let settings = store.settings_fetch().await?;
    let owned = Owned::read(store, customer.id, now).await?;
    let terms = Terms::new(&settings, None);
    let this = owned.books(store, period, &settings, &terms, now).await?;
    let before = owned.books(store, period.previous(), &settings, &terms, now).await?;
    let mut gateways = Vec::new();
    for (commission, context) in owned.within(period) {
        gateways.push(context.report(store, period, commission.window, now).await?);
    }
    let zone = gateways.first().map_or(&settings.zone, |report| &report.zone).clone();
    Ok(CustomerSummary {
        totals: terms.figures_of(&this.totals, this.money),
        previous: before.totals.is_known().then(|| terms.figures_of(&before.totals, before.money)),
        buckets: this.bars(period, &zone),
        best_day: this.best_day(period),
        expected: ExpectedOfAll::of(&this.expected),
        step: period.natural_step(),
        currency: terms.currency,
        customer,
        period,
        zone,
        gateways,
    })
}

/// The commissions of a customer that run now, with their gateways.
struct Owned {
    parts: Vec<(Commission, GatewayContext)>,
    /// The same gateways wherever they stood meanwhile, each for as long as it did.
    stays: Vec<(Sight, GatewayContext)>,
}

impl Owned {
    async fn read(store: &ProviderStore, customer: CustomerId, now: Timestamp) -> Result<Self, StoreError> {
        let placements = store.placement_list().await?;
        let (mut parts, mut stays) = (Vec::new(), Vec::new());
        for commission in store.commission_list_by_customer(customer).await? {
            if commission.visible_at(now).is_some() {
                let record = store.gateway_fetch(&commission.gateway).await?;
                let current = GatewayContext::read(store, record.clone()).await?;
                for (location, window) in stays_of(&commission, &placements) {
                    let context = match location == record.location {
                        true => current.clone(),
                        false => GatewayContext::read(store, GatewayRecord { location, ..record.clone() }).await?,
                    };
                    stays.extend(Sight::part_of(commission.window, &window).map(|stay| (stay, context)));
                }
                parts.push((commission, current));
            }
        }
        Ok(Self { parts, stays })
    }

    fn within(&self, period: Period) -> impl Iterator<Item = (&Commission, &GatewayContext)> {
        self.parts
            .iter()
            .filter(move |(commission, context)| commission.window.intersect(&period.window(context.zone())).is_some())
            .map(|(commission, context)| (commission, context))
    }

    /// What may be seen of a gateway: where several commissions run, that of the
    /// one that began last.
    fn visible(&self, gateway: &GatewayId) -> Option<TimeWindow> {
        let owned = self.parts.iter().map(|(commission, _)| commission).filter(|commission| commission.gateway == *gateway);
        owned.map(|commission| commission.window).max_by_key(|window| window.from)
    }

    /// The books of each location over a period, and their sum.
    async fn books(
        &self,
        store: &ProviderStore,
        period: Period,
        settings: &ProviderSettings,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Books, StoreError> {
        let mut sites: BTreeMap<SiteKey, (Vec<SensorInput>, &GatewayContext)> = BTreeMap::new();
        for (stay, context) in &self.stays {
            let window = period.window(context.zone());
            if stay.part.intersect(&window).is_none() {
                continue;
            }
            let inputs = read_sensors(store, &context.record.id, window, *stay).await?;
            let key = match &context.location {
                Some(location) => SiteKey::Location(location.id),
                None => SiteKey::Gateway(context.record.id.clone()),
            };
            sites.entry(key).or_insert((Vec::new(), context)).0.extend(inputs);
        }
        let mut books = Books { sites: Vec::new(), totals: Totals::default(), money: Money::default(), expected: Vec::new() };
        let targets = store.target_list().await?;
        let (mut all, mut balanced): (Option<Ledger>, Flows) = (None, Flows::default());
        let points = Points::read(store).await?;
        for (key, (inputs, context)) in sites {
            let zone = context.location.as_ref().map_or(&settings.zone, |location| &location.zone);
            let position = context.location.as_ref().and_then(|location| location.position.as_ref());
            let own: Vec<GatewayId> = inputs.iter().map(|input| input.gateway.clone()).collect();
            let inputs = match key {
                SiteKey::Location(location) => {
                    points.follow(store, location, period.window(zone), inputs, |gateway| self.visible(gateway)).await?
                }
                SiteKey::Gateway(_) => inputs,
            };
            let own: Vec<&GatewayId> = own.iter().collect();
            let is_whole = context.is_whole(&own);
            let ledger = site_ledger(&inputs, position, period.window(zone), now, is_whole);
            let here = context.location.as_ref().filter(|_| is_whole);
            books.expected.push(here.and_then(|location| {
                let targets = targets.iter().find(|targets| targets.location() == location.id)?;
                Expectation::new(targets, location, &context.here()).beside(&ledger, period.window(zone), now)
            }));
            match &mut all {
                Some(all) => all.add(&ledger),
                None => all = Some(ledger.clone()),
            }
            balanced = balanced.plus(ledger.totals(TimeWindow::ALWAYS).balanced);
            books.money = books.money.plus(terms.money(&ledger, TimeWindow::ALWAYS, zone));
            books.sites.push((zone.clone(), ledger));
        }
        if let Some(all) = all {
            books.totals = Totals { balanced, ..all.totals(TimeWindow::ALWAYS) };
        }
        Ok(books)
    }
}

/// Where a gateway stood while it was commissioned, and when; nowhere in the time between.
fn stays_of(commission: &Commission, placements: &[Placement]) -> Vec<(Option<LocationId>, TimeWindow)> {
    let own = placements.iter().filter(|placement| placement.gateway == commission.gateway);
    let placed = own.filter_map(|placement| Some((placement.location, placement.window.intersect(&commission.window)?)));
    let mut placed: Vec<(LocationId, TimeWindow)> = placed.collect();
    placed.sort_by_key(|(_, window)| window.from);
    let (mut stays, mut from) = (Vec::new(), Some(commission.window.from));
    let nowhere = |from: Option<Timestamp>, until: Option<Timestamp>| {
        let window = TimeWindow { from: from?, until };
        (!window.is_empty()).then_some((None, window))
    };
    for (location, window) in placed {
        stays.extend(nowhere(from, Some(window.from)));
        stays.push((Some(location), window));
        from = window.until;
    }
    stays.extend(nowhere(from, commission.window.until));
    stays
}

/// What is balanced together.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SiteKey {
    Location(LocationId),
    Gateway(GatewayId),
}

struct Books {
    sites: Vec<(Zone, Ledger)>,
    totals: Totals,
    /// Priced site by site, each in its own zone.
    money: Money,
    /// What each site was expected to give, where that is known.
    expected: Vec<Option<ExpectedYield>>,
}

impl Books {
    /// The bars of all sites, the first with the first and so on: days and months
    /// by their date, quarters and hours by the time since midnight.
    fn bars(&self, period: Period, zone: &Zone) -> Vec<BucketFigures> {
        let step = period.natural_step();
        let sites = self.sites.iter().map(|(zone, ledger)| bucket_figures(ledger, &period.buckets(zone, step)));
        let together = sites.reduce(|longer, shorter| {
            let (mut longer, shorter) = if shorter.len() > longer.len() { (shorter, longer) } else { (longer, shorter) };
            longer.iter_mut().zip(&shorter).for_each(|(sum, bar)| sum.add(bar));
            longer
        });
        together.unwrap_or_else(|| bucket_figures(&Ledger::none(), &period.buckets(zone, step)))
    }

    fn best_day(&self, period: Period) -> Option<(civil::Date, f64)> {
        if period.days() <= 1 {
            return None;
        }
        let mut days: BTreeMap<civil::Date, Option<Energy>> = BTreeMap::new();
        for (zone, ledger) in &self.sites {
            for bucket in period.buckets(zone, Step::Day) {
                let day = days.entry(bucket.local.date()).or_default();
                *day = Energy::sum(*day, ledger.totals(bucket.window).produced);
            }
        }
        let known = days.into_iter().filter_map(|(day, energy)| Some((day, energy?.watt_hours)));
        known.filter(|(_, wh)| *wh > 0.0).reduce(|best, day| if day.1 > best.1 { day } else { best })
    }
}

impl BucketFigures {
    fn add(&mut self, other: &Self) {
        self.produced = Energy::sum(self.produced, other.produced);
        self.imported = Energy::sum(self.imported, other.imported);
        self.exported = Energy::sum(self.exported, other.exported);
        self.consumed = Energy::sum(self.consumed, other.consumed);
        self.power_w = plus(self.power_w, other.power_w);
        self.consumption_w = plus(self.consumption_w, other.consumption_w);
        self.completeness = self.completeness.sum(other.completeness);
    }
}
