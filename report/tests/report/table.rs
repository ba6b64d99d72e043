//! CSV says exactly what the report shows, and where it comes from.

use heliograph_domain::{Quantity, SensorRole, TimeWindow};
use heliograph_report::GatewayReport;
use heliograph_report::export::Export;

use crate::site::{QUARTER, Site, assert_close, at, counter, day, power, rising, ticks};

fn csv_of(report: &GatewayReport) -> String {
    Export::of_gateway(report, at("2027-06-01T00:00:00Z")).csv()
}

#[tokio::test]
async fn csv_adds_up_to_the_report_and_holds_no_formula() {
    let site = Site::new();
    site.location(1, "Europe/Madrid").await;
    site.place("gw-1", 1).await;
    let times = ticks(TimeWindow::between(at("2026-10-24T00:00:00Z"), at("2026-10-26T00:00:00Z")), QUARTER);
    let inverter =
        |name, rise: f64| counter(name, SensorRole::Inverter, Quantity::EnergyProduced, rising(&times, 0.0, move |_| rise));
    site.write("gw-1", &[inverter("=SUM(A1:A9)", 10.0), inverter("quoted \"a\", b", 5.25)]).await;
    let report = site.report("gw-1", day(2026, 10, 25)).await;
    let text = csv_of(&report);
    assert!(text.ends_with("\r\n") && !text.contains("\n\n"));

    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(header[..2], ["start_local", "start_utc"]);
    assert_eq!(header[2..6], ["produced_wh", "produced_source", "imported_wh", "imported_source"]);
    let (evil, quoted) = ("'=SUM(A1:A9) produced", "quoted \"a\", b produced");
    let sensors = [evil, quoted].map(|sensor| [format!("{sensor}_wh"), format!("{sensor}_source")]);
    assert_eq!(header[10..14], ["power_w", "consumption_w", "covered", "estimated"]);
    assert_eq!(header[14..], sensors.concat());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 100, "the day has 25 hours");
    assert_eq!(&rows[0][0], "2026-10-25T00:00:00+02:00");
    assert_eq!(&rows[99][0], "2026-10-25T23:45:00+01:00");
    assert_eq!(&rows[0][1], "2026-10-24T22:00:00Z");
    let column = |index: usize| -> f64 { rows.iter().map(|row| row[index].parse::<f64>().unwrap()).sum() };
    assert_close(report.figures.produced_wh(), 1_525.0);
    assert_close(Some(column(2)), 1_525.0);
    assert_close(Some(column(14)), 1_000.0);
    assert_close(Some(column(16)), 525.0);
    assert!(rows.iter().all(|row| (&row[3], &row[15], &row[4], &row[5]) == ("counter", "counter", "", "")));
    for cell in rows.iter().flatten() {
        assert!(!cell.starts_with(['=', '+', '@', '\t', '\r']), "{cell}");
    }
}

#[tokio::test]
async fn csv_names_the_source_of_each_row() {
    let site = Site::new();
    site.location(1, "UTC").await;
    site.place("gw-1", 1).await;
    let whole = TimeWindow::between(at("2026-06-10T00:00:00Z"), at("2026-06-11T00:00:00Z"));
    let later = ticks(TimeWindow::between(at("2026-06-10T12:00:00Z"), whole.end()), QUARTER);
    let powers = ticks(whole, QUARTER).into_iter().map(|time| (time, 400.0)).collect();
    let counts = rising(&later, 0.0, |_| 90.0);
    let (role, produced) = (SensorRole::Inverter, Quantity::EnergyProduced);
    site.write("gw-1", &[power("inv", role, powers), counter("inv", role, produced, counts)]).await;
    let text = csv_of(&site.report("gw-1", day(2026, 6, 10)).await);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(",inv produced_wh,inv produced_source"), "{}", lines[0]);
    assert!(lines[1].contains(",100.000,integrated power,,,") && lines[1].ends_with(",100.000,integrated power"), "{}", lines[1]);
    assert!(lines[96].contains(",90.000,counter,,,") && lines[96].ends_with(",90.000,counter"), "{}", lines[96]);
    assert_eq!((lines.len(), lines.iter().filter(|line| line.ends_with(",counter")).count()), (97, 48));
}
