//! Rows of locations.

use heliograph_domain::{Location, LocationId, Position, Zone};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Batch;
use crate::error::StoreError;

pub(crate) fn save(batch: &mut Batch<'_>, location: &Location) -> Result<(), StoreError> {
    let before = list(batch.connection, Some(location.id))?.pop();
    batch.connection.execute(
        "INSERT INTO location (id, name, zone, latitude, longitude, installed_kwp) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET name = excluded.name, zone = excluded.zone, latitude = excluded.latitude,
         longitude = excluded.longitude, installed_kwp = excluded.installed_kwp",
        params![
            location.id.to_string(),
            location.name,
            location.zone.name(),
            location.position.map(|position| position.latitude()),
            location.position.map(|position| position.longitude()),
            location.installed_kwp,
        ],
    )?;
    if before.is_some_and(|before| before.zone != location.zone) {
        super::span::restart_all(batch.connection, Some(location.id))?;
    }
    batch.config_changed();
    Ok(())
}

pub(crate) fn require(connection: &Connection, location: LocationId) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached("SELECT 1 FROM location WHERE id = ?1")?;
    let found: Option<i64> = query.query_row([location.to_string()], |row| row.get(0)).optional()?;
    found.map(|_| ()).ok_or(StoreError::NotFound("location"))
}

pub(crate) fn list(connection: &Connection, only: Option<LocationId>) -> Result<Vec<Location>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT id, name, zone, latitude, longitude, installed_kwp FROM location WHERE ?1 IS NULL OR id = ?1 ORDER BY name, id",
    )?;
    let mut rows = query.query([only.map(|id| id.to_string())])?;
    let mut locations = Vec::new();
    while let Some(row) = rows.next()? {
        locations.push(location(row)?);
    }
    Ok(locations)
}

fn location(row: &Row<'_>) -> Result<Location, StoreError> {
    let position = match (row.get::<_, Option<f64>>(3)?, row.get::<_, Option<f64>>(4)?) {
        (Some(latitude), Some(longitude)) => Some(Position::new(latitude, longitude)?),
        _ => None,
    };
    Ok(Location {
        id: LocationId::parse(&row.get::<_, String>(0)?)?,
        name: row.get(1)?,
        zone: Zone::parse(&row.get::<_, String>(2)?)?,
        position,
        installed_kwp: row.get(5)?,
    })
}
