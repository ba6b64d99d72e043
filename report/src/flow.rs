//! Which series stand for a sensor's energies.
//!
//! Per sensor and direction one source is chosen: a counter where there is one, else
//! interval energies, else the time integral of power. What is next in that order
//! stands in before the quarter of the chosen one's very first reading and after
//! that of its very last one, and nowhere else, whatever period is asked for: so
//! days add up to their month, nothing is counted twice where a sensor sends both,
//! also not what a counter catches up after a gap, and what a counter that went
//! silent no longer says is known all the same. Of a point the same is chosen for
//! each of its sensors, within its own time.

use heliograph_domain::{GatewayId, Kind, Quantity, SensorId, SensorRole, TimeWindow, Timestamp, WINDOW_MS, window_of};
use heliograph_store::{SeriesRecord, SeriesRollups, WindowRollup};

use crate::energy::{Energy, EnergySource};
use crate::points::append;

/// Where an energy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Produced.
    Produced,
    /// Drawn from the grid.
    Imported,
    /// Fed into the grid.
    Exported,
    /// Consumed by loads.
    Consumed,
    /// Put into a battery.
    Charged,
    /// Taken from a battery.
    Discharged,
}

/// A sensor with its series over a period, as far as they may be seen.
#[derive(Debug, Clone)]
pub(crate) struct SensorInput {
    pub(crate) gateway: GatewayId,
    pub(crate) id: SensorId,
    pub(crate) name: String,
    pub(crate) role: SensorRole,
    pub(crate) rated_w: Option<f64>,
    /// What of the sensor may be seen.
    pub(crate) visible: TimeWindow,
    pub(crate) series: Vec<(SeriesRecord, Vec<WindowRollup>)>,
    /// Of a point, the sensors that stand for it one after the other; its series
    /// are then their power together.
    pub(crate) parts: Vec<SensorInput>,
}

/// One quarter of an hour of a flow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FlowPoint {
    pub(crate) start: Timestamp,
    pub(crate) energy: Energy,
    pub(crate) covered_ms: u32,
    /// For how long from its start it speaks: an interval may last an hour.
    lasts_ms: i64,
}

/// The energy of a sensor in one direction, quarter by quarter. It is there, without
/// points, also where nothing is known of the period that was asked for: what counts at a
/// site does not depend on that.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flow {
    pub(crate) direction: Direction,
    /// The quarter of the first reading ever that may be seen.
    pub(crate) since: Timestamp,
    /// The end of the quarter of the last reading ever that may be seen.
    pub(crate) until: Timestamp,
    /// When a counter gives it, which makes up for gaps later.
    counted: Vec<TimeWindow>,
    pub(crate) points: Vec<FlowPoint>,
}

impl SensorInput {
    /// Groups the series of a gateway by sensor, in the order of their ids.
    pub(crate) fn group(gateway: &GatewayId, visible: TimeWindow, all: Vec<SeriesRollups>) -> Vec<Self> {
        let mut sensors: Vec<Self> = Vec::new();
        for rollups in all {
            let index = match sensors.iter().position(|sensor| sensor.id == rollups.sensor) {
                Some(index) => index,
                None => {
                    sensors.push(Self {
                        gateway: gateway.clone(),
                        id: rollups.sensor,
                        name: rollups.sensor_name,
                        role: rollups.role,
                        rated_w: rollups.rated_w,
                        visible,
                        series: Vec::new(),
                        parts: Vec::new(),
                    });
                    sensors.len() - 1
                }
            };
            if let Some(sensor) = sensors.get_mut(index) {
                sensor.series.push((rollups.series, rollups.windows));
            }
        }
        sensors.sort_by(|a, b| a.id.cmp(&b.id));
        sensors
    }

    /// The first reading of any of its series that may be seen. A reading from
    /// before counts as standing at the beginning of what may be seen.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        if !self.parts.is_empty() {
            return self.parts.iter().filter_map(Self::first).min();
        }
        let first = self.series.iter().filter_map(|(record, _)| record.first).min()?;
        (first < self.visible.end()).then(|| first.max(self.visible.from))
    }

    /// Its series with their windows, of a point those of all its sensors.
    pub(crate) fn all_series(&self) -> impl Iterator<Item = &(SeriesRecord, Vec<WindowRollup>)> {
        let own = if self.parts.is_empty() { &self.series[..] } else { &[] };
        own.iter().chain(self.parts.iter().flat_map(|part| &part.series))
    }

    /// Whether anything at all is known of it in the period.
    pub(crate) fn has_windows(&self) -> bool {
        self.all_series().any(|(_, windows)| !windows.is_empty())
    }

    /// The gauge of AC power: of several the one that is called as a total is,
    /// else the one with the shortest name, so that phases are not taken for it.
    pub(crate) fn power_gauge(&self) -> Option<(&SeriesRecord, &[WindowRollup])> {
        self.series
            .iter()
            .filter(|(record, _)| is_power_gauge(record))
            .min_by_key(|(record, windows)| (!has_cover(windows), totality(record.metric.as_str())))
            .map(|(record, windows)| (record, windows.as_slice()))
    }

    /// The energies that its role makes of its series, each direction once.
    pub(crate) fn flows(&self) -> Vec<Flow> {
        directions(self.role).iter().filter_map(|direction| self.flow(*direction)).collect()
    }

    /// Whether an energy can be made of its series in the period, if that is what
    /// it is there for.
    pub(crate) fn is_told(&self) -> bool {
        let mut chosen = self.series.iter().filter(|(record, _)| makes_energy(self.role, record));
        directions(self.role).is_empty()
            || chosen.any(|(record, windows)| match record.kind {
                Kind::Gauge => has_cover(windows),
                kind => windows.iter().any(|window| is_known(kind, window)),
            })
    }

    fn flow(&self, direction: Direction) -> Option<Flow> {
        if !self.parts.is_empty() {
            return self.parts.iter().filter_map(|part| part.flow(direction)).reduce(|flow, later| flow.followed_by(&later));
        }
        let quantity = direction.quantity();
        let mut flow = None;
        for kind in COUNTERS {
            flow = self.energy_flows(flow, direction, kind, quantity, 1.0);
        }
        if let Some(opposite) = direction.opposite() {
            flow = self.energy_flows(flow, direction, Kind::NetCounter, opposite.quantity(), -1.0);
        }
        flow = self.energy_flows(flow, direction, Kind::IntervalEnergy, quantity, 1.0);
        self.power_flow(flow, direction)
    }

    /// The quarter of a series' first reading that may be seen.
    fn since(&self, record: &SeriesRecord) -> Timestamp {
        record.first.map_or(Timestamp::MIN, |first| window_of(first.max(self.visible.from)))
    }

    /// The end of what the last reading of a series speaks of, as far as it may be
    /// seen; one that goes on beyond that does so to its end.
    fn until(&self, record: &SeriesRecord, last: Option<&WindowRollup>, lasts_ms: i64) -> Timestamp {
        let end_of = |at: Timestamp| match record.kind {
            Kind::IntervalEnergy => window_of(at).plus_millis(lasts_ms),
            // Nothing of a quarter that it begins.
            _ => window_of(at.plus_millis(WINDOW_MS - 1)),
        };
        let latest = record.heard.map_or(self.visible.end(), end_of);
        last.map_or(latest, |window| latest.max(window.start.plus_millis(lasts_ms)))
    }

    /// A flow completed by each series of a kind and quantity, also where it has data at
    /// other times only. What a counter fell belongs to the opposite direction (`sign` −1).
    fn energy_flows(&self, flow: Option<Flow>, direction: Direction, kind: Kind, quantity: Quantity, sign: f64) -> Option<Flow> {
        let source = if kind == Kind::IntervalEnergy { EnergySource::Interval } else { EnergySource::Counter };
        let mut fitting: Vec<_> = self
            .series
            .iter()
            .filter(|(record, _)| record.kind == kind && record.quantity == quantity && record.unit.as_str() == "Wh")
            .filter(|(record, _)| record.first.is_some())
            .collect();
        fitting.sort_by_key(|(record, _)| totality(record.metric.as_str()));
        fitting.into_iter().fold(flow, |flow, (record, windows)| {
            let lasts_ms = if kind == Kind::IntervalEnergy { rhythm_ms(windows) } else { WINDOW_MS };
            let beyond = Beyond::of(flow.as_ref());
            let points = windows.iter().filter(|window| beyond.contains(window.start) && is_known(kind, window));
            let points = points.map(|window| FlowPoint {
                start: window.start,
                energy: Energy {
                    watt_hours: (sign * window.rollup.increase).max(0.0),
                    source,
                    estimated: window.rollup.flags.estimated,
                    flagged: window.rollup.flags.implausible,
                },
                covered_ms: window.rollup.covered_ms,
                lasts_ms,
            });
            let since = self.since(record);
            let is_counter = source == EnergySource::Counter;
            let counted = is_counter.then_some(TimeWindow { from: since, until: self.visible.until }).into_iter().collect();
            let until = self.until(record, windows.iter().rev().find(|window| is_known(kind, window)), lasts_ms);
            Flow::completed(flow, Flow { direction, since, until, counted, points: points.collect() })
        })
    }

    fn power_flow(&self, flow: Option<Flow>, direction: Direction) -> Option<Flow> {
        let Some((record, windows)) = self.power_gauge().filter(|(record, _)| record.first.is_some()) else { return flow };
        let is_covered = |window: &&WindowRollup| window.rollup.covered_ms > 0;
        let beyond = Beyond::of(flow.as_ref());
        let points = windows.iter().filter(|window| beyond.contains(window.start)).filter(is_covered).map(|window| FlowPoint {
            start: window.start,
            energy: Energy {
                watt_hours: if direction.is_negative_power() { -window.rollup.negative } else { window.rollup.positive },
                source: EnergySource::Power,
                estimated: false,
                flagged: window.rollup.flags.implausible,
            },
            covered_ms: window.rollup.covered_ms,
            lasts_ms: WINDOW_MS,
        });
        let (since, until) = (self.since(record), self.until(record, windows.iter().rev().find(is_covered), WINDOW_MS));
        Flow::completed(flow, Flow { direction, since, until, counted: Vec::new(), points: points.collect() })
    }
}

/// The quarters in which a source may stand in for the one before it.
#[derive(Debug, Clone, Copy)]
struct Beyond(Option<(Timestamp, Timestamp)>);

impl Beyond {
    fn of(flow: Option<&Flow>) -> Self {
        Self(flow.map(|flow| (flow.since, flow.until)))
    }

    fn contains(self, start: Timestamp) -> bool {
        self.0.is_none_or(|(since, until)| start < since || start >= until)
    }
}

impl Flow {
    /// The next source, or what was known with it.
    fn completed(flow: Option<Self>, next: Self) -> Option<Self> {
        Some(match flow {
            Some(flow) => flow.completed_by(next),
            None => next,
        })
    }

    /// With what another source knows of the time before its first reading and
    /// after its last one; it has no points of the time between.
    fn completed_by(mut self, mut other: Self) -> Self {
        self.counted = self.counted_beside(&other);
        let after = other.points.partition_point(|point| point.start < self.since);
        let mut later = other.points.split_off(after);
        if !other.points.is_empty() {
            self.since = self.since.min(other.since);
            other.points.append(&mut self.points);
            self.points = other.points;
        }
        if !later.is_empty() {
            self.until = self.until.max(other.until);
            self.points.append(&mut later);
        }
        self
    }

    /// With what the sensor that came next for the same point knows.
    fn followed_by(mut self, later: &Self) -> Self {
        append(
            &mut self.points,
            &later.points,
            |point| point.start,
            |sum, point| {
                sum.energy = sum.energy.plus(point.energy);
                sum.covered_ms += point.covered_ms;
            },
        );
        self.counted.extend(&later.counted);
        (self.since, self.until) = (self.since.min(later.since), self.until.max(later.until));
        self
    }

    /// When a counter gives this or what another source knows before and after it.
    /// Where the other one goes on, this one's counter will say nothing any more.
    fn counted_beside(&self, other: &Self) -> Vec<TimeWindow> {
        let goes_on = self.until < other.until;
        let own = TimeWindow { from: self.since, until: goes_on.then_some(self.until) };
        let before = TimeWindow { from: Timestamp::MIN, until: Some(self.since) };
        let after = TimeWindow { from: self.until, until: None };
        let within = |windows: &[TimeWindow], time: TimeWindow| -> Vec<TimeWindow> {
            windows.iter().filter_map(|window| window.intersect(&time)).collect()
        };
        let mut counted = within(&other.counted, before);
        counted.extend(within(&self.counted, own));
        if goes_on {
            counted.extend(within(&other.counted, after));
        }
        counted
    }

    /// Whether a counter gives it at an instant.
    pub(crate) fn is_counted(&self, start: Timestamp) -> bool {
        self.counted.iter().any(|window| window.contains(start))
    }

    /// Whether a point speaks of the quarter that begins then.
    pub(crate) fn has_point(&self, start: Timestamp) -> bool {
        let next = self.points.partition_point(|point| point.start <= start);
        let point = next.checked_sub(1).and_then(|index| self.points.get(index));
        point.is_some_and(|point| start.millis_since(point.start) < point.lasts_ms)
    }
}

impl Direction {
    /// What to call it in front of people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Produced => "produced",
            Self::Imported => "imported",
            Self::Exported => "exported",
            Self::Consumed => "consumed",
            Self::Charged => "charged",
            Self::Discharged => "discharged",
        }
    }

    /// Whether it supplies the site (+1) or takes from it (−1).
    pub(crate) const fn sign_of_supply(self) -> f64 {
        match self {
            Self::Produced | Self::Imported | Self::Discharged => 1.0,
            Self::Exported | Self::Charged | Self::Consumed => -1.0,
        }
    }

    const fn quantity(self) -> Quantity {
        match self {
            Self::Produced => Quantity::EnergyProduced,
            Self::Imported => Quantity::EnergyImported,
            Self::Exported => Quantity::EnergyExported,
            Self::Consumed => Quantity::EnergyConsumed,
            Self::Charged => Quantity::EnergyCharged,
            Self::Discharged => Quantity::EnergyDischarged,
        }
    }

    /// Where what a net counter falls goes.
    const fn opposite(self) -> Option<Self> {
        match self {
            Self::Imported => Some(Self::Exported),
            Self::Exported => Some(Self::Imported),
            Self::Charged => Some(Self::Discharged),
            Self::Discharged => Some(Self::Charged),
            Self::Produced | Self::Consumed => None,
        }
    }

    /// Power of a grid meter is negative when feeding in; that of a battery, as
    /// of any source behind an inverter, is negative when it is charged.
    const fn is_negative_power(self) -> bool {
        matches!(self, Self::Exported | Self::Charged)
    }
}

/// Which counter is taken first: one that never resets is right even where a
/// night was missed.
const COUNTERS: [Kind; 3] = [Kind::Counter, Kind::NetCounter, Kind::DayCounter];

/// The energies that a sensor in a role is there for.
const fn directions(role: SensorRole) -> &'static [Direction] {
    match role {
        SensorRole::Inverter | SensorRole::Production => &[Direction::Produced],
        SensorRole::Grid => &[Direction::Imported, Direction::Exported],
        SensorRole::Load => &[Direction::Consumed],
        SensorRole::Battery => &[Direction::Charged, Direction::Discharged],
        SensorRole::Weather | SensorRole::Other => &[],
    }
}

/// Whether a report needs the windows of a series of a sensor in a role, as long as
/// an energy can be made of these. Light is measured by inverters too.
pub(crate) fn matters(role: SensorRole, record: &SeriesRecord) -> bool {
    directions(role).is_empty() || makes_energy(role, record) || record.quantity == Quantity::IrradiancePlane
}

fn makes_energy(role: SensorRole, record: &SeriesRecord) -> bool {
    let fits = |direction: &Direction| {
        let falls = record.kind == Kind::NetCounter && direction.opposite().map(Direction::quantity) == Some(record.quantity);
        falls || record.quantity == direction.quantity()
    };
    match record.kind {
        Kind::Gauge => is_power_gauge(record),
        _ => record.unit.as_str() == "Wh" && directions(role).iter().any(fits),
    }
}

fn is_power_gauge(record: &SeriesRecord) -> bool {
    record.kind == Kind::Gauge && record.quantity == Quantity::AcPower && record.unit.as_str() == "W"
}

/// Whether a window says something of an energy.
fn is_known(kind: Kind, window: &WindowRollup) -> bool {
    let rollup = &window.rollup;
    rollup.covered_ms > 0 || rollup.increase != 0.0 || (kind == Kind::IntervalEnergy && rollup.count > 0)
}

/// How long the intervals of a series are, as far as it matters: the shortest
/// step between two that were sent, an hour at most.
fn rhythm_ms(windows: &[WindowRollup]) -> i64 {
    let sent: Vec<Timestamp> = windows.iter().filter(|window| window.rollup.count > 0).map(|window| window.start).collect();
    let steps = sent.iter().zip(sent.iter().skip(1)).map(|(a, b)| b.millis_since(*a));
    steps.min().unwrap_or(WINDOW_MS).clamp(WINDOW_MS, 4 * WINDOW_MS)
}

fn has_cover(windows: &[WindowRollup]) -> bool {
    windows.iter().any(|window| window.rollup.covered_ms > 0)
}

/// Orders metric names by how likely they are a sensor's total: well-known
/// names, then short ones before long ones.
fn totality(metric: &str) -> (bool, usize, &str) {
    const TOTALS: &[&str] =
        &["power", "ac_power", "ac-power", "p_ac", "pac", "p", "w", "energy", "energy_total", "total_energy", "e_total", "wh"];
    let is_total = TOTALS.iter().any(|name| name.eq_ignore_ascii_case(metric));
    (!is_total, metric.len(), metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_taken_before_phases() {
        for (mut names, first) in [
            (vec!["power_l1", "power_l2", "power"], "power"),
            (vec!["P_AC_L3", "P_AC", "P_AC_L1"], "P_AC"),
            (vec!["active_power_l2", "active_power"], "active_power"),
            (vec!["energy_total", "e"], "energy_total"),
        ] {
            names.sort_by_key(|name| totality(name));
            assert_eq!(names[0], first);
        }
    }
}
