//! The backends under test, and what tests write into them.

use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Mutex;

use heliograph_domain::{EmailAddress, GatewayId, MetricName, ProviderId, SensorId, Timestamp, Unit, UserId, UserRole};
use heliograph_store::{DocumentWrite, ProviderStore, SensorSeen, SeriesSeen, Stamps, Store, StoreUrl, UserRecord, Value};
use tempfile::TempDir;
use uuid::Uuid;

use crate::cluster::{self, Keyspace};

/// What keeps the data.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend {
    Sqlite,
    Cassandra,
}

/// Every backend that the suite runs on.
pub(crate) const ALL: &[Backend] = &[Backend::Sqlite, Backend::Cassandra];

/// A provider's store of its own for one test.
pub(crate) struct Fresh {
    pub(crate) store: ProviderStore,
    pub(crate) root: Store,
    pub(crate) url: StoreUrl,
    place: Place,
    neighbours: Mutex<Vec<Keyspace>>,
}

/// What goes with the test.
enum Place {
    Folder(TempDir),
    Keyspace(#[expect(dead_code, reason = "kept until it is dropped")] Keyspace),
}

impl Fresh {
    /// The file of a provider's store, where it is one.
    pub(crate) fn file_of(&self, store: &ProviderStore) -> Option<PathBuf> {
        match &self.place {
            Place::Folder(folder) => Some(folder.path().join("data").join(format!("{}.db", store.provider()))),
            Place::Keyspace(_) => None,
        }
    }

    /// Another provider's store in the same place.
    pub(crate) fn neighbour(&self) -> ProviderStore {
        match self.place {
            Place::Folder(_) => self.root.provider(&ProviderId::parse("meridian").unwrap()).unwrap(),
            Place::Keyspace(_) => {
                let keyspace = cluster::keyspace();
                let store = self.root.provider(&keyspace.provider).unwrap();
                self.neighbours.lock().unwrap().push(keyspace);
                store
            }
        }
    }
}

impl Deref for Fresh {
    type Target = ProviderStore;
    fn deref(&self) -> &ProviderStore {
        &self.store
    }
}

impl Backend {
    pub(crate) fn fresh(self) -> Fresh {
        match self {
            Self::Sqlite => {
                let folder = TempDir::new().unwrap();
                let url = StoreUrl::sqlite(folder.path().join("data"));
                let root = Store::open(url.clone()).unwrap();
                let store = root.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
                Fresh { store, root, url, place: Place::Folder(folder), neighbours: Mutex::default() }
            }
            Self::Cassandra => {
                let (keyspace, url) = (cluster::keyspace(), cluster::url());
                let root = Store::open(url.clone()).unwrap();
                let store = root.provider(&keyspace.provider).unwrap();
                Fresh { store, root, url, place: Place::Keyspace(keyspace), neighbours: Mutex::default() }
            }
        }
    }
}

/// Runs a test on a fresh store of every backend.
pub(crate) async fn on_every_backend<F, T>(test: F)
where
    F: Fn(Fresh) -> T,
    T: Future<Output = ()>,
{
    on(ALL, test).await;
}

/// Runs a test on a fresh store of some backends.
pub(crate) async fn on<F, T>(backends: &[Backend], test: F)
where
    F: Fn(Fresh) -> T,
    T: Future<Output = ()>,
{
    for backend in backends {
        println!("on {backend:?}");
        test(backend.fresh()).await;
    }
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

pub(crate) fn minute(minute: i64) -> Timestamp {
    at("2026-06-15T00:00:00Z").plus_millis(minute * 60_000)
}

/// Somebody who owns the provider's data.
pub(crate) fn user(number: u128) -> UserRecord {
    UserRecord {
        id: UserId::new(Uuid::from_u128(number)),
        email: EmailAddress::parse(&format!("u{number}@example.org")).unwrap(),
        name: format!("User {number}"),
        role: UserRole::Owner,
        customer: None,
        assignment: None,
        password_hash: None,
        created: minute(0),
    }
}

pub(crate) fn gateway(id: &str) -> GatewayId {
    GatewayId::parse(id).unwrap()
}

/// Documents of a test are pushed in the order in which they are made.
pub(crate) static STAMPS: Stamps = Stamps::new();

/// A document of one series.
pub(crate) fn document(id: &str, sensor: &str, metric: &str, unit: &str, values: &[(Timestamp, f64)]) -> DocumentWrite {
    let received = values.iter().map(|(time, _)| *time).max().unwrap_or(minute(0));
    DocumentWrite {
        gateway: gateway(id),
        received,
        stamp: STAMPS.next(received),
        address: "127.0.0.1:4000".to_owned(),
        sensors: vec![SensorSeen { id: SensorId::parse(sensor).unwrap(), role: None }],
        series: vec![SeriesSeen {
            sensor: 0,
            metric: MetricName::parse(metric).unwrap(),
            unit: Unit::parse(unit).unwrap(),
            kind: None,
            quantity: None,
        }],
        values: values.iter().map(|(time, value)| Value { series: 0, time: *time, value: *value }).collect(),
        quarantine: None,
    }
}

pub(crate) fn power(id: &str, values: &[(i64, f64)]) -> DocumentWrite {
    let values: Vec<_> = values.iter().map(|(at, value)| (minute(*at), *value)).collect();
    document(id, "inverter-1", "power", "W", &values)
}
