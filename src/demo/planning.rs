//! What the demo's plants were planned to give: the same sky in another year.

use heliograph_domain::{LocationId, Position, Timestamp, YieldTargets, Zone};

use super::fleet::LocationPlan;
use super::weather::Weather;

/// Half past midnight of the year that was planned with, 2019, UTC.
const FIRST: &str = "2019-01-01T00:30:00Z";
const HOURS: i64 = 365 * 24;
const HOUR_MS: i64 = 3_600_000;
/// What is left of the light behind modules, inverters and cables.
const EFFICIENCY: f64 = 0.88;

/// The expected yield of a plant of so many kW.
pub(super) fn expected(plan: &LocationPlan, location: LocationId, kwp: f64) -> anyhow::Result<YieldTargets> {
    let weather = Weather::new(Position::new(plan.latitude, plan.longitude)?, plan.clouds);
    let first = Timestamp::parse_rfc3339(FIRST)?;
    let mut kwh = [0.0; 12];
    for time in (0..HOURS).map(|hour| first.plus_millis(hour * HOUR_MS)) {
        let month = usize::try_from(Zone::utc().civil(time).month() - 1)?;
        if let Some(month) = kwh.get_mut(month) {
            *month += weather.at(time).irradiance / 1000.0 * kwp * EFFICIENCY;
        }
    }
    Ok(YieldTargets::new(location, kwh.map(f64::round), Some(kwp))?)
}

#[cfg(test)]
mod tests {
    use super::super::fleet::PROVIDERS;
    use super::*;

    #[test]
    fn every_plant_of_the_demo_was_planned_to_give_what_plants_give() {
        let location = LocationId::parse("00000000-0000-7000-8000-000000000001").unwrap();
        for plan in PROVIDERS.iter().flat_map(|provider| provider.locations) {
            let targets = expected(plan, location, 10.0).unwrap();
            let (june, december) = (targets.months()[5], targets.months()[11]);
            assert_eq!(june > december, plan.latitude > 0.0, "{}: {targets:?}", plan.name);
        }
    }
}
