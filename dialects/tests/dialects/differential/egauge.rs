//! What a tree says of an eGauge's pushes and answers.

use roxmltree::Node;

use super::said::{Said, Told, children, is_named, label, plain_number, text, unix, when, whole};

pub(crate) fn told(root: Node<'_, '_>) -> Told {
    let mut told = Told { gateway: label(root, "serial").to_owned(), readings: Vec::new() };
    match is_named(root, "data") {
        true => answer(root, &mut told.readings),
        false => rows(root, &mut told.readings),
    }
    told
}

/// Sum and momentary unit of a register, and its quantum: power, resistance and mass flow
/// are whole, others count thousandths.
fn measure(kind: &str) -> (&'static str, &'static str, f64) {
    match kind {
        "P" => ("Ws", "W", 1.0),
        "S" => ("VAs", "VA", 1.0),
        "V" => ("V*s", "V", 1e3),
        "I" => ("A*s", "A", 1e3),
        "F" => ("Hz*s", "Hz", 1e3),
        "T" => ("C*s", "C", 1e3),
        "h" | "%" | "THD" => ("%*s", "%", 1e3),
        "Q" => ("g", "g/s", 1.0),
        "v" => ("m", "m/s", 1e3),
        "m" => ("g*s", "g", 1e3),
        "a" => ("deg*s", "deg", 1e3),
        "R" => ("Ohm*s", "Ohm", 1.0),
        "var" => ("var*s", "var", 1.0),
        _ => ("", "", 1e3),
    }
}

/// Types that are not listed here.
pub(crate) fn has_other_types(root: Node<'_, '_>) -> bool {
    const OTHERS: [&str; 10] = ["Ee", "Pa", "Qe", "Qv", "aq", "ppm", "$", "#", "#3", "d"];
    root.descendants().any(|node| OTHERS.contains(&label(node, "t")))
}

fn said(name: &str, kind: &str, form: &str, unit: &str, time: Option<i64>, value: Option<f64>) -> Said {
    let is_known = !measure(kind).0.is_empty();
    let metric = if is_known { format!("{kind}.{form}") } else { form.to_owned() };
    Said { sensor: name.to_owned(), metric, unit: Some(unit.to_owned()), time, value }
}

fn summed(name: &str, kind: &str, time: Option<i64>, value: Option<i64>) -> Said {
    let (unit, _, parts) = measure(kind);
    said(name, kind, "cumulative", unit, time, value.map(|value| value as f64 / parts))
}

fn kind<'a>(node: Node<'a, '_>) -> &'a str {
    if node.has_attribute("t") { label(node, "t") } else { "P" }
}

/// Blocks inherit columns and whether rows are differences. Those go on from block to
/// block, until there are other columns than before.
fn rows(root: Node<'_, '_>, readings: &mut Vec<Said>) {
    let (mut columns, mut is_delta, mut before) = (Vec::new(), false, None);
    for block in children(root, "data") {
        if block.has_attribute("delta") {
            is_delta = label(block, "delta").eq_ignore_ascii_case("true");
        }
        let (mut fresh, mut index) = (Vec::new(), 0);
        for child in block.children() {
            if is_named(child, "cname") {
                fresh.push((text(child), kind(child)));
            }
            if is_named(child, "r") {
                if !fresh.is_empty() && fresh != columns {
                    (columns, before) = (fresh, None);
                }
                fresh = Vec::new();
                row(child, &columns, time(block, index), is_delta, &mut before, readings);
                index += 1;
            }
        }
        if !fresh.is_empty() && fresh != columns {
            (columns, before) = (fresh, None);
        }
    }
}

/// `before` has the registers at the row before, where they are known.
fn row(
    row: Node<'_, '_>,
    columns: &[(String, &str)],
    time: Option<i64>,
    is_delta: bool,
    before: &mut Option<Vec<Option<i64>>>,
    readings: &mut Vec<Said>,
) {
    let cells = children(row, "c");
    if cells.len() != columns.len() {
        *before = Some(vec![None; columns.len()]);
        return readings.push(Said::default());
    }
    let base = before.take().filter(|_| is_delta).unwrap_or_else(|| vec![Some(0); columns.len()]);
    let numbers = cells.iter().map(|cell| text(*cell).parse::<i64>().ok());
    let registers: Vec<_> = base.iter().zip(numbers).map(|(base, number)| Some(base.as_ref()?.wrapping_add(number?))).collect();
    readings.extend(columns.iter().zip(&registers).map(|((name, kind), register)| summed(name, kind, time, *register)));
    *before = Some(registers);
}

/// The newest row is the first.
fn time(block: Node<'_, '_>, index: i128) -> Option<i64> {
    let step = match (block.has_attribute("time_delta"), index) {
        (false, 0) => 0,
        (_, 0) => seconds(label(block, "time_delta"))?,
        _ => seconds(label(block, "time_delta")).filter(|step| *step > 0)?,
    };
    unix(seconds(label(block, "time_stamp")).map(|stamp| stamp - index * step))
}

fn seconds(text: &str) -> Option<i128> {
    whole(text).filter(|seconds| i64::try_from(*seconds).is_ok())
}

fn answer(root: Node<'_, '_>, readings: &mut Vec<Said>) {
    let mut time = when("");
    for child in root.children().filter(Node::is_element) {
        if is_named(child, "ts") {
            time = unix(seconds(&text(child)));
        }
        if !is_named(child, "r") {
            continue;
        }
        let (name, kind) = (label(child, "n"), kind(child));
        for inner in child.children().filter(Node::is_element) {
            if is_named(inner, "v") {
                readings.push(summed(name, kind, time, text(inner).parse().ok()));
            }
            if is_named(inner, "i") {
                readings.push(said(name, kind, "instant", measure(kind).1, time, plain_number(&text(inner))));
            }
        }
    }
}
