//! What is pushed: five inverters of four metrics.

use std::fmt::Write as _;

use heliograph_domain::{GatewayId, MetricName, SensorId, SensorRole, Timestamp, Unit};
use heliograph_store::{DocumentWrite, SensorSeen, SeriesSeen, Value, WriteStamp};

pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const DAY_MS: i64 = 1440 * MINUTE_MS;
/// 2026-09-01, 00:00 UTC.
pub(crate) const START: i64 = 1_788_220_800_000;
/// Where live documents begin: after the months.
const LIVE: i64 = START + 40 * DAY_MS;
/// From one live document of a gateway to the next.
const STEP_MS: i64 = 5_000;
/// When all of it comes: what is older than an hour then would be history, which waits
/// for others.
pub(crate) const RECEIVED: i64 = LIVE + 50 * MINUTE_MS;
const METRICS: [(&str, &str); 4] = [("power", "W"), ("energy", "Wh"), ("voltage", "V"), ("temperature", "°C")];
const SENSORS: usize = 5;
/// Series of a gateway.
pub(crate) const SERIES: usize = SENSORS * METRICS.len();

pub(crate) fn gateway(number: usize) -> GatewayId {
    GatewayId::parse(&format!("gw-{number:04}")).unwrap()
}

/// A value that looks like one, different everywhere.
pub(crate) fn value(gateway: usize, series: usize, instant: i64) -> f64 {
    let wave = ((instant % 1440) as f64 / 1440.0 * std::f64::consts::TAU).sin().abs();
    match series % METRICS.len() {
        0 => (wave * 50_000.0).round() / 10.0 + gateway as f64,
        1 => (instant * 50 + gateway as i64) as f64,
        2 => (2300.0 + wave * 50.0).round() / 10.0,
        _ => (wave * 600.0).round() / 10.0,
    }
}

pub(crate) fn live_time(instant: usize) -> i64 {
    LIVE + instant as i64 * STEP_MS
}

/// All series at one instant.
pub(crate) fn live(gateway: usize, instant: usize) -> DocumentWrite {
    document(gateway, [live_time(instant)].into_iter())
}

/// All series at each minute of an hour.
pub(crate) fn hour(gateway: usize, hour: i64) -> DocumentWrite {
    document(gateway, (0..60).map(|minute| START + (hour * 60 + minute) * MINUTE_MS))
}

fn document(number: usize, times: impl Iterator<Item = i64>) -> DocumentWrite {
    let sensors = (0..SENSORS).map(|sensor| SensorSeen { id: sensor_id(sensor), role: Some(SensorRole::Inverter) }).collect();
    let series = (0..SERIES).map(|series| {
        let (metric, unit) = METRICS[series % METRICS.len()];
        SeriesSeen {
            sensor: series / METRICS.len(),
            metric: MetricName::parse(metric).unwrap(),
            unit: Unit::parse(unit).unwrap(),
            kind: None,
            quantity: None,
        }
    });
    let values = times.flat_map(|time| {
        (0..SERIES).map(move |series| Value {
            series,
            time: Timestamp::clamped(time),
            value: value(number, series, (time - START) / MINUTE_MS),
        })
    });
    let received = Timestamp::clamped(RECEIVED);
    DocumentWrite {
        gateway: gateway(number),
        received,
        stamp: WriteStamp::at(received),
        address: "127.0.0.1:40000".to_owned(),
        sensors,
        series: series.collect(),
        values: values.collect(),
        quarantine: None,
    }
}

fn sensor_id(sensor: usize) -> SensorId {
    SensorId::parse(&format!("inverter-{sensor}")).unwrap()
}

/// [`live`], as it is pushed.
pub(crate) fn live_xml(number: usize, instant: usize, key: &str) -> String {
    let time = Timestamp::clamped(live_time(instant));
    let mut xml = format!("<push gateway=\"{}\" key=\"{key}\" seq=\"{instant}\">", gateway(number));
    for sensor in 0..SENSORS {
        let _ = write!(xml, "<sensor id=\"inverter-{sensor}\" kind=\"inverter\">");
        for (metric, (name, unit)) in METRICS.iter().enumerate() {
            let value = value(number, sensor * METRICS.len() + metric, (live_time(instant) - START) / MINUTE_MS);
            let _ = write!(xml, "<reading metric=\"{name}\" unit=\"{unit}\" time=\"{time}\">{value}</reading>");
        }
        xml.push_str("</sensor>");
    }
    xml.push_str("</push>");
    xml
}
