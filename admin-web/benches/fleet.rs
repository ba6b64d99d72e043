//! How long the start page takes with 1,000 gateways, and how large it is, asked
//! through the panel's router over an embedded store. `docs/performance.md` keeps
//! results.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and cannot go on without its store"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use heliograph_admin_web::{PanelSettings, router};
use heliograph_domain::{
    CredentialId, EmailAddress, GatewayId, KeyDigest, Kind, Location, LocationId, MetricName, Position, ProviderId, Quantity,
    SensorId, SensorRole, Timestamp, Unit, UserId, UserRole, Zone,
};
use heliograph_store::{
    CredentialNew, DocumentWrite, GatewayCommissioning, ProviderStore, SensorSeen, SensorUpdate, SeriesSeen, SessionRow, Store,
    StoreUrl, UserRecord, Value, WriteStamp,
};
use tower::ServiceExt as _;
use uuid::Uuid;

/// What the binary has, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GATEWAYS: u32 = 1000;
/// Gateways of a location.
const HERE: u32 = 4;
const QUARTER_MS: i64 = 900_000;
/// A day.
const QUARTERS: i64 = 96;
/// Each page is asked for this often, or for as long.
const REQUESTS: usize = 2000;
const LONGEST: Duration = Duration::from_secs(15);
/// Live documents a second beside the second round.
const LIVE: u64 = 100;
const PAGES: [&str; 5] = ["/", "/?sort=yield", "/?q=roof+13", "/?state=silent", "/?page=20"];

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(StoreUrl::sqlite(folder.path())).unwrap();
    let store = store.provider(&ProviderId::parse("sunrise").unwrap()).unwrap();
    // Always the same summer afternoon, from which time goes on.
    let (noon, begun) = (Timestamp::parse_rfc3339("2026-06-18T13:07:00Z").unwrap(), Instant::now());
    let clock = Arc::new(move || noon.plus_millis(i64::try_from(begun.elapsed().as_millis()).unwrap()));
    fill(&store, noon).await;
    let router = router(store.clone(), PanelSettings::default(), clock);

    println!("{GATEWAYS} gateways at {} locations, 4 series each, a day of quarters of an hour", GATEWAYS / HERE);
    let (took, bytes) = ask(&router, "/", false).await;
    println!("the first page after a start: {:.0} ms", millis(took));
    let (_, packed) = ask(&router, "/", true).await;
    let (mut assets, mut packed_assets) = (0, 0);
    for path in ["/assets/panel.css", "/assets/theme.css", "/assets/icon.svg"] {
        assets += ask(&router, path, false).await.1;
        packed_assets += ask(&router, path, true).await.1;
    }
    println!("its bytes: {bytes}, with style and icon {}", bytes + assets);
    println!("its bytes, packed: {packed}, with style and icon {}", packed + packed_assets);
    println!("{:<44}{:>9}{:>9}{:>9}{:>9}", "ms", "requests", "p50", "p99", "most");
    for path in PAGES {
        measure(&router, path, path).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let pushing = tokio::spawn(push(store.clone(), noon, begun, Arc::clone(&ended)));
    for path in PAGES {
        measure(&router, path, &format!("{path}, {LIVE} documents/s pushed beside")).await;
    }
    ended.store(true, Ordering::Relaxed);
    pushing.await.unwrap();
    store.close().await;
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

async fn measure(router: &Router, path: &str, what: &str) {
    let (mut times, begun) = (Vec::new(), Instant::now());
    while times.len() < REQUESTS && begun.elapsed() < LONGEST {
        times.push(ask(router, path, true).await.0);
    }
    times.sort_unstable();
    let at = |part: f64| millis(times[((times.len() - 1) as f64 * part) as usize]);
    println!("{what:<44}{:>9}{:>9.1}{:>9.1}{:>9.1}", times.len(), at(0.5), at(0.99), at(1.0));
}

/// How long the owner waits for a page, and how large it is.
async fn ask(router: &Router, path: &str, packed: bool) -> (Duration, usize) {
    let mut request = Request::get(path).header(header::HOST, "panel.example");
    request = request.header(header::COOKIE, "heliograph_sunrise=token");
    if packed {
        request = request.header(header::ACCEPT_ENCODING, "gzip");
    }
    let begun = Instant::now();
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let body = axum::body::to_bytes(response.into_body(), 16 << 20).await.unwrap();
    (begun.elapsed(), body.len())
}

fn uuid(kind: u128, number: u32) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | kind << 32 | u128::from(number))
}

fn gateway(number: u32) -> GatewayId {
    GatewayId::parse(&format!("gw-{number:04}")).unwrap()
}

/// How long a gateway has been quiet: most of them are online.
fn quiet_ms(number: u32) -> i64 {
    match number % 50 {
        7 => 2 * 3_600_000,
        19 | 33 => 27 * 3_600_000,
        _ => 0,
    }
}

async fn fill(store: &ProviderStore, now: Timestamp) {
    let owner = UserRecord {
        id: UserId::new(uuid(1, 1)),
        email: EmailAddress::parse("mara@example.com").unwrap(),
        name: "Mara".to_owned(),
        role: UserRole::Owner,
        customer: None,
        assignment: None,
        password_hash: None,
        created: now,
    };
    store.user_create(owner.clone()).await.unwrap();
    let session = SessionRow {
        digest: KeyDigest::of("token"),
        user: Some(owner.id),
        data: now.as_millis().to_be_bytes().to_vec(),
        expires: now.plus_millis(12 * 3_600_000),
    };
    store.session_save(session).await.unwrap();
    let begin = now.plus_millis(-QUARTERS * QUARTER_MS);
    for number in 0..GATEWAYS {
        let location = LocationId::new(uuid(2, number / HERE));
        if number % HERE == 0 {
            let place = Location {
                id: location,
                name: format!("Site {}", number / HERE),
                zone: Zone::parse(if number % 3 == 0 { "Europe/London" } else { "Europe/Madrid" }).unwrap(),
                position: Some(Position::new(40.0 + f64::from(number % 12), -3.0).unwrap()),
                installed_kwp: Some(80.0),
            };
            store.location_save(place).await.unwrap();
        }
        let commissioning = GatewayCommissioning {
            gateway: gateway(number),
            label: Some(format!("Roof {number}")),
            location,
            from: begin,
            credential: CredentialNew { id: CredentialId::new(uuid(3, number)), digest: KeyDigest([7; 32]) },
            at: begin,
        };
        store.gateway_commission(commissioning).await.unwrap();
        let times = (0..=QUARTERS).map(|quarter| begin.plus_millis(quarter * QUARTER_MS));
        let heard: Vec<Timestamp> = times.filter(|time| now.millis_since(*time) >= quiet_ms(number)).collect();
        // What is silent for longer than a day has one reading.
        let heard = if heard.is_empty() { vec![now.plus_millis(-quiet_ms(number))] } else { heard };
        store.document_write(document(number, &heard, begin)).await.unwrap();
        for inverter in ["inverter-1", "inverter-2"] {
            let update = SensorUpdate { label: None, role: SensorRole::Inverter, rated_w: Some(10_000.0) };
            store.sensor_update(&gateway(number), &SensorId::parse(inverter).unwrap(), update).await.unwrap();
        }
    }
    while store.rollup_settle().await.unwrap() > 0 {}
}

fn document(number: u32, times: &[Timestamp], begin: Timestamp) -> DocumentWrite {
    let series = |sensor: usize, metric: &str, unit: &str, kind: Kind, quantity: Quantity| SeriesSeen {
        sensor,
        metric: MetricName::parse(metric).unwrap(),
        unit: Unit::parse(unit).unwrap(),
        kind: Some(kind),
        quantity: Some(quantity),
    };
    let inverters = ["inverter-1", "inverter-2"];
    let received = times.last().copied().unwrap_or(begin);
    let mut values = Vec::new();
    for time in times {
        let hours = time.millis_since(begin) as f64 / 3_600_000.0;
        let watts = 4000.0 + f64::from(number % 17) * 100.0 + (hours * 0.7).sin() * 1500.0;
        for inverter in 0..inverters.len() {
            values.push(Value { series: inverter * 2, time: *time, value: watts });
            values.push(Value { series: inverter * 2 + 1, time: *time, value: hours * 4200.0 });
        }
    }
    let role = Some(SensorRole::Inverter);
    DocumentWrite {
        gateway: gateway(number),
        received,
        stamp: WriteStamp::at(received),
        address: "203.0.113.7:40112".to_owned(),
        sensors: inverters.iter().map(|id| SensorSeen { id: SensorId::parse(id).unwrap(), role }).collect(),
        series: (0..inverters.len())
            .flat_map(|sensor| {
                [
                    series(sensor, "power", "W", Kind::Gauge, Quantity::AcPower),
                    series(sensor, "energy", "Wh", Kind::Counter, Quantity::EnergyProduced),
                ]
            })
            .collect(),
        values,
        quarantine: None,
    }
}

/// Live documents of one gateway after the other, until it is ended.
async fn push(store: ProviderStore, noon: Timestamp, begun: Instant, ended: Arc<AtomicBool>) {
    let begin = noon.plus_millis(-QUARTERS * QUARTER_MS);
    let mut beat = tokio::time::interval(Duration::from_millis(1000 / LIVE));
    let mut numbers = (0..GATEWAYS).filter(|number| quiet_ms(*number) == 0).cycle();
    while !ended.load(Ordering::Relaxed) {
        beat.tick().await;
        let now = noon.plus_millis(i64::try_from(begun.elapsed().as_millis()).unwrap());
        let number = numbers.next().unwrap();
        store.document_write(document(number, &[now], begin)).await.unwrap();
    }
}
