//! A new password for somebody who has lost theirs: by a link in a mail.

use std::time::Duration;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use heliograph_domain::EmailAddress;
use heliograph_store::LetterKind;
use serde::Deserialize;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::error::Refusal;
use crate::letters;
use crate::login::{ClientAddress, spell_wait};
use crate::panel::Panel;
use crate::shell::Brand;

/// An answer takes at least this long, whether there is somebody to write to or not.
const FLOOR: Duration = Duration::from_millis(300);

#[derive(Deserialize, Default)]
pub(crate) struct ForgotForm {
    #[serde(default)]
    email: String,
}

#[derive(Template, WebTemplate)]
#[template(path = "forgot.html")]
struct ForgotPage {
    brand: Brand,
    /// Whether a link can be sent at all.
    can_send: bool,
    email: String,
    /// Whether the answer was given.
    is_asked: bool,
    problem: String,
}

async fn page(panel: &Panel, email: String, is_asked: bool, problem: String) -> ForgotPage {
    ForgotPage { brand: Brand::of(panel).await, can_send: letters::can_send_links(panel), email, is_asked, problem }
}

/// `GET /forgot`
pub(crate) async fn show(State(panel): State<Panel>) -> Response {
    page(&panel, String::new(), false, String::new()).await.into_response()
}

/// `POST /forgot`: the same answer in the same time, whoever signs in with the address.
pub(crate) async fn submit(
    State(panel): State<Panel>,
    ClientAddress(address): ClientAddress,
    Form(form): Form<ForgotForm>,
) -> Result<Response, Refusal> {
    if !letters::can_send_links(&panel) {
        return Ok(page(&panel, String::new(), false, String::new()).await.into_response());
    }
    let until = Instant::now() + FLOOR;
    let Ok(email) = EmailAddress::parse(&form.email) else {
        let problem = "This is not a mail address.".to_owned();
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&panel, form.email, false, problem).await).into_response());
    };
    if let Err(seconds) = panel.forgot_limits().attempt(address, email.as_str(), panel.now()) {
        tracing::warn!(%address, "link for a new password refused after many");
        let problem = format!("Too many attempts. Try again in {}.", spell_wait(seconds));
        let mut response = (StatusCode::TOO_MANY_REQUESTS, page(&panel, form.email, false, problem).await).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return Ok(response);
    }
    if let Some(user) = panel.store().user_find(&email).await?.filter(|user| user.may_enter(panel.now())) {
        tracing::info!(%address, user = %user.id, "link for a new password asked for");
        // Nobody learns from a store that is slow to write that there is something to.
        let panel = panel.clone();
        let order = async move { letters::tell(&panel, &user, LetterKind::PasswordReset).await };
        tokio::spawn(order.in_current_span());
    } else {
        tracing::info!(%address, "link for a new password asked for an address that nobody has");
    }
    let answer = page(&panel, form.email, true, String::new()).await.into_response();
    tokio::time::sleep_until(until).await;
    Ok(answer)
}
