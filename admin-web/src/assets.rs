//! What the pages need besides themselves: one style sheet, one script, the theme made
//! from the provider's colour, an icon. Addresses carry a version, so that browsers
//! keep what does not change.

mod theme;

use std::sync::LazyLock;

use axum::extract::{Query, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use heliograph_domain::{Colour, KeyDigest};
use heliograph_report::chart::CHART_CSS;
use serde::Deserialize;

use crate::error::Refusal;
use crate::panel::Panel;

/// The rules that charts come with, then the panel's own.
static STYLE: LazyLock<String> = LazyLock::new(|| format!("{CHART_CSS}{}", include_str!("../assets/panel.css")));

/// What keeps values live.
const SCRIPT: &str = include_str!("../assets/live.js");

pub(crate) const FOR_EVER: &str = "public, max-age=31536000, immutable";
const SHORTLY: &str = "public, max-age=60";

#[derive(Deserialize)]
pub(crate) struct Version {
    #[serde(default)]
    v: String,
}

/// The version of the style sheet.
pub(crate) fn style_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| version(&STYLE));
    &VERSION
}

/// The version of the script.
pub(crate) fn script_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| version(SCRIPT));
    &VERSION
}

/// The version of a colour's theme.
pub(crate) fn theme_version(colour: &Colour) -> String {
    version(&theme::sheet(colour))
}

fn version(text: &str) -> String {
    KeyDigest::of(text).0.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// `GET /assets/panel.css`
pub(crate) async fn style(Query(asked): Query<Version>) -> Response {
    served("text/css; charset=utf-8", asked.v == style_version(), STYLE.clone())
}

/// `GET /assets/live.js`
pub(crate) async fn script(Query(asked): Query<Version>) -> Response {
    served("text/javascript; charset=utf-8", asked.v == script_version(), SCRIPT.to_owned())
}

/// `GET /assets/theme.css`
pub(crate) async fn theme(State(panel): State<Panel>, Query(asked): Query<Version>) -> Result<Response, Refusal> {
    let colour = panel.store().settings_fetch().await?.colour;
    Ok(served("text/css; charset=utf-8", asked.v == theme_version(&colour), theme::sheet(&colour)))
}

/// `GET /assets/icon.svg`
pub(crate) async fn icon(State(panel): State<Panel>, Query(asked): Query<Version>) -> Result<Response, Refusal> {
    let colour = panel.store().settings_fetch().await?.colour;
    Ok(served("image/svg+xml", asked.v == theme_version(&colour), theme::icon(&colour)))
}

fn served(kind: &'static str, is_current: bool, body: String) -> Response {
    let caching = if is_current { FOR_EVER } else { SHORTLY };
    let headers: [(HeaderName, &'static str); 2] = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, caching)];
    (headers, body).into_response()
}
