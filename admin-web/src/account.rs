//! One's own account: a new password, the second step of signing in, and where one is
//! signed in.

use std::net::IpAddr;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{KeyDigest, Secret, Zone};
use heliograph_store::LetterKind;
use serde::Deserialize;

use crate::access::{Actor, AnyActor};
use crate::error::Refusal;
use crate::form::{Problems, local_text};
use crate::letters;
use crate::login::{ClientAddress, new_password_problems, spell_wait};
use crate::panel::Panel;
use crate::password::{hash_password, verify_password};
use crate::session::{self, Listed};
use crate::shell::{Done, Section, Shell};

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct PasswordForm {
    current: String,
    password: String,
    again: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    /// Since when the second step is asked for, and how many recovery codes are left.
    second_step: Option<(String, usize)>,
    sessions: Vec<SessionRow>,
    /// When their access ends by itself; such people have no API tokens.
    until: Option<String>,
    problems: Problems,
}

/// Where somebody is signed in.
struct SessionRow {
    id: String,
    browser: String,
    agent: String,
    address: String,
    began: String,
    used: String,
    is_this: bool,
}

impl SessionRow {
    fn of(listed: Listed, zone: &Zone) -> Self {
        let hex = |digest: KeyDigest| digest.0.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        Self {
            id: hex(listed.digest),
            browser: browser_of(&listed.agent),
            agent: listed.agent,
            address: listed.address,
            began: local_text(listed.began, zone),
            used: local_text(listed.used, zone),
            is_this: listed.is_this,
        }
    }
}

/// What a browser that calls itself so is known as, and where it runs.
fn browser_of(agent: &str) -> String {
    let first =
        |known: &[(&'static str, &'static str)]| known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    // Each calls itself by those before it, too.
    let name = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (name, system) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(known), None) | (None, Some(known)) => known.to_owned(),
        (None, None) => "Unknown browser".to_owned(),
    }
}

/// `GET /account`
pub(crate) async fn show(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    headers: HeaderMap,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    page(&panel, &actor, &headers, StatusCode::OK, Problems::default(), &done).await
}

/// The page, with what is wrong with a form of it.
pub(crate) async fn page(
    panel: &Panel,
    actor: &Actor,
    headers: &HeaderMap,
    status: StatusCode,
    problems: Problems,
    done: &Done,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Account).await?.saying(done);
    let zone = &shell.settings.zone;
    let factor = panel.store().second_factor_fetch(actor.user.id).await?;
    let second_step = factor.map(|factor| (local_text(factor.since, zone), factor.recovery_left()));
    let sessions = session::list(panel, headers, actor.user.id).await?;
    let sessions = sessions.into_iter().map(|listed| SessionRow::of(listed, zone)).collect();
    let until = actor.user.assignment.as_ref().map(|assignment| local_text(assignment.until(), zone));
    Ok((status, AccountPage { shell, second_step, sessions, until, problems }).into_response())
}

/// `POST /account/sessions/{session}/end`: one of one's own, and no other's.
pub(crate) async fn end_session(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    Path(session): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let sessions = session::list(&panel, &headers, actor.user.id).await?;
    let zone = Zone::utc();
    let mut found = sessions.into_iter().map(|listed| (listed.digest, SessionRow::of(listed, &zone)));
    let (digest, row) = found.find(|(_, row)| row.id == session).ok_or(Refusal::NotFound)?;
    panel.store().session_delete(digest).await?;
    tracing::info!(user = %actor.user.id, "session ended");
    Ok(Redirect::to(if row.is_this { "/login" } else { "/account?done=signed-out" }).into_response())
}

/// `POST /account/sessions/end`: all of them, whichever begin meanwhile, and all API
/// tokens; the one that asks goes on in a new one.
pub(crate) async fn end_other_sessions(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    actor.store(&panel).user_sign_out(actor.user.id).await?;
    let cookie = session::begin(&panel, &headers, address, actor.user.id).await?;
    tracing::info!(user = %actor.user.id, "all other sessions and API tokens ended");
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/account?done=signed-out")).into_response())
}

/// `POST /account`: ends all other sessions and goes on in a new one.
pub(crate) async fn change_password(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(form): Form<PasswordForm>,
) -> Result<Response, Refusal> {
    let mut problems = new_password_problems(&actor.user, &form.password, &form.again);
    let status = confirm_password(&panel, &actor, address, &form.current, "current", &mut problems).await?;
    if !problems.is_empty() {
        return page(&panel, &actor, &headers, status, problems, &Done::default()).await;
    }
    let hash = hash_password(Secret::new(form.password)).await?;
    actor.store(&panel).user_set_password(actor.user.id, hash).await?;
    tracing::info!(user = %actor.user.id, "password changed");
    letters::tell(&panel, &actor.user, LetterKind::PasswordChanged).await;
    let cookie = session::begin(&panel, &headers, address, actor.user.id).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/account?done=password")).into_response())
}

/// Has somebody prove their password once more: notes a problem at a field where it is
/// not theirs, or was tried too often. Answers the status of a form with problems.
pub(crate) async fn confirm_password(
    panel: &Panel,
    actor: &Actor,
    address: IpAddr,
    password: &str,
    field: &'static str,
    problems: &mut Problems,
) -> Result<StatusCode, Refusal> {
    let email = actor.user.email.to_string();
    if let Err(seconds) = panel.limits().attempt(address, &email, panel.now()) {
        problems.add(field, format!("Too many attempts. Try again in {}.", spell_wait(seconds)));
        return Ok(StatusCode::TOO_MANY_REQUESTS);
    }
    if verify_password(Secret::new(password), actor.user.password_hash.clone()).await? {
        panel.limits().succeeded(address, &email);
    } else {
        problems.add(field, "This is not your current password.");
    }
    Ok(StatusCode::UNPROCESSABLE_ENTITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_called_as_people_know_them() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
                "Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1",
                "Safari on iPhone",
            ),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox on Windows"),
            ("curl/8.5.0", "Unknown browser"),
            ("", "Unknown browser"),
        ] {
            assert_eq!(browser_of(agent), name, "{agent}");
        }
    }
}
