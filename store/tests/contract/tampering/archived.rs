//! Archives of a provider whose audit trail was tampered with: they are written, say
//! so, and come in where somebody asks for it, on either backend.

use std::io::Cursor;

use heliograph_domain::Actor;
use heliograph_store::{ArchiveSummary, AuditFault, AuditPolicy, AuditVerdict, ProviderStore, StoreError, archive_verify};
use tempfile::TempDir;

use super::clustered::Trail;
use super::trail;
use crate::archive::{create, restore};
use crate::backend::{ALL, gateway};

async fn restore_despite(store: &ProviderStore, archive: Vec<u8>) -> Result<ArchiveSummary, StoreError> {
    let store = store.acting_as(Actor::Operator);
    store.archive_restore(Cursor::new(archive), AuditPolicy::DespiteFault, Box::new(|_| {})).await
}

fn verify(archive: &[u8]) -> AuditVerdict {
    archive_verify(archive, Box::new(|_| {})).unwrap().audit
}

/// Restores an archive with a fault on every backend, where the trail says ever after
/// that it was restored with that, and goes on.
async fn comes_in_everywhere(archive: &[u8], fault: AuditFault) {
    for backend in ALL {
        let target = backend.fresh();
        let refused = restore(&target, archive.to_vec()).await;
        assert!(
            matches!(&refused, Err(StoreError::Archive(problem)) if problem.contains(&fault.to_string())),
            "{backend:?}: {refused:?}"
        );
        assert!(target.gateway_list().await.unwrap().is_empty() && target.audit_list(1, 9).await.unwrap().is_empty());

        let summary = restore_despite(&target, archive.to_vec()).await.unwrap();
        assert_eq!(summary.audit.fault, Some(fault), "{backend:?}");
        assert!(target.gateway_fetch(&gateway("gw-6")).await.is_ok(), "{backend:?}");
        let found = target.audit_verify(None).await.unwrap();
        assert!(found.fault.is_some(), "{backend:?}: {found:?}");
        let since = found.restored.clone().unwrap();
        assert!(since.known.contains(&fault.to_string()), "{backend:?}: {since:?}");
        assert_eq!((since.seq, since.fault), (since.head.seq, None), "{backend:?}");
        // What is done afterwards stands in a trail as good as any.
        for label in ["Roof", "Barn"] {
            target.gateway_rename(&gateway("gw-1"), Some(label.to_owned())).await.unwrap();
        }
        let later = target.audit_verify(Some(since.head)).await.unwrap();
        assert_eq!((later.head, later.fault), (found.head, found.fault), "{backend:?}");
        let restored = later.restored.unwrap();
        assert_eq!((restored.seq, restored.head.seq, restored.fault), (since.seq, since.seq + 2, None), "{backend:?}");
        // So does an archive of it.
        let (again, _) = create(&target).await;
        assert_eq!(again.audit.fault, found.fault, "{backend:?}");
        assert_eq!(again.audit.restored.map(|restored| restored.known), Some(since.known), "{backend:?}");
    }
}

/// The last number that a row of a file can have, and an entry that bears it.
const LAST: u64 = i64::MAX as u64;
const BEHIND_ALL: &str =
    "INSERT INTO audit SELECT 9223372036854775807, at, actor, action, object, detail, hash FROM audit WHERE seq = 6";

#[tokio::test]
async fn an_archive_of_a_tampered_trail_is_written_and_says_what_is_wrong() {
    let missing = |from, to| AuditFault::Missing { from, to };
    let table = [
        ("UPDATE audit SET actor = 'user:nobody' WHERE seq = 3", AuditFault::Changed(3)),
        ("UPDATE audit SET detail = x'ff' WHERE seq = 4", AuditFault::Changed(4)),
        ("UPDATE audit SET hash = 'none' WHERE seq = 6", AuditFault::Changed(6)),
        ("DELETE FROM audit WHERE seq = 4", missing(4, 4)),
        ("DELETE FROM audit WHERE seq >= 5", missing(5, 6)),
        ("DELETE FROM audit", missing(1, 6)),
        ("DELETE FROM setting WHERE name = 'audit_head'", AuditFault::Changed(7)),
        ("UPDATE setting SET value = 'gone' WHERE name = 'audit_head'", AuditFault::Changed(7)),
        // Numbers after which there is none, or soon none.
        (BEHIND_ALL, missing(8, LAST - 1)),
        (
            "UPDATE setting SET value = replace(value, '6:', '9223372036854775807:') WHERE name = 'audit_head'",
            AuditFault::Changed(7),
        ),
        (
            "UPDATE setting SET value = replace(value, '6:', '18446744073709551615:') WHERE name = 'audit_head'",
            AuditFault::Changed(7),
        ),
        (
            r#"UPDATE audit SET action = 'archive.restore', detail = '{"audit_fault":"x","after":"18446744073709551615:'
             || lower(hex(hash)) || '"}' WHERE seq = 3"#,
            AuditFault::Changed(3),
        ),
    ];
    for (sql, fault) in table {
        let folder = TempDir::new().unwrap();
        let (store, connection) = trail(&folder).await;
        connection.execute_batch(sql).unwrap();
        let (summary, archive) = create(&store).await;
        assert_eq!(summary.audit.fault, Some(fault), "{sql}");
        assert_eq!(verify(&archive), summary.audit, "{sql}");
        let created = store.audit_list(7, 1).await.unwrap();
        assert!(created[0].action == "archive.create" && created[0].detail.contains("audit_fault"), "{sql}: {created:?}");
    }
}

#[tokio::test]
async fn an_archive_of_a_tampered_file_comes_in_where_somebody_asks_for_it() {
    for (sql, fault) in [
        ("UPDATE audit SET actor = 'user:nobody', hash = x'00' WHERE seq = 3", AuditFault::Changed(3)),
        ("DELETE FROM audit WHERE seq IN (1, 4)", AuditFault::Missing { from: 1, to: 1 }),
        ("DELETE FROM audit WHERE seq >= 5", AuditFault::Missing { from: 5, to: 6 }),
        (BEHIND_ALL, AuditFault::Missing { from: 8, to: LAST - 1 }),
    ] {
        let folder = TempDir::new().unwrap();
        let (store, connection) = trail(&folder).await;
        connection.execute_batch(sql).unwrap();
        let (_, archive) = create(&store).await;
        comes_in_everywhere(&archive, fault).await;
    }
}

#[tokio::test]
async fn an_archive_of_a_tampered_keyspace_comes_in_where_somebody_asks_for_it() {
    let trail = Trail::copied().await;
    let deeds = [
        ("UPDATE @.audit SET detail = null WHERE year_month = '2026-06' AND seq = 4", AuditFault::Changed(4)),
        ("DELETE FROM @.audit WHERE year_month = '2026-05' AND seq = 2", AuditFault::Missing { from: 2, to: 2 }),
    ];
    for (deed, fault) in deeds {
        trail.run(deed);
        let (summary, archive) = create(&trail.store).await;
        assert_eq!((summary.audit.fault, verify(&archive).fault), (Some(fault), Some(fault)), "{deed}");
        comes_in_everywhere(&archive, fault).await;
        trail.put_back();
    }
}

#[tokio::test]
async fn a_month_that_was_taken_out_of_the_catalog_costs_an_archive_no_entry() {
    let trail = Trail::copied().await;
    trail.run("DELETE FROM @.catalog WHERE part = 'catalog' AND kind = 'audit-month' AND id = '2026-06'");
    let (summary, archive) = create(&trail.store).await;
    // The store says what was done to it; of its entries none is missing.
    assert_eq!(summary.audit.fault, Some(AuditFault::Added(4)));
    assert_eq!(verify(&archive).fault, None);
    assert_eq!(summary.rows("audit"), 7);
}
