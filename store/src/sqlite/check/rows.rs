//! Whether every row of what is small reads as what it is, is spelled as it was
//! written, and refers to what there is.

use heliograph_domain::{
    Alert, Assignment, ClockSamples, Correction, CredentialId, GatewayId, InstalledArray, Intake, Kind, Maintenance, MetricName,
    Point, ProviderMapping, Quantity, QuarantineId, SensorId, SensorRole, Unit, UserId, Watch, YieldTargets,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::de::DeserializeOwned;

use super::super::{archive, correction, logo, mapping, point, quarter, record, span};
use super::Findings;
use crate::alert::{ALERT, ALERT_WATCHES, INTAKE, MAINTENANCE};
use crate::api_token::{API_TOKEN, ApiToken};
use crate::archive::tables::{Cell, Table};
use crate::catalog::archive::Cells;
use crate::catalog::{Catalog, Change};
use crate::credential::{CERTIFICATE, CREDENTIAL_USE, KEY_END, KeyEnd, Registered, Use};
use crate::device_clock::{CLOCK_CORRECTION, CLOCK_SAMPLES, Corrected};
use crate::error::StoreError;
use crate::logo::{LOGO, LOGO_PIECE, Logo, PROVIDER, read_piece};
use crate::outbox::OutboxMail;
use crate::point::binding_key;
use crate::quarantine::{PRESENTED, QuarantineNew, parse_presented};
use crate::second_factor::{SECOND_FACTOR, SecondFactor};
use crate::target::YIELD_TARGETS;
use crate::user::ASSIGNMENT;

/// A table as archives name it and as the file does, and the columns that say
/// which row it is.
struct Place {
    archive: &'static str,
    file: &'static str,
    key: usize,
}

const fn place(archive: &'static str, file: &'static str, key: usize) -> Place {
    Place { archive, file, key }
}

/// In an order in which nothing refers to what comes later.
const SET_UP: [Place; 8] = [
    place("settings", "setting", 1),
    place("locations", "location", 1),
    place("gateways", "gateway", 1),
    place("placements", "placement", 2),
    place("credentials", "credential", 1),
    place("customers", "customer", 1),
    place("commissions", "ownership", 1),
    place("users", "user", 1),
];

/// What people set up and what came in, but for readings and what follows of them.
pub(super) fn set_up(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    let mut catalog = Catalog::default();
    for place in &SET_UP {
        each(connection, findings, place, |table, cells| catalog_row(&mut catalog, table, &cells))?;
    }
    each(connection, findings, &place("sensors", "sensor", 2), |table, cells| sensor(&catalog, table, cells))?;
    each(connection, findings, &place("series", "series", 2), |table, cells| series(&catalog, table, cells))?;
    each(connection, findings, &place("mails", "outbox", 1), |table, cells| {
        let id = cells.first().cloned();
        same_id(id.as_ref(), &OutboxMail::unarchived(&mut Cells::of(table, cells))?.row.id)
    })?;
    each(connection, findings, &place("quarantine", "quarantine", 1), |table, cells| {
        let id = cells.first().cloned();
        same_id(id.as_ref(), &QuarantineNew::unarchived(&mut Cells::of(table, cells))?.id)
    })
}

fn each(
    connection: &Connection,
    findings: &mut Findings,
    place: &Place,
    mut read: impl FnMut(&'static Table, Vec<Cell>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let Some((table, select)) = archive::query(place.archive) else { return Ok(()) };
    let mut query = connection.prepare(select)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(error) = archive::cells(row, table).and_then(|cells| read(table, cells)) {
            findings.add_error(place.file, key(row, place.key), error);
        }
    }
    Ok(())
}

/// The columns that say which row it is, whatever stands in them.
pub(in super::super) fn key(row: &Row<'_>, columns: usize) -> String {
    let shown = (0..columns).map(|column| match row.get_ref(column) {
        Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).escape_debug().to_string(),
        Ok(ValueRef::Integer(number)) => number.to_string(),
        _ => "(unreadable)".to_owned(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn misspelled() -> StoreError {
    StoreError::Damaged("it can be read, but is not as it was written".to_owned())
}

fn same_id(cell: Option<&Cell>, id: &impl ToString) -> Result<(), StoreError> {
    if cell == Some(&Cell::Text(id.to_string())) { Ok(()) } else { Err(misspelled()) }
}

fn catalog_row(catalog: &mut Catalog, table: &Table, cells: &[Cell]) -> Result<(), StoreError> {
    let record = catalog.unarchived(table, cells.to_vec())?;
    if record.archived().is_some_and(|again| again != cells) {
        return Err(misspelled());
    }
    catalog.apply(Change::Put(record));
    Ok(())
}

fn sensor(catalog: &Catalog, table: &Table, cells: Vec<Cell>) -> Result<(), StoreError> {
    let mut cells = Cells::of(table, cells);
    catalog.read_known_gateway(&mut cells)?;
    cells.parse(SensorId::parse)?;
    cells.text_or_none()?;
    cells.parse(SensorRole::parse)?;
    bit(&mut cells)?;
    cells.real_or_none().map(drop)
}

fn series(catalog: &Catalog, table: &Table, cells: Vec<Cell>) -> Result<(), StoreError> {
    let mut cells = Cells::of(table, cells);
    catalog.read_known_gateway(&mut cells)?;
    cells.small::<u32>()?;
    cells.parse(SensorId::parse)?;
    cells.parse(MetricName::parse)?;
    cells.parse(Unit::parse)?;
    cells.parse(Kind::parse)?;
    cells.parse(Quantity::parse)?;
    bit(&mut cells)
}

fn bit(cells: &mut Cells) -> Result<(), StoreError> {
    match cells.int()? {
        0 | 1 => Ok(()),
        number => Err(cells.bad(format_args!("{number} is neither 0 nor 1"))),
    }
}

/// What is kept as its JSON.
pub(super) fn records(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    let mut query = connection.prepare("SELECT kind, id, body FROM record ORDER BY kind, id")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(error) = read_record(row) {
            findings.add_error("record", key(row, 2), error);
        }
    }
    if let Err(error) = logo::image(connection) {
        findings.add_error("record", LOGO, error);
    }
    Ok(())
}

/// A record has the id of what it says.
fn read_record(row: &Row<'_>) -> Result<(), StoreError> {
    let (kind, id, body): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let own = match kind.as_str() {
        point::POINT => read::<Point>(&kind, &body)?.id.to_string(),
        point::BINDING => binding_key(&read(&kind, &body)?),
        point::ARRAY => read::<InstalledArray>(&kind, &body)?.id.to_string(),
        correction::CORRECTION => read::<Correction>(&kind, &body)?.id.to_string(),
        mapping::MAPPING => read::<ProviderMapping>(&kind, &body)?.name.to_string(),
        CERTIFICATE => read::<Registered>(&kind, &body)?.fingerprint.to_string(),
        KEY_END => {
            read::<KeyEnd>(&kind, &body)?;
            CredentialId::parse(&id)?.to_string()
        }
        PRESENTED => {
            parse_presented(&read::<String>(&kind, &body)?)?;
            QuarantineId::parse(&id)?.to_string()
        }
        CLOCK_CORRECTION => read::<Corrected>(&kind, &body)?.gateway.to_string(),
        CLOCK_SAMPLES => {
            read::<ClockSamples>(&kind, &body)?;
            GatewayId::parse(&id)?.to_string()
        }
        CREDENTIAL_USE => {
            read::<Use>(&kind, &body)?;
            id.clone()
        }
        API_TOKEN => read::<ApiToken>(&kind, &body)?.key().to_owned(),
        ASSIGNMENT => {
            read::<Assignment>(&kind, &body)?;
            UserId::parse(&id)?.to_string()
        }
        SECOND_FACTOR => read::<SecondFactor>(&kind, &body)?.user.to_string(),
        YIELD_TARGETS => read::<YieldTargets>(&kind, &body)?.location().to_string(),
        LOGO => read::<Logo>(&kind, &body).map(|_| PROVIDER.to_owned())?,
        LOGO_PIECE => read_piece(&body).map(|_| id.clone())?,
        ALERT => read::<Alert>(&kind, &body)?.id.to_string(),
        MAINTENANCE => read::<Maintenance>(&kind, &body)?.id.to_string(),
        ALERT_WATCHES => read::<Vec<Watch>>(&kind, &body).map(|_| ALERT_WATCHES.to_owned())?,
        INTAKE => read::<Intake>(&kind, &body).map(|_| INTAKE.to_owned())?,
        quarter::REPACK | span::RESPAN => {
            read::<serde_json::Value>(&kind, &body)?;
            id.parse::<i64>().map_err(|_| StoreError::Damaged("it names no gateway".to_owned()))?.to_string()
        }
        _ => return Err(StoreError::Damaged("nothing is kept under this name".to_owned())),
    };
    if own == id { Ok(()) } else { Err(StoreError::Damaged(format!("it says that it is {own}"))) }
}

fn read<T: DeserializeOwned>(kind: &str, body: &str) -> Result<T, StoreError> {
    record::read(kind, body)
}

/// What is counted is as much as there is.
pub(super) fn counters(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    for (share, trusted) in [("trusted", true), ("strangers", false)] {
        for (what, sum) in [("rows", "count(*)"), ("bytes", "coalesce(sum(bytes), 0)")] {
            let name = format!("quarantine_{what}_{share}");
            let sql = format!(
                "SELECT (SELECT value FROM counter WHERE name = ?1) IS (SELECT {sum} FROM quarantine WHERE trusted = ?2)"
            );
            if !connection.query_row(&sql, rusqlite::params![name, trusted], |row| row.get::<_, bool>(0))? {
                findings.add("counter", &name, "it is not what the quarantine holds");
            }
        }
    }
    Ok(())
}
