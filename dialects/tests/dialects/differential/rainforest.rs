//! What a tree says of Rainforest gateways and adapters.

use roxmltree::Node;

use super::said::{Said, Told, children, is_named, or, text, trimmed, unix, when, whole};

/// Seconds from 1970 to 2000.
const EPOCH: i128 = 946_684_800;

pub(crate) fn told(root: Node<'_, '_>) -> Told {
    if !is_named(root, "rainforest") {
        return Told { gateway: String::new(), readings: cluster(root, "", "") };
    }
    let attribute = |name: &str| {
        let mut all = root.attributes().filter(|attribute| attribute.namespace().is_none());
        all.find(|attribute| attribute.name().eq_ignore_ascii_case(name)).map_or("", |attribute| trimmed(attribute.value()))
    };
    let (mac, sent) = (attribute("macId"), attribute("timestamp"));
    let clusters = root.children().filter(Node::is_element);
    Told { gateway: mac.to_owned(), readings: clusters.flat_map(|node| cluster(node, mac, sent)).collect() }
}

fn cluster(node: Node<'_, '_>, mac: &str, sent: &str) -> Vec<Said> {
    // A field that is repeated says nothing more.
    let field = |name: &str| children(node, name).first().map_or_else(String::new, |child| text(*child));
    let (meter, device) = (field("MeterMacId"), field("DeviceMacId"));
    let sensor = or(or(&meter, &device), mac);
    let time = time(&field("TimeStamp"), sent);
    let said = |metric: &str, unit: Option<String>, value: Option<f64>| {
        let value = value.filter(|_| !sensor.is_empty() && unit.is_some());
        Said { sensor: sensor.to_owned(), metric: metric.to_owned(), unit, time, value }
    };
    let scaled = |number: Option<i128>| {
        let or_one = |name: &str| match field(name).as_str() {
            "" => Some(1.0),
            text => bits(text).map(|number| if number == 0 { 1.0 } else { number as f64 }),
        };
        Some(number? as f64 * or_one("Multiplier")? / or_one("Divisor")?)
    };
    let unit = |of_rates: bool| Some(unit(of_rates, bits(or(&field("UnitOfMeasure"), "0"))? & 0x7F));
    let mut readings = Vec::new();
    match node.tag_name().name().to_ascii_lowercase().as_str() {
        "instantaneousdemand" => {
            let demand = field("Demand");
            if !demand.is_empty() {
                readings.push(said("demand", unit(true), scaled(signed(&demand))));
            }
        }
        "currentsummationdelivered" | "currentsummation" => {
            for (name, metric) in [("SummationDelivered", "summation_delivered"), ("SummationReceived", "summation_received")] {
                let sum = field(name);
                if !sum.is_empty() {
                    readings.push(said(metric, unit(false), scaled(bits(&sum))));
                }
            }
        }
        "pricecluster" => {
            let (price, digits) = (field("Price"), field("TrailingDigits"));
            if !price.is_empty() && !price.eq_ignore_ascii_case("0xffffffff") {
                let digits = bits(or(&digits, "0")).filter(|digits| *digits <= 15);
                let value = bits(&price).zip(digits).map(|(price, digits)| price as f64 / 10_f64.powi(digits as i32));
                readings.push(said("price", currency(&field("Currency")), value));
            }
        }
        _ => {}
    }
    readings
}

/// A number of up to 64 bits.
fn bits(text: &str) -> Option<i128> {
    let is_short = !text.starts_with("0x") && !text.starts_with("0X") || text.len() <= 18;
    let is_signed = text.starts_with(['+', '-']);
    whole(text).filter(|number| is_short && !is_signed && u64::try_from(*number).is_ok())
}

/// A two's complement where it has 24 or 32 bits; in decimal digits with its sign.
fn signed(text: &str) -> Option<i128> {
    match text.get(2..).filter(|_| text.starts_with("0x") || text.starts_with("0X")) {
        Some(digits) => bits(text).map(|number| {
            let is_negative = matches!(digits.as_bytes().first(), Some(b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F'));
            if is_negative && matches!(digits.len(), 6 | 8) { number - (1 << (4 * digits.len())) } else { number }
        }),
        None => text.parse::<i64>().ok().map(i128::from),
    }
}

/// The meter's time counts from 2000; where it does not know it, the wrapper's counts
/// from 1970. Both may be unknown.
fn time(meter: &str, sent: &str) -> Option<i64> {
    match (meter, bits(meter)) {
        ("", _) | (_, Some(0 | 0xFFFF_FFFF)) => {}
        (_, number) => return unix(number.map(|seconds| seconds + EPOCH)),
    }
    let digits = sent.strip_suffix(['s', 'S']).unwrap_or(sent);
    match (sent, bits(digits)) {
        ("", _) | (_, Some(0)) => when(""),
        (_, number) if digits.starts_with("0x") => unix(number.map(|seconds| seconds + EPOCH)),
        (_, number) => unix(number),
    }
}

/// By the codes of smart meters' radio.
fn unit(of_rates: bool, code: i128) -> String {
    const TOTALS: [&str; 10] = ["kWh", "m3", "ft3", "ccf", "gal", "imp gal", "BTU", "l", "kPa", "kPa"];
    match usize::try_from(code).ok().and_then(|code| TOTALS.get(code)) {
        None => format!("0x{code:02x}"),
        Some(&"kWh") if of_rates => "kW".to_owned(),
        Some(&total) if of_rates && total != "kPa" => format!("{total}/h"),
        Some(total) => (*total).to_owned(),
    }
}

/// By the numbers of ISO 4217.
fn currency(code: &str) -> Option<String> {
    if code.is_empty() {
        return Some(String::new());
    }
    Some(match bits(code)? {
        840 => "USD".to_owned(),
        124 => "CAD".to_owned(),
        484 => "MXN".to_owned(),
        978 => "EUR".to_owned(),
        826 => "GBP".to_owned(),
        36 => "AUD".to_owned(),
        554 => "NZD".to_owned(),
        number => number.to_string(),
    })
}
