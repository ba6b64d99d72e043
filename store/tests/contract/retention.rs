//! Retention: old readings go, what they added up to stays.

use std::time::{Duration, Instant};

use heliograph_domain::{
    CorrectionId, CorrectionKind, MetricName, ProviderSettings, SensorId, SeriesKey, TimeWindow, Timestamp, Unit, WINDOW_MS,
};
use heliograph_store::{
    CorrectionNew, DocumentWrite, ProviderStore, RetentionPlan, SensorUpdate, SeriesRollups, Sight, StoreError, WindowRollup,
};
use uuid::Uuid;

use crate::backend::{ALL, Backend, document, gateway, minute, on, on_every_backend, power};

const DAY: i64 = 1440;

/// Ten days of a reading every five minutes, power and a counter.
async fn ten_days(store: &ProviderStore) {
    for day in 0..10 {
        let steps = || (0..DAY / 5).map(move |step| day * DAY + step * 5);
        let values: Vec<(i64, f64)> = steps().map(|at| (at, (at % 700) as f64)).collect();
        store.document_write(power("gw-1", &values)).await.unwrap();
        let counts: Vec<(Timestamp, f64)> = steps().map(|at| (minute(at), (at * 10) as f64)).collect();
        store.document_write(document("gw-1", "meter", "energy", "Wh", &counts)).await.unwrap();
    }
}

async fn run(store: &ProviderStore, plan: RetentionPlan) -> u64 {
    let mut deleted = 0;
    loop {
        let step = store.retention_step(plan).await.unwrap();
        deleted += step.deleted;
        if step.done {
            return deleted;
        }
    }
}

async fn rollups(store: &ProviderStore, visible: TimeWindow) -> Vec<SeriesRollups> {
    store.rollup_list(&gateway("gw-1"), TimeWindow::ALWAYS, visible).await.unwrap()
}

async fn stored(store: &ProviderStore) -> Vec<Timestamp> {
    let page = store.reading_page(&gateway("gw-1"), TimeWindow::ALWAYS, usize::MAX).await.unwrap();
    page.rows.into_iter().map(|row| row.time).collect()
}

#[tokio::test]
async fn what_the_preview_says_is_what_goes_and_figures_stay() {
    on_every_backend(|store| async move {
        ten_days(&store).await;
        let plan = RetentionPlan::of(4, minute(10 * DAY));
        assert_eq!((plan.sealed, plan.delete_before), (minute(6 * DAY), minute(5 * DAY)));
        let preview = store.retention_preview(plan).await.unwrap();
        assert_eq!((preview.readings(), preview.oldest()), (2 * 5 * 288, Some(minute(0))));
        assert_eq!(preview.sealing, Some(TimeWindow::between(minute(0), minute(6 * DAY))));
        assert_eq!(stored(&store).await.len(), 2 * 10 * 288, "a preview changes nothing");
        assert_eq!(store.sealed_until().await.unwrap(), Timestamp::MIN);

        // The marks of these documents are not settled yet: nothing of them is lost.
        assert_eq!(run(&store, plan).await, preview.readings());
        let twin = store.neighbour();
        ten_days(&twin).await;
        assert_eq!(rollups(&store, TimeWindow::ALWAYS).await, rollups(&twin, TimeWindow::ALWAYS).await);
        assert!(stored(&store).await.iter().all(|time| *time >= plan.delete_before));
        assert_eq!(run(&store, plan).await, 0, "a second time there is nothing to do");
        assert_eq!(store.sealed_until().await.unwrap(), plan.sealed);
        assert_eq!(store.retention_preview(plan).await.unwrap().gateways, []);
    })
    .await;
}

#[tokio::test]
async fn a_mark_in_a_sealed_window_is_cleared_and_changes_nothing() {
    on_every_backend(|store| async move {
        ten_days(&store).await;
        run(&store, RetentionPlan::of(4, minute(10 * DAY))).await;
        let before = rollups(&store, TimeWindow::ALWAYS).await;
        let late: DocumentWrite = power("gw-1", &[(2 * DAY + 1, 1e6), (6 * DAY - 1, 1e6)]);
        store.document_write(late).await.unwrap();
        while store.rollup_settle().await.unwrap() > 0 {}
        assert_eq!(rollups(&store, TimeWindow::ALWAYS).await, before);
        // Where readings are still there, late ones count.
        store.document_write(power("gw-1", &[(7 * DAY + 1, 1e6)])).await.unwrap();
        assert_ne!(rollups(&store, TimeWindow::ALWAYS).await, before);
    })
    .await;
}

#[tokio::test]
async fn a_customer_still_sees_the_figures_of_sealed_days() {
    on_every_backend(|store| async move {
        ten_days(&store).await;
        let visible = TimeWindow::between(minute(2 * DAY), minute(9 * DAY));
        let before = rollups(&store, visible).await;
        run(&store, RetentionPlan::of(4, minute(10 * DAY))).await;
        let after = rollups(&store, visible).await;
        for (before, after) in before.iter().zip(&after) {
            // But for the first windows after the edge, whose readings are gone.
            let near = minute(2 * DAY).plus_millis(before.windows.len().min(8) as i64 * WINDOW_MS);
            let inner = |rollups: &SeriesRollups| -> Vec<_> {
                rollups.windows.iter().filter(|window| window.start >= near).copied().collect()
            };
            assert!(inner(after).len() > 600);
            assert_eq!(inner(before), inner(after));
            assert!(after.windows.iter().all(|window| window.start >= visible.from && window.start < visible.end()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_longer_retention_brings_nothing_back_and_loses_nothing() {
    on_every_backend(|store| async move {
        ten_days(&store).await;
        run(&store, RetentionPlan::of(4, minute(10 * DAY))).await;
        let (readings, figures) = (stored(&store).await, rollups(&store, TimeWindow::ALWAYS).await);
        assert_eq!(run(&store, RetentionPlan::of(8, minute(10 * DAY))).await, 0);
        assert_eq!((stored(&store).await, rollups(&store, TimeWindow::ALWAYS).await), (readings, figures));
        assert!(store.reading_exists_since(minute(9 * DAY)).await.unwrap());
        assert!(!store.reading_exists_since(minute(11 * DAY)).await.unwrap());
        let nobody = store.rollup_list(&gateway("gw-9"), TimeWindow::ALWAYS, TimeWindow::ALWAYS).await;
        assert!(matches!(nobody, Err(StoreError::NotFound(_))));
    })
    .await;
}

/// What a counter rose over a silence in which retention has come up stands in the first
/// window after it, though the reading that it rose from is gone.
#[tokio::test]
async fn what_rose_over_the_seal_stays_when_its_window_is_rolled_up_anew() {
    on_every_backend(|store| async move {
        count(&store, 0..48).await;
        count(&store, 150..240).await;
        let before = rollups(&store, TimeWindow::ALWAYS).await;
        assert_eq!(risen(&before), 2390.0);
        assert!(run(&store, RetentionPlan::of(4, minute(10 * DAY))).await > 0);
        let sensor = store.sensor_list(&gateway("gw-1")).await.unwrap().remove(0);
        let update = SensorUpdate { label: Some("Main".to_owned()), role: sensor.role, rated_w: sensor.rated_w };
        store.sensor_update(&gateway("gw-1"), &sensor.id, update).await.unwrap();
        let anew = rollups(&store, TimeWindow::ALWAYS).await;
        assert_eq!(anew[0].windows, before[0].windows, "all windows were made anew");
        // What comes late still counts where it is known what it follows.
        store.document_write(document("gw-1", "meter", "energy", "Wh", &[(minute(200 * 60 + 30), 2009.0)])).await.unwrap();
        let after = rollups(&store, TimeWindow::ALWAYS).await;
        assert_eq!(risen(&after), 2390.0);
        assert!(after[0].windows.len() > before[0].windows.len());
    })
    .await;
}

fn meter() -> SeriesKey {
    SeriesKey {
        gateway: gateway("gw-1"),
        sensor: SensorId::parse("meter").unwrap(),
        metric: MetricName::parse("energy").unwrap(),
        unit: Unit::parse("Wh").unwrap(),
    }
}

async fn correct(store: &ProviderStore, window: TimeWindow, kind: CorrectionKind) -> Result<(), StoreError> {
    let id = CorrectionId::new(Uuid::now_v7());
    let new = CorrectionNew { id, series: meter(), window, kind, reason: "seen on site".to_owned() };
    store.correction_create(new).await.map(drop)
}

/// A counter of 10 Wh an hour, read at some hours.
async fn count(store: &ProviderStore, hours: std::ops::Range<i64>) {
    let counts: Vec<(Timestamp, f64)> = hours.map(|hour| (minute(hour * 60), (hour * 10) as f64)).collect();
    store.document_write(document("gw-1", "meter", "energy", "Wh", &counts)).await.unwrap();
}

fn risen(rollups: &[SeriesRollups]) -> f64 {
    rollups[0].windows.iter().map(|window| window.rollup.increase).sum()
}

fn hours(from: i64, until: i64) -> TimeWindow {
    TimeWindow::between(minute(from * 60), minute(until * 60))
}

/// What a meter shows first after 150 hours, having shown 470 at last; 10 Wh more an hour
/// then.
const BACK: [(&str, &[f64]); 4] =
    [("it went on", &[1500.0]), ("a new one", &[5.0]), ("a wrong zero", &[0.0, 1502.5]), ("two", &[0.0, 0.0, 1505.0])];

/// A gateway is silent for longer than its readings are kept, and comes back. After each
/// push `judge` is given the windows, and those of a store in which all readings are there.
async fn come_back(
    backends: &[Backend],
    correction: Option<(TimeWindow, CorrectionKind)>,
    (what, back): (&str, &[f64]),
    cadence: i64,
    judge: impl Fn(&[WindowRollup], &[WindowRollup], &str) + Copy,
) {
    on(backends, |store| async move {
        let (twin, what) = (store.neighbour(), format!("{what}, every {cadence} minutes, {correction:?}"));
        for store in [&store.store, &twin] {
            count(store, 0..48).await;
            if let Some((window, kind)) = correction {
                correct(store, window, kind).await.unwrap();
            }
        }
        assert!(run(&store, RetentionPlan::of(4, minute(10 * DAY))).await > 0);
        assert_eq!(stored(&store).await, []);
        let mut late = vec![(minute(149 * 60 + 40), back[0])];
        for step in 0..24 {
            let at = step * cadence;
            let rest = || back[back.len() - 1] + (at - (back.len() as i64 - 1) * cadence) as f64 / 6.0;
            let value = back.get(step as usize).copied().unwrap_or_else(rest);
            let mut counts = vec![(minute(150 * 60 + 1 + at), value)];
            counts.extend(if step == 9 { late.pop() } else { None });
            for store in [&store.store, &twin] {
                store.document_write(document("gw-1", "meter", "energy", "Wh", &counts)).await.unwrap();
            }
            let (found, expected) = (rollups(&store, TimeWindow::ALWAYS).await, rollups(&twin, TimeWindow::ALWAYS).await);
            judge(&found[0].windows, &expected[0].windows, &format!("{what}, step {step}"));
        }
        let risen = risen(&rollups(&store, TimeWindow::ALWAYS).await);
        assert!(risen > 380.0 && risen < 4800.0, "{what}: {risen}");
    })
    .await;
}

#[tokio::test]
async fn what_rose_over_a_silence_longer_than_the_retention_counts() {
    for back in BACK {
        for cadence in [1, 5, 15, 60] {
            // One is enough of a cluster, on which it takes half a minute.
            let backends = if (cadence, back.0) == (15, "a new one") { ALL } else { &[Backend::Sqlite] };
            come_back(backends, None, back, cadence, |found, expected, what| assert_eq!(found, expected, "{what}")).await;
        }
    }
}

/// Where somebody has corrected a series, what is stored does not tell what its readings
/// would be now: nothing is counted twice. (That a first reading is wrong is not told there,
/// as it is of no counter of which there is nothing before.)
#[tokio::test]
async fn what_a_corrected_counter_rose_over_such_a_silence_counts_once_at_most() {
    let corrections = [
        (hours(40, 60), CorrectionKind::Exclude),
        (hours(10, 12), CorrectionKind::Manual { value: 110.0 }),
        (hours(20, 21), CorrectionKind::MeterSwap { last_old: 200.0, first_new: 190.0 }),
        (hours(100, 101), CorrectionKind::MeterSwap { last_old: 1000.0, first_new: 1100.0 }),
        (hours(0, 300), CorrectionKind::Scale { factor: 2.0 }),
    ];
    for ((number, correction), back) in corrections.into_iter().enumerate().zip([BACK[0], BACK[1]].into_iter().cycle()) {
        for cadence in [1, 15] {
            let backends = if (number, cadence) == (2, 15) { ALL } else { &[Backend::Sqlite] };
            come_back(backends, Some(correction), back, cadence, |found, expected, what| {
                let sum = |windows: &[WindowRollup]| windows.iter().map(|window| window.rollup.increase).sum::<f64>();
                let before =
                    |windows: &[WindowRollup]| sum(&windows[..windows.partition_point(|window| window.start < minute(6 * DAY))]);
                assert!(sum(found) <= sum(expected) + 1e-6, "{what}: {} of {}", sum(found), sum(expected));
                assert!((before(found) - before(expected)).abs() < 1e-6, "{what}");
            })
            .await;
        }
    }
}

/// Whose time has ended sees nothing of what came after it, though nothing is left of what
/// came before.
#[tokio::test]
async fn what_came_after_the_end_of_a_window_is_not_seen_where_readings_before_are_gone() {
    on_every_backend(|store| async move {
        for kept in [0, 1, 8, 20] {
            let twin = store.neighbour();
            let (other, end) = (store.neighbour(), minute(9 * DAY + 725));
            let visible = TimeWindow::between(minute(60), end);
            let mut counts: Vec<(Timestamp, f64)> =
                (0..kept).map(|step| (end.plus_millis((step - kept) * 300_000), 1000.0 + step as f64)).collect();
            counts.push((end.plus_millis(300_000), 1500.0));
            for store in [&other, &twin] {
                count(store, 0..48).await;
            }
            run(&other, RetentionPlan::of(4, minute(10 * DAY))).await;
            for store in [&other, &twin] {
                store.document_write(document("gw-1", "meter", "energy", "Wh", &counts)).await.unwrap();
            }
            let (found, expected) = (rollups(&other, visible).await, rollups(&twin, visible).await);
            assert!(found[0].windows.iter().all(|window| window.rollup.last < 1500.0), "{kept}: {:?}", found[0].windows);
            // But for the rise since what is gone, where it lies among the last ones.
            let (found, expected) = (risen(&found), risen(&expected));
            assert!(found <= expected + 1e-6 && found >= 450.0, "{kept}: {found} of {expected}");
        }
    })
    .await;
}

/// Whoever came while a gateway was silent sees nothing of what rose before its first
/// reading after that, also once only rollups are left.
#[tokio::test]
async fn a_rise_that_began_out_of_sight_is_not_seen_in_sealed_windows() {
    on_every_backend(|store| async move {
        count(&store, 0..48).await;
        count(&store, 150..240).await;
        let seen =
            async |period: TimeWindow, sight: Sight| risen(&store.rollup_list(&gateway("gw-1"), period, sight).await.unwrap());
        let (newcomer, owner) = (Sight::from(hours(100, 300)), Sight::from(hours(20, 300)));
        let beside = |part: TimeWindow| Sight::part_of(TimeWindow::ALWAYS, &part).unwrap();
        // Of what is read, for whom, what rose: while all of it is there, and after.
        let cases = [
            (TimeWindow::ALWAYS, newcomer, 890.0),
            (hours(140, 160), newcomer, 90.0),
            (hours(151, 160), newcomer, 90.0),
            (TimeWindow::ALWAYS, owner, 2190.0),
            (hours(140, 160), owner, 1120.0),
            (TimeWindow::ALWAYS, beside(hours(20, 160)), 1390.0),
            (TimeWindow::ALWAYS, beside(hours(160, 300)), 790.0),
            (TimeWindow::ALWAYS, beside(hours(100, 300)), 890.0),
        ];
        for (period, sight, rose) in cases {
            assert_eq!(seen(period, sight).await, rose, "{period:?} {sight:?}");
        }
        assert!(run(&store, RetentionPlan::of(3, minute(20 * DAY))).await > 0);
        assert_eq!(stored(&store).await, []);
        for (period, sight, rose) in cases {
            assert_eq!(seen(period, sight).await, rose, "{period:?} {sight:?}");
        }
    })
    .await;
}

/// What a gateway measured at a place and then at another adds up for whoever sees both.
#[tokio::test]
async fn whoever_sees_both_sides_of_a_seam_loses_no_sealed_window_there() {
    on_every_backend(|store| async move {
        ten_days(&store).await;
        run(&store, RetentionPlan::of(4, minute(10 * DAY))).await;
        let all = rollups(&store, TimeWindow::ALWAYS).await;
        // Long sealed, and of the last day, of which readings are there.
        for seam in [2 * DAY + 600, 2 * DAY + 607, 5 * DAY + 600, 5 * DAY + 607, 6 * DAY].map(minute) {
            let sides = [TimeWindow { until: Some(seam), ..TimeWindow::ALWAYS }, TimeWindow { from: seam, until: None }];
            let mut parts = vec![Vec::new(); all.len()];
            for side in sides {
                let sight = Sight::part_of(TimeWindow::ALWAYS, &side).unwrap();
                let seen = store.rollup_list(&gateway("gw-1"), TimeWindow::ALWAYS, sight).await.unwrap();
                parts.iter_mut().zip(seen).for_each(|(part, seen)| part.extend(seen.windows));
            }
            for (all, parts) in all.iter().zip(parts) {
                assert_eq!(all.windows, parts, "{seam}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_correction_that_takes_readings_from_sealed_windows_is_refused() {
    on_every_backend(|store| async move {
        ten_days(&store).await;
        run(&store, RetentionPlan::of(4, minute(10 * DAY))).await;
        let correct = |from: i64, kind| correct(&store, TimeWindow::between(minute(from), minute(7 * DAY)), kind);
        let before = risen(&rollups(&store, TimeWindow::ALWAYS).await);
        for kind in
            [CorrectionKind::Exclude, CorrectionKind::Shift { millis: 60_000 }, CorrectionKind::Manual { value: 60_000.0 }]
        {
            let refused = correct(6 * DAY - 1, kind).await;
            assert!(
                matches!(&refused, Err(StoreError::Conflict(problem)) if problem.contains("stay as they are")),
                "{refused:?}"
            );
        }
        correct(6 * DAY, CorrectionKind::Exclude).await.unwrap();
        let after = risen(&rollups(&store, TimeWindow::ALWAYS).await);
        assert!((after - before).abs() < 1e-6, "a counter that is passed over for a time has risen as much after it");
    })
    .await;
}

#[tokio::test]
async fn a_deletion_stands_in_the_trail() {
    on_every_backend(|store| async move {
        store.retention_note(RetentionPlan::of(4, minute(10 * DAY)), 77).await.unwrap();
        let entry = store.audit_list(1, 1).await.unwrap().remove(0);
        assert_eq!(entry.action, "retention.run");
        assert_eq!(entry.detail, "{\"before\":\"2026-06-20T00:00:00Z\",\"days\":4,\"readings\":77}");
    })
    .await;
}

/// Where nobody deletes: a cluster lets a reading go by itself.
#[tokio::test]
async fn on_a_cluster_a_reading_is_gone_when_its_time_is_over() {
    let store = Backend::Cassandra.fresh();
    let settings = ProviderSettings { retention_days: Some(1), ..ProviderSettings::default() };
    store.settings_save(settings).await.unwrap();
    let now = Timestamp::clamped(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64);
    // Readings are kept for a day more than they are shown, for what follows them.
    let oldest_kept = now.plus_millis(-2 * DAY * 60_000);
    let (soon, late) = (oldest_kept.plus_millis(20_000), oldest_kept.plus_millis(3_600_000));
    store.document_write(document("gw-1", "inverter-1", "power", "W", &[(soon, 1.0), (late, 2.0)])).await.unwrap();
    assert_eq!(stored(&store).await, [soon, late]);
    let begun = Instant::now();
    while stored(&store).await != [late] {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", stored(&store).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_clock_is_steady_since_its_last_jump() {
    on_every_backend(|store| async move {
        let hours = [(0, 0), (10, 0), (34, 0), (33, 0), (60, 60), (70, 60), (8000, 8000), (8024, 8000), (60, 60)];
        for (now, since) in hours {
            assert_eq!(store.clock_steady_since(minute(now * 60)).await.unwrap(), minute(since * 60), "hour {now}");
        }
        // What is noted of a clock is no data of the provider.
        let source = store.neighbour();
        source.document_write(power("gw-1", &[(1, 1.0)])).await.unwrap();
        let (_, archive) = crate::archive::create(&source).await;
        crate::archive::restore(&store, archive).await.unwrap();
    })
    .await;
}
