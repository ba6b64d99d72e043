//! `push`, the native document.

use std::fmt::Write as _;

use super::{by_sensor, escaped, rfc3339};
use crate::simulate::journal::{Document, Reading};

// Writing to a string cannot fail, here and in the other dialects.

pub(super) fn xml(document: &Document) -> String {
    let mut xml = format!("<push gateway=\"{}\" seq=\"{}\">", escaped(&document.gateway), escaped(&document.seq));
    for readings in by_sensor(document) {
        let _ = write!(xml, "<sensor id=\"{}\" kind=\"inverter\">", readings.first().map_or("", |first| first.sensor.as_str()));
        for Reading { metric, unit, time, value, .. } in readings {
            let _ = write!(xml, "<reading metric=\"{metric}\" unit=\"{unit}\" time=\"{}\">{value}</reading>", rfc3339(*time));
        }
        xml.push_str("</sensor>");
    }
    xml.push_str("</push>\n");
    xml
}
