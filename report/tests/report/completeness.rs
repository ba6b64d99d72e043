//! What was expected, what was covered, and where nothing was.

use heliograph_domain::{Quantity, SensorRole, TimeWindow, Timestamp};
use heliograph_report::{BucketState, Scope, gateway_report};

use crate::site::{HOUR, MINUTE, QUARTER, Site, assert_close, at, counter, day, gateway, month, rising, ticks};

const PRODUCED: Quantity = Quantity::EnergyProduced;

fn span(from: &str, until: &str) -> TimeWindow {
    TimeWindow::between(at(from), at(until))
}

async fn site_at(position: Option<(f64, f64)>, role: SensorRole, times: &[Timestamp]) -> Site {
    let site = Site::new();
    site.location_at(1, "Europe/Madrid", position, None).await;
    site.place("gw-1", 1).await;
    let quantity = if role == SensorRole::Grid { Quantity::EnergyImported } else { PRODUCED };
    site.write("gw-1", &[counter("s", role, quantity, rising(times, 0.0, |_| 10.0))]).await;
    site
}

const MADRID: Option<(f64, f64)> = Some((40.4168, -3.7038));

#[tokio::test]
async fn a_gap_lowers_completeness_and_is_listed() {
    let mut times = ticks(span("2026-06-09T22:00:00Z", "2026-06-10T22:00:00Z"), QUARTER);
    let gap = span("2026-06-10T09:00:00Z", "2026-06-10T11:30:00Z");
    times.retain(|time| *time <= gap.from || *time >= gap.end());
    let site = site_at(None, SensorRole::Grid, &times).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    assert_eq!(report.gaps, [gap]);
    assert_close(report.figures.completeness.ratio(), 21.5 / 24.0);
    let missing = report.buckets.iter().filter(|bucket| bucket.state() == BucketState::Missing).count();
    // The quarter after the gap holds what rose over it.
    assert_eq!(missing, 10);
    assert!(report.sensors[0].gaps == report.gaps);
}

#[tokio::test]
async fn forty_minutes_are_no_gap_and_are_covered() {
    let mut times = ticks(span("2026-06-09T22:00:00Z", "2026-06-10T22:00:00Z"), 5 * MINUTE);
    times.retain(|time| *time <= at("2026-06-10T09:00:00Z") || *time >= at("2026-06-10T09:40:00Z"));
    let site = site_at(None, SensorRole::Grid, &times).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    assert!(report.gaps.is_empty());
    assert_close(report.figures.completeness.ratio(), 1.0);
}

#[tokio::test]
async fn an_inverter_is_expected_in_daylight_only_where_the_position_is_known() {
    // Solstice in Madrid: the sun is up from 04:45 to 19:48 UTC.
    let times = ticks(span("2026-06-21T05:00:00Z", "2026-06-21T19:30:00Z"), QUARTER);
    let known = site_at(MADRID, SensorRole::Inverter, &times).await.report("gw-1", day(2026, 6, 21)).await;
    assert_close(known.figures.completeness.ratio(), 1.0);
    assert!(known.gaps.is_empty());
    let unknown = site_at(None, SensorRole::Inverter, &times).await.report("gw-1", day(2026, 6, 21)).await;
    // From the first reading to midnight, which is at 22:00 UTC.
    assert_close(unknown.figures.completeness.ratio(), 14.5 / 17.0);
    let meter = site_at(MADRID, SensorRole::Grid, &times).await.report("gw-1", day(2026, 6, 21)).await;
    assert_close(meter.figures.completeness.ratio(), 14.5 / 17.0);
}

#[tokio::test]
async fn an_outage_of_days_is_one_gap_across_its_nights() {
    let mut times = ticks(span("2026-06-01T00:00:00Z", "2026-06-30T00:00:00Z"), QUARTER);
    let gap = span("2026-06-10T10:00:00Z", "2026-06-12T12:00:00Z");
    times.retain(|time| *time <= gap.from || *time >= gap.end());
    let site = site_at(MADRID, SensorRole::Inverter, &times).await;
    let report = site.report("gw-1", month(2026, 6)).await;
    assert_eq!(report.gaps.first(), Some(&gap));
    let states: Vec<_> = report.buckets.iter().map(|bucket| bucket.state()).collect();
    assert_eq!(states[8], BucketState::Complete);
    assert_eq!(states[9], BucketState::Incomplete);
    assert_eq!(states[10], BucketState::Missing);
    assert_eq!(states[11], BucketState::Incomplete);
    assert_eq!(states[12], BucketState::Complete);
}

#[tokio::test]
async fn what_is_not_over_is_not_missing() {
    let times = ticks(span("2026-06-09T22:00:00Z", "2026-06-10T10:00:00Z"), QUARTER);
    let site = site_at(None, SensorRole::Grid, &times).await;
    let id = gateway("gw-1");
    let at_time = |now: Timestamp| {
        let (store, id) = (&site.store, &id);
        async move { gateway_report(store, id, day(2026, 6, 10), &Scope::everything(), now).await.unwrap() }
    };
    let soon = at_time(at("2026-06-10T10:14:00Z")).await;
    assert_close(soon.figures.completeness.ratio(), 1.0);
    assert_eq!(soon.buckets.last().unwrap().state(), BucketState::Idle);
    let later = at_time(at("2026-06-10T13:00:00Z")).await;
    assert!(later.figures.completeness.ratio().unwrap() < 0.9);
    assert_eq!(later.gaps.len(), 1);
}

#[tokio::test]
async fn nothing_is_expected_before_the_first_reading() {
    let times = ticks(span("2026-06-10T10:00:00Z", "2026-06-30T22:00:00Z"), HOUR / 2);
    let report = site_at(None, SensorRole::Grid, &times).await.report("gw-1", month(2026, 6)).await;
    assert_close(report.figures.completeness.ratio(), 1.0);
    assert!(report.gaps.is_empty());
    assert_eq!(report.buckets[0].state(), BucketState::Idle);
    let nothing = site_at(None, SensorRole::Grid, &times).await.report("gw-1", month(2026, 5)).await;
    assert_eq!(nothing.figures.completeness.ratio(), None);
    assert_eq!(nothing.figures.produced, None);
}

#[tokio::test]
async fn a_dead_inverter_shows_in_completeness_though_others_talk() {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.place("gw-1", 1).await;
    let all = ticks(span("2026-06-10T00:00:00Z", "2026-06-11T00:00:00Z"), QUARTER);
    let half = ticks(span("2026-06-10T00:00:00Z", "2026-06-10T12:00:00Z"), QUARTER);
    let inverter = |sensor, times: &[Timestamp]| counter(sensor, SensorRole::Inverter, PRODUCED, rising(times, 0.0, |_| 10.0));
    site.write("gw-1", &[inverter("inv-1", &all), inverter("inv-2", &half)]).await;
    let report = site.report("gw-1", day(2026, 6, 10)).await;
    assert_close(report.figures.completeness.ratio(), 0.75);
    assert!(report.gaps.is_empty(), "the site itself was heard");
    assert_eq!(report.sensors[1].gaps, [span("2026-06-10T12:00:00Z", "2026-06-11T00:00:00Z")]);
}
