//! Reading a finished message back, for people to look at.

use std::collections::HashMap;

use mailparse::{MailHeaderMap, ParsedMail};

/// What a mail program would show of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preview {
    /// The HTML part, its inline images inside as `data:` URLs, so that it
    /// stands alone.
    pub html: Option<String>,
    /// The text part.
    pub text: Option<String>,
}

/// Reads a message (RFC 5322). What cannot be read is not there.
#[must_use]
pub fn preview(message: &[u8]) -> Preview {
    let Ok(mail) = mailparse::parse_mail(message) else { return Preview::default() };
    let mut found = Preview::default();
    let mut images = HashMap::new();
    for part in mail.parts() {
        match part.ctype.mimetype.as_str() {
            "text/html" if found.html.is_none() => found.html = part.get_body().ok(),
            "text/plain" if found.text.is_none() => found.text = part.get_body().ok(),
            kind if kind.starts_with("image/") => images.extend(image(part)),
            _ => {}
        }
    }
    for (id, url) in images {
        found.html = found.html.map(|html| html.replace(&format!("cid:{id}"), &url));
    }
    found
}

/// An image's Content-ID and the image as a `data:` URL.
fn image(part: &ParsedMail<'_>) -> Option<(String, String)> {
    let id = part.headers.get_first_value("Content-ID")?;
    let id = id.trim().trim_start_matches('<').trim_end_matches('>').to_owned();
    let body = part.get_body_raw().ok()?;
    Some((id, format!("data:{};base64,{}", part.ctype.mimetype, base64::Engine::encode(&base64::prelude::BASE64_STANDARD, body))))
}
