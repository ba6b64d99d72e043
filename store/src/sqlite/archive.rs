//! The tables of an archive out of a file and into an empty one.
//!
//! What has a number in the file stands under its id in an archive, so each
//! table has a query and a statement of its own; the rest is the same for all.

use heliograph_domain::{GatewayId, Timestamp};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter};

use super::frame::Extent;
use super::{Batch, copy, frame, gateway, latest, quarter};
use crate::archive::tables::{Cell, Table, Type};
use crate::archive::trail;
use crate::archive::write::ArchiveWriter;
use crate::catalog::archive::stamp_of;
use crate::error::StoreError;
use crate::rollup::series::Slot;

/// How a table is read and written.
struct Sql {
    table: &'static str,
    select: &'static str,
    insert: &'static str,
}

const fn sql(table: &'static str, select: &'static str, insert: &'static str) -> Sql {
    Sql { table, select, insert }
}

const SQL: &[Sql] = &[
    sql(
        "settings",
        "SELECT name, value FROM setting WHERE name <> 'audit_head' ORDER BY name",
        "INSERT INTO setting (name, value) VALUES (?1, ?2)",
    ),
    sql(
        "sealed",
        "SELECT value FROM counter WHERE name = 'sealed'",
        "INSERT INTO counter (name, value) VALUES ('sealed', ?1)",
    ),
    sql(
        "locations",
        "SELECT id, name, zone, latitude, longitude, installed_kwp FROM location ORDER BY id",
        "INSERT INTO location (id, name, zone, latitude, longitude, installed_kwp) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    ),
    sql(
        "gateways",
        "SELECT id, label, state, first_seen, seen, address, documents, stamp
         FROM gateway LEFT JOIN latest ON latest.gateway = number ORDER BY id",
        "INSERT INTO gateway (id, label, state, first_seen) VALUES (?1, ?2, ?3, ?4)",
    ),
    sql(
        "placements",
        "SELECT g.id, p.start, p.until, p.location FROM placement p JOIN gateway g ON g.number = p.gateway ORDER BY g.id, p.start",
        "INSERT INTO placement (gateway, start, until, location) VALUES ((SELECT number FROM gateway WHERE id = ?1), ?2, ?3, ?4)",
    ),
    sql(
        "credentials",
        "SELECT c.id, g.id, c.digest, c.created, c.revoked FROM credential c JOIN gateway g ON g.number = c.gateway ORDER BY c.id",
        "INSERT INTO credential (id, gateway, digest, created, revoked)
         VALUES (?1, (SELECT number FROM gateway WHERE id = ?2), ?3, ?4, ?5)",
    ),
    sql(
        "sensors",
        "SELECT g.id, s.id, s.label, s.role, s.role_chosen, s.rated_w FROM sensor s JOIN gateway g ON g.number = s.gateway
         ORDER BY g.id, s.id",
        "INSERT INTO sensor (gateway, id, label, role, role_chosen, rated_w)
         VALUES ((SELECT number FROM gateway WHERE id = ?1), ?2, ?3, ?4, ?5, ?6)",
    ),
    sql(
        "series",
        "SELECT g.id, s.slot, s.sensor, s.metric, s.unit, s.kind, s.quantity, s.chosen FROM series s
         JOIN gateway g ON g.number = s.gateway ORDER BY g.id, s.slot",
        "INSERT INTO series (gateway, slot, sensor, metric, unit, kind, quantity, chosen)
         VALUES ((SELECT number FROM gateway WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    ),
    sql(
        "customers",
        "SELECT id, name, email FROM customer ORDER BY id",
        "INSERT INTO customer (id, name, email) VALUES (?1, ?2, ?3)",
    ),
    sql(
        "commissions",
        "SELECT o.id, o.customer, g.id, o.start, o.until FROM ownership o JOIN gateway g ON g.number = o.gateway ORDER BY o.id",
        "INSERT INTO ownership (id, customer, gateway, start, until)
         VALUES (?1, ?2, (SELECT number FROM gateway WHERE id = ?3), ?4, ?5)",
    ),
    sql(
        "users",
        "SELECT id, email, name, role, customer, password_hash, created FROM user ORDER BY id",
        "INSERT INTO user (id, email, name, role, customer, password_hash, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    ),
    // Local days and months that are to be summed up anew are named by the number
    // of their gateway; where that has come to is begun again. Rollups are packed
    // anew once they are restored. What was seen of clocks and of
    // the intake, and since when something holds, is learned anew.
    sql(
        "records",
        "SELECT r.kind, coalesce(g.id, r.id), CASE WHEN g.id IS NULL THEN r.body ELSE '{}' END FROM record r
         LEFT JOIN gateway g ON r.kind = 'respan' AND g.number = CAST(r.id AS INTEGER)
         WHERE r.kind NOT IN ('repack', 'clock-samples', 'alert-watches', 'intake') ORDER BY r.kind, 2",
        "INSERT INTO record (kind, id, body)
         VALUES (?1, CASE WHEN ?1 = 'respan' THEN (SELECT CAST(number AS TEXT) FROM gateway WHERE id = ?2) ELSE ?2 END, ?3)",
    ),
    sql(
        "mails",
        "SELECT id, report, period, recipient, subject, message_id, message, created, state, attempts, due, outcome, sent
         FROM outbox ORDER BY id",
        "INSERT INTO outbox (id, report, period, recipient, subject, message_id, message, created, state, attempts, due, outcome, sent,
                              crc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    ),
    sql(
        "quarantine",
        "SELECT id, received, gateway, address, code, reason, raw, trusted FROM quarantine ORDER BY id",
        "INSERT INTO quarantine (id, received, gateway, address, code, reason, raw, trusted, bytes, crc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, length(?7), ?9)",
    ),
    sql(
        "audit",
        "SELECT seq, at, actor, action, object, detail, hash FROM audit ORDER BY seq",
        "INSERT INTO audit (seq, at, actor, action, object, detail, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    ),
    sql(
        "audit_head",
        "SELECT value FROM setting WHERE name = 'audit_head'",
        "INSERT INTO setting (name, value) VALUES ('audit_head', ?1)",
    ),
    sql(
        "marks",
        "SELECT g.id, d.start FROM dirty d JOIN gateway g ON g.number = d.gateway ORDER BY g.id, d.start",
        "INSERT INTO dirty (gateway, start) VALUES ((SELECT number FROM gateway WHERE id = ?1), ?2)",
    ),
    sql(
        "rollups",
        "SELECT ?2, slot, start, count, min, max, first, last, covered_ms, positive, negative, increase, flags
         FROM rollup WHERE gateway = ?1 ORDER BY slot, start",
        "INSERT INTO rollup (gateway, slot, start, count, min, max, first, last, covered_ms, positive, negative, increase, flags, packed)
         VALUES ((SELECT number FROM gateway WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 1)",
    ),
    sql(
        "spans",
        "SELECT ?2, slot, step, start, until, zone, count, min, max, first, last, covered_ms, positive, negative, increase, flags
         FROM span WHERE gateway = ?1 ORDER BY slot, step, start",
        "INSERT INTO span (gateway, slot, step, start, until, zone, count, min, max, first, last, covered_ms, positive, negative,
         increase, flags)
         VALUES ((SELECT number FROM gateway WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    ),
];

/// Shows every row of every table, as of one instant.
pub(crate) fn dump(connection: &Connection, writer: &mut ArchiveWriter) -> Result<(), StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    for (sql, table) in SQL.iter().filter_map(|sql| Some((sql, Table::find(sql.table)?))) {
        writer.begin(table)?;
        if sql.select.contains("?1") {
            // Tables that are large are read a gateway at a time, in the order of
            // their key: nothing has to be sorted.
            each_gateway(&snapshot, writer, |number, id, writer| {
                if table.name == "rollups" {
                    quarter::require_sound(&snapshot, number, id)?;
                }
                dump_table(&snapshot, sql, table, &[&number, &id], writer)
            })?;
        } else {
            dump_table(&snapshot, sql, table, &[], writer)?;
        }
    }
    let Some(readings) = Table::find("readings") else { return Ok(()) };
    writer.begin(readings)?;
    each_gateway(&snapshot, writer, |number, id, writer| dump_frames(&snapshot, number, id, readings, writer))
}

/// Writes what belongs to each gateway, telling how many of them are done.
fn each_gateway(
    connection: &Connection,
    writer: &mut ArchiveWriter,
    mut dump: impl FnMut(i64, &str, &mut ArchiveWriter) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let gateways = gateways(connection)?;
    for (done, (number, id)) in gateways.iter().enumerate() {
        writer.gateways(done, gateways.len());
        dump(*number, id, writer)?;
    }
    writer.gateways(gateways.len(), gateways.len());
    Ok(())
}

/// The frames of a gateway; one that does not match its checksum is not passed on
/// as if it were right.
fn dump_frames(
    connection: &Connection,
    number: i64,
    id: &str,
    table: &Table,
    writer: &mut ArchiveWriter,
) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached("SELECT time, data, crc FROM frame WHERE gateway = ?1 ORDER BY time")?;
    let mut rows = query.query([number])?;
    while let Some(row) = rows.next()? {
        let (time, data) = frame::checked(number, row)?;
        let cells = [Cell::Text(id.to_owned()), Cell::Int(time.as_millis()), Cell::Values(frame::unpack(data)?)];
        writer.row(table, &cells)?;
    }
    Ok(())
}

/// The gateways' numbers and ids.
pub(super) fn gateways(connection: &Connection) -> Result<Vec<(i64, String)>, StoreError> {
    let mut query = connection.prepare("SELECT number, id FROM gateway ORDER BY id")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn dump_table(
    connection: &Connection,
    sql: &Sql,
    table: &Table,
    parameters: &[&dyn ToSql],
    writer: &mut ArchiveWriter,
) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached(sql.select)?;
    let mut rows = query.query(parameters)?;
    let mut extents = Extents::default();
    while let Some(row) = rows.next()? {
        let mut cells = cells(row, table)?;
        if table.name == "series" {
            cells.extend(extents.of(connection, row)?);
        }
        writer.row(table, &cells)?;
    }
    Ok(())
}

/// The columns of a table that a row has.
pub(super) fn cells(row: &Row<'_>, table: &Table) -> Result<Vec<Cell>, StoreError> {
    let columns = table.columns.iter().take(row.as_ref().column_count()).enumerate();
    // What somebody did to the trail keeps nobody from an archive, which says so.
    match table.name {
        "audit" => {
            let found: Vec<Cell> = columns.map(|(index, _)| as_found(row, index)).collect::<Result<_, _>>()?;
            Ok(trail::archived(trail::readable(&found)))
        }
        "audit_head" => Ok(vec![match as_found(row, 0)? {
            head @ Cell::Text(_) => head,
            _ => Cell::Text(String::new()),
        }]),
        _ => columns.map(|(index, (_, kind))| cell(row, index, *kind)).collect(),
    }
}

/// A table and the query that reads it.
pub(super) fn query(table: &str) -> Option<(&'static Table, &'static str)> {
    let sql = SQL.iter().find(|sql| sql.table == table)?;
    Some((Table::find(sql.table)?, sql.select))
}

fn cell(row: &Row<'_>, index: usize, kind: Type) -> Result<Cell, StoreError> {
    if row.get_ref(index)? == ValueRef::Null {
        return Ok(Cell::Null);
    }
    Ok(match kind {
        Type::Int => Cell::Int(row.get(index)?),
        Type::Real => Cell::Real(row.get(index)?),
        Type::Text => Cell::Text(row.get(index)?),
        Type::Bytes => Cell::Bytes(row.get(index)?),
        Type::Values => return Err(StoreError::Damaged("values stand in frames only".to_owned())),
    })
}

/// A value, of whatever type it is.
fn as_found(row: &Row<'_>, index: usize) -> Result<Cell, StoreError> {
    Ok(match row.get_ref(index)? {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Int(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_owned()),
    })
}

/// What is first, last and latest of the series of the gateway under way.
#[derive(Default)]
struct Extents {
    gateway: String,
    extents: Vec<Extent>,
}

impl Extents {
    fn of(&mut self, connection: &Connection, series: &Row<'_>) -> Result<[Cell; 4], StoreError> {
        let gateway: String = series.get(0)?;
        if self.gateway != gateway {
            let number = gateway::number(connection, &GatewayId::parse(&gateway)?)?;
            *self = Self { gateway, extents: latest::extents(connection, number)? };
        }
        let slot: Slot = series.get(1)?;
        let Some(extent) = self.extents.iter().find(|extent| extent.slot == slot) else {
            return Ok([Cell::Null, Cell::Null, Cell::Null, Cell::Null]);
        };
        let int = |time: Timestamp| Cell::Int(time.as_millis());
        let (latest, value) = extent.latest.map_or((Cell::Null, Cell::Null), |(time, value)| (int(time), Cell::Real(value)));
        Ok([int(extent.first), int(extent.last), latest, value])
    }
}

/// Refuses a provider that has anything which an archive would have to be laid
/// over.
pub(crate) fn require_empty(connection: &Connection) -> Result<(), StoreError> {
    const ANYTHING: &str = "SELECT 1 FROM location UNION ALL SELECT 1 FROM gateway UNION ALL SELECT 1 FROM customer
        UNION ALL SELECT 1 FROM user UNION ALL SELECT 1 FROM outbox UNION ALL SELECT 1 FROM quarantine
        UNION ALL SELECT 1 FROM audit UNION ALL SELECT 1 FROM setting
        UNION ALL SELECT 1 FROM record WHERE kind NOT IN ('alert-watches', 'intake')";
    if connection.prepare(ANYTHING)?.exists([])? {
        return Err(StoreError::Conflict(
            "the provider has data already: an archive is restored into an empty one, under another name with --as".to_owned(),
        ));
    }
    Ok(())
}

/// Adds a row of an archive.
pub(crate) fn insert(connection: &Connection, table: &Table, cells: &[Cell]) -> Result<(), StoreError> {
    let refused = |error: rusqlite::Error| match StoreError::from(error) {
        StoreError::Conflict(problem) => StoreError::Archive(format!("a row of {} does not fit: {problem}", table.name)),
        error => error,
    };
    match table.name {
        "readings" => return insert_frame(connection, cells),
        "audit" if trail::is_stray(cells) => return Ok(()),
        _ => {}
    }
    let Some(sql) = SQL.iter().find(|sql| sql.table == table.name) else { return Ok(()) };
    let mut statement = connection.prepare_cached(sql.insert)?;
    let wanted = statement.parameter_count();
    let crc = crc(table, cells);
    statement.execute(params_from_iter(cells.iter().chain(&crc).take(wanted))).map_err(refused)?;
    match table.name {
        "gateways" => insert_latest(connection, cells),
        "series" => insert_extent(connection, cells),
        _ => Ok(()),
    }
}

/// The checksum of the bytes of a mail or of a refused document.
fn crc(table: &Table, cells: &[Cell]) -> Option<Cell> {
    let (Some(Cell::Text(id)), Some(Cell::Bytes(bytes))) = (cells.first(), cells.get(6)) else { return None };
    matches!(table.name, "mails" | "quarantine").then(|| Cell::Int(copy::checksum(id, bytes).into()))
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Real(number) => ToSqlOutput::Owned(Value::Real(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Values(values) => ToSqlOutput::Owned(Value::Blob(frame::pack(values))),
        })
    }
}

fn insert_frame(connection: &Connection, cells: &[Cell]) -> Result<(), StoreError> {
    let [Cell::Text(id), Cell::Int(time), Cell::Values(values)] = cells else {
        return Err(StoreError::Archive("a row of readings cannot be read".to_owned()));
    };
    let number = gateway::number(connection, &GatewayId::parse(id)?)
        .map_err(|_| StoreError::Archive("a row of readings names no gateway".to_owned()))?;
    let data = frame::pack(values);
    connection
        .prepare_cached("INSERT INTO frame (gateway, time, data, crc) VALUES (?1, ?2, ?3, ?4)")?
        .execute(rusqlite::params![number, time, data, frame::checksum(number, *time, &data)])?;
    Ok(())
}

/// The row of what is latest of a gateway, if it had one.
fn insert_latest(connection: &Connection, cells: &[Cell]) -> Result<(), StoreError> {
    let [id, _, _, _, seen, address, documents, stamp] = cells else { return Ok(()) };
    if *seen == Cell::Null {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO latest (gateway, seen, address, documents, stamp, data)
             VALUES ((SELECT number FROM gateway WHERE id = ?1), ?2, ?3, ?4, ?5, x'')",
        )?
        .execute([id, seen, address, documents, stamp])?;
    Ok(())
}

/// Adds a series to the row of what is latest of its gateway.
fn insert_extent(connection: &Connection, cells: &[Cell]) -> Result<(), StoreError> {
    let [Cell::Text(id), Cell::Int(slot), .., Cell::Int(first), Cell::Int(last), latest, value] = cells else { return Ok(()) };
    let latest = match (latest, value) {
        (Cell::Int(time), Cell::Real(value)) => Some((Timestamp::clamped(*time), *value)),
        _ => None,
    };
    let slot = Slot::try_from(*slot).map_err(|_| StoreError::Archive("a series has no number".to_owned()))?;
    let extent = Extent { slot, latest, first: Timestamp::clamped(*first), last: Timestamp::clamped(*last) };
    let number = gateway::number(connection, &GatewayId::parse(id)?)?;
    let mut query = connection.prepare_cached("SELECT data FROM latest WHERE gateway = ?1")?;
    let stored: Option<Vec<u8>> = query.query_row([number], |row| row.get(0)).optional()?;
    let mut data = stored.unwrap_or_default();
    data.extend(frame::pack_extents(&[extent]));
    let changed =
        connection.prepare_cached("UPDATE latest SET data = ?2 WHERE gateway = ?1")?.execute(rusqlite::params![number, data])?;
    if changed == 0 {
        // Archives of clusters may not say when a gateway was heard that they have readings of.
        let first_seen = "SELECT first_seen FROM gateway WHERE number = ?1";
        let seen: i64 = connection.prepare_cached(first_seen)?.query_row([number], |row| row.get(0))?;
        connection
            .prepare_cached("INSERT INTO latest (gateway, seen, address, documents, stamp, data) VALUES (?1, ?3, '', 1, ?4, ?2)")?
            .execute(rusqlite::params![number, data, seen, stamp_of(Timestamp::clamped(seen))])?;
    }
    Ok(())
}

/// Counts what the file keeps counts of, and tells others that all has changed.
pub(crate) fn complete(batch: &mut Batch<'_>) -> Result<(), StoreError> {
    for (name, trusted) in [("trusted", true), ("strangers", false)] {
        for (what, sum) in [("rows", "count(*)"), ("bytes", "coalesce(sum(bytes), 0)")] {
            batch.connection.execute(
                &format!("UPDATE counter SET value = (SELECT {sum} FROM quarantine WHERE trusted = ?2) WHERE name = ?1"),
                rusqlite::params![format!("quarantine_{what}_{name}"), trusted],
            )?;
        }
    }
    quarter::restart_all(batch.connection)?;
    latest::sum_up(batch.connection)?;
    batch.gateways.clear();
    batch.config_changed();
    batch.data_changed();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema;
    use crate::url::AckLevel;

    #[test]
    fn a_series_is_known_though_nothing_says_when_its_gateway_was_heard() {
        let folder = tempfile::tempdir().unwrap();
        let connection = schema::open_migrated(&folder.path().join("sunrise.db"), AckLevel::ProcessCrash).unwrap();
        let text = |text: &str| Cell::Text(text.to_owned());
        let add = |table: &str, cells: &[Cell]| insert(&connection, Table::find(table).unwrap(), cells).unwrap();
        let (gateway, null) = (text("gw-1"), || Cell::Null);
        add("gateways", &[gateway.clone(), null(), text("active"), Cell::Int(1), null(), null(), null(), null()]);
        add("sensors", &[gateway.clone(), text("s"), null(), text("other"), Cell::Int(0), null()]);
        for slot in [0, 1] {
            let name = [gateway.clone(), Cell::Int(slot), text("s"), text(&format!("power-{slot}")), text("W")];
            let meaning = [text("gauge"), text("power"), Cell::Int(0)];
            let extent = [Cell::Int(5), Cell::Int(9 + slot), Cell::Int(9), Cell::Real(1.5)];
            add("series", &[&name[..], &meaning, &extent].concat());
        }
        let latest = "SELECT seen, stamp, data FROM latest";
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?));
        let (seen, stamp, data): (i64, i64, _) = connection.query_row(latest, [], row).unwrap();
        assert_eq!((seen, stamp), (1, 1_999));
        let last: Vec<i64> = frame::unpack_extents(&data).unwrap().iter().map(|extent| extent.last.as_millis()).collect();
        assert_eq!(last, [9, 10]);
    }
}
