//! Ways out: a folder or a mail server, and how their failures are sorted.

mod folder;
mod smtp;

pub(crate) use smtp::LONGEST_SEND;

use heliograph_store::OutboxMail;

use crate::error::MailerError;
use crate::settings::{MailSettings, TransportSettings};

/// Why a mail was not accepted.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// For people.
    pub(crate) reason: String,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The mail was refused for good: it is not tried again.
    Refused,
    /// The mail was refused for now.
    Deferred,
    /// The way itself does not work: no other mail will get through now either.
    Unreachable,
}

impl Failure {
    fn new(kind: FailureKind, reason: &str) -> Self {
        Self { kind, reason: one_line(reason) }
    }
}

/// A way out that is open for a run of mails.
pub(crate) enum Session {
    Folder(folder::Folder),
    Smtp(Box<smtp::Smtp>),
}

impl Session {
    /// Prepares the way; nothing is connected yet.
    pub(crate) fn open(settings: &MailSettings) -> Result<Self, MailerError> {
        match &settings.transport {
            TransportSettings::Folder(path) => Ok(Self::Folder(folder::Folder::new(path.clone()))),
            TransportSettings::Smtp { host, port, tls, credentials, ca } => {
                let server = smtp::Server::new(host, *port, *tls, credentials.as_ref(), ca.as_deref())?;
                Ok(Self::Smtp(Box::new(smtp::Smtp::new(server, settings.from.address())?)))
            }
        }
    }

    /// Hands one mail over; answers what the other side said. Ends within
    /// [`LONGEST_SEND`].
    pub(crate) async fn send(&mut self, mail: &OutboxMail) -> Result<String, Failure> {
        let answer = match self {
            Self::Folder(folder) => folder.send(mail).await,
            Self::Smtp(smtp) => smtp.send(mail).await,
        };
        answer.map(|text| one_line(&text))
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        if let Self::Smtp(smtp) = self {
            smtp.close().await;
        }
    }
}

/// What somebody else wrote, in one line without control characters, at most
/// 500 characters.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect::<String>().trim().to_owned()
}
