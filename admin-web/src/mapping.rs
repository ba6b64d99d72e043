//! The provider's mappings: how XML is read that is of no dialect, and what one would
//! make of what is in quarantine.

mod trial;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_dialects::{Mapping, profile_source, profiles};
use heliograph_domain::{MappingName, ProviderMapping};
use heliograph_store::StoreError;
use serde::Deserialize;

use crate::access::{Actor, Reader, Staff};
use crate::error::Refusal;
use crate::form::{Problems, local_text, sentence};
use crate::panel::Panel;
use crate::shell::{Done, Section, Shell, encode};
use trial::Trial;

/// A mapping in the list.
struct Row {
    name: String,
    path: String,
    root: String,
    changed: String,
    revision: u32,
}

/// A mapping that comes with the product.
struct Profile {
    name: &'static str,
    path: String,
    root: &'static str,
}

#[derive(Template, WebTemplate)]
#[template(path = "mappings.html")]
struct MappingsPage {
    shell: Shell,
    rows: Vec<Row>,
    profiles: Vec<Profile>,
}

fn edit_path(kind: &str, name: &str) -> String {
    format!("/mappings/edit?{kind}={}", encode(name))
}

/// `GET /mappings`
pub(crate) async fn list(
    State(panel): State<Panel>,
    Reader(actor): Reader,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Quarantine).await?.saying(&done);
    let row = |stored: ProviderMapping| Row {
        path: edit_path("name", stored.name.as_str()),
        root: Mapping::parse(&stored.source).map_or_else(|_| "–".to_owned(), |mapping| mapping.root().to_owned()),
        changed: local_text(stored.changed, &shell.settings.zone),
        revision: stored.revision,
        name: stored.name.to_string(),
    };
    let rows = panel.store().mapping_list().await?.into_iter().map(row).collect();
    let profile = |profile: &'static std::sync::Arc<Mapping>| Profile {
        name: profile.name(),
        path: edit_path("profile", profile.name()),
        root: profile.root(),
    };
    Ok(MappingsPage { shell, rows, profiles: profiles().iter().map(profile).collect() }.into_response())
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Which {
    name: String,
    profile: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct MappingForm {
    source: String,
    /// `try` or `save`.
    action: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "mapping.html")]
struct MappingPage {
    shell: Shell,
    source: String,
    problems: Problems,
    trial: Option<Trial>,
}

/// What stands in the form at first: an example that compiles.
const EXAMPLE: &str = "name = \"greenhouse\"\nroot = \"station\"\ngateway = \"{/station/@serial}\"\n\n[[reading]]\n\
    each = \"/station/row\"\nsensor = \"{@name}\"\nmetric = \"temperature\"\nunit = \"C\"\nvalue = \"{temp}\"\ntime = \"{@at}\"\n";

/// `GET /mappings/edit`: one of the provider's, a copy of one of the product's, or a
/// new one.
pub(crate) async fn edit(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Query(which): Query<Which>,
) -> Result<Response, Refusal> {
    let source = match (which.name.as_str(), which.profile.as_str()) {
        ("", "") => EXAMPLE.to_owned(),
        ("", profile) => profile_source(profile).ok_or(Refusal::NotFound)?.to_owned(),
        (name, _) => {
            let all = panel.store().mapping_list().await?;
            all.into_iter().find(|stored| stored.name.as_str() == name).ok_or(Refusal::NotFound)?.source
        }
    };
    page(&panel, &actor, source, Problems::default(), None, StatusCode::OK).await
}

async fn page(
    panel: &Panel,
    actor: &Actor,
    source: String,
    problems: Problems,
    trial: Option<Trial>,
    status: StatusCode,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Quarantine).await?;
    Ok((status, MappingPage { shell, source, problems, trial }).into_response())
}

fn compile(source: &str) -> Result<(MappingName, Mapping), String> {
    let mapping = Mapping::parse(source).map_err(|error| error.to_string())?;
    let name = MappingName::parse(mapping.name()).map_err(|error| error.to_string())?;
    Ok((name, mapping))
}

/// `POST /mappings/edit`: tries a mapping on what is in quarantine, or saves it.
pub(crate) async fn submit(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Form(form): Form<MappingForm>,
) -> Result<Response, Refusal> {
    // Browsers end lines with two characters.
    let source = form.source.replace("\r\n", "\n");
    let mut problems = Problems::default();
    let Some((name, mapping)) = problems.note("source", compile(&source)) else {
        return page(&panel, &actor, source, problems, None, StatusCode::UNPROCESSABLE_ENTITY).await;
    };
    if form.action == "try" {
        let trial = Trial::of(&panel, mapping).await?;
        return page(&panel, &actor, source, problems, Some(trial), StatusCode::OK).await;
    }
    match actor.store(&panel).mapping_save(name, source.clone()).await {
        Ok(()) => Ok(Redirect::to("/mappings?done=saved").into_response()),
        Err(StoreError::Conflict(problem)) => {
            problems.add("source", sentence(&problem));
            page(&panel, &actor, source, problems, None, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /mappings/remove`
pub(crate) async fn remove(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    Form(which): Form<Which>,
) -> Result<Response, Refusal> {
    let name = MappingName::parse(&which.name).map_err(|_| Refusal::NotFound)?;
    actor.store(&panel).mapping_remove(name).await?;
    tracing::info!(user = %actor.user.id, "mapping removed");
    Ok(Redirect::to("/mappings?done=unmapped").into_response())
}
