//! Old frames out, in pieces that hold nobody up.

use heliograph_domain::{GatewayId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Batch, frame, rollup};
use crate::error::StoreError;
use crate::retention::{RetentionPlan, RetentionPreview, RetentionShare, RetentionStep, steady_since};

/// Frames deleted in one transaction.
const FRAMES_AT_ONCE: usize = 1_000;
/// Pages given back to the file system in one transaction, 2 MiB.
const PAGES_AT_ONCE: i64 = 500;
/// Free pages that stay in the file for what comes next.
const SPARE_PAGES: i64 = 1_000;
/// What a row takes besides its packed values.
const BYTES_A_FRAME: u64 = 16;

/// When the worker's clock began to go on without a jump, and what it said last.
const CLOCK_SINCE: &str = "clock_since";
const CLOCK_LAST: &str = "clock_last";

/// The first window that is not sealed.
pub(crate) fn sealed(connection: &Connection) -> Result<Timestamp, StoreError> {
    let mut query = connection.prepare_cached("SELECT value FROM counter WHERE name = 'sealed'")?;
    let sealed: Option<i64> = query.query_row([], |row| row.get(0)).optional()?;
    Ok(sealed.map_or(Timestamp::MIN, Timestamp::clamped))
}

pub(crate) fn set_sealed(connection: &Connection, sealed: Timestamp) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO counter (name, value) VALUES ('sealed', ?1) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        [sealed.as_millis()],
    )?;
    Ok(())
}

/// Notes what a clock says; answers since when it is steady. Counters are no data: a
/// provider of which nothing else is noted is empty.
pub(crate) fn note_clock(connection: &Connection, now: Timestamp) -> Result<Timestamp, StoreError> {
    let noted = |name: &str| -> Result<Option<Timestamp>, StoreError> {
        let mut query = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
        Ok(query.query_row([name], |row| row.get(0)).optional()?.map(Timestamp::clamped))
    };
    let since = steady_since(noted(CLOCK_SINCE)?.zip(noted(CLOCK_LAST)?), now);
    let mut note = connection
        .prepare_cached("INSERT INTO counter (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value")?;
    note.execute(params![CLOCK_SINCE, since.as_millis()])?;
    note.execute(params![CLOCK_LAST, now.as_millis()])?;
    Ok(since)
}

pub(crate) fn exists_since(connection: &Connection, time: Timestamp) -> Result<bool, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT 1 FROM gateway g WHERE EXISTS (SELECT 1 FROM frame WHERE gateway = g.number AND time >= ?1)")?;
    Ok(query.exists([time.as_millis()])?)
}

pub(crate) fn preview(connection: &Connection, plan: RetentionPlan) -> Result<RetentionPreview, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let mut gateways = transaction.prepare("SELECT number, id FROM gateway ORDER BY id")?;
    let mut rows = gateways.query([])?;
    let mut shares = Vec::new();
    while let Some(row) = rows.next()? {
        let id = GatewayId::parse(&row.get::<_, String>(1)?)?;
        shares.extend(share(&transaction, row.get(0)?, &id, plan)?);
    }
    let sealing = RetentionPreview::sealing(plan, &shares, sealed(&transaction)?);
    Ok(RetentionPreview { plan, gateways: shares, sealing })
}

fn share(
    connection: &Connection,
    number: i64,
    gateway: &GatewayId,
    plan: RetentionPlan,
) -> Result<Option<RetentionShare>, StoreError> {
    let mut query = connection.prepare_cached("SELECT time, data FROM frame WHERE gateway = ?1 AND time < ?2 ORDER BY time")?;
    let mut rows = query.query(params![number, plan.delete_before.as_millis()])?;
    let mut share: Option<RetentionShare> = None;
    while let Some(row) = rows.next()? {
        let data = row.get_ref(1)?.as_blob().map_err(super::damaged)?;
        let oldest = Timestamp::clamped(row.get(0)?);
        let share = share.get_or_insert_with(|| RetentionShare { gateway: gateway.clone(), readings: 0, bytes: 0, oldest });
        share.readings += frame::count(data)?;
        share.bytes += data.len() as u64 + BYTES_A_FRAME;
    }
    Ok(share)
}

pub(crate) fn step(batch: &mut Batch<'_>, plan: RetentionPlan) -> Result<RetentionStep, StoreError> {
    let more = |deleted| Ok(RetentionStep { deleted, done: false });
    if sealed(batch.connection)? < plan.sealed {
        // What is marked is settled while its readings are there.
        let marked: Option<i64> = batch
            .connection
            .prepare_cached("SELECT gateway FROM dirty WHERE start < ?1 LIMIT 1")?
            .query_row([plan.sealed.as_millis()], |row| row.get(0))
            .optional()?;
        match marked {
            Some(number) => settle(batch, number, plan)?,
            None => set_sealed(batch.connection, plan.sealed)?,
        }
        return more(0);
    }
    if let Some(deleted) = delete_some(batch, plan)? {
        return more(deleted);
    }
    Ok(RetentionStep { deleted: 0, done: !give_back_some(batch.connection)? })
}

/// Settles what is marked of a gateway. Damage in one must not keep all others from
/// being sealed: its damaged frames that are old enough go now, and what cannot be
/// settled even so stays as it was.
fn settle(batch: &mut Batch<'_>, number: i64, plan: RetentionPlan) -> Result<(), StoreError> {
    let damage = match rollup::settle_number(batch, number) {
        Err(StoreError::Damaged(damage)) => damage,
        settled => return settled.map(drop),
    };
    if delete_damaged(batch, number, plan.sealed)? > 0 {
        return Ok(());
    }
    tracing::error!(damage, gateway = number, "windows before the seal cannot be settled, their figures stay as they were");
    let marks = "DELETE FROM dirty WHERE gateway = ?1 AND start < ?2";
    batch.connection.prepare_cached(marks)?.execute([number, plan.sealed.as_millis()])?;
    Ok(())
}

/// Deletes the damaged frames of a gateway before an instant, each by its key, and
/// names them; answers how many there were.
fn delete_damaged(batch: &mut Batch<'_>, number: i64, before: Timestamp) -> Result<usize, StoreError> {
    let mut query = batch.connection.prepare_cached("SELECT time, data, crc FROM frame WHERE gateway = ?1 AND time < ?2")?;
    let mut rows = query.query([number, before.as_millis()])?;
    let mut damaged = Vec::new();
    while let Some(row) = rows.next()? {
        if let Err(error) = frame::checked(number, row).and_then(|(_, data)| frame::unpack(data)) {
            tracing::error!(%error, "a damaged frame that is older than what is kept is deleted");
            damaged.push(row.get::<_, i64>(0)?);
        }
    }
    drop(rows);
    let mut delete = batch.connection.prepare_cached("DELETE FROM frame WHERE gateway = ?1 AND time = ?2")?;
    for time in &damaged {
        delete.execute([number, *time])?;
    }
    drop(delete);
    drop(query);
    batch.data_changed();
    Ok(damaged.len())
}

/// Deletes the oldest frames of some gateway; `None` where none are old enough.
fn delete_some(batch: &mut Batch<'_>, plan: RetentionPlan) -> Result<Option<u64>, StoreError> {
    let before = plan.delete_before.as_millis();
    let number: Option<i64> = batch
        .connection
        .prepare_cached(
            "SELECT number FROM gateway g WHERE EXISTS (SELECT 1 FROM frame WHERE gateway = g.number AND time < ?1) LIMIT 1",
        )?
        .query_row([before], |row| row.get(0))
        .optional()?;
    let Some(number) = number else { return Ok(None) };
    let mut query = batch
        .connection
        .prepare_cached("SELECT time, data FROM frame WHERE gateway = ?1 AND time < ?2 ORDER BY time LIMIT ?3")?;
    let mut rows = query.query(params![number, before, FRAMES_AT_ONCE])?;
    let (mut last, mut readings) = (i64::MIN, 0);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        // A damaged frame goes like any other.
        readings += frame::count(row.get_ref(1)?.as_blob().unwrap_or_default()).unwrap_or(0);
    }
    batch.connection.prepare_cached("DELETE FROM frame WHERE gateway = ?1 AND time <= ?2")?.execute([number, last])?;
    batch.data_changed();
    Ok(Some(readings))
}

/// Shortens the file by some of its free pages. One that the first release has
/// made cannot be shortened so; it keeps its pages and fills them again.
fn give_back_some(connection: &Connection) -> Result<bool, StoreError> {
    const INCREMENTAL: i64 = 2;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("auto_vacuum")? != INCREMENTAL {
        return Ok(false);
    }
    let (free, pages) = (pragma("freelist_count")?, pragma("page_count")?);
    let excess = free - SPARE_PAGES.max(pages / 10);
    if excess <= 0 {
        return Ok(false);
    }
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({})", excess.min(PAGES_AT_ONCE)))?;
    Ok(pragma("freelist_count")? < free)
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{MetricName, ProviderId, SensorId, Unit};

    use super::*;
    use crate::{DocumentWrite, SensorSeen, SeriesSeen, Stamps, Store, StoreUrl, Value};

    static STAMPS: Stamps = Stamps::new();

    fn document(first_minute: i64) -> DocumentWrite {
        let time = |step: i64| Timestamp::clamped((first_minute + step) * 60_000);
        let seen = |number| SeriesSeen {
            sensor: 0,
            metric: MetricName::parse(&format!("power-{number}")).unwrap(),
            unit: Unit::parse("W").unwrap(),
            kind: None,
            quantity: None,
        };
        DocumentWrite {
            gateway: GatewayId::parse("gw-1").unwrap(),
            received: time(0),
            stamp: STAMPS.next(time(0)),
            address: "127.0.0.1:1".to_owned(),
            sensors: vec![SensorSeen { id: SensorId::parse("s").unwrap(), role: None }],
            series: (0..60).map(seen).collect(),
            values: (0..1440)
                .flat_map(|step| (0..60).map(move |series| Value { series, time: time(step), value: step as f64 }))
                .collect(),
            quarantine: None,
        }
    }

    #[tokio::test]
    async fn the_file_is_shortened_by_what_was_deleted() {
        let folder = tempfile::TempDir::new().unwrap();
        let url = StoreUrl::parse(&format!("sqlite:{}?ack=process-crash", folder.path().display())).unwrap();
        let store = Store::open(url).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
        for day in 0..20 {
            store.document_write(document(day * 1440)).await.unwrap();
        }
        // Rollups outlive their readings: they are not what makes it shorter.
        while store.rollup_settle().await.unwrap() > 0 {}
        let pages = || -> i64 {
            let connection = Connection::open(folder.path().join("sunrise.db")).unwrap();
            connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
        };
        let before = pages();
        let plan = RetentionPlan::of(2, Timestamp::clamped(20 * 86_400_000));
        while !store.retention_step(plan).await.unwrap().done {}
        let after = pages();
        assert!(before - after > 1_000, "{before} pages became {after}");
    }

    #[tokio::test]
    async fn damage_below_the_seal_goes_and_holds_up_nobody() {
        let folder = tempfile::TempDir::new().unwrap();
        let url = StoreUrl::parse(&format!("sqlite:{}?ack=process-crash", folder.path().display())).unwrap();
        let store = Store::open(url).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
        for (gateway, day) in [("gw-1", 0), ("gw-1", 5), ("gw-2", 0), ("gw-2", 5)] {
            let document = DocumentWrite { gateway: GatewayId::parse(gateway).unwrap(), ..document(day * 1440) };
            store.document_write(document).await.unwrap();
        }
        // Nothing is settled yet, and what is to be settled first cannot be read.
        let connection = Connection::open(folder.path().join("sunrise.db")).unwrap();
        let damage = "UPDATE frame SET crc = (crc + 1) % 4294967296 WHERE gateway = 1 AND time = 600000";
        assert_eq!(connection.execute(damage, []).unwrap(), 1);
        assert_eq!(store.damage_list().await.unwrap().len(), 1);
        let plan = RetentionPlan::of(2, Timestamp::clamped(6 * 86_400_000));
        while !store.retention_step(plan).await.unwrap().done {}
        assert_eq!(store.damage_list().await.unwrap(), []);
        let left: i64 = connection.query_row("SELECT count(*) FROM frame", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 2 * 1440);
        // What could be read was settled before it went.
        let gateway = GatewayId::parse("gw-1").unwrap();
        let rollups = store.rollup_list(&gateway, heliograph_domain::TimeWindow::ALWAYS, heliograph_domain::TimeWindow::ALWAYS);
        assert!(rollups.await.unwrap().iter().all(|series| series.windows.len() == 2 * 96));
    }
}
