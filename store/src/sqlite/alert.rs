//! Records of alerts, of what is watched, of maintenance windows and of the intake.

use std::collections::HashSet;

use heliograph_domain::{Alert, AlertId, AlertKey, Intake, Maintenance, MaintenanceId, Timestamp, UserId, Watch};
use rusqlite::Connection;
use serde_json::Value;

use super::{Batch, gateway, location, record};
use crate::alert::{
    ALERT, ALERT_WATCHES, AlertChange, AlertDeed, INTAKE, MAINTENANCE, Worked, bygone, changed, has_room, outdated, read_known,
    read_watches,
};
use crate::error::StoreError;

pub(crate) fn list(connection: &Connection) -> Result<Vec<Alert>, StoreError> {
    let texts: Vec<Value> = record::list(connection, ALERT)?;
    texts.iter().filter_map(|text| read_known(ALERT, &text.to_string()).transpose()).collect()
}

fn find(connection: &Connection, id: AlertId) -> Result<Option<Alert>, StoreError> {
    let text: Option<Value> = record::find(connection, ALERT, &id.to_string())?;
    Ok(text.map(|text| read_known(ALERT, &text.to_string())).transpose()?.flatten())
}

pub(crate) fn fetch(connection: &Connection, id: AlertId) -> Result<Alert, StoreError> {
    find(connection, id)?.ok_or(StoreError::NotFound("alert"))
}

fn save(connection: &Connection, alert: &Alert) -> Result<(), StoreError> {
    record::save(connection, ALERT, &alert.id.to_string(), alert)
}

pub(crate) fn act(batch: &Batch<'_>, id: AlertId, by: UserId, deed: &AlertDeed, at: Timestamp) -> Result<(), StoreError> {
    let mut alert = fetch(batch.connection, id)?;
    deed.done(&mut alert, by, at)?;
    save(batch.connection, &alert)
}

pub(crate) fn change(
    connection: &Connection,
    changes: &[AlertChange],
    watches: Option<&Vec<Watch>>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut open: HashSet<AlertKey> = list(connection)?.into_iter().filter(Alert::is_open).map(|alert| alert.key).collect();
    for change in changes {
        let Some(alert) = changed(change, find(connection, change.id())?, |key| open.contains(key)) else { continue };
        save(connection, &alert)?;
        if alert.is_open() {
            open.insert(alert.key);
        } else {
            open.remove(&alert.key);
        }
    }
    if let Some(watches) = watches {
        record::save(connection, ALERT_WATCHES, ALERT_WATCHES, watches)?;
    }
    for id in outdated(&list(connection)?, now) {
        record::remove(connection, ALERT, &id.to_string())?;
    }
    Ok(())
}

pub(crate) fn watches(connection: &Connection) -> Result<Vec<Watch>, StoreError> {
    let text: Option<Value> = record::find(connection, ALERT_WATCHES, ALERT_WATCHES)?;
    text.map_or_else(|| Ok(Vec::new()), |text| read_watches(&text.to_string()))
}

pub(crate) fn maintenance(connection: &Connection) -> Result<Vec<Maintenance>, StoreError> {
    record::list(connection, MAINTENANCE)
}

pub(crate) fn maintenance_save(batch: &Batch<'_>, new: &Maintenance, now: Timestamp) -> Result<(), StoreError> {
    let connection = batch.connection;
    match Worked::on(&new.subject) {
        Worked::Gateway(gateway) => drop(gateway::number(connection, gateway)?),
        Worked::Location(location) => location::require(connection, location)?,
    }
    let all = maintenance(connection)?;
    has_room(&all, now)?;
    for id in bygone(&all, now) {
        record::remove(connection, MAINTENANCE, &id.to_string())?;
    }
    record::save(connection, MAINTENANCE, &new.id.to_string(), new)
}

pub(crate) fn maintenance_end(batch: &Batch<'_>, id: MaintenanceId, now: Timestamp) -> Result<(), StoreError> {
    let (connection, name) = (batch.connection, id.to_string());
    let found: Option<Maintenance> = record::find(connection, MAINTENANCE, &name)?;
    match found.ok_or(StoreError::NotFound("maintenance window"))?.ended(now) {
        Some(ended) => record::save(connection, MAINTENANCE, &name, &ended),
        None => record::remove(connection, MAINTENANCE, &name).map(drop),
    }
}

pub(crate) fn intake(connection: &Connection) -> Result<Option<Intake>, StoreError> {
    record::find(connection, INTAKE, INTAKE)
}

pub(crate) fn intake_seed(connection: &Connection, from: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    match intake(connection)? {
        Some(_) => Ok(()),
        None => record::save(connection, INTAKE, INTAKE, &Intake::since(from, now)),
    }
}

pub(crate) fn intake_note(connection: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let next = intake(connection)?.map_or_else(|| Intake::begun(now), |intake| intake.again(now));
    record::save(connection, INTAKE, INTAKE, &next)
}
