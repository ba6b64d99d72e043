//! Points: sensors that stand for the same place of a site one after the other,
//! as one.
//!
//! Where a location has points of a role, they stand for that role, and its
//! sensors are taken by role no longer: a replaced gateway or meter then goes on
//! where the one before ended, and what nobody bound counts nowhere. Roles
//! without a point stay as they are.

use heliograph_domain::{Binding, GatewayId, LocationId, Point, PointId, SensorRole, TimeWindow};
use heliograph_store::{Placement, ProviderStore, SeriesRecord, Sight, StoreError, WindowRollup};

use crate::flow::SensorInput;
use crate::site::read_sensors;

/// The points of a provider and what stands for them.
#[derive(Debug, Clone)]
pub(crate) struct Points {
    points: Vec<Point>,
    bindings: Vec<Binding>,
    placements: Vec<Placement>,
}

impl Points {
    pub(crate) async fn read(store: &ProviderStore) -> Result<Self, StoreError> {
        let points = store.point_list().await?;
        if points.is_empty() {
            return Ok(Self { points, bindings: Vec::new(), placements: Vec::new() });
        }
        Ok(Self { points, bindings: store.binding_list().await?, placements: store.placement_list().await? })
    }

    /// The sensors of a location with its points in place of those that they
    /// stand for. `visible` says what of a gateway may be seen.
    pub(crate) async fn follow(
        &self,
        store: &ProviderStore,
        location: LocationId,
        period: TimeWindow,
        sensors: Vec<SensorInput>,
        visible: impl Fn(&GatewayId) -> Option<TimeWindow>,
    ) -> Result<Vec<SensorInput>, StoreError> {
        let here: Vec<&Point> = self.points.iter().filter(|point| point.location == location).collect();
        let mut inputs = Vec::new();
        let mut read = Vec::new();
        for point in &here {
            let mut parts = Vec::new();
            for (binding, sight) in self.parts(point.id, location, &visible) {
                parts.extend(part(store, &mut read, binding, sight, period).await?);
            }
            inputs.extend(together(point, parts));
        }
        let has_point = |role: SensorRole| here.iter().any(|point| point.role == role);
        inputs.extend(sensors.into_iter().filter(|sensor| !has_point(sensor.role)));
        Ok(inputs)
    }

    /// The bindings of a point in order, each with what may be seen of it: while
    /// its gateway is at the location.
    fn parts<'a>(
        &'a self,
        point: PointId,
        location: LocationId,
        visible: &impl Fn(&GatewayId) -> Option<TimeWindow>,
    ) -> Vec<(&'a Binding, Sight)> {
        let mut parts = Vec::new();
        for binding in self.bindings.iter().filter(|binding| binding.point == point) {
            let Some(all) = visible(&binding.gateway) else { continue };
            let there = self.placements.iter().filter(|place| place.gateway == binding.gateway && place.location == location);
            let bound = there.filter_map(|place| place.window.intersect(&binding.window));
            parts.extend(bound.filter_map(|bound| Some((binding, Sight::part_of(all, &bound)?))));
        }
        parts.sort_by_key(|(_, sight)| sight.part.from);
        parts
    }
}

/// Sensors of gateways as they look to a reader, as far as they were read.
type Read = Vec<(GatewayId, Sight, Vec<SensorInput>)>;

/// The sensor of a binding over a period; `None` where nothing of it may be seen.
async fn part(
    store: &ProviderStore,
    read: &mut Read,
    binding: &Binding,
    sight: Sight,
    period: TimeWindow,
) -> Result<Option<SensorInput>, StoreError> {
    let known = read.iter().position(|(gateway, seen, _)| *gateway == binding.gateway && *seen == sight);
    let known = match known {
        Some(known) => known,
        None => {
            let sensors = read_sensors(store, &binding.gateway, period, sight).await?;
            read.push((binding.gateway.clone(), sight, sensors));
            read.len() - 1
        }
    };
    let sensors = read.get(known).map_or(&[][..], |(_, _, sensors)| sensors);
    Ok(sensors.iter().find(|sensor| sensor.id == binding.sensor).cloned())
}

/// Sensors one after the other as one.
fn together(point: &Point, mut parts: Vec<SensorInput>) -> Option<SensorInput> {
    parts.iter_mut().for_each(|part| part.role = point.role);
    let (first, last) = (parts.first()?, parts.last()?);
    Some(SensorInput {
        gateway: last.gateway.clone(),
        id: last.id.clone(),
        name: point.name.clone(),
        role: point.role,
        rated_w: rated_w(&parts),
        visible: TimeWindow { from: first.visible.from, until: last.visible.until },
        series: gauge(&parts).into_iter().collect(),
        parts,
    })
}

/// The rated power of what stood for a point in a period: none where that changed, for no
/// one number says then what each watt of it gave.
fn rated_w(parts: &[SensorInput]) -> Option<f64> {
    let mut known = parts.iter().filter(|part| part.has_windows()).map(|part| part.rated_w);
    let Some(first) = known.next() else { return parts.last()?.rated_w };
    first.filter(|first| known.all(|other| other == Some(*first)))
}

/// The power of all of them, as one gauge.
fn gauge(parts: &[SensorInput]) -> Option<(SeriesRecord, Vec<WindowRollup>)> {
    let mut all: Option<(SeriesRecord, Vec<WindowRollup>)> = None;
    for (record, windows) in parts.iter().filter_map(SensorInput::power_gauge) {
        match &mut all {
            None => all = Some((record.clone(), windows.to_vec())),
            Some((known, sum)) => {
                *known = SeriesRecord { first: known.first.or(record.first), ..record.clone() };
                append(sum, windows, |window| window.start, |sum, window| sum.rollup = sum.rollup.then(&window.rollup));
            }
        }
    }
    all
}

/// Goes on with what comes later; where the two meet within a quarter of an hour,
/// `join` makes one of two.
pub(crate) fn append<T: Copy, K: PartialEq>(
    earlier: &mut Vec<T>,
    later: &[T],
    start: impl Fn(&T) -> K,
    join: impl Fn(&mut T, &T),
) {
    let mut later = later.iter();
    if let (Some(last), Some(next)) = (earlier.last_mut(), later.as_slice().first())
        && start(last) == start(next)
    {
        join(last, next);
        later.next();
    }
    earlier.extend(later.copied());
}
