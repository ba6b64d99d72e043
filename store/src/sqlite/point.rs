//! Rows of points, their bindings and installed arrays.

use heliograph_domain::{ArrayId, Binding, InstalledArray, Point, PointId, SensorId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Batch, customer, gateway, location, record};
use crate::error::StoreError;
use crate::point::{binding_key, check_binding, check_role, end_binding};
use crate::takeover::Takeover;

pub(super) const POINT: &str = "point";
pub(super) const BINDING: &str = "binding";
pub(super) const ARRAY: &str = "array";

pub(crate) fn save(batch: &mut Batch<'_>, point: &Point) -> Result<(), StoreError> {
    location::require(batch.connection, point.location)?;
    check_role(point)?;
    record::save(batch.connection, POINT, &point.id.to_string(), point)?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<Point>, StoreError> {
    record::list(connection, POINT)
}

pub(crate) fn remove(batch: &mut Batch<'_>, point: PointId) -> Result<(), StoreError> {
    if !record::remove(batch.connection, POINT, &point.to_string())? {
        return Err(StoreError::NotFound("point"));
    }
    for binding in bindings(batch.connection)?.into_iter().filter(|binding| binding.point == point) {
        record::remove(batch.connection, BINDING, &binding_key(&binding))?;
    }
    batch.config_changed();
    Ok(())
}

pub(crate) fn bind(batch: &mut Batch<'_>, binding: &Binding) -> Result<(), StoreError> {
    if !list(batch.connection)?.iter().any(|point| point.id == binding.point) {
        return Err(StoreError::NotFound("point"));
    }
    require_sensor(batch.connection, gateway::number(batch.connection, &binding.gateway)?, &binding.sensor)?;
    check_binding(binding, &bindings(batch.connection)?)?;
    record::save(batch.connection, BINDING, &binding_key(binding), binding)?;
    batch.config_changed();
    Ok(())
}

fn require_sensor(connection: &Connection, number: i64, sensor: &SensorId) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached("SELECT 1 FROM sensor WHERE gateway = ?1 AND id = ?2")?;
    let found: Option<i64> = query.query_row(params![number, sensor.as_str()], |row| row.get(0)).optional()?;
    found.map(|_| ()).ok_or(StoreError::NotFound("sensor"))
}

pub(crate) fn bindings(connection: &Connection) -> Result<Vec<Binding>, StoreError> {
    record::list(connection, BINDING)
}

pub(crate) fn end(batch: &mut Batch<'_>, point: PointId, at: Timestamp) -> Result<(), StoreError> {
    let ended = end_binding(&bindings(batch.connection)?, point, at)?;
    record::save(batch.connection, BINDING, &binding_key(&ended), &ended)?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn unbind(batch: &mut Batch<'_>, point: PointId, from: Timestamp) -> Result<(), StoreError> {
    let found = bindings(batch.connection)?.into_iter().find(|binding| binding.point == point && binding.window.from == from);
    let binding = found.ok_or(StoreError::NotFound("binding"))?;
    record::remove(batch.connection, BINDING, &binding_key(&binding))?;
    batch.config_changed();
    Ok(())
}

/// Everything that ends before anything that is made.
pub(crate) fn take_over(batch: &mut Batch<'_>, takeover: &Takeover) -> Result<(), StoreError> {
    for point in &takeover.ended {
        end(batch, *point, takeover.at)?;
    }
    for commission in &takeover.commissions_ended {
        customer::end_commission(batch, *commission, takeover.at)?;
    }
    for commission in &takeover.commissions_cancelled {
        customer::cancel_commission(batch, *commission, takeover.now)?;
    }
    for binding in &takeover.bindings {
        bind(batch, binding)?;
    }
    takeover.commissions.iter().try_for_each(|commission| customer::commission(batch, commission))
}

pub(crate) fn save_array(batch: &mut Batch<'_>, array: &InstalledArray) -> Result<(), StoreError> {
    location::require(batch.connection, array.location)?;
    crate::array::check(array)?;
    record::save(batch.connection, ARRAY, &array.id.to_string(), array)?;
    batch.config_changed();
    Ok(())
}

pub(crate) fn arrays(connection: &Connection) -> Result<Vec<InstalledArray>, StoreError> {
    record::list(connection, ARRAY)
}

pub(crate) fn remove_array(batch: &mut Batch<'_>, array: ArrayId) -> Result<(), StoreError> {
    batch.config_changed();
    if record::remove(batch.connection, ARRAY, &array.to_string())? { Ok(()) } else { Err(StoreError::NotFound("array")) }
}
