//! What somebody does to a store's audit trail behind its back.

mod archived;
mod clustered;

use heliograph_domain::{Actor, GatewayId, ProviderId, Timestamp};
use heliograph_store::{AuditFault, AuditHead, AuditVerdict, ProviderStore, Store, StoreUrl};
use rusqlite::Connection;
use tempfile::TempDir;

/// A trail of six entries, and the file that it stands in.
async fn trail(folder: &TempDir) -> (ProviderStore, Connection) {
    let provider = ProviderId::parse("sunrise").unwrap();
    let store = Store::open(StoreUrl::sqlite(folder.path())).unwrap().provider(&provider).unwrap().acting_as(Actor::Operator);
    for number in 1..=6 {
        let gateway = GatewayId::parse(&format!("gw-{number}")).unwrap();
        store.gateway_knock(&gateway, "127.0.0.1:1", Timestamp::clamped(0)).await.unwrap();
        store.gateway_retire(&gateway, Timestamp::clamped(1)).await.unwrap();
    }
    let connection = Connection::open(folder.path().join("sunrise.db")).unwrap();
    (store, connection)
}

/// Verifies a trail after some SQL.
async fn verdict_after(sql: &str) -> AuditVerdict {
    let folder = TempDir::new().unwrap();
    let (store, connection) = trail(&folder).await;
    connection.execute_batch(sql).unwrap();
    store.audit_verify(None).await.unwrap()
}

#[tokio::test]
async fn the_first_entry_that_is_not_as_it_was_written_is_named() {
    let changed = |seq| Some(AuditFault::Changed(seq));
    let table = [
        ("", None),
        ("UPDATE audit SET actor = 'user:nobody' WHERE seq = 3", changed(3)),
        ("UPDATE audit SET at = at + 1 WHERE seq >= 2", changed(2)),
        ("UPDATE audit SET detail = 5 WHERE seq = 4", changed(4)),
        ("UPDATE audit SET hash = x'00' WHERE seq = 5", changed(5)),
        ("DELETE FROM audit WHERE seq = 4", Some(AuditFault::Missing { from: 4, to: 4 })),
        ("DELETE FROM audit WHERE seq <= 2", Some(AuditFault::Missing { from: 1, to: 2 })),
        ("DELETE FROM audit WHERE seq >= 5", Some(AuditFault::Missing { from: 5, to: 6 })),
        ("DELETE FROM audit", Some(AuditFault::Missing { from: 1, to: 6 })),
        (
            "UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 99",
            changed(2),
        ),
        ("DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = seq - 1 WHERE seq > 3", changed(3)),
        ("INSERT INTO audit SELECT 7, at, actor, action, object, detail, hash FROM audit WHERE seq = 6", changed(7)),
        ("INSERT INTO audit SELECT 0, at, actor, action, object, detail, hash FROM audit WHERE seq = 1", changed(0)),
        (
            "UPDATE audit SET seq = 9223372036854775807 WHERE seq = 6",
            Some(AuditFault::Missing { from: 6, to: i64::MAX as u64 - 1 }),
        ),
        ("DELETE FROM setting WHERE name = 'audit_head'", Some(AuditFault::NoHead)),
        ("UPDATE setting SET value = 'gone' WHERE name = 'audit_head'", Some(AuditFault::NoHead)),
        ("UPDATE setting SET value = replace(value, '6:', '4:') WHERE name = 'audit_head'", Some(AuditFault::BeyondHead(5))),
    ];
    for (sql, fault) in table {
        assert_eq!(verdict_after(sql).await.fault, fault, "{sql}");
    }
}

#[tokio::test]
async fn a_cut_trail_is_still_found_after_the_next_change() {
    for cut in
        ["DELETE FROM audit WHERE seq >= 5", "DELETE FROM audit WHERE seq >= 5; DELETE FROM setting WHERE name = 'audit_head'"]
    {
        let folder = TempDir::new().unwrap();
        let (store, connection) = trail(&folder).await;
        connection.execute_batch(cut).unwrap();
        store.gateway_rename(&GatewayId::parse("gw-1").unwrap(), None).await.unwrap();
        assert!(store.audit_verify(None).await.unwrap().fault.is_some(), "{cut}");
    }
}

#[tokio::test]
async fn entries_that_stand_behind_all_numbers_keep_nobody_from_changing_anything() {
    let furthest = 1_u64 << 62;
    for numbers in [vec![i64::MAX as u64], vec![furthest], vec![furthest, furthest + 1], vec![furthest - 1, furthest]] {
        let folder = TempDir::new().unwrap();
        let (store, connection) = trail(&folder).await;
        for number in &numbers {
            let copy = "INSERT INTO audit SELECT ?1, at, actor, action, object, detail, hash FROM audit WHERE seq = 6";
            connection.execute(copy, [number]).unwrap();
        }
        for label in ["Roof", "Barn", "Shed"] {
            store.gateway_rename(&GatewayId::parse("gw-1").unwrap(), Some(label.to_owned())).await.unwrap();
        }
        assert!(store.audit_verify(None).await.unwrap().fault.is_some(), "{numbers:?}");
    }
}

#[tokio::test]
async fn an_older_copy_of_the_file_shows_against_a_noted_head() {
    let folder = TempDir::new().unwrap();
    let (store, connection) = trail(&folder).await;
    let noted = store.audit_verify(None).await.unwrap().head;
    assert_eq!(store.audit_verify(Some(noted)).await.unwrap().fault, None);
    // Whoever may write everything can set trail and head back together.
    let before: String =
        connection.query_row("SELECT '4:' || lower(hex(hash)) FROM audit WHERE seq = 4", [], |row| row.get(0)).unwrap();
    connection.execute("DELETE FROM audit WHERE seq > 4", []).unwrap();
    connection.execute("UPDATE setting SET value = ?1 WHERE name = 'audit_head'", [&before]).unwrap();
    let verdict = store.audit_verify(None).await.unwrap();
    assert_eq!((verdict.head, verdict.fault), (AuditHead::parse(&before).unwrap(), None));
    let noted = store.audit_verify(Some(noted)).await.unwrap();
    assert_eq!(noted.fault, Some(AuditFault::Missing { from: 5, to: 6 }));
}
