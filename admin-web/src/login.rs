//! Signing in and out, and the one-time links by which people set a password.

mod limit;

use std::net::{IpAddr, Ipv4Addr};

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{Actor, EmailAddress, KeyDigest, Secret, UserId};
use heliograph_store::{LetterKind, UserRecord};
use serde::Deserialize;

use crate::access::AnyActor;
use crate::error::Refusal;
use crate::form::Problems;
use crate::letters;
use crate::panel::{Panel, Peer};
use crate::password::{check_password, hash_password, verify_password};
use crate::shell::{Brand, encode};
use crate::{second_step, session};

pub(crate) use limit::{Limit, LoginLimits, PersonLimit, Rate, network};

/// One text whether the account exists or not, has a password or not.
const NOT_RECOGNISED: &str = "Mail address and password do not belong together.";

#[derive(Deserialize, Default)]
pub(crate) struct LoginQuery {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize, Default)]
pub(crate) struct LoginForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "login.html")]
struct LoginPage {
    brand: Brand,
    email: String,
    next: String,
    problem: String,
}

/// `GET /login`
pub(crate) async fn show(State(panel): State<Panel>, Query(query): Query<LoginQuery>) -> Response {
    LoginPage { brand: Brand::of(&panel).await, email: String::new(), next: query.next, problem: String::new() }.into_response()
}

/// `POST /login`
pub(crate) async fn submit(
    State(panel): State<Panel>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Result<Response, Refusal> {
    if let Err(seconds) = panel.limits().attempt(address, form.email.trim(), panel.now()) {
        tracing::warn!(%address, "sign-in refused after many failures");
        let problem = format!("Too many attempts. Try again in {}.", spell_wait(seconds));
        let mut response = refused(&panel, form, StatusCode::TOO_MANY_REQUESTS, problem).await;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return Ok(response);
    }
    let user = match EmailAddress::parse(&form.email) {
        Ok(email) => panel.store().user_find(&email).await?,
        Err(_) => None,
    };
    // Whose access has ended is as unknown as anybody.
    let user = user.filter(|user| user.may_enter(panel.now()));
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let proven = verify_password(Secret::new(form.password.as_str()), hash.clone()).await?;
    let Some(user) = user.filter(|_| proven) else {
        tracing::info!(%address, "sign-in failed");
        return Ok(refused(&panel, form, StatusCode::UNPROCESSABLE_ENTITY, NOT_RECOGNISED.to_owned()).await);
    };
    panel.limits().succeeded(address, form.email.trim());
    if let Some(cookie) = second_step::ask(&panel, &headers, &user).await? {
        tracing::info!(%address, user = %user.id, "asked for the second step");
        let next = format!("/login/code?next={}", encode(local_path(&form.next)));
        return Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response());
    }
    let cookie = session::begin(&panel, &headers, address, user.id).await?;
    // A password that was changed while this one was being compared ends here, and so
    // does a sign-in without the second step that was set up meanwhile.
    let is_guarded = panel.store().second_factor_fetch(user.id).await?.is_some();
    if is_guarded || panel.store().user_fetch(user.id).await?.password_hash != hash {
        panel.store().session_delete_by_user(user.id).await?;
        return Ok(refused(&panel, form, StatusCode::UNPROCESSABLE_ENTITY, NOT_RECOGNISED.to_owned()).await);
    }
    tracing::info!(%address, user = %user.id, "signed in");
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(local_path(&form.next))).into_response())
}

async fn refused(panel: &Panel, form: LoginForm, status: StatusCode, problem: String) -> Response {
    let page = LoginPage { brand: Brand::of(panel).await, email: form.email, next: form.next, problem };
    (status, page).into_response()
}

pub(crate) fn spell_wait(seconds: u64) -> String {
    match seconds {
        1 => "a second".to_owned(),
        2..=59 => format!("{seconds} seconds"),
        60..=90 => "a minute".to_owned(),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// Where to go after signing in: a path of this panel, never another site.
pub(crate) fn local_path(next: &str) -> &str {
    let rest = next.strip_prefix('/').unwrap_or("/");
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if rest.starts_with('/') || !next.starts_with('/') || !plain { "/" } else { next }
}

/// `POST /logout`
pub(crate) async fn leave(State(panel): State<Panel>, headers: HeaderMap, _actor: AnyActor) -> Result<Response, Refusal> {
    session::end(&panel, &headers).await?;
    Ok(([(header::SET_COOKIE, session::farewell(&panel)?)], Redirect::to("/login")).into_response())
}

#[derive(Deserialize, Default)]
pub(crate) struct WelcomeForm {
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "welcome.html")]
struct WelcomePage {
    brand: Brand,
    name: String,
    email: String,
    problems: Problems,
}

/// `GET /welcome/{token}`: looking does not use the link up, since mail
/// programs look at links too.
pub(crate) async fn welcome(State(panel): State<Panel>, Path(link): Path<String>) -> Result<Response, Refusal> {
    let user = invited(&panel, &link).await?;
    Ok(welcome_page(&panel, user, Problems::default()).await.into_response())
}

/// `POST /welcome/{token}`
pub(crate) async fn accept(
    State(panel): State<Panel>,
    Path(link): Path<String>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(form): Form<WelcomeForm>,
) -> Result<Response, Refusal> {
    let user = invited(&panel, &link).await?;
    let problems = new_password_problems(&user, &form.password, &form.again);
    if !problems.is_empty() {
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, welcome_page(&panel, user, problems).await).into_response());
    }
    let hash = hash_password(Secret::new(form.password)).await?;
    let redeemed = panel.store().login_link_redeem(KeyDigest::of(&link), panel.now()).await?;
    if redeemed != Some(user.id) {
        return Err(Refusal::NotFound);
    }
    panel.store().acting_as(Actor::User(user.id)).user_set_password(user.id, hash).await?;
    tracing::info!(user = %user.id, "password set by one-time link");
    letters::tell(&panel, &user, LetterKind::PasswordChanged).await;
    let user = panel.store().user_fetch(user.id).await?;
    if let Some(cookie) = second_step::ask(&panel, &headers, &user).await? {
        return Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login/code")).into_response());
    }
    let cookie = session::begin(&panel, &headers, address, user.id).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

/// What is wrong with a new password that was typed twice.
pub(crate) fn new_password_problems(user: &UserRecord, password: &str, again: &str) -> Problems {
    let mut problems = Problems::default();
    if let Err(problem) = check_password(&Secret::new(password), &user.email) {
        problems.add("password", format!("The password {problem}."));
    } else if password != again {
        problems.add("again", "The two passwords differ.");
    }
    problems
}

async fn invited(panel: &Panel, link: &str) -> Result<UserRecord, Refusal> {
    let user: UserId = panel.store().login_link_peek(KeyDigest::of(link), panel.now()).await?.ok_or(Refusal::NotFound)?;
    let user = panel.store().user_fetch(user).await?;
    if user.may_enter(panel.now()) { Ok(user) } else { Err(Refusal::NotFound) }
}

async fn welcome_page(panel: &Panel, user: UserRecord, problems: Problems) -> WelcomePage {
    WelcomePage { brand: Brand::of(panel).await, name: user.name, email: user.email.as_str().to_owned(), problems }
}

/// Where a request comes from.
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl FromRequestParts<Panel> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let forwarded = panel.settings().behind_proxy.then(|| last_forwarded(&parts.headers)).flatten();
        Ok(Self(forwarded.unwrap_or(peer)))
    }
}

/// The entry that the proxy itself appended; those before it can be forged.
fn last_forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site_after_signing_in() {
        for (next, path) in [
            ("/gateways/gw-1?period=day", "/gateways/gw-1?period=day"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\t/evil.example", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(local_path(next), path, "{next}");
        }
    }
}
