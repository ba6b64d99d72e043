//! A running server, and a gateway that talks to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heliograph_domain::{
    CredentialId, GatewayId, GatewayKey, KeyDigest, Location, LocationId, ProviderId, ProviderSettings, TimeWindow, Timestamp,
    UnknownGateways, Zone,
};
use heliograph_ingest::{Ingest, IngestSettings};
use heliograph_store::{
    CredentialNew, GatewayCommissioning, ProviderStore, QuarantineRow, ReadingRow, Store, StoreError, StoreUrl,
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const KEY: &str = "correct-horse";
/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-20T12:00:00Z").unwrap()
}

pub(crate) struct Server {
    pub(crate) store: ProviderStore,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<()>,
    pub(crate) folder: TempDir,
}

impl Server {
    /// With gateway `gw-0001` commissioned in Madrid, and the usual limits.
    pub(crate) async fn start() -> Self {
        Self::with(IngestSettings::default(), UnknownGateways::Refused).await
    }

    pub(crate) async fn with(settings: IngestSettings, unknown_gateways: UnknownGateways) -> Self {
        Self::made(settings, unknown_gateways, |ingest, _| ingest).await
    }

    /// With what is said of it before it runs; there is a folder for that.
    pub(crate) async fn made(
        settings: IngestSettings,
        unknown_gateways: UnknownGateways,
        prepare: impl FnOnce(Ingest, &Path) -> Ingest,
    ) -> Self {
        Self::clocked(settings, unknown_gateways, Arc::new(now), prepare).await
    }

    /// With what the provider has set.
    pub(crate) async fn with_provider(settings: IngestSettings, provider: ProviderSettings) -> Self {
        Self::set_up(settings, provider, Arc::new(now), |ingest, _| ingest).await
    }

    /// With a clock that the test moves.
    pub(crate) async fn clocked(
        settings: IngestSettings,
        unknown_gateways: UnknownGateways,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        prepare: impl FnOnce(Ingest, &Path) -> Ingest,
    ) -> Self {
        let provider = ProviderSettings { unknown_gateways, ..ProviderSettings::default() };
        Self::set_up(settings, provider, clock, prepare).await
    }

    async fn set_up(
        settings: IngestSettings,
        provider: ProviderSettings,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        prepare: impl FnOnce(Ingest, &Path) -> Ingest,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let store =
            Store::open(StoreUrl::sqlite(folder.path())).unwrap().provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
        store.settings_save(provider).await.unwrap();
        commission(&store, "gw-0001", "Europe/Madrid", 1).await;
        // Tests read what was acked at once: it has to be in the store, however busy
        // the machine is.
        let settings = IngestSettings { store_deadline: Duration::from_secs(60), ..settings };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let ingest = Ingest::open(store.clone(), settings, &folder.path().join("spool"), clock).await.unwrap();
        let running = tokio::spawn(prepare(ingest, folder.path()).run(listener, "test".to_owned(), shutdown.clone()));
        Self { store, address, shutdown, running, folder }
    }

    pub(crate) async fn connect(&self) -> Gateway {
        Gateway { stream: TcpStream::connect(self.address).await.unwrap() }
    }

    pub(crate) async fn readings(&self, gateway: &str) -> Vec<ReadingRow> {
        let id = GatewayId::parse(gateway).unwrap();
        self.store.reading_page(&id, TimeWindow::ALWAYS, usize::MAX).await.unwrap().rows
    }

    pub(crate) async fn values(&self) -> Vec<f64> {
        self.readings("gw-0001").await.into_iter().map(|row| row.value).collect()
    }

    /// What is in quarantine, the newest first, with its bytes.
    pub(crate) async fn quarantine(&self) -> Vec<QuarantineRow> {
        let mut rows = Vec::new();
        for row in self.store.quarantine_list(None, 1000).await.unwrap() {
            match self.store.quarantine_fetch(row.entry.id).await {
                // It was replayed meanwhile.
                Err(StoreError::NotFound(_)) => {}
                fetched => rows.push(fetched.unwrap()),
            }
        }
        rows
    }
}

pub(crate) async fn commission(store: &ProviderStore, gateway: &str, zone: &str, number: u128) {
    let location = Location {
        id: LocationId::new(Uuid::from_u128(number)),
        name: "Roof".into(),
        zone: Zone::parse(zone).unwrap(),
        position: None,
        installed_kwp: None,
    };
    store.location_save(location.clone()).await.unwrap();
    let key = GatewayKey::parse(KEY).unwrap();
    store
        .gateway_commission(GatewayCommissioning {
            gateway: GatewayId::parse(gateway).unwrap(),
            label: None,
            location: location.id,
            from: Timestamp::clamped(0),
            credential: CredentialNew { id: CredentialId::new(Uuid::from_u128(number)), digest: KeyDigest::of(key.reveal()) },
            at: now(),
        })
        .await
        .unwrap();
}

pub(crate) struct Gateway<S = TcpStream> {
    pub(crate) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gateway<S> {
    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next answer line, without its line feed.
    pub(crate) async fn answer(&mut self) -> String {
        let mut line = Vec::new();
        let read = async {
            loop {
                let mut byte = [0];
                if self.stream.read(&mut byte).await.unwrap() == 0 || byte[0] == b'\n' {
                    return;
                }
                line.push(byte[0]);
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap();
        String::from_utf8(line).unwrap()
    }

    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.answer().await
    }

    /// Everything up to the end that the server makes; a reset is a failure.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, self.stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }
}

/// A push of one inverter's power, a reading a value, a minute apart.
pub(crate) fn push(seq: &str, first_minute: usize, values: &[f64]) -> String {
    let readings: String = values
        .iter()
        .enumerate()
        .map(|(i, value)| {
            let minute = first_minute + i;
            format!(
                "<reading metric=\"power\" unit=\"W\" time=\"2026-11-20T{:02}:{:02}:00Z\">{value}</reading>",
                minute / 60,
                minute % 60
            )
        })
        .collect();
    format!(
        "<push gateway=\"gw-0001\" key=\"{KEY}\" seq=\"{seq}\"><sensor id=\"inverter-1\" kind=\"inverter\">{readings}</sensor></push>"
    )
}
