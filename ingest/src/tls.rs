//! TLS on the way in: the certificate, which is renewed without a restart, and what
//! is asked of clients.

mod clients;
mod files;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use heliograph_domain::Fingerprint;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::wire::Metered;
use clients::AnyCertificate;
use files::{Pair, Stamp};

/// The first byte of a TLS connection: a handshake record (RFC 8446 section 5.1).
/// Neither XML nor HTTP begins with it.
pub(crate) const HELLO: u8 = 0x16;
/// Bytes that a peer may send before its handshake is done: some certificates.
const HANDSHAKE: usize = 32 * 1024;
/// Answers that may wait in a session until they can be sent, bytes.
const ANSWERS: usize = 16 * 1024;
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What is asked of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// No certificate is asked for.
    #[default]
    Off,
    /// One that is registered with a gateway is its credential; keys are, too.
    Optional,
    /// Nothing but a registered certificate is a credential, on any connection.
    Required,
}

impl ClientCertificates {
    /// Parses `off`, `optional` or `required`.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "off" => Ok(Self::Off),
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            _ => Err("must be off, optional or required"),
        }
    }
}

/// Where the certificate is, and what is asked of clients.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// PEM file with the certificate and those that lead to its root.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// What is asked of clients.
    pub clients: ClientCertificates,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificate and key are of no use together.
    #[error("certificate and key: {0}")]
    Pair(rustls::Error),
}

/// The server's side of TLS, shared by all connections.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: TlsSettings,
    tickets: Arc<dyn ProducesTickets>,
    config: RwLock<Arc<ServerConfig>>,
    /// Whether what lies in the files is of no use.
    stale: AtomicBool,
    /// What the files were when they were first read.
    opened: Stamp,
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn open(settings: TlsSettings) -> Result<Self, TlsError> {
        let tickets = aws_lc_rs::Ticketer::new().map_err(TlsError::Pair)?;
        let opened = Stamp::of(&settings.certificate, &settings.key);
        let config = config(&settings, &tickets)?;
        let (config, stale) = (RwLock::new(Arc::new(config)), AtomicBool::new(false));
        Ok(Self(Arc::new(Shared { settings, tickets, config, stale, opened })))
    }

    /// Reads certificate and key again. Where they are of no use the old ones stay
    /// in force, which log and metrics say. Connections go on as they are.
    pub fn reload(&self) {
        let loaded = config(&self.0.settings, &self.0.tickets);
        let outcome = if loaded.is_ok() { "loaded" } else { "refused" };
        metrics::counter!("heliograph_ingest_tls_reloads_total", "outcome" => outcome).increment(1);
        self.0.stale.store(loaded.is_err(), Ordering::Relaxed);
        self.tell();
        match loaded {
            Ok(config) => {
                *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!(certificate = %self.0.settings.certificate.display(), "certificate loaded");
            }
            Err(error) => tracing::error!(%error, "the new certificate is of no use, the old one stays in force"),
        }
    }

    fn tell(&self) {
        metrics::gauge!("heliograph_ingest_tls_stale").set(u8::from(self.0.stale.load(Ordering::Relaxed)));
    }

    /// Reloads whenever the files have changed and been left alone for a moment.
    pub async fn watch(self) {
        let settings = &self.0.settings;
        let look = || Stamp::of(&settings.certificate, &settings.key);
        let (mut tried, mut before) = (self.0.opened, self.0.opened);
        loop {
            self.tell();
            tokio::time::sleep(LOOK).await;
            let now = look();
            if now != tried && now == before {
                tried = now;
                self.reload();
            }
            before = now;
        }
    }

    /// Whether a key is not enough.
    pub(crate) fn needs_certificate(&self) -> bool {
        self.0.settings.clients == ClientCertificates::Required
    }

    /// Does the handshake on a connection that has begun with it; answers the
    /// fingerprint of the client's certificate, too, where it has shown one.
    pub(crate) async fn accept(
        &self,
        begun: Bytes,
        tcp: TcpStream,
    ) -> std::io::Result<(TlsStream<Metered>, Option<Fingerprint>)> {
        let config = Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner));
        let metered = Metered::new(begun, tcp, HANDSHAKE);
        let accepting = TlsAcceptor::from(config).accept_with(metered, |session| session.set_buffer_limit(Some(ANSWERS)));
        let mut stream = accepting.await?;
        let (metered, session) = stream.get_mut();
        metered.open();
        let shown = session.peer_certificates().and_then(|chain| chain.first()).map(|certificate| Fingerprint::of(certificate));
        Ok((stream, shown))
    }
}

fn config(settings: &TlsSettings, tickets: &Arc<dyn ProducesTickets>) -> Result<ServerConfig, TlsError> {
    let Pair { chain, key } = Pair::read(&settings.certificate, &settings.key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Pair)?;
    let builder = match settings.clients {
        ClientCertificates::Off => builder.with_no_client_auth(),
        asked => {
            builder.with_client_cert_verifier(Arc::new(AnyCertificate::new(provider, asked == ClientCertificates::Required)))
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    // A session is resumed by what its client keeps: the server remembers none.
    config.ticketer = Arc::clone(tickets);
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// How a connection may begin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    /// TLS, if it is spoken here.
    pub(crate) tls: Option<Tls>,
    /// Whether nothing else is.
    pub(crate) only_tls: bool,
}

impl Door {
    /// The door behind which TLS is spoken already.
    pub(crate) fn inner() -> Self {
        Self::default()
    }

    pub(crate) fn needs_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::needs_certificate)
    }
}

/// Notes how a handshake ended.
pub(crate) fn count(outcome: &'static str, address: SocketAddr, error: Option<&std::io::Error>) {
    metrics::counter!("heliograph_ingest_tls_handshakes_total", "outcome" => outcome).increment(1);
    if let Some(error) = error {
        tracing::debug!(%error, %address, "handshake failed");
    }
}
