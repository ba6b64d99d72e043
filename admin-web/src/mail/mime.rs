//! Reading a message that was kept for sending (RFC 5322, 2045, 2046, 2392): its
//! text, its HTML with the images that it carries put in place.
//!
//! Only what the mailer writes has to be read: multiparts, base64 and
//! quoted-printable in UTF-8. Anything else is shown as it stands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Multiparts within multiparts that are followed.
const MAX_DEPTH: usize = 8;

/// What a message shows.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
}

struct Part<'a> {
    kind: String,
    content_id: Option<&'a str>,
    body: Vec<u8>,
}

impl Message {
    /// Reads a message; of each kind the first part counts.
    pub(super) fn read(message: &[u8]) -> Self {
        let text = String::from_utf8_lossy(message);
        let mut parts = Vec::new();
        collect(&text, 0, &mut parts);
        let first =
            |kind: &str| parts.iter().find(|part| part.kind == kind).map(|part| String::from_utf8_lossy(&part.body).into_owned());
        let mut html = first("text/html");
        for part in &parts {
            if let (Some(html), Some(id)) = (&mut html, part.content_id.filter(|_| part.kind.starts_with("image/"))) {
                let image = format!("data:{};base64,{}", part.kind, STANDARD.encode(&part.body));
                *html = html.replace(&format!("cid:{id}"), &image);
            }
        }
        Self { text: first("text/plain"), html }
    }
}

fn collect<'a>(entity: &'a str, depth: usize, parts: &mut Vec<Part<'a>>) {
    let (head, body) = split_head(entity);
    let content_type = header(head, "content-type").unwrap_or("text/plain");
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind.starts_with("multipart/") && depth < MAX_DEPTH {
        let boundary = parameter(content_type, "boundary").unwrap_or_default();
        for part in split_parts(body, boundary) {
            collect(part, depth + 1, parts);
        }
        return;
    }
    let encoding = header(head, "content-transfer-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    let content_id = header(head, "content-id").map(|id| id.trim().trim_start_matches('<').trim_end_matches('>'));
    parts.push(Part { kind, content_id, body: decode(body, &encoding) });
}

fn split_head(entity: &str) -> (&str, &str) {
    ["\r\n\r\n", "\n\n"]
        .iter()
        .filter_map(|end| entity.split_once(end))
        .min_by_key(|(head, _)| head.len())
        .unwrap_or((entity, ""))
}

/// A header's value with its continuation lines.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut start = 0;
    for line in head.split_inclusive('\n') {
        let value_start = start + line.find(':').map_or(line.len(), |colon| colon + 1);
        let is_it = line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        start += line.len();
        if is_it {
            let rest = head.get(start..).unwrap_or_default();
            let folded = rest.split_inclusive('\n').take_while(|line| line.starts_with([' ', '\t']));
            let end = start + folded.map(str::len).sum::<usize>();
            return head.get(value_start..end);
        }
    }
    None
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// The parts between the lines that hold the boundary, without the line break
/// that belongs to the next boundary (RFC 2046, 5.1.1).
fn split_parts<'a>(body: &'a str, boundary: &str) -> Vec<&'a str> {
    let marker = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut began = None;
    let mut at = 0;
    for line in body.split_inclusive('\n') {
        let text = line.trim_end();
        if !boundary.is_empty() && (text == marker || text.strip_suffix("--") == Some(marker.as_str())) {
            if let Some(part) = began.and_then(|began| body.get(began..at)) {
                let part = part.strip_suffix('\n').unwrap_or(part);
                parts.push(part.strip_suffix('\r').unwrap_or(part));
            }
            began = (text == marker).then_some(at + line.len());
        }
        at += line.len();
    }
    parts
}

fn decode(body: &str, encoding: &str) -> Vec<u8> {
    match encoding {
        "base64" => {
            let letters: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            STANDARD.decode(letters).unwrap_or_else(|_| body.as_bytes().to_vec())
        }
        "quoted-printable" => quoted_printable(body),
        _ => body.as_bytes().to_vec(),
    }
}

/// RFC 2045, 6.7; what is no valid escape stays as it stands.
fn quoted_printable(body: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(body.len());
    for line in body.split_inclusive('\n') {
        let text = line.trim_end_matches(['\r', '\n']);
        let is_soft = text.ends_with('=');
        let mut bytes = text.strip_suffix('=').unwrap_or(text).bytes().peekable();
        while let Some(byte) = bytes.next() {
            let mut ahead = bytes.clone();
            let escaped = (byte == b'=').then(|| Some((hex(ahead.next()?)?, hex(ahead.next()?)?))).flatten();
            match escaped {
                Some((high, low)) => {
                    decoded.push(high << 4 | low);
                    bytes = ahead;
                }
                None => decoded.push(byte),
            }
        }
        if !is_soft {
            decoded.extend_from_slice(line.get(text.len()..).unwrap_or_default().as_bytes());
        }
    }
    decoded
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "From: a@example.com\r\nContent-Type: multipart/alternative;\r\n boundary=\"outer\"\r\n\r\n\
        --outer\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        Gr=C3=BC=C3=9Fe, 12 k=\r\nWh\r\nend\r\n\
        --outer\r\nContent-Type: multipart/related; boundary=inner\r\n\r\n\
        --inner\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        PGltZyBzcmM9ImNpZDpj\r\naGFydCI+\r\n\
        --inner\r\nContent-Type: image/png\r\nContent-ID: <chart>\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        iVBORw==\r\n\
        --inner--\r\n\
        --outer--\r\n";

    #[test]
    fn parts_are_decoded_and_images_put_in_place() {
        let message = Message::read(MAIL.as_bytes());
        assert_eq!(message.text.as_deref(), Some("Grüße, 12 kWh\r\nend"));
        assert_eq!(message.html.as_deref(), Some("<img src=\"data:image/png;base64,iVBORw==\">"));
    }

    #[test]
    fn a_plain_message_is_its_text() {
        let message = Message::read(b"Subject: x\r\n\r\nHello\r\n");
        assert_eq!(message.text.as_deref(), Some("Hello\r\n"));
        assert!(message.html.is_none());
    }

    #[test]
    fn broken_messages_are_shown_as_they_stand() {
        for broken in [
            &b""[..],
            b"\xff\xfe",
            b"Content-Type: multipart/mixed\r\n\r\n--\r\n",
            b"Content-Transfer-Encoding: base64\r\n\r\n%%%",
        ] {
            Message::read(broken);
        }
        let message = Message::read(b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=ZZ=4");
        assert_eq!(message.text.as_deref(), Some("a=ZZ=4"));
    }

    #[test]
    fn nesting_is_followed_only_so_far() {
        let mut mail = String::new();
        for depth in 0..100 {
            mail.push_str(&format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n"));
        }
        let message = Message::read(mail.as_bytes());
        assert!(message.html.is_none());
    }
}
