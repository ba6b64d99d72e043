//! What the provider sets for itself. A change says by an ETag what it is based on (RFC
//! 9110, section 13.1.1), so that of two who change settings at once one gets to know.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use heliograph_domain::ProviderSettings;
use heliograph_store::StoreError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{ByReader, ByStaff};
use super::problem::ApiRefusal;
use super::request::Body;
use super::wire::typed;
use crate::form::Problems;
use crate::panel::Panel;
use crate::settings::{SettingsForm, unconfirmed, version_of};

/// The provider's settings: a change sends all of them, as they were read.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// What the provider is called in the panel and in mails: 1 to 80 characters on one line.
    #[schema(example = "Sunrise Energy")]
    name: String,
    /// The colour of the panel and of mails, `#rrggbb`.
    #[schema(example = "#0f6b57")]
    colour: String,
    /// The time zone of what belongs to no location (IANA).
    #[schema(example = "Europe/Madrid")]
    zone: String,
    /// The currency of tariffs (ISO 4217).
    #[schema(example = "EUR")]
    currency: String,
    /// What a produced kWh earns, a decimal in the currency.
    #[schema(example = "0.08")]
    tariff_per_kwh: String,
    /// What a kWh that is fed in earns, and when: a price a line; empty: `tariff_per_kwh`
    /// for all that is produced. In a change left out or null: as it is.
    #[schema(example = "0.08 from 2026-01-01")]
    feed_in_tariff: Option<String>,
    /// What a kWh from the grid costs, and when, likewise; empty: not known.
    #[schema(example = "0.31\n0.24 22:00-06:00")]
    import_tariff: Option<String>,
    /// Kilograms of CO2 that a produced kWh avoids: a decimal, or a line for each time from
    /// which another one holds, as in tariffs.
    #[schema(example = "0.38\n0.35 from 2027-01-01")]
    co2_kg_per_kwh: String,
    /// What happens to gateways that nobody has commissioned: `refused` or `adopted`.
    #[schema(example = "refused")]
    unknown_gateways: String,
    /// Hours that a reading may lie in the future.
    #[schema(example = 24)]
    max_ahead_hours: u32,
    /// Days that readings are kept; null: for ever.
    retention_days: Option<u32>,
    /// How many gateways may be commissioned. The operator's to set: a change leaves it out
    /// or as it is.
    max_gateways: Option<u32>,
    /// In a change: the days once more, where keeping readings for fewer deletes some.
    #[serde(skip_serializing)]
    #[schema(write_only)]
    confirm_retention_days: Option<u32>,
}

impl From<&ProviderSettings> for Settings {
    fn from(settings: &ProviderSettings) -> Self {
        Self {
            name: settings.name.clone(),
            colour: settings.colour.to_string(),
            zone: settings.zone.to_string(),
            currency: settings.currency.to_string(),
            tariff_per_kwh: settings.tariff_per_kwh.to_string(),
            feed_in_tariff: Some(settings.feed_in_tariff.to_string()),
            import_tariff: Some(settings.import_tariff.to_string()),
            co2_kg_per_kwh: settings.co2().to_string(),
            unknown_gateways: settings.unknown_gateways.to_string(),
            max_ahead_hours: settings.max_ahead_hours,
            retention_days: settings.retention_days,
            max_gateways: Some(settings.max_gateways),
            confirm_retention_days: None,
        }
    }
}

/// What the fields of the panel's form are called here.
const NAMES: [(&str, &str); 7] = [
    ("tariff", "tariff_per_kwh"),
    ("feed_in", "feed_in_tariff"),
    ("import", "import_tariff"),
    ("co2", "co2_kg_per_kwh"),
    ("unknown", "unknown_gateways"),
    ("ahead", "max_ahead_hours"),
    ("retention", "retention_days"),
];

impl Settings {
    fn parse(self, current: &ProviderSettings) -> Result<ProviderSettings, ApiRefusal> {
        let stays = SettingsForm::of(current);
        let form = SettingsForm {
            name: self.name,
            colour: self.colour,
            zone: self.zone,
            currency: self.currency,
            tariff: self.tariff_per_kwh,
            feed_in: self.feed_in_tariff.unwrap_or(stays.feed_in),
            import: self.import_tariff.unwrap_or(stays.import),
            co2: self.co2_kg_per_kwh,
            unknown: self.unknown_gateways,
            ahead: self.max_ahead_hours.to_string(),
            retention: typed(self.retention_days),
            confirmed: String::new(),
            seen: String::new(),
        };
        let (parsed, mut problems) = match form.parse(current) {
            Ok(parsed) => (Some(parsed), Problems::default()),
            Err(problems) => (None, problems),
        };
        if self.max_gateways.is_some_and(|most| most != current.max_gateways) {
            problems.add("max_gateways", "The operator sets it.");
        }
        parsed.filter(|_| problems.is_empty()).ok_or_else(|| ApiRefusal::fields(&problems, &NAMES))
    }
}

/// The ETag of settings.
fn tag(settings: &ProviderSettings) -> String {
    format!("\"{}\"", version_of(settings))
}

type Tagged = ([(HeaderName, String); 1], Json<Settings>);

fn told(settings: &ProviderSettings) -> Tagged {
    ([(header::ETAG, tag(settings))], Json(settings.into()))
}

/// Read the settings
///
/// The header ETag says which version they are.
#[utoipa::path(
    get,
    path = "/api/v1/settings",
    operation_id = "showSettings",
    tag = "Settings",
    security(("token" = ["read"])),
    responses((
        status = 200,
        description = "The settings.",
        body = Settings,
        headers(("ETag" = String, description = "The version, to be sent as If-Match with a change."))
    ))
)]
pub(super) async fn show(State(panel): State<Panel>, _: ByReader) -> Result<Tagged, ApiRefusal> {
    Ok(told(&panel.store().settings_fetch().await?))
}

/// Change the settings
///
/// All of them, as they were read but for what is to change, based on the version that
/// `If-Match` names; 428 without one, 412 where they have been changed since. Keeping readings for fewer days deletes those that are older: where
/// there are any, the days have to be confirmed.
#[utoipa::path(
    put,
    path = "/api/v1/settings",
    operation_id = "replaceSettings",
    tag = "Settings",
    params(("If-Match" = String, Header, description = "The ETag of the settings that the change is based on.")),
    request_body = Settings,
    security(("token" = ["write"])),
    responses((
        status = 200,
        description = "The settings as they are now.",
        body = Settings,
        headers(("ETag" = String, description = "The new version."))
    ))
)]
pub(super) async fn replace(
    State(panel): State<Panel>,
    ByStaff(caller): ByStaff,
    headers: HeaderMap,
    Body(input): Body<Settings>,
) -> Result<Tagged, ApiRefusal> {
    let condition = headers.get(header::IF_MATCH).ok_or(ApiRefusal::Unconditional)?;
    let current = panel.store().settings_fetch().await?;
    if !names(condition.as_bytes(), &tag(&current)) {
        return Err(ApiRefusal::Changed);
    }
    let confirmed = typed(input.confirm_retention_days);
    let settings = input.parse(&current)?;
    if let Some((days, preview)) = unconfirmed(&panel, &settings, &confirmed).await? {
        let readings = preview.readings();
        return Err(ApiRefusal::conflict(format!(
            "Keeping {days} days deletes {readings} readings for good. Send “confirm_retention_days”: {days} to do so."
        )));
    }
    match caller.actor.store(&panel).settings_replace(current, settings.clone()).await {
        Ok(()) => {}
        Err(StoreError::Conflict(_)) => return Err(ApiRefusal::Changed),
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user = %caller.actor.user.id, token = %caller.token.id, "settings saved");
    Ok(told(&settings))
}

/// Whether a condition names a version. `*` is any, which would be no condition.
fn names(condition: &[u8], tag: &str) -> bool {
    let text = std::str::from_utf8(condition).unwrap_or_default();
    text.split(',').any(|named| named.trim() == tag)
}
