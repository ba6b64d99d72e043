//! A provider's people at their panel, in real Chromium over the real processes: what they
//! do from the first sign-in on, and what they see of what was pushed.

mod looks;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use heliograph_domain::{SensorRole, Timestamp};
use heliograph_report::format;
use heliograph_store::StoreUrl;
use jiff::civil;

use crate::binary::{Process, connect, free_address, run, run_with_input, spawn, spawn_with};
use crate::browser::{Browser, link_path};
use crate::crash::commission_named;
use crate::gateway::Gateway;
use crate::ingest::Ingest;
use crate::load::KEY;
use crate::platform::spaced;
use crate::sample::{self, GREENHOUSE, STATION};

/// A busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "sixteen tons of coal";
const QUARTER_MS: i64 = 900_000;

/// A provider's ingest and panel over one store.
struct Site {
    folder: tempfile::TempDir,
    ingest: Ingest,
    panel: SocketAddr,
    #[expect(dead_code, reason = "it ends with the test")]
    admin: Process,
}

impl Site {
    fn start(folder: tempfile::TempDir) -> Self {
        let ingest = Ingest::start("sunrise", free_address(), &[], &[], folder.path());
        let panel = free_address();
        let admin = spawn(&["admin", "--provider", "sunrise", "--listen", &panel.to_string()], folder.path());
        drop(connect(panel, PATIENCE));
        Self { folder, ingest, panel, admin }
    }

    /// One whose gateways are commissioned with [`KEY`].
    async fn with(gateways: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::sqlite(folder.path().join("data"));
        commission_named(url, "sunrise", gateways.iter().map(ToString::to_string)).await;
        Self::start(folder)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn browser(&self) -> Browser {
        Browser::open(format!("http://{}", self.panel)).await
    }

    /// The link by which somebody new chooses a password.
    fn invite(&self, email: &str, role: &str) -> String {
        let said = run_with_input(&["user", "add", "--provider", "sunrise", "--email", email, "--role", role], self.path(), "");
        link_path(&said)
    }

    /// A browser in which an owner has signed in for the first time.
    async fn owner(&self) -> Browser {
        let link = self.invite("owner@sunrise.example", "owner");
        let browser = self.browser().await;
        browser.choose_password(&link, PASSWORD).await;
        browser
    }

    fn gateway(&self) -> Gateway {
        Gateway::connect(self.ingest.address)
    }

    /// Evaluates alerts and puts the mails that are due into the folder `mails`.
    fn mail(&self) {
        let arguments = ["mailer", "--provider", "sunrise", "--once"];
        let mut mailer = spawn_with(&arguments, &[("HELIOGRAPH__MAIL__FOLDER", "mails")], self.path());
        assert!(mailer.0.wait().unwrap().success());
    }
}

async fn sign_in(browser: &Browser, email: &str) {
    browser.go("/login").await;
    browser.fill("#email", email).await;
    browser.fill("#password", PASSWORD).await;
    browser.submit("#password").await;
}

/// What an inverter says of a time.
fn inverter(seq: &str, at: jiff::Timestamp, watts: f64, counter_wh: f64) -> String {
    format!(
        "<push gateway=\"gw-1\" seq=\"{seq}\"><sensor id=\"inverter-1\" kind=\"inverter\">\
         <reading metric=\"power\" unit=\"W\" time=\"{at}\">{watts}</reading>\
         <reading metric=\"energy\" unit=\"Wh\" time=\"{at}\">{counter_wh}</reading></sensor></push>"
    )
}

/// Some days of an inverter in the middle of a month, and what its counter rose in them, Wh.
fn some_days(month: civil::Date) -> (String, f64) {
    let begin = month.with().day(10).build().unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let (mut counter, mut readings) = (8_000_000.0, String::new());
    for quarter in 0..=(3 * 96_i64) {
        let hour = (quarter % 96) as f64 / 4.0;
        let watts = (5_000.0 * ((hour - 6.0) * std::f64::consts::PI / 12.0).sin()).max(0.0).round();
        let at = begin + jiff::SignedDuration::from_millis(quarter * QUARTER_MS);
        readings += &format!("<reading metric=\"energy\" unit=\"Wh\" time=\"{at}\">{counter}</reading>");
        counter += watts / 4.0;
    }
    let produced = counter - 8_000_000.0;
    let days =
        format!("<push gateway=\"gw-1\" seq=\"days\"><sensor id=\"inverter-1\" kind=\"inverter\">{readings}</sensor></push>");
    (days, produced)
}

#[tokio::test]
async fn from_the_first_sign_in_to_a_month_that_adds_up() {
    let site = Site::start(tempfile::tempdir().unwrap());
    let owner = site.owner().await;
    let mut gateway = site.gateway();
    let refused = gateway.ask(&inverter("first", jiff::Timestamp::now(), 1.0, 1.0));
    assert!(refused.contains("code=\"unknown-gateway\""), "{refused}");
    owner.await_on("/waiting", "gw-1").await;

    owner.go("/locations/new").await;
    owner.fill("#name", "Roof of the school").await;
    owner.fill("#zone", "UTC").await;
    owner.submit("#name").await;
    owner.go("/waiting").await;
    owner.press("td.act a").await;
    owner.choose("#location", "Roof of the school").await;
    owner.set("#from", "2020-01-01T00:00").await;
    owner.submit("#gateway").await;
    let key = owner.text("code.secret").await;

    let mut gateway = site.gateway();
    gateway.hello("gw-1", &key);
    let last_month = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month().yesterday().unwrap();
    let (days, produced) = some_days(last_month);
    assert!(gateway.ask(&days).starts_with("<ack seq=\"days\" readings=\"289\""));
    let now = jiff::Timestamp::now();
    assert!(gateway.ask(&inverter("a", now, 1_111.0, 9_000_000.0)).starts_with("<ack"));
    // The page is open when the next document comes, and is not loaded again.
    owner.await_on("/gateways/gw-1", "Online").await;
    owner.await_true("return document.querySelector('[data-stream]').textContent === 'Updates live'").await;
    assert!(gateway.ask(&inverter("b", now + jiff::SignedDuration::from_secs(1), 2_222.0, 9_000_001.0)).starts_with("<ack"));
    let shown = format::power(2_222.0);
    owner.await_true(&format!("return document.querySelector('dl.values').textContent.includes('{shown}')")).await;

    let month = format!("period=month&date={last_month}");
    owner.go(&format!("/gateways/gw-1?{month}")).await;
    assert_eq!(spaced(&owner.tile("Energy produced").await), spaced(&format::energy(produced)));
    let sum = owner.sum_of_csv(&format!("/gateways/gw-1/report.csv?{month}"), "produced_wh").await;
    assert!(produced > 80_000.0 && (sum - produced).abs() < 0.1, "{sum} in the file, {produced} pushed");
    owner.close().await;
}

#[tokio::test]
async fn a_mapping_is_written_in_the_page_and_reads_what_waits_in_quarantine() {
    let site = Site::with(&["gw-0"]).await;
    let mut gateway = site.gateway();
    gateway.hello("gw-0", KEY);
    assert!(gateway.ask(STATION).contains("code=\"unsupported\""));
    let owner = site.owner().await;
    owner.go("/mappings/edit").await;
    owner.set("#source", GREENHOUSE).await;
    owner.press("button[value=try]").await;
    let tried = owner.page().await;
    assert!(tried.contains("1 reading") && tried.contains("north temperature 21.5"), "{tried}");
    assert!(run(&["readings", "--provider", "sunrise", "--gateway", "gw-0", "--json"], site.path()).stdout.is_empty());
    owner.press("button[value=save]").await;
    assert!(owner.page().await.contains("greenhouse"));

    owner.go("/quarantine").await;
    owner.press("main td a, main th a").await;
    owner.press("button[value=preview]").await;
    assert!(owner.page().await.contains("1 new"), "{}", owner.page().await);
    owner.press("button[value=retry]").await;
    assert!(owner.page().await.contains("It is stored and has left the quarantine."), "{}", owner.page().await);
    let readings = run(&["readings", "--provider", "sunrise", "--gateway", "gw-0", "--json"], site.path()).stdout;
    let reading: serde_json::Value = serde_json::from_slice(&readings).unwrap();
    assert_eq!((&reading["sensor"], &reading["value"]), (&"north".into(), &21.5.into()));
    owner.close().await;
}

/// Writes that a gateway was heard some hours ago, and that documents have been taken in
/// since the day before.
async fn heard_hours_ago(site: &Site, gateway: &str, hours: i64) {
    let store = sample::open(site.path(), "sunrise");
    let now = Timestamp::clamped(jiff::Timestamp::now().as_millisecond());
    store.intake_seed(now.plus_millis(-86_400_000), now).await.unwrap();
    let time = now.plus_millis(-hours * 3_600_000);
    let mut document = sample::document(gateway, ("meter-1", "power", "W"), time, [(time, 300.0)]);
    document.sensors[0].role = Some(SensorRole::Grid);
    store.document_write(document).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn an_alert_is_raised_and_taken_care_of() {
    let site = Site::with(&["gw-1", "gw-2"]).await;
    heard_hours_ago(&site, "gw-1", 20).await;
    let owner = site.owner().await;
    owner.go("/alerts").await;
    assert!(!owner.page().await.contains("gw-1"));
    site.mail();
    owner.await_on("/alerts", "gw-1").await;
    assert!(owner.text("nav").await.contains('1'), "the navigation counts it");
    owner.press("main a[href^='/alerts/0']").await;
    assert!(owner.page().await.contains("silent"), "{}", owner.page().await);
    owner.press("form[action$='/acknowledge'] button").await;
    let page = owner.page().await;
    assert!(page.contains("Acknowledged by owner"), "{page}");
    let told = std::fs::read_dir(site.path().join("mails")).unwrap().flatten().map(|file| file.path());
    let told: Vec<String> = told.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    assert!(told.iter().any(|mail| mail.contains("gw-1") && mail.contains("owner@sunrise.example")), "{told:?}");
    owner.close().await;
}

#[tokio::test]
async fn a_customer_sees_its_own_and_nothing_else() {
    let site = Site::with(&["gw-1", "gw-2"]).await;
    let mut gateway = site.gateway();
    gateway.hello("gw-1", KEY);
    assert!(gateway.ask(&inverter("a", jiff::Timestamp::now(), 1_111.0, 9_000_000.0)).starts_with("<ack"));
    let owner = site.owner().await;
    owner.go("/customers/new").await;
    owner.fill("#name", "Anna Castell").await;
    owner.submit("#name").await;
    owner.choose("#gateway", "gw-1").await;
    owner.set("#from", "2020-01-01T00:00").await;
    owner.submit("#gateway").await;
    owner.fill("#person", "Anna").await;
    owner.fill("#address", "anna@customer.example").await;
    owner.submit("#person").await;
    let link = link_path(&owner.text("code.secret").await);

    let anna = site.browser().await;
    anna.choose_password(&link, PASSWORD).await;
    anna.go("/").await;
    let own = anna.page().await;
    assert!(own.contains("gw-1") && !own.contains("gw-2") && !own.contains("Settings"), "{own}");
    anna.go("/gateways/gw-1").await;
    assert!(anna.page().await.contains("Energy produced"));
    anna.go("/gateways/of-nobody").await;
    let nowhere = anna.text("h1").await;
    for path in
        ["/gateways/gw-2", "/gateways/gw-1/manage", "/settings", "/customers", "/alerts", "/audit", "/people", "/quarantine"]
    {
        anna.go(path).await;
        assert_eq!(anna.text("h1").await, nowhere, "{path}");
    }
    anna.close().await;
    owner.close().await;
}

/// The code that an app shows, some steps of half a minute from now.
fn code(key: &str, steps: u64) -> String {
    let secret = totp_rs::Secret::try_from_base32(key.replace(' ', "")).unwrap();
    let app = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
    app.generate(now + 30 * steps).to_string()
}

#[tokio::test]
async fn a_second_step_is_asked_for_and_signing_out_everywhere_ends_all_others() {
    let site = Site::start(tempfile::tempdir().unwrap());
    let owner = site.owner().await;
    owner.go("/account/second-step").await;
    let key = owner.text("code.secret").await;
    owner.fill("#code", &code(&key, 0)).await;
    owner.fill("#password", PASSWORD).await;
    owner.submit("#code").await;
    let recovery = owner.text("ol.codes code").await;

    let other = site.browser().await;
    sign_in(&other, "owner@sunrise.example").await;
    assert!(other.address().await.contains("/login/code"), "{}", other.page().await);
    other.go("/").await;
    assert!(other.address().await.contains("/login"), "a password alone is not enough");
    sign_in(&other, "owner@sunrise.example").await;
    other.fill("#code", "000000").await;
    other.submit("#code").await;
    assert!(other.text("#code-problem").await.len() > 10);
    other.fill("#code", &code(&key, 1)).await;
    other.submit("#code").await;
    other.go("/account").await;
    assert!(other.address().await.ends_with("/account"));

    owner.go("/account").await;
    owner.press("form[action='/account/sessions/end'] button").await;
    other.go("/account").await;
    assert!(other.address().await.contains("/login"), "{}", other.page().await);
    owner.go("/account").await;
    assert!(owner.address().await.ends_with("/account"), "whoever signs others out stays");
    owner.press("form[action='/logout'] button").await;
    owner.go("/account").await;
    assert!(owner.address().await.contains("/login"));
    sign_in(&owner, "owner@sunrise.example").await;
    owner.fill("#code", &recovery).await;
    owner.submit("#code").await;
    owner.go("/account").await;
    assert!(owner.address().await.ends_with("/account"), "{}", owner.page().await);
    other.close().await;
    owner.close().await;
}
