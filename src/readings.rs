//! `heliograph readings`: what a gateway has measured, as it is stored.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use heliograph_domain::{GatewayId, SensorId, TimeWindow, Timestamp, Zone};
use heliograph_report::export::neutral;
use heliograph_store::{ProviderStore, ReadingRow, StoreError};
use serde_json::json;

use crate::settings::SettingsError;
use crate::{output, role};

/// Readings asked for at once: what lies in memory, however many there are.
const PAGE: usize = 5_000;

/// Print the stored readings of a gateway in time order.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: role::StoreArgs,
    /// The gateway.
    #[arg(long, value_name = "ID")]
    gateway: GatewayId,
    /// One sensor of it only.
    #[arg(long, value_name = "ID")]
    sensor: Option<SensorId>,
    /// From this time on: 2026-11-20, 2026-11-20T08:00 or 2026-11-20T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Up to this time, which is not included.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Zone of the times that are printed, and of those given without an offset.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = Zone::parse)]
    zone: Zone,
    /// CSV with a header (RFC 4180) instead of columns.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How a reading is printed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Format {
    Columns,
    Csv,
    Json,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let window = window(&args)?;
    let store = args.place.open()?;
    check_names(&store, &args.gateway, args.sensor.as_ref()).await?;
    let format = match (args.csv, args.json) {
        (true, _) => Format::Csv,
        (_, true) => Format::Json,
        _ => Format::Columns,
    };
    let mut out = output::standard();
    let ended = write_all(&store, &args.gateway, window, args.sensor.as_ref(), &args.zone, format, &mut out).await?;
    if !ended {
        output::ended(out.flush())?;
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn window(args: &Args) -> Result<TimeWindow, SettingsError> {
    let read = |flag: &str, text: &Option<String>| text.as_deref().map(|text| time(flag, text, &args.zone)).transpose();
    let (from, until) = (read("--from", &args.from)?, read("--to", &args.to)?);
    let window = TimeWindow { from: from.unwrap_or(Timestamp::MIN), until };
    if window.is_empty() {
        return Err(SettingsError::one("--to must lie after --from"));
    }
    Ok(window)
}

/// The time that a flag gives.
pub(crate) fn time(flag: &str, text: &str, zone: &Zone) -> Result<Timestamp, SettingsError> {
    instant(text, zone).map_err(|problem| SettingsError::one(format!("{flag} {problem}")))
}

/// A day, a local date and time, or an instant with its offset.
fn instant(text: &str, zone: &Zone) -> Result<Timestamp, String> {
    if let Ok(time) = Timestamp::parse_rfc3339(text) {
        return Ok(time);
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>()
        && !text.contains(['T', ' '])
    {
        return Ok(zone.start_of_day(day));
    }
    let local = text.parse::<jiff::civil::DateTime>();
    let zoned = local.and_then(|local| local.to_zoned(zone.to_jiff().clone()));
    zoned
        .map(|zoned| zoned.timestamp().into())
        .map_err(|_| format!("{text:?} is no time such as 2026-11-20, 2026-11-20T08:00 or 2026-11-20T08:00:00Z"))
}

/// Says which name is wrong, and what there is instead.
pub(crate) async fn check_names(store: &ProviderStore, gateway: &GatewayId, sensor: Option<&SensorId>) -> anyhow::Result<()> {
    let sensors = match store.sensor_list(gateway).await {
        Ok(sensors) => sensors,
        Err(StoreError::NotFound(_)) => bail!("provider {} has no gateway {gateway}", store.provider()),
        Err(error) => return Err(error.into()),
    };
    let Some(wanted) = sensor.filter(|wanted| sensors.iter().all(|sensor| sensor.id != **wanted)) else { return Ok(()) };
    let mut known: Vec<&str> = sensors.iter().map(|sensor| sensor.id.as_str()).take(20).collect();
    if sensors.len() > known.len() {
        known.push("…");
    }
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    bail!("gateway {gateway} has no sensor {wanted}; it has: {known}")
}

/// Writes the readings of a window in time order, a page in memory at a time;
/// true where whoever reads has gone away.
pub(crate) async fn write_all(
    store: &ProviderStore,
    gateway: &GatewayId,
    window: TimeWindow,
    sensor: Option<&SensorId>,
    zone: &Zone,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    if format == Format::Csv && output::ended(out.write_all(b"time,sensor,metric,unit,value\r\n"))? {
        return Ok(true);
    }
    let mut rest = Some(window);
    while let Some(window) = rest {
        let page = store.reading_page(gateway, window, PAGE).await.context("read readings")?;
        rest = page.next.map(|from| TimeWindow { from, ..window });
        for row in page.rows.iter().filter(|row| sensor.is_none_or(|sensor| row.sensor == *sensor)) {
            if output::ended(write_row(out, row, zone, format))? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn write_row(out: &mut impl Write, row: &ReadingRow, zone: &Zone, format: Format) -> std::io::Result<()> {
    let ReadingRow { sensor, metric, unit, time, value } = row;
    let time = local_time(*time, zone);
    match format {
        Format::Columns => {
            writeln!(out, "{time:<29}  {:<20}  {:<20}  {value} {}", sensor.as_str(), metric.as_str(), unit.as_str())
        }
        Format::Csv => {
            let [sensor, metric, unit] = [sensor.as_str(), metric.as_str(), unit.as_str()].map(cell);
            write!(out, "{time},{sensor},{metric},{unit},{value}\r\n")
        }
        Format::Json => {
            let object = json!({
                "time": time, "sensor": sensor, "metric": metric, "unit": unit.as_str(), "value": value
            });
            writeln!(out, "{object}")
        }
    }
}

/// A name as a cell: no formula, and quoted where it has to be.
pub(crate) fn cell(name: &str) -> String {
    let name = neutral(name);
    if name.contains([',', '"', '\r', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name }
}

/// RFC 3339 with the zone's offset at that instant, `Z` for UTC.
pub(crate) fn local_time(time: Timestamp, zone: &Zone) -> String {
    if *zone == Zone::utc() {
        return time.to_string();
    }
    time.to_jiff().to_zoned(zone.to_jiff().clone()).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use heliograph_domain::{MetricName, Unit};

    use super::*;

    fn madrid() -> Zone {
        Zone::parse("Europe/Madrid").unwrap()
    }

    #[test]
    fn times_are_days_local_times_or_instants() {
        let table = [
            ("2026-07-01", "2026-06-30T22:00:00Z"),
            ("2026-07-01T08:30", "2026-07-01T06:30:00Z"),
            ("2026-07-01T08:30:00Z", "2026-07-01T08:30:00Z"),
            ("2026-07-01T08:30:00-03:00", "2026-07-01T11:30:00Z"),
        ];
        for (text, time) in table {
            assert_eq!(instant(text, &madrid()).unwrap(), Timestamp::parse_rfc3339(time).unwrap(), "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01", "2026-07-01T25:00"] {
            assert!(instant(bad, &madrid()).unwrap_err().contains("2026-11-20"), "{bad}");
        }
    }

    #[test]
    fn a_reading_is_one_line_in_each_format() {
        let row = ReadingRow {
            sensor: SensorId::parse("=meter, \"left\"").unwrap(),
            metric: MetricName::parse("power").unwrap(),
            unit: Unit::parse("W").unwrap(),
            time: Timestamp::parse_rfc3339("2026-07-01T10:00:00.5Z").unwrap(),
            value: -1.5,
        };
        let print = |format| {
            let mut out = Vec::new();
            write_row(&mut out, &row, &madrid(), format).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(print(Format::Csv), "2026-07-01T12:00:00.5+02:00,\"'=meter, \"\"left\"\"\",power,W,-1.5\r\n");
        let json: serde_json::Value = serde_json::from_str(&print(Format::Json)).unwrap();
        assert_eq!(json["sensor"], "=meter, \"left\"");
        assert!(print(Format::Columns).ends_with("-1.5 W\n"));
    }
}
