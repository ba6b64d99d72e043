//! A believable sky: sun by latitude and season, days that are clear, mixed or
//! grey, clouds that pass, and the temperatures that follow.
//!
//! All of it is a function of place and time, so that history and live data fit
//! together and every start shows the same past.

use heliograph_domain::{Position, Timestamp};
use heliograph_report::sun;

const DAY_MS: i64 = 86_400_000;

/// The sky over a site.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    position: Position,
    clouds: f64,
    seed: u64,
}

/// What a weather station measures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions {
    /// On the plane of the modules, W/m².
    pub(super) irradiance: f64,
    /// Of the air, °C.
    pub(super) ambient: f64,
    /// Of the modules, °C.
    pub(super) module: f64,
}

impl Weather {
    /// `clouds` from 0, a desert, to 1, never blue.
    pub(super) fn new(position: Position, clouds: f64) -> Self {
        let seed = (position.latitude() * 1e4) as i64 as u64 ^ ((position.longitude() * 1e4) as i64 as u64).rotate_left(32);
        Self { position, clouds, seed }
    }

    pub(super) fn at(&self, time: Timestamp) -> Conditions {
        let elevation = sun::elevation(&self.position, time).to_radians();
        // Modules are tilted towards the sun: low sun counts for more.
        let clear = if elevation > 0.0 { 1_040.0 * elevation.sin().powf(0.85) } else { 0.0 };
        let irradiance = clear * self.transmission(time);
        let ambient = self.ambient(time);
        Conditions { irradiance, ambient, module: ambient + irradiance * 0.028 }
    }

    /// What the sky lets through, 0 to 1.
    fn transmission(&self, time: Timestamp) -> f64 {
        // Cloudiness changes over days, clouds pass within the hour.
        let days = self.noise(time, 1.6 * DAY_MS as f64, 1);
        let grey = ((days - 0.5) * 1.8 + self.clouds).clamp(0.0, 1.0);
        let passing = (self.noise(time, 35.0 * 60_000.0, 2) - 0.35).max(0.0) * 1.5;
        let unsettled = 4.0 * grey * (1.0 - grey);
        (1.0 - 0.74 * grey - 0.55 * unsettled * passing).clamp(0.08, 1.0)
    }

    fn ambient(&self, time: Timestamp) -> f64 {
        let day_of_year = (time.as_millis() as f64 / DAY_MS as f64 + 10.0).rem_euclid(365.25);
        let season = -(std::f64::consts::TAU * day_of_year / 365.25).cos() * self.position.latitude().signum();
        let latitude = self.position.latitude().abs();
        let local_hour = (time.as_millis() as f64 / 3.6e6 + self.position.longitude() / 15.0).rem_euclid(24.0);
        let time_of_day = (std::f64::consts::TAU * (local_hour - 9.0) / 24.0).sin();
        29.0 - 0.35 * latitude
            + 0.22 * latitude * season
            + 5.0 * time_of_day
            + 6.0 * (self.noise(time, 3.0 * DAY_MS as f64, 3) - 0.5)
    }

    /// Smooth noise, 0 to 1, that changes over about `period` milliseconds.
    pub(super) fn noise(&self, time: Timestamp, period: f64, lane: u64) -> f64 {
        let place = time.as_millis() as f64 / period;
        let (step, part) = (place.floor(), place - place.floor());
        let ease = part * part * (3.0 - 2.0 * part);
        let at = |step: f64| hash(self.seed ^ lane.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step as i64 as u64);
        at(step) * (1.0 - ease) + at(step + 1.0) * ease
    }
}

/// A number's random-looking fraction (the finaliser of SplitMix64).
fn hash(mut x: u64) -> f64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn madrid() -> Weather {
        Weather::new(Position::new(40.4, -3.7).unwrap(), 0.3)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn nights_are_dark_and_summers_brighter_than_winters() {
        let day = |date: &str| -> f64 {
            let midnight = at(&format!("{date}T00:00:00Z"));
            (0..96).map(|quarter| madrid().at(midnight.plus_millis(quarter * 900_000)).irradiance / 4.0).sum()
        };
        assert_eq!(madrid().at(at("2026-06-21T01:00:00Z")).irradiance, 0.0);
        let month = |month: u32| -> f64 { (1..=28).map(|d| day(&format!("2026-{month:02}-{d:02}"))).sum::<f64>() / 28.0 };
        let (june, december) = (month(6), month(12));
        assert!((4_500.0..8_500.0).contains(&june), "{june}");
        assert!((800.0..4_000.0).contains(&december), "{december}");
        assert!(june > 1.5 * december);
    }

    #[test]
    fn the_sky_is_the_same_at_every_look() {
        let time = at("2026-05-05T10:10:00Z");
        assert_eq!(madrid().at(time).irradiance, madrid().at(time).irradiance);
    }
}
