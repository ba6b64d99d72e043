//! One's own account: a new password.

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::Secret;
use serde::Deserialize;

use crate::access::{Actor, AnyActor};
use crate::error::Refusal;
use crate::form::Problems;
use crate::login::{ClientAddress, new_password_problems};
use crate::panel::Panel;
use crate::password::{hash_password, verify_password};
use crate::session;
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
    email: String,
    problems: Problems,
}

/// `GET /account`
pub(crate) async fn show(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    Query(done): Query<Done>,
) -> Result<Response, Refusal> {
    let shell = Shell::of(&panel, &actor, Section::Account).await?.saying(&done);
    Ok(AccountPage { shell, email: actor.user.email.to_string(), problems: Problems::default() }.into_response())
}

/// `POST /account`: ends all other sessions and goes on in a new one.
pub(crate) async fn change_password(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(form): Form<PasswordForm>,
) -> Result<Response, Refusal> {
    let email = actor.user.email.to_string();
    if panel.limits().attempt(address, &email, panel.now()).is_err() {
        let mut problems = Problems::default();
        problems.add("current", "Too many attempts. Try again in a few minutes.");
        return refused(&panel, &actor, StatusCode::TOO_MANY_REQUESTS, problems).await;
    }
    let mut problems = new_password_problems(&actor.user, &form.password, &form.again);
    if verify_password(Secret::new(form.current), actor.user.password_hash.clone()).await? {
        panel.limits().succeeded(address, &email);
    } else {
        problems.add("current", "This is not your current password.");
    }
    if !problems.is_empty() {
        return refused(&panel, &actor, StatusCode::UNPROCESSABLE_ENTITY, problems).await;
    }
    let hash = hash_password(Secret::new(form.password)).await?;
    actor.store(&panel).user_set_password(actor.user.id, hash).await?;
    tracing::info!(user = %actor.user.id, "password changed");
    let cookie = session::begin(&panel, &headers, actor.user.id).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/account?done=password")).into_response())
}

async fn refused(panel: &Panel, actor: &Actor, status: StatusCode, problems: Problems) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Account).await?;
    Ok((status, AccountPage { shell, email: actor.user.email.to_string(), problems }).into_response())
}
