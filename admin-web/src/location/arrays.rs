//! What modules stand at a site, and when.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{ArrayId, InstalledArray, Location, TimeWindow, Timestamp, Zone};
use heliograph_store::StoreError;
use serde::Deserialize;

use super::MAX_KWP;
use super::manage::{fetch, path_of, refused, window_texts};
use super::points::PointForm;
use crate::access::{Actor, Reader, Staff};
use crate::error::{Refusal, read_id};
use crate::form::{Problems, local_field, parse_optional_local, parse_optional_number, sentence};
use crate::panel::Panel;
use crate::shell::{Section, Shell};
use crate::token;

/// An array as the site's page lists it.
pub(super) struct ArrayRow {
    pub(super) path: String,
    pub(super) kwp: f64,
    pub(super) tilt: String,
    pub(super) azimuth: String,
    pub(super) from: String,
    pub(super) until: String,
    pub(super) is_current: bool,
}

impl ArrayRow {
    pub(super) fn of(array: &InstalledArray, location: &Location, now: Timestamp) -> Self {
        let (from, until) = window_texts(&array.window, &location.zone);
        Self {
            path: format!("{}/arrays/{}", path_of(location), array.id),
            kwp: array.kwp,
            tilt: format!("{}°", array.tilt),
            azimuth: format!("{}° ({})", array.azimuth, side(array.azimuth)),
            from,
            until,
            is_current: array.window.contains(now),
        }
    }
}

/// The side that an azimuth looks to.
fn side(azimuth: f64) -> &'static str {
    const SIDES: [(f64, &str); 8] = [
        (22.5, "north"),
        (67.5, "north-east"),
        (112.5, "east"),
        (157.5, "south-east"),
        (202.5, "south"),
        (247.5, "south-west"),
        (292.5, "west"),
        (337.5, "north-west"),
    ];
    SIDES.iter().find(|(until, _)| azimuth < *until).map_or("north", |(_, side)| side)
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct ArrayForm {
    pub(super) kwp: String,
    pub(super) tilt: String,
    pub(super) azimuth: String,
    pub(super) from: String,
    pub(super) until: String,
}

impl ArrayForm {
    fn of(array: &InstalledArray, zone: &Zone) -> Self {
        Self {
            kwp: array.kwp.to_string(),
            tilt: array.tilt.to_string(),
            azimuth: array.azimuth.to_string(),
            from: if array.window.from == Timestamp::MIN { String::new() } else { local_field(array.window.from, zone) },
            until: array.window.until.map(|until| local_field(until, zone)).unwrap_or_default(),
        }
    }

    fn parse(&self, id: ArrayId, location: &Location) -> Result<InstalledArray, Problems> {
        let mut problems = Problems::default();
        let number = |text: &str, least: f64, most: f64, what: &str| match parse_optional_number(text, least, most) {
            Ok(Some(number)) => Ok(number),
            Ok(None) => Err(format!("the {what} is needed")),
            Err(problem) => Err(format!("the {what} {problem}")),
        };
        let kwp = problems.note("kwp", number(&self.kwp, 0.001, MAX_KWP, "peak power"));
        let tilt = problems.note("tilt", number(&self.tilt, 0.0, 90.0, "tilt"));
        let azimuth = problems.note("azimuth", number(&self.azimuth, 0.0, 360.0, "azimuth"));
        let from = problems.note("from", parse_optional_local(&self.from, &location.zone));
        let until = problems.note("until", parse_optional_local(&self.until, &location.zone));
        let window = from.zip(until).map(|(from, until)| TimeWindow { from: from.unwrap_or(Timestamp::MIN), until });
        if window.is_some_and(|window| window.is_empty()) {
            problems.add("until", "It must be taken down after it is built.");
        }
        match (kwp, tilt, azimuth, window) {
            (Some(kwp), Some(tilt), Some(azimuth), Some(window)) if problems.is_empty() => {
                // The compass begins anew.
                Ok(InstalledArray { id, location: location.id, kwp, tilt, azimuth: azimuth % 360.0, window })
            }
            _ => Err(problems),
        }
    }
}

/// `POST /locations/{location}/arrays`
pub(crate) async fn add_array(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path(location): Path<String>,
    Form(form): Form<ArrayForm>,
) -> Result<Response, Refusal> {
    let location = fetch(&panel, &location).await?;
    let id = ArrayId::new(token::fresh_uuid(panel.now()));
    let saved = match form.parse(id, &location) {
        Ok(array) => save(&panel, &actor, array).await?,
        Err(problems) => Err(problems),
    };
    match saved {
        Ok(()) => Ok(back(&location, "saved")),
        Err(problems) => refused(&panel, &actor, &location, PointForm::fresh(), form, problems).await,
    }
}

/// Saves it, or names the field that the store refuses.
async fn save(panel: &Panel, actor: &Actor, array: InstalledArray) -> Result<Result<(), Problems>, Refusal> {
    let (id, location) = (array.id, array.location);
    match actor.store(panel).array_save(array).await {
        Ok(()) => {
            tracing::info!(user = %actor.user.id, array = %id, %location, "array saved");
            Ok(Ok(()))
        }
        Err(StoreError::Conflict(problem)) => {
            let mut problems = Problems::default();
            problems.add("kwp", sentence(&problem));
            Ok(Err(problems))
        }
        Err(error) => Err(error.into()),
    }
}

fn back(location: &Location, done: &str) -> Response {
    Redirect::to(&format!("{}/manage?done={done}", path_of(location))).into_response()
}

async fn fetch_array(panel: &Panel, location: &Location, array: &str) -> Result<InstalledArray, Refusal> {
    let array: ArrayId = read_id(array)?;
    let arrays = panel.store().array_list().await?;
    arrays.into_iter().find(|known| known.id == array && known.location == location.id).ok_or(Refusal::NotFound)
}

#[derive(Template, WebTemplate)]
#[template(path = "array.html")]
struct ArrayPage {
    shell: Shell,
    location: String,
    location_path: String,
    path: String,
    zone: String,
    array: ArrayForm,
    problems: Problems,
}

async fn array_page(
    panel: &Panel,
    actor: &Actor,
    location: &Location,
    id: ArrayId,
    array: ArrayForm,
    problems: Problems,
) -> Result<Response, Refusal> {
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let shell = Shell::of(panel, actor, Section::Fleet).await?;
    let page = ArrayPage {
        shell,
        location: location.name.clone(),
        location_path: path_of(location),
        path: format!("{}/arrays/{id}", path_of(location)),
        zone: location.zone.to_string(),
        array,
        problems,
    };
    Ok((status, page).into_response())
}

/// `GET /locations/{location}/arrays/{array}`
pub(crate) async fn show_array(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Path((location, array)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let location = fetch(&panel, &location).await?;
    let array = fetch_array(&panel, &location, &array).await?;
    let form = ArrayForm::of(&array, &location.zone);
    array_page(&panel, &actor, &location, array.id, form, Problems::default()).await
}

/// `POST /locations/{location}/arrays/{array}`
pub(crate) async fn save_array(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path((location, array)): Path<(String, String)>,
    Form(form): Form<ArrayForm>,
) -> Result<Response, Refusal> {
    let location = fetch(&panel, &location).await?;
    let known = fetch_array(&panel, &location, &array).await?;
    let saved = match form.parse(known.id, &location) {
        Ok(array) => save(&panel, &actor, array).await?,
        Err(problems) => Err(problems),
    };
    match saved {
        Ok(()) => Ok(back(&location, "saved")),
        Err(problems) => array_page(&panel, &actor, &location, known.id, form, problems).await,
    }
}

/// `POST /locations/{location}/arrays/{array}/remove`: as if it had never been.
pub(crate) async fn remove_array(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Path((location, array)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let location = fetch(&panel, &location).await?;
    let array = fetch_array(&panel, &location, &array).await?;
    actor.store(&panel).array_remove(array.id).await?;
    tracing::info!(user = %actor.user.id, array = %array.id, location = %location.id, "array taken away");
    Ok(back(&location, "taken-away"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_azimuth_is_named_by_its_side() {
        for (azimuth, expected) in [(0.0, "north"), (22.5, "north-east"), (90.0, "east"), (180.0, "south"), (359.0, "north")] {
            assert_eq!(side(azimuth), expected, "{azimuth}");
        }
    }
}
