//! Where the sun stands: when it rises and sets at a position.
//!
//! The equations are those of the solar calculator of NOAA's Global Monitoring
//! Laboratory (after Meeus, *Astronomical Algorithms*), good to about a minute
//! between the polar circles for the years 1800 to 2100. The upper limb touches
//! the horizon at a zenith angle of 90.833°, refraction included.

use heliograph_domain::{Position, TimeWindow, Timestamp};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: f64 = 60_000.0;
const ZENITH_DEGREES: f64 = 90.833;
/// The Julian date of 1970-01-01T00:00Z and of the epoch J2000.
const JULIAN_UNIX_EPOCH: f64 = 2_440_587.5;
const JULIAN_J2000: f64 = 2_451_545.0;

/// What the sun does on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daylight {
    /// It rises and sets.
    Between {
        /// The instant of sunrise.
        sunrise: Timestamp,
        /// The instant of sunset.
        sunset: Timestamp,
    },
    /// It does not set for the 24 hours around the solar noon given.
    AllDay {
        /// The instant of solar noon.
        noon: Timestamp,
    },
    /// It does not rise.
    Never,
}

impl Daylight {
    /// The instants at which it is light, if any.
    #[must_use]
    pub fn window(&self) -> Option<TimeWindow> {
        match *self {
            Self::Between { sunrise, sunset } => Some(TimeWindow::between(sunrise, sunset)),
            Self::AllDay { noon } => Some(TimeWindow::between(noon.plus_millis(-DAY_MS / 2), noon.plus_millis(DAY_MS / 2))),
            Self::Never => None,
        }
    }
}

/// The daylight around the solar noon of a day at a position. The day is named
/// by its number since 1970-01-01 in the position's own solar calendar, which is
/// that of its local civil date but near the date line.
#[must_use]
pub fn daylight(position: &Position, day: i64) -> Daylight {
    // Local mean noon first, then once more from where the sun was then.
    let rough = day as f64 * DAY_MS as f64 + (720.0 - 4.0 * position.longitude()) * MINUTE_MS;
    let noon = rough - Sun::at(rough).equation_of_time * MINUTE_MS;
    let noon_sun = Sun::at(noon);
    match hour_angle(position.latitude(), noon_sun.declination) {
        HourAngle::Minutes(half_day) => Daylight::Between {
            sunrise: refined(position, rough, noon - half_day * MINUTE_MS, -1.0),
            sunset: refined(position, rough, noon + half_day * MINUTE_MS, 1.0),
        },
        HourAngle::AlwaysAbove => Daylight::AllDay { noon: Timestamp::clamped(noon as i64) },
        HourAngle::AlwaysBelow => Daylight::Never,
    }
}

/// A sunrise (`side` −1) or sunset (+1) again, with the sun where it stands then.
fn refined(position: &Position, mean_noon: f64, first: f64, side: f64) -> Timestamp {
    let sun = Sun::at(first);
    let millis = match hour_angle(position.latitude(), sun.declination) {
        HourAngle::Minutes(half_day) => mean_noon + (side * half_day - sun.equation_of_time) * MINUTE_MS,
        HourAngle::AlwaysAbove | HourAngle::AlwaysBelow => first,
    };
    Timestamp::clamped(millis as i64)
}

/// The daylight of every day that touches a window, in order.
#[must_use]
pub fn light_windows(position: &Position, window: TimeWindow) -> Vec<TimeWindow> {
    let first = window.from.as_millis().div_euclid(DAY_MS) - 1;
    let last = window.end().as_millis().div_euclid(DAY_MS) + 1;
    (first..=last).filter_map(|day| daylight(position, day).window()).filter(|light| light.intersect(&window).is_some()).collect()
}

/// How high the sun stands over the horizon at an instant, in degrees, without
/// refraction; negative below it.
#[must_use]
pub fn elevation(position: &Position, at: Timestamp) -> f64 {
    direction(position, at).up.asin().to_degrees()
}

/// Where the sun stands, as a vector of length 1, without refraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Direction {
    pub(crate) east: f64,
    pub(crate) north: f64,
    pub(crate) up: f64,
}

/// Where the sun stands at an instant.
pub(crate) fn direction(position: &Position, at: Timestamp) -> Direction {
    let millis = at.as_millis() as f64;
    let sun = Sun::at(millis);
    let minutes = (millis / MINUTE_MS).rem_euclid(1440.0) + sun.equation_of_time + 4.0 * position.longitude();
    let (hour_sine, hour_cosine) = (minutes / 4.0 - 180.0).to_radians().sin_cos();
    let (latitude_sine, latitude_cosine) = position.latitude().to_radians().sin_cos();
    let (sine, cosine) = sun.declination.to_radians().sin_cos();
    Direction {
        east: -cosine * hour_sine,
        north: latitude_cosine * sine - latitude_sine * cosine * hour_cosine,
        up: latitude_sine * sine + latitude_cosine * cosine * hour_cosine,
    }
}

struct Sun {
    /// Degrees.
    declination: f64,
    /// Apparent less mean solar time, minutes.
    equation_of_time: f64,
}

impl Sun {
    /// At an instant in milliseconds since the Unix epoch.
    fn at(millis: f64) -> Self {
        let century = (millis / DAY_MS as f64 + JULIAN_UNIX_EPOCH - JULIAN_J2000) / 36_525.0;
        let mean_longitude = (280.466_46 + century * (36_000.769_83 + century * 0.000_303_2)).rem_euclid(360.0).to_radians();
        let mean_anomaly = (357.529_11 + century * (35_999.050_29 - 0.000_153_7 * century)).to_radians();
        let eccentricity = 0.016_708_634 - century * (0.000_042_037 + 0.000_000_126_7 * century);
        let centre = mean_anomaly.sin() * (1.914_602 - century * (0.004_817 + 0.000_014 * century))
            + (2.0 * mean_anomaly).sin() * (0.019_993 - 0.000_101 * century)
            + (3.0 * mean_anomaly).sin() * 0.000_289;
        let node = (125.04 - 1_934.136 * century).to_radians();
        let apparent_longitude = mean_longitude + (centre - 0.005_69 - 0.004_78 * node.sin()).to_radians();
        let obliquity_seconds = 21.448 - century * (46.815 + century * (0.000_59 - century * 0.001_813));
        let obliquity = (23.0 + (26.0 + obliquity_seconds / 60.0) / 60.0 + 0.002_56 * node.cos()).to_radians();

        let y = (obliquity / 2.0).tan().powi(2);
        let equation = y * (2.0 * mean_longitude).sin() - 2.0 * eccentricity * mean_anomaly.sin()
            + 4.0 * eccentricity * y * mean_anomaly.sin() * (2.0 * mean_longitude).cos()
            - 0.5 * y * y * (4.0 * mean_longitude).sin()
            - 1.25 * eccentricity * eccentricity * (2.0 * mean_anomaly).sin();
        Self {
            declination: (obliquity.sin() * apparent_longitude.sin()).asin().to_degrees(),
            equation_of_time: 4.0 * equation.to_degrees(),
        }
    }
}

enum HourAngle {
    /// Minutes from sunrise to solar noon.
    Minutes(f64),
    AlwaysAbove,
    AlwaysBelow,
}

fn hour_angle(latitude: f64, declination: f64) -> HourAngle {
    let (latitude, declination) = (latitude.to_radians(), declination.to_radians());
    let cosine = ZENITH_DEGREES.to_radians().cos() / (latitude.cos() * declination.cos()) - latitude.tan() * declination.tan();
    if cosine < -1.0 {
        HourAngle::AlwaysAbove
    } else if cosine > 1.0 {
        HourAngle::AlwaysBelow
    } else {
        HourAngle::Minutes(cosine.acos().to_degrees() * 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn check(latitude: f64, longitude: f64, sunrise: &str, sunset: &str) {
        let noon = at(sunrise).plus_millis(at(sunset).millis_since(at(sunrise)) / 2);
        let day = (noon.as_millis() + (longitude * 240_000.0) as i64).div_euclid(DAY_MS);
        let Daylight::Between { sunrise: rise, sunset: set } = daylight(&Position::new(latitude, longitude).unwrap(), day) else {
            panic!("the sun rises and sets at {latitude}, {longitude}");
        };
        for (got, expected) in [(rise, sunrise), (set, sunset)] {
            assert!(got.millis_since(at(expected)).abs() <= 180_000, "{latitude}, {longitude}: {got} for {expected}");
        }
    }

    /// Times as almanacs print them.
    #[test]
    fn sunrise_and_sunset_agree_with_almanacs_within_three_minutes() {
        // Madrid, summer and winter solstice 2024.
        check(40.4168, -3.7038, "2024-06-21T06:45:00+02:00", "2024-06-21T21:48:00+02:00");
        check(40.4168, -3.7038, "2024-12-21T08:34:00+01:00", "2024-12-21T17:51:00+01:00");
        // London, equinox 2024.
        check(51.5074, -0.1278, "2024-03-20T06:03:00Z", "2024-03-20T18:14:00Z");
        // Sydney, December 2024: the other hemisphere, on the UTC day before.
        check(-33.8688, 151.2093, "2024-12-21T05:41:00+11:00", "2024-12-21T20:05:00+11:00");
        // New York, 4 July 2024.
        check(40.7128, -74.006, "2024-07-04T05:29:00-04:00", "2024-07-04T20:30:00-04:00");
        // Quito, on the equator.
        check(-0.1807, -78.4678, "2024-03-20T06:18:00-05:00", "2024-03-20T18:25:00-05:00");
    }

    #[test]
    fn beyond_the_polar_circle_the_sun_may_stay_up_or_down() {
        let tromso = Position::new(69.6492, 18.9553).unwrap();
        let day = |text: &str| at(text).as_millis().div_euclid(DAY_MS);
        assert!(matches!(daylight(&tromso, day("2024-06-21T12:00:00Z")), Daylight::AllDay { .. }));
        assert_eq!(daylight(&tromso, day("2024-12-21T12:00:00Z")), Daylight::Never);
    }

    #[test]
    fn light_windows_follow_each_other_without_overlap() {
        for (latitude, longitude) in [(40.4, -3.7), (-33.9, 151.2), (21.3, -157.9), (0.0, 180.0), (0.0, -180.0)] {
            let all = TimeWindow::between(at("2024-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"));
            let lights = light_windows(&Position::new(latitude, longitude).unwrap(), all);
            assert!((366..=368).contains(&lights.len()), "{} at {longitude}", lights.len());
            assert!(lights.windows(2).all(|pair| pair[0].end() < pair[1].from));
        }
    }
}
