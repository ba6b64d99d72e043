//! The release before and this one on the same file: what either wrote the other
//! reads. The statements below are the ones that release has, word by word.

use heliograph_domain::{
    CustomerId, EmailAddress, GatewayId, GatewayState, KeyDigest, OutboxId, ProviderId, SensorId, SpanStep, TimeWindow, Timestamp,
};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use uuid::Uuid;

use super::schema;
use crate::archive::tables::from_hex;
use crate::sample::power;
use crate::{DocumentWrite, OutboxKey, OutboxNew, ProviderStore, SensorSeen, Stamps, Store, StoreUrl};

static STAMPS: Stamps = Stamps::new();
const MINUTE: i64 = 60_000;

fn at(minute: i64) -> Timestamp {
    Timestamp::clamped(1_781_481_600_000 + minute * MINUTE)
}

fn gateway(name: &str) -> GatewayId {
    GatewayId::parse(name).unwrap()
}

/// How the release before writes a frame.
const FRAME: &str = "INSERT INTO frame (gateway, time, data, crc) VALUES (?1, ?2, ?3, ?4)
     ON CONFLICT DO UPDATE SET data = excluded.data, crc = excluded.crc";

/// What the release before packs, byte by byte, so that a change of our own packing is
/// not tested against itself: 60 W in the series of slot 0, 2.5 W and 1 W.
const SIXTY: &str = "000000000000004e40";
const TWO_AND_A_HALF: &str = "000000000000000440";
const ONE: &str = "00000000000000f03f";
/// The checksums of 60 W in each of 30 minutes, of the gateways number 1 and 2.
const CHECKSUMS: [[u32; 30]; 2] = [
    [
        0x9ced6f4a, 0x9785f60f, 0x0fe7838f, 0x524eedb4, 0x48274298, 0x7dde52b9, 0xa9c8f3b8, 0x466188f1, 0xd749bf28, 0xb35a3dc1,
        0x7d02de6a, 0x4a7b5432, 0x0e5e9a29, 0x27ccd79e, 0x43011564, 0xfe6165c1, 0xf0726e5f, 0xfcc92a8c, 0x62e806db, 0x1e9bfc43,
        0x895deb9a, 0x5a801c50, 0x1166be2a, 0x73607d96, 0x0c1983cd, 0x6b2a4175, 0xf34834f5, 0x912b68d7, 0xb954b5e2, 0x6e7adfef,
    ],
    [
        0xa900d919, 0xa268405c, 0x3a0a35dc, 0x67a35be7, 0x7dcaf4cb, 0x4833e4ea, 0x9c2545eb, 0x738c3ea2, 0xe2a4097b, 0x86b78b92,
        0x48ef6839, 0x7f96e261, 0x3bb32c7a, 0x122161cd, 0x76eca337, 0xcb8cd392, 0xc59fd80c, 0xc9249cdf, 0x5705b088, 0x2b764a10,
        0xbcb05dc9, 0x6f6daa03, 0x248b0879, 0x468dcbc5, 0x39f4359e, 0x5ec7f726, 0xc6a582a6, 0xa4c6de84, 0x8cb903b1, 0x5b9769bc,
    ],
];
/// Those of the other two values of gateway number 2 in minute 40.
const TWO_AND_A_HALF_CHECKSUM: u32 = 0x311f9304;
const ONE_CHECKSUM: u32 = 0x8175db10;
/// What it keeps of a series whose first reading is of minute 0 and whose last and
/// latest one, of 60 W, is of minute 29.
const EXTENT: &str = "00000000e080aec89e0100000000000000004e4000f493c89e010000e080aec89e010000";

/// How it packs that window of one reading of 5 W in minute 60, of the gateways number
/// 1 and 2.
const PACKED: [(i64, &str); 2] = [
    (6_444_430_372, "0001001100000000000014400000000000001440502fde30"),
    (10_739_397_668, "00010011000000000000144000000000000014407886c068"),
];

fn bytes(hex: &str) -> Vec<u8> {
    from_hex(hex).unwrap()
}

/// The file as the release before has made it.
fn make_file(folder: &TempDir) -> Connection {
    let connection = Connection::open(folder.path().join("sunrise.db")).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    for step in &schema::STEPS[..3] {
        connection.execute_batch(&step()).unwrap();
    }
    connection.execute("INSERT OR REPLACE INTO counter (name, value) VALUES ('schema', ?1)", [3]).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    connection
}

/// A gateway with a place, a key, an owner, readings of a minute each, a mail and
/// something refused.
fn write_as_the_release_before(connection: &Connection, name: &str, number: u128) {
    // What it does when it opens a file: it refuses what is ahead of it.
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert!(version <= 3, "the release before refuses a file of version {version}");
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    let id = |kind: u128| Uuid::from_u128(number * 100 + kind).to_string();
    let run = |sql: &str, parameters: &[&dyn rusqlite::ToSql]| connection.execute(sql, parameters).unwrap();
    run(
        "INSERT INTO location (id, name, zone, latitude, longitude, installed_kwp) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET name = excluded.name, zone = excluded.zone, latitude = excluded.latitude,
         longitude = excluded.longitude, installed_kwp = excluded.installed_kwp",
        &[&id(1), &"Roof", &"Europe/Madrid", &40.4, &-3.7, &9.5],
    );
    run("INSERT INTO gateway (id, state, first_seen) VALUES (?1, ?2, ?3)", &[&name, &"waiting", &at(0).as_millis()]);
    let row = connection.last_insert_rowid();
    run("UPDATE gateway SET state = ?2, label = ?3 WHERE number = ?1", &[&row, &"commissioned", &"South"]);
    run("INSERT INTO placement (gateway, location, start) VALUES (?1, ?2, ?3)", &[&row, &id(1), &at(0).as_millis()]);
    run(
        "INSERT INTO credential (id, gateway, digest, created) VALUES (?1, ?2, ?3, ?4)",
        &[&id(2), &row, &[7u8; 32], &at(0).as_millis()],
    );
    run("INSERT INTO sensor (gateway, id, role, role_chosen) VALUES (?1, ?2, ?3, 0)", &[&row, &"inverter-1", &"inverter"]);
    run(
        "INSERT INTO series (gateway, slot, sensor, metric, unit, kind, quantity, chosen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)",
        &[&row, &0, &"inverter-1", &"power", &"W", &"gauge", &"ac-power"],
    );
    let checksums = CHECKSUMS[usize::try_from(row).unwrap() - 1];
    for (minute, checksum) in (0..).zip(checksums) {
        run(FRAME, &[&row, &at(minute).as_millis(), &bytes(SIXTY), &checksum]);
        run(
            "INSERT INTO dirty (gateway, start) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            &[&row, &heliograph_domain::window_of(at(minute)).as_millis()],
        );
    }
    for _ in 0..2 {
        run(
            "INSERT INTO latest (gateway, seen, address, documents, data, stamp) VALUES (?1, ?2, ?3, 1, ?4, ?5)
             ON CONFLICT DO UPDATE SET seen = max(seen, excluded.seen),
             address = CASE WHEN excluded.seen >= seen THEN excluded.address ELSE address END, documents = documents + 1,
             stamp = max(stamp, excluded.stamp), data = excluded.data",
            &[&row, &at(30).as_millis(), &"192.0.2.1:5", &bytes(EXTENT), &(at(30).as_millis() * 1000)],
        );
    }
    run(
        "INSERT OR REPLACE INTO rollup (gateway, slot, start, count, min, max, first, last, covered_ms, positive, negative, increase,
         flags, packed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 1)",
        &[&row, &0, &at(60).as_millis(), &1, &5.0, &5.0, &5.0, &5.0, &900_000, &5.0, &0.0, &0.0, &0],
    );
    let (key, packed) = PACKED[usize::try_from(row).unwrap() - 1];
    run("INSERT OR REPLACE INTO quarter (key, data) VALUES (?1, ?2)", &[&key, &bytes(packed)]);
    run("INSERT OR REPLACE INTO record (kind, id, body) VALUES (?1, ?2, ?3)", &[&"respan", &row.to_string(), &"{}"]);
    run(
        "INSERT INTO customer (id, name, email) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET name = excluded.name, email = excluded.email",
        &[&id(3), &"Ana", &"ana@example.org"],
    );
    run(
        "INSERT INTO ownership (id, customer, gateway, start, until) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[&id(4), &id(3), &row, &at(0).as_millis(), &None::<i64>],
    );
    run(
        "INSERT INTO user (id, email, name, role, customer, password_hash, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (email) DO NOTHING",
        &[&id(5), &format!("u{number}@example.org"), &"Ana", &"customer", &id(3), &None::<String>, &at(0).as_millis()],
    );
    run(
        "INSERT INTO outbox (id, report, period, recipient, subject, message_id, message, created, state, attempts, due, outcome)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'waiting', 0, ?9, '') ON CONFLICT (report, period, recipient) DO NOTHING",
        &[&id(6), &"daily", &format!("2026-06-{number:02}"), &"ana@example.org", &"S", &"<m@x>", &[1u8, 2], &0, &0],
    );
    run(
        "INSERT INTO quarantine (id, received, gateway, address, code, reason, bytes, raw, trusted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &[&id(7), &at(0).as_millis(), &name, &"192.0.2.1:5", &"malformed", &"no", &1, &[9u8], &true],
    );
    for counter in ["quarantine_rows_trusted", "quarantine_bytes_trusted"] {
        run("UPDATE counter SET value = value + ?2 WHERE name = ?1", &[&counter, &1]);
    }
    run("UPDATE counter SET value = value + 1 WHERE name = ?1", &[&"config"]);
    run(
        "INSERT INTO setting VALUES ('provider', ?1) ON CONFLICT DO UPDATE SET value = excluded.value",
        &[&format!(r#"{{"name":"{name}"}}"#)],
    );
    run(
        "INSERT INTO lease (name, holder, until) VALUES (?1, ?2, ?4)
         ON CONFLICT DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE holder = ?2 OR until <= ?3",
        &[&"rollup", &"a", &at(0).as_millis(), &at(1).as_millis()],
    );
    run(
        "INSERT INTO session (digest, user, data, expires) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET user = excluded.user, data = excluded.data, expires = excluded.expires",
        &[&[number as u8; 32], &id(5), &[0u8], &at(1000).as_millis()],
    );
}

fn open(folder: &TempDir) -> ProviderStore {
    Store::open(StoreUrl::sqlite(folder.path())).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap()
}

/// That this release sees everything that the other one wrote of a gateway.
async fn assert_all_there(store: &ProviderStore, name: &str, number: u128) {
    let found = store.gateway_fetch(&gateway(name)).await.unwrap();
    assert_eq!((found.state, found.label.as_deref(), found.documents), (GatewayState::Commissioned, Some("South"), 2));
    assert!(found.location.is_some());
    let page = store.reading_page(&gateway(name), TimeWindow::ALWAYS, usize::MAX).await.unwrap();
    assert_eq!(page.rows.len(), 30);
    let rollups = store.rollup_list(&gateway(name), TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
    let windows: Vec<(Timestamp, u32)> = rollups[0].windows.iter().map(|window| (window.start, window.rollup.count)).collect();
    assert_eq!(windows, [(at(0), 15), (at(15), 15), (at(60), 1)]);
    assert_eq!(rollups[0].series.latest.map(|sample| sample.value), Some(60.0));
    let customer = CustomerId::new(Uuid::from_u128(number * 100 + 3));
    assert_eq!(store.commission_list_by_customer(customer).await.unwrap().len(), 1);
    let key = OutboxKey {
        report: "daily".into(),
        period: format!("2026-06-{number:02}"),
        recipient: EmailAddress::parse("ana@example.org").unwrap(),
    };
    assert!(store.outbox_contains(&key).await.unwrap());
    assert_eq!(store.outbox_fetch(OutboxId::new(Uuid::from_u128(number * 100 + 6))).await.unwrap().message, [1, 2]);
    assert!(store.session_load(KeyDigest([number as u8; 32]), at(1)).await.unwrap().is_some());
    assert!(store.user_find(&EmailAddress::parse(&format!("u{number}@example.org")).unwrap()).await.unwrap().is_some());
}

fn document(name: &str, minute: i64, value: f64) -> DocumentWrite {
    let inverter = SensorSeen { id: SensorId::parse("inverter-1").unwrap(), role: None };
    DocumentWrite {
        gateway: gateway(name),
        stamp: STAMPS.next(at(minute)),
        sensors: vec![inverter],
        ..power(at(minute), [(at(minute), value)])
    }
}

#[tokio::test]
async fn a_file_of_the_release_before_is_taken_up() {
    let folder = TempDir::new().unwrap();
    write_as_the_release_before(&make_file(&folder), "gw-1", 1);
    let store = open(&folder);
    assert_all_there(&store, "gw-1", 1).await;
    store.document_write(document("gw-1", 5, 999.0)).await.unwrap();
    let page = store.reading_page(&gateway("gw-1"), TimeWindow::between(at(5), at(6)), 9).await.unwrap();
    assert_eq!(page.rows[0].value, 999.0, "a later push wins over what was there");
    store.gateway_retire(&gateway("gw-1"), at(100)).await.unwrap();
    assert_eq!(store.audit_verify(None).await.unwrap().head.seq, 1);
    assert_eq!(store.damage_list().await.unwrap(), []);
}

#[tokio::test]
async fn the_release_before_goes_on_with_a_file_that_this_one_has_migrated() {
    let folder = TempDir::new().unwrap();
    write_as_the_release_before(&make_file(&folder), "gw-1", 1);
    let store = open(&folder);
    store.document_write(document("gw-1", 29, 60.0)).await.unwrap();
    let connection = Connection::open(folder.path().join("sunrise.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    // While this one is open too, as in a rolling upgrade that is taken back.
    write_as_the_release_before(&connection, "gw-2", 2);
    assert_all_there(&store, "gw-2", 2).await;
    assert_eq!(store.damage_list().await.unwrap(), [], "what it writes has copies too");
    // It rewrites a frame of this release, which then holds what it wrote.
    store.document_write(document("gw-2", 40, 1.0)).await.unwrap();
    let number: i64 = connection.query_row("SELECT number FROM gateway WHERE id = 'gw-2'", [], |row| row.get(0)).unwrap();
    let time = at(40).as_millis();
    let written = "SELECT data, crc FROM frame WHERE gateway = ?1 AND time = ?2";
    let written: (Vec<u8>, u32) =
        connection.query_row(written, params![number, time], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!((number, written), (2, (bytes(ONE), ONE_CHECKSUM)), "it reads what this release writes");
    connection.execute(FRAME, params![number, time, bytes(TWO_AND_A_HALF), TWO_AND_A_HALF_CHECKSUM]).unwrap();
    let page = store.reading_page(&gateway("gw-2"), TimeWindow::between(at(40), at(41)), 9).await.unwrap();
    assert_eq!(page.rows[0].value, 2.5);
    // It takes the text out of a mail that this release has put.
    let mail = OutboxNew {
        id: OutboxId::new(Uuid::from_u128(9_000)),
        key: OutboxKey { report: "daily".into(), period: "x".into(), recipient: EmailAddress::parse("ana@example.org").unwrap() },
        subject: "S".into(),
        message_id: "<n@x>".into(),
        message: vec![3, 4],
        created: at(0),
        due: at(0),
    };
    let id = mail.id.to_string();
    assert!(store.outbox_put(mail).await.unwrap());
    let erase = "UPDATE outbox SET recipient = ?2, subject = 'erased', message = x'', outcome = '',
             state = CASE WHEN state = 'waiting' THEN 'given-up' ELSE state END WHERE id = ?1";
    connection.execute(erase, params![id, "erased@example.org"]).unwrap();
    // The value above was written past what is latest.
    let damage: Vec<String> = store.damage_list().await.unwrap().into_iter().map(|damage| damage.place).collect();
    assert_eq!(damage, ["latest of gateway gw-2"]);
    // What it reads of this release's rows is what it knows.
    let (documents, data): (i64, Vec<u8>) = connection
        .query_row(
            "SELECT documents, data FROM latest WHERE gateway = (SELECT number FROM gateway WHERE id = 'gw-1')",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!((documents, data), (3, bytes(EXTENT)));
}

#[tokio::test]
async fn rollups_that_somebody_else_changes_are_read_and_packed_anew() {
    let folder = TempDir::new().unwrap();
    write_as_the_release_before(&make_file(&folder), "gw-1", 1);
    let store = open(&folder);
    let connection = Connection::open(folder.path().join("sunrise.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let windows = async || -> Vec<(Timestamp, u32)> {
        let rollups = store.rollup_list(&gateway("gw-1"), TimeWindow::ALWAYS, TimeWindow::ALWAYS).await.unwrap();
        rollups[0].windows.iter().map(|window| (window.start, window.rollup.count)).collect()
    };
    let packed = || -> i64 { connection.query_row("SELECT count(*) FROM quarter", [], |row| row.get(0)).unwrap() };
    let settle = async || while store.rollup_settle().await.unwrap() > 0 {};
    settle().await;
    assert_eq!((windows().await, packed()), (vec![(at(0), 15), (at(15), 15), (at(60), 1)], 3));
    connection
        .execute(
            "INSERT OR REPLACE INTO rollup (gateway, slot, start, count, min, max, first, last, covered_ms, positive, negative, increase, flags)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![1, 0, at(15).as_millis(), 9, 5.0, 5.0, 5.0, 5.0, 900_000, 5.0, 0.0, 0.0, 0],
        )
        .unwrap();
    connection
        .execute("DELETE FROM rollup WHERE gateway = ?1 AND slot = ?2 AND start = ?3", params![1, 0, at(60).as_millis()])
        .unwrap();
    assert_eq!((windows().await, packed()), (vec![(at(0), 15), (at(15), 9)], 3));
    settle().await;
    assert_eq!((windows().await, packed()), (vec![(at(0), 15), (at(15), 9)], 2));
    let spans = store.span_list(&gateway("gw-1"), SpanStep::Day, TimeWindow::ALWAYS).await.unwrap();
    assert_eq!(spans[0].spans.iter().map(|day| day.rollup.count).sum::<u32>(), 24);
    assert_eq!(store.damage_list().await.unwrap(), []);
}
