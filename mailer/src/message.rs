//! From a rendered summary to the bytes that go over the wire (RFC 5322, MIME).

use std::time::{Duration, UNIX_EPOCH};

use heliograph_domain::{EmailAddress, OutboxId, Timestamp};
use lettre::Message;
use lettre::address::Address;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};

use crate::error::MailerError;

/// What a message is put together from.
pub(crate) struct Letter<'a> {
    /// The mail's id in the outbox; Message-ID, Content-ID and boundaries follow
    /// from it, so that the same letter has the same bytes.
    pub(crate) id: OutboxId,
    pub(crate) from_name: &'a str,
    pub(crate) from: &'a EmailAddress,
    pub(crate) to_name: &'a str,
    pub(crate) to: &'a EmailAddress,
    pub(crate) date: Timestamp,
    pub(crate) subject: &'a str,
    pub(crate) text: String,
    pub(crate) html: String,
    /// The chart, a PNG, shown by the HTML part under [`content_id`].
    pub(crate) chart: Option<Vec<u8>>,
}

/// The Message-ID of a mail: `<uuid@domain of the sender>`.
pub(crate) fn message_id(id: OutboxId, from: &EmailAddress) -> Result<String, MailerError> {
    Ok(format!("<{id}@{}>", wire_address(from)?.domain()))
}

/// The Content-ID of a mail's chart, without angle brackets.
pub(crate) fn content_id(id: OutboxId) -> String {
    format!("chart.{}@heliograph.invalid", id.as_uuid().simple())
}

/// An address as it goes over the wire: its domain in ASCII (RFC 5890).
pub(crate) fn wire_address(address: &EmailAddress) -> Result<Address, MailerError> {
    let refused = || MailerError::Compose("the address cannot be written on an envelope".to_owned());
    let (local, domain) = address.as_str().rsplit_once('@').ok_or_else(refused)?;
    let domain = idna::domain_to_ascii(domain).map_err(|_| refused())?;
    Address::new(local, domain).map_err(|_| refused())
}

/// The whole message.
pub(crate) fn compose(letter: Letter<'_>) -> Result<Vec<u8>, MailerError> {
    let failed = |error: lettre::error::Error| MailerError::Compose(error.to_string());
    let millis = u64::try_from(letter.date.as_millis()).unwrap_or(0);
    let message = Message::builder()
        .date(UNIX_EPOCH + Duration::from_millis(millis))
        .message_id(Some(message_id(letter.id, letter.from)?))
        .from(mailbox(letter.from_name, letter.from)?)
        .to(mailbox(letter.to_name, letter.to)?)
        .subject(header_text(letter.subject))
        .header(AutoSubmitted)
        .multipart(body(letter))
        .map_err(failed)?;
    Ok(message.formatted())
}

/// Text beside HTML, and the chart belongs to the HTML.
fn body(letter: Letter<'_>) -> MultiPart {
    let boundary = |part: &str| format!("{part}-{}", letter.id.as_uuid().simple());
    let text = SinglePart::plain(letter.text);
    let html = SinglePart::html(letter.html);
    let alternative = MultiPart::alternative().boundary(boundary("alternative")).singlepart(text);
    match (letter.chart, ContentType::parse("image/png")) {
        (Some(png), Ok(kind)) => {
            let chart = Attachment::new_inline_with_name(content_id(letter.id), "chart.png".to_owned()).body(png, kind);
            let related = MultiPart::related().boundary(boundary("related")).singlepart(html).singlepart(chart);
            alternative.multipart(related)
        }
        _ => alternative.singlepart(html),
    }
}

fn mailbox(name: &str, address: &EmailAddress) -> Result<Mailbox, MailerError> {
    let name = header_text(name);
    Ok(Mailbox::new((!name.is_empty()).then_some(name), wire_address(address)?))
}

/// Text for a header: whatever ends a line becomes a space before the library
/// encodes the rest (RFC 2047), so that no name can add a header.
fn header_text(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.split(breaks).map(str::trim).filter(|piece| !piece.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Tells vacation responders not to answer (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).unwrap()
    }

    fn composed(name: &str, subject: &str, chart: bool) -> Vec<u8> {
        let (from, to) = (address("mail@sunrise.example"), address("anna@customer.example"));
        compose(Letter {
            id: OutboxId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
            from_name: name,
            from: &from,
            to_name: name,
            to: &to,
            date: Timestamp::parse_rfc3339("2026-11-21T05:00:00Z").unwrap(),
            subject,
            text: "text".to_owned(),
            html: "<p>html</p>".to_owned(),
            chart: chart.then(|| b"\x89PNG".to_vec()),
        })
        .unwrap()
    }

    #[test]
    fn the_same_letter_has_the_same_bytes() {
        assert_eq!(composed("Anna", "S", true), composed("Anna", "S", true));
    }

    #[test]
    fn no_name_or_subject_can_add_a_header() {
        let evil = "x\r\nBcc: victim@other.example\r\n\r\nbody\u{2028}Bcc: y\0\u{b}Bcc: z";
        let bytes = composed(evil, evil, true);
        let text = String::from_utf8(bytes).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let names: Vec<_> =
            head.lines().filter(|line| !line.starts_with([' ', '\t'])).map(|line| line.split(':').next().unwrap()).collect();
        let expected = ["Date", "Message-ID", "From", "To", "Subject", "Auto-Submitted", "MIME-Version", "Content-Type"];
        assert_eq!(names, expected, "{head}");
        assert!(text.bytes().all(|b| b != 0));
        let bare = text.replace("\r\n", "");
        assert!(!bare.contains(['\r', '\n']), "a bare line end");
    }

    #[test]
    fn addresses_go_over_the_wire_with_an_ascii_domain() {
        assert_eq!(wire_address(&address("anna@bücher.example")).unwrap().to_string(), "anna@xn--bcher-kva.example");
        assert_eq!(wire_address(&address("a@localhost")).unwrap().to_string(), "a@localhost");
    }
}
