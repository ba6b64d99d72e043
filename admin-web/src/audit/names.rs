//! What the references of an entry stand for, and its values as people read them.

use std::collections::BTreeMap;

use heliograph_domain::{CorrectionKind, Timestamp, Zone};
use serde_json::{Map, Number, Value};

use crate::error::Refusal;
use crate::figures::duration;
use crate::form::local_text;
use crate::panel::Panel;
use crate::shell::encode;

/// What references stand for now, and the zone of times.
pub(crate) struct Names {
    pub(super) zone: Zone,
    pub(super) people: BTreeMap<String, String>,
    pub(super) customers: BTreeMap<String, String>,
    pub(super) locations: BTreeMap<String, String>,
    pub(super) points: BTreeMap<String, String>,
    pub(super) gateways: BTreeMap<String, String>,
}

impl Names {
    pub(crate) async fn read(panel: &Panel, zone: Zone) -> Result<Self, Refusal> {
        let store = panel.store();
        let people = store.user_list().await?;
        let customers = store.customer_list().await?;
        let locations = store.location_list().await?;
        let points = store.point_list().await?;
        let gateways = store.gateway_list().await?;
        Ok(Self {
            zone,
            people: people.into_iter().map(|user| (user.id.to_string(), user.name)).collect(),
            customers: customers.into_iter().map(|customer| (customer.id.to_string(), customer.name)).collect(),
            locations: locations.into_iter().map(|location| (location.id.to_string(), location.name)).collect(),
            points: points.into_iter().map(|point| (point.id.to_string(), point.name)).collect(),
            gateways: gateways.into_iter().map(|gateway| (gateway.id.to_string(), gateway.name().to_owned())).collect(),
        })
    }

    /// Whether somebody of that id signs in.
    pub(super) fn knows_person(&self, id: &str) -> bool {
        self.people.contains_key(id)
    }

    /// Everybody who signs in, id and name, by name.
    pub(super) fn people(&self) -> Vec<(String, String)> {
        let mut people: Vec<(String, String)> = self.people.iter().map(|(id, name)| (id.clone(), name.clone())).collect();
        people.sort_by(|a, b| a.1.cmp(&b.1));
        people
    }

    /// Whoever made a change.
    pub(crate) fn actor(&self, actor: &str) -> String {
        match actor.split_once(':') {
            Some(("user", id)) => person(&self.people, id),
            Some(("system", part)) => format!("the platform ({part})"),
            _ if actor == "operator" => "shell operator".to_owned(),
            _ => actor.to_owned(),
        }
    }

    /// What was changed, and the page about it, if it has one.
    pub(super) fn object(&self, object: &str) -> (String, String) {
        let Some((kind, id)) = object.split_once(':') else { return (object.to_owned(), String::new()) };
        let link = |names: &BTreeMap<String, String>, path: String| match names.get(id) {
            Some(name) => (name.clone(), path),
            None => (format!("{kind} {}", ending(id)), String::new()),
        };
        match kind {
            "gateway" => match self.gateways.get(id) {
                Some(name) => (name.clone(), format!("/gateways/{}/manage", encode(id))),
                None => (id.to_owned(), String::new()),
            },
            "location" => link(&self.locations, format!("/locations/{id}")),
            "customer" => link(&self.customers, format!("/customers/{id}")),
            "user" if self.knows_person(id) => link(&self.people, format!("/people/{id}/edit")),
            "user" => (person(&self.people, id), String::new()),
            "point" => link(&self.points, String::new()),
            "mapping" => (format!("mapping {id}"), String::new()),
            _ => (format!("{kind} {}", ending(id)), String::new()),
        }
    }

    /// A value as people read it.
    pub(super) fn value(&self, field: &str, value: &Value) -> String {
        match (field, value) {
            (_, Value::Null) => "none".to_owned(),
            (_, Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
            ("kwp" | "installed_kwp", Value::Number(kwp)) => format!("{} kWp", number(kwp)),
            ("rated_w", Value::Number(watts)) => format!("{} W", number(watts)),
            ("tilt" | "azimuth", Value::Number(degrees)) => format!("{}°", number(degrees)),
            (_, Value::Number(other)) => number(other),
            ("window", Value::Object(window)) => self.window(window),
            ("bindings", Value::Object(bound)) => {
                format!("{} for {} {}", part(bound, "sensor"), named(&self.points, part(bound, "point")), self.window_of(bound))
            }
            ("commissions", Value::Object(made)) => {
                let (customer, id) = (named(&self.customers, part(made, "customer")), ending(part(made, "commission")));
                format!("{customer} {} ({id})", self.window_of(made))
            }
            ("change", change) => self.change(change),
            ("series", Value::Object(series)) => {
                let text = |field: &str| series.get(field).and_then(Value::as_str).unwrap_or_default();
                format!("{}, {} {} in {}", named(&self.gateways, text("gateway")), text("sensor"), text("metric"), text("unit"))
            }
            (_, Value::Array(values)) => {
                let some: Vec<String> = values.iter().take(5).map(|value| self.value(field, value)).collect();
                let more = values.len().saturating_sub(some.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                if some.is_empty() { "none".to_owned() } else { format!("{}{more}", some.join(", ")) }
            }
            (_, Value::String(text)) => self.text(field, text),
            (_, other) => other.to_string(),
        }
    }

    fn text(&self, field: &str, text: &str) -> String {
        match field {
            "location" | "locations" => named(&self.locations, text),
            "customer" => named(&self.customers, text),
            "gateway" | "by" => named(&self.gateways, text),
            "points" | "points_ended" => named(&self.points, text),
            "credential" | "commissions" | "commissions_ended" | "commissions_cancelled" | "mail" => ending(text),
            "sha256" => text.chars().take(12).collect::<String>() + "…",
            _ => match Timestamp::parse_rfc3339(text) {
                Ok(at) => self.at(at),
                Err(_) => text.to_owned(),
            },
        }
    }

    fn at(&self, at: Timestamp) -> String {
        if at == Timestamp::MIN { "the beginning".to_owned() } else { local_text(at, &self.zone) }
    }

    fn window(&self, window: &Map<String, Value>) -> String {
        let at = |field: &str| window.get(field).and_then(Value::as_i64).map(|millis| self.at(Timestamp::clamped(millis)));
        let (from, until) = (at("from").unwrap_or_default(), at("until"));
        match until {
            Some(until) => format!("{from} to {until}"),
            None => format!("from {from} on"),
        }
    }

    /// That of something that was made.
    fn window_of(&self, made: &Map<String, Value>) -> String {
        made.get("window").and_then(Value::as_object).map(|window| self.window(window)).unwrap_or_default()
    }

    fn change(&self, change: &Value) -> String {
        match serde_json::from_value(change.clone()) {
            Ok(kind) => correction(&kind, ""),
            Err(_) => change.to_string(),
        }
    }
}

/// A text of an object; empty where there is none.
fn part<'a>(object: &'a Map<String, Value>, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A number without decimals that say nothing.
fn number(number: &Number) -> String {
    match (number.as_i64(), number.as_f64()) {
        (None, Some(fraction)) => fraction.to_string(),
        _ => number.to_string(),
    }
}

/// What a correction does, in words.
pub(crate) fn correction(kind: &CorrectionKind, unit: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match kind {
        CorrectionKind::Exclude => "left out".to_owned(),
        CorrectionKind::Scale { factor } => format!("multiplied by {factor}"),
        CorrectionKind::Shift { millis } => {
            let way = if *millis < 0 { "back" } else { "forward" };
            format!("moved {way} by {}", duration_of(millis.saturating_abs()))
        }
        CorrectionKind::Manual { value } => format!("set to {value}{unit}"),
        CorrectionKind::MeterSwap { last_old, first_new } => {
            format!("meter swapped: the old one ends at {last_old}{unit}, the new one begins at {first_new}{unit}")
        }
    }
}

/// A shift may be less than a minute.
fn duration_of(millis: i64) -> String {
    if millis % 60_000 == 0 { duration(millis) } else { format!("{} s", millis as f64 / 1000.0) }
}

fn person(people: &BTreeMap<String, String>, id: &str) -> String {
    people.get(id).cloned().unwrap_or_else(|| format!("erased person {}", ending(id)))
}

fn named(names: &BTreeMap<String, String>, id: &str) -> String {
    names.get(id).cloned().unwrap_or_else(|| if id.len() == 36 { ending(id) } else { id.to_owned() })
}

/// The end of an id, which tells it from others.
fn ending(id: &str) -> String {
    let skipped = id.chars().count().saturating_sub(8);
    if skipped == 0 { id.to_owned() } else { format!("…{}", id.chars().skip(skipped).collect::<String>()) }
}
