//! CSV, XLSX and JSON say the same digits as the report.

use heliograph_domain::{Quantity, SensorId, SensorRole, TimeWindow, Timestamp, Zone};
use heliograph_report::export::{Export, Format};
use heliograph_report::{GatewayReport, Scope, format, gateway_report, location_report};
use heliograph_store::SensorUpdate;
use serde_json::Value;

use crate::site::{HOUR, QUARTER, Site, at, counter, customer_id, day, gateway, location_id, month, power, rising, ticks};
use crate::workbook::{Held, Sheets, part, sheets};

fn made() -> Timestamp {
    at("2027-06-01T08:30:15Z")
}

/// A report in all formats, read back by readers of their own.
struct Files {
    csv: Vec<Vec<String>>,
    json: Value,
    sheets: Sheets,
}

impl Files {
    fn of(export: &Export) -> Self {
        let csv = export.file(Format::Csv).unwrap();
        let rows = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_slice()).into_records();
        Self {
            csv: rows.map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect(),
            json: serde_json::from_slice(&export.file(Format::Json).unwrap()).unwrap(),
            sheets: sheets(&export.file(Format::Xlsx).unwrap()),
        }
    }

    fn fact(&self, name: &str) -> &Held {
        let row = self.sheets["Report"].iter().find(|row| row[0].text() == name).unwrap_or_else(|| panic!("no {name}"));
        row.get(1).unwrap_or(&Held::Nothing)
    }

    /// Every cell of the bars three times.
    fn check_bars(&self, zone: &Zone) {
        let (csv, json, sheet) = (&self.csv, self.json["bars"].as_array().unwrap(), &self.sheets["Bars"]);
        assert_eq!((csv.len(), csv.len()), (json.len() + 1, sheet.len()));
        for (row, (line, object)) in csv.iter().skip(1).zip(json).enumerate() {
            for (column, written) in line.iter().enumerate() {
                let (name, held) = (&csv[0][column], sheet[row + 1].get(column).unwrap_or(&Held::Nothing));
                let value = match sensor_and_name(object, name, column) {
                    Some((sensor, name)) => &sensor[name],
                    None => &object[name.as_str()],
                };
                same(name, written, value, held, zone);
            }
        }
    }
}

/// Columns after the fourteen of the site are of sensors, two each; of a location one more.
fn sensor_and_name<'a>(object: &'a Value, name: &'a str, column: usize) -> Option<(&'a Value, &'a str)> {
    if name == "expected_wh" {
        return None;
    }
    let sensor = column.checked_sub(14)? / 2;
    Some((&object["sensors"][sensor], name.rsplit_once(' ').unwrap().1))
}

fn same(name: &str, written: &str, value: &Value, held: &Held, zone: &Zone) {
    match value {
        Value::Null => assert_eq!((written, held), ("", &Held::Nothing), "{name}"),
        Value::Bool(flag) => {
            assert_eq!((written, held), (if *flag { "yes" } else { "no" }, &Held::Flag(*flag)), "{name}");
        }
        Value::Number(number) => {
            let Held::Number(shown, format) = held else { panic!("{name} is {held:?}") };
            assert_eq!((written.parse().ok(), Some(*shown)), (number.as_f64(), number.as_f64()), "{name}");
            assert_eq!(format.split_once('.').map_or(0, |(_, decimals)| decimals.len()), decimals(written), "{name}");
        }
        Value::String(text) if name.starts_with("start_") => {
            let local = if name == "start_utc" { Zone::utc() } else { zone.clone() };
            assert_eq!((written, held.time()), (text.as_str(), local.civil(at(text))), "{name}");
        }
        Value::String(text) => assert_eq!((written, held.text()), (text.as_str(), text.as_str()), "{name}"),
        other => panic!("{name} is {other}"),
    }
}

fn decimals(written: &str) -> usize {
    written.split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

/// Two inverters with a gap of two hours at noon, whose counters have awkward rises,
/// on the day of 25 hours.
async fn long_day() -> (Site, GatewayReport) {
    let site = Site::new();
    site.location_at(1, "Europe/Madrid", None, Some(7.3)).await;
    site.place("gw-1", 1).await;
    let around = TimeWindow::between(at("2026-10-24T00:00:00Z"), at("2026-10-26T00:00:00Z"));
    let gap = TimeWindow::between(at("2026-10-25T11:10:00Z"), at("2026-10-25T13:10:00Z"));
    let times: Vec<Timestamp> = ticks(around, QUARTER).into_iter().filter(|time| !gap.contains(*time)).collect();
    let inverter = |name, rise: f64| {
        counter(name, SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, move |k| rise + k as f64 / 7.0))
    };
    site.write("gw-1", &[inverter("inv-1", 10.123_456), inverter("inv-2", 5.25)]).await;
    for (id, label) in [("inv-1", "=cmd|'/C calc'!A0"), ("inv-2", "quoted \"a\", b")] {
        let update = SensorUpdate { label: Some(label.to_owned()), role: SensorRole::Inverter, rated_w: None };
        site.store.sensor_update(&gateway("gw-1"), &SensorId::parse(id).unwrap(), update).await.unwrap();
    }
    let report = site.report("gw-1", day(2026, 10, 25)).await;
    (site, report)
}

#[tokio::test]
async fn every_format_says_the_same_digits_as_the_report() {
    let (_site, report) = long_day().await;
    let files = Files::of(&Export::of_gateway(&report, made()));
    files.check_bars(&report.zone);
    assert_eq!(files.csv.len(), 101, "the day has 25 hours");
    for (bar, line) in report.buckets.iter().zip(files.csv.iter().skip(1)) {
        let wh = bar.produced.map(|energy| energy.watt_hours);
        assert_eq!(line[2], wh.map_or_else(String::new, |wh| format!("{wh:.3}")));
        assert_eq!(line[2].parse().ok().map(format::kwh), wh.map(format::kwh), "as the page shows it");
        assert_eq!(line[13], if bar.produced.is_some_and(|energy| energy.estimated) { "yes" } else { "no" });
        assert_eq!(line[12], format!("{:.4}", bar.completeness.ratio().unwrap()));
    }
    let estimated = files.csv.iter().filter(|line| line[13] == "yes").count();
    assert!((1..100).contains(&estimated), "what the gap hid is an estimate: {estimated}");

    let figures = &files.json["figures"];
    let produced = report.figures.produced_wh().unwrap();
    let sum: f64 = files.json["bars"].as_array().unwrap().iter().filter_map(|bar| bar["produced_wh"].as_f64()).sum();
    assert_eq!(figures["produced_wh"].as_f64().unwrap(), format!("{produced:.3}").parse::<f64>().unwrap());
    assert!((sum - produced).abs() < 0.1, "{sum} {produced}");
    assert_eq!((&figures["produced_estimated"], &figures["imported_wh"]), (&Value::Bool(true), &Value::Null));
    for (name, value) in figures.as_object().unwrap() {
        match (value, files.fact(name)) {
            (Value::Null, held) => assert_eq!(held, &Held::Nothing, "{name}"),
            (Value::Bool(flag), held) => assert_eq!(held, &Held::Flag(*flag), "{name}"),
            (Value::Number(number), Held::Number(held, _)) => assert_eq!(number.as_f64(), Some(*held), "{name}"),
            (Value::String(text), held) => assert_eq!(text, held.text(), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_head_says_what_where_and_when() {
    let (_site, report) = long_day().await;
    let export = Export::of_gateway(&report, made());
    let files = Files::of(&export);
    for (name, said) in [
        ("report", "gateway"),
        ("gateway", "gw-1"),
        ("name", "gw-1"),
        ("state", "commissioned"),
        ("location", "Roof 1"),
        ("zone", "Europe/Madrid"),
        ("period", "day"),
        ("first_day", "2026-10-25"),
        ("last_day", "2026-10-25"),
        ("from", "2026-10-25T00:00:00+02:00"),
        ("until", "2026-10-26T00:00:00+01:00"),
        ("bar", "quarter"),
        ("made", "2027-06-01T10:30:15+02:00"),
    ] {
        assert_eq!(files.json[name], said);
    }
    assert_eq!(files.fact("zone").text(), "Europe/Madrid");
    assert_eq!(files.fact("until (Europe/Madrid)").time().to_string(), "2026-10-26T00:00:00");
    assert_eq!(files.fact("first_day").time().date().to_string(), "2026-10-25");
    assert_eq!(files.fact("made (Europe/Madrid)").time().to_string(), "2027-06-01T10:30:15");
    assert_eq!(files.sheets["Report"][0].iter().map(Held::text).collect::<Vec<_>>(), ["name", "value"]);
    assert_eq!(files.sheets["Bars"][0][0].text(), "start_local (Europe/Madrid)");
    let names: Vec<&str> = files.sheets.keys().map(String::as_str).collect();
    assert_eq!(names, ["Bars", "Gaps", "Latest values", "Report", "Sensors"]);
    assert_eq!(export.file_name(Format::Xlsx), "gw-1_2026-10-25_2026-10-25.xlsx");
}

#[tokio::test]
async fn no_cell_is_taken_for_a_formula_and_json_says_names_as_they_are() {
    let (_site, report) = long_day().await;
    let export = Export::of_gateway(&report, made());
    let files = Files::of(&export);
    assert_eq!(files.csv[0][14], "'=cmd '/C calc'!A0 produced_wh");
    assert_eq!(files.sheets["Bars"][0][16].text(), "quoted \"a\", b produced_wh");
    assert_eq!(files.sheets["Sensors"][1][1].text(), "'=cmd '/C calc'!A0");
    assert_eq!(files.json["sensors"][0]["name"], "=cmd|'/C calc'!A0");
    let texts = files.sheets.values().flatten().flatten().map(Held::text);
    for text in texts.chain(files.csv.iter().flatten().map(String::as_str)) {
        assert!(!text.starts_with(['=', '+', '-', '@', '\t', '\r']), "{text}");
    }
}

#[tokio::test]
async fn json_has_stable_names_and_instants() {
    let (_site, report) = long_day().await;
    let json = Files::of(&Export::of_gateway(&report, made())).json;
    names(&json);
    let bar = json["bars"][0].as_object().unwrap();
    let known: Vec<&str> = bar.keys().map(String::as_str).collect();
    assert_eq!(
        known,
        [
            "consumed_source",
            "consumed_wh",
            "consumption_w",
            "covered",
            "estimated",
            "exported_source",
            "exported_wh",
            "imported_source",
            "imported_wh",
            "power_w",
            "produced_source",
            "produced_wh",
            "sensors",
            "start_local",
            "start_utc"
        ]
    );
    assert_eq!(bar["sensors"][1]["sensor"], "inv-2");
    for bar in json["bars"].as_array().unwrap() {
        let [local, utc] = ["start_local", "start_utc"].map(|name| at(bar[name].as_str().unwrap()));
        assert_eq!(local, utc);
    }
    let gap = &json["gaps"][0];
    let minutes = at(gap["until"].as_str().unwrap()).millis_since(at(gap["from"].as_str().unwrap())) / 60_000;
    assert_eq!(gap["duration_min"].as_i64(), Some(minutes));
    assert_eq!(json["latest_values"][0]["unit"], "Wh");
}

/// Every name of an object is in snake case.
fn names(value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
                names(member);
            }
        }
        Value::Array(items) => items.iter().for_each(names),
        _ => {}
    }
}

#[tokio::test]
async fn what_is_outside_of_a_commission_stands_in_no_file() {
    let (site, _) = long_day().await;
    let from = at("2026-10-25T06:00:00Z");
    site.customer(1).await;
    site.give(1, "gw-1", from, None).await;
    let scope = Scope::of_customer(&site.store, customer_id(1)).await.unwrap();
    let report = gateway_report(&site.store, &gateway("gw-1"), month(2026, 10), &scope, made()).await.unwrap();
    let files = Files::of(&Export::of_gateway(&report, made()));
    files.check_bars(&report.zone);
    for name in ["bars", "hours"] {
        let rows = files.json[name].as_array().unwrap();
        let known = rows.iter().filter(|row| !row["produced_wh"].is_null());
        assert!(known.count() > 0, "{name}");
        let width = if name == "bars" { 25 * HOUR } else { HOUR };
        assert!(rows.iter().all(|row| at(row["start_utc"].as_str().unwrap()).plus_millis(width) > from), "{name}");
    }
    assert_eq!(files.json["from"], "2026-10-25T07:00:00+01:00");
    assert_eq!(files.json["hours"].as_array().unwrap().len() + 1, files.sheets["Hours"].len());
    assert_eq!(files.json["hours"].as_array().unwrap().len(), 6 * 24 + 24 - 7);
}

#[tokio::test]
async fn a_locations_files_name_its_gateways() {
    let (site, alone) = long_day().await;
    site.place("gw-2x", 1).await;
    let times = ticks(TimeWindow::between(at("2026-10-25T00:00:00Z"), at("2026-10-25T12:00:00Z")), QUARTER);
    let powers = times.iter().map(|time| (*time, 1_000.0)).collect();
    site.write("gw-2x", &[power("inv", SensorRole::Inverter, powers)]).await;
    let report = location_report(&site.store, location_id(1), day(2026, 10, 25), &Scope::everything(), made()).await.unwrap();
    let export = Export::of_location(&report, made());
    let files = Files::of(&export);
    files.check_bars(&report.location.zone);
    assert_eq!(export.file_name(Format::Csv), "Roof_1_2026-10-25_2026-10-25.csv");
    assert_eq!((&files.json["report"], &files.json["name"]), (&"location".into(), &"Roof 1".into()));
    assert_eq!(files.json["installed_kwp"].as_f64(), Some(7.3));
    let lines = files.json["gateways"].as_array().unwrap();
    let produced: Vec<f64> = lines.iter().map(|line| line["produced_wh"].as_f64().unwrap()).collect();
    assert_eq!(lines[1]["gateway"], "gw-2x");
    assert!((produced[0] - alone.figures.produced_wh().unwrap()).abs() < 0.001);
    assert_eq!(produced[1], 12_000.0);
    assert_eq!(files.sheets["Gateways"][2][4], Held::Number(12_000.0, "#,##0.000".to_owned()));
    assert!((produced.iter().sum::<f64>() - files.json["figures"]["produced_wh"].as_f64().unwrap()).abs() < 0.01);
}

#[tokio::test]
async fn a_workbook_depends_on_nothing_but_the_report() {
    let (_site, report) = long_day().await;
    let workbook = || Export::of_gateway(&report, made()).file(Format::Xlsx).unwrap();
    assert_eq!(workbook(), workbook());
    assert!(part(&workbook(), "docProps/core.xml").contains(">2027-06-01T08:30:15Z<"));
}
