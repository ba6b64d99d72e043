//! What a mailer has to be told: who sends, how, and when.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use heliograph_domain::{EmailAddress, ParseError, Secret, Timestamp};

/// Tells the time; in tests, the time that the test says it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a provider's mails are made and sent.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// Who they come from.
    pub from: Sender,
    /// Where they go.
    pub transport: TransportSettings,
    /// The local hour, 0 to 23, at which a day's mail is due.
    pub hour: u8,
    /// Where the panel is, for a link to it.
    pub public_url: Option<String>,
    /// Whether mails may carry links by which people sign in: not where they go to a
    /// folder that others read.
    pub links: bool,
}

impl MailSettings {
    /// The usual hour: early enough for breakfast, late enough for loggers that
    /// deliver their day at night.
    pub const DEFAULT_HOUR: u8 = 6;
}

/// Who a mail comes from: an address and, if it is not the provider's, a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    name: Option<String>,
    address: EmailAddress,
}

/// Why a text names no sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// The address is not one.
    #[error("{text:?} is neither `address` nor `Name <address>`")]
    Address {
        /// The text.
        text: String,
        /// What is wrong with the address.
        source: ParseError,
    },
    /// The name has control characters or is longer than 128 characters.
    #[error("the sender's name {0:?} has a control character or more than 128 characters")]
    Name(String),
}

impl Sender {
    /// From an address and a name; without a name, mails carry the provider's.
    ///
    /// # Errors
    /// When the name has control characters or more than 128 characters.
    pub fn new(name: Option<&str>, address: EmailAddress) -> Result<Self, SenderError> {
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        match name {
            Some(name) if name.chars().count() > 128 || name.chars().any(char::is_control) => {
                Err(SenderError::Name(name.to_owned()))
            }
            name => Ok(Self { name: name.map(str::to_owned), address }),
        }
    }

    /// Parses `mail@sunrise.example` or `Sunrise Energy <mail@sunrise.example>`.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, SenderError> {
        let trimmed = text.trim();
        let (name, address) = match trimmed.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
            Some((name, address)) => (Some(name.trim().trim_matches('"')), address),
            None => (None, trimmed),
        };
        let address = EmailAddress::parse(address).map_err(|source| SenderError::Address { text: text.to_owned(), source })?;
        Self::new(name, address)
    }

    /// The name, where one was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> &EmailAddress {
        &self.address
    }
}

impl FromStr for Sender {
    type Err = SenderError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Where mails go.
#[derive(Debug, Clone)]
pub enum TransportSettings {
    /// Into a folder: an `.eml` and an `.html` file a mail.
    Folder(PathBuf),
    /// To a mail server.
    Smtp {
        /// Its name; its certificate must be for this name.
        host: String,
        /// Its port: by custom 587 for STARTTLS, 465 for implicit TLS.
        port: u16,
        /// How the connection is kept secret.
        tls: Tls,
        /// User name and password, if the server wants them.
        credentials: Option<(String, Secret)>,
        /// A file of certificates (PEM) to trust besides the public ones.
        ca: Option<PathBuf>,
    },
}

/// How a connection to a mail server is kept secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// By STARTTLS; without it nothing is sent.
    #[default]
    Required,
    /// From the first byte (RFC 8314).
    Implicit,
    /// Not at all: everybody on the way can read mails and password.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_read_with_and_without_a_name() {
        let plain = Sender::parse("mail@sunrise.example").unwrap();
        assert_eq!((plain.name(), plain.address().as_str()), (None, "mail@sunrise.example"));
        for text in ["Sunrise Energy <mail@sunrise.example>", "\"Sunrise Energy\" <mail@sunrise.example>"] {
            assert_eq!(Sender::parse(text).unwrap().name(), Some("Sunrise Energy"), "{text}");
        }
        for bad in ["", "Sunrise", "Sunrise <>", "a\r\nBcc: x <m@s.example>", "<m@s.example> x"] {
            assert!(Sender::parse(bad).is_err(), "{bad:?}");
        }
    }
}
