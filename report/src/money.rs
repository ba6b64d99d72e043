//! What energies cost and earn, priced by the quarter of an hour.

use heliograph_domain::{ProviderSettings, Tariff, TimeWindow, Zone};
use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive as _, ToPrimitive as _};

use crate::energy::Energy;
use crate::ledger::Ledger;

/// What a kilowatt hour is worth, and when, by local time.
#[derive(Debug, Clone)]
pub(crate) struct Prices {
    import: Tariff,
    feed_in: Tariff,
}

impl Prices {
    pub(crate) fn of(settings: &ProviderSettings) -> Self {
        Self { import: settings.import_tariff.clone(), feed_in: settings.feed_in_tariff.clone() }
    }

    /// Whether what is fed in is priced by the quarter of an hour.
    pub(crate) const fn has_feed_in(&self) -> bool {
        !self.feed_in.is_empty()
    }
}

/// Sums of money, neither rounded nor in a currency yet; of each `None` where nothing
/// of it is known, or something of it has no price.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Money {
    pub(crate) revenue: Sum,
    pub(crate) savings: Sum,
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

    /// Rounded to two digits, half to even. It is taken to a millionth first, so that
    /// what a float cannot hold exactly does not tip a half.
    pub(crate) fn rounded(self) -> Option<Decimal> {
        (self.is_known && !self.lacks_price).then(|| Decimal::from_f64(self.amount))?.map(|sum| sum.round_dp(6).round_dp(2))
    }
}

impl Money {
    /// Of a site over a window, by the local time of its zone. What is fed in earns, from
    /// when on a meter tells it, and before that what is produced; what is produced and
    /// used on site saves what it would have cost, in quarters of which all that flowed is
    /// known.
    pub(crate) fn of(ledger: &Ledger, window: TimeWindow, zone: &Zone, prices: &Prices) -> Self {
        let mut money = Self::default();
        if prices.import.is_empty() && prices.feed_in.is_empty() {
            return money;
        }
        for (start, cell) in ledger.quarters(window) {
            let fed_in = if cell.is_metered { cell.exported } else { cell.produced };
            // Meters that step at other times are ahead of each other by turns: what was
            // used may be less than nothing for a moment.
            let watt_hours = |energy: Option<Energy>| energy.map_or(0.0, |energy| energy.watt_hours);
            let used = cell.is_balanced.then(|| watt_hours(cell.produced) - watt_hours(cell.exported));
            if fed_in.is_none() && used.is_none() {
                continue;
            }
            let local = zone.civil(start);
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
        Self { revenue: self.revenue.plus(other.revenue), savings: self.savings.plus(other.savings) }
    }
}
