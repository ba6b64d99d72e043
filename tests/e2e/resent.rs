//! A document whose gateway never got the ack, though it was stored: it comes again
//! after a second, a day and ninety, over several connections at once. It is answered
//! as the first time, and no figure and no mail changes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use heliograph_domain::{GatewayId, Period, PeriodKind, ProviderId, TimeWindow, Timestamp};
use heliograph_ingest::{Ingest, IngestSettings};
use heliograph_mailer::{MailSettings, RunSummary, Sender, TransportSettings, run_once};
use heliograph_report::{Scope, gateway_report};
use heliograph_store::{ProviderStore, Store, StoreUrl};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::cluster::STORE;
use crate::crash::commission_in;
use crate::day::{self, Day};
use crate::load::KEY;
use crate::tenant::Tenant;
use crate::together::give_to_customer;

const PATIENCE: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 86_400_000;
const DATE: &str = "2026-11-20";

/// A provider's store, an ingest and a mailer, whose time the test says.
struct World {
    store: ProviderStore,
    clock: Arc<AtomicI64>,
    address: SocketAddr,
    mail: MailSettings,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl World {
    async fn start(url: StoreUrl, provider: &str, folder: &Path) -> Self {
        commission_in(url.clone(), provider, 1).await;
        let store = Store::open(url).unwrap().provider(&ProviderId::parse(provider).unwrap()).unwrap();
        give_to_customer(&store).await;
        let clock = Arc::new(AtomicI64::new(at("2026-11-21T00:05:00Z")));
        let settings = IngestSettings { store_deadline: PATIENCE, ..IngestSettings::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ingest = Ingest::open(store.clone(), settings, &folder.join("spool"), time_of(&clock)).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(ingest.run(listener, "test".to_owned(), shutdown.clone()));
        let mail = MailSettings {
            from: Sender::parse("reports@sunrise.example").unwrap(),
            transport: TransportSettings::Folder(folder.join("mails")),
            hour: MailSettings::DEFAULT_HOUR,
            public_url: None,
            links: true,
        };
        Self { store, clock, address, mail, shutdown, running }
    }

    /// Makes and sends what is due.
    async fn run_mailer(&self) -> RunSummary {
        run_once(&self.store, &self.mail, &time_of(&self.clock)).await.unwrap()
    }

    /// All that is stored of the gateway, what a report says of the day, and every mail.
    async fn told(&self) -> [String; 3] {
        let gateway = GatewayId::parse("gw-0").unwrap();
        let readings = self.store.reading_page(&gateway, TimeWindow::ALWAYS, usize::MAX).await.unwrap().rows;
        let now = Timestamp::clamped(at("2026-11-22T00:00:00Z"));
        let period = Period::around(PeriodKind::Day, DATE.parse().unwrap());
        let report = gateway_report(&self.store, &gateway, period, &Scope::everything(), now).await.unwrap();
        let figures = (report.figures, report.buckets, report.sensors, report.gaps);
        [format!("{readings:?}"), format!("{figures:?}"), format!("{:?}", self.store.outbox_list(1000).await.unwrap())]
    }

    async fn stored(&self) -> usize {
        let gateway = GatewayId::parse("gw-0").unwrap();
        self.store.reading_page(&gateway, TimeWindow::ALWAYS, usize::MAX).await.unwrap().rows.len()
    }

    /// Pushes on a connection of its own; answers what is said to it.
    async fn push(&self, xml: &str) -> String {
        self.ask(xml).await.trim_end().to_owned()
    }

    /// The same by HTTP; answers the body.
    async fn post(&self, xml: &str) -> String {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", xml.len());
        let said = self.ask(&(head + xml)).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        said.split_once("\r\n\r\n").unwrap().1.trim_end().to_owned()
    }

    async fn ask(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut said)).await.unwrap().unwrap();
        said
    }

    /// Pushes and is gone before it has read anything, once everything is stored.
    async fn push_unheard(&self, day: &Day) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(day.xml.as_bytes()).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.stored().await < day.readings {
            assert!(Instant::now() < deadline, "{} readings are stored", self.stored().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn at(text: &str) -> i64 {
    Timestamp::parse_rfc3339(text).unwrap().as_millis()
}

fn time_of(clock: &Arc<AtomicI64>) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    let clock = Arc::clone(clock);
    Arc::new(move || Timestamp::clamped(clock.load(Ordering::SeqCst)))
}

async fn check(url: StoreUrl, provider: &str) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(url, provider, folder.path()).await;
    let mut day = day::load("day-sunrise.xml", DATE);
    day.xml = day.xml.replace("gateway=\"gw-0001\"", &format!("gateway=\"gw-0\" key=\"{KEY}\""));
    world.push_unheard(&day).await;
    let began = world.clock.load(Ordering::SeqCst);

    let ack = format!("<ack seq=\"day-{DATE}\" readings=\"{}\"/>", day.readings);
    let mut figures = None;
    for after in [1000, DAY_MS, 90 * DAY_MS] {
        world.clock.store(began + after, Ordering::SeqCst);
        // What became due meanwhile, after the first day the mail about the document's,
        // is not what the document changes.
        world.run_mailer().await;
        let before = world.told().await;
        assert_eq!(world.push(&day.xml).await, ack, "{after} ms later");
        let together = tokio::join!(world.push(&day.xml), world.push(&day.xml), world.post(&day.xml));
        assert_eq!(together, (ack.clone(), ack.clone(), ack.clone()), "{after} ms later");
        world.clock.fetch_add(60_000, Ordering::SeqCst);
        assert_eq!(world.run_mailer().await, RunSummary::default(), "{after} ms later");
        let told = world.told().await;
        assert!(told == before, "{after} ms later: {told:?}\nnot\n{before:?}");
        let figures = figures.get_or_insert_with(|| told[1].clone());
        assert!(told[1] == *figures, "{after} ms later: {told:?}\nnot\n{figures}");
        assert_eq!(world.stored().await, day.readings);
    }
    let mails = world.store.outbox_list(1000).await.unwrap();
    assert!(mails.iter().any(|mail| mail.key.period == DATE), "{mails:?}");
    world.shutdown.cancel();
    world.running.await.unwrap();
    world.store.close().await;
}

#[tokio::test]
async fn a_document_that_comes_again_changes_nothing_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    check(StoreUrl::sqlite(folder.path()), "sunrise").await;
}

#[tokio::test]
async fn a_document_that_comes_again_changes_nothing_on_a_cluster() {
    let tenant = Tenant::set_up(STORE);
    check(tenant.store(), &tenant.id).await;
}
