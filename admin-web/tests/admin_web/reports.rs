//! Figures in pages and files, within what somebody may see.

use axum::http::StatusCode;
use heliograph_domain::{CommissionId, SensorId, SensorRole};
use heliograph_store::SensorUpdate;
use serde_json::Value;

use crate::world::{ANAS, COMMISSION, LOCATION, QUARTER_MS, Who, World, at, gateway, start, write_counter};

/// The rows of a CSV by column name.
fn column(csv: &str, name: &str) -> Vec<String> {
    let mut lines = csv.split("\r\n");
    let index = lines.next().unwrap().split(',').position(|header| header == name).unwrap();
    lines.filter(|line| !line.is_empty()).map(|line| line.split(',').nth(index).unwrap().to_owned()).collect()
}

fn sum(csv: &str, name: &str) -> f64 {
    column(csv, name).iter().filter(|cell| !cell.is_empty()).map(|cell| cell.parse::<f64>().unwrap()).sum()
}

/// What a counter that rises by `wh` a quarter rises between two instants.
fn rise(wh: f64, from: &str, until: &str) -> f64 {
    at(until).millis_since(at(from)) as f64 / QUARTER_MS as f64 * wh
}

#[tokio::test]
async fn the_csv_adds_up_to_the_page_and_to_the_readings() {
    let world = World::new().await;
    for (query, from, until, shown) in [
        ("?period=day&date=2026-06-17", "2026-06-16T22:00:00Z", "2026-06-17T22:00:00Z", "96.0"),
        ("?period=week&date=2026-06-10", "2026-06-07T22:00:00Z", "2026-06-14T22:00:00Z", "672"),
        ("?period=range&from=2026-06-02&to=2026-06-03", "2026-06-01T22:00:00Z", "2026-06-03T22:00:00Z", "192"),
    ] {
        let csv = world.get(Who::Owner, &format!("/gateways/gw-1/report.csv{query}")).await;
        assert_eq!(csv.status, StatusCode::OK);
        let expected = rise(1000.0, from, until);
        assert!((sum(&csv.body, "produced_wh") - expected).abs() < 0.5, "{query}: {}", csv.body);
        assert!((sum(&csv.body, "inverter-1 produced_wh") - expected).abs() < 0.5, "{query}");
        let page = world.get(Who::Owner, &format!("/gateways/gw-1{query}")).await;
        let tile = format!("<dt>Energy produced</dt><dd><strong>{shown} <small>kWh</small></strong>");
        assert!(page.body.contains(&tile), "{query}: {tile}");
    }
}

#[tokio::test]
async fn a_customer_sees_figures_of_the_commission_alone() {
    let world = World::new().await;
    let path = "/gateways/gw-1/report.csv?period=month&date=2026-06-01";
    let all = world.get(Who::Owner, path).await;
    let hers = world.get(Who::Customer, path).await;
    let last_reading = "2026-06-18T13:00:00Z";
    assert!((sum(&all.body, "produced_wh") - rise(1000.0, "2026-05-31T22:00:00Z", last_reading)).abs() < 0.5);
    assert!((sum(&hers.body, "produced_wh") - rise(1000.0, "2026-06-09T22:00:00Z", last_reading)).abs() < 0.5);
    assert_eq!(column(&hers.body, "start_local")[0], "2026-06-10T00:00:00+02:00");

    let page = world.get(Who::Customer, "/gateways/gw-1?period=month&date=2026-06-01").await;
    assert!(page.body.contains("Your commission covers 10 Jun 2026, 00:00"), "{}", page.body);
    let before = world.get(Who::Customer, "/gateways/gw-1?period=day&date=2026-06-05").await;
    assert!(before.body.contains("does not reach into this period"));
    assert!(!before.body.contains("96.0"));
    assert!(!page.body.contains("/manage") && !page.body.contains("/locations/"), "no way to what is not hers");
}

async fn json(world: &World, who: Who, path: &str) -> Value {
    let answer = world.get(who, path).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"), "{path}");
    serde_json::from_str(&answer.body).unwrap()
}

fn produced(rows: &Value) -> f64 {
    rows.as_array().unwrap().iter().filter_map(|row| row["produced_wh"].as_f64()).sum()
}

#[tokio::test]
async fn every_file_says_what_the_page_shows() {
    let world = World::new().await;
    let month = "?period=month&date=2026-06-01";
    let gateway = json(&world, Who::Owner, &format!("/gateways/gw-1/report.json{month}")).await;
    let all = rise(1000.0, "2026-05-31T22:00:00Z", "2026-06-18T13:00:00Z");
    for sum in [produced(&gateway["bars"]), produced(&gateway["hours"]), gateway["figures"]["produced_wh"].as_f64().unwrap()] {
        assert!((sum - all).abs() < 0.5, "{sum} is not {all}");
    }
    assert_eq!(gateway["location"], "Haro winery");
    let csv = world.get(Who::Owner, &format!("/gateways/gw-1/report.csv{month}")).await;
    let cells: Vec<Option<f64>> = column(&csv.body, "produced_wh").iter().map(|cell| cell.parse().ok()).collect();
    let members: Vec<Option<f64>> = gateway["bars"].as_array().unwrap().iter().map(|bar| bar["produced_wh"].as_f64()).collect();
    assert_eq!(cells, members);

    let site = json(&world, Who::Viewer, &format!("/locations/{LOCATION}/report.json{month}")).await;
    assert!((produced(&site["gateways"]) - 1.5 * all).abs() < 0.5 && (produced(&site["bars"]) - 1.5 * all).abs() < 0.5);
    let csv = world.get(Who::Viewer, &format!("/locations/{LOCATION}/report.csv{month}")).await;
    assert!((sum(&csv.body, "produced_wh") - 1.5 * all).abs() < 0.5, "{}", csv.body);

    for (path, name) in [
        (format!("/gateways/gw-1/report.xlsx{month}"), "gw-1"),
        (format!("/locations/{LOCATION}/report.xlsx{month}"), "Haro_winery"),
    ] {
        let workbook = world.get(Who::Owner, &path).await;
        let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
        assert_eq!((workbook.status, workbook.header("content-type")), (StatusCode::OK, kind));
        let disposition = format!("attachment; filename=\"{name}_2026-06-01_2026-06-30.xlsx\"");
        assert_eq!(workbook.header("content-disposition"), disposition);
        assert!(workbook.body.starts_with("PK\u{3}\u{4}"), "{path}");
    }
    for page in ["/gateways/gw-1".to_owned(), format!("/locations/{LOCATION}")] {
        let shown = world.get(Who::Owner, &format!("{page}{month}")).await.body;
        for format in ["csv", "xlsx", "json"] {
            let link = format!("href=\"{page}/report.{format}?period=month&#38;date=2026-06-01\"");
            assert!(shown.contains(&link), "{page} has no {link}");
        }
    }
}

#[tokio::test]
async fn a_customers_files_hold_the_commission_alone() {
    let world = World::new().await;
    let hers = json(&world, Who::Customer, "/gateways/gw-1/report.json?period=month&date=2026-06-01").await;
    let mine = rise(1000.0, "2026-06-09T22:00:00Z", "2026-06-18T13:00:00Z");
    for sum in [produced(&hers["bars"]), produced(&hers["hours"]), produced(&hers["sensors"])] {
        assert!((sum - mine).abs() < 0.5, "{sum} is not {mine}");
    }
    for name in ["bars", "hours"] {
        assert_eq!(hers[name][0]["start_local"], "2026-06-10T00:00:00+02:00", "{name}");
    }
    assert_eq!((&hers["from"], &hers["location"]), (&Value::from("2026-06-10T00:00:00+02:00"), &Value::Null));
    let before = json(&world, Who::Customer, "/gateways/gw-1/report.json?period=day&date=2026-06-05").await;
    assert_eq!((&before["bars"], &before["figures"]["produced_wh"]), (&Value::Array(Vec::new()), &Value::Null));
}

#[tokio::test]
async fn a_month_has_a_heat_map_of_what_may_be_seen() {
    let world = World::new().await;
    let month = "/gateways/gw-1?period=month&date=2026-06-01";
    let page = world.get(Who::Owner, month).await.body;
    assert!(page.contains("<title>Tue 2 Jun, 13:00: 4.00\u{a0}kW</title>"), "{page}");
    assert!(page.contains("Highest hour: Mon 1 Jun, 00:00 with 4.00\u{a0}kW. Highest day: Mon 1 Jun 2026 with 96.0\u{a0}kWh"));
    let hers = world.get(Who::Customer, month).await.body;
    assert!(hers.contains("<title>Wed 10 Jun, 00:00: 4.00\u{a0}kW</title>") && !hers.contains("<title>Tue 9 Jun, 23:00: "));
    assert!(hers.contains("Highest hour: Wed 10 Jun, 00:00 with"));
    let week = world.get(Who::Owner, "/gateways/gw-1?period=week&date=2026-06-10").await.body;
    assert!(!week.contains("Mean power by hour"));
    let empty = world.get(Who::Owner, "/gateways/gw-1?period=month&date=2026-03-01").await;
    assert_eq!(empty.status, StatusCode::OK);
    assert!(!empty.body.contains("Mean power by hour"), "nothing is known of it");
}

#[tokio::test]
async fn paper_names_provider_gateway_and_period() {
    let world = World::new().await;
    let month = "?period=month&date=2026-06-01";
    let page = world.get(Who::Owner, &format!("/gateways/gw-1{month}")).await.body;
    let paper = "<div class=\"paper\"><p><b>Sunrise Energy</b><span>gw-1 · Haro winery</span><span>June 2026</span></p></div>";
    assert!(page.contains(paper), "{page}");
    let hers = world.get(Who::Customer, &format!("/gateways/gw-1{month}")).await.body;
    assert!(hers.contains("<span>gw-1</span><span>June 2026</span>") && !hers.contains("Haro winery"));
    let site = world.get(Who::Owner, &format!("/locations/{LOCATION}{month}")).await.body;
    assert!(site.contains("<b>Sunrise Energy</b><span>Haro winery</span><span>June 2026</span>"));
}

#[tokio::test]
async fn once_a_commission_has_ended_there_is_nothing_to_see() {
    let world = World::new().await;
    let list = world.get(Who::Customer, "/").await;
    assert!(list.body.contains("gw-1") && !list.body.contains("gw-2") && !list.body.contains("gw-3"));
    let end = format!("/customers/{ANAS}/commissions/{COMMISSION}/end");
    assert_eq!(world.post(Who::Operator, &end, &[]).await.location(), format!("/customers/{ANAS}?done=ended"));
    assert_eq!(world.post(Who::Operator, &end, &[]).await.status, StatusCode::CONFLICT);
    for path in [
        "/gateways/gw-1",
        "/gateways/gw-1/report.csv",
        "/gateways/gw-1/report.xlsx",
        "/gateways/gw-1/report.json",
        "/gateways/gw-1?period=month&date=2026-06-01",
    ] {
        assert_eq!(world.get(Who::Customer, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let list = world.get(Who::Customer, "/").await;
    assert!(!list.body.contains("gw-1") && list.body.contains("No gateway is commissioned to you"));
}

#[tokio::test]
async fn a_planned_commission_shows_nothing_yet_and_can_be_taken_back() {
    let world = World::new().await;
    world.store.commission_end(CommissionId::parse(COMMISSION).unwrap(), start().plus_millis(-1)).await.unwrap();
    let form = [("gateway", "gw-1"), ("from", "2026-07-01T00:00"), ("until", "")];
    let path = format!("/customers/{ANAS}/commissions");
    assert_eq!(world.post(Who::Owner, &path, &form).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.get(Who::Customer, "/gateways/gw-1").await.status, StatusCode::NOT_FOUND);
    let owned = world.store.commission_list_by_gateway(&gateway("gw-1")).await.unwrap();
    let planned = owned.iter().find(|commission| commission.window.from > start()).unwrap();
    assert_eq!(planned.window.from, at("2026-06-30T22:00:00Z"), "midnight in Madrid");
    let end = format!("/customers/{ANAS}/commissions/{}/end", planned.id);
    assert_eq!(world.post(Who::Owner, &end, &[]).await.location(), format!("/customers/{ANAS}?done=cancelled"));
    assert_eq!(world.store.commission_list_by_gateway(&gateway("gw-1")).await.unwrap().len(), owned.len() - 1);
}

#[tokio::test]
async fn what_is_no_period_is_said_to_be_none() {
    let world = World::new().await;
    for (query, said) in [
        ("?period=fortnight", "“fortnight” is no period"),
        ("?date=yesterday", "“yesterday” is no day"),
        ("?period=range&from=2026-06-03&to=2026-06-01", "Period ends before it begins."),
        ("?period=%3Cscript%3E", "“&#60;script&#62;” is no period"),
    ] {
        let answer = world.get(Who::Owner, &format!("/gateways/gw-1{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.body.contains(said), "{query}: {}", answer.body);
    }
    for odd in ["?done=<script>", "?period=&date=&from=&to=", "?unknown=1"] {
        let path = format!("/gateways/gw-1{}", odd.replace('<', "%3C").replace('>', "%3E"));
        assert_eq!(world.get(Who::Owner, &path).await.status, StatusCode::OK, "{odd}");
    }
}

#[tokio::test]
async fn names_are_shown_and_never_run() {
    let world = World::new().await;
    let nasty = "<img src=x onerror=alert(1)>'\"";
    let update = SensorUpdate { label: Some("=HYPERLINK(1)".to_owned()), role: SensorRole::Inverter, rated_w: None };
    world.store.sensor_update(&gateway("gw-1"), &SensorId::parse("inverter-1").unwrap(), update).await.unwrap();
    world.store.gateway_rename(&gateway("gw-1"), Some(nasty.to_owned())).await.unwrap();
    world.post(Who::Owner, "/customers/new", &[("name", nasty)]).await;
    world.post(Who::Owner, "/locations/new", &[("name", nasty), ("zone", "UTC")]).await;
    world.store.gateway_knock(&gateway(nasty), "203.0.113.9:1", start()).await.unwrap();
    for path in ["/", "/gateways/gw-1", "/gateways/gw-1/manage", "/waiting", "/waiting/commission", "/customers"] {
        let answer = world.get(Who::Owner, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.body.contains("<img src=x"), "{path}");
        assert!(answer.body.contains("img src=x onerror=alert(1)"), "{path} shows the name");
    }
    let quarantined = world.get(Who::Owner, "/quarantine/00000000-0000-7000-8000-000600000001").await;
    assert!(quarantined.body.contains("&#60;script&#62;alert(1)&#60;/script&#62;⟨FF⟩⟨00⟩"), "{}", quarantined.body);
    let csv = world.get(Who::Owner, "/gateways/gw-1/report.csv").await;
    assert!(csv.body.lines().next().unwrap().contains("'=HYPERLINK(1)"), "{}", csv.body);
}

#[tokio::test]
async fn a_report_is_compared_with_the_period_before_and_the_same_one_a_year_before() {
    let world = World::new().await;
    let page = "/gateways/gw-1?period=day&date=2026-06-17";
    let alone = world.get(Who::Owner, page).await.body;
    assert!(alone.contains("<span>As much as the day before</span>"), "{alone}");
    let (from, noon) = (at("2025-06-16T22:00:00Z"), at("2025-06-17T10:00:00Z"));
    write_counter(&world.store, "gw-1", "inverter-1", 800.0, from, noon).await;
    let half = world.get(Who::Owner, page).await.body;
    let said = "<span>As much as the day before · Only 50\u{a0}% is known of a year before</span>";
    assert!(half.contains(said), "{half}");
    write_counter(&world.store, "gw-1", "inverter-1", 800.0, from, at("2025-06-17T22:00:00Z")).await;
    let whole = world.get(Who::Owner, page).await.body;
    assert!(whole.contains("<span>As much as the day before · 25\u{a0}% more than a year before</span>"), "{whole}");
    let hers = world.get(Who::Customer, page).await.body;
    assert!(!hers.contains("a year before"), "the gateway was not hers then");
    let file = json(&world, Who::Owner, &page.replace('?', "/report.json?")).await;
    assert_eq!(file["figures"]["produced_change_year_ratio"], 0.25);
}

#[tokio::test]
async fn inverters_stand_side_by_side_with_the_least_first() {
    let world = World::new().await;
    let page = format!("/locations/{LOCATION}?period=day&date=2026-06-17");
    assert!(!world.get(Who::Owner, &page).await.body.contains("side by side"), "no rated power is known");
    write_counter(&world.store, "gw-1", "inverter-2", 900.0, at("2026-05-31T22:00:00Z"), start()).await;
    for (name, sensor) in [("gw-1", "inverter-1"), ("gw-1", "inverter-2"), ("gw-2", "inverter-1")] {
        let update =
            SensorUpdate { label: Some(format!("{name} {sensor}")), role: SensorRole::Inverter, rated_w: Some(10_000.0) };
        world.store.sensor_update(&gateway(name), &SensorId::parse(sensor).unwrap(), update).await.unwrap();
    }
    let body = world.get(Who::Viewer, &page).await.body;
    let table = body.split_once("Inverters side by side").unwrap().1;
    let places = ["gw-2 inverter-1", "gw-1 inverter-2", "gw-1 inverter-1"].map(|name| table.find(name).unwrap());
    assert!(places.is_sorted(), "{table}");
    // 48, 86.4 and 96 kWh of 10 kW each.
    assert!(table.contains("<td data-label=\"Yield\" class=\"n\">4.80\u{a0}kWh/kWp</td>"), "{table}");
    assert!(table.contains("<td data-label=\"Neighbours\" class=\"n\">9.12\u{a0}kWh/kWp</td>"), "{table}");
    assert!(table.contains("<span class=\"pill warn\">−47\u{a0}%</span>"), "{table}");
    assert!(table.contains("<td data-label=\"Difference\" class=\"n\">+20\u{a0}%</td>"), "8.64 against 4.8 and 9.6: {table}");
}
