//! Encryption: required unless waived, and only with a certificate that is right.

use std::path::PathBuf;
use std::sync::Arc;

use heliograph_domain::Secret;
use heliograph_mailer::{MailSettings, MailerError, Tls, TransportSettings, run_once};
use heliograph_store::OutboxState;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::plant::{Hand, Plant, settings};
use crate::smtp::{Fault, Server, Stage};

/// A test's own certificate authority, and its certificate as a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file, _dir: dir }
    }

    /// A server's side of TLS with a certificate for a name.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn to(server: &Server, ca: Option<PathBuf>) -> MailSettings {
    let host = "localhost".to_owned();
    settings(TransportSettings::Smtp { host, port: server.port, tls: Tls::Required, credentials: None, ca })
}

#[tokio::test]
async fn a_mail_goes_through_starttls_where_the_certificate_is_right() {
    let (plant, authority) = (Plant::with_one_mail().await, Authority::new());
    let server = Server::start_tls(authority.acceptor("localhost")).await;
    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    let summary = run_once(&plant.store, &to(&server, Some(authority.file.clone())), &clock).await.unwrap();
    assert_eq!((summary.sent, server.messages().len()), (1, 1));
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_and_nothing_is_said_to_the_server() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let cases = [
        ("another name", authority.acceptor("other.example"), Some(authority.file.clone())),
        ("a stranger's signature", stranger.acceptor("localhost"), Some(authority.file.clone())),
        ("no public authority", stranger.acceptor("localhost"), None),
    ];
    for (what, acceptor, ca) in cases {
        let plant = Plant::with_one_mail().await;
        let server = Server::start_tls(acceptor).await;
        let clock = Hand::new("2026-11-21T06:00:00Z").clock();
        let summary = run_once(&plant.store, &to(&server, ca), &clock).await.unwrap();
        assert_eq!((summary.sent, summary.retried), (0, 1), "{what}");
        assert!(server.messages().is_empty() && server.envelopes().is_empty(), "{what}");
        let row = plant.store.outbox_list(1).await.unwrap().remove(0);
        assert_eq!(row.state, OutboxState::Waiting, "{what}");
        assert!(row.outcome.contains("certificate"), "{what}: {}", row.outcome);
    }
}

#[tokio::test]
async fn without_starttls_nothing_is_sent_unless_the_settings_waive_it() {
    let (plant, server) = (Plant::with_one_mail().await, Server::start().await);
    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    let summary = run_once(&plant.store, &to(&server, None), &clock).await.unwrap();
    assert_eq!((summary.sent, summary.retried), (0, 1));
    assert!(server.envelopes().is_empty());
    let row = plant.store.outbox_list(1).await.unwrap().remove(0);
    assert!(row.outcome.contains("STARTTLS"), "{}", row.outcome);
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_a_bad_setting() {
    let (plant, server) = (Plant::with_one_mail().await, Server::start().await);
    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    let nonsense = plant.dir.path().join("nonsense.pem");
    std::fs::write(&nonsense, b"no certificate at all").unwrap();
    for path in [nonsense, plant.dir.path().join("missing.pem")] {
        let error = run_once(&plant.store, &to(&server, Some(path.clone())), &clock).await.unwrap_err();
        assert!(matches!(error, MailerError::Setting { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn words_slipped_in_before_tls_never_make_a_mail_look_sent() {
    let (plant, authority) = (Plant::with_one_mail().await, Authority::new());
    let server = Server::start_tls(authority.acceptor("localhost")).await;
    server.set_fault(Some(Fault::Reply(Stage::StartTls, "220 go ahead\r\n250-evil.example\r\n250 8BITMIME")));
    let clock = Hand::new("2026-11-21T06:00:00Z").clock();
    let summary = run_once(&plant.store, &to(&server, Some(authority.file.clone())), &clock).await.unwrap();
    assert_eq!((summary.sent, summary.retried), (0, 1));
    let row = plant.store.outbox_list(1).await.unwrap().remove(0);
    assert!(row.outcome.starts_with("out of step"), "{}", row.outcome);
}

#[tokio::test]
async fn the_login_goes_through_tls_only_and_a_refused_one_is_tried_again() {
    let (plant, authority) = (Plant::with_one_mail().await, Authority::new());
    let server = Server::start_tls(authority.acceptor("localhost")).await;
    let hand = Hand::new("2026-11-21T06:00:00Z");
    let login = settings(TransportSettings::Smtp {
        host: "localhost".to_owned(),
        port: server.port,
        tls: Tls::Required,
        credentials: Some(("sunrise".to_owned(), Secret::new("open sesame"))),
        ca: Some(authority.file.clone()),
    });
    assert!(!format!("{login:?}").contains("sesame"), "a password is shown");
    server.set_fault(Some(Fault::Reply(Stage::Auth, "535 5.7.8 wrong password")));
    let summary = run_once(&plant.store, &login, &hand.clock()).await.unwrap();
    assert_eq!((summary.retried, server.envelopes().len()), (1, 0));
    let row = plant.store.outbox_list(1).await.unwrap().remove(0);
    assert!(row.outcome.ends_with("login: 535 5.7.8 wrong password"), "{}", row.outcome);

    server.set_fault(None);
    hand.advance_minutes(2);
    assert_eq!(run_once(&plant.store, &login, &hand.clock()).await.unwrap().sent, 1);
    // `\0sunrise\0open sesame` in base64 (RFC 4616).
    assert_eq!(server.logins(), ["AUTH PLAIN AHN1bnJpc2UAb3BlbiBzZXNhbWU="; 2]);

    let clear = Server::start().await;
    let unencrypted = settings(TransportSettings::Smtp {
        host: "localhost".to_owned(),
        port: clear.port,
        tls: Tls::Required,
        credentials: Some(("sunrise".to_owned(), Secret::new("open sesame"))),
        ca: None,
    });
    let plant = Plant::with_one_mail().await;
    assert_eq!(run_once(&plant.store, &unencrypted, &hand.clock()).await.unwrap().retried, 1);
    assert!(clear.logins().is_empty());
}
