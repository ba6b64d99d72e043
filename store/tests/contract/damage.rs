//! What `store check` says of an embedded store in which single rows were changed.

use std::path::Path;

use heliograph_domain::{ProviderId, SensorId, SensorRole};
use heliograph_store::{Damage, ProviderStore, SensorUpdate, Store, StoreError, StoreUrl};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::archive::{clocked, create, fill, restore};
use crate::backend::gateway;

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

fn change(folder: &Path, sql: &str) {
    let connection = Connection::open(folder.join("sunrise.db")).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    let before = connection.total_changes();
    connection.execute_batch(sql).unwrap();
    assert!(connection.total_changes() > before, "{sql} changes nothing");
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
    ];
    for (sql, place) in table {
        let damage = damage_after(sound.path(), sql).await;
        assert!(damage.iter().any(|damage| damage.place.starts_with(place)), "{sql}: {place} is not in {damage:?}");
    }
    for kind in ["array", "binding", "certificate", "correction", "credential-use", "key-end", "mapping", "point", "presented"] {
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
