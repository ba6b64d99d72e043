//! Documents for the tests within this crate.

use heliograph_domain::{GatewayId, Kind, MetricName, Quantity, SensorId, SensorRole, Timestamp, Unit};
use heliograph_store::{DocumentWrite, SensorSeen, SeriesSeen, Value, WriteStamp};

/// What a gateway pushes of the power of its inverter.
pub(crate) fn power(gateway: &str, received: Timestamp, values: impl IntoIterator<Item = (Timestamp, f64)>) -> DocumentWrite {
    DocumentWrite {
        gateway: GatewayId::parse(gateway).unwrap(),
        received,
        stamp: WriteStamp::at(received),
        address: "192.0.2.1:5000".to_owned(),
        sensors: vec![SensorSeen { id: SensorId::parse("inverter-1").unwrap(), role: Some(SensorRole::Inverter) }],
        series: vec![SeriesSeen {
            sensor: 0,
            metric: MetricName::parse("power").unwrap(),
            unit: Unit::parse("W").unwrap(),
            kind: Some(Kind::Gauge),
            quantity: Some(Quantity::AcPower),
        }],
        values: values.into_iter().map(|(time, value)| Value { series: 0, time, value }).collect(),
        quarantine: None,
    }
}
