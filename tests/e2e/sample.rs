//! What tests push, and what they write into a provider's file themselves.

use std::path::Path;

use heliograph_domain::{GatewayId, MetricName, ProviderId, SensorId, Timestamp, Unit};
use heliograph_store::{DocumentWrite, ProviderStore, SensorSeen, SeriesSeen, Store, StoreUrl, Value, WriteStamp};

/// A document that nothing reads but [`GREENHOUSE`].
pub(crate) const STATION: &str =
    "<station serial='gw-0'><row name='north' at='2026-06-15T11:00:00Z'><temp>21,5</temp></row></station>";

/// The mapping that makes one reading of [`STATION`]: 21.5 °C of `north`.
pub(crate) const GREENHOUSE: &str = "name = 'greenhouse'\nroot = 'station'\ngateway = '{/station/@serial}'\n[[reading]]\n\
    each = '/station/row/temp'\nsensor = '{../@name}'\nmetric = 'temperature'\nunit = 'C'\nvalue = '{.}'\n\
    number = 'decimal-comma'\ntime = '{../@at}'\n";

/// The store of a provider in the folder that commands take where none is named.
pub(crate) fn open(folder: &Path, provider: &str) -> ProviderStore {
    let store = Store::open(StoreUrl::sqlite(folder.join("data"))).unwrap();
    store.provider(&ProviderId::parse(provider).unwrap()).unwrap()
}

/// What a gateway pushes of one series: sensor, metric and unit.
pub(crate) fn document(
    gateway: &str,
    (sensor, metric, unit): (&str, &str, &str),
    received: Timestamp,
    values: impl IntoIterator<Item = (Timestamp, f64)>,
) -> DocumentWrite {
    DocumentWrite {
        gateway: GatewayId::parse(gateway).unwrap(),
        received,
        stamp: WriteStamp::at(received),
        address: "127.0.0.1:1".to_owned(),
        sensors: vec![SensorSeen { id: SensorId::parse(sensor).unwrap(), role: None }],
        series: vec![SeriesSeen {
            sensor: 0,
            metric: MetricName::parse(metric).unwrap(),
            unit: Unit::parse(unit).unwrap(),
            kind: None,
            quantity: None,
        }],
        values: values.into_iter().map(|(time, value)| Value { series: 0, time, value }).collect(),
        quarantine: None,
    }
}
