//! What the provider sets for itself.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Co2Factors, Colour, Currency, KeyDigest, ProviderSettings, Tariff, UnknownGateways, Zone};
use heliograph_store::{RetentionPlan, RetentionPreview, StoreError};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::access::{Actor, Reader, Staff};
use crate::error::Refusal;
use crate::form::{Problems, local_text, parse_name};
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell};

/// Longer than anybody keeps readings: a hundred years.
const MAX_RETENTION_DAYS: u32 = 36_525;
/// A clock that is further ahead is wrong, not fast.
const MAX_AHEAD_HOURS: u32 = 24 * 366;
/// Bytes that tell one version of the settings from another.
const VERSION_BYTES: usize = 16;
/// What to say to whoever saves what somebody else has changed since it was shown.
const FASTER: &str = "Somebody else has changed the settings meanwhile, and nothing of yours was saved. These are the settings as they are now: change them again.";

#[derive(Clone, Deserialize, Default)]
#[serde(default)]
pub(crate) struct SettingsForm {
    pub(crate) name: String,
    pub(crate) colour: String,
    pub(crate) zone: String,
    pub(crate) currency: String,
    pub(crate) tariff: String,
    pub(crate) feed_in: String,
    pub(crate) import: String,
    pub(crate) co2: String,
    pub(crate) unknown: String,
    pub(crate) ahead: String,
    pub(crate) retention: String,
    /// The days whose consequences were shown and accepted.
    pub(crate) confirmed: String,
    /// The version that was shown.
    pub(crate) seen: String,
}

/// Which version of something this is, such as of the settings: says all that is set, not
/// only what is shown.
pub(crate) fn version_of(what: &impl Serialize) -> String {
    let text = serde_json::to_string(what).unwrap_or_default();
    let digest = KeyDigest::of(&text);
    digest.0.iter().take(VERSION_BYTES).fold(String::new(), |version, byte| format!("{version}{byte:02x}"))
}

impl SettingsForm {
    pub(crate) fn of(settings: &ProviderSettings) -> Self {
        Self {
            name: settings.name.clone(),
            colour: settings.colour.to_string(),
            zone: settings.zone.to_string(),
            currency: settings.currency.as_str().to_owned(),
            tariff: settings.tariff_per_kwh.to_string(),
            feed_in: settings.feed_in_tariff.to_string(),
            import: settings.import_tariff.to_string(),
            co2: settings.co2().to_string(),
            unknown: settings.unknown_gateways.as_str().to_owned(),
            ahead: settings.max_ahead_hours.to_string(),
            retention: settings.retention_days.map(|days| days.to_string()).unwrap_or_default(),
            confirmed: String::new(),
            seen: version_of(settings),
        }
    }

    /// What is not in the form stays as it is.
    pub(crate) fn parse(&self, current: &ProviderSettings) -> Result<ProviderSettings, Problems> {
        let mut problems = Problems::default();
        let name = problems.note("name", parse_name(&self.name).map_err(|problem| format!("the name {problem}")));
        let colour = problems.note("colour", Colour::parse(self.colour.trim()));
        let zone = problems.note("zone", Zone::parse(self.zone.trim()));
        let currency = problems.note("currency", Currency::parse(self.currency.trim().to_uppercase().as_str()));
        let tariff = problems.note("tariff", parse_rate(&self.tariff));
        let feed_in = problems.note("feed_in", Tariff::parse(&self.feed_in));
        let import = problems.note("import", Tariff::parse(&self.import));
        let co2 = problems.note("co2", parse_factors(&self.co2));
        let unknown = problems.note("unknown", UnknownGateways::parse(&self.unknown).map_err(|_| "choose one of the two"));
        let ahead = problems.note("ahead", parse_whole(&self.ahead, 0, MAX_AHEAD_HOURS));
        let retention = match self.retention.trim() {
            "" => Some(None),
            days => problems.note("retention", parse_whole(days, 1, MAX_RETENTION_DAYS)).map(Some),
        };
        match (name, colour, zone, currency, (tariff, feed_in, import), co2, unknown, ahead, retention) {
            (
                Some(name),
                Some(colour),
                Some(zone),
                Some(currency),
                (Some(tariff_per_kwh), Some(feed_in_tariff), Some(import_tariff)),
                Some(co2),
                Some(unknown_gateways),
                Some(max_ahead_hours),
                Some(retention_days),
            ) => Ok(ProviderSettings {
                name,
                colour,
                zone,
                currency,
                tariff_per_kwh,
                feed_in_tariff,
                import_tariff,
                unknown_gateways,
                max_ahead_hours,
                retention_days,
                ..current.clone().with_co2(co2)
            }),
            _ => Err(problems),
        }
    }
}

fn parse_rate(text: &str) -> Result<Decimal, &'static str> {
    let text = text.trim().replace(',', ".");
    let rate = Decimal::from_str_exact(&text).map_err(|_| "must be a number such as 0.082")?;
    let small_enough = rate <= Decimal::ONE_HUNDRED * Decimal::TEN && rate.scale() <= 9;
    if rate.is_sign_negative() || !small_enough { Err("must lie between 0 and 1000, with at most 9 decimals") } else { Ok(rate) }
}

fn parse_factors(text: &str) -> Result<Co2Factors, String> {
    let factors = Co2Factors::parse(text).map_err(|error| error.to_string())?;
    if factors.is_empty() { Err("needs a line, such as 0.38".to_owned()) } else { Ok(factors) }
}

fn parse_whole(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.trim().parse::<u32>().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

#[derive(Template, WebTemplate)]
#[template(path = "settings.html")]
struct SettingsPage {
    shell: Shell,
    form: SettingsForm,
    problems: Problems,
    /// What is wrong with the form as a whole.
    problem: &'static str,
    zones: Vec<String>,
}

/// The page again, with what is wrong with a logo.
pub(crate) async fn refused_logo(panel: &Panel, actor: &Actor, problem: String) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Settings).await?;
    let (form, mut problems) = (SettingsForm::of(&shell.settings), Problems::default());
    problems.add("logo", problem);
    let page = SettingsPage { shell, form, problems, problem: "", zones: zone_names() };
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// The names of all zones, for the field's suggestions.
pub(crate) fn zone_names() -> Vec<String> {
    jiff::tz::db().available().map(|name| name.as_str().to_owned()).filter(|name| name.contains('/') || name == "UTC").collect()
}

/// `GET /settings`
pub(crate) async fn show(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Settings).await?.saying(&done);
    let form = SettingsForm::of(&shell.settings);
    Ok(SettingsPage { shell, form, problems: Problems::default(), problem: "", zones: zone_names() }.into_response())
}

/// What a shorter retention would delete, to be confirmed before it is saved.
#[derive(Template, WebTemplate)]
#[template(path = "settings-retention.html")]
struct RetentionPage {
    shell: Shell,
    form: SettingsForm,
    days: u32,
    readings: String,
    megabytes: String,
    oldest: String,
    until: String,
    gateways: Vec<(String, String, String)>,
}

/// What saving would delete, where nobody has said yes to the days that are to be kept.
pub(crate) async fn unconfirmed(
    panel: &Panel,
    settings: &ProviderSettings,
    confirmed: &str,
) -> Result<Option<(u32, RetentionPreview)>, Refusal> {
    let Some(days) = settings.retention_days.filter(|days| confirmed != days.to_string()) else { return Ok(None) };
    let current = panel.store().settings_fetch().await?.retention_days;
    if current.is_some_and(|current| current <= days) {
        return Ok(None);
    }
    let preview = panel.store().retention_preview(RetentionPlan::of(days, panel.now())).await?;
    Ok(preview.oldest().is_some().then_some((days, preview)))
}

/// The page to confirm, where saving would delete readings and nobody has said
/// yes to that.
async fn confirmation(
    panel: &Panel,
    actor: &Actor,
    form: &SettingsForm,
    settings: &ProviderSettings,
) -> Result<Option<Response>, Refusal> {
    let Some((days, preview)) = unconfirmed(panel, settings, &form.confirmed).await? else { return Ok(None) };
    let Some(oldest) = preview.oldest() else { return Ok(None) };
    let zone = &settings.zone;
    let page = RetentionPage {
        shell: Shell::of(panel, actor, Section::Settings).await?,
        form: SettingsForm { confirmed: days.to_string(), ..form.clone() },
        days,
        readings: grouped(preview.readings()),
        megabytes: grouped(preview.bytes().div_ceil(1_000_000)),
        oldest: local_text(oldest, zone),
        until: local_text(preview.plan.delete_before, zone),
        gateways: preview
            .gateways
            .iter()
            .map(|share| (share.gateway.to_string(), grouped(share.readings), local_text(share.oldest, zone)))
            .collect(),
    };
    Ok(Some(page.into_response()))
}

/// A number with a thin space between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// `POST /settings`
pub(crate) async fn save(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Form(form): Form<SettingsForm>,
) -> Result<Response, Refusal> {
    let current = panel.store().settings_fetch().await?;
    match form.parse(&current) {
        Ok(_) if form.seen != version_of(&current) => overtaken(&panel, &actor).await,
        Ok(settings) => {
            if let Some(page) = confirmation(&panel, &actor, &form, &settings).await? {
                return Ok(page);
            }
            match actor.store(&panel).settings_replace(current, settings).await {
                Ok(()) => {}
                Err(StoreError::Conflict(_)) => return overtaken(&panel, &actor).await,
                Err(error) => return Err(error.into()),
            }
            tracing::info!(user = %actor.user.id, "settings saved");
            Ok(Redirect::to("/settings?done=saved").into_response())
        }
        Err(problems) => {
            let shell = Shell::of(&panel, &actor, Section::Settings).await?;
            let page = SettingsPage { shell, form, problems, problem: "", zones: zone_names() };
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

/// The settings as somebody else has just saved them.
async fn overtaken(panel: &Panel, actor: &Actor) -> Result<Response, Refusal> {
    let mut shell = Shell::of(panel, actor, Section::Settings).await?;
    shell.settings = panel.store().settings_fetch().await?;
    let form = SettingsForm::of(&shell.settings);
    let page = SettingsPage { shell, form, problems: Problems::default(), problem: FASTER, zones: zone_names() };
    Ok((StatusCode::CONFLICT, page).into_response())
}
