//! A log upload of an AcquiSuite.

use std::fmt::Write as _;

use super::{escaped, measured_at, numbered_sensors, rfc3339};
use crate::simulate::journal::{Document, Reading};

pub(super) fn xml(document: &Document) -> String {
    let mut xml = format!("<DAS><mode>LOGFILEUPLOAD</mode><serial>{}</serial><devices>", escaped(&document.gateway));
    let time = rfc3339(measured_at(document)).replace('T', " ").replace('Z', "");
    for (_, address, readings) in numbered_sensors(document) {
        let _ =
            write!(xml, "<device><address>{address}</address><records><record><time zone=\"UTC\">{time}</time><error>0</error>");
        for (number, Reading { metric, unit, value, .. }) in readings.iter().enumerate() {
            let _ = write!(xml, "<point number=\"{number}\" name=\"{metric}\" units=\"{unit}\" value=\"{value}\"/>");
        }
        xml.push_str("</record></records></device>");
    }
    xml.push_str("</devices></DAS>");
    xml
}
