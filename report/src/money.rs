//! What energies cost, earn and avoid, priced by the quarter of an hour.

use heliograph_domain::{Co2Factors, ProviderSettings, Tariff, TimeWindow, Zone};
use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive as _, ToPrimitive as _};

use crate::energy::Energy;
use crate::ledger::Ledger;

/// What a kilowatt hour is worth, and when, by local time.
#[derive(Debug, Clone)]
pub(crate) struct Prices {
    import: Tariff,
    feed_in: Tariff,
    co2: Co2Factors,
}

impl Prices {
    pub(crate) fn of(settings: &ProviderSettings) -> Self {
        let (import, feed_in) = (settings.import_tariff.clone(), settings.feed_in_tariff.clone());
        Self { import, feed_in, co2: settings.co2() }
    }

    /// Kilograms of CO2 avoided; by one factor of what was produced in all.
    pub(crate) fn co2_kg(&self, produced_kwh: Option<f64>, money: Money) -> Option<f64> {
        match self.co2.constant() {
            Some(factor) => produced_kwh.zip(factor.to_f64()).map(|(kwh, factor)| kwh * factor),
            None => money.co2_kg.exact(),
        }
    }

    /// Whether what is fed in is priced by the quarter of an hour.
    pub(crate) const fn has_feed_in(&self) -> bool {
        !self.feed_in.is_empty()
    }
}

/// Sums of money, neither rounded nor in a currency yet, and of CO2; of each `None` where nothing
/// of it is known, or something of it has no price.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Money {
    pub(crate) revenue: Sum,
    pub(crate) savings: Sum,
    /// Kilograms avoided, where that differs by time.
    co2_kg: Sum,
}

/// A sum that one energy without a price makes unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    amount: f64,
    is_known: bool,
    lacks_price: bool,
}

impl Sum {
    fn add(&mut self, watt_hours: f64, price: Option<Decimal>) {
        self.is_known = true;
        match price.and_then(|price| price.to_f64()) {
            Some(price) => self.amount += watt_hours / 1000.0 * price,
            None => self.lacks_price |= watt_hours != 0.0,
        }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            amount: self.amount + other.amount,
            is_known: self.is_known || other.is_known,
            lacks_price: self.lacks_price || other.lacks_price,
        }
    }

    fn exact(self) -> Option<f64> {
        (self.is_known && !self.lacks_price).then_some(self.amount)
    }

    /// Rounded to two digits, half to even. It is taken to a millionth first, so that
    /// what a float cannot hold exactly does not tip a half.
    pub(crate) fn rounded(self) -> Option<Decimal> {
        self.exact().and_then(Decimal::from_f64).map(|sum| sum.round_dp(6).round_dp(2))
    }
}

impl Money {
    /// Of a site over a window, by the local time of its zone. What is fed in earns, from
    /// when on a meter tells it, and before that what is produced; what is produced and
    /// used on site saves what it would have cost, in quarters of which all that flowed is
    /// known.
    pub(crate) fn of(ledger: &Ledger, window: TimeWindow, zone: &Zone, prices: &Prices) -> Self {
        let mut money = Self::default();
        let co2_differs = prices.co2.constant().is_none();
        if prices.import.is_empty() && prices.feed_in.is_empty() && !co2_differs {
            return money;
        }
        for (start, cell) in ledger.quarters(window) {
            let fed_in = if cell.is_metered { cell.exported } else { cell.produced };
            // Meters that step at other times are ahead of each other by turns: what was
            // used may be less than nothing for a moment.
            let watt_hours = |energy: Option<Energy>| energy.map_or(0.0, |energy| energy.watt_hours);
            let used = cell.is_balanced.then(|| watt_hours(cell.produced) - watt_hours(cell.exported));
            let produced = cell.produced.filter(|_| co2_differs);
            if fed_in.is_none() && used.is_none() && produced.is_none() {
                continue;
            }
            let local = zone.civil(start);
            if let Some(energy) = produced {
                money.co2_kg.add(energy.watt_hours, prices.co2.factor(local));
            }
            if let Some(energy) = fed_in.filter(|_| !prices.feed_in.is_empty()) {
                money.revenue.add(energy.watt_hours, prices.feed_in.price(local));
            }
            if let Some(watt_hours) = used.filter(|_| !prices.import.is_empty()) {
                money.savings.add(watt_hours, prices.import.price(local));
            }
        }
        money
    }

    /// Of two sites together.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            revenue: self.revenue.plus(other.revenue),
            savings: self.savings.plus(other.savings),
            co2_kg: self.co2_kg.plus(other.co2_kg),
        }
    }
}
