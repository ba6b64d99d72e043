//! Entries of the trail in words: who, what, from what to what.
//!
//! An entry holds references and what was set, never what was there before; that stands
//! in an earlier entry about the same thing. What a release after this one writes is
//! shown as it stands.

use std::collections::BTreeMap;

use heliograph_domain::{CorrectionKind, Timestamp, Zone};
use heliograph_store::AuditRow;
use serde_json::{Map, Number, Value};

use crate::error::Refusal;
use crate::figures::duration;
use crate::form::local_text;
use crate::panel::Panel;
use crate::shell::encode;

/// What an entry is about, to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gateways,
    Places,
    Corrections,
    Customers,
    People,
    Settings,
    Documents,
    Alerts,
    Upkeep,
    Rest,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::Gateways,
        Self::Places,
        Self::Corrections,
        Self::Customers,
        Self::People,
        Self::Settings,
        Self::Documents,
        Self::Alerts,
        Self::Upkeep,
        Self::Rest,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Gateways => "gateways",
            Self::Places => "places",
            Self::Corrections => "corrections",
            Self::Customers => "customers",
            Self::People => "people",
            Self::Settings => "settings",
            Self::Documents => "documents",
            Self::Alerts => "alerts",
            Self::Upkeep => "upkeep",
            Self::Rest => "rest",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Gateways => "Gateways, sensors, keys",
            Self::Places => "Locations, points, arrays",
            Self::Corrections => "Corrections",
            Self::Customers => "Customers, commissions",
            Self::People => "People and their ways in",
            Self::Settings => "Settings",
            Self::Documents => "Mappings, quarantine",
            Self::Alerts => "Alerts, maintenance",
            Self::Upkeep => "Retention, archives, damage",
            Self::Rest => "Anything else",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        match text {
            "" => Ok(None),
            text => Self::ALL.into_iter().find(|kind| kind.as_str() == text).map(Some).ok_or("choose a kind of the list"),
        }
    }

    /// That of an action such as `gateway.retire`.
    pub(super) fn of(action: &str) -> Self {
        match action.split('.').next().unwrap_or_default() {
            "gateway" | "sensor" | "series" | "credential" | "certificate" => Self::Gateways,
            "location" | "point" | "binding" | "array" => Self::Places,
            "correction" => Self::Corrections,
            "customer" | "commission" => Self::Customers,
            "user" | "api-token" => Self::People,
            "settings" => Self::Settings,
            "mapping" | "quarantine" => Self::Documents,
            "alert" | "maintenance" => Self::Alerts,
            "archive" | "retention" | "damage" => Self::Upkeep,
            _ => Self::Rest,
        }
    }
}

/// An action in words; one that is not known as it stands.
pub(super) fn action(action: &str) -> String {
    let words = match action {
        "location.save" => "Location saved",
        "gateway.commission" => "Gateway commissioned",
        "gateway.move" => "Gateway moved",
        "gateway.rename" => "Gateway renamed",
        "gateway.retire" => "Gateway retired",
        "gateway.replace" => "Gateway replaced",
        "gateway.clock" => "Clock corrected",
        "sensor.update" => "Sensor changed",
        "series.classify" => "Series classified",
        "credential.add" => "Key added",
        "credential.end" => "End of a key set",
        "credential.revoke" => "Key revoked",
        "certificate.add" => "Certificate registered",
        "certificate.remove" => "Certificate removed",
        "user.create" => "Person added",
        "user.update" => "Person changed",
        "user.password" => "Password chosen",
        "user.delete" => "Person removed",
        "user.link" => "One-time link made",
        "user.invite" => "Link sent by mail",
        "user.second-factor.set" => "Second step set up",
        "user.second-factor.recovery" => "Recovery code used",
        "user.second-factor.remove" => "Second step taken away",
        "user.sign-out" => "Tokens ended by signing out everywhere",
        "api-token.create" => "API token made",
        "api-token.remove" => "API token taken away",
        "customer.save" => "Customer saved",
        "customer.erase" => "Customer erased",
        "commission.create" => "Gateway given to a customer",
        "commission.end" => "Commission ended",
        "commission.cancel" => "Planned commission cancelled",
        "point.save" => "Point saved",
        "point.remove" => "Point taken away",
        "binding.create" => "Sensor bound to a point",
        "binding.replace" => "Sensor took over a point",
        "binding.end" => "Binding ended",
        "binding.remove" => "Binding taken back",
        "array.save" => "Array saved",
        "array.remove" => "Array taken away",
        "correction.create" => "Correction made",
        "correction.revert" => "Correction taken back",
        "mapping.save" => "Mapping saved",
        "mapping.remove" => "Mapping removed",
        "quarantine.retry" => "Quarantine tried again",
        "settings.save" => "Settings saved",
        "settings.seed" => "First settings",
        "alert.acknowledge" => "Alert acknowledged",
        "alert.comment" => "Alert commented",
        "alert.resolve" => "Alert resolved",
        "maintenance.save" => "Maintenance planned",
        "maintenance.end" => "Maintenance ended",
        "retention.run" => "Old readings deleted",
        "archive.create" => "Archive written",
        "archive.restore" => "Archive restored",
        "damage.accept" => "Damaged rows accepted",
        other => other,
    };
    words.to_owned()
}

/// What of an entry is compared with an earlier one: what stays what it is until
/// somebody sets it anew.
fn state(row: &AuditRow) -> Option<Map<String, Value>> {
    let group = group(&row.action)?;
    let mut state = detail(row)?;
    match group {
        "sensor.update" => drop(state.remove("sensor")),
        "series.classify" => ["sensor", "metric", "unit"].iter().for_each(|field| drop(state.remove(*field))),
        "gateway.move" => state.retain(|field, _| field == "location"),
        "gateway.clock" => state.retain(|field, _| field == "shift"),
        _ => {}
    }
    Some(state)
}

/// The actions that set the same, by one of them; `None` of those that have no before.
fn group(action: &str) -> Option<&str> {
    match action {
        "settings.save" | "settings.seed" => Some("settings.save"),
        "user.create" | "user.update" => Some("user.update"),
        "gateway.commission" | "gateway.move" => Some("gateway.move"),
        "location.save" | "customer.save" | "point.save" | "array.save" | "mapping.save" | "credential.end" | "sensor.update"
        | "series.classify" | "gateway.clock" => Some(action),
        _ => None,
    }
}

/// What an entry is about that has a before: equal for all entries about the same.
pub(super) fn subject(row: &AuditRow) -> Option<String> {
    let group = group(&row.action)?;
    let detail = detail(row)?;
    let part = |field: &str| detail.get(field).map(Value::to_string).unwrap_or_default();
    let parts = match group {
        "sensor.update" => part("sensor"),
        "series.classify" => [part("sensor"), part("metric"), part("unit")].join(" "),
        _ => String::new(),
    };
    Some(format!("{group} {} {parts}", row.object))
}

fn detail(row: &AuditRow) -> Option<Map<String, Value>> {
    match serde_json::from_str(&row.detail) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// One thing that an entry says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) label: String,
    /// What it was; empty where that is not known or did not change.
    pub(super) before: String,
    pub(super) after: String,
}

/// What an entry says, beside an earlier one about the same where there is one: what
/// stayed as it was is left out.
pub(super) fn lines(row: &AuditRow, earlier: Option<&AuditRow>, names: &Names) -> Vec<Line> {
    let Some(fields) = detail(row) else { return Vec::new() };
    let (now, before) = (state(row).unwrap_or_default(), earlier.and_then(state));
    let mut lines = Vec::new();
    for (field, value) in &fields {
        let was = match (&before, now.contains_key(field)) {
            (Some(before), true) => Some(before.get(field).unwrap_or(&Value::Null)),
            _ => None,
        };
        if was == Some(value) || (was.is_none() && value.is_null()) {
            continue;
        }
        lines.push(Line {
            label: label(field),
            before: was.map(|was| names.value(field, was)).unwrap_or_default(),
            after: names.value(field, value),
        });
    }
    if lines.is_empty() && before.is_some() {
        lines.push(Line { label: String::new(), before: String::new(), after: "nothing of it is different".to_owned() });
    }
    lines
}

fn label(field: &str) -> String {
    match field {
        "kwp" => "peak power",
        "installed_kwp" => "installed power",
        "rated_w" => "rated power",
        "co2_kg_per_kwh" => "CO₂ avoided for each kWh (kg)",
        "tariff_per_kwh" => "earned for each kWh",
        "max_ahead_hours" => "hours that a time may be ahead",
        "retention_days" => "days that readings are kept",
        "sha256" => "SHA-256",
        "mailed" => "has a mail address",
        "named" => "has a name of its own",
        "window" => "time",
        "by" => "replaced by",
        "points_ended" => "points that it gave up",
        "bindings" => "sensors that took over",
        "commissions" => "commissions made",
        "proven" => "tried with a right key",
        other => return other.replace('_', " "),
    }
    .to_owned()
}

/// What references stand for now, and the zone of times.
pub(crate) struct Names {
    pub(super) zone: Zone,
    people: BTreeMap<String, String>,
    customers: BTreeMap<String, String>,
    locations: BTreeMap<String, String>,
    points: BTreeMap<String, String>,
    gateways: BTreeMap<String, String>,
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
    fn value(&self, field: &str, value: &Value) -> String {
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

#[cfg(test)]
mod tests {
    use heliograph_store::AuditHash;

    use super::*;

    fn row(seq: u64, action: &str, object: &str, detail: &str) -> AuditRow {
        AuditRow {
            seq,
            at: Timestamp::clamped(0),
            actor: "operator".to_owned(),
            action: action.to_owned(),
            object: object.to_owned(),
            detail: detail.to_owned(),
            hash: AuditHash::NONE,
        }
    }

    fn names() -> Names {
        let one = |id: &str, name: &str| BTreeMap::from([(id.to_owned(), name.to_owned())]);
        Names {
            zone: Zone::parse("Europe/Madrid").unwrap(),
            people: one("p-1", "Mara"),
            customers: one("c-1", "Ana"),
            locations: one("l-1", "Haro"),
            points: one("x-1", "South roof"),
            gateways: one("gw-1", "Roof"),
        }
    }

    fn said(row: &AuditRow, earlier: Option<&AuditRow>) -> Vec<String> {
        let text = |line: Line| match line.before.is_empty() {
            true => format!("{}: {}", line.label, line.after),
            false => format!("{}: {} → {}", line.label, line.before, line.after),
        };
        lines(row, earlier, &names()).into_iter().map(text).collect()
    }

    #[test]
    fn an_entry_says_what_changed_since_the_one_before_about_the_same() {
        let first = row(1, "settings.seed", "settings", r#"{"zone":"UTC","currency":"EUR","retention_days":null}"#);
        let second = row(2, "settings.save", "settings", r#"{"zone":"Europe/Madrid","currency":"EUR","retention_days":400}"#);
        assert_eq!(subject(&first), subject(&second));
        assert_eq!(said(&second, Some(&first)), ["days that readings are kept: none → 400", "zone: UTC → Europe/Madrid"]);
        assert_eq!(said(&second, Some(&second)), [": nothing of it is different"]);
        assert_eq!(said(&first, None), ["currency: EUR", "zone: UTC"]);
    }

    #[test]
    fn what_is_compared_is_the_same_thing() {
        let sensor = |id: &str| row(1, "sensor.update", "gateway:gw-1", &format!(r#"{{"sensor":"{id}","rated_w":9.5}}"#));
        assert_ne!(subject(&sensor("a")), subject(&sensor("b")));
        let moved = row(2, "gateway.move", "gateway:gw-1", r#"{"location":"l-1","from":"2026-06-15T10:00:00Z"}"#);
        let commissioned = row(1, "gateway.commission", "gateway:gw-1", r#"{"location":"l-9","from":"2026-06-01T10:00:00Z"}"#);
        assert_eq!(subject(&moved), subject(&commissioned));
        assert_eq!(said(&moved, Some(&commissioned)), ["from: 15 Jun 2026, 12:00", "location: l-9 → Haro"]);
        assert_eq!(subject(&row(3, "gateway.retire", "gateway:gw-1", "{}")), None);
    }

    #[test]
    fn windows_and_corrections_are_told_in_words() {
        let detail = r#"{"series":{"gateway":"gw-1","sensor":"m","metric":"energy","unit":"Wh"},
            "window":{"from":0,"until":null},"change":{"kind":"scale","factor":2.0}}"#;
        let made = row(1, "correction.create", "correction:1", detail);
        let expected = ["change: multiplied by 2", "series: Roof, m energy in Wh", "time: from 1 Jan 1970, 01:00 on"];
        assert_eq!(said(&made, None), expected);
        let shift = |millis| correction(&CorrectionKind::Shift { millis }, "Wh");
        assert_eq!((shift(-3_600_000).as_str(), shift(1500).as_str()), ("moved back by 1 h", "moved forward by 1.5 s"));
    }

    #[test]
    fn a_takeover_tells_what_was_taken_away_and_what_was_given() {
        let detail = r#"{"by":"gw-1","points_ended":["x-1"],"commissions_ended":["00000000-0000-7000-8000-000500000001"],
            "commissions_cancelled":[],"bindings":[{"point":"x-1","sensor":"inv-2","window":{"from":0,"until":null}}],
            "commissions":[{"commission":"00000000-0000-7000-8000-000500000002","customer":"c-1",
            "window":{"from":0,"until":3600000}}]}"#;
        let expected = [
            "sensors that took over: inv-2 for South roof from 1 Jan 1970, 01:00 on",
            "replaced by: Roof",
            "commissions made: Ana 1 Jan 1970, 01:00 to 1 Jan 1970, 02:00 (…00000002)",
            "commissions cancelled: none",
            "commissions ended: …00000001",
            "points that it gave up: South roof",
        ];
        assert_eq!(said(&row(1, "gateway.replace", "gateway:gw-9", detail), None), expected);
    }

    #[test]
    fn keys_of_programs_are_ways_in() {
        for (known, words) in [("api-token.create", "API token made"), ("api-token.remove", "API token taken away")] {
            assert_eq!((Kind::of(known), action(known).as_str()), (Kind::People, words));
        }
    }

    #[test]
    fn people_who_are_gone_have_no_name_and_what_is_new_is_shown_as_it_stands() {
        let names = names();
        assert_eq!(names.actor("user:p-1"), "Mara");
        assert_eq!(names.actor("user:00000000-0000-7000-8000-000500000009"), "erased person …00000009");
        assert_eq!(names.actor("system:retention"), "the platform (retention)");
        assert_eq!(names.actor("operator"), "shell operator");
        let strange = row(1, "weather.forecast", "sky", "no json");
        assert_eq!((action(&strange.action).as_str(), Kind::of(&strange.action)), ("weather.forecast", Kind::Rest));
        assert_eq!(said(&strange, None), Vec::<String>::new());
        assert_eq!(names.object("gateway:gw-1"), ("Roof".to_owned(), "/gateways/gw-1/manage".to_owned()));
        assert_eq!(names.object("settings"), ("settings".to_owned(), String::new()));
    }
}
