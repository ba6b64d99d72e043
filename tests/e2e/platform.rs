//! Two providers in real containers: documents in by TCP, each panel read in
//! real Chromium, a summary by real SMTP, and nothing of one seen at the other.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use heliograph_report::format;
use jiff::ToSpan;
use mailparse::MailHeaderMap;

use crate::binary::{HELIOGRAPH, run, well_known_ports};
use crate::browser::{Browser, link_path};
use crate::day::{self, Day};
use crate::gateway::Gateway;

const IMAGE: &str = "heliograph:e2e";
const SMTP_PORT: u16 = 2526;
/// A first apply on a busy machine, or a mail's way through a mailer that looks
/// every half minute.
const PATIENCE: Duration = Duration::from_secs(150);

struct Tenant {
    id: &'static str,
    gateway: &'static str,
    fixture: &'static str,
    ingest: u16,
    panel: u16,
    /// Whether its gateway sends one byte a segment.
    dribbles: bool,
}

const TENANTS: [Tenant; 2] = [
    Tenant { id: "sunrise", gateway: "gw-0001", fixture: "day-sunrise.xml", ingest: 6001, panel: 8081, dribbles: false },
    Tenant { id: "meridian", gateway: "gw-1001", fixture: "day-meridian.xml", ingest: 6002, panel: 8082, dribbles: true },
];

/// The fleet on the engine; removed with its data at the end of the test.
struct FleetOnEngine {
    folder: tempfile::TempDir,
    mail: PathBuf,
}

impl FleetOnEngine {
    fn provider(&self, arguments: &[&str]) -> Output {
        run(&[&["provider"], arguments].concat(), self.folder.path())
    }

    fn must(&self, arguments: &[&str]) -> String {
        let output = self.provider(arguments);
        assert!(output.status.success(), "provider {arguments:?}: {}", said(&output));
        said(&output)
    }
}

impl Drop for FleetOnEngine {
    fn drop(&mut self) {
        for tenant in TENANTS {
            drop(self.provider(&["rm", tenant.id, "--delete-data"]));
        }
        drop(script("smtp.sh", &["stop", &self.mail.display().to_string()]));
    }
}

#[tokio::test]
async fn two_providers_from_apply_to_pages_and_mails() {
    let _ports = well_known_ports().await;
    let fleet = start_fleet();
    let date = due_date();
    let mut produced = Vec::new();
    for tenant in &TENANTS {
        let day = day::load(tenant.fixture, &date);
        let browser = set_up(tenant).await;
        let key = commission(&browser, tenant).await;
        push(tenant, &key, &day);
        let shown = read_panel(&browser, tenant, &date).await;
        assert_eq!(spaced(&shown), spaced(&format::energy(day.produced_wh)), "{}", tenant.id);
        let csv = format!("/gateways/{}/report.csv?period=day&date={date}", tenant.gateway);
        let exact = browser.sum_of_csv(&csv, "produced_wh").await;
        assert!((exact - day.produced_wh).abs() < 0.1, "{exact} in the CSV, {} in the fixture", day.produced_wh);
        give_to_customer(&browser, &recipient(tenant), &date).await;
        produced.push((browser, shown));
    }
    assert_ne!(produced[0].1, produced[1].1, "the fixtures have to differ");
    for (number, tenant) in TENANTS.iter().enumerate() {
        let (browser, _) = &produced[number];
        let other = &TENANTS[1 - number];
        sees_nothing_of(browser, other, &produced[1 - number].1, &date).await;
        let mail = spaced(&await_mail(&fleet.mail.join("Maildir/new"), &recipient(tenant), &date));
        let (own, foreign) = (spaced(&produced[number].1), spaced(&produced[1 - number].1));
        assert!(mail.contains(&own), "{own} in {mail}");
        assert!(!mail.contains(&foreign));
    }
    for (browser, _) in produced {
        browser.close().await;
    }
}

/// Plans, applies and applies again.
fn start_fleet() -> FleetOnEngine {
    let engine = docker(&["version", "--format", "{{.Server.Version}}"]);
    assert!(engine.status.success(), "no Docker engine answers; start it: deploy/dev/docker.sh start");
    let gateway = bridge_address();
    let folder = tempfile::tempdir().unwrap();
    let mail = folder.path().join("smtp");
    let fleet = FleetOnEngine { folder, mail };
    let started = script("smtp.sh", &["start", &fleet.mail.display().to_string(), &gateway, &SMTP_PORT.to_string()]);
    assert!(started.status.success(), "{}", said(&started));

    let toml = format!("fleet = \"e2e\"\nimage = \"{IMAGE}\"\ningest_address = \"127.0.0.1\"\nadmin_address = \"127.0.0.1\"\n");
    std::fs::write(fleet.folder.path().join("fleet.toml"), toml).unwrap();
    fleet.must(&["image", "build", "--binary", HELIOGRAPH, "--tag", IMAGE]);
    for tenant in &TENANTS {
        fleet.must(&["add", tenant.id]);
    }
    let mut toml = std::fs::OpenOptions::new().append(true).open(fleet.folder.path().join("fleet.toml")).unwrap();
    for Tenant { id, .. } in &TENANTS {
        writeln!(
            toml,
            "\n[provider.{id}.mail]\nhost = \"{gateway}\"\nport = {SMTP_PORT}\ntls = \"none\"\nfrom = \"reports@{id}.example\""
        )
        .unwrap();
    }
    assert_eq!(fleet.provider(&["plan"]).status.code(), Some(2), "a plan with changes exits 2");
    fleet.must(&["apply", "--timeout", "120"]);
    assert_eq!(fleet.provider(&["plan"]).status.code(), Some(0), "after apply there is nothing to do");
    let again = fleet.must(&["apply"]);
    assert!(again.to_lowercase().contains("nothing to do"), "{again}");
    fleet
}

/// This machine's address on the engine's default bridge. An engine that has just
/// made the bridge names its subnet alone, whose first address is the one.
fn bridge_address() -> String {
    let shown = docker(&["network", "inspect", "bridge", "--format", "{{json (index .IPAM.Config 0)}}"]);
    let range: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap_or_else(|_| panic!("{}", said(&shown)));
    if let Some(gateway) = range["Gateway"].as_str().filter(|gateway| !gateway.is_empty()) {
        return gateway.to_owned();
    }
    let subnet = range["Subnet"].as_str().and_then(|subnet| subnet.split('/').next()).unwrap_or_else(|| panic!("{range}"));
    let network: std::net::Ipv4Addr = subnet.parse().unwrap();
    std::net::Ipv4Addr::from_bits(network.to_bits() + 1).to_string()
}

/// The newest day whose summary is due already where the clock shows UTC.
pub(crate) fn due_date() -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let days = if now.hour() >= 6 { 1 } else { 2 };
    now.date().saturating_sub(days.days()).to_string()
}

/// Makes the owner inside the container and signs in by the one-time link.
async fn set_up(tenant: &Tenant) -> Browser {
    let (id, container) = (tenant.id, format!("admin_panel_{}", tenant.id));
    let email = format!("owner@{id}.example");
    let add = [
        "exec",
        &container,
        "/heliograph",
        "user",
        "add",
        "--provider",
        id,
        "--email",
        &email,
        "--role",
        "owner",
        "--store",
        "sqlite:/data",
    ];
    let output = docker(&add);
    assert!(output.status.success(), "{}", said(&output));
    let browser = Browser::open(format!("http://127.0.0.1:{}", tenant.panel)).await;
    browser.choose_password(&link_path(&text(&output)), "sixteen tons of coal").await;
    browser
}

/// Adds a location and commissions the gateway; answers its key.
async fn commission(browser: &Browser, tenant: &Tenant) -> String {
    browser.go("/locations/new").await;
    browser.fill("#name", &format!("Site of {}", tenant.id)).await;
    browser.fill("#zone", "UTC").await;
    browser.submit("#name").await;
    browser.go("/waiting/commission").await;
    browser.fill("#gateway", tenant.gateway).await;
    browser.choose("#location", "Site of").await;
    browser.set("#from", "2020-01-01T00:00").await;
    browser.submit("#gateway").await;
    browser.text("code.secret").await
}

/// Pushes the day to the provider's own port, as soon as its ingest knows the key.
fn push(tenant: &Tenant, key: &str, day: &Day) {
    let mut gateway = Gateway::connect(SocketAddr::from(([127, 0, 0, 1], tenant.ingest)));
    gateway.hello(tenant.gateway, key);
    let answer = gateway.ask_in_parts(&day.xml, if tenant.dribbles { 1 } else { day.xml.len() });
    assert!(answer.starts_with("<ack") && answer.contains(&format!("readings=\"{}\"", day.readings)), "{answer}");
}

async fn read_panel(browser: &Browser, tenant: &Tenant, date: &str) -> String {
    browser.go(&format!("/gateways/{}?period=day&date={date}", tenant.gateway)).await;
    browser.tile("Energy produced").await
}

/// Figures have a non-breaking space before their unit, which WebDriver and mail
/// parsers show as they please.
pub(crate) fn spaced(text: &str) -> String {
    text.replace(['\u{a0}', '\u{202f}'], " ")
}

/// Who gets a tenant's mails.
fn recipient(tenant: &Tenant) -> String {
    format!("anna@{}.example", tenant.id)
}

/// Adds a customer with an address and gives it the gateway.
pub(crate) async fn give_to_customer(browser: &Browser, email: &str, date: &str) {
    browser.go("/customers/new").await;
    browser.fill("#name", "Anna Castell").await;
    browser.fill("#email", email).await;
    browser.submit("#name").await;
    browser.choose_last("#gateway").await;
    browser.set("#from", &format!("{date}T00:00")).await;
    browser.submit("#gateway").await;
    let page = browser.page().await;
    assert!(page.contains("Current"), "{page}");
}

/// One provider's panel knows nothing of another's gateway or figure.
async fn sees_nothing_of(browser: &Browser, other: &Tenant, figure: &str, date: &str) {
    browser.go("/").await;
    let fleet = browser.page().await;
    assert!(!fleet.contains(other.gateway) && !fleet.contains(other.id) && !fleet.contains(figure), "{fleet}");
    browser.go(&format!("/gateways/{}?period=day&date={date}", other.gateway)).await;
    let missing = browser.page().await;
    assert!(!missing.contains(other.gateway) && !missing.contains(figure), "{missing}");
    assert!(browser.address().await.contains(other.gateway));
}

/// The text of the daily summary to somebody, once a folder has it.
pub(crate) fn await_mail(delivered: &Path, recipient: &str, date: &str) -> String {
    let date: jiff::civil::Date = date.parse().unwrap();
    let day = date.strftime("%-d %B %Y").to_string();
    // What is being written, and the page beside a mail.
    let is_mail = |path: &Path| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && path.extension().is_none_or(|kind| kind != "html")
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let files = std::fs::read_dir(delivered).into_iter().flatten().flatten().map(|file| file.path());
        for path in files.filter(|path| is_mail(path)) {
            let bytes = std::fs::read(path).unwrap();
            let mail = mailparse::parse_mail(&bytes).unwrap();
            let header = |name| mail.headers.get_first_value(name).unwrap_or_default();
            if header("To").contains(recipient) && header("Subject").contains(&day) {
                assert!(!header("Message-ID").is_empty());
                return mail
                    .parts()
                    .filter(|part| part.ctype.mimetype.starts_with("text/"))
                    .map(|part| part.get_body().unwrap())
                    .collect();
            }
        }
        assert!(Instant::now() < deadline, "no summary of {day} for {recipient} in {}", delivered.display());
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("the docker client does not run ({error}); install it: deploy/dev/install.sh"))
}

fn script(name: &str, arguments: &[&str]) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/dev").join(name)).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
