//! What a tree says of SMA's files.

use heliograph_domain::canonical_unit;
use roxmltree::Node;

use super::said::{Said, Told, below, is_named, last, or, plain_number, text, trimmed, when};

pub(crate) fn told(root: Node<'_, '_>) -> Told {
    if is_named(root, "OnlineData") {
        return Told { gateway: String::new(), readings: shown(root) };
    }
    let within: Vec<Node<'_, '_>> = match is_part(root) {
        true => vec![root],
        false => root.children().filter(Node::is_element).collect(),
    };
    let infos: Vec<_> = within.iter().filter(|node| is_named(**node, "Info")).collect();
    // What one part does not say another may have said.
    let head = |names: &[&str]| {
        let told = infos.iter().flat_map(|info| info.children().filter(Node::is_element));
        told.filter(|node| names.iter().any(|name| is_named(*node, name))).map(text).next_back()
    };
    let offset = head(&["UtcOffset"]).map(|offset| minutes(&offset, &head(&["DST", "DaylightSaving"]).unwrap_or_default()));
    let mut readings = Vec::new();
    for channel in within.iter().filter(|node| is_named(**node, "MeanPublic") || is_named(**node, "CurrentPublic")) {
        means(*channel, offset, &mut readings);
    }
    Told { gateway: head(&["SerialNumber"]).unwrap_or_default(), readings }
}

fn is_part(root: Node<'_, '_>) -> bool {
    ["Info", "MeanPublic", "CurrentPublic"].iter().any(|name| is_named(root, name))
}

/// Minutes ahead of UTC; daylight saving is on, or so many minutes itself.
fn minutes(offset: &str, daylight: &str) -> Option<i64> {
    let daylight = match daylight {
        "1" | "true" | "True" | "yes" => 60,
        other => other.parse().ok().filter(|minutes| (2..=120).contains(minutes)).unwrap_or(0),
    };
    let offset: i64 = offset.parse().ok().filter(|minutes| (-1440..=1440).contains(minutes))?;
    Some(offset + daylight)
}

/// `offset` of times without one: `None` where none is stated, `Some(None)` where it
/// cannot be read.
fn means(channel: Node<'_, '_>, offset: Option<Option<i64>>, readings: &mut Vec<Said>) {
    let (key, written) = (last(channel, "Key"), last(channel, "TimeStamp"));
    let is_local =
        !written.is_empty() && written.find(['T', 't', ' ']).is_some_and(|at| !written[at..].contains(['Z', 'z', '+', '-']));
    let time = match offset {
        Some(offset) if is_local => when(&written).zip(offset).map(|(local, offset)| local - offset * 60_000),
        _ => when(&written),
    };
    let (device, rest) = key.rsplit_once(':').unwrap_or_default();
    let rest = trimmed(rest);
    // Channels have names of several words; only a unit is one.
    let unit = rest.rsplit_once(' ').filter(|(name, unit)| canonical_unit(unit).is_some() && !trimmed(name).is_empty());
    let (name, unit) = unit.unwrap_or((rest, ""));
    for figure in ["Mean", "Min", "Max", "First", "Last"] {
        let value = last(channel, figure);
        if !value.is_empty() {
            let metric = format!("{}.{}", trimmed(name), figure.to_lowercase());
            let value = plain_number(&value).filter(|_| key.contains(':'));
            readings.push(Said { sensor: device.to_owned(), metric, unit: Some(unit.to_owned()), time, value });
        }
    }
}

/// The display file has one time for all.
fn shown(root: Node<'_, '_>) -> Vec<Said> {
    let (date, clock) = (last(root, "Date"), last(root, "Time"));
    let time = if date.is_empty() && clock.is_empty() { when("") } else { when(&format!("{date}T{clock}")) };
    let mut readings = Vec::new();
    for device in below(root, "Devices/Device") {
        let (name, serial) = (last(device, "Name"), last(device, "SerNr"));
        for channel in below(device, "Channels/Channel") {
            let value = last(channel, "Value");
            if !value.is_empty() {
                let (metric, unit) = (last(channel, "Name"), Some(last(channel, "Unit")));
                let sensor = or(&serial, &name).to_owned();
                readings.push(Said { sensor, metric, unit, time, value: plain_number(&value) });
            }
        }
    }
    readings
}
