//! What a tree says of the documents that the product's mappings are for, read
//! without one.

use std::collections::HashSet;

use regex::Regex;
use roxmltree::Node;

use super::said::{Said, Told, attribute, kept, label, or, plain_number, text, trimmed, when};

/// The reader of a root element.
pub(crate) fn reader(root: Node<'_, '_>) -> Option<fn(Node<'_, '_>) -> Told> {
    let namespace = root.tag_name().namespace().unwrap_or_default();
    match root.tag_name().name().to_ascii_lowercase().as_str() {
        "msg" => Some(currentcost),
        "mbusdata" => Some(mbus),
        "eeml" => Some(eeml),
        "root" if namespace.starts_with("http://www.hw-group.com/") => Some(hwgroup),
        "root" => Some(kostal),
        "report" => Some(xsenso),
        "n" => Some(nexsens),
        "feed" if namespace == "http://www.w3.org/2005/Atom" => Some(espi),
        "idigi_data" => Some(idigi),
        "eventmessage" if namespace == "http://iec.ch/TC57/2011/schema/message" => Some(cim),
        _ => None,
    }
}

fn name<'a>(node: Node<'a, '_>) -> &'a str {
    node.tag_name().name()
}

/// The elements at the end of a path, which begins at the root; names in their case, but
/// for the root's.
fn at<'a, 'i>(root: Node<'a, 'i>, path: &str) -> Vec<Node<'a, 'i>> {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if name(root).eq_ignore_ascii_case(first) { under(root, rest) } else { Vec::new() }
}

fn under<'a, 'i>(node: Node<'a, 'i>, path: &str) -> Vec<Node<'a, 'i>> {
    let step = |nodes: Vec<Node<'a, 'i>>, step: &str| -> Vec<Node<'a, 'i>> {
        nodes.into_iter().flat_map(|node| node.children()).filter(|child| child.is_element() && name(*child) == step).collect()
    };
    path.split('/').fold(vec![node], step)
}

/// The text of the first of several.
fn of_first(nodes: &[Node<'_, '_>]) -> String {
    nodes.first().map_or_else(String::new, |node| text(*node))
}

fn first(node: Node<'_, '_>, path: &str) -> String {
    of_first(&under(node, path))
}

/// An attribute of the first that has it.
fn first_label<'a>(nodes: &[Node<'a, '_>], name: &str) -> &'a str {
    nodes.iter().find_map(|node| attribute(*node, name)).map_or("", trimmed)
}

/// Devices break numbers over lines.
fn number(text: &str) -> Option<f64> {
    plain_number(&text.split([' ', '\t', '\r', '\n']).collect::<String>())
}

/// A reading; nothing where there is no value.
fn said(sensor: &str, metric: &str, unit: &str, time: Option<i64>, value: &str) -> Option<Said> {
    let reading = Said { sensor: sensor.into(), metric: metric.into(), unit: Some(unit.into()), time, value: number(value) };
    (!value.is_empty()).then_some(reading)
}

fn is_counted(name: &str, letters: &[&str]) -> bool {
    let digits = letters.iter().find_map(|letters| name.strip_prefix(letters)).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Displays know no date. A Classic has its id in `src`, and its history as a whole.
fn currentcost(root: Node<'_, '_>) -> Told {
    let classic = first(root, "src/id");
    let numbered = |sensor: String, id: &str| {
        let id = if id.is_empty() { String::new() } else { format!("/{id}") };
        format!("{}{id}", or(&sensor, "0"))
    };
    let sensor = numbered(first(root, "sensor"), or(&first(root, "id"), &classic));
    let now = when("");
    let mut readings = Vec::new();
    for child in root.children().filter(Node::is_element) {
        match name(child) {
            "tmpr" => readings.extend(said("display", "temperature", "C", now, &text(child))),
            "tmprF" => readings.extend(said("display", "temperature", "F", now, &text(child))),
            "imp" => readings.extend(said(&sensor, "impulses", "", now, &text(child))),
            "hist" => {
                for sum in child.children().flat_map(|data| data.children()).filter(Node::is_element) {
                    let of = numbered(first(sum.parent().unwrap(), "sensor"), &classic);
                    let is_sum = is_counted(name(sum), &["h", "d", "m", "y"]);
                    let metric = format!("hist.{}", name(sum));
                    readings.extend(said(&of, &metric, "kWh", now, &text(sum)).filter(|_| is_sum));
                }
            }
            channel if is_counted(channel, &["ch"]) => {
                readings.extend(said(&sensor, &format!("{channel}.power"), "W", now, &first(child, "watts")));
            }
            _ => {}
        }
    }
    Told { gateway: String::new(), readings }
}

/// What a record without a quantity has as its unit: `Volume (m m^3)`, `1e-1  V`, or a
/// name. Name, what multiplies it, unit; the name of a bare unit is `None`.
fn raw(unit: &str) -> (Option<&str>, String, String) {
    if let Some((name, inside)) =
        unit.strip_suffix(')').and_then(|unit| unit.split_once('(')).filter(|(_, inside)| !inside.is_empty())
    {
        let inside = inside.trim_end_matches(' ');
        let last = if inside.ends_with("deg C") { "deg C" } else { inside.rsplit([' ', '(', ')']).next().unwrap_or_default() };
        let factor = if last.is_empty() { "" } else { inside.strip_suffix(last).unwrap_or_default() };
        return (Some(name.trim_end_matches(' ')), factor.to_owned(), last.to_owned());
    }
    let words: Vec<&str> = unit.split(' ').filter(|word| !word.is_empty()).collect();
    let is_prefix = |word: &str| word == "my" || ["n", "u", "m", "c", "d", "h", "k", "M", "G", "µ"].contains(&word);
    let (factor, last) = (&words[..words.len() - 1], words[words.len() - 1]);
    let is_factor = match factor {
        [] => last.chars().any(|c| !c.is_ascii_digit()),
        [one] => is_prefix(one) || is_factor(one) || factor_of(one).is_some_and(is_prefix),
        [one, other] => is_factor(one) && is_prefix(other),
        _ => false,
    };
    let is_unit = !last.contains(['(', ')']) && (factor.is_empty() || !last.starts_with(|c: char| c.is_ascii_digit()));
    match is_factor && is_unit {
        true => (None, factor.join(" "), last.to_owned()),
        false => (Some(unit), String::new(), String::new()),
    }
}

/// Digits with what a number may have else.
fn is_factor(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| "-+0123456789.eE".contains(c))
}

/// What stands right behind such digits.
fn factor_of(text: &str) -> Option<&str> {
    (1..text.len()).filter(|at| text.is_char_boundary(*at)).map(|at| text.split_at(at)).find_map(|(factor, rest)| {
        let is_last = !rest.starts_with(|c: char| "-+0123456789.eE".contains(c));
        (is_factor(factor) && is_last).then_some(rest)
    })
}

/// A number, a prefix, or both.
fn prefix(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().try_fold(1.0, |product, word| {
        let one = match word {
            "n" => 1e-9,
            "my" | "u" | "µ" | "μ" => 1e-6,
            "m" => 1e-3,
            "c" => 1e-2,
            "d" => 1e-1,
            "h" => 1e2,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            number => plain_number(number)?,
        };
        Some(product * one)
    })
}

/// Units that are written over several lines.
pub(crate) fn has_broken_units(root: Node<'_, '_>) -> bool {
    root.descendants().any(|node| name(node) == "Unit" && text(node).contains(['\n', '\t', '\r']))
}

fn mbus(root: Node<'_, '_>) -> Told {
    let slave = |field: &str| of_first(&at(root, &format!("MBusData/SlaveInformation/{field}")));
    let sensor = slave("Manufacturer") + &slave("Id");
    let (mut seen, mut told) = (HashSet::new(), Told::default());
    for record in at(root, "MBusData/DataRecord") {
        let field = |name: &str| first(record, name);
        let (function, unit, value, written) = (field("Function"), field("Unit"), field("Value"), field("Timestamp"));
        let tail = |word: &str, text: &str| if matches!(text, "" | "0") { String::new() } else { format!(".{word}{text}") };
        let form = function.strip_prefix("Value during ").unwrap_or(&function);
        let form = form.strip_suffix(" value").or(form.strip_suffix(" state")).unwrap_or_default();
        let is_form = form.chars().all(|c| c.is_alphanumeric() || c == '_') && !form.eq_ignore_ascii_case("instantaneous");
        let form = if is_form { form.to_lowercase() } else { String::new() };
        let tails = tail("storage", &field("StorageNumber")) + &tail("tariff", &field("Tariff")) + &tail("", &form);
        let quantity = field("Quantity");
        let (named, factor, unit) = match (quantity.as_str(), unit.as_str()) {
            ("", "") => (None, String::new(), String::new()),
            ("", unit) => raw(unit),
            (quantity, unit) => (Some(quantity), String::new(), unit.to_owned()),
        };
        let says_nothing = quantity.is_empty() && field("Unit").is_empty() && function == "More records follow";
        if function == "Manufacturer specific" || value.is_empty() || says_nothing {
            continue;
        }
        let id = label(record, "id");
        let mut metric = named.map_or_else(|| format!("record {id}"), |named| trimmed(&format!("{named}{tails}")).to_owned());
        if named.is_some() && !seen.insert((metric.clone(), kept(&unit), written.clone())) {
            metric = format!("{metric} ({id})");
        }
        let mut reading = said(&sensor, &metric, &unit, when(&written), &value);
        if let Some(reading) = &mut reading {
            reading.value = reading.value.zip(prefix(&factor)).map(|(value, factor)| value * factor);
        }
        told.readings.extend(reading);
    }
    told
}

fn eeml(root: Node<'_, '_>) -> Told {
    let places = at(root, "eeml/environment");
    let mut readings = Vec::new();
    for data in places.iter().flat_map(|place| under(*place, "data")) {
        let sensor = or(label(data, "id"), "0");
        let unit = or(&first(data, "unit"), first_label(&under(data, "unit"), "symbol")).to_owned();
        for child in data.children().filter(Node::is_element) {
            if matches!(name(child), "current_value" | "value") {
                let time = or(label(child, "at"), label(data.parent().unwrap(), "updated"));
                readings.extend(said(sensor, "current_value", &unit, when(time), &text(child)));
            }
            if name(child) == "datapoints" {
                let values = under(child, "value");
                readings.extend(
                    values.iter().filter_map(|value| said(sensor, "datapoint", &unit, when(label(*value, "at")), &text(*value))),
                );
            }
        }
    }
    Told { gateway: first_label(&places, "id").to_owned(), readings }
}

/// A sensor that is away has the state 0 or says -999.9.
fn hwgroup(root: Node<'_, '_>) -> Told {
    let entries = at(root, "Root/SenSet/Entry");
    let away = |entry: &Node<'_, '_>| first(*entry, "State") == "0" || number(&first(*entry, "Value")) == Some(-999.9);
    let said = |entry: Node<'_, '_>| {
        said(&first(entry, "ID"), &first(entry, "Name"), &first(entry, "Units"), when(""), &first(entry, "Value"))
    };
    let readings = entries.into_iter().filter(|entry| !away(entry)).filter_map(said).collect();
    Told { gateway: of_first(&at(root, "Root/Agent/MAC")), readings }
}

fn kostal(root: Node<'_, '_>) -> Told {
    let devices = at(root, "root/Device");
    let serial = first_label(&devices, "Serial");
    let (time, millis) = (first_label(&devices, "DateTime"), first_label(&devices, "MilliSeconds"));
    let time = if millis.is_empty() { time.to_owned() } else { format!("{time}.{millis:0>3}") };
    let values = at(root, "root/Device/Measurements/Measurement");
    let values = values.into_iter().filter(|value| !matches!(label(*value, "Value"), "nan" | "NaN"));
    let said = |value: Node<'_, '_>| said(serial, label(value, "Type"), label(value, "Unit"), when(&time), label(value, "Value"));
    Told { gateway: serial.to_owned(), readings: values.filter_map(said).collect() }
}

/// Those whose `name` is this.
fn named<'a, 'i>(nodes: Vec<Node<'a, 'i>>, name: &str) -> Vec<Node<'a, 'i>> {
    nodes.into_iter().filter(|node| attribute(*node, "name") == Some(name)).collect()
}

fn xsenso(root: Node<'_, '_>) -> Told {
    let item = |groups: &[Node<'_, '_>], name: &str| {
        let items = named(groups.iter().flat_map(|group| under(*group, "reportitem")).collect(), name);
        of_first(&items.into_iter().flat_map(|item| under(item, "value")).collect::<Vec<_>>())
    };
    let groups = |name: &str| named(at(root, "report/reportgroup"), name);
    let said = |group| {
        let item = |name| item(&[group], name);
        let metric = item("title");
        said(&item("identifier"), or(&metric, "value"), &item("unit"), when(&item("timestamp")), &item("value"))
    };
    let readings = groups("data").into_iter().filter_map(said).collect();
    Told { gateway: item(&groups("device"), "serial number"), readings }
}

/// Seconds since 1970, behind an `@`.
fn seconds(text: &str) -> Option<i64> {
    match text {
        "" => when(""),
        text => plain_number(text.strip_prefix('@').unwrap_or(text)).map(|seconds| (seconds * 1000.0).round() as i64),
    }
}

fn nexsens(root: Node<'_, '_>) -> Told {
    let said = |value: Node<'_, '_>| {
        let name = first(value.ancestors().nth(2).unwrap(), "M");
        said(&name, &name, "V", seconds(&first(value, "T")), &first(value, "V"))
    };
    let readings = at(root, "N/L/P/A/D").into_iter().filter_map(said).collect();
    Told { gateway: of_first(&at(root, "N/U")), readings }
}

/// Fields are elements, or attributes in the compact form. A name is that of a device, a
/// point and that of its channel.
fn idigi(root: Node<'_, '_>) -> Told {
    let said = |sample: Node<'_, '_>| {
        let field = |name: &str| or(label(sample, name), &first(sample, name)).to_owned();
        let (name, written) = (field("name"), field("timestamp"));
        let parts = name.rsplit_once('.').filter(|(_, channel)| !channel.is_empty());
        let sensor = parts.map_or(name.as_str(), |(device, _)| or(device, &name));
        let is_unix = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let time = if is_unix { seconds(&written) } else { when(&written) };
        said(sensor, parts.map_or("value", |(_, channel)| channel), &field("unit"), time, &field("value"))
    };
    Told { gateway: String::new(), readings: at(root, "idigi_data/sample").into_iter().filter_map(said).collect() }
}

/// A reading type's last three numbers: multiplier, unit, currency.
fn cim(root: Node<'_, '_>) -> Told {
    let unit = |kind: &str| {
        let parts: Vec<&str> = kind.split('.').collect();
        let [_, .., multiplier, unit, currency] = parts[..] else { return "" };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let multiplier = if is_number(currency) { multiplier } else { "" };
        let kilo = |names: [&'static str; 2]| match multiplier {
            "0" => names[0],
            "3" => names[1],
            _ => "",
        };
        match (multiplier, unit) {
            ("6", "72") => "MWh",
            ("0", "29") => "V",
            ("0", "5") => "A",
            ("0", "33") => "Hz",
            (_, "38") => kilo(["W", "kW"]),
            (_, "72") => kilo(["Wh", "kWh"]),
            (_, "73") => kilo(["varh", "kVArh"]),
            (_, "63") => kilo(["var", "kVAr"]),
            (_, "61") => kilo(["VA", "kVA"]),
            _ => "",
        }
    };
    let mut readings = Vec::new();
    for meter in at(root, "EventMessage/Payload/MeterReadings/MeterReading") {
        let sensor = first(meter, "Meter/mRID");
        let said = |value: Node<'_, '_>, kinds: Vec<Node<'_, '_>>| {
            let kind = first_label(&kinds, "ref");
            said(&sensor, kind, unit(kind), when(&first(value, "timeStamp")), &first(value, "value"))
        };
        for child in meter.children().filter(Node::is_element) {
            match name(child) {
                "IntervalBlocks" => {
                    let values = under(child, "IntervalReadings").into_iter();
                    readings.extend(values.filter_map(|value| said(value, under(child, "ReadingType"))));
                }
                "Readings" => readings.extend(said(child, under(child, "ReadingType"))),
                _ => {}
            }
        }
    }
    Told { gateway: of_first(&at(root, "EventMessage/Header/Source")), readings }
}

/// What a regular expression finds: its group, if it has one.
fn matched(regex: &str, text: &str) -> String {
    let found = Regex::new(regex).unwrap().captures(text).map(|groups| groups.get(groups.len() - 1).unwrap().as_str().to_owned());
    found.unwrap_or_default()
}

/// A feed: blocks belong to meter readings, those to reading types, by links.
fn espi(root: Node<'_, '_>) -> Told {
    let entries = at(root, "feed/entry");
    let links = |entry: Node<'_, '_>, rel: &str| {
        let links = under(entry, "link").into_iter().filter(|link| attribute(*link, "rel") == Some(rel));
        links.filter_map(|link| attribute(link, "href")).map(|href| trimmed(href).to_owned()).collect::<Vec<_>>()
    };
    let own = |entry| links(entry, "self").into_iter().next().unwrap_or_default();
    let kind_of = |href: &str| matched("(ReadingType/[^/]+)/?$", href);
    // Of each meter reading its type; of each type unit and power of ten.
    let (mut types, mut units, mut powers) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &entries {
        let reading = matched("((?:UsagePoint/[^/]+/)?MeterReading/[^/]+)/?$", &own(*entry));
        types.extend(links(*entry, "related").iter().map(|href| (reading.clone(), kind_of(href))));
        for kind in under(*entry, "content/ReadingType") {
            units.push((kind_of(&own(*entry)), first(kind, "uom")));
            powers.push((kind_of(&own(*entry)), or(&first(kind, "powerOfTenMultiplier"), "0").to_owned()));
        }
    }
    let find = |table: &[(String, String)], key: &str| {
        let mut known = table.iter().filter(|(known, value)| !known.is_empty() && known == key && !value.is_empty());
        known.next().map_or_else(String::new, |(_, value)| value.clone())
    };
    // What is said of no type in particular holds where all say the same.
    let of_kind = |table: &[(String, String)], kind: &str| {
        let all: HashSet<&String> = table.iter().map(|(_, value)| value).filter(|value| !value.is_empty()).collect();
        let only = all.iter().next().filter(|_| all.len() == 1).map_or("", |only| only.as_str());
        or(&find(table, kind), only).to_owned()
    };
    let somewhere = entries.iter().flat_map(|entry| links(*entry, "self")).next().unwrap_or_default();
    let (mut seen, mut told) = (HashSet::new(), Told::default());
    let mut firsts: Vec<((String, &str), String)> = Vec::new();
    for entry in &entries {
        let place = or(&own(*entry), &links(*entry, "up").into_iter().next().unwrap_or_default()).to_owned();
        let kind = find(&types, &matched("(?:UsagePoint/[^/]+/)?MeterReading/[^/]+", &place));
        let (code, power) = (of_kind(&units, &kind), number(or(&of_kind(&powers, &kind), "0")));
        let named = [("38", "W"), ("63", "var"), ("71", "VAh"), ("72", "Wh"), ("73", "varh"), ("42", "m3")];
        let unit = named.into_iter().find(|(known, _)| *known == code).map_or("", |(_, unit)| unit);
        let point = matched("UsagePoint/([^/]+)", or(&own(*entry), &somewhere));
        for value in under(*entry, "content/IntervalBlock/IntervalReading") {
            let written = first(value, "timePeriod/start");
            let reading = said(or(&point, "meter"), "interval", unit, seconds(&written), &first(value, "value"));
            let Some(mut reading) = reading else { continue };
            // The first meter reading has the name to itself.
            let (meter, series) = (matched("MeterReading/([^/]+)", &place), (reading.sensor.clone(), unit));
            let first = firsts.iter().find(|(known, _)| *known == series).map(|(_, first)| first.clone());
            if first.as_ref().is_some_and(|first| !meter.is_empty() && *first != meter) {
                reading.metric = format!("interval ({meter})");
            } else if first.is_none() && !meter.is_empty() {
                firsts.push((series, meter.clone()));
            }
            if !seen.insert((reading.sensor.clone(), reading.metric.clone(), unit, written)) {
                reading.metric = format!("{} ({})", reading.metric, or(&meter, "further"));
            }
            let power = power.filter(|power| power.fract() == 0.0 && power.abs() <= 30.0);
            reading.value = reading.value.zip(power).map(|(value, power)| value * 10_f64.powi(power as i32));
            told.readings.push(reading);
        }
    }
    told
}
