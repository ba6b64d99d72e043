//! Mails as files: what they say, that they are whole, and that each is there once.

use heliograph_domain::{Location, LocationId, TimeWindow, Zone};
use heliograph_mailer::{RunSummary, preview, run_once};
use heliograph_report::format;
use heliograph_store::OutboxState;

use crate::parse::{files, parse};
use crate::plant::{Hand, Plant, at, madrid_day, sum_wh};

/// As the panel's tiles spell an energy, with plain spaces.
fn energy(watt_hours: f64) -> String {
    plain(&format::energy(watt_hours))
}

fn plain(text: &str) -> String {
    text.replace(['\u{a0}', '\u{202f}'], " ")
}

#[tokio::test]
async fn a_daily_mail_says_what_the_readings_sum_to_in_text_html_and_subject() {
    let plant = Plant::with_one_mail().await;
    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    let summary = run_once(&plant.store, &plant.to_folder(), &clock).await.unwrap();
    assert_eq!(summary, RunSummary { made: 1, sent: 1, ..RunSummary::default() });

    let eml = files(&plant.folder(), "eml");
    assert_eq!(eml.len(), 1);
    let name = eml[0].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("2026-11-20-daily-anna@customer.example-"), "{name}");
    let mail = parse(&std::fs::read(&eml[0]).unwrap());

    assert_eq!(mail.defects(), 0);
    assert_eq!(mail.shape(), "multipart/alternative(text/plain multipart/related(text/html image/png))");
    let sum = sum_wh(1, madrid_day("2026-11-20"));
    let expected = energy(sum);
    assert_eq!(mail.header("Subject"), [format!("Sunrise Energy: {expected} on 20 November 2026")]);
    assert!(mail.text().contains(&format!("Produced on Friday, 20 November 2026: {expected} from counter")), "{}", mail.text());
    assert!(mail.html().contains(&format::energy(sum)));
    let column = plain(&format::kwh(sum));
    assert!(mail.text().contains(&format!("- North roof (Casa Lola): {column} from counter, peak")), "{}", mail.text());
    assert!(mail.text().contains("100 % of the expected time was measured"), "{}", mail.text());

    assert_eq!(mail.header("From"), ["Sunrise Energy <mail@sunrise.example>"]);
    assert_eq!(mail.header("To"), ["Anna Weber <anna@customer.example>"]);
    assert_eq!(mail.header("Auto-Submitted"), ["auto-generated"]);
    assert_eq!(mail.header("Date"), ["Sat, 21 Nov 2026 06:00:00 +0000"]);
    let row = plant.store.outbox_list(10).await.unwrap().remove(0);
    assert_eq!(mail.header("Message-ID"), [format!("<{}@sunrise.example>", row.id)]);
    assert_eq!(row.message_id, mail.header("Message-ID")[0]);
    assert_eq!((row.state, row.attempts), (OutboxState::Sent, 1));

    let cid = mail.image_id();
    assert!(mail.html().contains(&format!("src=\"cid:{}\"", cid.trim_matches(['<', '>']))), "{cid}");
    assert!(mail.image().starts_with("iVBORw0KGgo"), "no PNG");
}

#[tokio::test]
async fn the_html_file_beside_the_mail_stands_alone() {
    let plant = Plant::with_one_mail().await;
    run_once(&plant.store, &plant.to_folder(), &Hand::new("2026-11-21T06:00:00Z").clock()).await.unwrap();
    let html = std::fs::read_to_string(&files(&plant.folder(), "html")[0]).unwrap();
    assert!(html.contains("src=\"data:image/png;base64,iVBORw0KGgo"));
    assert!(!html.contains("cid:"));
    assert!(!html.contains("<script"));
    let row = plant.store.outbox_list(1).await.unwrap().remove(0);
    let message = plant.store.outbox_fetch(row.id).await.unwrap().message;
    assert_eq!(preview(&message).html, Some(html));
    let left = std::fs::read_dir(plant.folder()).unwrap().count();
    assert_eq!(left, 2, "something besides the .eml and the .html file was left");
}

#[tokio::test]
async fn however_often_the_mailer_starts_each_mail_is_sent_once() {
    let mut plant = Plant::with_one_mail().await;
    let hand = Hand::new("2026-11-21T06:00:00Z");
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap().sent, 1);
    for _ in 0..3 {
        plant.restart().await;
        hand.advance_minutes(37);
        assert_eq!(run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap(), RunSummary::default());
    }
    assert_eq!(files(&plant.folder(), "eml").len(), 1);
}

#[tokio::test]
async fn a_mail_whose_sender_died_is_due_again_with_the_same_bytes() {
    let mut plant = Plant::with_one_mail().await;
    let hand = Hand::new("2026-11-21T06:00:00Z");
    let server = crate::smtp::Server::start().await;
    server.set_fault(Some(crate::smtp::Fault::Reply(crate::smtp::Stage::Greeting, "421 not now")));
    let smtp = crate::misbehaving::to(&server);
    run_once(&plant.store, &smtp, &hand.clock()).await.unwrap();
    // A process claims the mail and is killed before it sends.
    hand.advance_minutes(5);
    let claimed = plant.store.outbox_claim(hand.now(), hand.now().plus_millis(300_000)).await.unwrap().unwrap();
    plant.restart().await;
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap(), RunSummary::default());
    hand.advance_minutes(5);
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap().sent, 1);
    assert_eq!(std::fs::read(&files(&plant.folder(), "eml")[0]).unwrap(), claimed.message);
}

#[tokio::test]
async fn a_late_start_catches_up_three_days_and_one_month_each_once() {
    let plant = Plant::empty().await;
    plant.gateway(1, "North roof").await;
    plant.readings(1, TimeWindow::between(at("2026-10-30T00:00:00Z"), at("2026-12-10T00:00:00Z"))).await;
    plant.customer(1, "Anna Weber", "anna@customer.example").await;
    plant.commission(1, 1, "2026-10-30T00:00:00Z").await;
    let clock = Hand::new("2026-12-09T12:00:00Z").clock();
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &clock).await.unwrap().sent, 4);
    let mut rows = plant.store.outbox_list(10).await.unwrap();
    rows.sort_by(|a, b| a.key.period.cmp(&b.key.period));
    let periods: Vec<&str> = rows.iter().map(|row| row.key.period.as_str()).collect();
    assert_eq!(periods, ["2026-11", "2026-12-06", "2026-12-07", "2026-12-08"]);
    let november = TimeWindow::between(at("2026-10-31T23:00:00Z"), at("2026-11-30T23:00:00Z"));
    assert_eq!(rows[0].subject, format!("Sunrise Energy: {} in November 2026", energy(sum_wh(1, november))));
}

#[tokio::test]
async fn nothing_is_sent_before_its_hour_and_nothing_about_the_time_before_a_customer_owned() {
    let plant = Plant::with_one_mail().await;
    let hand = Hand::new("2026-11-21T04:59:59Z");
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap(), RunSummary::default());
    hand.set(at("2026-11-21T05:00:00Z"));
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap().made, 1);
}

#[tokio::test]
async fn customers_without_an_address_or_without_a_gateway_get_nothing() {
    let plant = Plant::with_one_mail().await;
    plant.customer(2, "No gateway", "none@customer.example").await;
    let silent = heliograph_domain::Customer { id: crate::plant::customer_id(3), name: "No address".to_owned(), email: None };
    plant.store.customer_save(silent).await.unwrap();
    plant.gateway(2, "South roof").await;
    plant.commission(3, 2, "2026-11-01T00:00:00Z").await;
    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &clock).await.unwrap().made, 1);
}

#[tokio::test]
async fn two_customers_with_one_address_get_a_mail_each() {
    let plant = Plant::with_one_mail().await;
    plant.gateway(2, "South roof").await;
    plant.readings(2, TimeWindow::between(at("2026-11-19T00:00:00Z"), at("2026-11-21T00:00:00Z"))).await;
    plant.customer(2, "Anna's bakery", "anna@customer.example").await;
    plant.commission(2, 2, "2026-11-19T23:00:00Z").await;
    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &clock).await.unwrap().sent, 2);
    let subjects: Vec<String> = plant.store.outbox_list(10).await.unwrap().into_iter().map(|row| row.subject).collect();
    for gateway in [1, 2] {
        let figure = energy(sum_wh(gateway, madrid_day("2026-11-20")));
        assert!(subjects.iter().any(|subject| subject.contains(&figure)), "{figure}: {subjects:?}");
    }
    assert_eq!(files(&plant.folder(), "eml").len(), 2);
}

#[tokio::test]
async fn a_day_without_data_says_so_and_not_zero() {
    let plant = Plant::with_one_mail().await;
    let clock = Hand::new("2026-11-23T06:00:00Z").clock();
    run_once(&plant.store, &plant.to_folder(), &clock).await.unwrap();
    let silent = files(&plant.folder(), "eml").into_iter().find(|path| path.to_string_lossy().contains("2026-11-22-")).unwrap();
    let mail = parse(&std::fs::read(silent).unwrap());
    assert_eq!(mail.header("Subject"), ["Sunrise Energy: no data on 22 November 2026"]);
    assert!(mail.text().contains("Sunday, 22 November 2026: no data arrived"), "{}", mail.text());
    assert!(!mail.text().contains("22 November 2026: 0"), "{}", mail.text());
    assert!(mail.text().contains("Sun 22 Nov  no data"), "{}", mail.text());
}

#[tokio::test]
async fn names_with_markup_are_shown_and_names_with_line_ends_add_no_header() {
    let plant = Plant::with_one_mail().await;
    plant.customer(1, "<script>alert(1)</script>\r\nBcc: victim@other.example", "anna@customer.example").await;
    plant.rename(1, "<img src=x onerror=alert(2)>").await;
    run_once(&plant.store, &plant.to_folder(), &Hand::new("2026-11-21T06:00:00Z").clock()).await.unwrap();
    let mail = parse(&std::fs::read(&files(&plant.folder(), "eml")[0]).unwrap());
    assert!(mail.header("Bcc").is_empty());
    assert_eq!((mail.header("To").len(), mail.header("Subject").len()), (1, 1));
    assert!(!mail.html().contains("<script") && !mail.html().contains("<img src=x"), "markup got through");
    assert!(mail.html().contains("&#60;script&#62;") || mail.html().contains("&lt;script&gt;"));
    assert!(mail.text().contains("<img src=x onerror=alert(2)>"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_leaves_the_mail_waiting_with_the_reason() {
    let plant = Plant::with_one_mail().await;
    std::fs::write(plant.folder(), b"a file stands where the folder should").unwrap();
    let hand = Hand::new("2026-11-21T06:00:00Z");
    let summary = run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap();
    assert_eq!((summary.made, summary.sent, summary.retried), (1, 0, 1));
    let row = plant.store.outbox_list(1).await.unwrap().remove(0);
    assert!(row.outcome.contains("write to folder"), "{}", row.outcome);
    std::fs::remove_file(plant.folder()).unwrap();
    hand.advance_minutes(3);
    assert_eq!(run_once(&plant.store, &plant.to_folder(), &hand.clock()).await.unwrap().sent, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let plant = Plant::with_one_mail().await;
    run_once(&plant.store, &plant.to_folder(), &Hand::new("2026-11-21T06:00:00Z").clock()).await.unwrap();
    for extension in ["eml", "html"] {
        let found = files(&plant.folder(), extension);
        assert_eq!(found.len(), 1);
        assert_eq!(std::fs::metadata(&found[0]).unwrap().permissions().mode() & 0o777, 0o600, "{extension}");
    }
}

#[tokio::test]
async fn a_customer_whose_data_are_damaged_keeps_no_mail_from_others() {
    let mut plant = Plant::with_one_mail().await;
    let gateway = heliograph_domain::GatewayId::parse("gw-0002").unwrap();
    let elsewhere = Location {
        id: LocationId::new(uuid::Uuid::from_u128(77)),
        name: "Quinta".to_owned(),
        zone: Zone::parse("Atlantic/Madeira").unwrap(),
        position: None,
        installed_kwp: None,
    };
    // Comes before the other customer in any list by name.
    plant.customer(2, "Aaron", "aaron@customer.example").await;
    plant.gateway(2, "South roof").await;
    plant.store.location_save(elsewhere.clone()).await.unwrap();
    plant.store.gateway_move(&gateway, elsewhere.id, at("2026-01-01T00:00:01Z")).await.unwrap();
    plant.commission(2, 2, "2026-11-01T00:00:00Z").await;
    plant.damage("Atlantic/Madeira", "Atlantic/Nowhere").await;

    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    let summary = run_once(&plant.store, &plant.to_folder(), &clock).await.unwrap();
    assert_eq!(summary, RunSummary { made: 1, sent: 1, failed: 1, ..RunSummary::default() });
    assert_eq!(plant.store.outbox_list(10).await.unwrap()[0].key.recipient.as_str(), "anna@customer.example");
}
