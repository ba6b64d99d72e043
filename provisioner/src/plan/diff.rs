//! What differs between the specification that a container was made from and
//! the one that it should be made from.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::Cause;
use crate::desired::ContainerSpec;
use crate::observed::ObservedContainer;

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The setting's name, such as `limits.memory`.
    pub setting: String,
    /// What it was; empty where there was none.
    pub from: String,
    /// What it should be; empty where there should be none.
    pub to: String,
}

/// Why a container cannot stay as it is; empty when it can.
pub(super) fn causes(container: &ObservedContainer, spec: &ContainerSpec) -> Vec<Cause> {
    if container.spec_digest == spec.digest() {
        return Vec::new();
    }
    let old = serde_json::from_str::<Value>(&container.spec_json).unwrap_or_default();
    let new = serde_json::to_value(spec).unwrap_or_default();
    let mut causes = Vec::new();
    let mut settings = Vec::new();
    for change in changes(&old, &new) {
        match change.setting.as_str() {
            "image_id" => causes.push(Cause::Image { from: change.from, to: change.to }),
            "secrets.version" => causes.push(Cause::Secret),
            _ => settings.push(change),
        }
    }
    // A digest without a readable specification behind it says only that
    // something differs.
    if !settings.is_empty() || causes.is_empty() {
        let changes = if old.is_object() { settings } else { Vec::new() };
        causes.push(Cause::Settings { changes });
    }
    causes
}

fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let (old, new) = (flatten(old), flatten(new));
    let settings: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    settings
        .into_iter()
        .filter_map(|setting| {
            let (before, after) =
                (old.get(setting).map_or(&[][..], Vec::as_slice), new.get(setting).map_or(&[][..], Vec::as_slice));
            (before != after).then(|| change(setting, before, after))
        })
        .collect()
}

/// Leaves out the words that both sides share at either end.
fn change(setting: &str, old: &[String], new: &[String]) -> Change {
    let shorter = old.len().min(new.len());
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old.iter().rev().zip(new.iter().rev()).take(shorter - head).take_while(|(a, b)| a == b).count();
    let middle = |words: &[String]| words[head..words.len() - tail].join(" ");
    Change { setting: setting.to_owned(), from: middle(old), to: middle(new) }
}

/// Every leaf under its dotted name; the elements of a list share one name.
fn flatten(value: &Value) -> BTreeMap<String, Vec<String>> {
    let mut leaves = BTreeMap::new();
    collect(String::new(), value, &mut leaves);
    leaves
}

fn collect(name: String, value: &Value, leaves: &mut BTreeMap<String, Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                collect(if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, field, leaves);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(name.clone(), element, leaves)),
        Value::Null => {}
        Value::String(text) => leaves.entry(name).or_default().push(text.clone()),
        other => leaves.entry(name).or_default().push(other.to_string()),
    }
}
