//! How bright a cloudless sky is, and how much of that falls on modules.
//!
//! The model is that of Ineichen and Perez (*A new airmass independent formulation for
//! the Linke turbidity coefficient*, Solar Energy 73, 2002) at sea level, with the air
//! mass of Kasten and Young (1989) and the extraterrestrial irradiance by Spencer's
//! series (1971). How much of the sky's light is turned towards the modules is told by
//! Hay and Davies (1980). The sky is taken to be of one clarity all year and everywhere
//! ([`LINKE_TURBIDITY`]): what is made of it compares days and plants, and is no
//! measurement.

use heliograph_domain::{InstalledArray, Position, Timestamp};

use crate::sun::{self, Direction};

/// The clarity of the sky: 2 is a clear cold one, 3 that of temperate places over the
/// year, 5 a hazy one.
pub(crate) const LINKE_TURBIDITY: f64 = 3.0;
/// What the ground throws back: grass and soil.
const ALBEDO: f64 = 0.2;
/// W/m², the mean over a year (Iqbal 1983).
const SOLAR_CONSTANT: f64 = 1366.1;
/// Of the model, at sea level.
const CG1: f64 = 0.868;
const CG2: f64 = 0.0387;
/// Below this the part of the beam that modules get is not told by a quotient.
const LEAST_COSINE: f64 = 0.017_45;

/// What comes from a cloudless sky, W/m².
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClearSky {
    /// On the horizontal.
    pub(crate) global: f64,
    /// Straight from the sun, on a plane that faces it.
    pub(crate) beam: f64,
    /// From the rest of the sky, on the horizontal.
    pub(crate) diffuse: f64,
    /// What would come without air, on a plane that faces the sun.
    extraterrestrial: f64,
}

impl ClearSky {
    /// At an instant, for a sun that stands there; `None` while it is below the horizon.
    fn under(sun: Direction, at: Timestamp) -> Option<Self> {
        let zenith = 90.0 - apparent_elevation(sun.up.clamp(-1.0, 1.0).asin().to_degrees());
        let cosine = zenith.to_radians().cos();
        if cosine <= 0.0 {
            return None;
        }
        let extraterrestrial = extraterrestrial(at);
        let mass = air_mass(zenith);
        let global = CG1 * extraterrestrial * cosine * (-CG2 * mass * LINKE_TURBIDITY).exp();
        // How much of the beam comes through by its own formula, and no more than what
        // is left of the global irradiance beside the least that the sky scatters.
        let direct = extraterrestrial * (0.664 + 0.163) * (-0.09 * mass * (LINKE_TURBIDITY - 1.0)).exp();
        let scattered = (0.1 - 0.2 * (-LINKE_TURBIDITY).exp()) / (0.1 + 0.882);
        let beam = direct.min(global * (1.0 - scattered) / cosine).max(0.0);
        Some(Self { global, beam, diffuse: global - beam * cosine, extraterrestrial })
    }

    /// What falls on modules, W/m².
    fn on(&self, modules: &Facing, sun: Direction) -> f64 {
        let incidence = modules.cosine(sun).max(0.0);
        let around_sun = self.beam / self.extraterrestrial;
        let towards_sun = incidence / sun.up.max(LEAST_COSINE);
        let sky = self.diffuse * (around_sun * towards_sun + (1.0 - around_sun) * f64::midpoint(1.0, modules.up));
        let ground = self.global * ALBEDO * (1.0 - modules.up) / 2.0;
        self.beam * incidence + sky + ground
    }
}

/// Where modules face, as a vector of length 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Facing {
    east: f64,
    north: f64,
    up: f64,
}

impl Facing {
    pub(crate) fn of(array: &InstalledArray) -> Self {
        let (tilt_sine, tilt_cosine) = array.tilt.to_radians().sin_cos();
        let (azimuth_sine, azimuth_cosine) = array.azimuth.to_radians().sin_cos();
        Self { east: tilt_sine * azimuth_sine, north: tilt_sine * azimuth_cosine, up: tilt_cosine }
    }

    fn cosine(&self, sun: Direction) -> f64 {
        self.east * sun.east + self.north * sun.north + self.up * sun.up
    }
}

/// What falls on the modules of some arrays together under a cloudless sky, each by its
/// part of the peak power, W/m²: nothing at night; `None` without arrays.
pub(crate) fn on_arrays(position: &Position, arrays: &[(f64, Facing)], at: Timestamp) -> Option<f64> {
    let kwp = Some(arrays.iter().map(|(kwp, _)| kwp).sum::<f64>()).filter(|kwp| *kwp > 0.0)?;
    let sun = sun::direction(position, at);
    let Some(sky) = ClearSky::under(sun, at) else { return Some(0.0) };
    Some(arrays.iter().map(|(part, facing)| part * sky.on(facing, sun)).sum::<f64>() / kwp)
}

/// How high the sun seems to stand, degrees: the air bends its light (the formula of
/// NOAA's solar calculator).
fn apparent_elevation(elevation: f64) -> f64 {
    let tangent = elevation.to_radians().tan();
    let seconds = if elevation > 85.0 {
        0.0
    } else if elevation > 5.0 {
        58.1 / tangent - 0.07 / tangent.powi(3) + 0.000_086 / tangent.powi(5)
    } else if elevation > -0.575 {
        1735.0 + elevation * (-518.2 + elevation * (103.4 + elevation * (-12.79 + elevation * 0.711)))
    } else {
        -20.774 / tangent
    };
    elevation + seconds / 3600.0
}

/// How much air the beam goes through, 1 from straight above.
fn air_mass(zenith: f64) -> f64 {
    1.0 / (zenith.to_radians().cos() + 0.505_72 * (96.079_95 - zenith).powf(-1.6364))
}

/// What comes from the sun outside of the air, W/m²: the Earth is nearest to it in
/// January.
fn extraterrestrial(at: Timestamp) -> f64 {
    let day = f64::from(at.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).day_of_year() - 1);
    let angle = std::f64::consts::TAU * day / 365.0;
    let (sine, cosine) = angle.sin_cos();
    let (twice_sine, twice_cosine) = (2.0 * angle).sin_cos();
    SOLAR_CONSTANT * (1.000_11 + 0.034_221 * cosine + 0.001_28 * sine + 0.000_719 * twice_cosine + 0.000_077 * twice_sine)
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{ArrayId, LocationId, TimeWindow};

    use super::*;

    /// Tilt and azimuth of modules, degrees.
    const PLANES: [(f64, f64); 6] = [(0.0, 180.0), (30.0, 180.0), (25.0, 90.0), (60.0, 270.0), (20.0, 0.0), (90.0, 180.0)];

    fn facing(tilt: f64, azimuth: f64) -> Facing {
        let array = InstalledArray {
            id: ArrayId::parse("00000000-0000-7000-8000-000000000002").unwrap(),
            location: LocationId::parse("00000000-0000-7000-8000-000000000001").unwrap(),
            kwp: 1.0,
            tilt,
            azimuth,
            window: TimeWindow::ALWAYS,
        };
        Facing::of(&array)
    }

    fn assert_near(got: f64, expected: f64, what: &str) {
        assert!((got - expected).abs() <= 2.0_f64.max(expected * 0.01), "{what}: {got:.1} is not {expected}");
    }

    /// What pvlib 0.16.1 gives with a Linke turbidity of 3, at sea level, an albedo of
    /// 0.2, its own position of the sun, `ineichen` and `haydavies`: global, beam and
    /// diffuse irradiance, then what falls on each of the planes, W/m².
    #[test]
    fn another_implementation_of_the_same_papers_says_the_same() {
        type Case = (&'static str, f64, f64, [f64; 3], [f64; 6]);
        let cases: [Case; 10] = [
            ("2026-06-21T12:14:00Z", 40.4168, -3.7038, [971.8, 905.5, 105.7], [971.8, 1000.0, 895.8, 533.8, 822.1, 400.3]),
            ("2026-12-21T12:14:00Z", 40.4168, -3.7038, [416.2, 778.1, 72.9], [416.2, 758.2, 381.0, 240.5, 127.8, 838.0]),
            ("2026-03-20T08:00:00Z", 40.4168, -3.7038, [260.6, 645.8, 57.6], [260.6, 329.9, 521.6, 36.0, 180.0, 238.6]),
            ("2026-09-01T17:30:00Z", 40.4168, -3.7038, [171.9, 527.5, 46.1], [171.9, 158.3, 28.3, 609.0, 159.8, 41.7]),
            ("2026-06-21T04:00:00Z", 59.91, 10.75, [120.7, 435.2, 37.8], [120.7, 25.3, 294.4, 25.0, 194.8, 24.7]),
            ("2026-02-10T11:00:00Z", 59.91, 10.75, [214.1, 599.5, 52.8], [214.1, 516.3, 235.4, 47.6, 30.6, 688.4]),
            ("2026-01-15T02:00:00Z", -33.8688, 151.2093, [1062.0, 971.7, 114.3], [1062.0, 820.5, 982.1, 576.7, 1084.6, 124.1]),
            ("2026-07-15T05:00:00Z", -33.8688, 151.2093, [283.5, 651.0, 58.7], [283.5, 31.6, 57.8, 579.8, 438.1, 43.2]),
            ("2026-03-20T17:20:00Z", -0.1807, -78.4678, [1064.8, 951.7, 113.1], [1064.8, 936.7, 979.0, 589.5, 1009.4, 124.0]),
            ("2026-10-05T23:00:00Z", 21.3, -157.9, [917.2, 921.4, 104.3], [917.2, 1028.0, 768.0, 663.3, 718.5, 547.0]),
        ];
        for (time, latitude, longitude, [global, beam, diffuse], planes) in cases {
            let (position, at) = (Position::new(latitude, longitude).unwrap(), Timestamp::parse_rfc3339(time).unwrap());
            let sky = ClearSky::under(sun::direction(&position, at), at).unwrap();
            assert_near(sky.global, global, &format!("{time} global"));
            assert_near(sky.beam, beam, &format!("{time} beam"));
            assert_near(sky.diffuse, diffuse, &format!("{time} diffuse"));
            for ((tilt, azimuth), expected) in PLANES.into_iter().zip(planes) {
                let got = on_arrays(&position, &[(5.0, facing(tilt, azimuth))], at).unwrap();
                assert_near(got, expected, &format!("{time} on {tilt}° to {azimuth}°"));
            }
        }
    }

    #[test]
    fn arrays_count_by_their_peak_power_and_at_night_nothing_falls() {
        let position = Position::new(40.4168, -3.7038).unwrap();
        let on = |arrays: &[(f64, Facing)], time: &str| on_arrays(&position, arrays, Timestamp::parse_rfc3339(time).unwrap());
        let (morning, east, west) = ("2026-06-21T08:00:00Z", facing(40.0, 90.0), facing(40.0, 270.0));
        let both = on(&[(3.0, east), (1.0, west)], morning).unwrap();
        let expected = 0.75 * on(&[(3.0, east)], morning).unwrap() + 0.25 * on(&[(1.0, west)], morning).unwrap();
        assert!((both - expected).abs() < 1e-9, "{both} is not {expected}");
        assert!(on(&[(1.0, east)], morning).unwrap() > 3.0 * on(&[(1.0, west)], morning).unwrap());
        assert_eq!(on(&[(1.0, east)], "2026-06-21T01:00:00Z"), Some(0.0));
        assert_eq!(on(&[], morning), None);
    }
}
