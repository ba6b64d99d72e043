//! Points: what reports follow, and which sensor stands for them when.

use heliograph_domain::{Binding, Point, PointId, SensorRole, Timestamp};
use serde_json::json;

use crate::error::StoreError;
use crate::sqlite;
use crate::store::{Backend, ProviderStore};

impl ProviderStore {
    /// Makes a point or replaces the one of the same id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where its location is missing;
    /// [`StoreError::Conflict`] where its role has no part in a site's balance.
    pub async fn point_save(&self, point: Point) -> Result<(), StoreError> {
        let detail = json!({ "location": point.location, "role": point.role });
        let event = self.event("point.save", format_args!("point:{}", point.id), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::point::save(batch, &point)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.point_save(&point)).await,
        }
    }

    /// All points, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn point_list(&self) -> Result<Vec<Point>, StoreError> {
        let mut points = match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::point::list).await?,
            Backend::Cassandra(db) => db.catalog().await?.points()?,
        };
        points.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
        Ok(points)
    }

    /// Takes a point away, with its bindings. Readings are not touched.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn point_remove(&self, point: PointId) -> Result<(), StoreError> {
        let event = self.event("point.remove", format_args!("point:{point}"), json!({}));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::point::remove(batch, point)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.point_remove(point)).await,
        }
    }

    /// Lets a sensor stand for a point for some time.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where point, gateway or sensor is missing;
    /// [`StoreError::Conflict`] where the window is empty, another sensor stands
    /// for the point in part of it, or the sensor for another point.
    pub async fn binding_create(&self, binding: Binding) -> Result<(), StoreError> {
        let detail = json!({ "gateway": binding.gateway, "sensor": binding.sensor, "window": binding.window });
        let event = self.event("binding.create", format_args!("point:{}", binding.point), detail);
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::point::bind(batch, &binding)).await,
            Backend::Cassandra(db) => {
                // Points before gateways before sensors: what is missing first is named.
                db.catalog().await?.binding_create(&binding)?;
                if !self.sensor_list(&binding.gateway).await?.iter().any(|sensor| sensor.id == binding.sensor) {
                    return Err(StoreError::NotFound("sensor"));
                }
                db.change(event, move |catalog| catalog.binding_create(&binding)).await
            }
        }
    }

    /// Ends the binding of a point that is in force at an instant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none that began before it.
    pub async fn binding_end(&self, point: PointId, at: Timestamp) -> Result<(), StoreError> {
        let event = self.event("binding.end", format_args!("point:{point}"), json!({ "at": at.to_string() }));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::point::end(batch, point, at)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.binding_end(point, at)).await,
        }
    }

    /// Takes a binding back that begins at an instant, as if it had never been.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn binding_remove(&self, point: PointId, from: Timestamp) -> Result<(), StoreError> {
        let event = self.event("binding.remove", format_args!("point:{point}"), json!({ "from": from.to_string() }));
        match &self.backend {
            Backend::Sqlite(db) => db.change(event, move |batch| sqlite::point::unbind(batch, point, from)).await,
            Backend::Cassandra(db) => db.change(event, move |catalog| catalog.binding_remove(point, from)).await,
        }
    }

    /// All bindings, by point and time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn binding_list(&self) -> Result<Vec<Binding>, StoreError> {
        let mut bindings = match &self.backend {
            Backend::Sqlite(db) => db.read(sqlite::point::bindings).await?,
            Backend::Cassandra(db) => db.catalog().await?.bindings()?,
        };
        bindings.sort_by_key(|binding| (binding.point, binding.window.from));
        Ok(bindings)
    }
}

/// What tells a binding from all others.
pub(crate) fn binding_key(binding: &Binding) -> String {
    format!("{}/{}", binding.point, binding.window.from.as_millis())
}

/// A point has a part in its site's balance, else reports could not follow it.
pub(crate) fn check_role(point: &Point) -> Result<(), StoreError> {
    match point.role {
        SensorRole::Other => Err(StoreError::Conflict("a point needs a role in its site's balance".to_owned())),
        _ => Ok(()),
    }
}

/// Whether a binding fits beside those that there are.
pub(crate) fn check_binding(new: &Binding, all: &[Binding]) -> Result<(), StoreError> {
    let conflict = |text: &str| Err(StoreError::Conflict(text.to_owned()));
    if new.window.is_empty() {
        return conflict("a binding must end after it begins");
    }
    let mut meeting = all.iter().filter(|binding| binding.window.intersect(&new.window).is_some());
    let taken =
        meeting.find(|binding| binding.point == new.point || (binding.gateway == new.gateway && binding.sensor == new.sensor));
    match taken {
        Some(binding) if binding.point == new.point => conflict("another sensor stands for the point in part of that time"),
        Some(_) => conflict("the sensor stands for another point in part of that time"),
        None => Ok(()),
    }
}

/// The binding of a point in force at an instant, as it is once it has ended there.
pub(crate) fn end_binding(all: &[Binding], point: PointId, at: Timestamp) -> Result<Binding, StoreError> {
    let running = |binding: &&Binding| binding.point == point && binding.window.from < at && at < binding.window.end();
    let mut ended = all.iter().find(running).cloned().ok_or(StoreError::NotFound("binding"))?;
    ended.window.until = Some(at);
    Ok(ended)
}
