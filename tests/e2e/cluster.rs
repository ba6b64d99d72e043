//! A provider on a cluster: set up by command, its roles signed in as its own
//! role under TLS, readings in by TCP, the panel read in real Chromium, a summary
//! mailed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use heliograph_report::format;

use crate::binary::{connect, free_address, run_with_input, terminate};
use crate::browser::Browser;
use crate::platform::{await_mail, due_date, give_to_customer, spaced};
use crate::tenant::Tenant;
use crate::{day, nodes};

pub(crate) const STORE: &str = "cassandra://127.0.0.1/?dc=datacenter1&rf=1";
const PASSWORD: &str = "sixteen tons of coal";
const RECIPIENT: &str = "anna@sunrise.example";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_provider_on_a_cluster_takes_readings_under_tls_shows_and_mails_them() {
    let (store, date) = (format!("{STORE}&ca={}", nodes::ca()), due_date());
    let provider = Tenant::set_up(&store);
    let again = provider.command(&["store", "init", "--admin-url", &store, "--config", "admin.toml"]);
    assert!(again.contains("keeps its password") && !again.contains("shown this once"), "{again}");
    let more = ["store", "init", "--admin-url", &store.replace("rf=1", "rf=3"), "--config", "admin.toml"];
    assert!(provider.command(&more).contains("with rf=1 and not rf=3"));
    let add =
        ["user", "add", "--provider", &provider.id, "--email", "owner@sunrise.example", "--role", "owner", "--password-stdin"];
    run_with_input(&add, provider.path(), &format!("{PASSWORD}\n"));

    let (gateways, panel, ops) = (free_address(), free_address(), free_address());
    let (panel_ops, mailer_ops) = (free_address(), free_address());
    let mut ingest = provider.start("ingest", gateways, ops);
    let mut admin = provider.start("admin", panel, panel_ops);
    assert!(readiness(ops).contains("ready, acks survive power-loss"), "{}", readiness(ops));

    let browser = Browser::open(format!("http://{panel}")).await;
    sign_in(&browser).await;
    let key = commission(&browser).await;
    let day = day::load("day-sunrise.xml", &date);
    push(gateways, &key, &day.xml, day.readings);
    let page = format!("/gateways/gw-0001?period=day&date={date}");
    // Another process has written it.
    let deadline = Instant::now() + PATIENCE;
    browser.go(&page).await;
    let mut shown = browser.tile("Energy produced").await;
    while shown == "–" {
        assert!(Instant::now() < deadline, "the readings are not shown: {}", browser.page().await);
        tokio::time::sleep(Duration::from_millis(500)).await;
        browser.go(&page).await;
        shown = browser.tile("Energy produced").await;
    }
    assert_eq!(spaced(&shown), spaced(&format::energy(day.produced_wh)));
    give_to_customer(&browser, RECIPIENT, &date).await;
    browser.close().await;

    let mut mailer = provider.start_mailer(mailer_ops);
    assert!(readiness(mailer_ops).contains("ready, acks survive power-loss"), "{}", readiness(mailer_ops));
    let mail = spaced(&await_mail(&provider.path().join("mails"), RECIPIENT, &date));
    assert!(mail.contains(&spaced(&shown)), "{shown} in {mail}");
    for role in [&mut mailer, &mut admin, &mut ingest] {
        terminate(role);
    }

    let verdict = provider.command(&["audit", "verify"]);
    assert!(verdict.contains("all as they were written"), "{verdict}");
}

async fn sign_in(browser: &Browser) {
    browser.go("/login").await;
    browser.fill("#email", "owner@sunrise.example").await;
    browser.fill("#password", PASSWORD).await;
    browser.submit("#password").await;
}

/// Makes a location and commissions the gateway there; answers its key.
async fn commission(browser: &Browser) -> String {
    browser.go("/locations/new").await;
    browser.fill("#name", "Roof").await;
    browser.fill("#zone", "UTC").await;
    browser.submit("#name").await;
    browser.go("/waiting/commission").await;
    browser.fill("#gateway", "gw-0001").await;
    browser.choose("#location", "Roof").await;
    browser.set("#from", "2020-01-01T00:00").await;
    browser.submit("#gateway").await;
    browser.text("code.secret").await
}

/// Pushes a day as soon as ingest knows the key.
pub(crate) fn push(address: SocketAddr, key: &str, xml: &str, readings: usize) {
    let mut line = BufReader::new(connect(address, PATIENCE));
    let deadline = Instant::now() + PATIENCE;
    let hello = format!("<hello gateway=\"gw-0001\" key=\"{key}\"/>");
    loop {
        let answer = ask(&mut line, &hello);
        if answer.starts_with("<ack") {
            break;
        }
        assert!(Instant::now() < deadline, "the new key does not come into force: {answer}");
        // A wrong key closes the connection.
        line = BufReader::new(connect(address, PATIENCE));
        std::thread::sleep(Duration::from_millis(300));
    }
    let answer = ask(&mut line, xml);
    assert!(answer.starts_with("<ack") && answer.contains(&format!("readings=\"{readings}\"")), "{answer}");
}

fn ask(line: &mut BufReader<TcpStream>, text: &str) -> String {
    line.get_mut().write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    line.read_line(&mut answer).unwrap();
    answer
}

/// What a role says about itself.
fn readiness(ops: SocketAddr) -> String {
    let mut stream = connect(ops, PATIENCE);
    write!(stream, "GET /readyz HTTP/1.0\r\nHost: {ops}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
