//! What a site is expected to give in each month.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Location, YieldTargets};
use heliograph_report::format;

use super::MAX_KWP;
use super::manage::{fetch, path_of, refused_targets};
use crate::access::Staff;
use crate::error::Refusal;
use crate::form::{Problems, parse_optional_number};
use crate::panel::Panel;

/// The fields of the months, and what they are called.
pub(crate) const MONTHS: [(&str, &str); 12] = [
    ("kwh_1", "January"),
    ("kwh_2", "February"),
    ("kwh_3", "March"),
    ("kwh_4", "April"),
    ("kwh_5", "May"),
    ("kwh_6", "June"),
    ("kwh_7", "July"),
    ("kwh_8", "August"),
    ("kwh_9", "September"),
    ("kwh_10", "October"),
    ("kwh_11", "November"),
    ("kwh_12", "December"),
];
/// The field of the peak power.
pub(crate) const KWP: &str = "target_kwp";

/// One month of the form.
pub(super) struct MonthField {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) value: String,
}

/// What is expected, as it is typed.
pub(crate) struct TargetForm {
    pub(super) months: Vec<MonthField>,
    pub(super) kwp: String,
    /// What they come to in a year; empty where nothing is set.
    pub(super) year: String,
}

impl TargetForm {
    fn with(value: impl Fn(usize, &str) -> String, kwp: String, year: String) -> Self {
        let field =
            |(at, (name, label)): (usize, (&'static str, &'static str))| MonthField { name, label, value: value(at, name) };
        Self { months: MONTHS.into_iter().enumerate().map(field).collect(), kwp, year }
    }

    /// Of a site that has none; for what stands there.
    pub(super) fn fresh(kwp: Option<f64>) -> Self {
        let kwp = kwp.filter(|kwp| *kwp > 0.0).map(|kwp| kwp.to_string());
        Self::with(|_, _| String::new(), kwp.unwrap_or_default(), String::new())
    }

    pub(super) fn of(targets: &YieldTargets) -> Self {
        let each = targets.kwp().map(|kwp| format!(", {}", format::specific_yield(targets.of_year() / kwp)));
        let year = format!("{}{}", format::energy(targets.of_year() * 1000.0), each.unwrap_or_default());
        Self { year, ..Self::of_numbers(targets.months(), targets.kwp()) }
    }

    /// From numbers, January first.
    pub(crate) fn of_numbers(kwh: &[f64], kwp: Option<f64>) -> Self {
        let value = |at: usize, _: &str| kwh.get(at).map(ToString::to_string).unwrap_or_default();
        Self::with(value, kwp.map(|kwp| kwp.to_string()).unwrap_or_default(), String::new())
    }

    fn typed(fields: &BTreeMap<String, String>, year: String) -> Self {
        let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
        Self::with(|_, name| text(name), text(KWP), year)
    }

    /// Reads it for a site.
    pub(crate) async fn read(&self, panel: &Panel, location: &Location) -> Result<Result<YieldTargets, Problems>, Refusal> {
        let has_arrays = panel.store().array_list().await?.iter().any(|array| array.location == location.id);
        Ok(self.parse(location, has_arrays || location.installed_kwp.is_some()))
    }

    /// `knows_kwp`: whether the site has a peak power that the targets can be held against.
    fn parse(&self, location: &Location, knows_kwp: bool) -> Result<YieldTargets, Problems> {
        let mut problems = Problems::default();
        let mut kwh = [0.0; 12];
        for (month, field) in kwh.iter_mut().zip(&self.months) {
            let typed = parse_optional_number(&field.value, 0.0, YieldTargets::MOST_KWH);
            let needed = typed.and_then(|number| number.ok_or_else(|| "is needed: of a month without any, 0".to_owned()));
            if let Some(number) = problems.note(field.name, needed.map_err(|problem| format!("{} {problem}", field.label))) {
                *month = number;
            }
        }
        let kwp = parse_optional_number(&self.kwp, 0.001, MAX_KWP).map_err(|problem| format!("the peak power {problem}"));
        let kwp = problems.note(KWP, kwp).flatten();
        if kwp.is_some() && !knows_kwp {
            problems.add(KWP, "Nothing is known of what is installed here: add an array first, or leave this empty.");
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        match problems.note(KWP, YieldTargets::new(location.id, kwh, kwp)) {
            Some(targets) => Ok(targets),
            None => Err(problems),
        }
    }
}

/// `POST /locations/{location}/targets`
pub(crate) async fn save_targets(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(location): Path<String>,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Result<Response, Refusal> {
    let location = fetch(&panel, &location).await?;
    let known = panel.store().target_find(location.id).await?;
    let form = TargetForm::typed(&fields, known.map(|known| TargetForm::of(&known).year).unwrap_or_default());
    match form.read(&panel, &location).await? {
        Ok(targets) => {
            actor.store(&panel).target_save(targets).await?;
            tracing::info!(user = %actor.user.id, location = %location.id, "expected yield saved");
            Ok(back(&location, "saved"))
        }
        Err(problems) => refused_targets(&panel, &actor, &location, form, problems).await,
    }
}

/// `POST /locations/{location}/targets/remove`
pub(crate) async fn remove_targets(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(location): Path<String>,
) -> Result<Response, Refusal> {
    let location = fetch(&panel, &location).await?;
    actor.store(&panel).target_remove(location.id).await?;
    tracing::info!(user = %actor.user.id, location = %location.id, "expected yield taken away");
    Ok(back(&location, "taken-away"))
}

fn back(location: &Location, done: &str) -> Response {
    Redirect::to(&format!("{}/manage?done={done}", path_of(location))).into_response()
}
