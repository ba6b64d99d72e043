//! Tokens by which programs use the API: one's own, and to an owner everybody's.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{ApiScope, ApiTokenId, KeyDigest, Timestamp, UserRole, Zone};
use heliograph_store::{ApiToken, StoreError};
use serde::Deserialize;

use crate::access::{Actor, AnyActor, Owner};
use crate::account::confirm_password;
use crate::error::{Refusal, read_id};
use crate::form::{Problems, ago, local_text, parse_name, sentence};
use crate::login::{ClientAddress, spell_wait};
use crate::panel::Panel;
use crate::people::address_of;
use crate::shell::{Done, Section, Shell};
use crate::{session, token};

/// How long a token may be made for, days.
const LIFETIMES: [u32; 4] = [30, 90, 180, 365];
const DAY_MS: i64 = 86_400_000;

/// A token in a list.
struct TokenRow {
    id: String,
    name: String,
    /// Whose it is, where that is of interest.
    whose: String,
    scopes: String,
    created: String,
    expires: String,
    is_valid: bool,
    used: String,
}

impl TokenRow {
    fn of(token: ApiToken, whose: String, zone: &Zone, now: Timestamp) -> Self {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        Self {
            id: token.id.to_string(),
            whose,
            scopes: scopes.join(", "),
            created: local_text(token.created, zone),
            expires: local_text(token.expires, zone),
            is_valid: token.is_valid(now),
            used: token.used.map_or_else(|| "never".to_owned(), |used| ago(used, now)),
            name: token.name,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct TokenForm {
    name: String,
    /// Not empty where it is ticked.
    write: String,
    people: String,
    days: String,
    /// The one that they sign in with.
    password: String,
}

impl TokenForm {
    /// What it is called, what it may be used for, and for how many days.
    fn parse(&self, role: UserRole) -> Result<(String, Vec<ApiScope>, u32), Problems> {
        let mut problems = Problems::default();
        let name = problems.note("name", parse_name(&self.name).map_err(|problem| format!("the name {problem}")));
        let wanted = [(ApiScope::Write, &self.write), (ApiScope::People, &self.people)];
        let ticked = wanted.into_iter().filter(|(_, ticked)| !ticked.is_empty()).map(|(scope, _)| scope);
        let scopes: Vec<ApiScope> = std::iter::once(ApiScope::Read).chain(ticked).collect();
        if !scopes.iter().all(|scope| scope.fits(role)) {
            problems.add("scopes", "Your role does not reach so far.");
        }
        let days = self.days.trim().parse().ok().filter(|days| LIFETIMES.contains(days));
        let days = problems.note("days", days.ok_or("choose for how long it works"));
        match (name, days) {
            (Some(name), Some(days)) if problems.is_empty() => Ok((name, scopes, days)),
            _ => Err(problems),
        }
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "tokens.html")]
struct TokensPage {
    shell: Shell,
    rows: Vec<TokenRow>,
    form: TokenForm,
    lifetimes: [u32; 4],
    problems: Problems,
}

impl TokensPage {
    fn is_chosen(&self, days: &u32) -> bool {
        self.form.days == days.to_string()
    }
}

/// `GET /account/tokens`
pub(crate) async fn show(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let form = TokenForm { days: "90".to_owned(), ..TokenForm::default() };
    let page = own_page(&panel, &actor, form, Problems::default()).await?;
    Ok(TokensPage { shell: page.shell.saying(&done), ..page }.into_response())
}

async fn own_page(panel: &Panel, actor: &Actor, form: TokenForm, problems: Problems) -> Result<TokensPage, Refusal> {
    let shell = Shell::of(panel, actor, Section::Account).await?;
    let mut tokens = panel.store().api_token_list().await?;
    tokens.retain(|token| token.user == actor.user.id);
    let row = |token| TokenRow::of(token, String::new(), &shell.settings.zone, panel.now());
    let rows = tokens.into_iter().map(row).collect();
    Ok(TokensPage { shell, rows, form, lifetimes: LIFETIMES, problems })
}

/// The page that shows a token once.
#[derive(Template, WebTemplate)]
#[template(path = "token.html")]
struct TokenPage {
    shell: Shell,
    name: String,
    token: String,
    expires: String,
    example: String,
}

/// `POST /account/tokens`: answers with the token, which is shown here and never again.
pub(crate) async fn create(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(form): Form<TokenForm>,
) -> Result<Response, Refusal> {
    let (parsed, mut problems) = match form.parse(actor.user.role) {
        Ok(parsed) => (Some(parsed), Problems::default()),
        Err(problems) => (None, problems),
    };
    let status = confirm_password(&panel, &actor, address, &form.password, "password", &mut problems).await?;
    let (Some((name, scopes, days)), true) = (parsed, problems.is_empty()) else {
        return refused(&panel, &actor, form, problems, status).await;
    };
    if let Err(seconds) = panel.api_limits().make(actor.user.id, panel.now()) {
        problems.add("name", format!("You have made many tokens of late. Try again in {}.", spell_wait(seconds)));
        return refused(&panel, &actor, form, problems, StatusCode::TOO_MANY_REQUESTS).await;
    }
    let (now, secret) = (panel.now(), token::random_api_token());
    let (id, expires) = (ApiTokenId::new(token::fresh_uuid(now)), now.plus_millis(i64::from(days) * DAY_MS));
    let new = ApiToken::new((id, actor.user.id), name.clone(), scopes, KeyDigest::of(secret.reveal()), (now, expires));
    match actor.store(&panel).api_token_create(new, actor.user.password_hash.clone()).await {
        Ok(()) => {}
        // The form may have come slowly. Whoever has changed the password or signed out
        // everywhere meanwhile did not mean this token.
        Err(StoreError::Conflict(_)) if !is_signed_in(&panel, &headers, &actor).await? => {
            return Ok(Redirect::to("/login").into_response());
        }
        Err(StoreError::Conflict(problem)) => {
            problems.add("name", sentence(&problem));
            return refused(&panel, &actor, form, problems, StatusCode::CONFLICT).await;
        }
        Err(error) => return Err(error.into()),
    }
    if !is_signed_in(&panel, &headers, &actor).await? {
        match actor.store(&panel).api_token_remove(id).await {
            Ok(()) | Err(StoreError::NotFound(_)) => return Ok(Redirect::to("/login").into_response()),
            Err(error) => return Err(error.into()),
        }
    }
    tracing::info!(user = %actor.user.id, token = %id, "API token made");
    let shell = Shell::of(&panel, &actor, Section::Account).await?;
    let expires = local_text(expires, &shell.settings.zone);
    let example = address_of(&panel, &headers, "/api/v1/gateways");
    Ok(TokenPage { shell, name, token: secret.reveal().to_owned(), expires, example }.into_response())
}

/// Whether the session that asked still is one.
async fn is_signed_in(panel: &Panel, headers: &HeaderMap, actor: &Actor) -> Result<bool, Refusal> {
    Ok(session::look_up(panel, headers).await? == Some(actor.user.id))
}

async fn refused(
    panel: &Panel,
    actor: &Actor,
    form: TokenForm,
    problems: Problems,
    status: StatusCode,
) -> Result<Response, Refusal> {
    Ok((status, own_page(panel, actor, form, problems).await?).into_response())
}

/// `POST /account/tokens/{token}/end`: one of one's own, and no other's.
pub(crate) async fn end(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    Path(token): Path<String>,
) -> Result<Response, Refusal> {
    let id: ApiTokenId = read_id(&token)?;
    let tokens = panel.store().api_token_list().await?;
    tokens.iter().find(|token| token.id == id && token.user == actor.user.id).ok_or(Refusal::NotFound)?;
    actor.store(&panel).api_token_remove(id).await?;
    tracing::info!(user = %actor.user.id, token = %id, "API token ended");
    Ok(Redirect::to("/account/tokens?done=token-ended").into_response())
}

#[derive(Template, WebTemplate)]
#[template(path = "people-tokens.html")]
struct AllTokensPage {
    shell: Shell,
    rows: Vec<TokenRow>,
}

/// `GET /people/tokens`
pub(crate) async fn list(State(panel): State<Panel>, Owner(actor): Owner, Query(done): Query<Done>) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::People).await?.saying(&done);
    let (tokens, users) = (panel.store().api_token_list().await?, panel.store().user_list().await?);
    let row = |token: ApiToken| {
        let whose = users.iter().find(|user| user.id == token.user).map(|user| user.name.clone()).unwrap_or_default();
        TokenRow::of(token, whose, &shell.settings.zone, panel.now())
    };
    let rows = tokens.into_iter().map(row).collect();
    Ok(AllTokensPage { shell, rows }.into_response())
}

/// `POST /people/tokens/{token}/end`
pub(crate) async fn end_of(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Path(token): Path<String>,
) -> Result<Response, Refusal> {
    let id: ApiTokenId = read_id(&token)?;
    actor.store(&panel).api_token_remove(id).await?;
    tracing::info!(user = %actor.user.id, token = %id, "somebody's API token ended");
    Ok(Redirect::to("/people/tokens?done=token-ended").into_response())
}
