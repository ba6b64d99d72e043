//! Clusters of the meters that a Rainforest EAGLE listens to.

use std::fmt::Write as _;

use super::{Measure, escaped, in_thousands, measured_at, numbered_sensors};
use crate::simulate::journal::{Document, Reading};

pub(super) const MEASURES: &[Measure] = &[
    Measure { is_short: true, ..in_thousands("demand", "W") },
    in_thousands("summation_delivered", "Wh"),
    in_thousands("summation_received", "Wh"),
];

/// From 1970 to 2000, seconds.
const EPOCH: i64 = 946_684_800;

pub(super) fn xml(document: &Document) -> String {
    let time = measured_at(document).div_euclid(1000);
    let mut xml = format!("<?xml version=\"1.0\"?>\n<rainforest macId=\"{}\" timestamp=\"{time}s\">", escaped(&document.gateway));
    for (number, meter, readings) in numbered_sensors(document) {
        let head = format!(
            "<DeviceMacId>0x00158d0000{number:06x}</DeviceMacId><MeterMacId>{meter}</MeterMacId><TimeStamp>{:#010x}</TimeStamp>",
            time - EPOCH
        );
        for Reading { value, .. } in readings.iter().filter(|reading| reading.metric == "demand") {
            // Kilowatts.
            let _ = write!(
                xml,
                "<InstantaneousDemand>{head}<Demand>{:#010x}</Demand><Multiplier>0x00000001</Multiplier>\
                 <Divisor>0x00000001</Divisor></InstantaneousDemand>",
                (value / 1e3) as i32
            );
        }
        summation(&mut xml, &head, readings);
    }
    xml.push_str("</rainforest>\n");
    xml
}

/// Watt-hours, as parts of a kilowatt-hour.
fn summation(xml: &mut String, head: &str, readings: &[Reading]) {
    let fields: String = readings
        .iter()
        .filter_map(|Reading { metric, value, .. }| {
            let field = match metric.as_str() {
                "summation_delivered" => "SummationDelivered",
                "summation_received" => "SummationReceived",
                _ => return None,
            };
            Some(format!("<{field}>{:#018x}</{field}>", *value as i64))
        })
        .collect();
    if !fields.is_empty() {
        let _ = write!(
            xml,
            "<CurrentSummationDelivered>{head}{fields}<Multiplier>0x00000001</Multiplier><Divisor>0x000003e8</Divisor>\
             </CurrentSummationDelivered>"
        );
    }
}
