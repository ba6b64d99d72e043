//! The same in a cluster, by plain CQL. New entries stand in the catalog; the next
//! change copies them to the trail.

use heliograph_domain::Actor;
use heliograph_store::{AuditFault, Store};
use serde_json::Value;

use crate::backend::{Backend, Fresh, at, gateway};
use crate::cluster::{administer, rows, rows_of};

/// A trail of six entries, the first three in May and the others in June.
pub(super) struct Trail {
    pub(super) store: Fresh,
    /// What of it stands in its table, as JSON.
    rows: Vec<String>,
}

/// What somebody does to it.
type Deed = fn(&Trail);

impl Trail {
    /// One whose newest entry no change has followed.
    async fn fresh() -> Self {
        let mut trail = Self { store: Backend::Cassandra.fresh(), rows: Vec::new() };
        for number in 1..=6 {
            let day = at(if number <= 3 { "2026-05-31T23:00:00Z" } else { "2026-06-01T01:00:00Z" });
            let store = trail.store.acting_as(Actor::Operator).with_clock(move || day);
            let id = gateway(&format!("gw-{number}"));
            store.gateway_knock(&id, "127.0.0.1:1", day).await.unwrap();
            store.gateway_retire(&id, day).await.unwrap();
        }
        trail.rows = rows(trail.of_keyspace("SELECT JSON * FROM @.audit"));
        trail
    }

    /// One that stands in its table as a whole.
    pub(super) async fn copied() -> Self {
        let mut trail = Self::fresh().await;
        trail.follow().await;
        trail.rows = rows(trail.of_keyspace("SELECT JSON * FROM @.audit"));
        trail
    }

    /// A change that is not audited.
    async fn follow(&self) {
        self.store.gateway_knock(&gateway("gw-7"), "127.0.0.1:1", at("2026-06-02T00:00:00Z")).await.unwrap();
    }

    fn of_keyspace(&self, cql: &str) -> String {
        cql.replace("@.", &format!("provider_{}.", self.store.provider()))
    }

    pub(super) fn run(&self, cql: &str) {
        administer(self.of_keyspace(cql));
    }

    /// Writes an entry in another place.
    fn copy(&self, seq: i64, month: &str, to: i64) {
        let mut rows = self.rows.iter().map(|row| serde_json::from_str::<Value>(row).unwrap());
        let mut row = rows.find(|row| row["seq"] == seq).unwrap();
        row["year_month"] = month.into();
        row["seq"] = to.into();
        self.insert(&row.to_string());
    }

    fn insert(&self, row: &str) {
        self.run(&format!("INSERT INTO @.audit JSON '{}'", row.replace('\'', "''")));
    }

    pub(super) fn put_back(&self) {
        for month in ["2026-05", "2026-06", "2031-01"] {
            self.run(&format!("DELETE FROM @.audit WHERE year_month = '{month}'"));
        }
        self.rows.iter().for_each(|row| self.insert(row));
    }

    /// The newest entry that is as it was written, the fault, and how many wait.
    async fn verdict(&self) -> (u64, Option<AuditFault>, u64) {
        let verdict = self.store.audit_verify(None).await.unwrap();
        (verdict.head.seq, verdict.fault, verdict.waiting)
    }
}

#[tokio::test]
async fn the_first_entry_in_a_cluster_that_is_not_as_it_was_written_is_named() {
    let missing = |from, to| AuditFault::Missing { from, to };
    let table: [(Deed, AuditFault); 15] = [
        (
            |trail| trail.run("UPDATE @.audit SET actor = 'user:nobody' WHERE year_month = '2026-05' AND seq = 2"),
            AuditFault::Changed(2),
        ),
        (|trail| trail.run("UPDATE @.audit SET detail = null WHERE year_month = '2026-06' AND seq = 4"), AuditFault::Changed(4)),
        (|trail| trail.run("UPDATE @.audit SET hash = 0x00 WHERE year_month = '2026-06' AND seq = 5"), AuditFault::Changed(5)),
        (
            |trail| trail.run("UPDATE @.audit SET actor = 'user:nobody' WHERE year_month = '2026-06' AND seq = 6"),
            AuditFault::Differs(6),
        ),
        (|trail| trail.run("DELETE FROM @.audit WHERE year_month = '2026-06' AND seq = 4"), missing(4, 4)),
        (|trail| trail.run("DELETE FROM @.audit WHERE year_month = '2026-05' AND seq <= 2"), missing(1, 2)),
        (|trail| trail.run("DELETE FROM @.audit WHERE year_month = '2026-06' AND seq = 6"), missing(6, 6)),
        (|trail| trail.run("DELETE FROM @.audit WHERE year_month = '2026-06'"), missing(4, 6)),
        (|trail| trail.run("TRUNCATE @.audit"), missing(1, 6)),
        (
            |trail| {
                trail.copy(2, "2026-05", 3);
                trail.copy(3, "2026-05", 2);
            },
            AuditFault::Changed(2),
        ),
        (
            |trail| {
                trail.copy(5, "2026-06", 6);
                trail.copy(6, "2026-06", 5);
            },
            AuditFault::Changed(5),
        ),
        (|trail| trail.copy(6, "2026-06", 7), AuditFault::Added(7)),
        (|trail| trail.copy(1, "2026-05", -1), AuditFault::Added(0)),
        // Where nobody looks for one.
        (|trail| trail.copy(5, "2026-05", 5), AuditFault::Added(5)),
        (|trail| trail.copy(3, "2031-01", 3), AuditFault::Added(3)),
    ];
    let trail = Trail::copied().await;
    for (number, (deed, fault)) in table.into_iter().enumerate() {
        assert_eq!(trail.verdict().await, (6, None, 0), "before deed {number}");
        deed(&trail);
        assert_eq!(trail.verdict().await.1, Some(fault), "deed {number}");
        trail.put_back();
    }
}

#[tokio::test]
async fn an_entry_that_no_change_has_followed_is_told_from_one_that_was_taken_away() {
    let trail = Trail::fresh().await;
    let there = rows_of(trail.store.provider());
    assert_eq!(trail.verdict().await, (6, None, 1));
    assert_eq!(trail.store.audit_list(1, 9).await.unwrap().len(), 6);
    assert_eq!(trail.store.audit_list(6, 9).await.unwrap()[0].object, "gateway:gw-6");
    assert_eq!(rows_of(trail.store.provider()), there, "whoever looks changes nothing");

    trail.follow().await;
    assert_eq!(trail.verdict().await, (6, None, 0));
    trail.run("DELETE FROM @.audit WHERE year_month = '2026-06' AND seq = 6");
    assert_eq!(trail.verdict().await, (5, Some(AuditFault::Missing { from: 6, to: 6 }), 0));
    // Nor does a later change put it back.
    trail.store.gateway_rename(&gateway("gw-1"), Some("Roof".to_owned())).await.unwrap();
    assert_eq!(trail.verdict().await.1, Some(AuditFault::Missing { from: 6, to: 6 }));
}

#[tokio::test]
async fn a_row_in_the_place_of_an_entry_that_is_not_copied_yet_stays_and_is_found() {
    let trail = Trail::fresh().await;
    trail.copy(5, "2026-06", 6);
    for _ in 0..2 {
        assert_eq!(trail.verdict().await, (5, Some(AuditFault::Differs(6)), 0));
        trail.follow().await;
    }
}

#[tokio::test]
async fn a_catalog_whose_part_of_the_trail_was_taken_away_is_found_also_after_the_next_change() {
    let trail = Trail::copied().await;
    trail.run("DELETE FROM @.catalog WHERE part = 'catalog' AND kind = 'audit-month' AND id = '2026-06'");
    assert_eq!(trail.verdict().await.1, Some(AuditFault::Added(4)));
    trail.run("DELETE FROM @.catalog WHERE part = 'catalog' AND kind = 'audit'");
    assert_eq!(trail.verdict().await, (0, Some(AuditFault::NoHead), 0));
    // Another process, which knows no catalog but this.
    let other = Store::open(trail.store.url.clone()).unwrap().provider(trail.store.provider()).unwrap();
    for label in ["Roof", "Barn"] {
        other.gateway_rename(&gateway("gw-1"), Some(label.to_owned())).await.unwrap();
        assert_eq!(trail.verdict().await.1, Some(AuditFault::Added(1)), "{label}");
    }
}

#[tokio::test]
async fn changes_go_on_where_the_months_of_the_trail_were_taken_away_and_it_is_named() {
    let trail = Trail::fresh().await;
    trail.run("DELETE FROM @.catalog WHERE part = 'catalog' AND kind = 'audit-month'");
    let other = Store::open(trail.store.url.clone()).unwrap().provider(trail.store.provider()).unwrap();
    other.gateway_rename(&gateway("gw-1"), Some("Roof".to_owned())).await.unwrap();
    assert!(trail.verdict().await.1.is_some());
    // The entry that stood in the catalog alone is where it would have been.
    let copied = trail.of_keyspace("SELECT JSON object FROM @.audit WHERE year_month = '2026-06' AND seq = 6");
    assert_eq!(rows(copied), ["{\"object\": \"gateway:gw-6\"}"]);
    other.gateway_rename(&gateway("gw-1"), Some("Barn".to_owned())).await.unwrap();
    assert!(trail.verdict().await.1.is_some());
}
