//! What a tree says of documents of the mii.

use roxmltree::Node;

use super::said::{Said, Told, below, children, label, last, plain_number, trimmed, when};

/// Nothing where it is of two data loggers.
pub(crate) fn told(root: Node<'_, '_>) -> Option<Told> {
    let mut told = Told::default();
    for logger in children(root, "datalogger") {
        let mut named = below(logger, "configuration/uuid").into_iter().filter(|uuid| !last(*uuid, "serial").is_empty());
        let gateway =
            named.next_back().map_or_else(String::new, |uuid| format!("{}/{}", last(uuid, "vendor"), last(uuid, "serial")));
        if !told.gateway.is_empty() && told.gateway != gateway {
            return None;
        }
        told.gateway = gateway;
        for point in below(logger, "datapoints/datapoint") {
            let time = Some(label(point, "timestamp")).filter(|time| !time.is_empty()).and_then(when);
            for device in children(point, "device") {
                for value in children(device, "mv") {
                    told.readings.extend(said(logger, device, value, time));
                }
            }
        }
    }
    Some(told)
}

/// What is no number is none. The device is the only one with that id.
fn said(logger: Node<'_, '_>, device: Node<'_, '_>, value: Node<'_, '_>, time: Option<i64>) -> Option<Said> {
    let number = plain_number(label(value, "v"))?;
    let devices = below(logger, "configuration/devices/device");
    let alike: Vec<_> = devices.into_iter().filter(|other| label(*other, "id") == label(device, "id")).collect();
    let (sensor, kind) = match alike.as_slice() {
        [only] => (last(*only, "uid"), label(*only, "type")),
        _ => (String::new(), ""),
    };
    let metric = label(value, "t");
    Some(Said { unit: unit(kind, metric).map(str::to_owned), value: Some(number), time, metric: metric.to_owned(), sensor })
}

/// Some of the published lists.
fn unit(kind: &str, metric: &str) -> Option<&'static str> {
    let (_, metrics) = [
        ("inverter", "E_INT=kWh E_TOTAL=kWh P_AC=W P_AC2=W P_DC=W STATE1="),
        ("meteo", "SRAD=W/m² E_AT=°C"),
        ("meter", "M_AC_E_IMP=kWh M_AC_E_EXP=kWh M_AC_P=W"),
    ]
    .into_iter()
    .find(|(known, _)| *known == trimmed(kind))?;
    metrics.split(' ').filter_map(|known| known.split_once('=')).find(|(known, _)| *known == metric).map(|(_, unit)| unit)
}
