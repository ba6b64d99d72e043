//! What a tree says of a SenML pack (RFC 8428), read record by record.

use proptest::prelude::*;
use roxmltree::Node;

use super::said::{Said, Told, attribute, plain_number, trimmed};
use super::{one_of, received};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:senml";

/// Numbers that stand in for a base field until a record states another one.
#[derive(Default)]
struct Base {
    name: String,
    unit: String,
    time: Option<Option<f64>>,
    value: Option<Option<f64>>,
    sum: Option<Option<f64>>,
}

/// The sum of two numbers, the first of which is 0 where it is not stated.
fn raised(base: Option<Option<f64>>, by: Option<f64>) -> Option<f64> {
    let sum = base.unwrap_or(Some(0.0))? + by?;
    sum.is_finite().then_some(sum)
}

fn is_truth(text: &str) -> bool {
    matches!(trimmed(text), "true" | "false")
}

impl Base {
    fn take(&mut self, node: Node<'_, '_>) {
        let stated = |label: &str| attribute(node, label);
        // Names hold no white space (section 4.5.1): what is around them is none of them.
        if let Some(name) = stated("bn") {
            trimmed(name).clone_into(&mut self.name);
        }
        if let Some(unit) = stated("bu") {
            trimmed(unit).clone_into(&mut self.unit);
        }
        if let Some(time) = stated("bt") {
            self.time = Some(plain_number(time));
        }
        if let Some(value) = stated("bv").filter(|value| !is_truth(value)) {
            self.value = Some(plain_number(value));
        }
        if let Some(sum) = stated("bs") {
            self.sum = Some(plain_number(sum));
        }
    }

    fn said(&self, node: Node<'_, '_>, metric: &str, unit: String, value: Option<f64>) -> Said {
        let sensor = format!("{}{}", self.name, attribute(node, "n").unwrap_or_default());
        let own = attribute(node, "t").map_or(Some(0.0), plain_number);
        let time = raised(self.time, own).map(|seconds| {
            // RFC 8428 section 4.5.3: 2^28 seconds and more are since 1970.
            let from = if seconds < f64::from(1 << 28) { received().as_millis() } else { 0 };
            from + (seconds * 1000.0).round() as i64
        });
        Said { sensor, metric: metric.to_owned(), unit: Some(unit), time, value }
    }
}

/// Packs name no gateway.
pub(crate) fn told(root: Node<'_, '_>) -> Told {
    let (mut base, mut said) = (Base::default(), Vec::new());
    base.take(root);
    for node in root.children().filter(Node::is_element) {
        let tag = node.tag_name();
        let is_of_senml = tag.namespace().is_none_or(|uri| uri.is_empty() || uri == NAMESPACE);
        if !is_of_senml || !matches!(tag.name(), "senml" | "e") {
            continue;
        }
        base.take(node);
        let stated = |label: &str| attribute(node, label);
        let unit = stated("u").map_or(base.unit.as_str(), trimmed).to_owned();
        let (own, sum) = (stated("v"), stated("s"));
        let is_other = ["vs", "vb", "vd", "sv"].iter().any(|label| stated(label).is_some()) || stated("bv").is_some_and(is_truth);
        let says_something = stated("n").is_some_and(|name| !name.is_empty()) || stated("u").or(stated("t")).is_some();
        if let Some(own) = own {
            said.push(base.said(node, "value", unit.clone(), raised(base.value, plain_number(own))));
        } else if !is_other && sum.is_none() && says_something && (base.value.is_some() || base.sum.is_none()) {
            said.push(base.said(node, "value", unit.clone(), base.value.flatten()));
        }
        // Base value and base sum alike stand for a record that has neither of its own.
        let of_base = base.sum.filter(|_| own.is_none() && !is_other && says_something);
        let sum = sum.map(|sum| raised(base.sum, plain_number(sum))).or(of_base);
        if let Some(sum) = sum {
            let unit = if unit.is_empty() { "s".to_owned() } else { format!("{unit}*s") };
            said.push(base.said(node, "sum", unit, sum));
        }
    }
    Told { gateway: String::new(), readings: said }
}

const FIELDS: &[&str] = &[
    "n='m'",
    "n='a-b'",
    "n=''",
    "u='W'",
    "u=' %RH '",
    "u=''",
    "v='1'",
    "v='-2.5'",
    "v=' 3e2\t'",
    "v='x'",
    "v='&#49;'",
    "t='-5'",
    "t='1795176000'",
    "t='1.795176e9'",
    "t='60.25'",
    "t='y'",
    "s='7'",
    "vs='text'",
    "vb='true'",
    "vd='aGk'",
    "ut='60'",
    "bn='dev-'",
    "bt='1795000000'",
    "bt='0'",
    "bu='Wh'",
    "bv='10'",
    "bv='true'",
    "bs='0.5'",
    "bver='5'",
    "x='1'",
];

/// Packs, often well-formed: two fields of a record may be the same one.
pub(crate) fn pack() -> BoxedStrategy<String> {
    let fields = || prop::collection::vec(one_of(FIELDS), 0..5).prop_map(|fields| fields.join(" "));
    let record = (one_of(&["senml", "senml", "e", "n:senml", "x"]), fields(), one_of(&["", " ", "<!--c-->", "<v>1</v>"]))
        .prop_map(|(name, fields, inner)| format!("<{name} {fields}>{inner}</{name}>"));
    let records = prop::collection::vec(record, 0..6).prop_map(|all| all.concat());
    (one_of(&["sensml", "senml"]), fields(), records)
        .prop_map(|(root, fields, records)| {
            format!("<{root} xmlns='{NAMESPACE}' xmlns:n='{NAMESPACE}' {fields}>{records}</{root}>")
        })
        .boxed()
}
