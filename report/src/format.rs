//! Numbers as people read them: the same digits in panel and mails.
//!
//! Numbers are rounded half away from zero (money: half to even). What comes in a
//! unit of its size has three significant digits, but no decimals in the smallest
//! unit. `.` separates decimals; a no-break space separates thousands, and number
//! and unit, so that no line breaks between them. A minus is U+2212; what rounds
//! to zero has none.

use heliograph_domain::Currency;
use rust_decimal::{Decimal, RoundingStrategy};

const NO_BREAK: char = '\u{a0}';
const THOUSANDS: char = '\u{a0}';

/// An energy in the unit that suits its size: `840 Wh`, `1.23 kWh`, `12.3 MWh`.
#[must_use]
pub fn energy(watt_hours: f64) -> String {
    scaled(watt_hours, &["Wh", "kWh", "MWh", "GWh"])
}

/// A power in the unit that suits its size: `840 W`, `1.23 kW`, `12.3 MW`.
#[must_use]
pub fn power(watts: f64) -> String {
    scaled(watts, &["W", "kW", "MW", "GW"])
}

/// An energy in kWh whatever its size, with two decimals below 100 kWh, one
/// below 1,000 and none above: for columns of one unit.
#[must_use]
pub fn kwh(watt_hours: f64) -> String {
    let value = watt_hours / 1000.0;
    with_unit(&grouped(value, kwh_decimals(value)), "kWh")
}

fn kwh_decimals(value: f64) -> usize {
    match value.abs() {
        v if v < 99.995 => 2,
        v if v < 999.95 => 1,
        _ => 0,
    }
}

/// A ratio as a percentage: whole, but never `100 %` or `0 %` unless it is:
/// what is missing must show.
#[must_use]
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    let text = match percent {
        p if p > 0.0 && p < 0.1 => "<0.1".to_owned(),
        p if p > 0.0 && p < 1.0 => grouped(p, 1),
        p if p > 99.9 && p < 100.0 => ">99.9".to_owned(),
        p if p > 99.0 && p < 100.0 => grouped(p, 1),
        p => grouped(p, 0),
    };
    with_unit(&text, "%")
}

/// A change as a signed percentage, one decimal below 10 %: `+4.2 %`, `−12 %`.
#[must_use]
pub fn change(ratio: f64) -> String {
    let percent = ratio * 100.0;
    let text = grouped(percent.abs(), usize::from(percent.abs() < 9.95));
    let sign = match percent {
        _ if text.chars().all(|c| matches!(c, '0' | '.')) => "±",
        p if p > 0.0 => "+",
        _ => "−",
    };
    with_unit(&format!("{sign}{text}"), "%")
}

/// An amount of money with two decimals, its currency after it: `1 234.50 EUR`.
#[must_use]
pub fn money(amount: Decimal, currency: &Currency) -> String {
    let rounded = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven);
    let text = format!("{:.2}", rounded.abs());
    let sign = if rounded.is_sign_negative() && !rounded.is_zero() { "−" } else { "" };
    with_unit(&format!("{sign}{}", group_digits(&text)), currency.as_str())
}

/// A mass of CO2: `840 g`, `12.3 kg`, `1.23 t`.
#[must_use]
pub fn co2(kilograms: f64) -> String {
    scaled(kilograms * 1000.0, &["g", "kg", "t", "kt"])
}

/// kWh for each installed kWp, two decimals below 100: `4.21 kWh/kWp`.
#[must_use]
pub fn specific_yield(kwh_per_kwp: f64) -> String {
    with_unit(&grouped(kwh_per_kwp, kwh_decimals(kwh_per_kwp)), "kWh/kWp")
}

/// Three significant digits in the largest unit of which there is at least one;
/// the smallest unit without decimals.
fn scaled(value: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut chosen = units.first().copied().unwrap_or_default();
    let mut decimals = 0;
    for unit in units.iter().skip(1) {
        // What would round up to 1000 is one of the next unit.
        if round(value.abs(), decimals) < 1000.0 {
            break;
        }
        value /= 1000.0;
        chosen = unit;
        decimals = significant_decimals(value);
    }
    with_unit(&grouped(value, decimals), chosen)
}

fn significant_decimals(value: f64) -> usize {
    match value.abs() {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    }
}

/// Rounds half away from zero at a decimal place.
fn round(value: f64, decimals: usize) -> f64 {
    let factor = 10f64.powi(i32::try_from(decimals).unwrap_or(0));
    (value * factor).round() / factor
}

/// A number with grouped thousands and a real minus sign.
pub(crate) fn grouped(value: f64, decimals: usize) -> String {
    let rounded = round(value, decimals);
    let text = format!("{:.decimals$}", rounded.abs());
    let sign = if rounded < 0.0 { "−" } else { "" };
    format!("{sign}{}", group_digits(&text))
}

fn group_digits(text: &str) -> String {
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::with_capacity(text.len() + 4);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && whole.len() > 3 {
            grouped.push(THOUSANDS);
        }
        grouped.push(digit);
    }
    grouped + fraction
}

fn with_unit(number: &str, unit: &str) -> String {
    format!("{number}{NO_BREAK}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace([NO_BREAK, THOUSANDS], " ")
    }

    #[test]
    fn energies_and_powers_have_three_digits_and_the_unit_of_their_size() {
        for (value, text) in [
            (0.0, "0 Wh"),
            (-0.3, "0 Wh"),
            (0.5, "1 Wh"),
            (999.4, "999 Wh"),
            (999.5, "1.00 kWh"),
            (1_234.0, "1.23 kWh"),
            (9_994.0, "9.99 kWh"),
            (9_996.0, "10.0 kWh"),
            (99_949.0, "99.9 kWh"),
            (99_951.0, "100 kWh"),
            (999_499.0, "999 kWh"),
            (999_500.0, "1.00 MWh"),
            (12_345_678.0, "12.3 MWh"),
            (1.5e12, "1 500 GWh"),
            (-1_234.0, "−1.23 kWh"),
        ] {
            assert_eq!(plain(&energy(value)), text, "{value}");
        }
        assert_eq!(power(4_321.0), "4.32\u{a0}kW");
        assert_eq!(plain(&co2(0.84)), "840 g");
        assert_eq!(plain(&co2(1_234.0)), "1.23 t");
    }

    #[test]
    fn columns_of_kilowatt_hours_keep_their_unit() {
        for (value, text) in [
            (0.0, "0.00 kWh"),
            (4.9, "0.00 kWh"),
            (1_234.0, "1.23 kWh"),
            (99_994.0, "99.99 kWh"),
            (99_996.0, "100.0 kWh"),
            (999_960.0, "1 000 kWh"),
            (12_345_678.0, "12 346 kWh"),
            (-1_234.0, "−1.23 kWh"),
        ] {
            assert_eq!(plain(&kwh(value)), text, "{value}");
        }
    }

    #[test]
    fn percentages_never_hide_what_is_missing() {
        for (ratio, text) in [
            (1.0, "100 %"),
            (0.9999, ">99.9 %"),
            (0.996, "99.6 %"),
            (0.984, "98 %"),
            (0.5, "50 %"),
            (0.004, "0.4 %"),
            (0.0001, "<0.1 %"),
            (0.0, "0 %"),
        ] {
            assert_eq!(plain(&percent(ratio)), text, "{ratio}");
        }
    }

    #[test]
    fn changes_are_signed() {
        for (ratio, text) in [(0.0421, "+4.2 %"), (-0.12, "−12 %"), (0.0, "±0.0 %"), (-0.0001, "±0.0 %"), (1.5, "+150 %")] {
            assert_eq!(plain(&change(ratio)), text, "{ratio}");
        }
    }

    #[test]
    fn money_is_rounded_half_to_even() {
        let eur = Currency::default();
        for (amount, text) in [
            ("0.125", "0.12 EUR"),
            ("0.135", "0.14 EUR"),
            ("1234567.5", "1 234 567.50 EUR"),
            ("-3", "−3.00 EUR"),
            ("-0.001", "0.00 EUR"),
        ] {
            assert_eq!(plain(&money(amount.parse().unwrap(), &eur)), text, "{amount}");
        }
    }
}
