//! What is installed at a location over a period, and behind a gateway.

use heliograph_domain::{InstalledArray, Location, SensorRole, TimeWindow, Timestamp};

use crate::flow::SensorInput;

/// The peak power that a location's yield over a period is measured by, kW: the
/// sum of its arrays, each for as long as it stood there, over the time until
/// `now` in which any did; of a location without arrays, what it says itself.
pub(crate) fn installed_kwp(location: &Location, arrays: &[InstalledArray], period: TimeWindow, now: Timestamp) -> Option<f64> {
    let mut here = arrays.iter().filter(|array| array.location == location.id).peekable();
    if here.peek().is_none() {
        return location.installed_kwp;
    }
    // Of a period that lies ahead, what is planned.
    let passed = if period.from < now { TimeWindow::between(period.from, period.end().min(now)) } else { period };
    let standing: Vec<(TimeWindow, f64)> = here.filter_map(|array| Some((array.window.intersect(&passed)?, array.kwp))).collect();
    let kw_ms: f64 = standing.iter().map(|(window, kwp)| kwp * millis(window) as f64).sum();
    let together = union_ms(standing.into_iter().map(|(window, _)| window).collect());
    (together > 0).then(|| kw_ms / together as f64)
}

/// The peak power that a gateway's yield is measured by, kW: the rated power of its
/// inverters where all have one, else what is installed at the location where it alone
/// produces.
pub(crate) fn gateway_kwp(
    sensors: &[SensorInput],
    alone_at: Option<&Location>,
    arrays: &[InstalledArray],
    period: TimeWindow,
    now: Timestamp,
) -> Option<f64> {
    rated_kw(sensors).or_else(|| installed_kwp(alone_at?, arrays, period, now))
}

/// The rated power of all inverters, kW, where all have one.
pub(crate) fn rated_kw(sensors: &[SensorInput]) -> Option<f64> {
    let inverters = sensors.iter().filter(|sensor| sensor.role == SensorRole::Inverter);
    let rated: Option<Vec<f64>> = inverters.map(|sensor| sensor.rated_w).collect();
    rated.map(|rated| rated.iter().sum::<f64>() / 1000.0).filter(|kw| *kw > 0.0)
}

fn millis(window: &TimeWindow) -> i64 {
    window.end().millis_since(window.from)
}

fn union_ms(mut windows: Vec<TimeWindow>) -> i64 {
    windows.sort_by_key(|window| window.from);
    let mut reached = Timestamp::MIN;
    let mut sum = 0;
    for window in windows {
        let from = window.from.max(reached);
        sum += window.end().millis_since(from).max(0);
        reached = reached.max(window.end());
    }
    sum
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{ArrayId, LocationId, Zone};

    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::clamped(hour * 3_600_000)
    }

    fn array(kwp: f64, from: i64, until: Option<i64>) -> InstalledArray {
        let window = TimeWindow { from: at(from), until: until.map(at) };
        InstalledArray {
            id: ArrayId::parse("00000000-0000-7000-8000-000000000002").unwrap(),
            location: place().id,
            kwp,
            tilt: 30.0,
            azimuth: 180.0,
            window,
        }
    }

    fn place() -> Location {
        let id = LocationId::parse("00000000-0000-7000-8000-000000000001").unwrap();
        Location { id, name: "x".into(), zone: Zone::utc(), position: None, installed_kwp: Some(99.0) }
    }

    #[test]
    fn arrays_count_for_as_long_as_they_stand() {
        let check = |arrays: &[InstalledArray], now: i64, expected: Option<f64>| {
            let got = installed_kwp(&place(), arrays, TimeWindow::between(at(100), at(200)), at(now));
            assert_eq!(got, expected, "{arrays:?}");
        };
        check(&[], 500, Some(99.0));
        check(&[array(4.0, 0, None), array(6.0, 0, None)], 500, Some(10.0));
        // The second one came half way through.
        check(&[array(4.0, 0, None), array(6.0, 150, None)], 500, Some(7.0));
        check(&[array(4.0, 0, None), array(6.0, 150, None)], 150, Some(4.0));
        // One replaced another; one is gone; nothing stood there before.
        check(&[array(4.0, 0, Some(150)), array(6.0, 150, None)], 500, Some(5.0));
        check(&[array(4.0, 0, Some(50)), array(6.0, 0, None)], 500, Some(6.0));
        check(&[array(4.0, 175, None)], 500, Some(4.0));
        check(&[array(4.0, 300, None)], 500, None);
    }
}
