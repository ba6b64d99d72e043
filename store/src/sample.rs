//! Documents for the tests within this crate.

use heliograph_domain::{GatewayId, MetricName, SensorId, Timestamp, Unit};

use crate::document::{DocumentWrite, SensorSeen, SeriesSeen, Value};
use crate::stamp::WriteStamp;

/// What `gw-1` pushes of the power of its meter.
pub(crate) fn power(received: Timestamp, values: impl IntoIterator<Item = (Timestamp, f64)>) -> DocumentWrite {
    DocumentWrite {
        gateway: GatewayId::parse("gw-1").unwrap(),
        received,
        stamp: WriteStamp::at(received),
        address: "192.0.2.1:4000".to_owned(),
        sensors: vec![SensorSeen { id: SensorId::parse("meter").unwrap(), role: None }],
        series: vec![SeriesSeen {
            sensor: 0,
            metric: MetricName::parse("power").unwrap(),
            unit: Unit::parse("W").unwrap(),
            kind: None,
            quantity: None,
        }],
        values: values.into_iter().map(|(time, value)| Value { series: 0, time, value }).collect(),
        quarantine: None,
    }
}
