//! Reports as CSV (RFC 4180, UTF-8, CRLF), for spreadsheets.

use ::csv::{Terminator, WriterBuilder};
use heliograph_domain::Zone;

use crate::energy::{BucketFigures, Energy};
use crate::gateway::GatewayReport;

/// What a gateway report shows, a row a bar: local and UTC beginning, the
/// gateway's energies in Wh, each with its source, the share of the expected time
/// that was measured (0 to 1), whether part is estimated, then the main energy of
/// each sensor in Wh with its source. What is not known is empty. Bars outside of
/// what the reader may see are left out.
///
/// Names that a spreadsheet would take for a formula (`=`, `+`, `-`, `@`
/// first) get an apostrophe in front; what a spreadsheet may
/// split at (`;`, `|`, tab, line ends) becomes a space in them.
#[must_use]
pub fn gateway_csv(report: &GatewayReport) -> String {
    let mut table = WriterBuilder::new().flexible(true).terminator(Terminator::CRLF).from_writer(Vec::new());
    let mut rows = vec![header(report)];
    let shown = report.buckets.iter().enumerate().filter(|(_, bucket)| bucket.window.intersect(&report.window).is_some());
    rows.extend(shown.map(|(index, bucket)| row(report, index, bucket)));
    for row in rows {
        // Writing to memory cannot fail.
        _ = table.write_record(row);
    }
    String::from_utf8(table.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn header(report: &GatewayReport) -> Vec<String> {
    let site = ["produced", "imported", "exported", "consumed"].map(str::to_owned);
    let sensors = report.sensors.iter().map(|sensor| {
        let direction = sensor.main_energy().map_or("energy", |(direction, _)| direction.label());
        neutral(&format!("{} {direction}", sensor.name))
    });
    let columns = |energy: String| [format!("{energy}_wh"), format!("{energy}_source")];
    let mut names = ["start_local", "start_utc"].map(str::to_owned).to_vec();
    names.extend(site.into_iter().flat_map(columns));
    names.extend(["covered", "estimated"].map(str::to_owned));
    names.extend(sensors.flat_map(columns));
    names
}

fn row(report: &GatewayReport, index: usize, bucket: &BucketFigures) -> Vec<String> {
    let energies = [bucket.produced, bucket.imported, bucket.exported, bucket.consumed];
    let estimated = energies.iter().flatten().any(|energy| energy.estimated);
    let mut cells = vec![local(&report.zone, bucket), bucket.window.from.to_string()];
    cells.extend(energies.into_iter().flat_map(both));
    cells.push(bucket.completeness.ratio().map_or_else(String::new, |ratio| format!("{ratio:.4}")));
    cells.push(if estimated { "yes" } else { "no" }.to_owned());
    cells.extend(report.sensors.iter().flat_map(|sensor| both(sensor.buckets.get(index).copied().flatten())));
    cells
}

/// RFC 3339 with the zone's offset at that instant.
fn local(zone: &Zone, bucket: &BucketFigures) -> String {
    let local = bucket.window.from.to_jiff().to_zoned(zone.to_jiff().clone());
    local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// An energy and its source.
fn both(energy: Option<Energy>) -> [String; 2] {
    energy.map(|energy| [format!("{:.3}", energy.watt_hours), energy.source.label().to_owned()]).unwrap_or_default()
}

/// A cell that no spreadsheet takes for a formula, whole or split: separators
/// other than the comma, and line ends, become spaces.
#[must_use]
pub fn neutral(text: &str) -> String {
    let whole = text.replace([';', '|', '\t', '\r', '\n'], " ");
    let first = whole.trim_start().chars().next();
    if first.is_some_and(|first| "=+-@".contains(first)) { format!("'{whole}") } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_look_like_formulas_are_neutralised() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", " =1"] {
            assert_eq!(neutral(bad), format!("'{bad}"));
        }
        assert_eq!(neutral("\t=1"), "' =1");
        assert_eq!(neutral("a;=cmd|'/C calc'!A0"), "a =cmd '/C calc'!A0");
        assert_eq!(neutral("a\t=1\r\n=2\n-3"), "a =1  =2 -3");
        assert_eq!(neutral("inverter-1"), "inverter-1");
    }
}
