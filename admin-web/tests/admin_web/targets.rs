//! What a site is expected to give: typed in, checked, shown, in the files.

use axum::http::StatusCode;
use serde_json::Value;

use crate::world::{LOCATION, Who, World};

const MONTHS: [&str; 12] =
    ["kwh_1", "kwh_2", "kwh_3", "kwh_4", "kwh_5", "kwh_6", "kwh_7", "kwh_8", "kwh_9", "kwh_10", "kwh_11", "kwh_12"];

fn form<'a>(month: &'a str, kwp: &'a str) -> Vec<(&'a str, &'a str)> {
    MONTHS.iter().map(|name| (*name, month)).chain([("target_kwp", kwp)]).collect()
}

fn assert_problem(body: &str, field: &str, problem: &str) {
    let at = format!("<p class=\"problem\" id=\"{field}-problem\">{problem}");
    assert!(body.contains(&at), "{at} in:\n{body}");
}

#[tokio::test]
async fn what_is_expected_stands_on_the_page_and_in_the_files_until_it_is_taken_away() {
    let world = World::new().await;
    let (manage, targets) = (format!("/locations/{LOCATION}/manage"), format!("/locations/{LOCATION}/targets"));
    let saved = world.post(Who::Operator, &targets, &form("3000", "")).await;
    assert_eq!(saved.location(), format!("{manage}?done=saved"));
    let page = world.get(Who::Operator, &manage).await.body;
    assert!(page.contains("36.0\u{a0}MWh in a year") && page.contains("id=\"kwh_12\" name=\"kwh_12\" value=\"3000\""), "{page}");
    let page = world.get(Who::Viewer, &manage).await.body;
    assert!(page.contains("<td data-label=\"kWh\" class=\"n\">3000</td>") && !page.contains("Save expected yield"), "{page}");

    let report = format!("/locations/{LOCATION}?period=day&date=2026-06-17");
    let page = world.get(Who::Owner, &report).await.body;
    // 144 kWh of the two gateways, and a thirtieth of 3,000 kWh.
    assert!(page.contains("Against expectation") && page.contains("Of 100\u{a0}kWh expected"), "{page}");
    let file = world.get(Who::Owner, &format!("/locations/{LOCATION}/report.json?period=day&date=2026-06-17")).await.body;
    let figures = serde_json::from_str::<Value>(&file).unwrap()["figures"].clone();
    assert_eq!((figures["expected_wh"].as_f64(), figures["expected_ratio"].as_f64()), (Some(100_000.0), Some(1.44)));

    let entry = world.store.audit_list(1, 1000).await.unwrap().pop().unwrap();
    assert_eq!(entry.action, "target.save");
    let audit = world.get(Who::Owner, "/audit").await.body;
    assert!(audit.contains("Expected yield saved"), "{audit}");
    let gone = world.post(Who::Operator, &format!("{targets}/remove"), &[]).await;
    assert_eq!(gone.location(), format!("{manage}?done=taken-away"));
    assert!(!world.get(Who::Owner, &report).await.body.contains("Against expectation"));
    assert_eq!(world.post(Who::Operator, &format!("{targets}/remove"), &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_cannot_be_is_named_at_its_field_and_kept() {
    let world = World::new().await;
    let targets = format!("/locations/{LOCATION}/targets");
    let mut typed = form("3000", "<b>");
    typed[1].1 = "-5";
    typed[2].1 = "";
    typed[3].1 = "many";
    let answer = world.post(Who::Operator, &targets, &typed).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(&answer.body, "kwh_2", "February must lie between 0 and");
    assert_problem(&answer.body, "kwh_3", "March is needed: of a month without any, 0.</p>");
    assert_problem(&answer.body, "kwh_4", "April is not a number.</p>");
    assert_problem(&answer.body, "target_kwp", "The peak power is not a number.</p>");
    assert!(answer.body.contains("value=\"&#60;b&#62;\"") && answer.body.contains("value=\"many\""), "what was typed stays");

    // Megawatt hours in place of kilowatt hours.
    let answer = world.post(Who::Operator, &targets, &form("3", "30")).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_problem(
        &answer.body,
        "target_kwp",
        "Expected yield comes to 1.2 kWh a year for each kWp, and plants give 100 to 3000",
    );
    assert_eq!(world.store.target_list().await.unwrap(), []);
}
