//! A provider with two small plants whose sums the tests compute themselves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use heliograph_domain::{
    Colour, Commission, CommissionId, CredentialId, Customer, CustomerId, EmailAddress, GatewayId, KeyDigest, Kind, Location,
    LocationId, MetricName, Position, ProviderId, ProviderSettings, Quantity, SensorId, SensorRole, TimeWindow, Timestamp, Unit,
    Zone,
};
use heliograph_mailer::{Clock, MailSettings, Sender, TransportSettings};
use heliograph_store::{
    CredentialNew, DocumentWrite, GatewayCommissioning, ProviderStore, SensorSeen, SeriesSeen, Store, StoreUrl, Value, WriteStamp,
};
use tempfile::TempDir;
use uuid::Uuid;

pub const QUARTER_MS: i64 = 900_000;

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A clock that the test sets.
#[derive(Clone)]
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    pub fn new(text: &str) -> Self {
        Self(Arc::new(AtomicI64::new(at(text).as_millis())))
    }

    pub fn clock(&self) -> Clock {
        let hand = Arc::clone(&self.0);
        Arc::new(move || Timestamp::clamped(hand.load(Ordering::SeqCst)))
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::clamped(self.0.load(Ordering::SeqCst))
    }

    pub fn set(&self, to: Timestamp) {
        self.0.store(to.as_millis(), Ordering::SeqCst);
    }

    pub fn advance_minutes(&self, minutes: i64) {
        self.0.fetch_add(minutes * 60_000, Ordering::SeqCst);
    }
}

/// A provider in a folder of its own.
pub struct Plant {
    pub dir: TempDir,
    pub store: ProviderStore,
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + number)
}

/// Wh that a plant gives in the quarter that begins then: a hump around noon
/// UTC, whole numbers, another one each day and gateway.
pub fn quarter_wh(gateway: u128, start: Timestamp) -> f64 {
    let quarter = start.as_millis().rem_euclid(86_400_000) / QUARTER_MS;
    let day = start.as_millis().div_euclid(86_400_000);
    let hump = (20 - (quarter - 48).abs()).max(0);
    let factor = 37 + 3 * day.rem_euclid(5) + i64::try_from(gateway).unwrap();
    (hump * factor) as f64
}

/// What [`quarter_wh`] sums to over a window.
pub fn sum_wh(gateway: u128, window: TimeWindow) -> f64 {
    quarters(window).map(|start| quarter_wh(gateway, start)).sum()
}

fn quarters(window: TimeWindow) -> impl Iterator<Item = Timestamp> {
    let count = window.end().millis_since(window.from) / QUARTER_MS;
    (0..count).map(move |n| window.from.plus_millis(n * QUARTER_MS))
}

/// A local day in Madrid.
pub fn madrid_day(text: &str) -> TimeWindow {
    let zone = Zone::parse("Europe/Madrid").unwrap();
    let day: jiff::civil::Date = text.parse().unwrap();
    TimeWindow::between(zone.start_of_day(day), zone.start_of_day(day.tomorrow().unwrap()))
}

impl Plant {
    /// An empty provider called Sunrise Energy.
    pub async fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let settings = ProviderSettings {
            name: "Sunrise Energy".to_owned(),
            colour: Colour::parse("#0f6b57").unwrap(),
            zone: Zone::parse("Europe/Madrid").unwrap(),
            ..ProviderSettings::default()
        };
        store.settings_save(settings).await.unwrap();
        let location = Location {
            id: LocationId::new(id(1)),
            name: "Casa Lola".to_owned(),
            zone: Zone::parse("Europe/Madrid").unwrap(),
            position: Some(Position::new(40.4, -3.7).unwrap()),
            installed_kwp: Some(10.0),
        };
        store.location_save(location).await.unwrap();
        Self { dir, store }
    }

    /// With one gateway and one customer, who owns it since 20 November 2026;
    /// readings from the 13th to the 21st.
    pub async fn with_one_mail() -> Self {
        let plant = Self::empty().await;
        plant.gateway(1, "North roof").await;
        plant.readings(1, TimeWindow::between(at("2026-11-13T00:00:00Z"), at("2026-11-21T00:00:00Z"))).await;
        plant.customer(1, "Anna Weber", "anna@customer.example").await;
        plant.commission(1, 1, "2026-11-19T23:00:00Z").await;
        plant
    }

    pub async fn gateway(&self, number: u128, label: &str) {
        let commissioning = GatewayCommissioning {
            gateway: gateway_id(number),
            label: Some(label.to_owned()),
            location: LocationId::new(id(1)),
            from: at("2026-01-01T00:00:00Z"),
            credential: CredentialNew { id: CredentialId::new(id(100 + number)), digest: KeyDigest([number as u8; 32]) },
            at: at("2026-01-01T00:00:00Z"),
        };
        self.store.gateway_commission(commissioning).await.unwrap();
    }

    pub async fn rename(&self, gateway: u128, label: &str) {
        self.store.gateway_rename(&gateway_id(gateway), Some(label.to_owned())).await.unwrap();
    }

    pub async fn customer(&self, number: u128, name: &str, email: &str) {
        let email = Some(EmailAddress::parse(email).unwrap());
        self.store.customer_save(Customer { id: customer_id(number), name: name.to_owned(), email }).await.unwrap();
    }

    pub async fn commission(&self, customer: u128, gateway: u128, from: &str) {
        let commission = Commission {
            id: CommissionId::new(id(1000 * customer + gateway)),
            customer: customer_id(customer),
            gateway: gateway_id(gateway),
            window: TimeWindow { from: at(from), until: None },
        };
        self.store.commission_create(commission).await.unwrap();
    }

    /// A counter and a power gauge of one inverter, each quarter of an hour, the
    /// end of the window included.
    pub async fn readings(&self, gateway: u128, window: TimeWindow) {
        let mut total = 1_000_000.0;
        let mut values = Vec::new();
        for start in quarters(window) {
            let energy = quarter_wh(gateway, start);
            values.push(Value { series: 0, time: start, value: total });
            values.push(Value { series: 1, time: start, value: energy * 4.0 });
            total += energy;
        }
        values.push(Value { series: 0, time: window.end(), value: total });
        values.push(Value { series: 1, time: window.end(), value: 0.0 });
        let series = |metric: &str, unit: &str, kind, quantity| SeriesSeen {
            sensor: 0,
            metric: MetricName::parse(metric).unwrap(),
            unit: Unit::parse(unit).unwrap(),
            kind: Some(kind),
            quantity: Some(quantity),
        };
        let document = DocumentWrite {
            gateway: gateway_id(gateway),
            received: window.end(),
            stamp: WriteStamp::at(window.end()),
            address: "192.0.2.1:5000".to_owned(),
            sensors: vec![SensorSeen { id: SensorId::parse("inverter-1").unwrap(), role: Some(SensorRole::Inverter) }],
            series: vec![
                series("energy", "Wh", Kind::Counter, Quantity::EnergyProduced),
                series("power", "W", Kind::Gauge, Quantity::AcPower),
            ],
            values,
            quarantine: None,
        };
        self.store.document_write(document).await.unwrap();
    }

    /// Opens the same files again, as a process does that was started anew.
    pub async fn restart(&mut self) {
        self.store.close().await;
        self.store = open(self.dir.path());
    }

    /// Replaces a text in the store's file, as a failing disk does, by another
    /// one of the same length.
    pub async fn damage(&mut self, text: &str, by: &str) {
        assert_eq!(text.len(), by.len());
        self.store.close().await;
        let path = self.dir.path().join("sunrise.db");
        // The last connection moves what was written into the file as it closes.
        for _ in 0..500 {
            if !self.dir.path().join("sunrise.db-wal").exists() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let places: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place..].starts_with(text.as_bytes())).collect();
        assert!(!places.is_empty(), "{text} is not in the file");
        for place in places {
            bytes[place..place + by.len()].copy_from_slice(by.as_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        self.store = open(self.dir.path());
    }

    pub fn folder(&self) -> std::path::PathBuf {
        self.dir.path().join("mails")
    }

    /// Mails into a folder, due at 6:00.
    pub fn to_folder(&self) -> MailSettings {
        settings(TransportSettings::Folder(self.folder()))
    }
}

pub fn settings(transport: TransportSettings) -> MailSettings {
    MailSettings {
        from: Sender::parse("mail@sunrise.example").unwrap(),
        transport,
        hour: MailSettings::DEFAULT_HOUR,
        public_url: Some("https://panel.sunrise.example/".to_owned()),
        links: true,
    }
}

fn open(dir: &Path) -> ProviderStore {
    let store = Store::open(StoreUrl::sqlite(dir)).unwrap();
    store.provider(&ProviderId::parse("sunrise").unwrap()).unwrap()
}

fn gateway_id(number: u128) -> GatewayId {
    GatewayId::parse(&format!("gw-{number:04}")).unwrap()
}

pub fn customer_id(number: u128) -> CustomerId {
    CustomerId::new(id(10 + number))
}
