//! Two providers with people of every role, and requests against the first
//! one's panel.
//!
//! *sunrise* has two customers. Ana's owns `gw-1` since 10 June, Ben's owns
//! `gw-2`; `gw-3` waits. Each of the two has an inverter whose counter rises by
//! 1,000 Wh (`gw-1`) or 500 Wh (`gw-2`) a quarter of an hour, from 1 June on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use heliograph_admin_web::{PanelSettings, Replay, Tried, hash_password, router};
use heliograph_domain::{
    Alert, AlertCause, AlertId, AlertKey, AlertKind, ArrayId, Assignment, Commission, CommissionId, CorrectionId, CorrectionKind,
    CredentialId, Customer, CustomerId, EmailAddress, GatewayId, InstalledArray, KeyDigest, Kind, Location, LocationId,
    Maintenance, MaintenanceId, MaintenanceSubject, MetricName, Note, OutboxId, Point, PointId, ProviderId, ProviderSettings,
    Quantity, QuarantineId, RefusalCode, Secret, SensorId, SensorRole, SeriesKey, TimeWindow, Timestamp, Unit, UserId, UserRole,
    Zone,
};
use heliograph_store::{
    AlertChange, CorrectionNew, CredentialNew, DocumentWrite, GatewayCommissioning, OutboxKey, OutboxNew, ProviderStore,
    QuarantineNew, SensorSeen, SeriesSeen, SessionRow, Store, StoreUrl, UserRecord, Value, WriteStamp,
};
use tempfile::TempDir;
use tower::ServiceExt as _;
use uuid::Uuid;

/// The password of everybody.
pub(crate) const PASSWORD: &str = "a calm sunny terrace";
/// An address that the first provider's panel is asked at.
pub(crate) const HOST: &str = "panel.example";

pub(crate) const QUARTER_MS: i64 = 900_000;
pub(crate) const LOCATION: &str = "00000000-0000-7000-8000-000100000001";
pub(crate) const ANAS: &str = "00000000-0000-7000-8000-000200000001";
pub(crate) const BENS: &str = "00000000-0000-7000-8000-000200000002";
pub(crate) const COMMISSION: &str = "00000000-0000-7000-8000-000300000001";
pub(crate) const BENS_COMMISSION: &str = "00000000-0000-7000-8000-000300000002";
pub(crate) const KEY: &str = "00000000-0000-7000-8000-000400000001";
pub(crate) const NEW_KEY: &str = "00000000-0000-7000-8000-000400000099";
pub(crate) const VIEWER: &str = "00000000-0000-7000-8000-000500000003";
pub(crate) const REFUSED: &str = "00000000-0000-7000-8000-000600000001";
pub(crate) const MAIL: &str = "00000000-0000-7000-8000-000700000001";
pub(crate) const POINT: &str = "00000000-0000-7000-8000-000800000001";
pub(crate) const ARRAY: &str = "00000000-0000-7000-8000-000900000001";
pub(crate) const CORRECTION: &str = "00000000-0000-7000-8000-000a00000001";
pub(crate) const ALERT: &str = "00000000-0000-7000-8000-000b00000001";
pub(crate) const WINDOW: &str = "00000000-0000-7000-8000-000c00000001";
pub(crate) const UNKNOWN: &str = "00000000-0000-7000-8000-00ff000000ff";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Nobody,
    Customer,
    OtherCustomer,
    Viewer,
    Operator,
    Owner,
    /// The owner of another provider, who presents that panel's token.
    OtherProvider,
    /// Whoever [`World::let_installer_in`] let in.
    Installer,
}

impl Who {
    pub(crate) const ALL: [Self; 7] =
        [Self::Nobody, Self::Customer, Self::OtherCustomer, Self::Viewer, Self::Operator, Self::Owner, Self::OtherProvider];

    pub(crate) const fn email(self) -> &'static str {
        match self {
            Self::Nobody => "nobody@example.com",
            Self::Customer => "ana@example.com",
            Self::OtherCustomer => "ben@example.com",
            Self::Viewer => "vera@example.com",
            Self::Operator => "otto@example.com",
            Self::Owner => "mara@example.com",
            Self::OtherProvider => "olga@example.com",
            Self::Installer => "ines@example.com",
        }
    }

    fn token(self) -> String {
        format!("token-of-{}", self.email())
    }
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// Thursday, 18 June 2026, a little after three in Madrid.
pub(crate) fn start() -> Timestamp {
    at("2026-06-18T13:07:00Z")
}

pub(crate) fn id(kind: u128, number: u128) -> Uuid {
    Uuid::from_u128(0x7000_8000_0000_0000_0000 | kind << 32 | number)
}

pub(crate) fn digest(text: &str) -> KeyDigest {
    KeyDigest::of(text)
}

pub(crate) fn gateway(text: &str) -> GatewayId {
    GatewayId::parse(text).unwrap()
}

/// As a panel is run; what is tried again holds no readings.
pub(crate) fn usual() -> PanelSettings {
    let replay = Replay::new(|_, _, _| Box::pin(async { Ok(Some(Tried::default())) }));
    PanelSettings { replay: Some(replay), public_url: Some(format!("http://{HOST}")), ..PanelSettings::default() }
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: ProviderStore,
    pub(crate) router: Router,
    clock: Arc<AtomicI64>,
}

/// What the panel answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The session's token in the cookie that is set.
    pub(crate) fn token(&self) -> Option<String> {
        let cookie = self.headers.get(header::SET_COOKIE)?.to_str().unwrap();
        let pair = cookie.split(';').next().unwrap();
        Some(pair.split_once('=').unwrap().1.to_owned())
    }
}

impl World {
    /// Both providers, freshly made.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for provider in ["sunrise", "meridian"] {
            let store = open(folder.path(), provider);
            people(&store, provider).await;
            if provider == "sunrise" {
                seed(&store).await;
            }
            store.close().await;
        }
        Self::over(folder, usual())
    }

    pub(crate) async fn with_settings(settings: PanelSettings) -> Self {
        let Self { folder, store, .. } = Self::new().await;
        store.close().await;
        Self::over(folder, settings)
    }

    /// Has somebody sign in who sets up what stands at some locations.
    pub(crate) async fn let_installer_in(&self, locations: &[LocationId], until: Timestamp) {
        let hash = hash_password(Secret::new(PASSWORD)).await.unwrap();
        let assignment = Assignment::new(until, locations.to_vec(), self.now()).unwrap();
        let ines = UserRecord {
            role: UserRole::Installer,
            assignment: Some(assignment),
            ..person(6, Who::Installer, "Ines", None, hash)
        };
        let_in(&self.store, Who::Installer, ines).await;
    }

    /// Ends this world and keeps its past, in files that nobody has open.
    /// SQLite itself writes them: beside a store that has only just been closed,
    /// files still come and go.
    pub(crate) async fn into_past(self) -> TempDir {
        self.store.close().await;
        let past = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "db") {
                let copy = past.path().join(path.file_name().unwrap());
                let database = rusqlite::Connection::open(&path).unwrap();
                database.busy_timeout(Duration::from_secs(10)).unwrap();
                database.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
            }
        }
        past
    }

    /// A world with a past that [`Self::into_past`] kept.
    pub(crate) fn after(past: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(past).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        Self::over(folder, usual())
    }

    fn over(folder: TempDir, settings: PanelSettings) -> Self {
        let store = open(folder.path(), "sunrise");
        let clock = Arc::new(AtomicI64::new(start().as_millis()));
        let read = Arc::clone(&clock);
        let router = router(store.clone(), settings, Arc::new(move || Timestamp::clamped(read.load(Ordering::SeqCst))));
        Self { folder, store, router, clock }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::clamped(self.clock.load(Ordering::SeqCst))
    }

    pub(crate) fn pass(&self, minutes: i64) {
        self.clock.fetch_add(minutes * 60_000, Ordering::SeqCst);
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&bytes).into_owned() }
    }

    pub(crate) async fn get(&self, who: Who, path: &str) -> Answer {
        self.send(request(Method::GET, path, who).body(Body::empty()).unwrap()).await
    }

    /// Which version of something a page shows to an owner.
    pub(crate) async fn shown(&self, path: &str) -> String {
        let page = self.get(Who::Owner, path).await.body;
        let from = page.split_once("name=\"seen\" value=\"").unwrap().1;
        from.split('"').next().unwrap().to_owned()
    }

    pub(crate) async fn post(&self, who: Who, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = request(Method::POST, path, who).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(encode(form))).unwrap()).await
    }

    /// A page as somebody with a token of their own sees it.
    pub(crate) async fn get_with(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(path).header(header::HOST, HOST).header(header::COOKIE, cookie(token));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// What somebody with a token of their own sends.
    pub(crate) async fn post_with(&self, token: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = Request::post(path).header(header::HOST, HOST).header(header::COOKIE, cookie(token));
        let request = request
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0");
        self.send(request.body(Body::from(encode(form))).unwrap()).await
    }

    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Answer {
        self.post(Who::Nobody, "/login", &[("email", email), ("password", password)]).await
    }
}

pub(crate) fn request(method: Method, path: &str, who: Who) -> axum::http::request::Builder {
    let request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
    if who == Who::Nobody { request } else { request.header(header::COOKIE, cookie(&who.token())) }
}

pub(crate) fn cookie(token: &str) -> String {
    format!("other=1; heliograph_sunrise={token}")
}

pub(crate) fn encode(form: &[(&str, &str)]) -> String {
    let part = |text: &str| -> String {
        text.bytes()
            .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    form.iter().map(|(key, value)| format!("{}={}", part(key), part(value))).collect::<Vec<_>>().join("&")
}

fn open(folder: &Path, provider: &str) -> ProviderStore {
    let url = StoreUrl::parse(&format!("sqlite:{}?ack=process-crash", folder.display())).unwrap();
    Store::open(url).unwrap().provider(&ProviderId::parse(provider).unwrap()).unwrap()
}

async fn people(store: &ProviderStore, provider: &str) {
    let hash = hash_password(Secret::new(PASSWORD)).await.unwrap();
    let here: &[(u128, Who, &str, UserRole, Option<u128>)] = if provider == "sunrise" {
        &[
            (1, Who::Owner, "Mara", UserRole::Owner, None),
            (2, Who::Operator, "Otto", UserRole::Operator, None),
            (3, Who::Viewer, "Vera", UserRole::Viewer, None),
            (4, Who::Customer, "Ana", UserRole::Customer, Some(1)),
            (5, Who::OtherCustomer, "Ben", UserRole::Customer, Some(2)),
        ]
    } else {
        &[(1, Who::OtherProvider, "Olga", UserRole::Owner, None)]
    };
    for (number, name) in [(1, "Ana’s bakery"), (2, "Ben’s dairy")] {
        let customer = Customer { id: CustomerId::new(id(2, number)), name: name.to_owned(), email: None };
        store.customer_save(customer).await.unwrap();
    }
    for (number, who, name, role, customer) in here {
        let user = UserRecord { role: *role, ..person(*number, *who, name, *customer, hash.clone()) };
        let_in(store, *who, user).await;
    }
}

fn person(number: u128, who: Who, name: &str, customer: Option<u128>, hash: String) -> UserRecord {
    UserRecord {
        id: UserId::new(id(5, number)),
        email: EmailAddress::parse(who.email()).unwrap(),
        name: name.to_owned(),
        role: UserRole::Viewer,
        customer: customer.map(|number| CustomerId::new(id(2, number))),
        assignment: None,
        password_hash: Some(hash),
        created: start(),
    }
}

async fn let_in(store: &ProviderStore, who: Who, user: UserRecord) {
    let session = SessionRow {
        digest: digest(&who.token()),
        user: Some(user.id),
        data: start().as_millis().to_be_bytes().to_vec(),
        expires: start().plus_millis(12 * 3_600_000),
    };
    store.user_create(user).await.unwrap();
    store.session_save(session).await.unwrap();
}

async fn seed(store: &ProviderStore) {
    let settings = ProviderSettings {
        name: "Sunrise Energy".to_owned(),
        zone: Zone::parse("Europe/Madrid").unwrap(),
        ..ProviderSettings::default()
    };
    store.settings_save(settings).await.unwrap();
    let location = Location {
        id: LocationId::parse(LOCATION).unwrap(),
        name: "Haro winery".to_owned(),
        zone: Zone::parse("Europe/Madrid").unwrap(),
        position: None,
        installed_kwp: Some(20.0),
    };
    store.location_save(location.clone()).await.unwrap();
    for (number, name, rise) in [(1, "gw-1", 1000.0), (2, "gw-2", 500.0)] {
        let credential = CredentialNew { id: CredentialId::new(id(4, number)), digest: digest(name) };
        let from = at("2026-05-31T22:00:00Z");
        let new = GatewayCommissioning { gateway: gateway(name), label: None, location: location.id, from, credential, at: from };
        store.gateway_commission(new).await.unwrap();
        write_counter(store, name, "inverter-1", rise, from, start()).await;
    }
    store.gateway_knock(&gateway("gw-3"), "203.0.113.9:4711", start().plus_millis(-300_000)).await.unwrap();
    for (number, name, from) in [(1, "gw-1", "2026-06-09T22:00:00Z"), (2, "gw-2", "2026-06-01T00:00:00Z")] {
        let commission = Commission {
            id: CommissionId::new(id(3, number)),
            customer: CustomerId::new(id(2, number)),
            gateway: gateway(name),
            window: TimeWindow { from: at(from), until: None },
        };
        store.commission_create(commission).await.unwrap();
    }
    let refused = QuarantineNew {
        id: QuarantineId::parse(REFUSED).unwrap(),
        received: start().plus_millis(-60_000),
        gateway: Some("<b>gw</b>".to_owned()),
        address: "203.0.113.9:4711".to_owned(),
        code: RefusalCode::Malformed,
        reason: "end tag <x> expected".to_owned(),
        raw: b"<push><script>alert(1)</script>\xff\0".to_vec(),
        trusted: false,
    };
    store.quarantine_add(refused).await.unwrap();
    let message = "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n12 kWh\r\n\
        --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p style=\"color:red\">12 kWh</p>\r\n--b--\r\n";
    let mail = OutboxNew {
        id: OutboxId::parse(MAIL).unwrap(),
        key: OutboxKey {
            report: "daily".to_owned(),
            period: "2026-06-17".to_owned(),
            recipient: EmailAddress::parse("ana@example.com").unwrap(),
        },
        subject: "Your day".to_owned(),
        message_id: "<daily@sunrise.example>".to_owned(),
        message: message.as_bytes().to_vec(),
        created: start(),
        due: start(),
    };
    assert!(store.outbox_put(mail).await.unwrap());
    equip(store, location.id).await;
    alerts(store).await;
}

/// Things that change no figure: a point of a role that nothing has, an array of what is
/// installed anyway, and a correction of a time without readings.
async fn equip(store: &ProviderStore, location: LocationId) {
    let cellar = Point { id: PointId::new(id(8, 1)), location, name: "Cellar".to_owned(), role: SensorRole::Load };
    store.point_save(cellar).await.unwrap();
    let array = InstalledArray {
        id: ArrayId::new(id(9, 1)),
        location,
        kwp: 20.0,
        tilt: 30.0,
        azimuth: 180.0,
        window: TimeWindow::ALWAYS,
    };
    store.array_save(array).await.unwrap();
    let series = SeriesKey {
        gateway: gateway("gw-2"),
        sensor: SensorId::parse("inverter-1").unwrap(),
        metric: MetricName::parse("energy").unwrap(),
        unit: Unit::parse("Wh").unwrap(),
    };
    let window = TimeWindow::between(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
    let (id, reason) = (CorrectionId::new(id(10, 1)), "tried out".to_owned());
    let new = CorrectionNew { id, series, window, kind: CorrectionKind::Exclude, reason };
    store.correction_create(new).await.unwrap();
}

/// A gateway that has been silent for three hours, and one that is worked on tomorrow.
async fn alerts(store: &ProviderStore) {
    let heard = start().plus_millis(-3 * 3_600_000);
    let cause = AlertCause::Silent { heard, usual_ms: Some(300_000), allowed_ms: 4_200_000 };
    let key = AlertKey::gateway(AlertKind::Silent, gateway("gw-1"));
    let alert = Alert::raise(AlertId::parse(ALERT).unwrap(), key, cause, heard, start());
    store.alert_change(vec![AlertChange::Raise(Box::new(alert))], None, start()).await.unwrap();
    let window = Maintenance {
        id: MaintenanceId::parse(WINDOW).unwrap(),
        subject: MaintenanceSubject::Gateway(gateway("gw-2")),
        window: TimeWindow::between(start().plus_millis(86_400_000), start().plus_millis(2 * 86_400_000)),
        reason: Note::parse("new modules").unwrap(),
        by: UserId::new(id(5, 1)),
    };
    store.maintenance_save(window, start()).await.unwrap();
}

/// A counter of produced energy that rises by as much each quarter of an hour.
pub(crate) async fn write_counter(store: &ProviderStore, name: &str, sensor: &str, rise: f64, from: Timestamp, until: Timestamp) {
    let count = until.millis_since(from) / QUARTER_MS;
    let values =
        (0..=count).map(|step| Value { series: 0, time: from.plus_millis(step * QUARTER_MS), value: step as f64 * rise });
    let document = DocumentWrite {
        gateway: gateway(name),
        received: until,
        stamp: WriteStamp::at(until),
        address: "203.0.113.7:40112".to_owned(),
        sensors: vec![SensorSeen { id: SensorId::parse(sensor).unwrap(), role: Some(SensorRole::Inverter) }],
        series: vec![SeriesSeen {
            sensor: 0,
            metric: MetricName::parse("energy").unwrap(),
            unit: Unit::parse("Wh").unwrap(),
            kind: Some(Kind::Counter),
            quantity: Some(Quantity::EnergyProduced),
        }],
        values: values.collect(),
        quarantine: None,
    };
    store.document_write(document).await.unwrap();
}
