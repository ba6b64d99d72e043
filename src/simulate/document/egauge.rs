//! A row of an eGauge's registers, each a sum over time.

use std::fmt::Write as _;

use super::{Measure, escaped, measured_at, plain};
use crate::simulate::journal::{Document, Reading};

pub(super) const MEASURES: &[Measure] = &[
    plain("P.cumulative", "Wh"),
    plain("S.cumulative", "VAh"),
    plain("V.cumulative", "V*s"),
    plain("I.cumulative", "A*s"),
    plain("F.cumulative", "Hz*s"),
];

pub(super) fn xml(document: &Document) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE group PUBLIC \"-//ESL/DTD eGauge 1.0//EN\" \"http://www.egauge.net/DTD/egauge-hist.dtd\">\n\
         <group serial=\"{}\"><data columns=\"{}\" time_stamp=\"{:#x}\" time_delta=\"60\" delta=\"true\" epoch=\"0x0\">",
        escaped(&document.gateway),
        document.readings.len(),
        measured_at(document).div_euclid(1000),
    );
    for (number, Reading { sensor, metric, .. }) in document.readings.iter().enumerate() {
        let _ = write!(xml, "<cname t=\"{}\" did=\"{number}\">{sensor}</cname>", kind(metric));
    }
    xml.push_str("<r>");
    for Reading { metric, value, .. } in &document.readings {
        // Power is summed up by the second, all else in thousandths.
        let parts = if matches!(kind(metric), "P" | "S") { 3600 } else { 1000 };
        let _ = write!(xml, "<c>{}</c>", *value as i64 * parts);
    }
    xml.push_str("</r></data></group>\n");
    xml
}

/// The type of a register.
fn kind(metric: &str) -> &str {
    metric.split('.').next().unwrap_or_default()
}
