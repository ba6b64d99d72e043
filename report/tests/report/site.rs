//! A provider with a store of its own, filled by documents.

use heliograph_domain::{
    Commission, CommissionId, CredentialId, Customer, CustomerId, GatewayId, KeyDigest, Kind, Location, LocationId, MetricName,
    Period, PeriodKind, Position, ProviderId, Quantity, SensorId, SensorRole, TimeWindow, Timestamp, Unit, Zone,
};
use heliograph_report::{GatewayReport, Scope, gateway_report};
use heliograph_store::{
    CredentialNew, DocumentWrite, GatewayCommissioning, ProviderStore, SensorSeen, SensorUpdate, SeriesSeen, Store, StoreUrl,
    Value, WriteStamp,
};
use jiff::civil;

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const QUARTER: i64 = 15 * MINUTE;
pub(crate) const HOUR: i64 = 60 * MINUTE;

pub(crate) struct Site {
    pub(crate) store: ProviderStore,
    _folder: tempfile::TempDir,
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

pub(crate) fn gateway(id: &str) -> GatewayId {
    GatewayId::parse(id).unwrap()
}

pub(crate) fn number(id: u32) -> String {
    format!("00000000-0000-7000-8000-{id:012}")
}

pub(crate) fn location_id(id: u32) -> LocationId {
    LocationId::parse(&number(id)).unwrap()
}

pub(crate) fn customer_id(id: u32) -> CustomerId {
    CustomerId::parse(&number(id)).unwrap()
}

pub(crate) fn day(year: i16, month: i8, day: i8) -> Period {
    Period::around(PeriodKind::Day, civil::date(year, month, day))
}

pub(crate) fn month(year: i16, month: i8) -> Period {
    Period::around(PeriodKind::Month, civil::date(year, month, 1))
}

/// A series to write: who, what, and its values.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) sensor: &'static str,
    pub(crate) role: SensorRole,
    pub(crate) kind: Kind,
    pub(crate) quantity: Quantity,
    pub(crate) values: Vec<(Timestamp, f64)>,
}

pub(crate) fn counter(sensor: &'static str, role: SensorRole, quantity: Quantity, values: Vec<(Timestamp, f64)>) -> Written {
    Written { sensor, role, kind: Kind::Counter, quantity, values }
}

pub(crate) fn power(sensor: &'static str, role: SensorRole, values: Vec<(Timestamp, f64)>) -> Written {
    Written { sensor, role, kind: Kind::Gauge, quantity: Quantity::AcPower, values }
}

/// Instants of a window, its end included, a step apart.
pub(crate) fn ticks(window: TimeWindow, step: i64) -> Vec<Timestamp> {
    let count = window.end().millis_since(window.from) / step;
    (0..=count).map(|i| window.from.plus_millis(i * step)).collect()
}

/// A counter that stands at `start` and rises by `rise(k)` in the k-th step.
pub(crate) fn rising(times: &[Timestamp], start: f64, rise: impl Fn(usize) -> f64) -> Vec<(Timestamp, f64)> {
    let mut value = start;
    let step = |(k, time): (usize, &Timestamp)| {
        value += if k == 0 { 0.0 } else { rise(k - 1) };
        (*time, value)
    };
    times.iter().enumerate().map(step).collect()
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(StoreUrl::sqlite(folder.path())).unwrap();
        Self { store: store.provider(&ProviderId::parse("sunrise").unwrap()).unwrap(), _folder: folder }
    }

    pub(crate) async fn location(&self, id: u32, zone: &str) {
        self.location_at(id, zone, None, None).await;
    }

    pub(crate) async fn location_at(&self, id: u32, zone: &str, position: Option<(f64, f64)>, kwp: Option<f64>) {
        let location = Location {
            id: location_id(id),
            name: format!("Roof {id}"),
            zone: Zone::parse(zone).unwrap(),
            position: position.map(|(latitude, longitude)| Position::new(latitude, longitude).unwrap()),
            installed_kwp: kwp,
        };
        self.store.location_save(location).await.unwrap();
    }

    /// Commissions a gateway at a location since the beginning of 2020.
    pub(crate) async fn place(&self, id: &str, location: u32) {
        self.place_from(id, location, at("2020-01-01T00:00:00Z")).await;
    }

    pub(crate) async fn place_from(&self, id: &str, location: u32, from: Timestamp) {
        let credential = CredentialId::parse(&number(900 + u32::try_from(id.len()).unwrap() * 50 + location)).unwrap();
        let mut digest = [0u8; 32];
        digest.iter_mut().zip(id.bytes()).for_each(|(slot, byte)| *slot = byte);
        let commissioning = GatewayCommissioning {
            gateway: gateway(id),
            label: None,
            location: location_id(location),
            from,
            credential: CredentialNew { id: credential, digest: KeyDigest(digest) },
            at: from,
        };
        self.store.gateway_commission(commissioning).await.unwrap();
    }

    /// Documents were taken in over that time, and nobody knows of the time before.
    pub(crate) async fn taken_in(&self, within: TimeWindow) {
        for time in ticks(within, 3 * MINUTE) {
            self.store.intake_note(time).await.unwrap();
        }
    }

    pub(crate) async fn customer(&self, id: u32) {
        let customer = Customer { id: customer_id(id), name: format!("Customer {id}"), email: None };
        self.store.customer_save(customer).await.unwrap();
    }

    pub(crate) async fn give(&self, customer: u32, id: &str, from: Timestamp, until: Option<Timestamp>) -> CommissionId {
        let commission = CommissionId::parse(&number(5000 + customer * 100 + u32::from(id.bytes().last().unwrap()))).unwrap();
        let given = Commission {
            id: commission,
            customer: customer_id(customer),
            gateway: gateway(id),
            window: TimeWindow { from, until },
        };
        self.store.commission_create(given).await.unwrap();
        commission
    }

    /// Pushes series, received with their last value.
    pub(crate) async fn write(&self, id: &str, series: &[Written]) {
        let received = series.iter().filter_map(|series| series.values.last()).map(|(time, _)| *time).max().unwrap();
        let mut document = DocumentWrite {
            gateway: gateway(id),
            received,
            stamp: WriteStamp::at(received),
            address: "192.0.2.1:40000".to_owned(),
            sensors: Vec::new(),
            series: Vec::new(),
            values: Vec::new(),
            quarantine: None,
        };
        for written in series {
            let sensor = SensorSeen { id: SensorId::parse(written.sensor).unwrap(), role: Some(written.role) };
            let index = document.sensors.iter().position(|known| *known == sensor).unwrap_or_else(|| {
                document.sensors.push(sensor);
                document.sensors.len() - 1
            });
            let unit = match (written.kind, written.quantity) {
                (_, Quantity::IrradiancePlane) => "W/m²",
                (Kind::Gauge, _) => "W",
                _ => "Wh",
            };
            document.series.push(SeriesSeen {
                sensor: index,
                metric: MetricName::parse(&format!("{}-{}", written.quantity, written.kind)).unwrap(),
                unit: Unit::parse(unit).unwrap(),
                kind: Some(written.kind),
                quantity: Some(written.quantity),
            });
            let series = document.series.len() - 1;
            document.values.extend(written.values.iter().map(|(time, value)| Value { series, time: *time, value: *value }));
        }
        self.store.document_write(document).await.unwrap();
    }

    pub(crate) async fn rate(&self, id: &str, sensor: &str, role: SensorRole, rated_w: f64) {
        let update = SensorUpdate { label: None, role, rated_w: Some(rated_w) };
        self.store.sensor_update(&gateway(id), &SensorId::parse(sensor).unwrap(), update).await.unwrap();
    }

    /// The provider's own view long after the period.
    pub(crate) async fn report(&self, id: &str, period: Period) -> GatewayReport {
        gateway_report(&self.store, &gateway(id), period, &Scope::everything(), at("2027-06-01T00:00:00Z")).await.unwrap()
    }
}

pub(crate) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1.0)
}

#[track_caller]
pub(crate) fn assert_close(got: Option<f64>, expected: f64) {
    assert!(got.is_some_and(|got| close(got, expected)), "{got:?} is not {expected}");
}
