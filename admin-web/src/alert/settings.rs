//! What raises alerts, and whether they are mailed.

use std::collections::HashMap;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{AlertKind, AlertSettings, ProviderSettings};
use heliograph_report::AlertWords;
use heliograph_store::StoreError;

use crate::access::{Reader, Staff};
use crate::error::Refusal;
use crate::form::Problems;
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell};

/// Minutes of silence beyond a gateway's rhythm that can be allowed.
const SILENT_MINUTES: std::ops::RangeInclusive<u32> = 15..=10_080;

/// A kind to be raised or not.
struct Choice {
    value: &'static str,
    label: &'static str,
    explained: &'static str,
    is_on: bool,
}

#[derive(Template, WebTemplate)]
#[template(path = "alert-settings.html")]
struct SettingsPage {
    shell: Shell,
    mail: bool,
    minutes: String,
    kinds: Vec<Choice>,
    problems: Problems,
}

impl SettingsPage {
    fn new(shell: Shell, settings: &AlertSettings, minutes: String, problems: Problems) -> Self {
        let choice = |kind: &AlertKind| Choice {
            value: kind.as_str(),
            label: AlertWords::kind(*kind),
            explained: AlertWords::explained(*kind),
            is_on: settings.raises(*kind),
        };
        let kinds = AlertKind::ALL.iter().map(choice).collect();
        Self { shell, mail: settings.mail, minutes, kinds, problems }
    }
}

/// `GET /alerts/settings`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Alerts).await?.saying(&done);
    let settings = shell.settings.alerts.clone();
    let minutes = settings.silent_minutes.to_string();
    Ok(SettingsPage::new(shell, &settings, minutes, Problems::default()).into_response())
}

/// `POST /alerts/settings`: a box that is not ticked is not sent.
pub(crate) async fn save(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Form(form): Form<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let typed = form.get("minutes").cloned().unwrap_or_default();
    let mut problems = Problems::default();
    let minutes = typed.trim().parse::<u32>().ok().filter(|minutes| SILENT_MINUTES.contains(minutes));
    let (least, most) = SILENT_MINUTES.into_inner();
    let minutes = problems.note("minutes", minutes.ok_or_else(|| format!("must be a whole number from {least} to {most}")));
    let off = AlertKind::ALL.iter().copied().filter(|kind| !form.contains_key(kind.as_str())).collect();
    let current = panel.store().settings_fetch().await?;
    let silent_minutes = minutes.unwrap_or(current.alerts.silent_minutes);
    let alerts = AlertSettings { mail: form.contains_key("mail"), off, silent_minutes };
    if !problems.is_empty() {
        let shell = Shell::of(&panel, &actor, Section::Alerts).await?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, SettingsPage::new(shell, &alerts, typed, problems)).into_response());
    }
    let wanted = ProviderSettings { alerts, ..current.clone() };
    match actor.store(&panel).settings_replace(current, wanted).await {
        Ok(()) => {}
        Err(StoreError::Conflict(_)) => {
            return Err(Refusal::Conflict("Somebody else has changed the settings meanwhile: try again.".to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %actor.user.id, "settings of alerts saved");
    Ok(Redirect::to("/alerts/settings?done=saved").into_response())
}
