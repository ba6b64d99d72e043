//! A file of an SMA Cluster Controller, whose times are local to the offset that it
//! states.

use std::fmt::Write as _;

use super::{Measure, escaped, in_thousands, measured_at, plain, rfc3339};
use crate::simulate::journal::{Document, Reading};

pub(super) const MEASURES: &[Measure] = &[
    plain("Pac.mean", "W"),
    in_thousands("E-Total.last", "Wh"),
    plain("Uac.mean", "V"),
    plain("TmpMdul.mean", "°C"),
    plain("Fac.mean", "Hz"),
];

pub(super) fn xml(document: &Document) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<ClusterController><Info><SerialNumber>{}</SerialNumber>\
         <UtcOffset>0</UtcOffset><DST>0</DST></Info>",
        escaped(&document.gateway)
    );
    let time = rfc3339(measured_at(document)).replace('Z', "");
    for Reading { sensor, metric, value, .. } in &document.readings {
        let channel = metric.split('.').next().unwrap_or_default();
        // Energy is told in kilowatt-hours, and the last of an interval counts.
        let (figure, value) = if channel == "E-Total" { ("Last", value / 1e3) } else { ("Mean", *value) };
        let _ = write!(
            xml,
            "<MeanPublic><Key>{sensor}:{channel}</Key><{figure}>{value}</{figure}><Base>5</Base><Period>300</Period>\
             <Timestamp>{time}</Timestamp></MeanPublic>"
        );
    }
    xml.push_str("</ClusterController>\n");
    xml
}
