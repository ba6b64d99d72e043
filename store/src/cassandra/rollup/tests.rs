//! Races of writers, settlers and readers, on a real node, with the protocol's
//! times shortened; what is stored in the end is compared with rollups made of
//! all readings at once.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use heliograph_domain::{MetricName, ProviderSettings, Sample, SensorId, SpanStep, Unit, WINDOW_MS, roll_up, window_of};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::*;
use crate::cassandra::document;
use crate::cassandra::mark::Timing;
use crate::cassandra::trial::{openings, remove};
use crate::catalog::{Catalog, Change, Record};
use crate::document::{DocumentWrite, SensorSeen, SeriesSeen, Value};
use crate::rollup::WindowRollup;
use crate::stamp::Stamps;

const TIMING: Timing = Timing {
    deadline: Duration::from_secs(2),
    reuse: Duration::from_millis(500),
    settled: Duration::from_secs(3),
    pause: Duration::ZERO,
};
const METRICS: [&str; 2] = ["power", "energy"];
const MINUTES: u64 = 600;

/// Numbers that a seed decides (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn minute(minute: u64) -> Timestamp {
    Timestamp::clamped(1_781_481_600_000 + minute as i64 * 60_000)
}

fn gateway(number: u64) -> GatewayId {
    GatewayId::parse(&format!("gw-{number}")).unwrap()
}

fn any_document(dice: &mut Dice, stamps: &Stamps) -> DocumentWrite {
    // Pushes of one reading come some time after each other.
    static PUSHED: AtomicI64 = AtomicI64::new(0);
    let received = minute(MINUTES).plus_millis(PUSHED.fetch_add(100, Ordering::Relaxed));
    let metric = |name: &&str| SeriesSeen {
        sensor: 0,
        metric: MetricName::parse(name).unwrap(),
        unit: Unit::parse(if *name == "power" { "W" } else { "Wh" }).unwrap(),
        kind: None,
        quantity: None,
    };
    let near = dice.below(MINUTES - 30);
    let values = (0..=dice.below(6)).map(|_| {
        let series = dice.below(METRICS.len() as u64) as usize;
        let at = if dice.below(4) == 0 { dice.below(MINUTES) } else { near + dice.below(30) };
        Value { series, time: minute(at), value: (at * 50 + dice.below(400)) as f64 }
    });
    let values = values.collect();
    DocumentWrite {
        gateway: gateway(dice.below(2)),
        received,
        stamp: stamps.next(received),
        address: "127.0.0.1:4000".to_owned(),
        sensors: vec![SensorSeen { id: SensorId::parse("meter").unwrap(), role: None }],
        series: METRICS.iter().map(metric).collect(),
        values,
        quarantine: None,
    }
}

async fn compare(db: &Database, gateway: &GatewayId) {
    let always = TimeWindow::ALWAYS;
    let readings = reading::page(db, gateway, always, usize::MAX).await.unwrap().rows;
    let GatewaySeries { series, .. } = series::of_gateway(db, gateway).await.unwrap();
    let extent = TimeWindow::between(minute(0).plus_millis(-86_400_000), minute(2 * MINUTES));
    let stored = stored_windows(db, gateway, &series, always, extent).await.unwrap();
    assert_eq!(series.len(), METRICS.len());
    for series in &series {
        let of_series = readings.iter().filter(|row| row.metric == series.record.metric);
        let samples: Vec<Sample> = of_series.map(|row| Sample { at: row.time, value: row.value }).collect();
        assert!(samples.len() > 100);
        let first = window_of(minute(0)).plus_millis(-8 * WINDOW_MS);
        let windows = (0..60).map(|n| first.plus_millis(n * WINDOW_MS));
        let expected: Vec<WindowRollup> =
            windows.filter_map(|start| Some(WindowRollup { start, rollup: roll_up(&series.rule, start, &samples)? })).collect();
        assert_eq!(stored.get(&series.slot), Some(&expected), "{gateway} {}", series.record.metric);
        assert_eq!(series.record.latest, samples.last().copied());
        assert_eq!(series.record.first, samples.first().map(|sample| sample.at));
    }
    // With no mark left nothing is computed here: these are the rows as settlers left them.
    for step in SpanStep::ALL {
        let sums = span::list(db, gateway, *step, always, minute(2 * MINUTES)).await.unwrap();
        for (series, sums) in series.iter().zip(&sums) {
            let windows = stored[&series.slot].iter().map(|window| window.rollup);
            let expected = windows.reduce(|sum, window| sum.then(&window)).unwrap();
            assert_eq!(sums.spans.iter().map(|sum| sum.rollup).collect::<Vec<_>>(), [expected], "{gateway} {step}");
        }
    }
}

async fn marks_left(db: &Database) -> usize {
    let mut left = 0;
    for shard in 0..mark::SHARDS {
        left += mark::of_shard(db, shard).await.unwrap().marks.len();
    }
    left
}

#[tokio::test]
async fn nobody_walks_to_the_beginning_of_time_for_a_series_whose_readings_are_just_being_written() {
    let [db]: [Database; 1] = openings(TIMING).await;
    let gateway = gateway(0);
    // As it looks to a report that has read the series before it was written how far it
    // reaches, and finds its readings.
    let document = DocumentWrite { gateway: gateway.clone(), ..any_document(&mut Dice(7), &Stamps::new()) };
    let names = series::names(&document).unwrap();
    series::register(&db, &document, &names).await.unwrap();
    let at = minute(5);
    let day = scylla::value::CqlDate((1_u32 << 31) + u32::try_from(at.as_millis() / 86_400_000).unwrap());
    let cql = "INSERT INTO @.reading (gateway, day, bucket, time, sensor, metric, unit, value) VALUES (?, ?, 0, ?, 'meter', 'energy', 'Wh', 1.0)";
    db.execute(cql, (gateway.as_str(), day, CqlTimestamp(at.as_millis()))).await.unwrap();
    mark::set(&db, &gateway, std::iter::once(at), at).await.unwrap();
    let report = settle_near(&db, &gateway, TimeWindow::ALWAYS, minute(MINUTES));
    tokio::time::timeout(Duration::from_secs(30), report).await.unwrap().unwrap();
    // It is settled once more is known.
    assert_eq!(marks_left(&db).await, 1);
    remove(&db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn settlers_and_writers_at_once_leave_rollups_of_all_readings() {
    let seed = Uuid::new_v4().as_u64_pair().0 | 1;
    println!("seed {seed}");
    let openings: [Database; 3] = openings(TIMING).await;
    let stamps = std::sync::Arc::new(Stamps::new());
    let until = Instant::now() + Duration::from_secs(12);
    let now = minute(MINUTES);
    let mut tasks = Vec::new();
    for (number, db) in openings.iter().enumerate() {
        for lane in 0..3 {
            let (db, stamps) = (db.clone(), std::sync::Arc::clone(&stamps));
            let mut dice = Dice(seed.wrapping_add(number as u64 * 7 + lane * 131));
            tasks.push(tokio::spawn(async move {
                while Instant::now() < until {
                    let document = any_document(&mut dice, &stamps);
                    // As a gateway does that got no ack.
                    while document::write(&db, &document, now).await.is_err() {}
                    tokio::time::sleep(Duration::from_millis(dice.below(40))).await;
                }
            }));
        }
        let db = db.clone();
        tasks.push(tokio::spawn(async move {
            while Instant::now() < until {
                settle(&db, now).await.unwrap();
                if number == 0 {
                    // Gateways are registered by the first document.
                    drop(settle_near(&db, &gateway(0), TimeWindow::ALWAYS, now).await);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let db = &openings[1];
    let begun = Instant::now();
    while marks_left(db).await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "marks stay for ever");
        settle(db, now).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for number in 0..2 {
        compare(db, &gateway(number)).await;
    }
    remove(db).await;
}

#[tokio::test]
async fn a_mark_set_while_it_is_being_cleared_stays() {
    let [writer, settler]: [Database; 2] = openings(TIMING).await;
    let (gateway, received) = (gateway(0), minute(0));
    let set = || mark::set(&writer, &gateway, [minute(0)].into_iter(), received);
    set().await.unwrap();
    assert!(!mark::of_gateway(&settler, &gateway).await.unwrap().marks[0].complete);
    tokio::time::sleep(TIMING.settled).await;
    let seen = mark::of_gateway(&settler, &gateway).await.unwrap().marks;
    assert!(seen[0].complete);
    // The settler has read it, computes, and meanwhile a document arrives.
    set().await.unwrap();
    mark::clear(&settler, &seen).await.unwrap();
    let left = mark::of_gateway(&settler, &gateway).await.unwrap().marks;
    assert_eq!(left.len(), 1);
    assert!(!left[0].complete);
    remove(&settler).await;
}

#[tokio::test]
async fn an_older_computation_does_not_write_over_a_newer_one() {
    let [db]: [Database; 1] = openings(TIMING).await;
    let stamps = Stamps::new();
    let mut document = any_document(&mut Dice(5), &stamps);
    let gateway = document.gateway.clone();
    let at = |minute_of: u64, value| Value { series: 0, time: minute(minute_of), value };
    document.values = vec![at(0, 400.0), at(15, 400.0)];
    document::write(&db, &document, minute(60)).await.unwrap();
    let GatewaySeries { series, .. } = series::of_gateway(&db, &gateway).await.unwrap();
    let windows = [minute(0)];
    let older_at = mark::of_gateway(&db, &gateway).await.unwrap().read_at;
    let older = settle_run(&db, &gateway, &series, (&windows, Timestamp::MIN), &mut Newest::of(&[])).await.unwrap();
    let later = DocumentWrite { values: vec![at(15, 800.0)], stamp: stamps.next(document.received), ..document };
    document::write(&db, &later, minute(60)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let newer_at = mark::of_gateway(&db, &gateway).await.unwrap().read_at;
    assert!(newer_at > older_at);
    let newer = settle_run(&db, &gateway, &series, (&windows, Timestamp::MIN), &mut Newest::of(&[])).await.unwrap();
    save(&db, &gateway, &series, &newer, Timestamp::MIN, newer_at).await.unwrap();
    save(&db, &gateway, &series, &older, Timestamp::MIN, older_at).await.unwrap();
    let extent = TimeWindow::between(minute(0), minute(60));
    let stored = stored_windows(&db, &gateway, &series, extent, extent).await.unwrap();
    let power = series.iter().find(|series| series.record.metric.as_str() == "power").unwrap();
    assert_eq!(stored[&power.slot][0].rollup.positive, 150.0);
    remove(&db).await;
}

/// What is latest of the power of a gateway.
async fn latest(db: &Database, gateway: &GatewayId) -> Option<Sample> {
    let GatewaySeries { series, .. } = series::of_gateway(db, gateway).await.unwrap();
    series.iter().find(|series| series.record.metric.as_str() == "power").unwrap().record.latest
}

async fn settle_all(db: &Database, now: Timestamp) {
    while marks_left(db).await > 0 {
        settle(db, now).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn latest_readings_that_a_killed_writer_had_not_written_are_made_up_for() {
    let [writer, settler]: [Database; 2] = openings(TIMING).await;
    let document = any_document(&mut Dice(5), &Stamps::new());
    let (gateway, received) = (document.gateway.clone(), document.received);
    let at = |time, value| Value { series: 0, time, value };
    let ahead = at(received.plus_millis(3_600_000), 9.0);
    let document = DocumentWrite { values: vec![at(minute(0), 1.0), at(minute(15), 2.0), ahead], ..document };
    document::write(&writer, &document, received).await.unwrap();
    writer.writing().pulse.forget();
    assert_eq!(latest(&settler, &gateway).await, None);
    settle_all(&settler, received).await;
    assert_eq!(latest(&settler, &gateway).await, Some(Sample { at: minute(15), value: 2.0 }));
    let seen = settler.gateway_fetch(&gateway).await.unwrap().last_seen.unwrap();
    assert!(seen.millis_since(received).abs() < 1_000, "{seen}");
    remove(&settler).await;
}

#[tokio::test]
async fn a_later_push_of_the_latest_instant_is_made_up_for_too() {
    let [writer, settler]: [Database; 2] = openings(TIMING).await;
    let stamps = Stamps::new();
    let document = any_document(&mut Dice(5), &stamps);
    let (gateway, received) = (document.gateway.clone(), document.received);
    // The gateway's clock is a little ahead.
    let time = received.plus_millis(60_000);
    let pushed = |value| DocumentWrite {
        values: vec![Value { series: 0, time, value }],
        stamp: stamps.next(received),
        ..document.clone()
    };
    document::write(&writer, &pushed(9.0), received).await.unwrap();
    crate::cassandra::pulse::flush(&writer).await.unwrap();
    assert_eq!(latest(&settler, &gateway).await, Some(Sample { at: time, value: 9.0 }));
    tokio::time::sleep(TIMING.reuse).await;
    let later = DocumentWrite { stamp: stamps.next(received.plus_millis(10)), ..pushed(2.0) };
    document::write(&writer, &later, received).await.unwrap();
    writer.writing().pulse.forget();
    settle_all(&settler, received).await;
    assert_eq!(latest(&settler, &gateway).await, Some(Sample { at: time, value: 2.0 }));
    remove(&settler).await;
}

/// What of a time to live the readings of a gateway have, in seconds; `None`: they
/// stay for ever.
async fn lifetimes(db: &Database, gateway: &GatewayId, day: Timestamp) -> Vec<Option<i32>> {
    let partition = db.slicing(gateway).await.unwrap().partition(day);
    let cql = "SELECT TTL(value) FROM @.reading WHERE gateway = ? AND day = ? AND bucket = ?";
    let rows: Vec<(Option<i32>,)> = db.all(cql, (gateway.as_str(), partition.date(), partition.bucket)).await.unwrap();
    rows.into_iter().map(|(ttl,)| ttl).collect()
}

#[tokio::test]
async fn readings_live_for_what_is_left_and_longer_where_more_is_kept() {
    let [db]: [Database; 1] = openings(TIMING).await;
    let document = any_document(&mut Dice(5), &Stamps::new());
    let document = DocumentWrite { values: vec![Value { series: 0, time: minute(0), value: 1.0 }], ..document };
    let now = minute(2 * 1440);
    let keep = async |days: Option<u32>| {
        let settings = ProviderSettings { retention_days: days, ..ProviderSettings::default() };
        let save = move |_: &Catalog| Ok(vec![Change::Put(Record::Settings(settings.clone()))]);
        db.catalog_change(None, save).await.unwrap();
        for now in [now, now.plus_millis(120_000)] {
            assert!(db.lifetime_step(days, now).await.unwrap());
        }
    };
    let left = async || {
        let lifetimes = lifetimes(&db, &document.gateway, minute(0)).await;
        assert_eq!(lifetimes.len(), 1);
        lifetimes[0].map(|seconds| f64::from(seconds) / 86_400.0)
    };
    keep(Some(10)).await;
    document::write(&db, &document, now).await.unwrap();
    // Ten days and the one that windows at the edge follow from, less the reading's age.
    assert!(left().await.is_some_and(|days| (8.9..9.1).contains(&days)), "{:?}", left().await);
    keep(Some(4)).await;
    keep(Some(30)).await;
    assert!(left().await.is_some_and(|days| (28.9..29.1).contains(&days)), "{:?}", left().await);
    keep(None).await;
    assert_eq!(left().await, None);
    let page = reading::page(&db, &document.gateway, TimeWindow::ALWAYS, 10).await.unwrap();
    assert_eq!((page.rows.len(), page.rows[0].value), (1, 1.0));
    remove(&db).await;
}
