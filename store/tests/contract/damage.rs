//! What `store check` says of an embedded store in which single rows were changed.

use std::path::Path;

use heliograph_domain::{OutboxId, ProviderId, QuarantineId, SensorId, SensorRole, TimeWindow};
use heliograph_store::{Damage, OutboxKey, OutboxNew, OutboxState, ProviderStore, SensorUpdate, Store, StoreError, StoreUrl};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::archive::{clocked, create, fill, mail_key, restore};
use crate::backend::{gateway, minute, power};

fn open(folder: &Path) -> ProviderStore {
    Store::open(StoreUrl::sqlite(folder)).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap()
}

async fn settle(store: &ProviderStore) {
    while store.rollup_settle().await.unwrap() > 0 {}
}

/// A file with something in each table, nothing of it damaged.
async fn sound() -> TempDir {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    fill(&store).await;
    assert_eq!(store.damage_list().await.unwrap(), [], "while windows wait to be settled");
    settle(&store).await;
    assert_eq!(store.damage_list().await.unwrap(), []);
    store.close().await;
    folder
}

/// Changes a file as a flipped bit does: no trigger runs.
fn change(folder: &Path, sql: &str) {
    let connection = Connection::open(folder.join("sunrise.db")).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    let mut query = connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
    let triggers: Vec<(String, String)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
    for (name, _) in &triggers {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    let before = connection.total_changes();
    connection.execute_batch(sql).unwrap();
    assert!(connection.total_changes() > before, "{sql} changes nothing");
    for (_, sql) in &triggers {
        connection.execute_batch(sql).unwrap();
    }
}

async fn damage_after(sound: &Path, sql: &str) -> Vec<Damage> {
    let folder = TempDir::new().unwrap();
    std::fs::copy(sound.join("sunrise.db"), folder.path().join("sunrise.db")).unwrap();
    change(folder.path(), sql);
    let store = open(folder.path());
    let damage = store.damage_list().await.unwrap();
    store.close().await;
    damage
}

#[tokio::test]
async fn a_restored_archive_holds_no_damage() {
    let (folder, twin) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = open(folder.path());
    fill(&store).await;
    let (_, archive) = create(&store).await;
    let twin = open(twin.path());
    restore(&twin, archive).await.unwrap();
    assert_eq!(twin.damage_list().await.unwrap(), [], "before it is settled");
    settle(&twin).await;
    assert_eq!(twin.damage_list().await.unwrap(), []);
}

const FIRST_ROLLUP: &str =
    "(gateway, slot, start) IN (SELECT gateway, slot, start FROM rollup ORDER BY start, gateway, slot LIMIT 1)";
const LAST_ROLLUP: &str =
    "(gateway, slot, start) IN (SELECT gateway, slot, start FROM rollup ORDER BY start DESC, gateway, slot LIMIT 1)";

#[tokio::test]
async fn a_changed_row_is_named_by_table_and_key() {
    let sound = sound().await;
    let table = [
        ("UPDATE frame SET crc = (crc + 1) % 4294967296 WHERE gateway = 1 AND time % 7200000 = 0", "frame of gateway gw-1 at 20"),
        ("UPDATE latest SET data = x'00' WHERE gateway = 1", "latest of gateway gw-1"),
        (
            "UPDATE quarter SET data = zeroblob(length(data)) WHERE key IN (SELECT min(key) FROM quarter)",
            "quarter of gateway gw-1 at 20",
        ),
        ("UPDATE quarter SET data = 'text' WHERE key IN (SELECT min(key) FROM quarter)", "quarter of gateway gw-1 at 20"),
        ("DELETE FROM quarter WHERE key IN (SELECT min(key) FROM quarter)", "rollup of gateway gw-1 at 20"),
        ("UPDATE quarter SET key = key + (1000 << 32) WHERE key IN (SELECT min(key) FROM quarter)", "quarter 4"),
        (&format!("UPDATE rollup SET max = max + 1 WHERE {FIRST_ROLLUP}"), "rollup of gateway gw-1 at 20"),
        (&format!("UPDATE rollup SET flags = flags + 1 WHERE {LAST_ROLLUP}"), "rollup of gateway gw-1 at 20"),
        (&format!("UPDATE rollup SET count = 'many' WHERE {LAST_ROLLUP}"), "rollup of gateway gw-1 at 20"),
        (&format!("UPDATE rollup SET slot = 99 WHERE {FIRST_ROLLUP}"), "rollup 1 99 "),
        (
            "UPDATE span SET count = count + 1 WHERE gateway = 1 AND slot = 0 AND step = 'day'",
            "span of gateway gw-1, series 0, day of 20",
        ),
        ("UPDATE span SET positive = positive + 1 WHERE step = 'month'", "span of gateway gw-1, series 0, month of 20"),
        ("UPDATE span SET zone = 'Mars/Olympus' WHERE gateway = 1 AND slot = 0", "span of gateway gw-1, series 0, day"),
        ("UPDATE span SET step = 'dax' WHERE gateway = 1 AND slot = 0 AND step = 'day'", "span 1 0 dax"),
        ("UPDATE audit SET actor = 'user:nobody' WHERE seq = 3", "audit"),
        ("UPDATE setting SET value = 'gone' WHERE name = 'audit_head'", "audit"),
        ("UPDATE setting SET value = substr(value, 2) WHERE name = 'provider'", "setting provider"),
        ("UPDATE setting SET name = 'qrovider' WHERE name = 'provider'", "setting qrovider"),
        ("UPDATE location SET zone = 'Mars/Olympus'", "location 00000000-0000-0000-0000-000000000001"),
        ("UPDATE location SET latitude = 1e9", "location 00000000-0000-0000-0000-000000000001"),
        ("UPDATE location SET longitude = NULL", "location 00000000-0000-0000-0000-000000000001"),
        ("UPDATE gateway SET state = 'retirfd' WHERE id = 'gw-1'", "gateway gw-1"),
        ("UPDATE gateway SET first_seen = 1 << 62 WHERE id = 'gw-1'", "gateway gw-1"),
        ("UPDATE placement SET until = start - 1 WHERE gateway = 1", "placement 1 "),
        ("UPDATE placement SET location = upper(location) || 'x' WHERE gateway = 1", "placement gw-1 "),
        ("UPDATE credential SET digest = x'00' WHERE gateway = 1", "credential 00000000-0000-0000-0000-000000000004"),
        ("UPDATE customer SET email = 'ana'", "customer 00000000-0000-0000-0000-000000000002"),
        ("UPDATE ownership SET customer = replace(customer, '2', '3')", "ownership 00000000-0000-0000-0000-000000000003"),
        ("UPDATE user SET role = 'custpmer'", "user 00000000-0000-0000-0000-000000000004"),
        ("UPDATE user SET id = replace(id, '-', '')", "user 00000000000000000000000000000004"),
        ("UPDATE sensor SET role = 'invertor' WHERE gateway = 1", "sensor gw-1 inverter-1"),
        ("UPDATE sensor SET id = 'mfter' WHERE gateway = 1 AND id = 'meter'", "series 1 "),
        ("UPDATE series SET kind = 'countes' WHERE gateway = 1", "series gw-1 0"),
        ("UPDATE outbox SET state = 'sen'", "outbox 00000000-0000-0000-0000-000000000005"),
        ("UPDATE outbox SET recipient = 'nobody'", "outbox 00000000-0000-0000-0000-000000000005"),
        ("UPDATE quarantine SET code = 'malforned'", "quarantine 00000000-0000-0000-0000-000000000006"),
        ("UPDATE counter SET value = value + 1 WHERE name = 'quarantine_rows_trusted'", "counter quarantine_rows_trusted"),
        ("UPDATE record SET id = replace(id, '7', '6') WHERE kind = 'point'", "record point "),
        ("UPDATE record SET kind = 'qoint' WHERE kind = 'point'", "record qoint "),
        ("UPDATE record SET id = replace(id, '4', '5') WHERE kind = 'key-end'", "record key-end "),
        ("INSERT INTO dirty VALUES (1, 5)", "dirty 1 5"),
        // What can still be read as what it is differs from its copy.
        ("UPDATE setting SET value = replace(value, 'Sunrise', 'Sunrisd') WHERE name = 'provider'", "setting provider"),
        ("UPDATE location SET name = 'Rong'", "location 00000000-0000-0000-0000-000000000001"),
        ("UPDATE location SET latitude = latitude + 1", "location 00000000-0000-0000-0000-000000000001"),
        ("UPDATE gateway SET id = 'gw-3' WHERE id = 'gw-1'", "gateway 1"),
        ("UPDATE gateway SET first_seen = first_seen + 1 WHERE id = 'gw-1'", "gateway 1"),
        ("UPDATE placement SET start = start + 1 WHERE gateway = 1", "placement 1 "),
        ("UPDATE credential SET digest = zeroblob(32) WHERE gateway = 1", "credential 00000000-0000-0000-0000-000000000004"),
        ("UPDATE sensor SET rated_w = 0.8 WHERE gateway = 1", "sensor 1 inverter-1"),
        ("UPDATE series SET kind = 'counter' WHERE gateway = 1 AND kind = 'gauge'", "series 1 0"),
        ("UPDATE customer SET name = 'Ano'", "customer 00000000-0000-0000-0000-000000000002"),
        ("UPDATE ownership SET start = start + 1", "ownership 00000000-0000-0000-0000-000000000003"),
        ("UPDATE user SET password_hash = '$argon3id$'", "user 00000000-0000-0000-0000-000000000004"),
        ("UPDATE outbox SET subject = 'Your dax'", "outbox 00000000-0000-0000-0000-000000000005"),
        ("UPDATE outbox SET message = x'00ff0b'", "outbox 00000000-0000-0000-0000-000000000005"),
        ("UPDATE quarantine SET raw = zeroblob(100)", "quarantine 00000000-0000-0000-0000-000000000006"),
        ("UPDATE quarantine SET reason = 'np'", "quarantine 00000000-0000-0000-0000-000000000006"),
        ("UPDATE counter SET value = value + 1 WHERE name = 'sealed'", "counter sealed"),
        ("UPDATE record SET body = replace(body, 'Roof', 'Rook') WHERE kind = 'point'", "record point "),
        ("UPDATE latest SET documents = documents + 1 WHERE gateway = 1", "latest of gateway gw-1"),
        ("UPDATE latest SET address = '192.0.2.2:5' WHERE gateway = 1", "latest of gateway gw-1"),
        ("DELETE FROM customer", "customer 00000000-0000-0000-0000-000000000002"),
        ("UPDATE copy SET c0 = 'Anb' WHERE tab = 'customer'", "customer 00000000-0000-0000-0000-000000000002"),
        ("DELETE FROM copy WHERE tab = 'user'", "user 00000000-0000-0000-0000-000000000004"),
    ];
    for (sql, place) in table {
        let damage = damage_after(sound.path(), sql).await;
        assert!(damage.iter().any(|damage| damage.place.starts_with(place)), "{sql}: {place} is not in {damage:?}");
    }
    for kind in [
        "api-token",
        "array",
        "binding",
        "certificate",
        "correction",
        "credential-use",
        "key-end",
        "mapping",
        "point",
        "presented",
    ] {
        let damage = damage_after(sound.path(), &format!("UPDATE record SET body = 'x' || body WHERE kind = '{kind}'")).await;
        assert!(damage.iter().any(|damage| damage.place.starts_with(&format!("record {kind} "))), "{kind}: {damage:?}");
    }
}

#[tokio::test]
async fn rollups_of_readings_that_are_kept_are_made_anew_when_a_sensor_is_saved() {
    for damage in [
        format!("UPDATE rollup SET max = max + 1 WHERE {LAST_ROLLUP}"),
        "UPDATE quarter SET data = zeroblob(length(data)) WHERE key IN (SELECT max(key) FROM quarter WHERE key < 2 << 32)"
            .to_owned(),
        "UPDATE span SET count = count + 1 WHERE gateway = 1 AND start IN (SELECT max(start) FROM span WHERE gateway = 1)"
            .to_owned(),
    ] {
        let folder = sound().await;
        change(folder.path(), &damage);
        let store = clocked(&open(folder.path()));
        assert_ne!(store.damage_list().await.unwrap(), [], "{damage}");
        let sensor = SensorUpdate { label: None, role: SensorRole::Inverter, rated_w: Some(0.7) };
        store.sensor_update(&gateway("gw-1"), &SensorId::parse("inverter-1").unwrap(), sensor).await.unwrap();
        settle(&store).await;
        assert_eq!(store.damage_list().await.unwrap(), [], "{damage}");
    }
}

#[tokio::test]
async fn what_differs_from_its_copy_is_seen_at_a_glance_stays_named_when_it_is_changed_and_can_be_accepted() {
    let folder = sound().await;
    change(folder.path(), "UPDATE customer SET name = 'Ano'");
    let store = clocked(&open(folder.path()));
    let place = "customer 00000000-0000-0000-0000-000000000002";
    let found = async || -> Vec<(String, String)> {
        let looked = store.damage_look().await.unwrap().unwrap();
        assert_eq!(looked, store.damage_list().await.unwrap());
        looked.into_iter().map(|damage| (damage.place, damage.problem)).collect()
    };
    let one = |problem: &str| vec![(place.to_owned(), problem.to_owned())];
    assert_eq!(found().await, one("it differs from its copy in name"));
    // Another column of it changes: that does not make it right.
    let mut customer = store.customer_list().await.unwrap().remove(0);
    customer.email = None;
    store.customer_save(customer.clone()).await.unwrap();
    assert_eq!(found().await, one("it was changed while it differed from its copy"));
    customer.name = "Ana".to_owned();
    store.customer_save(customer).await.unwrap();
    let accepted = store.damage_accept().await.unwrap();
    assert_eq!(accepted.iter().map(|damage| damage.place.as_str()).collect::<Vec<_>>(), [place]);
    assert_eq!(found().await, []);
    let last = store.audit_list(0, 100).await.unwrap().pop().unwrap();
    assert!(last.action == "damage.accept" && last.detail.contains(place), "{last:?}");
    assert_eq!(store.damage_accept().await.unwrap(), []);
}

#[tokio::test]
async fn a_damaged_mail_is_given_up_and_holds_up_no_other() {
    for damage in ["message = x'00ff0b'", "subject = CAST(x'ff' AS TEXT)", "attempts = -5", "id = CAST(x'ff' AS TEXT)"] {
        let folder = sound().await;
        change(folder.path(), &format!("UPDATE outbox SET {damage}"));
        let store = open(folder.path());
        let other = OutboxNew {
            id: OutboxId::new(Uuid::from_u128(15)),
            key: OutboxKey { period: "another".to_owned(), ..mail_key() },
            subject: "Your day".to_owned(),
            message_id: "<2@x>".to_owned(),
            message: vec![1],
            created: minute(3),
            due: minute(4),
        };
        assert!(store.outbox_put(other).await.unwrap());
        let claimed = store.outbox_claim(minute(1_000), minute(1_001)).await.unwrap().unwrap();
        assert_eq!(claimed.message, [1], "{damage}");
        store.close().await;
    }
    let folder = sound().await;
    change(folder.path(), "UPDATE outbox SET message = x'00ff0b'");
    let store = open(folder.path());
    let id = OutboxId::new(Uuid::from_u128(5));
    assert!(matches!(store.outbox_fetch(id).await, Err(StoreError::Damaged(_))));
    assert!(store.outbox_claim(minute(1_000), minute(1_001)).await.unwrap().is_none());
    let row = store.outbox_list(10).await.unwrap().remove(0);
    assert_eq!((row.id, row.state, row.outcome.as_str()), (id, OutboxState::GivenUp, "it is damaged in the store"));
}

#[tokio::test]
async fn a_damaged_document_in_quarantine_is_not_shown() {
    let folder = sound().await;
    let id = QuarantineId::new(Uuid::from_u128(6));
    assert_eq!(open(folder.path()).quarantine_fetch(id).await.unwrap().entry.raw, [0xff; 100]);
    change(folder.path(), "UPDATE quarantine SET raw = zeroblob(100)");
    assert!(matches!(open(folder.path()).quarantine_fetch(id).await, Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn what_is_latest_of_a_gateway_is_made_anew_where_it_is_damaged() {
    let folder = sound().await;
    let rows = |folder: &Path| -> Vec<Vec<u8>> {
        let connection = Connection::open(folder.join("sunrise.db")).unwrap();
        let mut query = connection.prepare("SELECT data FROM latest WHERE gateway IN (1, 2) ORDER BY gateway").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let before = rows(folder.path());
    let store = open(folder.path());
    let all = store.rollup_list(&gateway("gw-1"), TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
    let latest: Vec<_> = all.into_iter().map(|series| series.series.latest).collect();
    store.close().await;
    // The first of what is latest: four bytes of its series, then its time.
    change(folder.path(), "UPDATE latest SET data = CAST(zeroblob(20) || substr(data, 21) AS BLOB) WHERE gateway = 1");
    assert_ne!(rows(folder.path()), before);
    let store = open(folder.path());
    let shown = store.rollup_list(&gateway("gw-1"), TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
    let shown: Vec<_> = shown.into_iter().map(|series| series.series.latest).collect();
    assert_eq!(shown, latest, "what is read of it is made anew");
    store.document_write(power("gw-1", &[(5000, 4.5)])).await.unwrap();
    store.close().await;
    assert_eq!(rows(folder.path()), before);
    assert_eq!(open(folder.path()).damage_list().await.unwrap(), []);
    // Of one that is silent it is made anew when somebody says so, whatever is damaged.
    for damage in [
        "address = CAST(x'ff' AS TEXT)",
        "seen = 9000000000000000000, stamp = 9000000000000000000",
        "seen = 'x', documents = 0.5, data = 'text'",
    ] {
        change(folder.path(), &format!("UPDATE latest SET {damage} WHERE gateway = 1"));
        let store = clocked(&open(folder.path()));
        let accepted = store.damage_accept().await.unwrap();
        assert_eq!(
            accepted.iter().map(|damage| damage.place.as_str()).collect::<Vec<_>>(),
            ["latest of gateway gw-1"],
            "{damage}"
        );
        assert_eq!(store.damage_list().await.unwrap(), [], "{damage}");
        let seen = store.gateway_fetch(&gateway("gw-1")).await.unwrap().last_seen.unwrap();
        assert!(seen <= minute(5 * 1440), "{damage}: {seen}");
        store.document_write(power("gw-1", &[(5000, 4.5)])).await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn a_damaged_rollup_goes_into_no_archive() {
    let folder = sound().await;
    let archived = async || {
        let store = open(folder.path());
        let outcome = clocked(&store).archive_create(std::io::sink(), Box::new(|_| {})).await;
        store.close().await;
        outcome.map(drop)
    };
    assert!(archived().await.is_ok());
    change(folder.path(), &format!("UPDATE rollup SET increase = increase + 1 WHERE {FIRST_ROLLUP}"));
    let refused = archived().await.unwrap_err();
    assert!(matches!(&refused, StoreError::Damaged(problem) if problem.starts_with("rollup of gateway gw-1 at ")), "{refused}");
}

#[tokio::test]
async fn of_a_table_that_is_damaged_all_over_the_first_places_are_named() {
    let sound = sound().await;
    let damage = damage_after(sound.path(), "UPDATE frame SET crc = (crc + 1) % 4294967296").await;
    assert_eq!(damage.iter().filter(|damage| damage.place.starts_with("frame of gateway ")).count(), 100);
    assert!(damage.iter().any(|damage| damage.place == "frame" && damage.problem.ends_with(" more places")), "{damage:?}");
}

/// All rows of what is held against something, and nothing of what is not: sessions,
/// leases, marks, counters whose values mean nothing, and which release has written a
/// rollup.
fn everything(path: &Path) -> rusqlite::Result<Vec<String>> {
    let connection = Connection::open(path)?;
    let mut tables = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
         AND name NOT IN ('session', 'login_link', 'lease', 'dirty', 'copy') ORDER BY name",
    )?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    for table in tables {
        let only = if table == "counter" { "WHERE name NOT IN ('config', 'data')" } else { "" };
        let mut query = connection.prepare(&format!("SELECT * FROM {table} {only}"))?;
        let columns: Vec<usize> =
            (0..query.column_count()).filter(|column| query.column_name(*column).is_ok_and(|name| name != "packed")).collect();
        let mut found = query.query([])?;
        while let Some(row) = found.next()? {
            let cells =
                columns.iter().map(|column| Ok(format!("{:?}", row.get_ref(*column)?))).collect::<rusqlite::Result<Vec<_>>>()?;
            rows.push(format!("{table} {}", cells.join(" ")));
        }
    }
    rows.sort_unstable();
    Ok(rows)
}

/// Where and which bit: of a page whichever, of what is on it a byte that is not zero.
fn any_bit(rng: &mut StdRng, bytes: &[u8]) -> (usize, u8) {
    const PAGE: usize = 4096;
    loop {
        let page = rng.random_range(0..bytes.len() / PAGE) * PAGE;
        let used: Vec<usize> = (page..page + PAGE).filter(|place| bytes[*place] != 0).collect();
        if let Some(place) = used.get(rng.random_range(0..used.len().max(1))) {
            return (*place, 1 << rng.random_range(0..8));
        }
    }
}

#[tokio::test]
async fn whichever_bit_flips_it_is_named_or_changes_nothing() {
    const SEED: u64 = 20_261_122;
    let rounds = std::env::var("HELIOGRAPH_FLIPS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(250);
    let sound = sound().await;
    let (bytes, stored) =
        (std::fs::read(sound.path().join("sunrise.db")).unwrap(), everything(&sound.path().join("sunrise.db")).unwrap());
    let (mut rng, mut named, mut refused) = (StdRng::seed_from_u64(SEED), 0, 0);
    for round in 0..rounds {
        let (place, bit) = any_bit(&mut rng, &bytes);
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("sunrise.db");
        let mut flipped = bytes.clone();
        flipped[place] ^= bit;
        std::fs::write(&path, &flipped).unwrap();
        let provider = ProviderId::parse("sunrise").unwrap();
        let Ok(store) = Store::open(StoreUrl::sqlite(folder.path())).unwrap().provider(&provider) else {
            refused += 1;
            continue;
        };
        let damage = store.damage_list().await.unwrap();
        store.close().await;
        if damage.is_empty() {
            let read = everything(&path).unwrap();
            assert!(
                read == stored,
                "round {round}: bit {bit} of byte {place} is not named, and {:?} is read",
                differing(&read, &stored)
            );
        } else {
            named += 1;
        }
    }
    println!(
        "of {rounds} flipped bits {named} were named, {refused} kept the file shut, the others changed nothing (seed {SEED})"
    );
    assert!(named > rounds / 2);
}

fn differing<'a>(read: &'a [String], stored: &[String]) -> Option<&'a String> {
    read.iter().find(|row| !stored.contains(row))
}
