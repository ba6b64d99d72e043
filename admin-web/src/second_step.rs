//! The second step of signing in: codes of an app (RFC 6238), and what is kept for the
//! day on which that app is lost.

use std::net::IpAddr;

use askama::Template;
use askama_web::WebTemplate;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_domain::{KeyDigest, Timestamp, UserId};
use heliograph_store::{LetterKind, SecondFactor, SecondProof, UserRecord};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;
use totp_rs::{Builder, Totp};

use crate::access::{Actor, AnyActor, Owner};
use crate::error::{Refusal, read_id};
use crate::form::Problems;
use crate::login::{ClientAddress, local_path, spell_wait};
use crate::panel::Panel;
use crate::shell::{Brand, Done, Section, Shell, encode};
use crate::{account, letters, session};

/// Codes that are made for the day on which the app is lost.
const RECOVERY_CODES: usize = 10;
/// Letters of one of them, in groups of four: 120 bits.
const RECOVERY_LETTERS: usize = 24;
/// Letters of a secret: 160 bits.
const SECRET_LETTERS: usize = 32;

const WRONG: &str = "This code is not right, or it was used before. Wait for the next one.";

const TIRED: &str = "Too many wrong codes came. A recovery code lets you in, or an owner of this panel.";

/// What codes are made of, by a secret in Base32; `None` where it is none.
fn codes(secret: &str) -> Option<Totp> {
    if secret.len() != SECRET_LETTERS {
        return None;
    }
    let secret = totp_rs::Secret::try_from_base32(secret).ok()?;
    Builder::new().with_secret(secret).with_skew(1).build().ok()
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_millis() / 1000).unwrap_or(0)
}

/// What somebody typed, without what people put between groups.
fn plain(code: &str) -> String {
    code.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>().to_lowercase()
}

/// What a code that was typed would prove, if it is one at all.
fn proof(factor: &SecondFactor, code: &str, now: Timestamp) -> Option<SecondProof> {
    let code = plain(code);
    if code.len() == RECOVERY_LETTERS {
        return Some(SecondProof::Recovery(KeyDigest::of(&code)));
    }
    codes(&factor.secret)?.check(&code, seconds(now)).map(SecondProof::Step)
}

/// Asks somebody who has proven the first step for the second, if they have one: answers
/// the cookie of a session that is good for nothing else. `user` is as it was when the password was compared.
pub(crate) async fn ask(panel: &Panel, headers: &HeaderMap, user: &UserRecord) -> Result<Option<HeaderValue>, Refusal> {
    if panel.store().second_factor_fetch(user.id).await?.is_none() {
        return Ok(None);
    }
    session::begin_half(panel, headers, user.id, password_of(user)).await.map(Some)
}

/// Of the hash of the password.
fn password_of(user: &UserRecord) -> KeyDigest {
    KeyDigest::of(user.password_hash.as_deref().unwrap_or_default())
}

#[derive(Template, WebTemplate)]
#[template(path = "login-code.html")]
struct CodePage {
    brand: Brand,
    next: String,
    problem: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct CodeForm {
    code: String,
    next: String,
}

/// `GET /login/code`
pub(crate) async fn show(
    State(panel): State<Panel>,
    headers: HeaderMap,
    axum::extract::Query(form): axum::extract::Query<CodeForm>,
) -> Result<Response, Refusal> {
    if session::half(&panel, &headers).await?.is_none() {
        return Ok(Redirect::to("/login").into_response());
    }
    Ok(CodePage { brand: Brand::of(&panel).await, next: form.next, problem: String::new() }.into_response())
}

/// `POST /login/code`
pub(crate) async fn submit(
    State(panel): State<Panel>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(form): Form<CodeForm>,
) -> Result<Response, Refusal> {
    let Some(half) = session::half(&panel, &headers).await? else { return Ok(Redirect::to("/login").into_response()) };
    let (user, factor) = (panel.store().user_fetch(half.user).await?, panel.store().second_factor_fetch(half.user).await?);
    // A password that was changed meanwhile ends what was proven by the one before, and
    // where nothing is asked for any more, the password is proven anew.
    let holds = password_of(&user) == half.password && user.may_enter(panel.now());
    let Some(factor) = factor.filter(|_| holds) else {
        session::end(&panel, &headers).await?;
        return Ok(Redirect::to("/login").into_response());
    };
    let proof = match try_code(&panel, &factor, address, &form.code).await? {
        Ok(proof) => proof,
        Err((status, problem)) => {
            let mut response = refused(&panel, form, status, problem).await;
            if status == StatusCode::TOO_MANY_REQUESTS {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(60));
            }
            return Ok(response);
        }
    };
    let cookie = session::begin(&panel, &headers, address, user.id).await?;
    if password_of(&panel.store().user_fetch(user.id).await?) != half.password {
        panel.store().session_delete_by_user(user.id).await?;
        return Ok(Redirect::to("/login").into_response());
    }
    tracing::info!(%address, user = %user.id, by = proof, "signed in with the second step");
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(local_path(&form.next))).into_response())
}

/// Tries a code that was typed, and uses it up: by what it was proven, or how the form is
/// refused.
async fn try_code(
    panel: &Panel,
    factor: &SecondFactor,
    address: IpAddr,
    code: &str,
) -> Result<Result<&'static str, (StatusCode, String)>, Refusal> {
    let limits = panel.code_limits();
    let is_recovery = plain(code).len() == RECOVERY_LETTERS;
    // Nobody guesses a recovery code, and nobody keeps others from using theirs.
    let account = if is_recovery { address.to_string() } else { factor.user.to_string() };
    if let Err(seconds) = limits.attempt(address, &account, panel.now()) {
        tracing::warn!(%address, user = %factor.user, "second step refused after many failures");
        let problem = format!("Too many attempts. Try again in {}.", spell_wait(seconds));
        return Ok(Err((StatusCode::TOO_MANY_REQUESTS, problem)));
    }
    let proven = match proof(factor, code, panel.now()) {
        Some(proof) => panel.store().second_factor_use(factor.clone(), proof).await?,
        None => false,
    };
    if proven {
        limits.succeeded(address, &account);
        return Ok(Ok(if is_recovery { "recovery code" } else { "app" }));
    }
    tracing::warn!(%address, user = %factor.user, "a code of the second step was wrong");
    panel.store().second_factor_failed(factor.user).await?;
    let problem = if factor.believes_app() { WRONG } else { TIRED };
    Ok(Err((StatusCode::UNPROCESSABLE_ENTITY, problem.to_owned())))
}

async fn refused(panel: &Panel, form: CodeForm, status: StatusCode, problem: String) -> Response {
    (status, CodePage { brand: Brand::of(panel).await, next: form.next, problem }).into_response()
}

#[derive(Template, WebTemplate)]
#[template(path = "second-step.html")]
struct SetUpPage {
    shell: Shell,
    secret: String,
    /// The secret as people copy it by hand.
    spelled: String,
    picture: String,
    /// Whether there is a second step already.
    is_set: bool,
    problems: Problems,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct SetUpForm {
    secret: String,
    code: String,
    password: String,
    /// Of the second step that there is already.
    current_code: String,
}

/// `GET /account/second-step`: nothing is kept until a code has shown that the app has
/// taken the secret.
pub(crate) async fn new(State(panel): State<Panel>, AnyActor(actor): AnyActor) -> Result<Response, Refusal> {
    let secret = totp_rs::Secret::from(rand::random::<[u8; 20]>()).to_base32();
    set_up_page(&panel, &actor, secret, StatusCode::OK, Problems::default()).await
}

async fn set_up_page(
    panel: &Panel,
    actor: &Actor,
    secret: String,
    status: StatusCode,
    problems: Problems,
) -> Result<Response, Refusal> {
    let shell = Shell::of(panel, actor, Section::Account).await?;
    let picture = picture(&address(&shell.brand.name, &shell.email, &secret))?;
    let spelled = grouped(&secret);
    let is_set = panel.store().second_factor_fetch(actor.user.id).await?.is_some();
    Ok((status, SetUpPage { shell, secret, spelled, picture, is_set, problems }).into_response())
}

/// What apps read (the key URI format that they have in common).
fn address(provider: &str, email: &str, secret: &str) -> String {
    // A colon would part the name in another place.
    let provider = encode(&provider.replace(':', " "));
    format!("otpauth://totp/{provider}:{}?secret={secret}&issuer={provider}&algorithm=SHA1&digits=6&period=30", encode(email))
}

fn picture(text: &str) -> Result<String, Refusal> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|error| Refusal::Fault(format!("draw a QR code: {error}")))?;
    let picture = code.render::<svg::Color<'_>>().min_dimensions(220, 220).quiet_zone(true).build();
    // As an element of a page it needs no declaration.
    Ok(picture.split_once("?>").map_or(picture.clone(), |(_, element)| element.to_owned()))
}

fn grouped(letters: &str) -> String {
    let letters: Vec<char> = letters.chars().collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

#[derive(Template, WebTemplate)]
#[template(path = "recovery-codes.html")]
struct RecoveryPage {
    shell: Shell,
    codes: Vec<String>,
}

/// `POST /account/second-step`: signs out everywhere else, and shows the recovery codes
/// once.
pub(crate) async fn create(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(form): Form<SetUpForm>,
) -> Result<Response, Refusal> {
    let Some(app) = codes(&form.secret) else { return Err(Refusal::NotFound) };
    let mut problems = Problems::default();
    account::confirm_password(&panel, &actor, address, &form.password, "password", &mut problems).await?;
    let step = app.check(&plain(&form.code), seconds(panel.now()));
    if step.is_none() {
        problems.add("code", "This is not the code that the app shows now.");
    }
    if problems.is_empty() {
        confirm_code(&panel, &actor, address, &form.current_code, "current_code", &mut problems).await?;
    }
    let (Some(step), true) = (step, problems.is_empty()) else {
        return set_up_page(&panel, &actor, form.secret, StatusCode::UNPROCESSABLE_ENTITY, problems).await;
    };
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let digests: Vec<KeyDigest> = codes.iter().map(|code| KeyDigest::of(code)).collect();
    let factor = SecondFactor::new(actor.user.id, form.secret, panel.now(), step, &digests);
    actor.store(&panel).second_factor_save(factor).await?;
    // Whoever has changed the password meanwhile did not mean this one.
    if password_of(&panel.store().user_fetch(actor.user.id).await?) != password_of(&actor.user) {
        actor.store(&panel).second_factor_remove(actor.user.id).await?;
        return Ok(Redirect::to("/login").into_response());
    }
    tracing::info!(user = %actor.user.id, "second step set up");
    letters::tell(&panel, &actor.user, LetterKind::SecondStepOn).await;
    let cookie = session::begin(&panel, &headers, address, actor.user.id).await?;
    let shell = Shell::of(&panel, &actor, Section::Account).await?;
    let codes = codes.iter().map(|code| grouped(code)).collect();
    Ok(([(header::SET_COOKIE, cookie)], RecoveryPage { shell, codes }).into_response())
}

fn recovery_code() -> String {
    totp_rs::Secret::from(rand::random::<[u8; RECOVERY_LETTERS * 5 / 8]>().to_vec()).to_base32().to_lowercase()
}

/// Where a second step is set up already, changing it takes a code of that as well: notes
/// a problem where it is none.
async fn confirm_code(
    panel: &Panel,
    actor: &Actor,
    address: IpAddr,
    code: &str,
    field: &'static str,
    problems: &mut Problems,
) -> Result<(), Refusal> {
    let Some(factor) = panel.store().second_factor_fetch(actor.user.id).await? else { return Ok(()) };
    if let Err((_, problem)) = try_code(panel, &factor, address, code).await? {
        problems.add(field, problem);
    }
    Ok(())
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct RemoveForm {
    second_step_password: String,
    second_step_code: String,
}

/// `POST /account/second-step/remove`
pub(crate) async fn remove(
    State(panel): State<Panel>,
    AnyActor(actor): AnyActor,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(form): Form<RemoveForm>,
) -> Result<Response, Refusal> {
    let mut problems = Problems::default();
    account::confirm_password(&panel, &actor, address, &form.second_step_password, "second_step_password", &mut problems).await?;
    if problems.is_empty() {
        confirm_code(&panel, &actor, address, &form.second_step_code, "second_step_code", &mut problems).await?;
    }
    if !problems.is_empty() {
        return account::page(&panel, &actor, &headers, StatusCode::UNPROCESSABLE_ENTITY, problems, &Done::default()).await;
    }
    actor.store(&panel).second_factor_remove(actor.user.id).await?;
    tracing::info!(user = %actor.user.id, "second step taken away");
    letters::tell(&panel, &actor.user, LetterKind::SecondStepOff).await;
    let cookie = session::begin(&panel, &headers, address, actor.user.id).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/account?done=one-step")).into_response())
}

/// `POST /people/{user}/second-step/remove`: for somebody who has lost app and codes.
pub(crate) async fn remove_of(
    State(panel): State<Panel>,
    Owner(actor): Owner,
    Path(user): Path<String>,
    ClientAddress(address): ClientAddress,
    Form(form): Form<RemoveForm>,
) -> Result<Response, Refusal> {
    let user: UserId = read_id(&user)?;
    // One's own takes a code as well.
    if user == actor.user.id {
        return Err(Refusal::Conflict("Your own second step is taken away on the page of your account.".to_owned()));
    }
    panel.store().second_factor_fetch(user).await?.ok_or(Refusal::NotFound)?;
    let mut problems = Problems::default();
    account::confirm_password(&panel, &actor, address, &form.second_step_password, "password", &mut problems).await?;
    if !problems.is_empty() {
        return Err(Refusal::Conflict(format!("{} Nothing was changed.", problems.of("password"))));
    }
    let whose = panel.store().user_fetch(user).await?;
    actor.store(&panel).second_factor_remove(user).await?;
    tracing::info!(user = %actor.user.id, of = %user, "second step of somebody taken away");
    letters::tell(&panel, &whose, LetterKind::SecondStepOff).await;
    Ok(Redirect::to("/people?done=one-step-of").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of RFC 6238, appendix B, of SHA-1, with its last six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = totp_rs::Secret::from(*b"12345678901234567890").to_base32();
        let codes = codes(&secret).unwrap();
        for (at, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(codes.check(code, at), Some(at / 30), "{at}");
            assert_eq!(codes.check(code, at + 30), Some(at / 30), "a step later");
            assert_eq!(codes.check(code, at + 60), None, "two steps later");
        }
    }

    #[test]
    fn what_people_type_between_groups_does_not_matter() {
        let code = recovery_code();
        assert_eq!((code.len(), plain(&grouped(&code).to_uppercase())), (RECOVERY_LETTERS, code));
        assert_eq!(plain(" 287-082 "), "287082");
    }

    #[test]
    fn apps_read_who_and_where() {
        let text = address("Sun: rise", "ana+x@example.org", "ABC");
        assert_eq!(
            text,
            "otpauth://totp/Sun%20%20rise:ana%2Bx%40example.org?secret=ABC&issuer=Sun%20%20rise&algorithm=SHA1&digits=6&period=30"
        );
        let picture = picture(&text).unwrap();
        assert!(picture.trim_start().starts_with("<svg"), "{}", &picture[..80]);
    }
}
