//! What a tree says of an AcquiSuite's uploads.

use jiff::tz::{Offset, TimeZone};
use roxmltree::Node;

use super::said::{Said, Told, below, children, instant, kept, label, last, plain_number, text};

/// Only uploads of logs have readings.
pub(crate) fn told(root: Node<'_, '_>) -> Told {
    let mode = last(root, "mode");
    let mut told = Told { gateway: last(root, "serial"), readings: Vec::new() };
    if mode.is_empty() || mode.eq_ignore_ascii_case("LOGFILEUPLOAD") {
        for device in below(root, "devices/device") {
            for record in below(device, "records/record") {
                read(device, record, &mut told.readings);
            }
        }
    }
    told
}

/// The address, which is one byte, wins over the serial number.
fn sensor(device: Node<'_, '_>) -> String {
    let (address, serial) = (last(device, "address"), last(device, "serialnumber"));
    match address.is_empty() {
        true => serial,
        false => address.parse::<u8>().map_or_else(|_| String::new(), |address| address.to_string()),
    }
}

fn read(device: Node<'_, '_>, record: Node<'_, '_>, readings: &mut Vec<Said>) {
    let error = last(record, "error");
    let is_well = error.is_empty() || error.parse() == Ok(0_i64);
    let time = children(record, "time").last().and_then(|time| when(*time));
    let points = children(record, "point");
    for (index, point) in points.iter().enumerate() {
        let (name, number, unit) = (label(*point, "name"), label(*point, "number"), label(*point, "units"));
        let written = label(*point, "value");
        // Points that are named alike and have one unit are told apart by their number.
        let alike =
            points[..index].iter().any(|other| label(*other, "name") == name && kept(label(*other, "units")) == kept(unit));
        let metric = match (name, number) {
            ("", number) => format!("point {number}"),
            (name, number) if alike && !number.is_empty() => format!("{name} ({number})"),
            (name, _) => name.to_owned(),
        };
        if written.is_empty() || written.eq_ignore_ascii_case("NULL") {
            continue;
        }
        let value = plain_number(written).filter(|_| is_well);
        readings.push(Said { sensor: sensor(device), metric, unit: Some(unit.to_owned()), time, value });
    }
}

/// Clocks of loggers show UTC, unless they name another zone. A time that has an offset
/// of its own needs none.
fn when(time: Node<'_, '_>) -> Option<i64> {
    let written = text(time);
    let east = TimeZone::fixed(Offset::constant(1));
    let own = instant(&written, &TimeZone::UTC).filter(|utc| instant(&written, &east) == Some(*utc));
    let zone = match label(time, "zone") {
        "" => TimeZone::UTC,
        zone if ["UTC", "GMT", "Z"].iter().any(|utc| zone.eq_ignore_ascii_case(utc)) => TimeZone::UTC,
        zone => TimeZone::get(zone).unwrap_or(TimeZone::unknown()),
    };
    own.or_else(|| instant(&written, &zone).filter(|_| !zone.is_unknown()))
}
