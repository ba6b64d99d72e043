//! Archives between backends, and out of and into a cluster that others work on.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use heliograph_domain::{QuarantineId, SpanStep, TimeWindow};
use heliograph_store::{AuditPolicy, ProviderStore, StoreError, WindowRollup};
use uuid::Uuid;

use crate::archive::{GATEWAYS, clocked, create, fill, restore};
use crate::backend::{self, Backend, document, gateway, minute, power};
use crate::cluster::administer;

const ALL: TimeWindow = TimeWindow::ALWAYS;

/// What people get to see of a provider, by what they ask for.
async fn told(store: &ProviderStore) -> Vec<(String, String)> {
    let store = clocked(store);
    let mut told: Vec<(String, String)> = Vec::new();
    let mut tell = |what: &str, said: String| told.push((what.to_owned(), said));
    tell("settings", format!("{:?}", store.settings_fetch().await));
    tell("locations", format!("{:?}", store.location_list().await));
    tell("gateways", format!("{:?}", store.gateway_list().await));
    tell("placements", format!("{:?}", store.placement_list().await));
    tell("customers", format!("{:?}", store.customer_list().await));
    tell("commissions", format!("{:?}", store.commission_list().await));
    tell("people", format!("{:?}", store.user_list().await));
    tell("points", format!("{:?} {:?}", store.point_list().await, store.binding_list().await));
    tell("arrays", format!("{:?}", store.array_list().await));
    tell("corrections", format!("{:?}", store.correction_list().await));
    tell("mails", format!("{:?}", store.outbox_list(9).await));
    tell("quarantine", format!("{:?}", store.quarantine_fetch(QuarantineId::new(Uuid::from_u128(6))).await));
    let presented = store.quarantine_presented(QuarantineId::new(Uuid::from_u128(6))).await.unwrap();
    tell("presented key", format!("{:?}", presented.map(|key| key.0)));
    assert!(presented.is_some());
    tell("mappings", format!("{:?}", store.mapping_list().await));
    tell("trail", format!("{:?}", store.audit_list(1, 14).await));
    for name in GATEWAYS {
        let id = gateway(name);
        tell("keys", format!("{:?} {:?}", store.credential_list(&id).await, store.certificate_list(&id).await));
        tell("sensors", format!("{:?}", store.sensor_list(&id).await));
        let mut readings = store.reading_page(&id, ALL, usize::MAX).await.unwrap().rows;
        readings.sort_by(|a, b| (a.time, &a.sensor, &a.metric).cmp(&(b.time, &b.sensor, &b.metric)));
        tell("readings", format!("{readings:?}"));
        let mut rollups = store.rollup_list(&id, ALL, ALL).await.unwrap();
        rollups.sort_by(|a, b| (&a.sensor, &a.series.metric).cmp(&(&b.sensor, &b.series.metric)));
        tell("rollups", format!("{rollups:?}"));
        for step in SpanStep::ALL {
            let mut spans = store.span_list(&id, *step, ALL).await.unwrap();
            spans.sort_by(|a, b| (&a.sensor, &a.series.metric).cmp(&(&b.sensor, &b.series.metric)));
            tell(step.as_str(), format!("{spans:?}"));
        }
    }
    told
}

async fn move_over(from: Backend, to: Backend) {
    let (source, target) = (from.fresh(), to.fresh());
    fill(&source).await;
    let (summary, archive) = create(&source).await;
    let restored = restore(&target, archive).await.unwrap();
    assert_eq!(restored, summary);
    let (before, after) = (told(&source).await, told(&target).await);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
    assert_eq!(target.audit_verify(None).await.unwrap().fault, None);
    if matches!(to, Backend::Sqlite) {
        assert_eq!(target.damage_list().await.unwrap(), []);
    }

    // What is pushed now wins over what came with the archive, and counts.
    let target = clocked(&target);
    target.document_write(power("gw-1", &[(4330, 77.0), (6000, 4.5)])).await.unwrap();
    let page = target.reading_page(&gateway("gw-1"), TimeWindow::between(minute(4330), minute(4331)), 9).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.value).collect::<Vec<_>>(), [77.0]);
    let windows = target.rollup_list(&gateway("gw-1"), ALL, ALL).await.unwrap();
    assert!(windows.iter().flat_map(|series| &series.windows).any(|window| window.start == minute(6000)));
    let sensors = target.sensor_list(&gateway("gw-1")).await.unwrap();
    let latest =
        sensors.iter().flat_map(|sensor| &sensor.series).filter_map(|series| series.latest).map(|sample| sample.at).max();
    assert_eq!(latest, Some(minute(6000)));
}

#[tokio::test]
async fn a_provider_moves_from_a_file_to_a_cluster() {
    move_over(Backend::Sqlite, Backend::Cassandra).await;
}

#[tokio::test]
async fn a_provider_moves_from_a_cluster_to_a_file() {
    move_over(Backend::Cassandra, Backend::Sqlite).await;
}

#[tokio::test]
async fn readings_of_a_gateway_move_though_nothing_says_when_it_was_heard() {
    let source = Backend::Cassandra.fresh();
    source.document_write(power("gw-1", &[(1, 1.0), (500, 2.0)])).await.unwrap();
    let said = source.sensor_list(&gateway("gw-1")).await.unwrap();
    assert_eq!((said[0].series[0].first, said.len()), (Some(minute(1)), 1));
    // As it is where a process was killed within a second of a gateway's first document.
    assert_eq!(source.gateway_fetch(&gateway("gw-1")).await.unwrap().documents, 1);
    // A count that is deleted would come back: nodes count on from what was there.
    for what in ["DELETE seen, address FROM @.series", "UPDATE @.pushed SET documents = documents - 1"] {
        let cql = what.replace("@.", &format!("provider_{}.", source.provider()));
        administer(format!("{cql} WHERE gateway = 'gw-1'"));
    }
    assert_eq!(source.gateway_fetch(&gateway("gw-1")).await.unwrap().last_seen, None);
    let (_, archive) = create(&source).await;
    for backend in backend::ALL {
        let target = backend.fresh();
        restore(&target, archive.clone()).await.unwrap();
        assert_eq!(target.gateway_fetch(&gateway("gw-1")).await.unwrap().last_seen, Some(minute(500)), "{backend:?}");
        assert_eq!(target.sensor_list(&gateway("gw-1")).await.unwrap(), said, "{backend:?}");
        target.document_write(power("gw-1", &[(600, 3.0)])).await.unwrap();
        let sensors = target.sensor_list(&gateway("gw-1")).await.unwrap();
        assert_eq!(sensors[0].series[0].first, Some(minute(1)), "{backend:?}: what came before counts on");
        let windows = windows(&target).await;
        assert!(windows[0].first().is_some_and(|window| window.start == minute(0)), "{backend:?}: {windows:?}");
    }
}

/// Windows made of nothing but the readings that a store has.
async fn made_of_readings(store: &ProviderStore) -> Vec<Vec<WindowRollup>> {
    let scratch = Backend::Sqlite.fresh();
    for row in store.reading_page(&gateway("gw-1"), ALL, usize::MAX).await.unwrap().rows {
        let (sensor, metric, unit) = (row.sensor.as_str(), row.metric.as_str(), row.unit.as_str());
        scratch.document_write(document("gw-1", sensor, metric, unit, &[(row.time, row.value)])).await.unwrap();
    }
    windows(&scratch).await
}

async fn windows(store: &ProviderStore) -> Vec<Vec<WindowRollup>> {
    let found = store.rollup_list(&gateway("gw-1"), ALL, ALL).await.unwrap();
    found.into_iter().map(|series| series.windows).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_an_archive_follow_from_its_readings_while_others_write() {
    let store = Backend::Cassandra.fresh();
    for day in 0..4 {
        let values: Vec<(i64, f64)> = (0..48).map(|step| (day * 1440 + step * 30, f64::from(step as i32))).collect();
        store.document_write(power("gw-1", &values)).await.unwrap();
    }
    let before = store.reading_page(&gateway("gw-1"), ALL, usize::MAX).await.unwrap().rows;
    let (writer, stop) = (store.store.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        let mut number = 0;
        while !stopped.load(Ordering::Relaxed) {
            number += 1;
            let values = [(7 + number * 30, 1e4), (1447 + number * 30, 1e4), (4327 + number * 30, 1e4)];
            writer.document_write(power("gw-1", &values)).await.unwrap();
            // Somebody looks, so that rollups are written at once.
            writer.rollup_list(&gateway("gw-1"), ALL, ALL).await.unwrap();
        }
        number
    });
    for _ in 0..3 {
        let (_, archive) = create(&store).await;
        let twin = Backend::Sqlite.fresh();
        restore(&twin, archive).await.unwrap();
        let rows = twin.reading_page(&gateway("gw-1"), ALL, usize::MAX).await.unwrap().rows;
        assert!(before.iter().all(|row| rows.contains(row)), "what was there before is in it");
        assert_eq!(windows(&twin).await, made_of_readings(&twin).await);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 3);
}

/// Gives its bytes up to a place and then waits for ever.
struct Stuck {
    bytes: Cursor<Vec<u8>>,
    stuck: mpsc::Receiver<()>,
}

impl Read for Stuck {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.bytes.read(buffer)? {
            0 => match self.stuck.recv() {
                Ok(()) | Err(mpsc::RecvError) => Ok(0),
            },
            read => Ok(read),
        }
    }
}

#[tokio::test]
async fn a_restore_that_was_broken_off_lets_nobody_in_until_it_is_done_again() {
    let (store, target) = (Backend::Sqlite.fresh(), Backend::Cassandra.fresh());
    fill(&store).await;
    let (_, archive) = create(&store).await;
    let (release, stuck) = mpsc::channel();
    let bytes = Cursor::new(archive[..archive.len() - 2000].to_vec());
    let begun = clocked(&target);
    let restoring = begun.archive_restore(Stuck { bytes, stuck }, AuditPolicy::Sound, Box::new(|_| {}));
    let cut = tokio::time::timeout(std::time::Duration::from_secs(5), restoring).await;
    assert!(cut.is_err(), "it waits for the rest: {cut:?}");
    drop(release);

    // As a process that begins now finds it.
    let opened = heliograph_store::Store::open(target.url.clone()).unwrap().provider(target.provider()).unwrap();
    for refused in [
        opened.gateway_list().await.map(drop),
        opened.document_write(power("gw-9", &[(0, 1.0)])).await,
        opened.gateway_knock(&gateway("gw-9"), "192.0.2.1:1", minute(0)).await,
    ] {
        assert!(matches!(&refused, Err(StoreError::Unavailable(problem)) if problem.contains("restored")), "{refused:?}");
    }
    let twice = restore(&opened, archive.clone()).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "for two minutes it may still be at work: {twice:?}");
    let later = opened.with_clock(|| minute(5 * 1440 + 3));
    later.archive_restore(Cursor::new(archive), AuditPolicy::Sound, Box::new(|_| {})).await.unwrap();
    for (before, after) in told(&store).await.iter().zip(&told(&opened).await) {
        assert_eq!(before, after);
    }
}
