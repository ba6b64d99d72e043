//! Points, bindings, arrays and corrections: the rules. Each is kept as its JSON.

use heliograph_domain::{
    ArrayId, Binding, Correction, CorrectionId, GatewayId, InstalledArray, LocationId, Point, PointId, Reverted, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Catalog, Change, Decision, Record};
use crate::correction::{check, revert_one};
use crate::error::StoreError;
use crate::point::{binding_key, check_binding, check_role, end_binding};
use crate::rollup::series::StoredSeries;
use crate::takeover::Takeover;

const POINT: &str = "point";
const BINDING: &str = "binding";
const ARRAY: &str = "array";
const CORRECTION: &str = "correction";

impl Catalog {
    pub(crate) fn point_save(&self, point: &Point) -> Decision {
        self.require_location(point.location)?;
        check_role(point)?;
        Ok(vec![put(POINT, &point.id.to_string(), point)?])
    }

    pub(crate) fn point_remove(&self, point: PointId) -> Decision {
        let mut changes = vec![self.take(POINT, &point.to_string(), "point")?];
        for binding in self.bindings()?.iter().filter(|binding| binding.point == point) {
            changes.push(self.take(BINDING, &binding_key(binding), "binding")?);
        }
        Ok(changes)
    }

    pub(crate) fn points(&self) -> Result<Vec<Point>, StoreError> {
        self.read(POINT)
    }

    /// Whether the gateway has the sensor, the caller knows.
    pub(crate) fn binding_create(&self, binding: &Binding) -> Decision {
        if !self.bodies.contains_key(&(POINT.to_owned(), binding.point.to_string())) {
            return Err(StoreError::NotFound("point"));
        }
        check_binding(binding, &self.bindings()?)?;
        Ok(vec![put(BINDING, &binding_key(binding), binding)?])
    }

    pub(crate) fn binding_end(&self, point: PointId, at: Timestamp) -> Decision {
        let ended = end_binding(&self.bindings()?, point, at)?;
        Ok(vec![put(BINDING, &binding_key(&ended), &ended)?])
    }

    pub(crate) fn binding_remove(&self, point: PointId, from: Timestamp) -> Decision {
        let found = self.bindings()?.into_iter().find(|binding| binding.point == point && binding.window.from == from);
        let binding = found.ok_or(StoreError::NotFound("binding"))?;
        Ok(vec![self.take(BINDING, &binding_key(&binding), "binding")?])
    }

    /// Everything that ends before anything that is made, each by the rule of its own,
    /// seen from what those before have left.
    pub(crate) fn take_over(&self, takeover: &Takeover) -> Decision {
        let mut next = Self::clone(self);
        let mut all = Vec::new();
        for point in &takeover.ended {
            next.note(&mut all, |catalog| catalog.binding_end(*point, takeover.at))?;
        }
        for commission in &takeover.commissions_ended {
            next.note(&mut all, |catalog| catalog.commission_end(*commission, takeover.at))?;
        }
        for commission in &takeover.commissions_cancelled {
            next.note(&mut all, |catalog| catalog.commission_cancel(*commission, takeover.now))?;
        }
        for binding in &takeover.bindings {
            next.note(&mut all, |catalog| catalog.binding_create(binding))?;
        }
        for commission in &takeover.commissions {
            next.note(&mut all, |catalog| catalog.commission_create(commission))?;
        }
        Ok(all)
    }

    /// Applies what a rule decides, and notes it.
    fn note(&mut self, all: &mut Vec<Change>, rule: impl FnOnce(&Self) -> Decision) -> Result<(), StoreError> {
        for change in rule(self)? {
            self.apply(change.clone());
            all.push(change);
        }
        Ok(())
    }

    pub(crate) fn bindings(&self) -> Result<Vec<Binding>, StoreError> {
        self.read(BINDING)
    }

    pub(crate) fn array_save(&self, array: &InstalledArray) -> Decision {
        self.require_location(array.location)?;
        crate::array::check(array)?;
        Ok(vec![put(ARRAY, &array.id.to_string(), array)?])
    }

    pub(crate) fn array_remove(&self, array: ArrayId) -> Decision {
        Ok(vec![self.take(ARRAY, &array.to_string(), "array")?])
    }

    pub(crate) fn arrays(&self) -> Result<Vec<InstalledArray>, StoreError> {
        self.read(ARRAY)
    }

    pub(crate) fn correction_create(&self, new: &Correction, series: &StoredSeries, sealed: Timestamp) -> Decision {
        check(new, series.record.kind, &self.corrections()?, sealed)?;
        Ok(vec![put(CORRECTION, &new.id.to_string(), new)?])
    }

    pub(crate) fn correction_revert(&self, id: CorrectionId, reverted: &Reverted) -> Decision {
        let correction = revert_one(&self.corrections()?, id, reverted.clone())?;
        Ok(vec![put(CORRECTION, &id.to_string(), &correction)?])
    }

    pub(crate) fn corrections(&self) -> Result<Vec<Correction>, StoreError> {
        self.read(CORRECTION)
    }

    /// All of a gateway, also those that were taken back.
    pub(crate) fn corrections_of(&self, gateway: &GatewayId) -> Result<Vec<Correction>, StoreError> {
        let mut corrections = self.corrections()?;
        corrections.retain(|correction| correction.series.gateway == *gateway);
        Ok(corrections)
    }

    pub(super) fn require_location(&self, location: LocationId) -> Result<(), StoreError> {
        if self.locations.contains_key(&location) { Ok(()) } else { Err(StoreError::NotFound("location")) }
    }

    pub(super) fn read<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, StoreError> {
        let read = |text: &String| serde_json::from_str(text).map_err(|error| StoreError::Damaged(format!("{kind}: {error}")));
        self.texts(kind).map(read).collect()
    }

    /// The bodies of a kind as they are written, by id.
    pub(super) fn texts(&self, kind: &str) -> impl Iterator<Item = &String> {
        let from = (kind.to_owned(), String::new());
        self.bodies.range(from..).take_while(move |((known, _), _)| known == kind).map(|(_, text)| text)
    }

    pub(super) fn take(&self, kind: &str, id: &str, what: &'static str) -> Result<Change, StoreError> {
        let key = (kind.to_owned(), id.to_owned());
        let text = self.bodies.get(&key).cloned().ok_or(StoreError::NotFound(what))?;
        Ok(Change::Remove(Record::Body { kind: key.0, id: key.1, text }))
    }
}

pub(super) fn put(kind: &str, id: &str, body: &impl Serialize) -> Result<Change, StoreError> {
    let text = serde_json::to_string(body).map_err(|error| StoreError::Conflict(format!("{kind}: {error}")))?;
    Ok(Change::Put(Record::Body { kind: kind.to_owned(), id: id.to_owned(), text }))
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{GatewayId, SensorId, SensorRole, TimeWindow};
    use uuid::Uuid;

    use super::*;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::clamped(hour * 3_600_000)
    }

    fn binding(gateway: &str, from: i64, until: Option<i64>) -> Binding {
        let (gateway, sensor) = (GatewayId::parse(gateway).unwrap(), SensorId::parse("inv").unwrap());
        let window = TimeWindow { from: hour(from), until: until.map(hour) };
        Binding { point: PointId::new(Uuid::from_u128(1)), gateway, sensor, window }
    }

    #[test]
    fn what_takes_over_is_judged_by_what_has_ended_before() {
        let location = LocationId::new(Uuid::from_u128(2));
        let point = Point { id: binding("a", 0, None).point, location, name: "x".to_owned(), role: SensorRole::Inverter };
        let mut catalog = Catalog::default();
        catalog.apply(put(POINT, &point.id.to_string(), &point).unwrap());
        let first = binding("a", 0, None);
        catalog.apply(put(BINDING, &binding_key(&first), &first).unwrap());
        let new = Takeover { bindings: vec![binding("b", 10, None)], ..Takeover::new(hour(10), hour(20)) };
        assert!(matches!(catalog.take_over(&new), Err(StoreError::Conflict(_))), "the old one runs on");
        let whole = Takeover { ended: vec![point.id], ..new };
        catalog.take_over(&whole).unwrap().into_iter().for_each(|change| catalog.apply(change));
        let mut bindings = catalog.bindings().unwrap();
        bindings.sort_by_key(|binding| binding.window.from);
        assert_eq!(bindings, [binding("a", 0, Some(10)), binding("b", 10, None)]);
    }
}
