//! SMTP: one connection for a run of mails, every step bounded in time.
//!
//! Which failures are final depends on the step: what a server answers before
//! the first MAIL says something about the server or the settings, and is worth
//! another try; a 5xx to MAIL, RCPT or DATA says something about the mail.

use std::path::Path;
use std::time::Duration;

use heliograph_domain::{EmailAddress, Secret};
use heliograph_store::OutboxMail;
use lettre::address::{Address, Envelope};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::time::timeout;

use super::{Failure, FailureKind};
use crate::error::MailerError;
use crate::message::wire_address;
use crate::settings::Tls;

/// Connecting, TLS and login together.
const CONNECT: Duration = Duration::from_secs(60);
/// One mail from MAIL to the reply to DATA. Servers may think for minutes
/// before that last reply (RFC 5321, section 4.5.3.2).
const TRANSACTION: Duration = Duration::from_secs(170);
/// Asking whether an open connection still lives, and saying goodbye.
const SHORT: Duration = Duration::from_secs(5);
/// No send takes longer; claims on mails last longer than this.
pub(crate) const LONGEST_SEND: Duration = Duration::from_secs(CONNECT.as_secs() + TRANSACTION.as_secs() + SHORT.as_secs());

/// The one reply that says that a mail was taken (RFC 5321, section 4.3.2).
const ACCEPTED: u16 = 250;

/// How a certificate in PEM form begins (RFC 7468); a file without any would be
/// read as no authority at all.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// A server and how to speak to it.
pub(crate) struct Server {
    host: String,
    port: u16,
    tls: Tls,
    parameters: Option<TlsParameters>,
    credentials: Option<Credentials>,
}

impl Server {
    pub(crate) fn new(
        host: &str,
        port: u16,
        tls: Tls,
        credentials: Option<&(String, Secret)>,
        ca: Option<&Path>,
    ) -> Result<Self, MailerError> {
        let parameters = if tls == Tls::None { None } else { Some(parameters(host, ca)?) };
        let credentials = credentials.map(|(user, password)| Credentials::new(user.clone(), password.reveal().to_owned()));
        Ok(Self { host: host.to_owned(), port, tls, parameters, credentials })
    }

    /// Connects, encrypts and logs in, as the settings want it.
    async fn connect(&self, hello: &ClientId) -> Result<AsyncSmtpConnection, String> {
        let implicit = self.parameters.clone().filter(|_| self.tls == Tls::Implicit);
        let mut connection = AsyncSmtpConnection::connect_tokio1((self.host.as_str(), self.port), None, hello, implicit, None)
            .await
            .map_err(|error| explain(&error))?;
        if let (Tls::Required, Some(parameters)) = (self.tls, self.parameters.clone()) {
            if !connection.can_starttls() {
                connection.abort().await;
                return Err("the server offers no STARTTLS, without which nothing is sent".to_owned());
            }
            connection.starttls(parameters, hello).await.map_err(|error| explain(&error))?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(|error| format!("login: {}", explain(&error)))?;
        }
        Ok(connection)
    }
}

fn parameters(host: &str, ca: Option<&Path>) -> Result<TlsParameters, MailerError> {
    let unusable = |problem: String| MailerError::Setting { setting: "smtp ca", problem };
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::WebpkiRoots);
    if let Some(path) = ca {
        let pem = std::fs::read(path).map_err(|error| unusable(format!("cannot read {}: {error}", path.display())))?;
        let empty = || unusable(format!("{} holds no certificate in PEM form", path.display()));
        if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Err(empty());
        }
        let certificate = Certificate::from_pem(&pem).map_err(|_| empty())?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| unusable(error.to_string()))
}

/// A server and the connection to it, if one is open.
pub(crate) struct Smtp {
    server: Server,
    hello: ClientId,
    from: Address,
    connection: Option<AsyncSmtpConnection>,
}

impl Smtp {
    pub(crate) fn new(server: Server, from: &EmailAddress) -> Result<Self, MailerError> {
        let from = wire_address(from)?;
        let hello = ClientId::Domain(from.domain().to_owned());
        Ok(Self { server, hello, from, connection: None })
    }

    /// Sends one mail. On a failure the connection is dropped.
    pub(crate) async fn send(&mut self, mail: &OutboxMail) -> Result<String, Failure> {
        let refused = |problem: String| Failure::new(FailureKind::Refused, &problem);
        let to = wire_address(&mail.row.key.recipient).map_err(|error| refused(error.to_string()))?;
        let envelope = Envelope::new(Some(self.from.clone()), vec![to]).map_err(|error| refused(error.to_string()))?;

        let mut connection = self.connection().await?;
        match timeout(TRANSACTION, connection.send(&envelope, &mail.message)).await {
            Ok(Ok(response)) if response.has_code(ACCEPTED) => {
                self.connection = Some(connection);
                Ok(answer(&response))
            }
            // Words slipped in before TLS began put all answers one step behind.
            Ok(Ok(response)) => Err(Failure::new(FailureKind::Unreachable, &format!("out of step: {}", answer(&response)))),
            Ok(Err(error)) => Err(sort(&error)),
            Err(_) => Err(Failure::new(FailureKind::Unreachable, "the server fell silent while the mail was handed over")),
        }
    }

    /// The open connection if it still lives, else a new one.
    async fn connection(&mut self) -> Result<AsyncSmtpConnection, Failure> {
        if let Some(mut open) = self.connection.take()
            && timeout(SHORT, open.test_connected()).await.unwrap_or(false)
        {
            return Ok(open);
        }
        let place = format!("{}:{}", self.server.host, self.server.port);
        let unreachable = |problem: &str| Failure::new(FailureKind::Unreachable, &format!("connect to {place}: {problem}"));
        match timeout(CONNECT, self.server.connect(&self.hello)).await {
            Ok(connected) => connected.map_err(|problem| unreachable(&problem)),
            Err(_) => Err(unreachable("no answer in time")),
        }
    }

    pub(crate) async fn close(self) {
        if let Some(mut connection) = self.connection {
            // The mails are through already; a server that does not say goodbye is left.
            drop(timeout(SHORT, connection.quit()).await);
        }
    }
}

/// Sorts what went wrong between MAIL and the reply to DATA.
fn sort(error: &Error) -> Failure {
    let closing = error.status().is_some_and(|code| u16::from(code) == 421);
    let kind = if error.is_permanent() || error.is_client() {
        FailureKind::Refused
    } else if error.is_transient() && !closing {
        FailureKind::Deferred
    } else {
        FailureKind::Unreachable
    };
    Failure::new(kind, &explain(error))
}

/// What the server said, or what happened to the connection.
fn explain(error: &Error) -> String {
    let detail = std::error::Error::source(error).map(ToString::to_string);
    match (error.status(), detail) {
        (Some(code), Some(text)) => format!("{code} {text}"),
        (Some(code), None) => code.to_string(),
        (None, Some(text)) if error.is_response() => format!("the server broke off or spoke no SMTP: {text}"),
        (None, Some(text)) => text,
        (None, None) => error.to_string(),
    }
}

fn answer(response: &Response) -> String {
    let text = response.message().collect::<Vec<_>>().join(" ");
    format!("{} {text}", response.code())
}
