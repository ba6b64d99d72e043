//! Snapshots of what people see.

use heliograph_domain::TimeWindow;
use heliograph_mailer::{preview, run_once};

use crate::plant::{Hand, Plant, at};

/// The preview of the one mail about a period, its ids made the same each time.
async fn seen(plant: &Plant, now: &str, period: &str) -> (String, String) {
    run_once(&plant.store, &plant.to_folder(), &Hand::new(now).clock()).await.unwrap();
    let row = plant.store.outbox_list(20).await.unwrap().into_iter().find(|row| row.key.period == period).unwrap();
    let message = plant.store.outbox_fetch(row.id).await.unwrap().message;
    let found = preview(&message);
    let html = found.html.unwrap();
    let start = html.find("data:image/png").unwrap_or(0);
    let length = html[start..].find('"').unwrap_or(0);
    let html = format!("{}data:…{}", &html[..start], &html[start + length..]);
    (html, found.text.unwrap().replace('\r', ""))
}

async fn two_roofs() -> Plant {
    let plant = Plant::empty().await;
    plant.customer(1, "Anna & Jörg Weber", "anna@customer.example").await;
    for (number, label, until) in [(1, "North roof", "2026-12-01T00:00:00Z"), (2, "Barn <old>", "2026-11-20T10:00:00Z")] {
        plant.gateway(number, label).await;
        plant.readings(number, TimeWindow::between(at("2026-10-30T00:00:00Z"), at(until))).await;
        plant.commission(1, number, "2026-10-30T00:00:00Z").await;
    }
    plant
}

#[tokio::test]
async fn a_daily_mail_looks_like_this() {
    let (html, text) = seen(&two_roofs().await, "2026-11-21T06:00:00Z", "2026-11-20").await;
    insta::assert_snapshot!("daily.html", html);
    insta::assert_snapshot!("daily.txt", text);
}

#[tokio::test]
async fn a_daily_mail_about_whole_days_compares_them() {
    let (html, text) = seen(&two_roofs().await, "2026-11-20T06:00:00Z", "2026-11-19").await;
    insta::assert_snapshot!("whole.html", html);
    insta::assert_snapshot!("whole.txt", text);
}

#[tokio::test]
async fn a_monthly_mail_looks_like_this() {
    let (html, text) = seen(&two_roofs().await, "2026-12-01T06:00:00Z", "2026-11").await;
    insta::assert_snapshot!("monthly.html", html);
    insta::assert_snapshot!("monthly.txt", text);
}

#[tokio::test]
async fn a_mail_without_data_looks_like_this() {
    let (html, text) = seen(&two_roofs().await, "2026-12-04T06:00:00Z", "2026-12-03").await;
    insta::assert_snapshot!("silent.html", html);
    insta::assert_snapshot!("silent.txt", text);
}
