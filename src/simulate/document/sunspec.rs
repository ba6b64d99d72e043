//! SunSpec data exchange of three-phase inverters (model 103).

use std::fmt::Write as _;

use super::{Measure, escaped, measured_at, numbered_sensors, plain, rfc3339};
use crate::simulate::journal::{Document, Reading};

pub(super) const MEASURES: &[Measure] =
    &[plain("103/W", "W"), plain("103/WH", "Wh"), plain("103/PhVphA", "V"), plain("103/A", "A"), plain("103/Hz", "Hz")];

/// What a logger takes for success.
pub(super) const SUCCESS: &str = "<sunSpecDataResponse><status>SUCCESS</status></sunSpecDataResponse>";

pub(super) fn xml(document: &Document) -> String {
    let mut xml = String::from("<?xml version=\"1.0\"?>\n<sunSpecData v=\"1.0\" xmlns=\"http://www.sunspec.org/data/v1\">");
    let (logger, time) = (escaped(&document.gateway), rfc3339(measured_at(document)));
    for (_, device, readings) in numbered_sensors(document) {
        let _ = write!(xml, "<d lid=\"{logger}\" id=\"{device}\" t=\"{time}\"><m id=\"103\">");
        for Reading { metric, value, .. } in readings {
            let point = metric.trim_start_matches("103/");
            let _ = match point {
                // A scale factor of its own, one beside it, none.
                "A" => write!(xml, "<p id=\"A\" sf=\"-2\">{}</p>", value * 100.0),
                "PhVphA" => write!(xml, "<p id=\"PhVphA\">{}</p><p id=\"V_SF\">-1</p>", value * 10.0),
                _ => write!(xml, "<p id=\"{point}\">{value}</p>"),
            };
        }
        xml.push_str("</m></d>");
    }
    xml.push_str("</sunSpecData>\n");
    xml
}
