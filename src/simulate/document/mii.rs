//! Data points of a meteocontrol mii logger, with its configuration.

use std::fmt::Write as _;

use super::{Measure, escaped, in_thousands, measured_at, numbered_sensors, plain, rfc3339};
use crate::simulate::journal::{Document, Reading};

pub(super) const MEASURES: &[Measure] =
    &[plain("P_AC", "W"), in_thousands("E_TOTAL", "Wh"), plain("U_AC", "V"), plain("I_AC", "A"), plain("F_AC", "Hz")];

/// Loggers are called by their maker and their serial number.
pub(super) const MAKER: &str = "simulated/";

pub(super) fn xml(document: &Document) -> String {
    let serial = escaped(document.gateway.trim_start_matches(MAKER));
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<mii version=\"2.0\" xmlns=\"http://api.sspcdn.com/mii\"><datalogger>\
         <configuration xmlns=\"http://api.sspcdn.com/mii/datalogger/configuration\">\
         <uuid><vendor>{}</vendor><serial>{serial}</serial></uuid><devices>",
        MAKER.trim_end_matches('/')
    );
    for (id, uid, _) in numbered_sensors(document) {
        let _ = write!(xml, "<device type=\"inverter\" id=\"{id}\"><uid>{uid}</uid></device>");
    }
    let _ = write!(
        xml,
        "</devices></configuration><datapoints xmlns=\"http://api.sspcdn.com/mii/datalogger/datapoints\">\
         <datapoint interval=\"300\" timestamp=\"{}\">",
        rfc3339(measured_at(document))
    );
    for (id, _, readings) in numbered_sensors(document) {
        let _ = write!(xml, "<device id=\"{id}\">");
        for Reading { metric, value, .. } in readings {
            // Energy is told in kilowatt-hours.
            let value = if metric == "E_TOTAL" { value / 1e3 } else { *value };
            let _ = write!(xml, "<mv t=\"{metric}\" v=\"{value}\"/>");
        }
        xml.push_str("</device>");
    }
    xml.push_str("</datapoint></datapoints></datalogger></mii>\n");
    xml
}
