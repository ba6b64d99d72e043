//! The provider's logo: taken in, checked, shown.

mod picture;

use axum::extract::multipart::{Field, MultipartError, MultipartRejection};
use axum::extract::{Multipart, Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use heliograph_store::{Logo, StoreError};

use crate::access::Staff;
use crate::assets::FOR_EVER;
use crate::error::Refusal;
use crate::panel::Panel;
use crate::settings::refused_logo;

/// What a form with a picture may have. More than a picture may, so that whoever sends a
/// photo hears what is wrong with it: what is too much is read and forgotten.
pub(crate) const MOST_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Digits of the digest in a picture's name.
const DIGITS: usize = 32;

/// What a picture is called: another one has another name, so that browsers keep it.
fn name(logo: &Logo) -> String {
    let digits: String = logo.sha256().chars().take(DIGITS).collect();
    format!("{digits}.{}", logo.kind)
}

/// Where the logo is; empty where there is none. Without it a page is better than no page.
pub(crate) async fn path(panel: &Panel) -> String {
    match panel.store().logo_find().await {
        Ok(logo) => logo.map(|logo| format!("/assets/logo/{}", name(&logo))).unwrap_or_default(),
        Err(error) => {
            tracing::debug!(%error, "the logo cannot be read");
            String::new()
        }
    }
}

/// `GET /assets/logo/{name}`
pub(crate) async fn show(State(panel): State<Panel>, Path(asked): Path<String>) -> Result<Response, Refusal> {
    let Some(current) = panel.store().logo_find().await?.filter(|logo| name(logo) == asked) else {
        return Err(Refusal::NotFound);
    };
    // Somebody may save another one meanwhile.
    let (_, image) = panel.store().logo_image().await?.filter(|(logo, _)| *logo == current).ok_or(Refusal::NotFound)?;
    let headers: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_TYPE, current.kind.media_type()),
        (header::CACHE_CONTROL, FOR_EVER),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, image).into_response())
}

/// `POST /settings/logo`
pub(crate) async fn save(
    State(panel): State<Panel>,
    Staff(actor): Staff,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Refusal> {
    let image = match form {
        Ok(form) => read(form).await?,
        Err(_) => Err(NO_PICTURE.to_owned()),
    };
    let picture = match image.and_then(|image| picture::check(&image).map(|(kind, size)| (image, kind, size))) {
        Ok(picture) => picture,
        Err(problem) => return refused_logo(&panel, &actor, problem).await,
    };
    let (image, kind, size) = picture;
    match actor.store(&panel).logo_save(image, kind, size).await {
        Ok(()) => {
            tracing::info!(user = %actor.user.id, "logo saved");
            Ok(Redirect::to("/settings?done=saved").into_response())
        }
        Err(StoreError::Conflict(_)) => {
            refused_logo(&panel, &actor, "Somebody else has saved a logo at the same moment. Try again.".to_owned()).await
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /settings/logo/remove`
pub(crate) async fn remove(State(panel): State<Panel>, Staff(actor): Staff) -> Result<Response, Refusal> {
    actor.store(&panel).logo_remove().await?;
    tracing::info!(user = %actor.user.id, "logo taken away");
    Ok(Redirect::to("/settings?done=logo-gone").into_response())
}

const NO_PICTURE: &str = "Choose a picture.";
const TOO_LARGE: &str = "The picture has more than 200 kB. Make it smaller: a logo is shown a few centimetres wide.";

/// The picture of a form, or what is wrong with it.
async fn read(mut form: Multipart) -> Result<Result<Vec<u8>, String>, Refusal> {
    let mut image = Err(NO_PICTURE.to_owned());
    loop {
        let next = match form.next_field().await {
            Ok(Some(field)) if field.name() == Some("logo") => read_field(field).await,
            Ok(Some(_)) => continue,
            Ok(None) => return Ok(image),
            Err(error) => Err(error),
        };
        match next {
            Ok(read) => image = read,
            Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => return Ok(Err(TOO_LARGE.to_owned())),
            Err(_) => return Err(Refusal::BadRequest("The form did not arrive as a whole. Send it again.".to_owned())),
        }
    }
}

/// Of a picture that is too large no more is kept than of one that is not; the rest is
/// read all the same, since a browser shows no answer to what it could not send.
async fn read_field(mut field: Field<'_>) -> Result<Result<Vec<u8>, String>, MultipartError> {
    let (mut image, mut bytes) = (Vec::new(), 0usize);
    while let Some(chunk) = field.chunk().await? {
        bytes += chunk.len();
        if bytes <= Logo::MOST_BYTES {
            image.extend_from_slice(&chunk);
        }
    }
    Ok(match bytes {
        0 => Err(NO_PICTURE.to_owned()),
        bytes if bytes > Logo::MOST_BYTES => Err(TOO_LARGE.to_owned()),
        _ => Ok(image),
    })
}
